"""What goes into the stream of slides, and what comes out."""

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.quality.look import QualityLook
from pathoprog.regions.tissue import RegionMask
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.identity import Stamp
from pathoprog.slides.slide import SlideFacts
from pathoprog.tiles.config import TileSpec
from pathoprog.tiles.grid import TileGrid


@dataclass(frozen=True)
class Places:
    """Tiles of one slide at one resolution that were laid before.

    Attributes:
        spec: what a tile is.
        x0: int64 [n], left edges, level-0 px.
        y0: int64 [n], top edges, level-0 px.
        in_tissue: bool [n], tiles that must not read as blank (`hollow.in_tissue`).
        stamp: the slide's `identity.stamp` when they were laid; of another slide they say nothing.
    """

    spec: TileSpec
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    in_tissue: NDArray[np.bool_]
    stamp: Stamp

    def __len__(self) -> int:
        return len(self.x0)


@dataclass(frozen=True)
class GivenFeatures:
    """Features of another tool that came in place of a slide's tiles.

    Attributes:
        unit: of the tiles' places in the grids: ``px`` (level-0), ``um``, or empty where they say nothing.
        makers: who made them, in words, by resolution.
    """

    unit: str
    makers: dict[str, str]


@dataclass
class SlideJob:
    """One slide to read.

    Attributes:
        slide_id: its id, returned with each event; several jobs of one stream must not share it.
        path: the file or folder.
        specs: the tiles wanted, at most one spec per resolution.
        slides: how it is opened.
        tumour_policy: one of `tumour_config.POLICIES`: where tiles are laid.
        outline_path: annotation file, for the policy ``outline``; for ``network`` a corrected outline, which then
            stands in place of the network's.
        outline_classes: classes of it that count; empty by `annotations.read_outline`'s rule.
        overview: the view that the network is shown, for the policy ``network``.
        thumbnail_px: longer side of the thumbnail.
        hash_content: False leaves the hash out, which reads the whole file.
        tiles: False ends with `SlideOpened`: grids, but no tile.
        places: read these tiles, in their order, and nothing else: there is no `SlideOpened`.
        source: `identity.source_sha256` of the slide that is meant; None for whatever is there. A slide that looks
            otherwise is not touched (`changing`), one that looks otherwise at the end has failed (`changed`).
        outline_sha256: hash of the outline file that is meant; None for whatever is there.
        names: see `identity.content_sha256`.
        features: by resolution, files of features that stand in place of the slide (`scoring.feature_stream`).
    """

    slide_id: str
    path: str
    specs: list[TileSpec]
    slides: SlideSettings = field(default_factory=SlideSettings)
    tumour_policy: str = "tissue"
    outline_path: str = ""
    outline_classes: tuple[str, ...] = ()
    overview: OutlineSettings = field(default_factory=OutlineSettings)
    thumbnail_px: int = 1024
    hash_content: bool = True
    tiles: bool = True
    places: Places | None = None
    source: str | None = None
    outline_sha256: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlideOpened:
    """A slide is open; its tiles follow.

    Attributes:
        slide_id: the job's.
        facts: size, um/px, backend, warnings.
        grids: by resolution.
        refused: by resolution, the reason why there is no grid.
        thumbnail: uint8 [h, w, 3].
        thumbnail_downsample: level-0 px per thumbnail px.
        tissue: mask of the tissue, whatever the policy.
        region_source: what the grids were laid in: ``tissue``, ``outline``, ``network`` or ``corrected``; of features
            of other tools ``features``.
        outline: the polygons that were laid in, level-0 px; None under the policy ``tissue``.
        tissue_area_um2: area of the tissue.
        tumour_area_um2: area of the region that the grids were laid in.
        sha256: of the content; for formats of several files, of all of them; "" where it was not wanted.
        look: what was measured of its quality.
        features: said where features came in place of the slide: facts, thumbnail and areas are empty then.
    """

    slide_id: str
    facts: SlideFacts
    grids: dict[str, TileGrid]
    refused: dict[str, str]
    thumbnail: NDArray[np.uint8]
    thumbnail_downsample: float
    tissue: RegionMask
    region_source: str
    outline: shapely.MultiPolygon | None
    tissue_area_um2: float
    tumour_area_um2: float
    sha256: str
    look: QualityLook = field(default_factory=QualityLook)
    features: GivenFeatures | None = None


@dataclass(frozen=True)
class TileBatch:
    """Tiles `start` … of a slide's grid: uint8 [n, h, w, 3], a view that is valid until the next event is asked for.

    Or features [n, d] in their place.
    """

    slide_id: str
    resolution: str
    start: int
    tiles: NDArray[np.uint8]


@dataclass(frozen=True)
class SlideDone:
    """All tiles of a slide have come; `seconds` its reader spent on it."""

    slide_id: str
    seconds: float


@dataclass(frozen=True)
class SlideFailed:
    """A slide could not be read (to its end); `stage` says how far it came.

    Codes of the error that may pass on another try: ``missing``, ``io``, ``hung``, ``changed``, ``changing``,
    ``device_memory``. Others will not change: ``crashed`` (it did so twice), ``memory`` (its limit is a setting),
    ``format``, ``pixel_type``, ``unreadable``, ``levels``, ``colour``, ``hollow``, ``size``, ``bounds``,
    ``mpp_missing``, ``mpp_absurd``, ``mpp_unequal``, ``outline_missing``, ``outline`` (it cannot be
    used, or is not of this slide), ``outside`` (of ``slides.roots``).

    `facts` is there if it could be opened; its um/px is NaN where that is what is wrong. `source` says what the files
    look like now (`identity.source_sha256`; "" where they are gone); None where nobody asked, or nobody could look.
    """

    slide_id: str
    error: SlideError
    stage: str
    facts: SlideFacts | None = None
    source: str | None = None


StreamEvent = SlideOpened | TileBatch | SlideDone | SlideFailed
