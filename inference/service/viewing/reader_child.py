"""The process that opens slides for the page and answers with pictures as JPEG. No torch, one thread, low priority."""

import contextlib
import math
import os
import resource
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pathoprog.errors import PathoprogError, SlideError
from pathoprog.inference.service.viewing.tile_pyramid import TilePyramid, read_scaled, source_px
from pathoprog.inference.service.work.service_ledger import SOURCE
from pathoprog.inference.slides.asked_child import Beat, answer_questions
from pathoprog.inference.slides.pseudonyms import pseudonym
from pathoprog.slides.identity import source_sha256
from pathoprog.slides.opening import open_slide
from pathoprog.slides.roots import check_slide_roots
from pathoprog.slides.slide import Level, Slide
from pathoprog.system.fault_points import point

CHECK_S = 1.0
"""How old a look at a slide's files may be before they are looked at again."""
UNKNOWN_MPP = 1.0
"""Given to open a file whose um/px is missing or not believed: it can be looked at, without a scale."""


@dataclass(frozen=True)
class ReaderLimits:
    """What a reader is held to; see `ViewingSettings`."""

    nice: int
    memory_mib: int
    slides_open: int
    tile_px: int
    jpeg_quality: int
    source_mpx: int


@dataclass(frozen=True)
class SlidePlace:
    """Where a slide lies, for its reader alone.

    Attributes:
        path: of the slide.
        source: its `identity.source_sha256` when it was scored; "" where it has not been.
        roots: folders that it must lie in.
        backend: as `SlideSettings.backend`.
        mpp: as `SlideSettings.mpp`.
        key: `source` is a keyed hash of what the files looked like, as a service's ledger has it; empty: it is plain.
    """

    path: str
    source: str
    roots: tuple[str, ...]
    backend: str = "auto"
    mpp: float = 0.0
    key: bytes = field(default=b"", repr=False)

    def looks(self) -> str:
        """What its files look like now, to be compared with `source`; empty where they are gone."""
        now = source_sha256(self.path)
        return pseudonym(self.key, SOURCE, now) if now and self.key else now


@dataclass(frozen=True)
class SlidePicture:
    """What must be known to show a slide.

    Attributes:
        pyramid: size and tiles.
        min_level: the coarsest level that is given.
        mpp_x: um per level-0 px; None where the file does not say, or is not believed.
        mpp_y: as `mpp_x`.
        levels: of the file.
    """

    pyramid: TilePyramid
    min_level: int
    mpp_x: float | None
    mpp_y: float | None
    levels: tuple[Level, ...]


@dataclass
class _Open:
    """A slide that is open."""

    slide: Slide
    picture: SlidePicture
    place: SlidePlace
    checked: float


