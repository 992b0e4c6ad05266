"""Images in tiles that a TIFF holds and its directories no longer name, and levels that name another level's data.

A link between two directories that is set to 0, or skips one, leaves what looks like a sound file with fewer levels.
The lost directory still lies in the file, in bytes that nothing names: it is looked for there.
"""

import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pathoprog.errors import SlideError
from pathoprog.slides.tiff.directory import (
    HEIGHT,
    MAX_ENTRIES,
    REMEDY,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
)

MOST_SEARCHED = 64 << 20  # bytes that nothing names, of one file; headers, tags and profiles of sound slides are fewer
CHUNK = 1 << 20
BESIDE = 1 << 14  # bytes of a directory's entries before or behind one of them
NEEDED = {WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS}
LEAST_SHARED = 4  # places: a blank tile or two may be written once for all levels


def check_unnamed(path: Path, images: Sequence[Directory], spans: Mapping[int, int]) -> None:
    """Refuse a TIFF that holds a level which none of its directories names, or names one level's data twice.

    Args:
        path: the file.
        images: all that its directories name.
        spans: where each directory lies and how many bytes it takes.

    Raises:
        SlideError: code ``levels``; ``io`` where the system fails.
    """
    for one, other in _pairs([image for image in images if image.is_tiled]):
        shared = np.intersect1d(one.offsets[one.offsets > 0], other.offsets[other.offsets > 0])
        if len(shared) >= LEAST_SHARED and (one.width, one.height) != (other.width, other.height):
            raise SlideError(
                f"{path}: damaged TIFF: {one.name} and {other.name} name the same data, {len(shared)} tiles of them; "
                f"{REMEDY}",
                "levels",
            )
    named = {(image.width, image.height) for image in images}
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            for at, width, height in _directories_in_gaps(file, images, spans):
                if (width, height) not in named:  # else an older copy of a directory, as editors of tags leave behind
                    raise SlideError(
                        f"{path}: damaged TIFF: an image in tiles of {width} x {height} px lies in the file (its "
                        f"directory at byte {at}), and no directory leads to it; {REMEDY}",
                        "levels",
                    )
        finally:
            os.close(file)
    except OSError as error:
        raise SlideError(f"{path}: {error.strerror or error}", "io") from error


def _pairs(images: Sequence[Directory]) -> Iterator[tuple[Directory, Directory]]:
    for place, one in enumerate(images):
        for other in images[place + 1 :]:
            yield one, other


def _directories_in_gaps(
    file: int, images: Sequence[Directory], spans: Mapping[int, int]
) -> Iterator[tuple[int, int, int]]:
    """Directories of images in tiles among bytes that nothing names: where each begins, and its width and height."""
    head = os.pread(file, 8, 0)
    order, big = ("<" if head[:2] == b"II" else ">"), head[2:4] in (b"+\0", b"\0+")
    entry = re.compile(
        b"|".join(re.escape(struct.pack(f"{order}HH{'Q' if big else 'I'}", TILE_WIDTH, kind, 1)) for kind in (3, 4, 16))
    )
    for start, end in _gaps(images, spans, os.fstat(file).st_size):
        for chunk in range(start, end, CHUNK):
            first = max(start, chunk - BESIDE)
            data = os.pread(file, min(chunk + CHUNK + BESIDE, end) - first, first)
            for hit in entry.finditer(data):
                inside = chunk <= first + hit.start() < chunk + CHUNK
                if inside and (found := _directory_around(data, hit.start(), order, big)):
                    yield (first + found[0], *found[1:])


def _gaps(images: Sequence[Directory], spans: Mapping[int, int], size: int) -> Iterator[tuple[int, int]]:
    """Stretches (first byte, byte behind the last) of a file that are neither data of an image nor a directory."""
    starts = np.concatenate([*(image.offsets for image in images), np.array(list(spans), np.int64)])
    lengths = np.concatenate([*(image.counts for image in images), np.array(list(spans.values()), np.int64)])
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate((starts + lengths)[order])
    before = np.concatenate([[8], ends])
    after = np.concatenate([starts, [size]])
    left = MOST_SEARCHED
    for place in np.flatnonzero(after > before):
        first, last = int(before[place]), min(int(after[place]), int(before[place]) + left)
        left -= last - first
        yield first, last
        if left <= 0:
            return


def _directory_around(data: bytes, hit: int, order: str, big: bool) -> tuple[int, int, int] | None:
    """The directory that an entry at `hit` belongs to: where it begins in `data`, its image's width and height."""
    size, kind_of_count = (20, "Q") if big else (12, "H")
    first, tag = hit, TILE_WIDTH
    while first >= size and (before := struct.unpack_from(f"{order}H", data, first - size)[0]) < tag and before > 0:
        first, tag = first - size, before
    for begin in range(first, hit + 1, size):  # bytes before a directory may look like one more entry
        at = begin - struct.calcsize(kind_of_count)
        if at < 0:
            continue
        (n,) = struct.unpack_from(order + kind_of_count, data, at)
        if not 0 < n <= MAX_ENTRIES or begin + n * size > len(data):
            continue
        entries = [struct.unpack_from(f"{order}HH", data, begin + i * size) for i in range(n)]
        tags = [tag for tag, _ in entries]
        if tags == sorted(set(tags)) and set(tags) >= NEEDED:
            sides = [_inline(data, begin + tags.index(tag) * size, order, big) for tag in (WIDTH, HEIGHT)]
            return at, sides[0], sides[1]
    return None


def _inline(data: bytes, at: int, order: str, big: bool) -> int:
    """The whole number that lies in an entry itself."""
    (kind,) = struct.unpack_from(f"{order}H", data, at + 2)
    return int(struct.unpack_from(order + {3: "H", 16: "Q"}.get(kind, "I"), data, at + (12 if big else 8))[0])
