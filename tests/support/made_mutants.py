"""Small slides of several formats, and damaged copies of them: what disks, networks, exports and tools do to files."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import tifffile
from made_damage import HALF_LOST
from made_dicom import JPEG, write_instance
from made_slides import aperio_description, halved, texture, write_pyramid

SIDE, TILE = 512, 128
Random = np.random.Generator
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
OFFSETS, COUNTS, SUB_IFDS = 324, 325, 330


# --- sources ---


def write_sources(folder: Path) -> dict[str, Path]:
    """One small slide of each format by name; all of them are scored when they are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    image = texture(SIDE, SIDE, seed=5, margin=32)
    made = {
        "jpeg": write_pyramid(folder / "jpeg.tif", image, tile=TILE),
        "bigtiff": write_pyramid(folder / "bigtiff.tif", image, tile=TILE, bigtiff=True, subsampling=(1, 1)),
        "aperio": folder / "aperio.svs",
        "ome": folder / "ome.ome.tif",
        "deflate": write_pyramid(folder / "deflate.tif", image, tile=TILE, compression="deflate"),
        "lzw": write_pyramid(folder / "lzw.tif", image, tile=TILE, compression="lzw"),
        "jpeg2000": write_pyramid(folder / "jpeg2000.tif", image, tile=TILE, compression="jpeg2000"),
        "dicom": folder / "dicom.dcm",
    }
    _write_aperio(made["aperio"], image)
    _write_ome(made["ome"], image)
    encode = lambda tile: imagecodecs.jpeg8_encode(tile, 90, subsampling="422")  # noqa: E731 - one expression
    write_instance(made["dicom"], image, encode, JPEG, "YBR_FULL_422", tile=TILE)
    return made


