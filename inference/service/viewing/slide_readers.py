"""The readers of the page: a few processes that open slides, a bounded queue before them, a cache of tiles.

The process of the service opens no slide. A reader that crashes or hangs ends the question it had, and another takes
its place; what nobody waits for any more is not read.
"""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pathoprog.errors import PathoprogError, SlideError
from pathoprog.inference.service.viewing import reader_child
from pathoprog.inference.service.viewing.reader_child import ReaderLimits, SlidePicture, SlidePlace
from pathoprog.inference.service.viewing.tile_cache import TileCache
from pathoprog.inference.service.viewing.viewing_config import ViewingSettings
from pathoprog.inference.slides.asked_child import AskedChild, NoAnswerError

IDLE_S = 300.0
"""Readers that nobody asked for so long end, and what they had open is closed."""
ANSWER_S = 0.5
"""One wait for an answer; a service that stops waits no longer for a reader."""
CRASHES = 3
"""So many readers may one slide take down before it is left alone."""
LEFT_ALONE_S = 600.0


class ReaderLostError(PathoprogError):
    """A reader ended, or did not answer in time; it was replaced, and the same may be asked again."""


class CrowdedError(PathoprogError):
    """Too much waits for the readers: of whoever asks (`own`), or of all."""

    def __init__(self, own: bool):
        super().__init__("more is asked of the slide readers than they can give now")
        self.own = own


@dataclass
class _Wanted:
    """A picture that somebody waits for; all who want the same wait for one."""

    key: tuple[Hashable, ...]
    question: str
    place: SlidePlace
    arguments: tuple[Any, ...]
    who: str
    keep: bool
    promise: "Future[Any]" = field(default_factory=Future)
    waiters: int = 1


