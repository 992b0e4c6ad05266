"""Rules for um per pixel: what is believed, what is refused, and which resolutions a slide supports."""

import math

from pathoprog.errors import SlideError

MIN_MPP, MAX_MPP = 0.05, 40.0  # no light microscope scans finer; resolutions for print (72 to 600 dpi) lie above 42
MAX_XY_DIFFERENCE = 0.02
COARSER_ALLOWED = 1.1  # a base of up to 0.275 um/px may be resampled to 0.25 (METHOD, um/px)
REMEDY = "give slides.mpp=… if you know it"
UPSAMPLING_HINT = " (slides.allow_upsampling=true would read it all the same, which is not validated)"


def checked_mpp(mpp_x: float | None, mpp_y: float | None, override: float = 0.0) -> tuple[float, float]:
    """The um per level-0 pixel to be used, x and y.

    Args:
        mpp_x: from the file; None where it says nothing.
        mpp_y: the same for y; None takes that of x.
        override: `slides.mpp`; 0 means none.

    Raises:
        SlideError: code ``mpp_missing``, ``mpp_absurd`` or ``mpp_unequal``; the message names ``slides.mpp=…``.
    """
    if override > 0:
        mpp_x = mpp_y = override
    if mpp_x is None and mpp_y is None:
        raise SlideError(f"no um/px in the file; {REMEDY}", "mpp_missing", not_reportable=True)
    x = mpp_x if mpp_x is not None else mpp_y
    y = mpp_y if mpp_y is not None else mpp_x
    assert x is not None and y is not None
    for value in (x, y):
        if not math.isfinite(value) or not MIN_MPP <= value <= MAX_MPP:
            raise SlideError(
                f"absurd um/px in the file: {value:g} (slides have {MIN_MPP:g} to {MAX_MPP:g}); {REMEDY}",
                "mpp_absurd",
                not_reportable=True,
            )
    if abs(x - y) > MAX_XY_DIFFERENCE * min(x, y):
        raise SlideError(
            f"um/px differs between x ({x:g}) and y ({y:g}) by more than {MAX_XY_DIFFERENCE:.0%}; {REMEDY}",
            "mpp_unequal",
            not_reportable=True,
        )
    return x, y


def objective_warning(objective: float | None, mpp: float) -> str:
    """A warning where the objective contradicts the file's um/px, else empty. The um/px is what counts.

    A sensor pixel is about 10 um wide, so that 40x gives 0.25 and 20x gives 0.5 um/px.
    """
    if objective is None or 7.0 <= objective * mpp <= 14.0:
        return ""
    return f"the objective ({objective:g}x) contradicts {mpp:g} um/px; the um/px is used"


def said_once(refusals: list[str]) -> str:
    """Several refusals as one sentence; how to overrule them stands once, at its end."""
    plain = [text.removesuffix(UPSAMPLING_HINT) for text in refusals]
    return "; ".join(plain) + (UPSAMPLING_HINT if plain != refusals else "")


def is_upsampled(slide_mpp: float, target_mpp: float) -> bool:
    """Whether tiles of `target_mpp` um/px from a base level of `slide_mpp` need the explicit override."""
    return slide_mpp > target_mpp * COARSER_ALLOWED


def check_resolution(slide_mpp: float, target_mpp: float, resolution: str, allow_upsampling: bool = False) -> None:
    """Refuse a resolution that the slide's base level is too coarse for.

    Args:
        slide_mpp: um per level-0 pixel.
        target_mpp: um per pixel of the tiles.
        resolution: its name, for the message.
        allow_upsampling: the explicit override.

    Raises:
        SlideError: code ``resolution``, not reportable.
    """
    if is_upsampled(slide_mpp, target_mpp) and not allow_upsampling:
        raise SlideError(
            f"no {resolution} score: the slide has {slide_mpp:.4g} um/px, {resolution} needs "
            f"{target_mpp * COARSER_ALLOWED:.4g} or finer{UPSAMPLING_HINT}",
            "resolution",
            not_reportable=True,
        )