def _write_aperio(path: Path, image: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            tiff.write(
                image, tile=(TILE, TILE), compression="jpeg", photometric="rgb", metadata=None, subsampling=(1, 1),
                compressionargs={"level": 90, "outcolorspace": "rgb"}, subfiletype=1 if level else 0,
                description=aperio_description(SIDE, SIDE, 0.25) if level == 0 else None,
            )  # fmt: skip
            image = halved(image)


def _write_ome(path: Path, image: np.ndarray) -> None:
    with tifffile.TiffWriter(path, ome=True, byteorder=">") as tiff:
        options = {"tile": (TILE, TILE), "compression": "jpeg", "photometric": "rgb"}
        options |= {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
        tiff.write(image, subifds=2, metadata=metadata, **options)
        for _ in range(2):
            image = halved(image)
            tiff.write(image, subfiletype=1, **options)


# --- a TIFF's directories ---


class Entry(NamedTuple):
    """One directory entry: where it stands, what it says, and where its values lie."""

    at: int
    tag: int
    kind: int
    count: int
    values_at: int
    directory: int


@dataclass
class Directories:
    """A sound TIFF's directories: its entries, the places of the links between them, and how numbers are written."""

    entries: list[Entry]
    starts: list[int]
    links: list[int]
    order: str
    big: bool

    def number(self, data: bytes, at: int, size: int) -> int:
        """An unsigned number of the file."""
        return int.from_bytes(data[at : at + size], "little" if self.order == "<" else "big")

    def put(self, data: bytearray, at: int, size: int, value: int) -> None:
        """Write one."""
        data[at : at + size] = (value % (1 << (8 * size))).to_bytes(size, "little" if self.order == "<" else "big")

    @property
    def link_size(self) -> int:
        """Bytes of an offset."""
        return 8 if self.big else 4


def directories(data: bytes) -> Directories:
    """Read all directories of a sound TIFF, sub-directories too."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    found = Directories([], [], [8 if big else 4], order, big)
    waiting = [found.number(data, found.links[0], found.link_size)]
    while waiting:
        start = waiting.pop(0)
        if start in found.starts:  # sub-directories are listed, and linked to each other
            continue
        index = len(found.starts)
        found.starts.append(start)
        n, at, step = (
            (found.number(data, start, 8), start + 8, 20) if big else (found.number(data, start, 2), start + 2, 12)
        )
        for i in range(n):
            entry_at = at + i * step
            tag, kind = found.number(data, entry_at, 2), found.number(data, entry_at + 2, 2)
            count = found.number(data, entry_at + 4, found.link_size)
            place = entry_at + 4 + found.link_size
            size = SIZES[kind] * count
            values_at = place if size <= found.link_size else found.number(data, place, found.link_size)
            entry = Entry(entry_at, tag, kind, count, values_at, index)
            found.entries.append(entry)
            if tag == SUB_IFDS:
                places = [values_at + j * SIZES[kind] for j in range(count)]
                waiting += [found.number(data, place, SIZES[kind]) for place in places]
        link = at + n * step
        found.links.append(link)
        if following := found.number(data, link, found.link_size):
            waiting.append(following)
    return found


# --- kinds of damage ---


def truncated(data: bytes, rng: Random) -> bytes:
    """The file ends early: anywhere, or by a few bytes."""
    return data[: int(rng.integers(16, len(data)))] if rng.random() < 0.7 else data[: -int(rng.integers(1, 200))]


def header(data: bytes, rng: Random) -> bytes:
    """A byte or two of the first are others."""
    changed = bytearray(data)
    width = 16 if data[:2] in (b"II", b"MM") else 340
    for at in rng.integers(0, width, rng.integers(1, 3)):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def directory_entry(data: bytes, rng: Random) -> bytes:
    """A byte of one directory entry, or of the value it points to, is another."""
    changed = bytearray(data)
    places = _entry_places(data)
    start, length = places[rng.integers(len(places))]
    changed[start + int(rng.integers(length))] ^= int(rng.integers(1, 256))
    return bytes(changed)


def offsets_and_counts(data: bytes, rng: Random) -> bytes:
    """Where a tile lies, or how long it is, is said wrongly, for one tile or for all of a level."""
    changed = bytearray(data)
    if _is_dicom(data):
        items = dicom_items(data)
        at, length = items[rng.integers(len(items))]
        wrong = [0, length // 2, length + 2, 2**31, len(data)][rng.integers(5)]
        struct.pack_into("<I", changed, at - 4, wrong)
        return bytes(changed)
    found = directories(data)
    arrays = [entry for entry in found.entries if entry.tag in (OFFSETS, COUNTS)]
    entry = arrays[rng.integers(len(arrays))]
    size = SIZES[entry.kind]
    some = range(entry.count) if rng.random() < 0.3 else [int(rng.integers(entry.count))]
    how = rng.integers(6)
    for index in some:
        at = entry.values_at + index * size
        old = found.number(data, at, size)
        wrong = [0, old // 2, old + 37, len(data) - 5, 2 ** (8 * size) - 1, old + 2 * len(data)][how]
        found.put(changed, at, size, wrong)
    return bytes(changed)


def tags_swapped(data: bytes, rng: Random) -> bytes:
    """Two entries of a directory have exchanged their numbers, or their values."""
    changed = bytearray(data)
    if _is_dicom(data):
        one, other = (_entry_places(data)[i][0] for i in rng.choice(len(_entry_places(data)), 2, replace=False))
        changed[one : one + 4], changed[other : other + 4] = data[other : other + 4], data[one : one + 4]
        return bytes(changed)
    found = directories(data)
    directory = int(rng.integers(len(found.starts)))
    entries = [entry for entry in found.entries if entry.directory == directory]
    one, other = (entries[i].at for i in rng.choice(len(entries), 2, replace=False))
    part = slice(0, 2) if rng.random() < 0.5 else slice(2, 20 if found.big else 12)
    for to, source in ((one, other), (other, one)):
        changed[to + part.start : to + part.stop] = data[source + part.start : source + part.stop]
    return bytes(changed)


def cyclic(data: bytes, rng: Random) -> bytes:
    """A link between directories leads back; in DICOM, which has none, a frame stands twice."""
    changed = bytearray(data)
    if _is_dicom(data):
        items = dicom_items(data)
        (at, length), (to, _) = items[rng.integers(1, len(items))], items[rng.integers(1, len(items))]
        changed[to - 8 : to - 8] = data[at - 8 : at + length]
        return bytes(changed)
    found = directories(data)
    links = found.links[1:]
    links += [
        entry.values_at + i * SIZES[entry.kind]
        for entry in found.entries
        if entry.tag == SUB_IFDS
        for i in range(entry.count)
    ]
    found.put(changed, int(rng.choice(links)), found.link_size, int(rng.choice(found.starts)))
    return bytes(changed)


def tile_stream(data: bytes, rng: Random) -> bytes:
    """The compressed data of a tile, or of all, are half lost in one of several ways."""
    changed = bytearray(data)
    places = tile_ranges(data)
    kind = list(HALF_LOST.values())[rng.integers(len(HALF_LOST))]
    for start, length in places if rng.random() < 0.4 else [places[rng.integers(len(places))]]:
        if length > 200:
            changed[start : start + length] = kind(data[start : start + length])[:length].ljust(length, b"\0")
    return bytes(changed)


def random_bytes(data: bytes, rng: Random) -> bytes:
    """Single bytes anywhere are others, or a run of them is noise."""
    changed = bytearray(data)
    if rng.random() < 0.5:
        for at in rng.integers(0, len(data), rng.integers(1, 33)):
            changed[at] ^= int(rng.integers(1, 256))
    else:
        at, n = int(rng.integers(len(data))), int(rng.integers(2, 4096))
        noise = rng.integers(0, 256, len(data[at : at + n]), dtype=np.uint8)
        changed[at : at + n] = noise.tobytes()
    return bytes(changed)


def zeroed_sector(data: bytes, rng: Random) -> bytes:
    """A sector of the disk reads as zeros."""
    changed = bytearray(data)
    at = int(rng.integers(len(data) // 512 + 1)) * 512
    changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    return bytes(changed)


def bytes_lost(data: bytes, rng: Random) -> bytes:
    """Some bytes are gone, or stand twice: all behind them is shifted."""
    at, n = int(rng.integers(len(data))), int(rng.integers(1, 600))
    return data[:at] + data[at + n :] if rng.random() < 0.6 else data[: at + n] + data[at:]


def line_ends(data: bytes, rng: Random) -> bytes:
    """A transfer took the file for a text and turned its line ends."""
    return data.replace(b"\n", b"\r\n") if rng.random() < 0.5 else data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


KINDS: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": truncated,
    "header": header,
    "directory entry": directory_entry,
    "offsets and counts": offsets_and_counts,
    "tags swapped": tags_swapped,
    "cyclic": cyclic,
    "tile stream": tile_stream,
    "random bytes": random_bytes,
    "zeroed sector": zeroed_sector,
    "bytes lost": bytes_lost,
    "line ends": line_ends,
}


def mutant(data: bytes, source: str, kind: str, number: int, seed: int) -> bytes:
    """A damaged copy, another for each name, kind, number and seed, and never equal to the original."""
    key = [seed, number, *source.encode(), *kind.encode()]
    for attempt in range(100):
        changed = KINDS[kind](data, np.random.default_rng([*key, attempt]))
        if changed != data:
            return changed
    return truncated(data, np.random.default_rng(key))


# --- DICOM, and where tiles lie ---


def _is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def dicom_items(data: bytes) -> list[tuple[int, int]]:
    """(start, length) of the items of a made DICOM file's pixels: the table of offsets, then the frames."""
    return list(_items(data, data.rindex(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12))


def _items(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield at + 8, length
        at += 8 + length


def _entry_places(data: bytes) -> list[tuple[int, int]]:
    """(start, length) of what describes a file: directory entries and their values, or the elements before pixels."""
    if not _is_dicom(data):
        found = directories(data)
        places = [(entry.at, 4 + 2 * found.link_size) for entry in found.entries]
        return places + [(entry.values_at, SIZES[entry.kind] * entry.count) for entry in found.entries]
    places, at, end = [], 132, dicom_items(data)[0][0] - 20
    while at < end:
        long = data[at + 4 : at + 6] in (b"OB", b"SQ")
        length = struct.unpack_from("<I", data, at + 8)[0] if long else struct.unpack_from("<H", data, at + 6)[0]
        size = (12 if long else 8) + length
        places.append((at, size))
        at += size
    return places


def tile_ranges(data: bytes) -> list[tuple[int, int]]:
    """(start, length) of each compressed tile of a sound slide, of all levels."""
    if _is_dicom(data):
        return dicom_items(data)[1:]
    found = directories(data)
    ranges: list[tuple[int, int]] = []
    for directory in range(len(found.starts)):
        arrays = {entry.tag: entry for entry in found.entries if entry.directory == directory}
        offsets, counts = (
            [found.number(data, array.values_at + i * SIZES[array.kind], SIZES[array.kind]) for i in range(array.count)]
            for array in (arrays[OFFSETS], arrays[COUNTS])
        )
        ranges += list(zip(offsets, counts, strict=True))
    return ranges
