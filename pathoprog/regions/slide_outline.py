"""The outline that was given for a slide: read from its file, inside the slide, and on tissue. No torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray

from pathoprog.errors import InputError, SlideError
from pathoprog.regions.annotations import polygons, read_outline
from pathoprog.regions.outline_mask import outline_mask
from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.roots import check_roots
from pathoprog.slides.slide import SlideFacts

MAX_OUTSIDE = 0.10  # share of an outline that may lie beyond the slide's edge, and is cut off
SAID_OUTSIDE = 0.01  # from which share on a warning says so
MIN_ON_TISSUE = 0.05  # share of an outline that must be tissue
GIVEN = ("outline", "corrected")
"""Where a slide's region comes from a file, as `stream_events.SlideOpened` names it."""
FITS_TISSUE = 0.5  # share from which an outline in other units lies on tissue


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
        hint = looks_scaled(outline, facts) or "was it drawn on another slide, or not in level-0 pixels?"
        raise SlideError(f"{share} of it lies outside the slide ({extent(outline, facts)}): {hint}", "outline")
    return kept, outside


def extent(outline: shapely.MultiPolygon, facts: SlideFacts) -> str:
    """Where an outline lies on its slide, in words; both in level-0 px."""
    left, top, right, bottom = outline.bounds
    return (
        f"its x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; the slide has {facts.width} x {facts.height} px"
    )


def looks_scaled(outline: shapely.MultiPolygon, facts: SlideFacts, tissue: RegionMask | None = None) -> str:
    """What the coordinates of an outline that does not fit look like instead of level-0 pixels, in words.

    Args:
        outline: as its file gives it.
        facts: size of the slide, its um/px and levels.
        tissue: the slide's, on which the outline must lie better as something else; None asks for the slide only.

    Returns:
        Empty where neither um nor the pixels of another level explain it.
    """
    now = _share_on_tissue(outline, tissue) if tissue is not None else 0.0
    found = []
    units = {"micrometres": (1 / facts.mpp_x, 1 / facts.mpp_y)} | {
        f"pixels of level {i}": (level.downsample, level.downsample) for i, level in enumerate(facts.levels)
    }
    for unit, (x, y) in units.items():
        if not (x > 0 and y > 0) or abs(x - 1) < 0.05:
            continue
        scaled = shapely.affinity.scale(outline, x, y, origin=(0, 0))
        inside = polygons(shapely.clip_by_rect(scaled, 0, 0, facts.width, facts.height)).area / scaled.area
        if inside < 1 - MAX_OUTSIDE:
            continue
        if tissue is None or _share_on_tissue(scaled, tissue) >= max(FITS_TISSUE, 2 * now):
            found.append(unit)
    if not found:
        return ""
    how = f"divided by {facts.mpp:.3g} um/px" if "micrometres" in found else "multiplied by that level's downsample"
    where = "the slide" if tissue is None else "tissue"
    return f"{how} they lie on {where}: its coordinates look like {' or '.join(found)}, and must be level-0 pixels"


def region_on_view(region: RegionMask | shapely.MultiPolygon, tissue: RegionMask) -> NDArray[np.bool_]:
    """The region as bool [h, w] on the pixels of the tissue mask; region: a mask, or polygons in level-0 px."""
    if region is tissue:
        return tissue.array
    h, w = tissue.array.shape
    if isinstance(region, RegionMask):
        x0, y0 = np.arange(w) * tissue.downsample, np.arange(h) * tissue.downsample_y
        return region.coverage(x0[None, :], y0[:, None], tissue.downsample, tissue.downsample_y) >= 0.5
    scale = np.array([tissue.downsample, tissue.downsample_y])
    return outline_mask(shapely.transform(region, lambda xy: xy / scale), (h, w), with_line=True)


def _share_on_tissue(outline: shapely.MultiPolygon, tissue: RegionMask) -> float:
    """Share of an outline, level-0 px, that is tissue."""
    drawn = region_on_view(outline, tissue)
    return float(np.count_nonzero(drawn & tissue.array)) / max(1, int(np.count_nonzero(drawn)))


def check_on_tissue(outline: shapely.MultiPolygon, facts: SlideFacts, tissue: RegionMask) -> None:
    """Refuse an outline that lies on glass while tissue lies elsewhere, as one of another slide or frame does.

    Where next to nothing of the slide is tissue, the outline is not at fault: the checks of quality say that.

    Args:
        outline: inside the slide, level-0 px.
        facts: of the slide, for the message.
        tissue: the slide's.

    Raises:
        SlideError: code ``outline``: less than `MIN_ON_TISSUE` of it is tissue, and more than that lies elsewhere.
    """
    outline_on_mask = region_on_view(outline, tissue)
    n = int(np.count_nonzero(outline_on_mask))
    on_tissue = int(np.count_nonzero(outline_on_mask & tissue.array))
    elsewhere = int(np.count_nonzero(tissue.array)) - on_tissue
    if n and on_tissue < MIN_ON_TISSUE * n < elsewhere:
        hint = looks_scaled(outline, facts, tissue) or "was it drawn on another slide, or counted from another corner?"
        raise SlideError(
            f"its outline: only {on_tissue / n:.0%} of it is tissue ({extent(outline, facts)}): {hint}", "outline"
        )


def where_given(outline: shapely.MultiPolygon, facts: SlideFacts, tissue: RegionMask) -> str:
    """Behind the reason that a slide has no tile: where its outline lies, and what else its coordinates look like.

    Args:
        outline: that was given, inside the slide, level-0 px.
        facts: of the slide.
        tissue: the slide's.
    """
    hint = looks_scaled(outline, facts, tissue)
    return f" (the outline: {extent(outline, facts)}{f'; {hint}' if hint else ''})"
