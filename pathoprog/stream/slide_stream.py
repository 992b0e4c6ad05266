"""Slides to decoded tiles, through reader processes: the only way that training, scoring and the service read slides.

The process that holds the device never opens a slide. Readers are separate, torch-free Python processes that write
tiles into shared memory; one that crashes, hangs or eats memory fails its slide and is replaced.
"""

import contextlib
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.regions.overview import Windows
from pathoprog.slides.slide import SlideFacts
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.events import SlideDone, SlideFailed, SlideJob, SlideOpened, StreamEvent, TileBatch
from pathoprog.stream.reader import BEAT, HEADER_BYTES, SLOTS, STAGE, STAGES
from pathoprog.system.machine.cores import cores
from pathoprog.text.plain_text import log_end

__all__ = [
    "SlideDone",
    "SlideFailed",
    "SlideJob",
    "SlideOpened",
    "StreamEvent",
    "StreamSettings",
    "TileBatch",
    "TileStream",
    "tiles_at_once",
]

ATTEMPTS = 2
START_TIMEOUT_S = 120.0
POLL_S = 0.25
GRACE_S = 2.0
"""A reader that is overdue is looked at again after so long: whoever looks may itself have been away, or stopped."""
KILL_WAIT_S = 10.0
LOG_CHARS = 400
LOG_BYTES = 16 << 10  # that are looked at for them: tracebacks take most
LOG = logging.getLogger(__name__)

Register = Callable[[NDArray[np.uint8]], Callable[[], None]]


class Outliner(Protocol):
    """Draws the outlines of slides under the policy ``network`` (`pathoprog.networks.tumour.NetworkOutliner`).

    Any of its calls may raise a `SlideError`: that slide fails.
    """

    def begin(self, slide_id: str, facts: SlideFacts, windows: Windows) -> None:
        """A slide's windows follow; one that began before begins again."""

    def add(self, slide_id: str, start: int, pixels: NDArray[np.uint8]) -> None:
        """Windows `start` … of a slide, uint8 [n, s, s, 3], valid during the call."""

    def end(self, slide_id: str) -> shapely.MultiPolygon:
        """All windows have come: the outline, level-0 px."""

    def forget(self, slide_id: str) -> None:
        """The slide failed on the way."""


@dataclass
class _Task:
    """A job on its way: how often it was tried, what the consumer has of it, the outline it was given."""

    job: SlideJob
    attempt: int = 1
    outline: shapely.MultiPolygon | None = None
    opened: SlideOpened | None = None
    delivered: dict[str, int] = field(default_factory=dict)
    failed: bool = False

    def tiles_left(self) -> float:
        """Tiles still to come; infinite until it is known."""
        if self.job.places is not None:
            return len(self.job.places) - sum(self.delivered.values())
        if self.opened is None:
            return float("inf")
        return sum(len(grid) - self.delivered.get(name, 0) for name, grid in self.opened.grids.items())


