"""Tiles asked for by number, of many slides in any order: read by the stream's processes while the asker works on.

Training draws a few tiles of each of many slides. Whoever asks gets a promise at once; a thread of its own passes what
is asked for to the readers, first come, first served.
"""

import contextlib
import itertools
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.config import SlideSettings
from pathoprog.stream.events import Places
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, StreamSettings, TileBatch, TileStream

Pixels = NDArray[np.uint8]
END_S = 5.0


@dataclass
class _Asked:
    """Tiles on their way."""

    slide: "PlacedTiles"
    index: NDArray[np.int64]
    promise: "Future[Pixels]" = field(default_factory=Future)
    tiles: Pixels = field(default_factory=lambda: np.empty(0, np.uint8))

    def job(self, name: str) -> SlideJob:
        """What the stream is told."""
        places, size = self.slide.places, self.slide.places.spec.size_px
        chosen = replace(
            places, x0=places.x0[self.index], y0=places.y0[self.index], in_tissue=places.in_tissue[self.index]
        )
        self.tiles = np.empty((len(self.index), size, size, 3), np.uint8)
        return SlideJob(name, self.slide.path, [], self.slide.slides, places=chosen)


class TileRequests:
    """Reader processes that answer for single tiles; a context manager. They start when first asked.

    What waits takes no memory but its numbers; what is read waits in the promise until it is fetched.
    """

    def __init__(self, settings: StreamSettings):
        self._stream = TileStream(settings)
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._under_way: dict[str, _Asked] = {}
        self._ended: BaseException | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended = self._ended or RuntimeError("the readers have been sent away")
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(END_S)  # one whose read hangs ends with this process

    def readers(self) -> list[int]:
        """Process ids of the readers that are alive."""
        return self._stream.pids

    def ask(self, slide: "PlacedTiles", index: NDArray[np.int64]) -> "Future[Pixels]":
        """Have tiles read; the promise holds them in the order of `index`, or the `SlideError` that names the slide."""
        asked = _Asked(slide, index)
        with self._lock:
            if self._ended is not None:
                raise self._ended
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="tile requests", daemon=True)
                self._thread.start()
            self._waiting.put(asked)
        return asked.promise

    def _serve(self) -> None:
        """The thread: whatever ends it is told to all who wait."""
        try:
            with self._stream as stream, contextlib.closing(stream.read(self._jobs())) as events:
                for event in events:
                    if self._ended is not None:
                        break
                    self._answer(event)
        except BaseException as error:  # a thread has nobody above it: whatever ends it goes to those who wait
            self._end(error)
        else:
            self._end(RuntimeError("the readers have been sent away"))

    def _end(self, error: BaseException) -> None:
        with self._lock:
            self._ended = self._ended or error
        while not self._waiting.empty():
            if (asked := self._waiting.get()) is not None:
                asked.promise.set_exception(error)
        for asked in self._under_way.values():
            asked.promise.set_exception(error)

    def _jobs(self) -> Iterator[SlideJob | None]:
        """What is asked for. Where nothing is under way it waits; else the stream must be free to go on: None."""
        for number in itertools.count():
            while True:
                try:
                    asked = self._waiting.get(block=not self._under_way)
                    break
                except queue.Empty:
                    yield None
            if asked is None:
                return
            name = str(number)
            self._under_way[name] = asked
            yield asked.job(name)

    def _answer(self, event: object) -> None:
        if isinstance(event, TileBatch):
            self._under_way[event.slide_id].tiles[event.start : event.start + len(event.tiles)] = event.tiles
        elif isinstance(event, SlideDone):
            asked = self._under_way.pop(event.slide_id)
            asked.promise.set_result(asked.tiles)
        elif isinstance(event, SlideFailed):
            asked = self._under_way.pop(event.slide_id)
            error = event.error
            asked.promise.set_exception(
                SlideError(f"{asked.slide.slide_id}: {error}", error.code, error.not_reportable)
            )


@dataclass
class PlacedTiles:
    """One slide's tiles at one resolution, left in the slide until they are asked for.

    Attributes:
        slide_id: for messages.
        path: of the slide.
        slides: how it is opened.
        places: of the tiles.
        requests: who reads; None where nobody will ask.
    """

    slide_id: str
    path: str
    slides: SlideSettings
    places: Places
    requests: TileRequests | None = None
    dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the array that they would be: n, s, s, 3."""
        size = self.places.spec.size_px
        return len(self), size, size, 3

    def ask(self, index: NDArray[np.int64]) -> "Future[Pixels]":
        """Have tiles read, by their number: a promise of uint8 [len(index), s, s, 3]."""
        assert self.requests is not None, "nobody reads these slides"
        return self.requests.ask(self, index)
