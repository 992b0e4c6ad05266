"""Walks the data elements of a DICOM file and the items of its pixels, within bounds: PS3.5, 7.1, 7.5 and A.4.

Not by pydicom, which was measured beside it: that takes a file without end for a whole one where a value is cut,
descends into sequences until Python's calls end, builds each item (12 s and 600 MiB for 8 MB of empty items), and
inflates a deflated file whole, whatever its size. Here values are passed by their lengths and nothing is kept.
"""

import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import BinaryIO

PREAMBLE_BYTES = 132  # 128 of anything, then DICM
UNDEFINED = 0xFFFFFFFF
MAX_ELEMENTS = 2_000_000  # a level of many frames that do not lie side by side has some twenty of each
MAX_DEPTH = 16
MAX_VALUE_BYTES = 1 << 16  # of a value that is read, and not passed
IMPLICIT = "1.2.840.10008.1.2"
NOT_FOLLOWED = {"1.2.840.10008.1.2.1.99": "deflated", "1.2.840.10008.1.2.2": "big endian"}
"""Transfer syntaxes whose files are walked no further than their meta information."""
NO_META = "no meta information at its beginning"
_HEAD = struct.Struct("<HH2sH")
_META, _DELIMITERS = 0x0002, 0xFFFE  # groups
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


class Tag(IntEnum):
    """Data elements that are looked for (group, then number), and the marks of sequences."""

    CLASS = 0x00020002
    INSTANCE = 0x00020003
    SYNTAX = 0x00020010
    IMAGE_TYPE = 0x00080008
    SERIES = 0x0020000E
    NUMBER = 0x00200013
    CONCATENATION = 0x00209161
    ORGANISATION = 0x00209311
    SAMPLES = 0x00280002
    PHOTOMETRIC = 0x00280004
    FRAMES = 0x00280008
    ROWS = 0x00280010
    COLUMNS = 0x00280011
    BITS = 0x00280100
    WIDTH = 0x00480006
    HEIGHT = 0x00480007
    PATHS = 0x00480302
    AT_COLUMN = 0x0048021E  # of a frame's first pixel in its level, from 1
    AT_ROW = 0x0048021F
    PLANES = 0x00480303
    PER_FRAME = 0x52009230
    FAR_TABLE = 0x7FE00001  # the extended offset table
    PIXELS = 0x7FE00010
    ITEM = 0xFFFEE000
    ITEM_END = 0xFFFEE00D
    SEQUENCE_END = 0xFFFEE0DD


_SYNTAX, _PIXELS = int(Tag.SYNTAX), int(Tag.PIXELS)
_ITEM, _ITEM_END, _SEQUENCE_END = int(Tag.ITEM), int(Tag.ITEM_END), int(Tag.SEQUENCE_END)


class ElementError(Exception):
    """A file cannot be followed.

    Attributes:
        at: the byte from which on.
        ended: because the file ends there.
    """

    def __init__(self, what: str, at: int, ended: bool = False):
        super().__init__(what)
        self.at, self.ended = at, ended