class _Reader:
    """One reader process with its socket and its shared memory."""

    def __init__(self, settings: StreamSettings, register: Register | None):
        size = HEADER_BYTES + (settings.buffer_mib << 20)
        memory_fd = _memory_file(size)
        ours, theirs = socket.socketpair()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill, it lives as long as the process
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from pathoprog.stream.reader import main; main(sys.argv[2:])"
        )
        numbers = (theirs.fileno(), memory_fd, size, settings.threads, settings.batch_tiles, settings.memory_mib)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(Path(__file__).resolve().parents[2]), *map(str, numbers)],
                pass_fds=(theirs.fileno(), memory_fd),
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self.connection = Connection(ours.detach())
        memory = np.frombuffer(mmap.mmap(memory_fd, size), np.uint8)
        os.close(memory_fd)
        self.header = memory[:HEADER_BYTES].view(np.float64)
        self.slots = memory[HEADER_BYTES:][: (settings.buffer_mib << 20) // SLOTS * SLOTS].reshape(SLOTS, -1)
        self.unregister = register(memory) if register else None
        self.tasks: deque[_Task] = deque()
        self.ready = False
        self.touched = time.monotonic()
        self.overdue = 0.0  # since when it is seen to be; 0: it is not

    def give(self, task: _Task) -> None:
        self.tasks.append(task)
        self.send("job", task.job, dict(task.delivered), task.outline)

    def send(self, *message: Any) -> None:
        self.touched = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died: the next receive tells
            self.connection.send(message)

    def hangs(self, timeout_s: float) -> bool:
        """Whether it makes no progress, though it has all it needs (asked while no slot is held).

        One that has said something waits for us, and does not hang, however long we take.
        """
        now = time.monotonic()
        silence_s = now - max(float(self.header[BEAT]), self.touched)
        limit_s = timeout_s if self.ready else max(timeout_s, START_TIMEOUT_S)
        if silence_s <= limit_s or self.connection.poll():
            self.overdue = 0.0
            return False
        self.overdue = self.overdue or now
        return now - self.overdue > min(GRACE_S, timeout_s)

    def stage(self) -> str:
        return STAGES[int(self.header[STAGE])]

    def kill(self) -> str:
        """End it, and say how it ended and what it last wrote."""
        self.process.kill()
        self.connection.close()
        if self.unregister:
            self.unregister()
        try:
            code = self.process.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            return "its read hangs in the system and cannot be ended"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        with self.log:
            size = self.log.seek(0, os.SEEK_END)
            self.log.seek(max(0, size - LOG_BYTES))
            text = log_end(self.log.read().decode(errors="replace"), LOG_CHARS)
        return f"{how}{': … ' + text if text else ''}"


class TileStream:
    """Reader processes that turn slides into tiles; a context manager that may read several lists of slides.

    The readers start with the first `read`, live over slides and end with the context.
    """

    def __init__(self, settings: StreamSettings | None = None, register: Register | None = None):
        """Prepare the stream.

        Args:
            settings: processes and limits.
            register: told of each reader's shared memory, uint8 [n]; returns what undoes it. `pinned.register` lets a
                CUDA device fetch tiles from there by itself.
        """
        self.settings = settings or StreamSettings()
        self._register = register
        self._n = self.settings.workers or cores()
        self._readers: list[_Reader] = []
        self._outliner: Outliner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the readers that are alive."""
        return [reader.process.pid for reader in self._readers]

    def start(self) -> None:
        """Start the first reader now, so that it is ready when the first job comes: that takes it a second."""
        if not self._readers:
            self._readers.append(_Reader(self.settings, self._register))

    def close(self) -> None:
        """End the readers."""
        for reader in self._readers:
            reader.kill()
        self._readers.clear()

    def read(
        self, jobs: Iterable[SlideJob | None], outliner: Outliner | None = None
    ) -> Generator[StreamEvent, None, None]:
        """Read slides; jobs are taken from the iterable only as readers become free.

        A None among the jobs says that there is none at the moment: the iterable is asked again a little later.
        Jobs under the policy ``network`` need an outliner, which is shown a slide's windows before `SlideOpened`.

        Yields:
            For each slide `SlideOpened` (not where places are given), its `TileBatch`es in order within each
            resolution, `SlideDone`; or `SlideFailed`, at any point. Slides may interleave. A reader's crash or hang is
            tried again once, going on where it stopped: the consumer sees nothing of it.
        """
        self._outliner = outliner
        source = iter(jobs)
        again: deque[_Task] = deque()
        exhausted = False
        try:
            while True:
                exhausted = self._assign(source, again, exhausted)
                busy = [reader for reader in self._readers if reader.tasks]
                if not busy and exhausted and not again:
                    return
                ready = wait([reader.connection for reader in busy], timeout=POLL_S)
                for reader in busy:
                    if reader.connection in ready:
                        yield from self._receive(reader, again)
                    elif reader.hangs(self.settings.timeout_s):
                        yield from self._lost(reader, again, hung=True)
        finally:
            for reader in [reader for reader in self._readers if reader.tasks]:  # the consumer left early
                reader.kill()
                self._readers.remove(reader)

    def _assign(self, source: Iterator[SlideJob | None], again: deque[_Task], exhausted: bool) -> bool:
        """Give jobs to readers that are free or about to be; returns whether the source has no more."""
        while not exhausted or again:
            reader = self._next_reader()
            if reader is None:
                break
            if again:
                reader.give(again.popleft())
                continue
            try:
                job = next(source)
            except StopIteration:
                exhausted = True
                break
            if job is None:
                break
            reader.give(_Task(job))
        return exhausted

    def _next_reader(self) -> _Reader | None:
        idle = [reader for reader in self._readers if not reader.tasks]
        if idle:
            return idle[0]
        if len(self._readers) < self._n:
            self._readers.append(_Reader(self.settings, self._register))
            return self._readers[-1]
        # One whose slide fits the free slots gets its next job early, so that it need not wait for the consumer.
        nearly = self.settings.batch_tiles * SLOTS
        ending = [
            reader for reader in self._readers if len(reader.tasks) == 1 and reader.tasks[0].tiles_left() <= nearly
        ]
        return ending[0] if ending else None

    def _receive(self, reader: _Reader, again: deque[_Task]) -> Iterator[StreamEvent]:
        reader.touched = time.monotonic()
        try:
            message = reader.connection.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            yield from self._lost(reader, again, hung=False)
            return
        kind = message[0]
        if kind == "ready":
            reader.ready = True
            return
        task = reader.tasks[0]
        if kind == "batch":
            yield from self._batch(reader, task, *message[1:])
        elif kind in ("view", "windows", "outline?"):
            yield from self._draw(reader, task, kind, *message[1:])
        elif kind == "opened":
            yield from self._opened(task, message[1])
        else:
            reader.tasks.popleft()
            if task.failed:
                return
            if kind != "done" and self._outliner is not None:
                self._outliner.forget(task.job.slide_id)
            if kind == "done":
                yield SlideDone(task.job.slide_id, message[1])
            else:
                yield SlideFailed(task.job.slide_id, *message[1:])

    def _batch(
        self, reader: _Reader, task: _Task, slot: int, resolution: str, start: int, n: int, size: int
    ) -> Iterator[StreamEvent]:
        if not task.failed:
            tiles = reader.slots[slot, : n * size * size * 3].reshape(n, size, size, 3)
            task.delivered[resolution] = start + n
            yield TileBatch(task.job.slide_id, resolution, start, tiles)
        reader.send("free", slot)

    def _draw(self, reader: _Reader, task: _Task, kind: str, *message: Any) -> Iterator[StreamEvent]:
        """Show the outliner a slide, and pass its answer on; a slide that failed gets an empty one, to be done with."""
        outliner, slide_id = self._outliner, task.job.slide_id
        assert outliner is not None, "jobs under the policy network need an outliner"
        try:
            if task.failed:
                task.outline = shapely.MultiPolygon()
            elif kind == "view":
                outliner.begin(slide_id, *message)
            elif kind == "windows":
                slot, start, n, size = message
                outliner.add(slide_id, start, reader.slots[slot, : n * size * size * 3].reshape(n, size, size, 3))
            else:
                task.outline = outliner.end(slide_id)
        except SlideError as error:
            task.failed, task.outline = True, shapely.MultiPolygon()
            outliner.forget(slide_id)
            yield SlideFailed(slide_id, error, "outline")
        if kind == "windows":
            reader.send("free", message[0])
        elif kind == "outline?":
            reader.send("outline", task.outline)

    def _opened(self, task: _Task, opened: SlideOpened) -> Iterator[StreamEvent]:
        before, task.opened = task.opened, opened
        if task.failed:
            return
        if before is None:
            yield opened
        elif before.sha256 != opened.sha256:
            task.failed = True
            error = SlideError(f"{task.job.path}: the file changed while it was read", "changed")
            yield SlideFailed(task.job.slide_id, error, "open")

    def _lost(self, reader: _Reader, again: deque[_Task], hung: bool) -> Iterator[StreamEvent]:
        """A reader crashed or hangs: replace it, and try its slide again or fail it."""
        stage, how = reader.stage(), reader.kill()
        self._readers.remove(reader)
        task = reader.tasks.popleft()
        again.extendleft(reversed(reader.tasks))
        reader.tasks.clear()
        what = f"made no progress for {self.settings.timeout_s:g} s" if hung else f"ended by {how}"
        if task.failed:
            return
        if task.attempt < ATTEMPTS:
            LOG.warning("%s: its reader %s (stage %s); it is tried again", task.job.slide_id, what, stage)
            task.attempt += 1
            again.append(task)
            return
        if self._outliner is not None:
            self._outliner.forget(task.job.slide_id)
        error = SlideError(
            f"{task.job.path}: the reader {what}, {ATTEMPTS} times (stage {stage})", "hung" if hung else "crashed"
        )
        yield SlideFailed(task.job.slide_id, error, stage)


def tiles_at_once(size_px: int, settings: StreamSettings) -> int:
    """How many tiles of `size_px` a batch holds: as set, or as many as fit a third of the readers' buffer."""
    return min(settings.batch_tiles, (settings.buffer_mib << 20) // SLOTS // (size_px**2 * 3))


def _memory_file(size: int) -> int:
    """Memory to share by inheritance: freed with its last user, whatever becomes of us, and not limited by /dev/shm."""
    memory = os.memfd_create("pathoprog-tiles")
    os.ftruncate(memory, size)
    return memory
