"""Settings of the quality checks and of eligibility: what a person sets in place of the bundle's limits (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting

QUALITY_VERSION = "1"
"""What is measured of a slide and how (`quality_look`): a change of any value raises it."""
POLICIES = ("enforce", "report")
ELIGIBILITY_POLICIES = (*POLICIES, "require")


@dataclass
class LimitSettings:
    """Limits in place of the bundle's; None leaves the bundle's. `warn` flags a slide, `fail` withholds its class."""

    glass_warn: float | None = setting(
        None, "flag the slide if the empty glass is darker than this (brightness, 0 to 255)"
    )
    glass_fail: float | None = setting(
        None, "withhold the class if the empty glass is darker than this (brightness, 0 to 255)"
    )
    empty_warn: float | None = setting(
        None, "flag the slide if more of the analysed area than this is without tissue (%)"
    )
    empty_fail: float | None = setting(
        None, "withhold the class if more of the analysed area than this is without tissue (%)"
    )
    pen_warn: float | None = setting(None, "flag the slide if more of the analysed area than this is under ink (%)")
    pen_fail: float | None = setting(None, "withhold the class if more of the analysed area than this is under ink (%)")
    pen_elsewhere_warn: float | None = setting(
        None, "flag the slide if more ink than this lies outside the analysed area (square mm)"
    )
    pen_elsewhere_fail: float | None = setting(
        None, "withhold the class if more ink than this lies outside the analysed area (square mm)"
    )
    folds_warn: float | None = setting(None, "flag the slide if more of the analysed area than this is in folds (%)")
    folds_fail: float | None = setting(
        None, "withhold the class if more of the analysed area than this is in folds (%)"
    )
    bubbles_warn: float | None = setting(
        None, "flag the slide if more of the analysed area than this is under bubbles (%)"
    )
    bubbles_fail: float | None = setting(
        None, "withhold the class if more of the analysed area than this is under bubbles (%)"
    )
    green_warn: float | None = setting(
        None, "flag the slide if fewer of the stained pixels than this absorb green most (%)"
    )
    green_fail: float | None = setting(
        None, "withhold the class if fewer of the stained pixels than this absorb green most (%)"
    )
    other_dye_warn: float | None = setting(
        None, "flag the slide if the density in red and blue, divided by that in green, is above this"
    )
    other_dye_fail: float | None = setting(
        None, "withhold the class if the density in red and blue, divided by that in green, is above this"
    )
    sharpness_warn: float | None = setting(
        None, "flag the slide if the median sharpness of the fields is below this (log10)"
    )
    sharpness_fail: float | None = setting(
        None, "withhold the class if the median sharpness of the fields is below this (log10)"
    )
    blurred_warn: float | None = setting(None, "flag the slide if more of the fields than this are blurred (%)")
    blurred_fail: float | None = setting(None, "withhold the class if more of the fields than this are blurred (%)")
    tissue_area_warn: float | None = setting(None, "flag the slide if there is less tissue than this (square mm)")
    tissue_area_fail: float | None = setting(None, "withhold the class if there is less tissue than this (square mm)")
    tumour_area_warn: float | None = setting(
        None, "flag the slide if the analysed area is smaller than this (square mm)"
    )
    tumour_area_fail: float | None = setting(
        None, "withhold the class if the analysed area is smaller than this (square mm)"
    )
    tiles_warn: float | None = setting(None, "flag the slide if a resolution has fewer tiles than this")
    tiles_fail: float | None = setting(None, "withhold the class if a resolution has fewer tiles than this")
    distance_warn: float | None = setting(
        None, "flag the slide if the slide is further than this from the training slides (SD)"
    )
    distance_fail: float | None = setting(
        None, "withhold the class if the slide is further than this from the training slides (SD)"
    )


@dataclass
class QualitySettings:
    """What the checks do; each departure from the bundle is written into the results."""

    policy: str = setting(
        "enforce",
        "if a slide fails a check: enforce withholds its class, report keeps it with a flag (an override)",
        choices=POLICIES,
    )
    eligibility: str = setting(
        "enforce",
        "if the bundle was not made for such a slide: enforce withholds its class, report keeps it with a flag; "
        "require withholds it also if that is not known",
        choices=ELIGIBILITY_POLICIES,
    )
    limits: LimitSettings = setting(LimitSettings(), "limits that replace the bundle's")


@dataclass
class MadeForSettings:
    """What slides an ensemble is for; an empty list takes the values of the training and tuning cohort."""

    organ: list[str] = setting([], "organs that the ensemble is for (if none is given: those of training and tuning)")
    specimen: list[str] = setting([], "specimens that it is for (if none is given: those of training and tuning)")
    stain: list[str] = setting([], "stains that it is for (if none is given: those of training and tuning)")
    neoadjuvant: list[str] = setting([], "neoadjuvant treatment: yes, no (if none is given: as in training and tuning)")
