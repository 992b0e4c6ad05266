"""One slide, whatever library reads it: size, levels, um/px, and regions as uint8 RGB."""

import abc
import contextlib
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.dicom.sparse import SparseLevel
from pathoprog.slides.mpp import checked_mpp, objective_warning
from pathoprog.slides.pixels.resample import area_resize
from pathoprog.slides.tiff.facts import TiledPage
from pathoprog.slides.tile_reader import TileReader

Pixels = NDArray[np.uint8]

LEVEL_TOLERANCE = 1.02  # a level within 2% of the target counts as at it: um/px is not known better (METHOD)
MAX_SIDE = 2_000_000  # level-0 px; the widest glass at the finest scan has a fifth of it
BLOCK_PX = 2048  # side of the largest part of a level that is held at once when an overview is read


@dataclass(frozen=True)
class Level:
    """One level of the pyramid: size in its own pixels; `downsample` = level-0 px per its px."""

    width: int
    height: int
    downsample: float


@dataclass(frozen=True)
class SlideFacts:
    """What is known of a slide without its pixels.

    `width` and `height` are level-0 px. `origin_x`, `origin_y` say where this project's frame begins on the canvas of
    formats that surround the scan with empty canvas (MIRAX), in level-0 px; 0 elsewhere.
    """

    path: str
    backend: str
    vendor: str
    width: int
    height: int
    levels: tuple[Level, ...]
    mpp_x: float
    mpp_y: float
    objective: float | None
    warnings: tuple[str, ...]
    origin_x: int = 0
    origin_y: int = 0

    @property
    def mpp(self) -> float:
        """Um per level-0 pixel, mean of x and y."""
        return (self.mpp_x + self.mpp_y) / 2


class LevelRectangle(NamedTuple):
    """A rectangle of a level, in its pixels from this project's frame, and the part of it that is wanted.

    `box` is (left, top, right, bottom) in pixels of the rectangle, as `resample.area_resize` takes it.
    """

    level: int
    x: int
    y: int
    width: int
    height: int
    box: tuple[float, float, float, float]


