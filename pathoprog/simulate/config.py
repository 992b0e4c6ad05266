"""Settings of `pathoprog simulate` (light: loaded by `--help`)."""

import dataclasses

from pathoprog.settings import setting


@dataclasses.dataclass
class SimulateConfig:
    """Made-up patients, their outcomes, and their slides as tiled pyramids."""

    out: str = setting("", "folder to write to", kind="path", required=True)
    seed: int = setting(1, "seed of everything; the same seed gives the same files", low=0)
    workers: int = setting(0, "processes that draw slides; 0: one per core", low=0)
    development_patients: int = setting(
        280, "number of patients in training (distinct outcome) and tuning (all others) together", low=4
    )
    test_patients: int = setting(72, "number of development patients who have another block in test", low=0)
    external_patients: int = setting(250, "number of patients in the external cohort", low=0)
    second_slide_fraction: float = setting(
        0.1, "share of the patients who have a second slide (another block) in the same role", low=0, high=1
    )
    field_um: float = setting(640.0, "width and height of each slide, um", low=240, high=4000)
    jpeg_quality: int = setting(80, "JPEG quality of the tiles", low=30, high=100)
    hazard: str = setting(
        "both",
        "which hidden factors drive cancer deaths; anything but both is a control",
        choices=("both", "architecture", "nuclei", "none"),
    )
    log_hazard_sd: float = setting(
        1.1, "SD, over patients, of the log hazard that the hidden factors cause", low=0, high=5
    )
    factor_correlation: float = setting(0.8, "correlation of the two hidden factors", low=-1, high=1)
    block_sd: float = setting(
        0.2, "SD of a block's hidden factors around its patient's, whose own SD is 1", low=0, high=2
    )
    site_log_hazard: float = setting(
        0.0,
        "log hazard of the last development site relative to the first, the others in between; if not 0, a control",
        low=-5,
        high=5,
    )
    missing_fraction: float = setting(0.06, "share of the values of each covariate that are missing", low=0, high=1)
    treatment: str = setting(
        "no_benefit",
        "who benefits from the treatment that half of the external patients had, by chance: nobody, all equally, or "
        "only the poor (the worst third by true hazard); development had none",
        choices=("no_benefit", "equal_benefit", "benefit_in_poor"),
    )
    treatment_ratio: float = setting(
        0.5, "hazard ratio of cancer death, treated against untreated, in those who benefit", low=0.05, high=1
    )
