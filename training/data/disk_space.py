"""Room on the disk: how much a tile store will take, said before it is cut; and what is said where there is none."""

import errno
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from pathoprog.errors import InputError
from pathoprog.stream.slide_stream import SlideJob, SlideOpened, TileBatch, TileStream
from pathoprog.system.console import say, warn
from pathoprog.tiles.config import TileSpec
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.jpeg_tiles import ENTRY, encode

SAMPLE = 12
"""Slides whose grids are laid for the estimate."""
SAMPLE_TILES = 8
"""Tiles of each of them that are compressed for it, where they will be."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDY = (
    "give data.store=… on another disk, data.source=slides, data.store_format=jpeg, or a smaller"
    " data.tiles_{}.max_per_slide"
)
"""With the finest resolution that is cut, which takes the most room."""


def check_room(jobs: list[SlideJob], data: DataSettings, stream: TileStream, force: bool = False) -> None:
    """Say how much room the tiles of some slides will take, from a sample of them, and refuse what cannot fit.

    Args:
        jobs: the slides to cut.
        data: the store.
        stream: the readers.
        force: only warn.

    Raises:
        InputError: even two standard errors below the estimate there is not enough room, and `force` is false.
    """
    mean, error, n = estimate(jobs, stream, data.jpeg_quality)
    free = free_bytes(Path(data.store))
    share = "all of" if n == len(jobs) else f"{n} of"
    found = f"about {gigabytes(mean)} for the tiles of {len(jobs)} slides (from {share} them), {gigabytes(free)} free"
    say(f"    {found}")
    remedy = REMEDY.format(min((spec for job in jobs for spec in job.specs), key=lambda spec: spec.mpp).resolution)
    if mean - 2 * error > free and not force:
        raise InputError(f"{data.store}: not enough room: {found}; {remedy}; force=true goes on all the same")
    if mean + 2 * error > free:
        warn(f"{data.store}: may not have enough room: {found}; {remedy}")


def estimate(jobs: list[SlideJob], stream: TileStream, quality: int = 0) -> tuple[float, float, int]:
    """Bytes that the tiles of some slides will take, the standard error, and how many slides that is known from.

    The slides are drawn evenly over the list, and each one's grid is laid. No tile is read, but for JPEGs, whose size
    nothing else tells: of up to `SAMPLE_TILES` tiles a slide. Slides that cannot be read count as none, as they will in
    the store.

    Args:
        jobs: the slides to cut.
        stream: the readers.
        quality: of JPEGs; 0 for the pixels themselves.
    """
    chosen = np.unique(np.linspace(0, len(jobs) - 1, min(SAMPLE, len(jobs))).round().astype(int))
    sample = [jobs[index] for index in chosen]
    bytes_of = {(job.slide_id, spec.resolution): float(spec.size_px**2 * 3) for job in sample for spec in job.specs}
    if quality:
        bytes_of |= _bytes_of_jpegs(sample, stream, quality)
    found = dict.fromkeys((job.slide_id for job in sample), 0.0)
    for event in stream.read([_looked_at(job, job.specs, tiles=False) for job in sample]):
        if isinstance(event, SlideOpened):
            name = event.slide_id
            found[name] = sum(len(grid) * bytes_of[name, resolution] for resolution, grid in event.grids.items())
    values = np.array(list(found.values()), float)
    n, total = len(values), len(jobs)
    left_out = math.sqrt(1 - n / total)  # a sample of all of them leaves nothing to guess
    error = float(values.std(ddof=1)) / math.sqrt(n) * left_out * total if n > 1 else 0.0
    return float(values.mean()) * total, error, n


def _bytes_of_jpegs(jobs: list[SlideJob], stream: TileStream, quality: int) -> dict[tuple[str, str], float]:
    """Mean bytes of some tiles' JPEGs, by slide and resolution, with a tile's entry in the file's index."""
    sizes: dict[tuple[str, str], list[int]] = {}
    few = [
        _looked_at(job, [replace(spec, max_per_slide=SAMPLE_TILES) for spec in job.specs], tiles=True) for job in jobs
    ]
    for event in stream.read(few):
        if isinstance(event, TileBatch):
            here = sizes.setdefault((event.slide_id, event.resolution), [])
            here += [len(encode(tile, quality)) + ENTRY.itemsize for tile in event.tiles]
    return {place: sum(found) / len(found) for place, found in sizes.items()}


def _looked_at(job: SlideJob, wanted: list[TileSpec], tiles: bool) -> SlideJob:
    """A job that reads no more of a slide than an estimate needs."""
    return SlideJob(
        slide_id=job.slide_id,
        path=job.path,
        specs=wanted,
        slides=job.slides,
        tumour_policy=job.tumour_policy,
        outline_path=job.outline_path,
        hash_content=False,
        tiles=tiles,
    )


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that a folder lies on, or will lie on."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def allocate(path: Path) -> None:
    """Take the room that a file's size speaks of, before it is written through a memory map.

    Raises:
        OSError: there is none; see `cannot_write`.
    """
    handle = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(handle, 0, os.fstat(handle).st_size)
    except OSError as error:
        if error.errno in NO_ROOM:  # others: a file system that cannot promise room
            raise
    finally:
        os.close(handle)


def cannot_write(error: OSError, folder: str | Path) -> InputError:
    """What to say of an error in writing to a folder."""
    if error.errno in NO_ROOM:
        return InputError(f"{folder}: the disk is full; make room, and give the same command again: it goes on")
    return InputError(f"{folder}: cannot be written to ({error.strerror or error})")


def make_out(folder: Path) -> None:
    """Make a run's folder, and see that it can be written to, before hours of work.

    Raises:
        InputError: it cannot; names it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(f"out={folder}: cannot be written to ({error.strerror}); give another out=…") from error


def gigabytes(size: float) -> str:
    """A size in words."""
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"
