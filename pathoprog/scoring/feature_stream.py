"""Features of other tools in place of slides: the events of the stream that scoring takes, from files of features.

The lock scores tuning through this, and `pathoprog score features=…` whatever comes later. No torch.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from pathoprog.errors import InputError, SlideError
from pathoprog.networks.feature_values import NOWHERE, Features
from pathoprog.networks.features import is_foreign, read_features
from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.quality.look import QualityLook
from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.slide import SlideFacts
from pathoprog.stream.events import GivenFeatures, SlideDone, SlideFailed, SlideJob, SlideOpened, StreamEvent, TileBatch
from pathoprog.system.files import sha256_value
from pathoprog.tiles.grid import TileGrid

REGION = "features"
"""What tiles were laid in, in results: the tool that made the features knows."""
CODE = "features"
WAIT_S = 0.05
MAP_PX = 640
NOT_CHECKED = "quality not checked: features of another tool, no slide was read"


def feature_events(
    jobs: Iterable[SlideJob | None], makers: Mapping[str, FeatureMaker], batch_tiles: Mapping[str, int]
) -> Iterator[StreamEvent]:
    """What `TileStream.read` would give of slides, from their files of features: tiles are features [n, d].

    Args:
        jobs: each with `features`; None where there is none just now.
        makers: of the features that the members learned from, by resolution: others are a failure of that slide.
        batch_tiles: how many the heads are shown at once, by resolution.

    Yields:
        Events of one slide after another. A file that is absent, damaged, of another model or d, or holds NaN is a
        `SlideFailed`; features of no tile are the reason why a resolution has no grid.
    """
    for job in jobs:
        if job is None:
            time.sleep(WAIT_S)
            continue
        began = time.monotonic()
        try:
            found = {name: checked(job.features, name, maker) for name, maker in makers.items()}
        except InputError as error:
            yield SlideFailed(job.slide_id, SlideError(_without_folders(error, job), CODE), "open")
            continue
        yield opened_of(job, found, makers)
        try:
            for name, features in found.items():
                step = max(1, batch_tiles[name])
                for start in range(0, len(features.values), step):
                    part: Any = features.values[start : start + step]  # [n, d], where tiles stand else
                    yield TileBatch(job.slide_id, name, start, part)
        except InputError as error:  # it changed since it was opened
            yield SlideFailed(job.slide_id, SlideError(_without_folders(error, job), "changed"), "reading")
            continue
        yield SlideDone(job.slide_id, time.monotonic() - began)


class FeatureStream:
    """`feature_events` where a `TileStream` stands else: nothing is to be started or ended.

    Args:
        makers: see `feature_events`.
        batch_tiles: see there.
    """

    def __init__(self, makers: Mapping[str, FeatureMaker], batch_tiles: Mapping[str, int]):
        self.makers, self.batch_tiles = makers, batch_tiles

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open."""

    def read(self, jobs: Iterable[SlideJob | None], outliner: object = None) -> Iterator[StreamEvent]:
        """The slides' events; features carry their tiles, so that nothing outlines them."""
        return feature_events(jobs, self.makers, self.batch_tiles)


def _without_folders(error: InputError, job: SlideJob) -> str:
    """What is wrong, with the names of files alone: it leaves with the results."""
    said = str(error)
    for path in map(Path, job.features.values()):
        said = said.replace(str(path), path.name)
    return said


def checked(files: Mapping[str, str], resolution: str, maker: FeatureMaker) -> Features:
    """One slide's features at one resolution, if they are what the members learned from.

    Raises:
        InputError: there are none, or they cannot be used.
    """
    if not files.get(resolution):
        raise InputError(f"no features at {resolution}: the members take those of {maker.says()}")
    path = Path(files[resolution])
    if not is_foreign(path):
        raise InputError(f"{path}: features of `pathoprog features`; the members take those of {maker.says()}")
    features = read_features(path)
    if features.maker is not None and len(features.values) and (unlike := features.maker.differences(maker)):
        raise InputError(f"{path}: other features than the members learned from; they differ in {', '.join(unlike)}")
    return features


def content_of(features: Mapping[str, Features]) -> str:
    """SHA-256 that stands for a slide's features: the file's, or one over those of all resolutions."""
    hashes = {name: one.content for name, one in features.items()}
    return next(iter(hashes.values())) if len(set(hashes.values())) == 1 else sha256_value(hashes)


def opened_of(job: SlideJob, found: Mapping[str, Features], makers: Mapping[str, FeatureMaker]) -> SlideOpened:
    """The event that a slide begins with; its picture is empty glass as wide as its tiles reach."""
    specs = {spec.resolution: spec for spec in job.specs}
    grids, refused = {}, {}
    for name, features in found.items():
        n, side = len(features.values), _side(features)
        if n:
            spec = makers[name].spec(replace(specs[name]))
            every = np.ones(n, np.float32)
            grids[name] = TileGrid(spec, features.x0, features.y0, every, side, side, n)
        else:
            refused[name] = f"no {name} score: no tile in its features"
    units = {features.unit for features in found.values() if len(features.values)}
    unit = units.pop() if len(units) == 1 else NOWHERE
    reach = max((_reach(grid) for grid in grids.values()), default=(1.0, 1.0)) if unit else (1.0, 1.0)
    downsample = max(1e-6, max(reach) / MAP_PX)
    height, width = (max(1, math.ceil(length / downsample)) for length in reversed(reach))
    return SlideOpened(
        slide_id=job.slide_id,
        facts=SlideFacts("", "", "", 0, 0, (), math.nan, math.nan, None, ()),
        grids=grids,
        refused=refused,
        thumbnail=np.full((height, width, 3), 255, np.uint8),
        thumbnail_downsample=downsample,
        tissue=RegionMask(np.zeros((1, 1), bool), max(reach), max(reach), math.nan),
        region_source=REGION,
        outline=None,
        tissue_area_um2=math.nan,
        tumour_area_um2=math.nan,
        sha256=content_of(found),
        look=QualityLook(),
        features=GivenFeatures(unit, {name: makers[name].says() for name in found}),
    )


def _side(features: Features) -> float:
    """Side of a tile in the unit of its place; where the file does not say it, the smallest step between two tiles."""
    if not math.isnan(features.side):
        return features.side
    steps = np.concatenate([np.diff(np.unique(places)) for places in (features.x0, features.y0)])
    return float(steps.min()) if len(steps) and features.unit else 1.0


def _reach(grid: TileGrid) -> tuple[float, float]:
    return float(grid.x0.max() + grid.width0), float(grid.y0.max() + grid.height0)
