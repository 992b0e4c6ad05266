"""Settings of the data that training reads, and of what is other at one resolution than for all (light)."""

from dataclasses import dataclass

from pathoprog.errors import ConfigError
from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, MOST_RESOLUTIONS, RESOLUTIONS
from pathoprog.stream.config import StreamSettings
from pathoprog.tiles.config import TileSpec

SOURCES = ("store", "slides", "features")
STORE_FORMATS = ("raw", "jpeg")


@dataclass
class DataSettings:
    """Where patients, outcomes and tiles come from."""

    cohort: str = setting("", "cohort.csv", kind="path")
    outcomes: str = setting("", "outcomes.csv; opened for training and tuning only", kind="path")
    overlap: str = setting(
        "", "overlap.json: the patients that are meant to be in test and in development", kind="path"
    )
    source: str = setting(
        "store",
        "what training reads: store (tiles cut before), slides (the files themselves) or features (stored)",
        choices=SOURCES,
    )
    store: str = setting(
        "",
        "folder of the tile store; if source=slides, it keeps only where tiles lie (default: the run's folder)",
        kind="path",
    )
    store_format: str = setting(
        "raw",
        "what the tile store holds: raw, or jpeg, which is smaller but changes pixels (see docs/training.md); the lock"
        " then scores tuning from the slides",
        choices=STORE_FORMATS,
    )
    store_quality: int = setting(90, "quality of the JPEGs, if store_format=jpeg", low=1, high=100)
    features: str = setting(
        "",
        "folder of stored features: <resolution>/<slide_id>.safetensors, or <resolution>/ of another tool",
        kind="path",
    )
    features_10x: str = setting(
        "",
        "folder of the features at 10x, of `pathoprog features` or as TRIDENT, CLAM or STAMP wrote it (default: 10x in"
        " data.features)",
        kind="path",
    )
    features_20x: str = setting("", "folder of the features at 20x, as data.features_10x", kind="path")
    features_40x: str = setting("", "folder of the features at 40x, as data.features_10x", kind="path")
    tumour_policy: str = setting(
        "outline", "where tiles may lie: in the given tumour outlines, or in all tissue", choices=("outline", "tissue")
    )
    resolutions: list[str] = setting(
        list(METHOD_RESOLUTIONS),
        "resolutions of the ensemble, one or two; others than 10x and 40x are not METHOD's",
        choices=RESOLUTIONS,
        required=True,
    )
    tiles_10x: TileSpec = setting(TileSpec("10x", 1.0), "the tiles at 10x")
    tiles_20x: TileSpec = setting(TileSpec("20x", 0.5), "the tiles at 20x")
    tiles_40x: TileSpec = setting(TileSpec("40x", 0.25), "the tiles at 40x")
    max_missing: float = setting(
        0.1,
        "training stops if a larger share of the slides than this is missing, unreadable or without features",
        low=0.0,
        high=1.0,
    )
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")

    @property
    def features_at(self) -> dict[str, str]:
        """The folder of features that was given for each resolution, empty for none."""
        return {"10x": self.features_10x, "20x": self.features_20x, "40x": self.features_40x}

    @property
    def jpeg_quality(self) -> int:
        """Of the tile store's JPEGs; 0 where it holds the pixels themselves."""
        return self.store_quality if self.store_format == "jpeg" else 0


def check_resolutions(data: DataSettings) -> None:
    """Refuse more resolutions than an ensemble has.

    Raises:
        ConfigError: names the key.
    """
    if not 1 <= len(set(data.resolutions)) <= MOST_RESOLUTIONS:
        names = ",".join(data.resolutions)
        raise ConfigError(f"data.resolutions={names}: an ensemble has one resolution or {MOST_RESOLUTIONS}")


def check_data(data: DataSettings, source: str = "") -> None:
    """Refuse data settings without a cohort or the folder that is read or written, before any work.

    Args:
        data: the settings.
        source: what is read or written in place of `data.source`.

    Raises:
        ConfigError: names the key.
    """
    check_resolutions(data)
    folders = {"store": "folder of the tile store", "features": "folder of stored features"}
    wanted = source or data.source  # slides need no folder
    if wanted == "features" and all(data.features_at[name] for name in data.resolutions):
        folders = {}
    needed = {"cohort": "cohort.csv"} | {name: help for name, help in folders.items() if name == wanted}
    for name, help in needed.items():
        if not getattr(data, name):
            raise ConfigError(f"data.{name} is missing: give data.{name}=… ({help})")


@dataclass
class AtResolution:
    """What is other at one resolution than for all; what is not given is as for all."""

    encoder: str = setting(
        "", "network.encoder at this resolution; width, options and weights are then those given here, or the defaults"
    )
    width: float = setting(0.0, "network.width at this resolution; 0: as for all", low=0.0, high=2.0)
    encoder_options: str = setting("", "network.encoder_options at this resolution", kind="name")
    weights: str = setting("", "network.weights at this resolution", kind="path")
    feature_dim: int = setting(0, "network.feature_dim at this resolution; 0: as for all", low=0)
    source: str = setting("", "data.source at this resolution; default: as for all", choices=("", *SOURCES))