class Elements:
    """The elements of one DICOM file, behind its preamble.

    Attributes:
        size: of the file, bytes.
        syntax: the transfer syntax; "" as long as it was not met.
        per_frame: where the sequence of what each frame says begins, and its bytes (or `UNDEFINED`); None as long as
            it was not met.
    """

    def __init__(self, stream: BinaryIO, most: int = MAX_ELEMENTS):
        """Begin a walk.

        Args:
            stream: the file, which starts as DICOM files do.
            most: elements that are passed.
        """
        self.stream, self.most = stream, most
        self.size = os.fstat(stream.fileno()).st_size
        self.syntax = ""
        self.per_frame: tuple[int, int] | None = None
        self._passed = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(tag, bytes of the value) of the file's own elements, the stream standing at the value.

        It ends at the pixel data, at the end of the file, and behind the meta information where the rest is
        `NOT_FOLLOWED`. Sequences and unknown values without a length are passed and not given.

        Raises:
            ElementError: of a file that is cut or damaged.
        """
        at = self.stream.seek(PREAMBLE_BYTES)
        while at != self.size:
            implicit = self.syntax == IMPLICIT
            tag, kind, length = self.next_element(implicit)
            if at == PREAMBLE_BYTES and tag >> 16 != _META:
                raise ElementError(NO_META, at)
            if tag == Tag.PER_FRAME:
                self.per_frame = self.stream.tell(), length
            if length == UNDEFINED and tag != _PIXELS:
                self._pass_sequence(implicit or kind == b"UN", 0)  # unknown values are implicit: PS3.5, 6.2.2, note 2
                at = self.stream.tell()
                continue
            start = self.stream.tell()
            if tag == _SYNTAX:
                self.syntax = text(self.value(length))
                self.stream.seek(start)
            yield tag, length
            if tag == _PIXELS or (tag == _SYNTAX and self.syntax in NOT_FOLLOWED):
                return
            at = self.stream.seek(start + length)

    def value(self, length: int) -> bytes:
        """The value at which the stream stands.

        Raises:
            ElementError: it is longer than any that is looked for, or than the file.
        """
        at = self.stream.tell()
        if length > MAX_VALUE_BYTES:
            raise ElementError(f"a value of {length} bytes at byte {at}", at)
        value = self.stream.read(length)
        if len(value) < length:
            raise ElementError("the file ends", at, ended=True)
        return value

    def next_element(self, implicit: bool) -> tuple[int, bytes, int]:
        """(tag, kind of value, its bytes) of the next element or mark, the stream standing behind them."""
        self._passed += 1
        if self._passed > self.most:
            raise ElementError(f"more than {self.most} elements", self.stream.tell())
        head = self.stream.read(8)
        if len(head) < 8:
            raise ElementError("the file ends", self.size, ended=True)
        group, number, kind, short = _HEAD.unpack(head)
        tag = group << 16 | number
        if group == _DELIMITERS or (implicit and group != _META):
            return tag, b"", short << 16 | int.from_bytes(kind, "little")
        if kind not in _LONG:
            return tag, kind, short
        head = self.stream.read(4)
        if len(head) < 4:
            raise ElementError("the file ends", self.size, ended=True)
        return tag, kind, int.from_bytes(head, "little")

    def _pass_sequence(self, implicit: bool, depth: int) -> None:
        """Go behind a sequence of undefined length."""
        if depth > MAX_DEPTH:
            raise ElementError("sequences nested without end", self.stream.tell())
        while True:
            tag, _, length = self.next_element(implicit)
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise ElementError(f"no item where one belongs, at byte {self.stream.tell()}", self.stream.tell())
            if length != UNDEFINED:
                self.stream.seek(length, os.SEEK_CUR)
                continue
            while True:
                tag, kind, length = self.next_element(implicit)
                if tag == _ITEM_END:
                    break
                if length == UNDEFINED:
                    self._pass_sequence(implicit or kind == b"UN", depth + 1)
                else:
                    self.stream.seek(length, os.SEEK_CUR)


def inner_elements(elements: Elements, at: int, length: int) -> Iterator[tuple[int, int]]:
    """(tag, bytes of the value) of the elements inside a sequence, at any depth, the stream standing at the value.

    Of a file that names the kinds of its values, by which sequences are told; OpenSlide opens no other.

    Args:
        elements: the walk that met the sequence; it counts on.
        at: byte at which the sequence's value begins.
        length: its bytes, or `UNDEFINED`.

    Raises:
        ElementError: of a file that is cut or damaged.
    """
    stream = elements.stream
    end = elements.size if length == UNDEFINED else at + length
    open_ended = int(length == UNDEFINED)  # sequences and items without a length that are not yet closed
    stream.seek(at)
    while stream.tell() < end:
        tag, kind, n_bytes = elements.next_element(implicit=False)
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            if tag == _ITEM:
                open_ended += n_bytes == UNDEFINED
            else:
                open_ended -= 1
            if open_ended < 0 or (open_ended == 0 and length == UNDEFINED):
                return
        elif n_bytes == UNDEFINED:
            open_ended += 1
        elif kind != b"SQ":  # a sequence's items are gone through
            start = stream.tell()
            yield tag, n_bytes
            stream.seek(start + n_bytes)


def pixel_items(stream: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """(place of the item, bytes of its value) of compressed pixel data, the stream standing at the value.

    The first is the table of offsets; from wherever in them the stream stands, to their end mark.

    Raises:
        ElementError: the file ends before the item does, or something else stands in its place.
    """
    while True:
        at = stream.tell()
        head = stream.read(8)
        if len(head) < 8:
            raise ElementError("the file ends", at, ended=True)
        group, number, length = struct.unpack("<HHI", head)
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise ElementError("no frame where one belongs", at)
        if at + 8 + length > size:
            raise ElementError("the file ends", at, ended=True)
        yield at, length
        stream.seek(at + 8 + length)


def text(value: bytes) -> str:
    """A value of text, without its padding."""
    return value.decode("ascii", "replace").strip(" \0")