class SlideViews:
    """Answers about slides, which stay open, the last used ones.

    Args:
        limits: of this process.
    """

    def __init__(self, limits: ReaderLimits):
        self._limits = limits
        self._kept: OrderedDict[SlidePlace, _Open] = OrderedDict()

    def picture(self, place: SlidePlace) -> SlidePicture:
        """What a slide is.

        Raises:
            SlideError: it cannot be opened, or is not the one that was scored (code ``changed``).
        """
        self._drop(place)
        return self._opened(place).picture

    def tile(self, place: SlidePlace, level: int, column: int, row: int) -> bytes:
        """One tile as JPEG.

        Raises:
            SlideError: also where there is no such tile (code ``bounds``).
        """
        point("view_tile")
        found = self._opened(place)
        pyramid = found.picture.pyramid
        if level < found.picture.min_level or not pyramid.has(level, column, row):
            raise SlideError("the slide has no such tile", "bounds")
        return self._jpeg(self._read(found, lambda: pyramid.read(found.slide, level, column, row)))

    def region(self, place: SlidePlace, box: tuple[int, int, int, int], px: int) -> bytes:
        """A rectangle as JPEG.

        Args:
            place: of the slide.
            box: x0, y0, width, height in level-0 px; what lies beyond the slide is left out.
            px: most pixels of the longer side.

        Raises:
            SlideError: nothing of it lies on the slide, or it is made of too much of the file (code ``bounds``).
        """
        found = self._opened(place)
        pyramid = found.picture.pyramid
        x0, y0 = max(0, box[0]), max(0, box[1])
        width, height = min(box[0] + box[2], pyramid.width) - x0, min(box[1] + box[3], pyramid.height) - y0
        if width < 1 or height < 1:
            raise SlideError("nothing of this rectangle lies on the slide", "bounds")
        step = max(1.0, max(width, height) / px)
        if source_px(found.picture.levels, width, height, step) > self._limits.source_mpx * 1e6:
            raise SlideError("this rectangle is too large for a file without coarser levels", "bounds")
        size = max(1, round(width / step)), max(1, round(height / step))
        return self._jpeg(self._read(found, lambda: read_scaled(found.slide, x0, y0, step, size)))

    def _read(self, found: _Open, read: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        try:
            return read()
        except BaseException:  # a library's error may end its handle
            self._drop(found.place)
            raise

    def _jpeg(self, pixels: NDArray[np.uint8]) -> bytes:
        quality = self._limits.jpeg_quality
        data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "444")
        return data

    def _opened(self, place: SlidePlace) -> _Open:
        found = self._kept.get(place)
        if found is not None and time.monotonic() - found.checked > CHECK_S:
            if place.source and place.looks() != place.source:
                self._drop(place)
                found = None
            else:
                found.checked = time.monotonic()
        if found is None:
            found = self._open(place)
            self._kept[place] = found
            while len(self._kept) > self._limits.slides_open:
                self._kept.popitem(last=False)[1].slide.close()
        self._kept.move_to_end(place)
        return found

    def _open(self, place: SlidePlace) -> _Open:
        check_slide_roots(place.path, list(place.roots))
        if place.source and (now := place.looks()) != place.source:
            if not now:
                raise SlideError("the file is gone", "missing")
            raise SlideError("the file has changed since it was scored", "changed")
        slide = open_slide(place.path, place.backend, place.mpp)
        known = math.isfinite(slide.known_facts.mpp)
        if not known:
            slide.close()
            slide = open_slide(place.path, place.backend, UNKNOWN_MPP)
        pyramid = TilePyramid(slide.width, slide.height, self._limits.tile_px)
        picture = SlidePicture(
            pyramid,
            pyramid.least_level(slide.levels, self._limits.source_mpx * 1e6),
            slide.mpp_x if known else None,
            slide.mpp_y if known else None,
            slide.levels,
        )
        return _Open(slide, picture, place, time.monotonic())

    def _drop(self, place: SlidePlace) -> None:
        found = self._kept.pop(place, None)
        if found is not None:
            found.slide.close()

    def answer(self, question: str, arguments: list[Any], beat: Beat) -> SlidePicture | bytes:
        """One question of the parent; a path stays here: what is wrong is said of "the slide"."""
        kinds: dict[str, Callable[..., SlidePicture | bytes]] = {
            "picture": self.picture,
            "tile": self.tile,
            "region": self.region,
        }
        place: SlidePlace = arguments[0]
        try:
            answered = kinds[question](*arguments)
        except SlideError as error:
            said = str(error).removeprefix(f"{place.path}: ")
            raise SlideError(said, error.code) from None
        except MemoryError:
            self._kept.clear()
            raise SlideError("reading it takes more memory than viewing.memory_mib allows", "memory") from None
        except OSError as error:
            self._drop(place)
            raise SlideError(f"it cannot be read ({error.strerror})", "io") from None
        return answered


def main(socket_fd: int) -> None:
    """Answer one parent until it closes the socket; the first question says what this process is held to."""
    _end_with_parent()
    views: list[SlideViews] = []

    def answer(question: str, arguments: list[Any], beat: Beat) -> SlidePicture | bytes | None:
        if question == "limits":
            _hold(*arguments)
            views[:] = [SlideViews(*arguments)]
            return None
        if not views:
            raise PathoprogError("this reader was not told its limits")
        return views[0].answer(question, arguments, beat)

    answer_questions(socket_fd, answer)


def _hold(limits: ReaderLimits) -> None:
    """Hold this process to its limits."""
    with contextlib.suppress(OSError):  # a host that forbids it: then it runs as the service does
        os.nice(limits.nice)
    if limits.memory_mib:
        most = limits.memory_mib << 20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _end_with_parent() -> None:
    """Exit when the parent does, even amid a read that hangs."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
