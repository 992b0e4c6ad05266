"""Features of another tool at the lock: who made them, and tuning scored from them by the code that scores."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.manifest import Manifest
from pathoprog.errors import ConfigError, InputError, SlideError
from pathoprog.networks.feature_values import Features
from pathoprog.networks.features import is_foreign, read_features
from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.scoring.feature_stream import content_of, feature_events
from pathoprog.slides.resolutions import in_order
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import SlideFailed, SlideJob, StreamEvent, tiles_at_once
from pathoprog.text.wording import listing
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.by_resolution import at, data_at
from pathoprog.training.data.feature_store import maker_of, values_path
from pathoprog.training.data.tile_store import specs
from pathoprog.training.lock.tuning_slides import NOT_CUT


def makers_of(settings: EnsembleConfig, trained: TrainConfig) -> dict[str, FeatureMaker]:
    """Who made the features that candidates learned from, by resolution; nothing where no other tool did.

    The training's settings of tiles and tumour policy, which nothing read, become what is known of those features.

    Raises:
        ConfigError: weights or a tumour network were given, which features of another tool have no use for.
        InputError: features of one resolution are ours, or they differ in who made them.
    """
    data = trained.data
    resolutions = in_order(data.resolutions)
    of_features = [name for name in resolutions if data_at(trained, name).source == "features"]
    if not of_features:
        return {}
    cohort = read_cohort(data.cohort, data.overlap)
    slide_ids = list(cohort.loc[cohort["role"].isin(DEVELOPMENT_ROLES), "slide_id"])
    found = {name: maker_of(slide_ids, data, name, at(trained, name).network.feature_dim) for name in of_features}
    makers = {resolution: maker for resolution, maker in found.items() if maker is not None}
    if not makers:
        return {}
    if others := [name for name in resolutions if name not in makers]:
        raise InputError(
            f"features at {listing(list(makers))} are of another tool, and what members at {listing(others)} take is"
            " not: a bundle scores either slides or features; train both on features that one tool made"
        )
    if settings.encoder_weights:
        raise ConfigError(
            "encoder_weights: the features are another tool's, and the bundle scores features of the same; leave it out"
        )
    if settings.tumour or settings.tumour_policy == "network":
        raise ConfigError("tumour: features of another tool lie where that tool laid its tiles; leave it out")
    for resolution, maker in makers.items():
        name = f"tiles_{resolution}"
        setattr(data, name, maker.spec(replace(getattr(data, name))))
    data.tumour_policy = "tissue"
    return makers


def add_other_features(makers: dict[str, FeatureMaker], manifest: Manifest) -> Manifest:
    """The manifest with who made the features, where another tool did."""
    return replace(manifest, other_features=makers) if makers else manifest


def content_in(slide_id: str, trained: TrainConfig) -> str:
    """Hash of a slide's features of another tool as scoring knows it; empty where there are none."""
    return content_of(features) if (features := _features(slide_id, trained)) else ""


def _paths(slide_id: str, trained: TrainConfig) -> dict[str, Path]:
    """The files of a slide's features that can be used, by resolution."""
    names = in_order(trained.data.resolutions)
    dims = {name: at(trained, name).network.feature_dim for name in names}
    paths = {name: values_path(slide_id, trained.data, name, dims[name]) for name in names}
    return {name: path for name, path in paths.items() if path is not None}


def _features(slide_id: str, trained: TrainConfig) -> dict[str, Features]:
    paths = _paths(slide_id, trained)
    return {name: read_features(path) for name, path in paths.items() if is_foreign(path)}


class FeatureTiles:
    """`TuningTiles` of features of another tool.

    Args:
        trained: settings of the training.
        makers: of `makers_of`.
        stream: how scoring would read: it says how many tiles come at once.
    """

    def __init__(self, trained: TrainConfig, makers: Mapping[str, FeatureMaker], stream: StreamSettings):
        self.trained, self.data, self.makers = trained, trained.data, makers
        self.batch = {spec.resolution: max(1, tiles_at_once(spec.size_px, stream)) for spec in specs(self.data)}

    def key(self, slide_id: str) -> Any:
        """See `TuningTiles`."""
        return {name: features.content for name, features in _features(slide_id, self.trained).items()} or None

    def n_tiles(self, slide_ids: list[str]) -> int:
        """See `TuningTiles`."""
        return sum(len(found.values) for slide_id in slide_ids for found in _features(slide_id, self.trained).values())

    def events(self, slide_ids: list[str]) -> Iterator[StreamEvent]:
        """See `TuningTiles`."""
        for slide_id in slide_ids:
            paths = _paths(slide_id, self.trained)
            if not paths:
                error = SlideError("it has no features, and training went without it", NOT_CUT)
                yield SlideFailed(slide_id, error, "open")
                continue
            files = {name: str(path) for name, path in paths.items()}
            job = SlideJob(slide_id, "", specs(self.data), features=files)
            yield from feature_events([job], self.makers, self.batch)
