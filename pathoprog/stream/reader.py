"""The reader process: opens slides, lays grids, decodes tiles into shared memory. It never imports torch.

Started by `stream.TileStream` as ``python -c … main()`` with a socket and a piece of shared memory, and ended by it.
"""

import contextlib
import dataclasses
import errno
import faulthandler
import functools
import mmap
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pathoprog.errors import SlideError
from pathoprog.quality import hollow
from pathoprog.quality.look import look_at
from pathoprog.regions.overview import lay_windows, read_window
from pathoprog.regions.slide_outline import SAID_OUTSIDE, check_on_tissue, extent, given_outline, looks_scaled
from pathoprog.regions.tissue import RegionMask, tissue_and_view
from pathoprog.regions.tumour_map import area_um2
from pathoprog.slides.identity import absent_part, content_sha256, source_sha256, stamp
from pathoprog.slides.mpp import check_resolution
from pathoprog.slides.opening import open_slide
from pathoprog.slides.roots import check_slide_roots
from pathoprog.slides.slide import Slide, SlideFacts
from pathoprog.stream.events import Places, SlideJob, SlideOpened
from pathoprog.system.files import sha256_file
from pathoprog.tiles.grid import TileGrid, tile_grid

HEADER_BYTES = mmap.PAGESIZE
BEAT, STAGE = 0, 1  # places in the header, float64
SLOTS = 3
KEPT_SLIDES = 8  # that stay open where single tiles are asked for: training comes back to a patient's slide
STAGES = ("start", "open", "tissue", "outline", "quality", "hash", "tiles")
Outline = shapely.MultiPolygon | None


def main(arguments: list[str]) -> None:
    """Serve one parent until it closes the socket.

    Args:
        arguments: socket fd, memory fd, bytes of memory, threads, most tiles a batch, memory limit in MiB.
    """
    socket_fd, memory_fd, size, threads, batch_tiles, memory_mib = map(int, arguments)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    _end_with_parent()
    if memory_mib:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mib << 20, memory_mib << 20))
    with Connection(socket_fd) as connection, mmap.mmap(memory_fd, size) as memory:
        reader = Reader(connection, np.frombuffer(memory, np.uint8), threads, batch_tiles)
        code = 1
        try:
            reader.serve()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            code = 0  # the parent has gone or wants no more
        except BaseException:  # a defect: the parent reads the log's end, and tries the slide once more
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)  # views of the memory may live on in threads; there is nothing to save


