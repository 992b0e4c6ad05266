"""Where the tiles of a slide are: a grid per resolution inside a region."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.slide import SlideFacts
from pathoprog.tiles.config import TileSpec, standard_spec

__all__ = ["TileGrid", "TileSpec", "standard_spec", "tile_grid"]


@dataclass(frozen=True)
class TileGrid:
    """Tiles of one slide at one resolution, row by row from the top, each row from the left.

    Attributes:
        spec: what a tile is.
        x0: int64 [n], left edges, level-0 px.
        y0: int64 [n], top edges, level-0 px.
        coverage: float32 [n], share of each tile inside the region.
        width0: width of a tile in level-0 px, fractional.
        height0: height of a tile in level-0 px.
        n_candidates: tiles that passed the coverage rule, before `max_per_slide` chose among them.
    """

    spec: TileSpec
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    coverage: NDArray[np.float32]
    width0: float
    height0: float
    n_candidates: int

    def __len__(self) -> int:
        return len(self.x0)


def tile_grid(facts: SlideFacts, region: RegionMask | shapely.MultiPolygon, spec: TileSpec) -> TileGrid:
    """Lay the grid that begins at the slide's corner and keep the tiles that the region covers enough.

    METHOD, section 1, "tile" and "which tiles count". Likely, and the default here: 448 x 448 px at 1.0 um/px (10x) and
    0.25 um/px (40x), without overlap (reported from memory of Skrede et al., Lancet 2020;395:350-360). Project default,
    for the sources at hand do not say it: a tile counts where the tumour covers at least half of it. That only tumour
    is analysed is known.

    Tiles lie wholly inside the slide. Whether the slide is fine enough for the resolution is
    `slides.mpp.check_resolution`'s question.

    Args:
        facts: size and um/px of the slide.
        region: mask, or polygons in level-0 px.
        spec: what a tile is, and which count.
    """
    width0, height0 = spec.size_px * spec.mpp / facts.mpp_x, spec.size_px * spec.mpp / facts.mpp_y
    columns = np.rint(np.arange(int(facts.width / width0 + 1e-6)) * width0).astype(np.int64)
    rows = np.rint(np.arange(int(facts.height / height0 + 1e-6)) * height0).astype(np.int64)
    if isinstance(region, RegionMask):
        coverage = region.coverage(columns[None, :], rows[:, None], width0, height0)
    else:
        coverage = _polygon_coverage(region, columns, rows, width0, height0)
    row, column = np.nonzero((coverage >= spec.min_coverage) & (coverage > 0))
    n_candidates = len(row)
    if 0 < spec.max_per_slide < n_candidates:
        chosen = _spread(row, column, spec.max_per_slide)
        row, column = row[chosen], column[chosen]
    return TileGrid(
        dataclasses.replace(spec),
        columns[column],
        rows[row],
        coverage[row, column].astype(np.float32),
        width0,
        height0,
        n_candidates,
    )


def _polygon_coverage(
    region: shapely.MultiPolygon, columns: NDArray[np.int64], rows: NDArray[np.int64], width0: float, height0: float
) -> NDArray[np.float64]:
    """Share [rows, columns] of each tile inside the polygons, exact."""
    coverage = np.zeros((len(rows), len(columns)))
    if region.is_empty or coverage.size == 0:
        return coverage
    left, _, right, _ = region.bounds
    near = np.flatnonzero((columns + width0 > left) & (columns < right))
    for i, y in enumerate(rows):
        # Clipped to one row first: a tile then meets few of the outline's vertices.
        strip = shapely.clip_by_rect(region, left - 1, y, right + 1, y + height0)
        if strip.is_empty or len(near) == 0:
            continue
        boxes = shapely.box(columns[near], y, columns[near] + width0, y + height0)
        coverage[i, near] = shapely.area(shapely.intersection(boxes, strip)) / (width0 * height0)
    return coverage


def _spread(row: NDArray[np.int64], column: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """`n` indices, evenly taken along a Z-shaped (Morton) path through the grid, in ascending order."""
    key = np.zeros(len(row), np.int64)
    for bit in range(20):
        key |= ((column >> bit) & 1) << (2 * bit) | ((row >> bit) & 1) << (2 * bit + 1)
    path = np.argsort(key, kind="stable")
    return np.sort(path[((np.arange(n) + 0.5) * len(path) / n).astype(np.int64)])
