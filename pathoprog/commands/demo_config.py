"""Settings of `pathoprog demo`."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.system.tracking_config import TrackingSettings


@dataclass
class DemoConfig:
    """The demo: where, which seed, and what to pass on to its steps."""

    out: str = setting("runs/demo", "folder to write to", kind="path", required=True)
    seed: int = setting(1, "of patients, slides and training", low=0)
    candidates: int = setting(6, "candidates per resolution, of which five are chosen", low=5)
    track: TrackingSettings = setting(TrackingSettings(), "passed on to every step that logs")
    simulate: list[str] = setting([], "more overrides for the step `simulate`", kind="names")
    data: list[str] = setting([], "more overrides of data.* for the steps `tiles` and `train_ensemble`", kind="names")
    train: list[str] = setting([], "more overrides for the step `train_ensemble`", kind="names")
    score: list[str] = setting([], "more overrides for the step `score`", kind="names")
    validate: list[str] = setting([], "more overrides for the step `validate`", kind="names")
