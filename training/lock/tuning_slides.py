"""Tuning slides as scoring reads them: events of the stream, from the tile store, from stored features, or from slides.

All tiles of each slide that `pathoprog score` would read, in the batches in which it would read them: equal tiles in
equal batches give equal bits.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.networks.tumour import NetworkOutliner
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.quality.look import QualityLook, look_from
from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.resolutions import in_order
from pathoprog.slides.slide import SlideFacts
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import (
    SlideDone,
    SlideFailed,
    SlideOpened,
    StreamEvent,
    TileBatch,
    TileStream,
    tiles_at_once,
)
from pathoprog.tiles.config import TileSpec
from pathoprog.tiles.grid import TileGrid
from pathoprog.training.config import TrainConfig
from pathoprog.training.data import feature_store, tile_store
from pathoprog.training.data.by_resolution import at
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.prefetch import in_turn
from pathoprog.training.data.tile_store import slide_job, source_key, specs

AHEAD = 2
"""Batches read from a disk while the networks work."""
NOT_CUT = "not_cut"
"""Code of a slide that training went without: it could not be read when tiles were cut or features made."""


@dataclass(frozen=True)
class Seen:
    """What is known of a slide beside its tiles: enough to judge its quality again.

    Attributes:
        sha256: of its content.
        n_tiles: by resolution, where it has a grid.
        refused: by resolution, why it has none.
        region: what the grids were laid in.
        tumour_area_um2: area of that region.
        tissue_area_um2: area of its tissue; NaN where a store of an earlier version does not say it.
        look: what was measured of its quality, of the checks' version `quality_version`.
        quality_version: of `look`.
    """

    sha256: str
    n_tiles: dict[str, int]
    refused: dict[str, str]
    region: str
    tumour_area_um2: float
    tissue_area_um2: float
    look: QualityLook
    quality_version: str = QUALITY_VERSION

    @classmethod
    def of(cls, opened: SlideOpened) -> "Seen":
        """What is known of a slide that was opened."""
        return cls(
            opened.sha256,
            {name: len(grid) for name, grid in opened.grids.items()},
            dict(opened.refused),
            opened.region_source,
            opened.tumour_area_um2,
            opened.tissue_area_um2,
            opened.look,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Seen":
        """As `asdict` and JSON made it; what other checks measured is left out."""
        plain: dict[str, Any] = {key: math.nan if value is None else value for key, value in values.items()}
        current = values["quality_version"] == QUALITY_VERSION
        return cls(**{**plain, "look": look_from(values["look"]) if current else QualityLook()})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def opened(self, slide_id: str, wanted: list[TileSpec]) -> SlideOpened:
        """The event that scoring begins a slide with; where its tiles lie, its picture and its facts are left empty."""
        grids = {spec.resolution: _grid(spec, self.n_tiles[spec.resolution]) for spec in wanted
                 if spec.resolution in self.n_tiles}  # fmt: skip
        return SlideOpened(
            slide_id=slide_id,
            facts=SlideFacts("", "", "", 0, 0, (), math.nan, math.nan, None, ()),
            grids=grids,
            refused=self.refused,
            thumbnail=np.zeros((1, 1, 3), np.uint8),
            thumbnail_downsample=1.0,
            tissue=RegionMask(np.zeros((1, 1), bool), 1.0, 1.0, 1.0),
            region_source=self.region,
            outline=None,
            tissue_area_um2=self.tissue_area_um2,
            tumour_area_um2=self.tumour_area_um2,
            sha256=self.sha256,
            look=self.look,
        )


def _grid(spec: TileSpec, n: int) -> TileGrid:
    nowhere = np.zeros(n, np.int64)
    return TileGrid(replace(spec), nowhere, nowhere, np.ones(n, np.float32), math.nan, math.nan, n)


class TuningTiles(Protocol):
    """Where the tuning slides' tiles come from."""

    def key(self, slide_id: str) -> Any:
        """What a slide's tiles follow from, as plain values; None where it has none here."""

    def n_tiles(self, slide_ids: list[str]) -> int:
        """Number of tiles at all resolutions; 0 where it is not known before they are read."""

    def events(self, slide_ids: list[str]) -> Iterator[StreamEvent]:
        """What `TileStream.read` would give for the slides."""


def stored_facts(slide_id: str, data: DataSettings, resolution: str, feature_dim: int) -> dict[str, Any] | None:
    """What is kept of a slide beside its tiles or features; None where there are none that can be used."""
    if data.source == "features":
        return feature_store.slide_facts(slide_id, data, resolution, feature_dim)
    return tile_store.slide_facts(slide_id, data, resolution)


