"""TIFF slides whose compressed tiles are damaged, for tests of what is refused."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

Change = Callable[[bytes], bytes]


def halved_by(filling: bytes | None, seed: int = 0) -> Change:
    """Overwrites the second half of a tile's data with a byte, or with noise."""

    def change(data: bytes) -> bytes:
        n = len(data) - len(data) // 2
        noise = np.random.default_rng(seed).integers(0, 255, n, dtype=np.uint8).tobytes()
        return data[: len(data) // 2] + (noise if filling is None else filling * n)

    return change


def ended_early(data: bytes) -> bytes:
    """An end marker in the middle, and zeros behind it."""
    half = len(data) // 2
    return data[:half] + b"\xff\xd9" + bytes(len(data) - half - 2)


def zeroed_within(data: bytes) -> bytes:
    """64 zeros in the middle."""
    half = len(data) // 2
    return data[:half] + bytes(64) + data[half + 64 :]


def false_restart(data: bytes) -> bytes:
    """A restart marker where none belongs."""
    at = len(data) * 6 // 10
    return data[:at] + b"\xff\xd7" + data[at + 2 :]


HALF_LOST: dict[str, Change] = {
    "zeroed": halved_by(b"\0"),
    "overwritten with ones": halved_by(b"\xff"),
    "overwritten with noise": halved_by(None),
    "ended early": ended_early,
    "zeros within": zeroed_within,
    "a false restart marker": false_restart,
}


def tile_places(path: Path, page: int = 0) -> list[tuple[int, int]]:
    """(offset, bytes) of each compressed tile of a page."""
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        return list(zip(found.dataoffsets, found.databytecounts, strict=True))


def with_changed_tiles(path: Path, target: Path, change: Change, pages: dict[int, list[int] | None]) -> Path:
    """Copy a TIFF with some tiles changed in place: `pages` = {page: tile numbers, or None for all}."""
    data = bytearray(path.read_bytes())
    for page, tiles in pages.items():
        places = tile_places(path, page)
        for index in range(len(places)) if tiles is None else tiles:
            offset, count = places[index]
            data[offset : offset + count] = change(bytes(data[offset : offset + count]))[:count].ljust(count, b"\0")
    target.write_bytes(data)
    return target


def with_tiles_instead(path: Path, target: Path, change: Change, tiles: list[int] | None = None) -> Path:
    """Copy a TIFF whose level-0 tiles, all or some, are replaced by what `change` makes of them, of any length."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offsets, counts = page.tags["TileOffsets"], page.tags["TileByteCounts"]
        for index, (offset, count) in enumerate(tile_places(path)):
            if tiles is not None and index not in tiles:
                continue
            tile = change(bytes(data[offset : offset + count]))
            for tag, value in ((offsets, len(data)), (counts, len(tile))):
                kind = {3: "<H", 4: "<I", 16: "<Q"}[int(tag.dtype)]
                struct.pack_into(kind, data, tag.valueoffset + index * struct.calcsize(kind), value)
            data += tile
    target.write_bytes(data)
    return target
