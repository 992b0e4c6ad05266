"""A corrected outline: drawn changes or a given one, held against the slide as any outline is, and its text."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.errors import InputError, SlideError
from pathoprog.regions.annotations import TUMOUR_CLASS, Annotation, annotations_json, polygons, read_outline
from pathoprog.regions.outline_checks import MAX_CROSSINGS, check_crossings, ring_points
from pathoprog.regions.slide_outline import inside_slide
from pathoprog.scoring.slide_result import SlideRecord
from pathoprog.slides.slide import SlideFacts

ADD, SUBTRACT = "add", "subtract"


@dataclass(frozen=True)
class DrawnArea:
    """One step of a correction.

    Attributes:
        operation: `ADD` or `SUBTRACT`.
        ring: corners, [n, 2], level-0 px.
    """

    operation: str
    ring: Sequence[Sequence[float]]


@dataclass(frozen=True)
class CorrectedOutline:
    """A corrected outline.

    Attributes:
        geojson: its text: QuPath's, with who drew it and when.
        sha256: of the area, whoever drew it.
        area_px: level-0 px.
    """

    geojson: str
    sha256: str
    area_px: float


def changed_outline(path: Path, steps: Sequence[DrawnArea]) -> shapely.MultiPolygon:
    """An outline with areas added and cut out, in their order.

    Args:
        path: of the outline's file; one that holds no area is an empty outline.
        steps: what was drawn.

    Raises:
        InputError: a drawn area is none, or crosses itself too often; the file cannot be read.
    """
    outline = shapely.MultiPolygon()
    if json.loads(path.read_bytes())["features"]:  # a file of ours
        outline = read_outline(path)
    for number, step in enumerate(steps, 1):
        try:
            area = _area(step)
        except InputError as error:
            raise InputError(f"drawn area {number}: {error}") from None
        joined = shapely.union(outline, area) if step.operation == ADD else shapely.difference(outline, area)
        outline = polygons(joined)
    return outline


def _area(step: DrawnArea) -> shapely.MultiPolygon:
    ring = ring_points(list(step.ring))
    if len(np.unique(ring, axis=0)) < 3:
        raise InputError("fewer than three corners")
    closed = ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])
    polygon = shapely.Polygon(closed)
    if not shapely.is_valid(polygon):
        check_crossings([closed], MAX_CROSSINGS, "crosses itself")
    area = polygons(polygon)
    if area.is_empty:
        raise InputError("it encloses nothing")
    return area


def given_area(geojson: dict[str, Any], state: Path) -> shapely.MultiPolygon:
    """An outline that was handed in as GeoJSON.

    Args:
        geojson: as QuPath exports it, level-0 px.
        state: folder for the time of reading.

    Raises:
        InputError: see `annotations.read_outline`.
    """
    with tempfile.TemporaryDirectory(dir=state) as folder:
        path = Path(folder) / "given.geojson"
        path.write_text(json.dumps(geojson), encoding="utf-8")
        try:
            return read_outline(path)
        except InputError as error:
            raise InputError(str(error).removeprefix(f"{path}: ")) from None


def corrected_outline_of(
    outline: shapely.MultiPolygon, slide: SlideRecord, slide_id: str, who: str, now: datetime
) -> CorrectedOutline:
    """The outline as it is kept, once it is known to lie on its slide.

    Args:
        outline: level-0 px.
        slide: what was found of the slide when it was scored.
        slide_id: of the slide.
        who: drew it.
        now: when.

    Raises:
        InputError: nothing is left of it.
        SlideError: more of it than a little lies outside the slide.
    """
    if outline.is_empty:
        raise InputError("nothing is left of the outline: a slide without a tumour cannot be scored")
    facts = SlideFacts(
        path="",
        backend=slide.backend,
        vendor=slide.vendor,
        width=slide.width,
        height=slide.height,
        levels=(),
        mpp_x=slide.mpp_x,
        mpp_y=slide.mpp_y,
        objective=slide.objective,
        warnings=(),
    )
    try:
        kept, _ = inside_slide(outline, facts)
    except SlideError as error:
        raise SlideError(f"the outline: {error}", error.code) from None
    text = annotations_json(
        [Annotation(kept, TUMOUR_CLASS)],
        f"{slide_id}: corrected",
        note=RESEARCH_USE_ONLY,
        who=who,
        when=now.astimezone(UTC).isoformat(timespec="seconds"),
    )
    return CorrectedOutline(text, hashlib.sha256(shapely.to_wkb(kept.normalize())).hexdigest(), float(kept.area))
