"""Tile scores as pictures of one pixel for each tile, to lay over the slide, and what may be said of them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from pathoprog.errors import InputError
from pathoprog.scoring.results import TILES
from pathoprog.slide_report.heatmap import COLOURS
from pathoprog.slides.resolutions import RESOLUTIONS

MEASURES = ("score", "attention")
ATTENTION_SCALE = 4.0
"""Times the weight that all tiles had if they weighed equally: the upper end of the colours, as in heatmap.png."""
MOST_SIDE = 20_000
"""Tiles in a row; the widest slide at the finest resolution has a fifth of it."""
COLUMNS = ("resolution", "x0", "y0", "width0", "height0", *MEASURES)


@dataclass(frozen=True)
class ScoreMap:
    """Tiles of one resolution on their grid, one pixel each.

    Attributes:
        resolution: of the tiles.
        measure: ``score``, or ``attention``.
        x0: left edge of the first column, level-0 px.
        y0: top edge of the first row.
        step_x: from one column to the next, level-0 px.
        step_y: from one row to the next.
        levels: uint8 [rows, columns]: 0 where there is no tile, else 1 (lowest) to 255 (highest).
        low: what the lowest and `high` what the highest colour means.
        high: see `low`.
        n_tiles: how many tiles there are.
    """

    resolution: str
    measure: str
    x0: float
    y0: float
    step_x: float
    step_y: float
    levels: NDArray[np.uint8]
    low: str
    high: str
    n_tiles: int


@dataclass(frozen=True)
class SlideMaps:
    """All maps of a slide, and the sentence that belongs below each."""

    maps: tuple[ScoreMap, ...]
    caption: str


def read_maps(folder: Path, caption: str) -> SlideMaps:
    """The maps of a result.

    Args:
        folder: of its files; without tiles.parquet there are none.
        caption: what their numbers mean.

    Raises:
        InputError: the table of tiles cannot be read.
    """
    path = folder / TILES
    if not path.is_file():
        return SlideMaps((), caption)
    try:
        names = [name for name in pq.read_schema(path).names if name in COLUMNS]
        table = pq.read_table(path, columns=names)
    except (OSError, pa.ArrowException) as error:
        raise InputError("the table of tiles cannot be read; requeue the slide to have it again") from error
    resolution = np.asarray(table["resolution"].to_pylist())
    columns = {name: table[name].to_numpy() for name in names if name != "resolution"}
    found = []
    for one in RESOLUTIONS:
        chosen = resolution == one
        if not chosen.any():
            continue
        tiles = {name: values[chosen] for name, values in columns.items()}
        for measure in MEASURES:
            if measure in tiles and np.isfinite(tiles[measure]).all():
                found.append(_map(one, measure, tiles))
    return SlideMaps(tuple(found), caption)


def _map(resolution: str, measure: str, tiles: dict[str, NDArray[Any]]) -> ScoreMap:
    step_x, step_y = float(tiles["width0"][0]), float(tiles["height0"][0])
    columns, rows = np.rint(tiles["x0"] / step_x).astype(np.int64), np.rint(tiles["y0"] / step_y).astype(np.int64)
    left, top = int(columns.min()), int(rows.min())
    width, height = int(columns.max()) - left + 1, int(rows.max()) - top + 1
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise InputError("the table of tiles holds places that no slide has; requeue the slide to have it again")
    share, low, high = tiles[measure].astype(np.float64), "0", "1"
    if measure == "attention":
        share, high = share * len(share) / ATTENTION_SCALE, f"{ATTENTION_SCALE:.0f} x equal"
    levels = np.zeros((height, width), np.uint8)
    levels[rows - top, columns - left] = 1 + np.rint(np.clip(share, 0, 1) * 254).astype(np.uint8)
    return ScoreMap(
        resolution, measure, left * step_x, top * step_y, step_x, step_y, levels, low, high, len(tiles["x0"])
    )


def map_png(one: ScoreMap) -> bytes:
    """The picture of a map: transparent where there is no tile, else the colours of heatmap.png."""
    rows, columns = one.levels.shape
    image = Image.frombytes("P", (columns, rows), one.levels.tobytes())
    palette = np.zeros((256, 3), np.uint8)
    palette[1:] = COLOURS[np.rint(np.linspace(0, 255, 255)).astype(int)]
    image.putpalette(palette.tobytes())
    sink = io.BytesIO()
    image.save(sink, "PNG", transparency=0, compress_level=6)
    return sink.getvalue()