class Slide(abc.ABC):
    """A slide open for reading; a context manager.

    All coordinates are level-0 pixels of the scanned area: where a format surrounds it with empty canvas
    (`openslide.bounds-x/y`), the frame begins at the scanned area, as in QuPath.

    Attributes:
        path: the file (for DICOM: the folder or file given).
        backend: name of the library that reads it.
        vendor: format as the library names it.
        width: level-0 px.
        height: level-0 px.
        levels: the pyramid, finest first.
        file_mpp: um per level-0 pixel in x and y as the file says, None where it does not.
        objective: the objective's power as the file says, or None.
        override_mpp: um per level-0 pixel that the user gave in place of the file's; 0 for none.
        file_warnings: of `warnings`, those that come from the file's format.
        pages: the file's tiled pages where it is a TIFF, and of DICOM the levels that leave frames out; set by
            `open_slide`.
        on_read: called before each read; tells a watchdog that work goes on.
    """

    backend = ""

    def __init__(
        self,
        path: str,
        vendor: str,
        level_sizes: list[tuple[int, int]],
        file_mpp: tuple[float | None, float | None],
        objective: float | None,
        *,
        bounds: tuple[int, int, int, int] | None = None,
        override_mpp: float = 0.0,
        warnings: tuple[str, ...] = (),
    ):
        canvas_width, canvas_height = level_sizes[0]
        if not (0 < canvas_width <= MAX_SIDE and 0 < canvas_height <= MAX_SIDE):
            raise SlideError(f"{path}: impossible size {canvas_width} x {canvas_height} px", "size")
        self.path, self.vendor = path, vendor
        x, y, width, height = bounds or (0, 0, canvas_width, canvas_height)
        self.origin_x, self.origin_y = x, y
        self.width, self.height = min(width, canvas_width - x), min(height, canvas_height - y)
        self.levels, self._origins = _frame(level_sizes, (x, y, self.width, self.height))
        self.file_mpp = file_mpp
        self.objective = objective if objective and math.isfinite(objective) and objective > 0 else None
        self.override_mpp = override_mpp
        self.file_warnings = warnings
        self.pages: tuple[TiledPage | SparseLevel, ...] = ()
        self.on_read: Callable[[], None] = lambda: None

    @abc.abstractmethod
    def _read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Pixels of a rectangle wholly inside the canvas of a level; x, y in that level's canvas pixels."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def mpp_x(self) -> float:
        """Um per level-0 pixel in x.

        Raises:
            SlideError: missing, absurd or unequal; names ``slides.mpp=…``.
        """
        return self._mpp()[0]

    @property
    def mpp_y(self) -> float:
        """Um per level-0 pixel in y; raises as `mpp_x` does."""
        return self._mpp()[1]

    @property
    def mpp(self) -> float:
        """Um per level-0 pixel, mean of x and y; raises as `mpp_x` does."""
        return sum(self._mpp()) / 2

    def _mpp(self) -> tuple[float, float]:
        try:
            return checked_mpp(*self.file_mpp, self.override_mpp)
        except SlideError as error:
            raise SlideError(f"{self.path}: {error}", error.code, error.not_reportable) from None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of this slide, though it can be read."""
        result = list(self.file_warnings)
        if self.override_mpp > 0:
            said = ", ".join("nothing" if value is None else f"{value:g}" for value in dict.fromkeys(self.file_mpp))
            result.append(f"um/px was given as {self.override_mpp:g}; the file says {said}")
        with contextlib.suppress(SlideError):  # no sane um/px: said where it is asked for
            result += [text for text in (objective_warning(self.objective, self.mpp),) if text]
        return tuple(result)

    @property
    def facts(self) -> SlideFacts:
        """All of the above in a value that crosses process borders; raises as `mpp_x` does."""
        return self._facts(*self._mpp())

    @property
    def known_facts(self) -> SlideFacts:
        """The same for any slide: um/px is NaN where it is missing or not believed."""
        try:
            return self.facts
        except SlideError:
            return self._facts(math.nan, math.nan)

    def _facts(self, mpp_x: float, mpp_y: float) -> SlideFacts:
        return SlideFacts(
            self.path, self.backend, self.vendor, self.width, self.height, self.levels, mpp_x, mpp_y,
            self.objective, self.warnings, self.origin_x, self.origin_y,
        )  # fmt: skip

    def read_region(self, x0: int, y0: int, level: int, size: tuple[int, int]) -> Pixels:
        """Pixels of one level.

        Args:
            x0: left edge, level-0 px (rounded to the level's nearest pixel).
            y0: top edge, level-0 px.
            level: index into `levels`.
            size: (width, height) in the level's own pixels.

        Returns:
            uint8 [height, width, 3], RGB.

        Raises:
            SlideError: code ``bounds`` for a level or rectangle that is not there, ``unreadable`` for damaged data.
        """
        if not 0 <= level < len(self.levels):
            raise SlideError(f"{self.path}: no level {level}; there are {len(self.levels)}", "bounds")
        facts = self.levels[level]
        x, y = round(x0 / facts.downsample), round(y0 / facts.downsample)
        return self._inside(level, x, y, *size)

    def _inside(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Pixels of a rectangle of a level, x, y in the level's pixels from this project's frame."""
        self.check_inside(level, x, y, width, height)
        origin_x, origin_y = self._origins[level]
        self.on_read()
        return self._read(level, x + origin_x, y + origin_y, width, height)

    def check_inside(self, level: int, x: int, y: int, width: int, height: int) -> None:
        """Refuse a rectangle that is not wholly inside a level; x, y in the level's pixels.

        Raises:
            SlideError: code ``bounds``.
        """
        facts = self.levels[level]
        if min(x, y) < 0 or min(width, height) < 1 or x + width > facts.width or y + height > facts.height:
            raise SlideError(
                f"{self.path}: region x {x}, y {y}, {width} x {height} px is not inside level {level} "
                f"({facts.width} x {facts.height} px)",
                "bounds",
            )

    def level_for(self, mpp: float) -> int:
        """Index of the coarsest level at or finer than `mpp` um/px (2% tolerance), 0 where none is."""
        fitting = [i for i, level in enumerate(self.levels) if level.downsample * self.mpp <= mpp * LEVEL_TOLERANCE]
        return max(fitting, key=lambda i: self.levels[i].downsample, default=0)

    def read_at_mpp(self, x0: float, y0: float, mpp: float, size: tuple[int, int]) -> Pixels:
        """Pixels at any um/px, from the coarsest level at or finer than it, by area averaging.

        Args:
            x0: left edge, level-0 px.
            y0: top edge, level-0 px.
            mpp: um per pixel of the result.
            size: (width, height) of the result in its own pixels.

        Returns:
            uint8 [height, width, 3], RGB.

        Raises:
            SlideError: as `read_region`; the rectangle may reach beyond the slide by rounding only, by one pixel.
        """
        source = self.source(x0, y0, mpp, size)
        image = self._inside(source.level, source.x, source.y, source.width, source.height)
        return area_resize(image, source.box, size)

    def source(self, x0: float, y0: float, mpp: float, size: tuple[int, int]) -> "LevelRectangle":
        """Where `read_at_mpp` takes its pixels from; arguments as there."""
        level = self.level_for(mpp)
        facts = self.levels[level]
        step_x, step_y = mpp / self.mpp_x / facts.downsample, mpp / self.mpp_y / facts.downsample
        left, top = x0 / facts.downsample, y0 / facts.downsample
        right, bottom = left + size[0] * step_x, top + size[1] * step_y
        x, y = math.floor(left + 1e-6), math.floor(top + 1e-6)
        right_px, bottom_px = math.ceil(right - 1e-6), math.ceil(bottom - 1e-6)
        slack = max(1.0, step_x) if level == 0 else max(2.0, step_x)
        if right_px > facts.width and right - facts.width <= slack:
            right_px = facts.width
        if bottom_px > facts.height and bottom - facts.height <= slack:
            bottom_px = facts.height
        box = _snapped((left - x, top - y, right - x, bottom - y), size)
        return LevelRectangle(level, x, y, right_px - x, bottom_px - y, box)

    def tile_reader(
        self,
        x0: NDArray[np.int64],
        y0: NDArray[np.int64],
        mpp: float,
        size_px: int,
        pool: Executor | None = None,
        threads: int = 1,
    ) -> TileReader:
        """A reader of many tiles of one size, in their order, which adapters may make faster than one by one.

        Args:
            x0: int64 [n], left edges, level-0 px.
            y0: int64 [n], top edges, level-0 px.
            mpp: um per pixel of the tiles.
            size_px: side of a tile in its own pixels.
            pool: threads to read with, each a run of neighbouring tiles; None reads in the calling thread.
            threads: how many of them to use.
        """
        return TileReader(self, x0, y0, mpp, size_px, pool, threads)

    def overview(self, mpp: float) -> Pixels:
        """The whole slide at a coarse um/px, read in blocks so that memory does not grow with the level read.

        Returns:
            uint8 [h, w, 3]; h, w = the slide's size over `mpp`, rounded down, at least 1. Pixel (0, 0) begins at the
            slide's corner.
        """
        width = max(1, int(self.width * self.mpp_x / mpp + 1e-6))
        height = max(1, int(self.height * self.mpp_y / mpp + 1e-6))
        if width == 1 or height == 1:
            mpp = min(mpp, self.width * self.mpp_x, self.height * self.mpp_y)
        result = np.empty((height, width, 3), np.uint8)
        step = mpp / self.mpp / self.levels[self.level_for(mpp)].downsample
        block = max(1, int(BLOCK_PX / max(step, 1.0)))
        for y in range(0, height, block):
            for x in range(0, width, block):
                size = (min(block, width - x), min(block, height - y))
                result[y : y + size[1], x : x + size[0]] = self.read_at_mpp(
                    x * mpp / self.mpp_x, y * mpp / self.mpp_y, mpp, size
                )
        return result

    def thumbnail(self, max_px: int) -> Pixels:
        """The whole slide, its longer side `max_px` pixels or fewer: uint8 [h, w, 3]."""
        return self.overview(self.thumbnail_mpp(max_px))

    def thumbnail_mpp(self, max_px: int) -> float:
        """Um per pixel of `thumbnail(max_px)`: a level's own where one is at least half as large, which costs least."""
        least = max(self.width, self.height) / max_px
        fitting = [level.downsample for level in self.levels if least <= level.downsample <= 2 * least]
        return self.mpp * max(1.0, min(fitting, default=least))


def _snapped(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box with rounding noise removed, so that equal um/px copies pixels instead of resampling them."""
    left, top, right, bottom = (round(value) if abs(value - round(value)) < 1e-4 else value for value in box)
    if abs(right - left - size[0]) < 1e-4 * size[0]:
        right = left + size[0]
    if abs(bottom - top - size[1]) < 1e-4 * size[1]:
        bottom = top + size[1]
    return left, top, right, bottom


def _frame(
    level_sizes: list[tuple[int, int]], bounds: tuple[int, int, int, int]
) -> tuple[tuple[Level, ...], list[tuple[int, int]]]:
    """Levels cropped to `bounds` (x, y, width, height; level-0 px), and where they begin on each level's canvas."""
    levels, origins = [], []
    for width, height in level_sizes:
        downsample = true_downsample(level_sizes[0], (width, height))
        x, y = round(bounds[0] / downsample), round(bounds[1] / downsample)
        levels.append(
            Level(
                max(1, min(width - x, math.ceil(bounds[2] / downsample - 1e-6))),
                max(1, min(height - y, math.ceil(bounds[3] / downsample - 1e-6))),
                downsample,
            )
        )
        origins.append((x, y))
    return tuple(levels), origins


def true_downsample(base: tuple[int, int], level: tuple[int, int]) -> float:
    """Level-0 px per px of a level: the whole number that explains its size, where one does, else the mean ratio.

    Scanners halve and drop or keep the odd last pixel, so a factor of 4 shows as 4.03; taking 4.03 would shift the
    far end of the level.
    """
    ratios = (base[0] / level[0], base[1] / level[1])
    whole = round(sum(ratios) / 2)
    fits = (
        all(abs(full / whole - part) < 1.0 + 1e-9 for full, part in zip(base, level, strict=True)) if whole else False
    )
    return float(whole) if fits else sum(ratios) / 2