class SlideReaders:
    """See the module. Nothing runs before the first question.

    Args:
        settings: of showing slides.
    """

    def __init__(self, settings: ViewingSettings):
        self._settings = settings
        self._limits = ReaderLimits(
            nice=settings.nice,
            memory_mib=settings.memory_mib,
            slides_open=settings.slides_open,
            tile_px=settings.tile_px,
            jpeg_quality=settings.jpeg_quality,
            source_mpx=settings.source_mpx,
        )
        self.cache = TileCache(settings.cache_mib << 20)
        self._changed = threading.Condition()
        self._queue: deque[_Wanted] = deque()
        self._under_way: dict[tuple[Hashable, ...], _Wanted] = {}
        self._waiting: Counter[str] = Counter()  # in the queue, by who asked
        self._crashes: dict[str, tuple[int, float]] = {}  # by path: how many, and when the last
        self._threads: list[threading.Thread] = []
        self._children: dict[int, AskedChild] = {}
        self._asked_at = 0.0
        self._ended = False

    @property
    def pids(self) -> list[int]:
        """Of the reader processes that run."""
        return [child.pid for child in self._children.values() if child.pid is not None]

    def picture(self, place: SlidePlace, who: str) -> "Future[SlidePicture]":
        """What a slide is; `who` asks. Errors, here and below, come with the promise unless they are named.

        Raises:
            CrowdedError: too much waits already.
        """
        return self._ask("picture", place, (), who, keep=False)

    def tile(self, place: SlidePlace, tile: tuple[int, int, int], who: str) -> "Future[bytes]":
        """A tile as JPEG: of a level, a column, a row.

        Raises:
            CrowdedError: too much waits already.
        """
        return self._ask("tile", place, tile, who, keep=True)

    def region(self, place: SlidePlace, box: tuple[int, int, int, int], px: int, who: str) -> "Future[bytes]":
        """A rectangle (x0, y0, width, height; level-0 px) as JPEG, its longer side at most so many px.

        Raises:
            CrowdedError: too much waits already.
        """
        return self._ask("region", place, (box, px), who, keep=True)

    def let_go(self, promise: "Future[Any]") -> None:
        """Whoever asked waits no longer."""
        with self._changed:
            for wanted in self._under_way.values():
                if wanted.promise is promise:
                    wanted.waiters -= 1
                    return

    def stop(self) -> None:
        """End the readers; what waits is answered with an error."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _ask(self, question: str, place: SlidePlace, arguments: tuple[Any, ...], who: str, keep: bool) -> "Future[Any]":
        key = (question, place, *arguments)
        if keep and (known := self.cache.get(key)) is not None:
            promise: Future[Any] = Future()
            promise.set_result(known)
            return promise
        with self._changed:
            if self._ended:
                raise PathoprogError("the service is stopping")
            same = self._under_way.get(key)
            if same is not None and same.waiters > 0:
                same.waiters += 1
                return same.promise
            self._forsake()
            most = self._settings.waiting
            if self._waiting[who] >= most // 2 or len(self._queue) >= most:
                raise CrowdedError(own=self._waiting[who] >= most // 2)
            wanted = _Wanted(key, question, place, arguments, who, keep)
            self._under_way[key] = wanted
            self._waiting[who] += 1
            self._queue.append(wanted)
            self._asked_at = time.monotonic()
            self._start()
            self._changed.notify()
        return wanted.promise

    def _forsake(self) -> None:
        """Take out of the queue what nobody waits for."""
        if any(wanted.waiters <= 0 for wanted in self._queue):
            left = [wanted for wanted in self._queue if wanted.waiters > 0]
            for wanted in self._queue:
                if wanted.waiters <= 0:
                    self._gone(wanted)
            self._queue = deque(left)

    def _gone(self, wanted: _Wanted) -> None:
        """It left the queue."""
        self._waiting[wanted.who] -= 1
        if not self._waiting[wanted.who]:
            del self._waiting[wanted.who]
        if wanted.waiters <= 0 and self._under_way.get(wanted.key) is wanted:
            del self._under_way[wanted.key]

    def _start(self) -> None:
        if not self._threads:
            for number in range(self._settings.readers):
                thread = threading.Thread(target=self._serve, args=(number,), name=f"slide view {number}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, number: int) -> None:
        """One thread and its reader."""
        child = AskedChild(reader_child.__name__, self._settings.timeout_s)
        self._children[number] = child
        try:
            while True:
                wanted = self._next()
                if wanted is None:
                    if self._ended:
                        return
                    child.end()
                    if time.monotonic() - self._asked_at >= IDLE_S:  # of the others neither
                        self.cache.clear()
                    continue
                self._answer(child, wanted)
        finally:
            child.end()
            self._refuse_rest()

    def _next(self) -> _Wanted | None:
        """What is to be read next; None after a long time without anything, and at the end."""
        with self._changed:
            while not self._ended:
                while self._queue:
                    wanted = self._queue.popleft()
                    self._gone(wanted)
                    if wanted.waiters > 0:
                        return wanted
                if not self._changed.wait(IDLE_S):
                    return None
        return None

    def _answer(self, child: AskedChild, wanted: _Wanted) -> None:
        error: Exception | None = None
        found: Any = None
        try:
            found = self._found(child, wanted)
        except NoAnswerError as lost:
            error = self._lost(wanted.place.path, lost)
        except PathoprogError as refused:
            error = refused
        except Exception as defect:  # whatever it is, whoever waits is told, and the thread goes on
            child.end()
            error = defect
        if wanted.keep and error is None:
            self.cache.put(wanted.key, found)
        with self._changed:
            if self._under_way.get(wanted.key) is wanted:
                del self._under_way[wanted.key]
        if error is not None:
            wanted.promise.set_exception(error)
        else:
            wanted.promise.set_result(found)

    def _found(self, child: AskedChild, wanted: _Wanted) -> Any:
        crashes, at = self._crashes.get(wanted.place.path, (0, 0.0))
        if crashes >= CRASHES and time.monotonic() - at < LEFT_ALONE_S:
            raise SlideError("its file has ended several readers and is left alone for a while", "crashed")
        if not child.runs:
            child.ask("limits", self._limits)
            self._wait(child)
        child.ask(wanted.question, wanted.place, *wanted.arguments)
        return self._wait(child)

    def _wait(self, child: AskedChild) -> Any:
        while True:
            done, found = child.answer(ANSWER_S)
            if done:
                return found
            if self._ended:
                raise PathoprogError("the service is stopping")

    def _lost(self, path: str, lost: NoAnswerError) -> PathoprogError:
        """What is said of a reader that ended, and noted against the slide that it had."""
        crashes, at = self._crashes.get(path, (0, 0.0))
        now = time.monotonic()
        self._crashes[path] = (crashes + 1 if now - at < LEFT_ALONE_S else 1, now)
        if len(self._crashes) > 1000:
            with contextlib.suppress(StopIteration, KeyError):
                del self._crashes[next(iter(self._crashes))]
        if lost.silent:
            return ReaderLostError(
                f"the slide was not read within {self._settings.timeout_s:g} s; its reader is replaced, try again"
            )
        return ReaderLostError("the process that reads the slide ended; another takes its place, try again")

    def _refuse_rest(self) -> None:
        with self._changed:
            rest = list(self._queue)
            self._queue.clear()
        for wanted in rest:
            wanted.promise.set_exception(PathoprogError("the service is stopping"))
