"""A TIFF as bytes whose directories can be spoilt in known places, for tests of damaged files."""

import struct
from pathlib import Path
from typing import NamedTuple

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 13: 4, 16: 8}
CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}


class Place(NamedTuple):
    """An entry of a directory: where it stands in the file, its type, how many values, and where these lie."""

    at: int
    kind: int
    n: int
    values_at: int


class TiffBytes:
    """The bytes of a sound TIFF, and where its directories' parts lie.

    Attributes:
        data: to be changed.
        starts: where each directory of the main chain begins.
        entries: of each directory, by tag.
        links: where each directory says where the next one is.
    """

    def __init__(self, path: Path):
        self.data = bytearray(path.read_bytes())
        self.order = "<" if self.data[:2] == b"II" else ">"
        self.big = struct.unpack_from(f"{self.order}H", self.data, 2)[0] == 43
        self.starts: list[int] = []
        self.entries: list[dict[int, Place]] = []
        self.links: list[int] = []
        at = self.get("Q", 8) if self.big else self.get("I", 4)
        while at:
            at = self._directory(at)

    def get(self, code: str, at: int) -> int:
        """A whole number in the file's byte order."""
        value: int = struct.unpack_from(self.order + code, self.data, at)[0]
        return value

    def put(self, code: str, at: int, value: int) -> None:
        """Write a whole number in the file's byte order."""
        struct.pack_into(self.order + code, self.data, at, value)

    def _directory(self, at: int) -> int:
        n, first = (self.get("Q", at), at + 8) if self.big else (self.get("H", at), at + 2)
        size = 20 if self.big else 12
        found = {}
        for entry in range(first, first + n * size, size):
            kind = self.get("H", entry + 2)
            count = self.get("Q" if self.big else "I", entry + 4)
            inline = entry + (12 if self.big else 8)
            fits = count * SIZES[kind] <= (8 if self.big else 4)
            values = inline if fits else self.get("Q" if self.big else "I", inline)
            found[self.get("H", entry)] = Place(entry, kind, count, values)
        self.starts.append(at)
        self.entries.append(found)
        self.links.append(first + n * size)
        return self.get(self.pointer, first + n * size)

    @property
    def pointer(self) -> str:
        """Code of a place in the file."""
        return "Q" if self.big else "I"

    def value(self, directory: int, tag: int, index: int = 0) -> int:
        """A value of a tag."""
        place = self.entries[directory][tag]
        return self.get(CODES[place.kind], place.values_at + index * SIZES[place.kind])

    def set_value(self, directory: int, tag: int, value: int, index: int = 0) -> None:
        """Change a value of a tag."""
        place = self.entries[directory][tag]
        self.put(CODES[place.kind], place.values_at + index * SIZES[place.kind], value)

    def set_tag(self, directory: int, tag: int, other: int) -> None:
        """Give an entry another tag."""
        self.put("H", self.entries[directory][tag].at, other)

    def link(self, directory: int, to: int) -> None:
        """Let a directory say that the next one lies at a byte."""
        self.put(self.pointer, self.links[directory], to)

    def write(self, path: Path) -> Path:
        """Write the file."""
        path.write_bytes(self.data)
        return path
