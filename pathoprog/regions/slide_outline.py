"""The outline that was given for a slide: read from its file, inside the slide, and on tissue. No torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from pathoprog.errors import InputError, SlideError
from pathoprog.regions.annotations import polygons, read_outline
from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.roots import check_roots
from pathoprog.slides.slide import SlideFacts

MAX_OUTSIDE = 0.10  # share of an outline that may lie beyond the slide's edge, and is cut off
SAID_OUTSIDE = 0.01  # from which share on a warning says so
MIN_ON_TISSUE = 0.05  # share of an outline that must be tissue


def given_outline(
    path: str, facts: SlideFacts, classes: Sequence[str] = (), roots: Sequence[str] = ()
) -> tuple[shapely.MultiPolygon, float]:
    """Read a slide's outline.

    Args:
        path: its annotation file.
        facts: size of the slide, and where its frame begins.
        classes: as `annotations.read_outline`.
        roots: folders that it must lie in; none given allow all.

    Returns:
        Its part inside the slide, level-0 px, and the share of it that was not.

    Raises:
        SlideError: code ``outline_missing``, ``outside`` (of the roots) or ``outline``; the path is not named.
    """
    try:
        check_roots(path, roots)
        if not Path(path).exists():
            raise SlideError("no such file", "outline_missing")
        return inside_slide(read_outline(path, classes, (facts.origin_x, facts.origin_y)), facts)
    except (InputError, SlideError) as error:
        code = error.code if isinstance(error, SlideError) else "outline"
        raise SlideError(f"its outline: {str(error).removeprefix(f'{path}: ')}", code) from error


def inside_slide(outline: shapely.MultiPolygon, facts: SlideFacts) -> tuple[shapely.MultiPolygon, float]:
    """The part of an outline that lies on its slide, and the share of it that does not.

    A little may reach beyond the edge, as QuPath's annotation of a whole image does.

    Args:
        outline: valid polygons, level-0 px, not empty.
        facts: size of the slide.

    Raises:
        SlideError: code ``outline``: more than `MAX_OUTSIDE` of it lies beyond.
    """
    left, top, right, bottom = outline.bounds
    if left >= 0 and top >= 0 and right <= facts.width and bottom <= facts.height:
        return outline, 0.0
    kept = polygons(shapely.clip_by_rect(outline, 0, 0, facts.width, facts.height))
    outside = 1.0 - kept.area / outline.area
    if outside > MAX_OUTSIDE:
        share = "all" if kept.is_empty else f"{outside:.0%}"
        raise SlideError(
            f"{share} of it lies outside the slide (its x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; the "
            f"slide has {facts.width} x {facts.height} px): was it drawn on another slide, or not in level-0 pixels?",
            "outline",
        )
    return kept, outside


def check_on_tissue(outline_on_mask: NDArray[np.bool_], tissue: RegionMask) -> None:
    """Refuse an outline that lies on glass while tissue lies elsewhere, as one of another slide or frame does.

    Where next to nothing of the slide is tissue, the outline is not at fault: the checks of quality say that.

    Args:
        outline_on_mask: bool [h, w], the outline on the mask's pixels.
        tissue: the slide's.

    Raises:
        SlideError: code ``outline``: less than `MIN_ON_TISSUE` of it is tissue, and more than that lies elsewhere.
    """
    n = int(np.count_nonzero(outline_on_mask))
    on_tissue = int(np.count_nonzero(outline_on_mask & tissue.array))
    elsewhere = int(np.count_nonzero(tissue.array)) - on_tissue
    if n and on_tissue < MIN_ON_TISSUE * n < elsewhere:
        raise SlideError(
            f"its outline: only {on_tissue / n:.0%} of it is tissue: was it drawn on another slide, or counted from "
            "another corner?",
            "outline",
        )