def _end_with_parent() -> None:
    """Exit when the parent does, even amid a read that hangs."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _too_large(job: SlideJob) -> SlideError:
    return SlideError(
        f"{job.path}: out of memory: reading it takes more than stream.memory_mib allows a reader; raise that if the "
        "machine has more",
        "memory",
    )


class Reader:
    """Reads the slides it is told, one after the other."""

    def __init__(self, connection: Connection, memory: np.ndarray[Any, Any], threads: int, batch_tiles: int):
        self.connection = connection
        self.header = memory[:HEADER_BYTES].view(np.float64)
        slots = memory[HEADER_BYTES:]
        self.slot_bytes = len(slots) // SLOTS
        self.slots = slots[: self.slot_bytes * SLOTS].reshape(SLOTS, self.slot_bytes)
        self.free = deque(range(SLOTS))
        self.jobs: deque[tuple[SlideJob, dict[str, int], Outline]] = deque()
        self.answer: Outline = None
        self.threads, self.batch_tiles = threads, batch_tiles
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.hasher = ThreadPoolExecutor(1)
        self.facts: SlideFacts | None = None
        self.kept: dict[tuple[str, str, float], Slide] = {}  # open, the last used behind

    def serve(self) -> None:
        """Take jobs until the socket closes."""
        self.connection.send(("ready",))
        while True:
            while not self.jobs:
                self._receive()
            job, skip, self.answer = self.jobs.popleft()
            start = time.perf_counter()
            self._stage("start")
            self.facts = None
            try:
                if job.places is None:
                    self._read(job, skip)
                else:
                    self._read_places(job, job.places, skip)
            except SlideError as error:
                self._failed(job, error)
            except MemoryError:
                self._failed(job, _too_large(job))
            except OSError as error:  # a name that no file can have, a folder that cannot be looked into
                full = error.errno == errno.ENOMEM
                self._failed(job, _too_large(job) if full else SlideError(f"{job.path}: {error.strerror}", "io"))
            else:
                self._send("done", time.perf_counter() - start)

    def _failed(self, job: SlideJob, error: SlideError) -> None:
        stage, source = STAGES[int(self.header[STAGE])], None
        if job.source is not None:
            source = source_sha256(job.path)
            if source != job.source and error.not_reportable:  # what was read is not what was meant
                error = _changed(job)
        self._send("failed", error, stage, self.facts, source)

    def _receive(self) -> None:
        message = self.connection.recv()
        if message[0] == "job":
            self.jobs.append(message[1:])
        elif message[0] == "outline":
            self.answer = message[1]
        else:
            self.free.append(message[1])

    def _send(self, *message: Any) -> None:
        self.connection.send(message)  # blocks while the consumer takes its time
        self._beat()

    def _beat(self) -> None:
        self.header[BEAT] = time.monotonic()

    def _stage(self, stage: str) -> None:
        self.header[STAGE] = STAGES.index(stage)
        self._beat()

    def _slot(self) -> int:
        """A free slot, once the parent has one for us."""
        while not self.free or self.connection.poll():
            self._receive()
        self._beat()
        return self.free.popleft()

    @contextlib.contextmanager
    def _filled(self) -> Iterator[int]:
        """A slot to fill and send; it stays free if that fails, since a reader without slots stands still."""
        slot = self._slot()
        try:
            yield slot
        except BaseException:
            self.free.append(slot)
            raise

    def _read(self, job: SlideJob, skip: dict[str, int]) -> None:
        """One slide, from opening to its last tile; `skip` first tiles by resolution were delivered before."""
        self._stage("open")
        check_slide_roots(job.path, job.slides.roots)
        _check_source(job)
        with open_slide(job.path, job.slides.backend, job.slides.mpp) as slide:
            self.facts = slide.known_facts
            slide.on_read = self._beat
            hashed = (job.path, self._beat, job.names)
            sha256 = self.hasher.submit(content_sha256, *hashed) if job.hash_content else None
            opened = self._opened(job, slide, sha256)
            self._send("opened", opened)
            self._stage("tiles")
            for resolution, grid in opened.grids.items() if job.tiles else ():
                places = Places(grid.spec, grid.x0, grid.y0, hollow.in_tissue(opened.tissue, grid), [])
                self._read_tiles(slide, places, skip.get(resolution, 0))
        if job.source is not None and source_sha256(job.path) != job.source:
            raise _changed(job)

    def _read_places(self, job: SlideJob, places: Places, skip: dict[str, int]) -> None:
        """Tiles that were laid before, of a slide that may still be open; `skip` as in `_read`."""
        self._stage("open")
        check_slide_roots(job.path, job.slides.roots)
        key = (job.path, job.slides.backend, job.slides.mpp)
        slide = self.kept.pop(key, None) or open_slide(job.path, job.slides.backend, job.slides.mpp)
        try:
            slide.on_read = self._beat
            self.facts = slide.known_facts
            if stamp(job.path) != places.stamp:
                raise SlideError(f"{job.path}: the file changed since its tiles were laid", "changed")
            self._stage("tiles")
            self._read_tiles(slide, places, skip.get(places.spec.resolution, 0))
        except BaseException:
            slide.close()
            raise
        self.kept[key] = slide
        if len(self.kept) > KEPT_SLIDES:
            self.kept.pop(next(iter(self.kept))).close()

    def _opened(self, job: SlideJob, slide: Slide, sha256: "Future[str] | None") -> SlideOpened:
        facts = slide.facts
        self._stage("tissue")
        tissue, view = tissue_and_view(slide)
        hollow.check_levels(slide, tissue)
        thumbnail = slide.thumbnail(job.thumbnail_px)
        region: Any = tissue
        area, source = tissue.area_um2, job.tumour_policy
        if source != "tissue":
            self._stage("outline")
            if source == "network" and not job.outline_path:
                region = self._asked(job, slide, facts, tissue)
            else:
                region, facts = self._given(job, facts, tissue)
                source = "outline" if source == "outline" else "corrected"
            area = area_um2(region, facts)
        grids: dict[str, TileGrid] = {}
        refused: dict[str, str] = {}
        for spec in job.specs:
            try:
                check_resolution(facts.mpp, spec.mpp, spec.resolution, job.slides.allow_upsampling)
            except SlideError as error:
                refused[spec.resolution] = str(error)
            else:
                grids[spec.resolution] = tile_grid(facts, region, spec)
        self._stage("quality")
        look = look_at(slide, view, tissue, region)
        self._stage("hash")
        return SlideOpened(
            slide_id=job.slide_id,
            facts=facts,
            grids=grids,
            refused=refused,
            thumbnail=thumbnail,
            thumbnail_downsample=slide.thumbnail_mpp(job.thumbnail_px) / facts.mpp,
            tissue=tissue,
            region_source=source,
            outline=None if region is tissue else region,
            tissue_area_um2=tissue.area_um2,
            tumour_area_um2=area,
            sha256=sha256.result() if sha256 else "",
            look=look,
        )

    def _given(self, job: SlideJob, facts: SlideFacts, tissue: RegionMask) -> tuple[shapely.MultiPolygon, SlideFacts]:
        """The outline in the job's file, inside the slide, and the facts with a warning where some of it was cut off.

        The file's name stays here: a reason names the slide.
        """
        if not job.outline_path:
            raise SlideError(
                f"{job.path}: the tumour policy is outline, and this slide has none: give outlines=FOLDER with "
                "<slide_id>.geojson, outline_path in the cohort, or another tumour_policy",
                "outline_missing",
            )
        wanted = job.outline_sha256
        if wanted is not None and Path(job.outline_path).is_file() and sha256_file(job.outline_path) != wanted:
            raise SlideError(f"{job.path}: its outline changed since this run began; run again", "changed")
        try:
            kept, outside = given_outline(job.outline_path, facts, job.outline_classes, job.slides.roots)
            check_on_tissue(kept, facts, tissue)
        except SlideError as error:
            raise SlideError(f"{job.path}: {error}", error.code) from error
        if outside > SAID_OUTSIDE:
            said = f"{outside:.0%} of the outline lay beyond the slide's edge and was cut off"
            facts = dataclasses.replace(facts, warnings=(*facts.warnings, said))
        if hint := looks_scaled(kept, facts, tissue):
            said = f"much of the outline lies on glass ({extent(kept, facts)}); {hint}"
            facts = dataclasses.replace(facts, warnings=(*facts.warnings, said))
        return kept, facts

    def _asked(self, job: SlideJob, slide: Slide, facts: SlideFacts, tissue: RegionMask) -> shapely.MultiPolygon:
        """The outline that the consumer's network draws: it is shown the slide's coarse view, and answers."""
        if self.answer is None:  # else a reader before us has asked
            windows = lay_windows(facts, tissue, job.overview)
            self._send("view", facts, windows)
            size = windows.size_px
            n_fit = min(self._fit(size), self.batch_tiles)
            for first in range(0, len(windows), n_fit):
                n = min(n_fit, len(windows) - first)
                with self._filled() as slot:
                    out = self.slots[slot, : n * size * size * 3].reshape(n, size, size, 3)
                    for index in range(n):
                        read_window(slide, windows, first + index, out[index])
                    self._send("windows", slot, first, n, size)
            self._send("outline?")
        while (answer := self.answer) is None:
            self._receive()
        self._beat()
        return answer

    def _fit(self, size: int) -> int:
        """How many tiles of `size` px a slot holds."""
        n_fit = self.slot_bytes // (size * size * 3)
        if n_fit == 0:
            raise SlideError(f"a tile of {size} px does not fit stream.buffer_mib: raise it", "memory")
        return n_fit

    def _read_tiles(self, slide: Slide, places: Places, start: int) -> None:
        spec = places.spec
        size = spec.size_px
        n_fit = min(self._fit(size), self.batch_tiles)
        tiles = slide.tile_reader(places.x0, places.y0, spec.mpp, size, self.pool, self.threads)
        for first in range(start, len(places), n_fit):
            n = min(n_fit, len(places) - first)
            with self._filled() as slot:
                out = self.slots[slot, : n * size * size * 3].reshape(n, size, size, 3)
                tiles.read(first, out)
                shown = functools.partial(_shown_elsewhere, slide, places, first)
                hollow.check_tiles(out, places.in_tissue[first : first + n], slide.path, shown)
                self._send("batch", slot, spec.resolution, first, n, size)


def _shown_elsewhere(slide: Slide, places: Places, first: int, index: int) -> bool:
    """Whether another level shows stain where tile `first` + `index` of a grid lies."""
    spec, tile = places.spec, first + index
    width0, height0 = spec.size_px * spec.mpp / slide.mpp_x, spec.size_px * spec.mpp / slide.mpp_y
    x0, y0 = float(places.x0[tile]), float(places.y0[tile])
    return hollow.shown_elsewhere(slide, slide.level_for(spec.mpp), x0, y0, width0, height0)


def _check_source(job: SlideJob) -> None:
    """Refuse a slide that is gone, not whole, or not what it looked like when it was asked for.

    Raises:
        SlideError: code ``missing`` or ``changing``.
    """
    if job.source is not None and (now := source_sha256(job.path)) != job.source:
        if not now:
            raise SlideError(f"{job.path}: the file is gone", "missing")
        raise SlideError(f"{job.path}: the file has changed; it is read when it stands still", "changing")
    if part := absent_part(job.path):
        raise SlideError(f"{job.path}: {part}, which belongs to it, is not there: copy it beside the slide", "missing")


def _changed(job: SlideJob) -> SlideError:
    return SlideError(f"{job.path}: the file changed while it was read", "changed")
