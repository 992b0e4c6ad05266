"""The directories of a TIFF, walked once and within bounds, before any library follows them.

Classic TIFF, BigTIFF and Hamamatsu's NDPI (classic with 64-bit offsets), in either byte order. A circle, a directory
that is not there and data beyond the file's end are refused here at once: libraries hang on them, leave levels out or
show black and white for what they miss.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError

MAX_DIRECTORIES = 4096  # of a slide with focal planes a few hundred
MAX_ENTRIES = 4096  # of one directory, as in libtiff and tifffile
MAX_ALL_ENTRIES = 262_144
MAX_TILES = 1 << 26  # of one image: the largest slide that is opened (`slide.MAX_SIDE`) has fewer
MAX_TEXT = 1 << 20  # bytes of a description that are looked at
REMEDY = "copy the file again, or have it exported anew"

SHORT = 3
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WHOLE = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # numpy's names of the types of whole numbers
HUGE = 1 << 61  # byte numbers beyond it are cut to it: two of them still fit int64
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 270, 273, 274, 277, 278, 279
PLANAR, SOFTWARE, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 284, 305, 322, 323, 324, 325
SUB_DIRECTORIES, EXTRA_SAMPLES, JPEG_TABLES, NDPI_FLAG, NDPI_LENS, NDPI_FOCAL_PLANE = 330, 338, 347, 65420, 65421, 65424
STRUCTURE = {
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR,
    TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SUB_DIRECTORIES,
}  # fmt: skip


@dataclass(frozen=True)
class Directory:
    """One directory of a TIFF: an image, and where its data lie.

    Attributes:
        number: its place in the walk, from 0.
        parent: number of the directory that names it among its sub-directories; -1 in the main chain.
        width: px.
        height: px.
        tile_width: px; 0 where the image is stored in strips.
        tile_height: px; of a strip, its rows.
        offsets: int64 [n], of the tiles or strips in the file.
        counts: int64 [n], bytes of each; 0 with an offset of 0 where the writer left it out.
        compression: TIFF's number.
        photometric: TIFF's number.
        bits: of each sample.
        samples: of a pixel.
        extra_samples: of them, those beyond the colours.
        planar: 1 for pixels side by side, 2 for a plane each.
        subfile: TIFF's flags: 1 reduced, 4 mask, 9 Aperio's macro.
        orientation: TIFF's number.
        description: text, shortened.
        software: text.
        tables: JPEG tables that the tiles share, or None.
        lens: NDPI's magnification, negative for macro and map; None elsewhere.
        focal_plane: NDPI's; 0 elsewhere.
    """

    number: int
    parent: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    compression: int
    photometric: int
    bits: tuple[int, ...]
    samples: int
    extra_samples: int
    planar: int
    subfile: int
    orientation: int
    description: str
    software: str
    tables: bytes | None
    lens: float | None
    focal_plane: int

    @property
    def is_tiled(self) -> bool:
        """Whether it is stored in tiles."""
        return self.tile_width > 0

    @property
    def name(self) -> str:
        """For messages."""
        return f"image {self.number} ({self.width} x {self.height} px)"


@dataclass(frozen=True)
class Entry:
    """One entry of a directory; `value` is what lies in it: the value where it fits, else its offset."""

    tag: int
    kind: int
    count: int
    value: bytes
    value_at: int  # where the value lies in the file


def read_directories(path: Path, spans: dict[int, int] | None = None) -> list[Directory] | None:
    """All directories of a TIFF, sub-directories after the one that names them; None for a file that is no TIFF.

    Args:
        path: the file.
        spans: filled with where each directory lies and how many bytes it takes.

    Raises:
        SlideError: code ``unreadable``, with the place and the file's size; ``io`` where the system fails.
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            head = os.pread(file, 16, 0)
            if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return None
            walk = _DirectoryWalk(file, path, os.fstat(file).st_size, head)
            found = walk.directories()
            if spans is not None:
                spans.update(walk.spans)
            return found
        finally:
            os.close(file)
    except OSError as error:
        raise SlideError(f"{path}: {error.strerror or error}", "io") from error


@dataclass(frozen=True)
class _Link:
    """A directory still to be read: where it lies and what names it.

    Writers may chain sub-directories which their parent names too: `place` among its `siblings`, by where they lie.
    """

    at: int
    parent: int
    named_by: str
    place: int = 0
    siblings: dict[int, int] = field(default_factory=dict)