class StoredTiles:
    """Tiles of the store, or the features that members take in their place.

    Args:
        trained: settings of the training.
        stream: how scoring would read the slides: it says how many tiles come at once.
    """

    def __init__(self, trained: TrainConfig, stream: StreamSettings):
        self.data = trained.data
        self.resolutions = in_order(trained.data.resolutions)
        self.at = {name: at(trained, name) for name in self.resolutions}
        self.batch = {spec.resolution: max(1, tiles_at_once(spec.size_px, stream)) for spec in specs(self.data)}

    def _facts(self, slide_id: str) -> dict[str, dict[str, Any]] | None:
        found = {name: stored_facts(slide_id, one.data, name, one.network.feature_dim) for name, one in self.at.items()}
        known = {name: facts for name, facts in found.items() if facts is not None}
        return known if len(known) == len(self.resolutions) else None

    def _tiles(self, slide_id: str, resolution: str) -> Any:
        """Tiles uint8 [n, s, s, 3] or features [n, d] that are read when indexed; None where there are none."""
        data = self.at[resolution].data
        if data.source == "features":
            found = feature_store.read([slide_id], data, resolution, self.at[resolution].network.feature_dim)
        else:
            found = tile_store.read([slide_id], data, resolution)
        return found[slide_id].tiles if slide_id in found else None

    def key(self, slide_id: str) -> Any:
        """See `TuningTiles`."""
        facts = self._facts(slide_id)
        names = ("key", "sha256", "x0", "y0", "refused", "quality_version", "look")
        return facts and {name: {key: part.get(key) for key in names} for name, part in facts.items()}

    def n_tiles(self, slide_ids: list[str]) -> int:
        """See `TuningTiles`."""
        here = (slide_id for slide_id in slide_ids if self._facts(slide_id) is not None)
        places = ((slide_id, name) for slide_id in here for name in self.resolutions)
        found = (self._tiles(*place) for place in places)  # one at a time: each holds a descriptor
        return sum(len(tiles) for tiles in found if tiles is not None)

    def events(self, slide_ids: list[str]) -> Iterator[StreamEvent]:
        """See `TuningTiles`."""
        with ThreadPoolExecutor(1, "tuning tiles") as pool:
            yield from in_turn(self._asks(slide_ids, pool), AHEAD)

    def _asks(
        self, slide_ids: list[str], pool: ThreadPoolExecutor
    ) -> Iterator[Callable[[], Callable[[], StreamEvent]]]:
        for slide_id in slide_ids:
            facts = self._facts(slide_id)
            if facts is None:
                error = SlideError("it could not be read when tiles were cut, and training went without it", NOT_CUT)
                yield _now(SlideFailed(slide_id, error, "open"))
                continue
            tiles = {name: self._tiles(slide_id, name) for name in self.resolutions}
            yield _now(_seen(facts, tiles, self.data).opened(slide_id, specs(self.data)))
            for name, array in tiles.items():
                step = self.batch[name]
                for start in range(0, 0 if array is None else len(array), step):
                    index = np.arange(start, min(start + step, len(array)))
                    yield partial(_soon, pool, slide_id, name, array, index)
            yield _now(SlideDone(slide_id, 0.0))


def _now(event: StreamEvent) -> Callable[[], Callable[[], StreamEvent]]:
    return lambda: lambda: event


def _soon(
    pool: ThreadPoolExecutor, slide_id: str, resolution: str, array: Any, index: NDArray[np.int64]
) -> Callable[[], StreamEvent]:
    """Have a batch read in a thread; the call that is returned waits for it."""
    return pool.submit(_batch, slide_id, resolution, array, index).result


def _batch(slide_id: str, resolution: str, array: Any, index: NDArray[np.int64]) -> StreamEvent:
    return TileBatch(slide_id, resolution, int(index[0]), np.ascontiguousarray(array[index]))


def _seen(facts: dict[str, dict[str, Any]], tiles: dict[str, Any], data: DataSettings) -> Seen:
    """What the store keeps of a slide; `facts` are those of `tile_store.facts_of` by resolution."""
    first = next(iter(facts.values()))
    area, tissue = (float(first.get(name, math.nan)) for name in ("tumour_area_um2", "tissue_area_um2"))
    refused = {name: part["refused"] for name, part in facts.items() if part["refused"]}
    version = first.get("quality_version", "")
    return Seen(
        sha256=first["sha256"],
        n_tiles={name: len(array) if array is not None else 0 for name, array in tiles.items() if name not in refused},
        refused=refused,
        region=data.tumour_policy,
        tumour_area_um2=area,
        tissue_area_um2=area if data.tumour_policy == "tissue" else tissue,
        look=look_from(first["look"]) if version == QUALITY_VERSION else QualityLook(),
    )


class SlidesTiles:
    """Tiles straight from the slides, as `pathoprog score` reads them.

    Args:
        trained: settings of the training: its tiles, and how it opened slides.
        rows: of the cohort table.
        stream: the reader processes.
        tumour_policy: that the bundle is scored under.
        outliner: draws the outlines under the policy ``network``.
        outliner_sha256: of its weights.
    """

    def __init__(
        self,
        trained: TrainConfig,
        rows: pd.DataFrame,
        stream: StreamSettings,
        tumour_policy: str,
        outliner: NetworkOutliner | None = None,
        outliner_sha256: str = "",
    ):
        self.data = replace(trained.data, tumour_policy=tumour_policy)
        self.rows = {str(row["slide_id"]): row for row in rows.to_dict("records")}
        self.stream, self.outliner, self.outliner_sha256 = stream, outliner, outliner_sha256

    def key(self, slide_id: str) -> Any:
        """See `TuningTiles`."""
        return [source_key(self.rows[slide_id], self.data, specs(self.data)), self.outliner_sha256, QUALITY_VERSION]

    def n_tiles(self, slide_ids: list[str]) -> int:
        """See `TuningTiles`."""
        return 0

    def events(self, slide_ids: list[str]) -> Iterator[StreamEvent]:
        """See `TuningTiles`."""
        jobs = [slide_job(self.rows[slide_id], self.data, specs(self.data)) for slide_id in slide_ids]
        for job in jobs:
            job.overview = self.outliner.network.outline if self.outliner else job.overview
        with TileStream(self.stream) as stream:
            yield from stream.read(jobs, self.outliner)
