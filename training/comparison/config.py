"""Settings of `pathoprog compare` (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.system.tracking_config import TrackingSettings


@dataclass
class CompareConfig:
    """`pathoprog compare`: several experiments, cross-validated alike."""

    experiments: list[str] = setting(
        [], "experiments to compare, two or more: names, or files", kind="paths", required=True
    )
    out: str = setting("", "folder of the comparison, and of a cross-validation of each", kind="path", required=True)
    reference: str = setting("", "experiment that the others' differences are from; default: the first", kind="name")
    each: list[str] = setting(
        [], "settings for all of the experiments, as for `pathoprog cross_validate`: key=value …", kind="names"
    )
    bootstrap: int = setting(2000, "resamples of the patients for the intervals", low=100)
    bootstrap_seed: int = setting(1, "seed of the resamples", low=0)
    track: TrackingSettings = setting(TrackingSettings(), "where the runs are logged")
