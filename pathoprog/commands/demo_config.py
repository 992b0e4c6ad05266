"""Settings of `pathoprog demo`."""

from dataclasses import dataclass

from pathoprog.ensemble.shape import MEMBERS_PER_RESOLUTION
from pathoprog.settings import setting
from pathoprog.system.tracking_config import TrackingSettings


@dataclass
class DemoConfig:
    """The demo: where, which seed, and what to pass on to its steps."""

    out: str = setting("runs/demo", "folder to write to", kind="path", required=True)
    seed: int = setting(1, "seed of patients, slides and training", low=0)
    candidates: int = setting(6, "candidates trained per resolution; the best `members` of them are chosen", low=1)
    members: int = setting(
        MEMBERS_PER_RESOLUTION,
        "members per resolution; another number than 5 is locked as not METHOD's ensemble",
        low=1,
    )
    track: TrackingSettings = setting(TrackingSettings(), "where runs are logged, for every step that logs")
    simulate: list[str] = setting([], "further settings for the step `simulate`", kind="names")
    data: list[str] = setting([], "further settings of data.* for the steps `tiles` and `train_ensemble`", kind="names")
    train: list[str] = setting([], "further settings for the step `train_ensemble`", kind="names")
    score: list[str] = setting([], "further settings for the step `score`", kind="names")
    validate: list[str] = setting([], "further settings for the step `validate`", kind="names")
