"""Settings of the quality checks and of eligibility: what a person sets in place of the bundle's limits (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting

QUALITY_VERSION = "1"
"""What is measured of a slide and how (`quality_look`): a change of any value raises it."""
POLICIES = ("enforce", "report")


@dataclass
class LimitSettings:
    """Limits in place of the bundle's; None leaves the bundle's. `warn` flags a slide, `fail` withholds its class."""

    glass_warn: float | None = setting(None, "brightness of the empty glass below which to warn, 0 to 255")
    glass_fail: float | None = setting(None, "… below which to refuse")
    empty_warn: float | None = setting(None, "share of the analysed area without tissue above which to warn, %")
    empty_fail: float | None = setting(None, "… above which to refuse, %")
    pen_warn: float | None = setting(None, "share of the analysed area under ink above which to warn, %")
    pen_fail: float | None = setting(None, "… above which to refuse, %")
    pen_elsewhere_warn: float | None = setting(None, "ink outside the analysed area above which to warn, square mm")
    pen_elsewhere_fail: float | None = setting(None, "… above which to refuse, square mm")
    folds_warn: float | None = setting(None, "share of the analysed area in folds above which to warn, %")
    folds_fail: float | None = setting(None, "… above which to refuse, %")
    bubbles_warn: float | None = setting(None, "share of the analysed area under bubbles above which to warn, %")
    bubbles_fail: float | None = setting(None, "… above which to refuse, %")
    green_warn: float | None = setting(None, "share of stained pixels that absorb green most below which to warn, %")
    green_fail: float | None = setting(None, "… below which to refuse, %")
    other_dye_warn: float | None = setting(None, "density in red and blue over that in green above which to warn")
    other_dye_fail: float | None = setting(None, "… above which to refuse")
    sharpness_warn: float | None = setting(None, "median sharpness of the fields below which to warn, log10")
    sharpness_fail: float | None = setting(None, "… below which to refuse, log10")
    blurred_warn: float | None = setting(None, "share of blurred fields above which to warn, %")
    blurred_fail: float | None = setting(None, "… above which to refuse, %")
    tissue_area_warn: float | None = setting(None, "area of the tissue below which to warn, square mm")
    tissue_area_fail: float | None = setting(None, "… below which to refuse, square mm")
    tumour_area_warn: float | None = setting(None, "analysed area below which to warn, square mm")
    tumour_area_fail: float | None = setting(None, "… below which to refuse, square mm")
    tiles_warn: float | None = setting(None, "tiles of a resolution below which to warn")
    tiles_fail: float | None = setting(None, "… below which to refuse")
    distance_warn: float | None = setting(None, "distance to the training slides above which to warn, SD")
    distance_fail: float | None = setting(None, "… above which to refuse, SD")


@dataclass
class QualitySettings:
    """What the checks do; each departure from the bundle is written into the results."""

    policy: str = setting(
        "enforce", "report: a slide that fails a check keeps its class, with a flag (an override)", choices=POLICIES
    )
    eligibility: str = setting(
        "enforce", "report: a slide that the bundle was not made for keeps its class, with a flag", choices=POLICIES
    )
    limits: LimitSettings = setting(LimitSettings(), "in place of the bundle's")


@dataclass
class MadeForSettings:
    """What slides an ensemble is for; an empty list takes the values of the training and tuning cohort."""

    organ: list[str] = setting([], "organs (none given: those of the cohort)")
    specimen: list[str] = setting([], "specimens")
    stain: list[str] = setting([], "stains")
    neoadjuvant: list[str] = setting([], "neoadjuvant treatment")
