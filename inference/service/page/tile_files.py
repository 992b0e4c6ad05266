"""The tiles of a result, from its tiles.parquet: columns for the map, and the highest ones. Coordinates: level-0 px."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.scoring.results import TILES
from pathoprog.slides.resolutions import RESOLUTIONS


@dataclass(frozen=True)
class ResolutionTiles:
    """The tiles of one resolution.

    Attributes:
        resolution: a name of `pathoprog.slides.resolutions`.
        x0: left edges, int64 [n], level-0 px.
        y0: top edges, int64 [n].
        width0: width of a tile, level-0 px.
        height0: its height.
        score: mean of the members, float32 [n], in [0, 1].
        attention: weight of each tile, float32 [n], or None where all weigh equally.
    """

    resolution: str
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    width0: float
    height0: float
    score: NDArray[np.float32]
    attention: NDArray[np.float32] | None

    def highest(self, n: int) -> NDArray[np.int64]:
        """Places of the n tiles of the highest scores, the highest first; of equal ones the first stays first."""
        return np.argsort(-self.score, kind="stable")[:n]


def read_tiles(folder: Path) -> Mapping[str, ResolutionTiles]:
    """Tiles by resolution; none where the result has no tiles.

    Args:
        folder: of the slide's result.

    Raises:
        InputError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / TILES
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as stream:
            file = pq.ParquetFile(stream)
            weighted = "attention" in file.schema_arrow.names
            wanted = ["resolution", "x0", "y0", "width0", "height0", "score", *(["attention"] if weighted else [])]
            table = file.read(columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{TILES} cannot be read ({type(error).__name__}); requeue the slide to have it again"
        ) from error
    resolution = np.asarray(table["resolution"].to_pylist())
    columns: dict[str, NDArray[Any]] = {name: table[name].to_numpy() for name in wanted[1:]}
    found = {}
    for name in RESOLUTIONS:
        chosen = resolution == name
        if not chosen.any():
            continue
        of = {column: values[chosen] for column, values in columns.items()}
        attention = of.get("attention")
        found[name] = ResolutionTiles(
            resolution=name,
            x0=of["x0"],
            y0=of["y0"],
            width0=float(of["width0"][0]),
            height0=float(of["height0"][0]),
            score=of["score"],
            attention=attention if attention is not None and np.isfinite(attention).all() else None,
        )
    return found