@dataclass
class _DirectoryWalk:
    """The walk through one file."""

    file: int
    path: Path
    size: int
    head: bytes
    order: str = field(init=False)  # "<" or ">"
    big: bool = field(init=False)
    ndpi: bool = False
    n_entries: int = 0
    spans: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = "<" if self.head[:2] == b"II" else ">"
        self.big = self.head[2:4] in (b"+\0", b"\0+")

    def directories(self) -> list[Directory]:
        """Follow the chain and the sub-directories."""
        if len(self.head) < (16 if self.big else 8):
            raise self._damaged(f"it ends after {self.size} bytes, within its header")
        if self.big:
            if struct.unpack(f"{self.order}HH", self.head[4:8]) != (8, 0):
                raise self._damaged("its BigTIFF header is wrong")
            (first,) = struct.unpack(f"{self.order}Q", self.head[8:16])
        else:
            first = self._first_of_ndpi() or struct.unpack(f"{self.order}I", self.head[4:8])[0]
        found: list[Directory] = []
        seen: dict[int, int] = {}  # where a directory lies -> its number
        todo = [_Link(first, -1, "its header")]  # the last one is next; a chain's rest waits below its sub-directories
        while todo:
            link = todo.pop()
            number, name = len(seen), f"directory {len(seen)}"
            if link.at in seen:
                raise self._damaged(
                    f"its directories go round in a circle: {link.named_by} leads back to directory {seen[link.at]} "
                    f"at byte {link.at}"
                )
            if number == MAX_DIRECTORIES:
                raise self._damaged(f"more than {MAX_DIRECTORIES} directories")
            seen[link.at] = number
            entries, after = self._entries(link.at, f"{name}, named by {link.named_by},")
            if after and link.siblings.get(after, -1) <= link.place:  # else it is named below its parent anyway
                todo.append(_Link(after, link.parent, name))
            if SUB_DIRECTORIES in entries:
                children = self._numbers(entries, SUB_DIRECTORIES, name, MAX_DIRECTORIES).tolist()
                places = {child: place for place, child in enumerate(children)}
                todo += [_Link(child, number, name, i, places) for i, child in reversed(list(enumerate(children)))]
            found.append(self._directory(entries, number, link.parent))
        return found

    def _damaged(self, what: str) -> SlideError:
        return SlideError(f"{self.path}: damaged TIFF: {what}; {REMEDY}", "unreadable")

    def _read(self, at: int, count: int, what: str) -> bytes:
        if at + count > self.size:
            raise SlideError(
                f"{self.path}: truncated: {what} lies at bytes {at} to {at + count}, the file ends at byte {self.size};"
                f" {REMEDY}",
                "unreadable",
            )
        data = os.pread(self.file, count, at)
        if len(data) < count:
            raise SlideError(f"{self.path}: only {len(data)} of {count} bytes could be read at byte {at}", "io")
        return data

    def _first_of_ndpi(self) -> int:
        """Where the first directory of an NDPI lies; 0 for any other file. Told as OpenSlide does, by its tag."""
        if len(self.head) < 12 or self.order != "<":
            return 0
        (first,) = struct.unpack("<Q", self.head[4:12])
        if not 0 < first < self.size:
            return 0
        self.ndpi = True
        try:
            entries, _ = self._entries(first, "")
        except SlideError:
            entries = {}
        self.n_entries = 0
        self.ndpi = NDPI_FLAG in entries
        return first if self.ndpi else 0

    def _entries(self, at: int, name: str) -> tuple[dict[int, Entry], int]:
        """The entries of the directory at a byte, and where the next directory lies (0: nowhere)."""
        count_bytes, entry_bytes, link_bytes = (8, 20, 8) if self.big else (2, 12, 8 if self.ndpi else 4)
        if at < 8:
            raise self._damaged(f"{name} would lie at byte {at}, within the header")
        n = int.from_bytes(self._read(at, count_bytes, name), "little" if self.order == "<" else "big")
        if not 0 < n <= MAX_ENTRIES:
            raise self._damaged(f"{name} at byte {at} says it has {n} entries")
        self.n_entries += n
        if self.n_entries > MAX_ALL_ENTRIES:
            raise self._damaged(f"more than {MAX_ALL_ENTRIES} entries in its directories")
        length = n * entry_bytes + link_bytes + (4 * n if self.ndpi else 0)
        data = self._read(at + count_bytes, length, name)
        self.spans[at] = count_bytes + length
        link = data[n * entry_bytes : n * entry_bytes + link_bytes]
        high = data[n * entry_bytes + link_bytes :]  # NDPI keeps the upper half of each value behind the link
        entries: dict[int, Entry] = {}
        for i in range(n):
            raw = data[i * entry_bytes : (i + 1) * entry_bytes]
            tag, kind = struct.unpack(f"{self.order}HH", raw[:4])
            (count,) = struct.unpack(f"{self.order}{'Q' if self.big else 'I'}", raw[4 : 12 if self.big else 8])
            value = raw[12 if self.big else 8 :] + high[4 * i : 4 * i + 4]
            entry = Entry(tag, kind, count, value, at + count_bytes + (i + 1) * entry_bytes - (8 if self.big else 4))
            if tag in STRUCTURE and tag in entries:
                raise self._damaged(f"{name} names tag {tag} twice")
            entries.setdefault(tag, entry)
        return entries, int.from_bytes(link, "little" if self.order == "<" else "big")

    def _raw(self, entry: Entry, n_bytes: int, name: str) -> bytes:
        """The first `n_bytes` of an entry's values."""
        inline = 8 if self.big else 4
        total = entry.count * TYPE_BYTES.get(entry.kind, 1)
        if total <= inline and not (self.ndpi and entry.kind == 2):
            return entry.value[:n_bytes]
        at = int.from_bytes(entry.value, "little" if self.order == "<" else "big")
        return self._read(at, n_bytes, name)

    def _numbers(self, entries: dict[int, Entry], tag: int, name: str, most: int = MAX_TILES) -> NDArray[np.int64]:
        """Whole numbers of a tag: int64 [count]; empty where the tag is absent."""
        entry = entries.get(tag)
        if entry is None:
            return np.empty(0, np.int64)
        if entry.kind not in WHOLE or not 0 < entry.count <= most:
            raise self._damaged(f"{name}: tag {tag} holds {entry.count} values of type {entry.kind}")
        if self.ndpi and entry.kind == 4 and entry.count == 1:
            raw = np.frombuffer(entry.value, "<u8")
        else:
            n_bytes = entry.count * TYPE_BYTES[entry.kind]
            raw = np.frombuffer(self._raw(entry, n_bytes, f"{name}: tag {tag}"), self.order + WHOLE[entry.kind])
        return np.minimum(raw, np.uint64(HUGE)).astype(np.int64) if raw.dtype.itemsize == 8 else raw.astype(np.int64)

    def _number(self, entries: dict[int, Entry], tag: int, name: str, default: int | None = None) -> int:
        """The one number of a tag."""
        if tag not in entries and default is not None:
            return default
        values = self._numbers(entries, tag, name)
        if len(values) != 1:
            raise self._damaged(f"{name}: tag {tag} is {'missing' if len(values) == 0 else 'several numbers'}")
        return int(values[0])

    def _first_number(self, entries: dict[int, Entry], tag: int, name: str, default: int) -> int:
        """The first number of a tag that no pixel hangs on; the default where it is absent or odd."""
        try:
            return int(self._numbers(entries, tag, name)[0])
        except (SlideError, IndexError):
            return default

    def _bytes(self, entries: dict[int, Entry], tag: int, name: str) -> bytes:
        entry = entries.get(tag)
        if entry is None or TYPE_BYTES.get(entry.kind) != 1:
            return b""
        return self._raw(entry, min(entry.count, MAX_TEXT), f"{name}: tag {tag}")

    def _text(self, entries: dict[int, Entry], tag: int, name: str) -> str:
        return self._bytes(entries, tag, name).split(b"\0")[0].decode("utf-8", "replace")

    def _lens(self, entries: dict[int, Entry], name: str) -> float | None:
        entry = entries.get(NDPI_LENS) if self.ndpi else None
        if entry is None:
            return None
        if entry.kind == 11:
            return float(struct.unpack("<f", entry.value[:4])[0])
        return float(self._first_number(entries, NDPI_LENS, name, 0))

    def _directory(self, entries: dict[int, Entry], number: int, parent: int) -> Directory:
        name = f"directory {number}"
        width, height = (self._number(entries, tag, name) for tag in (WIDTH, HEIGHT))
        if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
            raise self._damaged(f"{name}: an image of {width} x {height} px")
        of_tiles = {TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS} & entries.keys()
        samples = self._number(entries, SAMPLES, name, 1)
        for tag in (BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR):
            if tag in entries and entries[tag].kind != SHORT:  # TIFF 6.0 knows no other; libraries read on
                raise self._damaged(f"{name}: tag {tag} is of type {entries[tag].kind}, where only {SHORT} can be")
        planar = self._number(entries, PLANAR, name, 1)
        if planar not in (1, 2):
            raise self._damaged(f"{name}: planar configuration {planar}, where 1 or 2 can be")
        if not 0 < samples < 1 << 16:
            raise self._damaged(f"{name}: {samples} samples in a pixel")
        if of_tiles:
            tile_width, tile_height = (self._number(entries, tag, name) for tag in (TILE_WIDTH, TILE_HEIGHT))
            offsets_tag, counts_tag = TILE_OFFSETS, TILE_COUNTS
        else:
            tile_width = 0
            tile_height = min(self._number(entries, ROWS_PER_STRIP, name, height), height)
            offsets_tag, counts_tag = STRIP_OFFSETS, STRIP_COUNTS
        if not 0 <= tile_width < 1 << 31 or not 0 < tile_height < 1 << 31 or (of_tiles and not tile_width):
            raise self._damaged(f"{name}: tiles of {tile_width} x {tile_height} px")
        offsets, counts = (self._numbers(entries, tag, name) for tag in (offsets_tag, counts_tag))
        directory = Directory(
            number=number, parent=parent, width=width, height=height, tile_width=tile_width, tile_height=tile_height,
            offsets=offsets, counts=counts,
            compression=self._number(entries, COMPRESSION, name, 1),
            photometric=self._number(entries, PHOTOMETRIC, name, 0),
            bits=tuple(self._numbers(entries, BITS, name, 1 << 16).tolist()) or (1,),
            samples=samples,
            extra_samples=entries[EXTRA_SAMPLES].count if EXTRA_SAMPLES in entries else 0,
            planar=planar,
            subfile=self._first_number(entries, SUBFILE, name, 0),
            orientation=self._first_number(entries, ORIENTATION, name, 1),
            description=self._text(entries, DESCRIPTION, name),
            software=self._text(entries, SOFTWARE, name),
            tables=self._bytes(entries, JPEG_TABLES, name) or None,
            lens=self._lens(entries, name),
            focal_plane=self._first_number(entries, NDPI_FOCAL_PLANE, name, 0) if self.ndpi else 0,
        )  # fmt: skip
        self._check_data(directory)
        return directory

    def _check_data(self, image: Directory) -> None:
        """Refuse tiles or strips that are not all named, lie beyond the file, or have a place and no bytes."""
        kind = "tile" if image.is_tiled else "strip"
        columns = -(-image.width // image.tile_width) if image.is_tiled else 1
        n = columns * -(-image.height // image.tile_height) * (image.samples if image.planar == 2 else 1)
        if not image.is_tiled and (len(image.offsets) == 0 or len(image.counts) == 0):
            return  # old ways of storing that no slide has; whoever reads it refuses it
        for values, what in ((image.offsets, "offsets"), (image.counts, "byte counts")):
            if len(values) != n:
                raise self._damaged(f"{image.name} has {n} {kind}s and names {len(values)} {what}")
        ends = image.offsets + image.counts
        beyond = np.flatnonzero(ends > self.size)
        if len(beyond):
            first = int(beyond[0])
            raise SlideError(
                f"{self.path}: truncated: {len(beyond)} of {n} {kind}s of {image.name} lie beyond the file's end, the "
                f"first, {kind} {first}, at bytes {image.offsets[first]} to {ends[first]}; the file ends at byte "
                f"{self.size}; {REMEDY}",
                "unreadable",
            )
        if not image.is_tiled and not self.ndpi:
            return  # labels and macros whose data were wiped are not looked at
        odd = np.flatnonzero((image.counts == 0) != (image.offsets == 0))
        if len(odd):
            first = int(odd[0])
            raise self._damaged(
                f"{kind} {first} of {image.name} has offset {image.offsets[first]} and {image.counts[first]} bytes (a "
                f"{kind} that was left out has 0 and 0); the file has {self.size} bytes"
            )
