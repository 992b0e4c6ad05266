"""What the tags of a TIFF hold that could name a person, and which pictures of the glass it has: none is decoded.

The directories are those that `slides.tiff.directory` walks, within its bounds. Of a damaged file the tags that can be
reached are looked at, and that it is damaged is said.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from pathoprog.errors import SlideError
from pathoprog.slides.identifying.kinds import (
    CASE,
    DATE,
    DEVICE,
    IMAGE,
    PERSON,
    PLACE,
    TEXT,
    UNREAD,
    Finding,
    says_something,
)
from pathoprog.slides.identifying.texts import pictures, text_findings, xml_fields
from pathoprog.slides.tiff.directory import DESCRIPTION, MAX_ENTRIES, NDPI_FLAG, TYPE_BYTES, Directory, read_directories
from pathoprog.slides.tiff.pyramid import MACRO, SIDE_IMAGE, pyramid_of, reduces

MAX_VALUE = 32 << 20  # bytes of one value: Philips puts pictures into its description
MAX_ALL_VALUES = 256 << 20
MACRO_LENS = -1.0  # NDPI's magnification of its macro image
ASCII, BYTES = 2, (1, 2, 7)
EXIF, XMP = 34665, 700
XP = (40091, 40092, 40093, 40094, 40095)  # Windows keeps these in UTF-16

# TIFF 6.0, its supplements, Exif 2.32 and Hamamatsu's private tags, as tifffile and OpenSlide name them.
TAGS: dict[int, tuple[str, str]] = {
    269: ("DocumentName", CASE),
    285: ("PageName", CASE),
    306: ("DateTime", DATE),
    315: ("Artist", PERSON),
    316: ("HostComputer", PLACE),
    337: ("TargetPrinter", PLACE),
    33432: ("Copyright", TEXT),
    33723: ("IPTC", TEXT),
    34377: ("Photoshop's resources", TEXT),
    36867: ("DateTimeOriginal", DATE),
    36868: ("DateTimeDigitized", DATE),
    37510: ("UserComment", TEXT),
    40091: ("XPTitle", CASE),
    40092: ("XPComment", TEXT),
    40093: ("XPAuthor", PERSON),
    40094: ("XPKeywords", TEXT),
    40095: ("XPSubject", TEXT),
    42032: ("CameraOwnerName", PERSON),
    42033: ("BodySerialNumber", DEVICE),
    50839: ("ImageJ's metadata", TEXT),
    65427: ("Hamamatsu's Reference", CASE),
    65442: ("Hamamatsu's serial number", DEVICE),
}
PARSED = {DESCRIPTION: "ImageDescription", XMP: "XMP", 42112: "GDAL's metadata", 51023: "FibicsXML", 65449: "Hamamatsu"}
HARMLESS = (271, 272, 305, 34735, 34737, 42113, 65428)
"""Maker, model, software, geography's words, Hamamatsu's check code."""


def tiff_findings(path: Path) -> list[Finding] | None:
    """What could name a person; None for a file that is no TIFF.

    Raises:
        OSError: the file cannot be read.
    """
    spans: dict[int, int] = {}
    found: list[Finding] = []
    try:
        images = read_directories(path, spans)
    except SlideError as error:
        if error.code == "io":
            raise OSError(str(error)) from error
        images = []
        found.append(Finding(UNREAD, "a damaged TIFF, of which some tags may not have been reached"))
    if images is None:
        return None
    with path.open("rb") as stream:
        tags = _Tags(stream.fileno())
        for at, length in spans.items():
            for tag, value in tags.of_directory(at, length):
                found += _tag(tag, value)
        found += tags.unread
    return found + _pictures(images)


def _tag(tag: int, value: bytes) -> list[Finding]:
    text = _decoded(tag, value)
    if tag in PARSED:
        found = text_findings(text, PARSED[tag])
        return found + (pictures(xml_fields(text), PARSED[tag]) if "<" in text else [])
    name, kind = TAGS.get(tag, (f"tag {tag}", TEXT))
    return [Finding(kind, name, text)] if says_something(kind, text) else []


def _decoded(tag: int, value: bytes) -> str:
    if tag in XP:
        return value.decode("utf-16-le", "replace").strip(" \0")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.replace("\0", " ").strip()


def _pictures(images: list[Directory]) -> list[Finding]:
    """Images that are no level of the slide and may show its label."""
    if not images:
        return []
    pyramid = pyramid_of(images)
    levels = {image.number for image in pyramid.levels}
    found = []
    for image in images:
        named = SIDE_IMAGE.search(image.description[:400])
        if named:
            found.append(Finding(IMAGE, f"{named[2].lower()} image"))
        elif image.lens == MACRO_LENS or image.subfile & MACRO == MACRO:
            found.append(Finding(IMAGE, "macro image"))
        elif not pyramid.lenses and image.number not in levels and not reduces(image, pyramid.base):
            found.append(Finding(IMAGE, "an image that is no level of the slide"))
    return found


class _Tags:
    """Reads values of text from directories whose place and length are known to be sound.

    Attributes:
        unread: what was too long.
    """

    def __init__(self, file: int):
        self.file, self.size = file, os.fstat(file).st_size
        head = os.pread(file, 16, 0)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")
        self.left = MAX_ALL_VALUES
        self.unread: list[Finding] = []

    def of_directory(self, at: int, length: int, exif_too: bool = True) -> Iterator[tuple[int, bytes]]:
        """(tag, value) of all that is text or may hold some.

        Args:
            at: where it lies.
            length: its bytes; NDPI's directories are told by theirs.
            exif_too: also of the directory that Exif has to itself.
        """
        count_bytes, entry_bytes = (8, 20) if self.big else (2, 12)
        data = os.pread(self.file, length, at)
        n = int.from_bytes(data[:count_bytes], "little" if self.order == "<" else "big")
        if not 0 < n <= MAX_ENTRIES:
            return
        end = count_bytes + n * entry_bytes
        ndpi = not self.big and length >= end + 8 + 4 * n and self._has(data, n, NDPI_FLAG)
        high = data[end + 8 :] if ndpi else b""
        exif = 0
        for i in range(n):
            raw = data[count_bytes + i * entry_bytes : count_bytes + (i + 1) * entry_bytes]
            if len(raw) < entry_bytes:
                return
            tag, kind = struct.unpack(f"{self.order}HH", raw[:4])
            (count,) = struct.unpack(f"{self.order}{'Q' if self.big else 'I'}", raw[4 : 12 if self.big else 8])
            inline = raw[12 if self.big else 8 :]
            offset = int.from_bytes(inline + high[4 * i : 4 * i + 4], "little" if self.order == "<" else "big")
            if tag == EXIF:
                exif = offset
            elif kind in BYTES and tag not in HARMLESS and (kind == ASCII or tag in TAGS or tag in PARSED):
                n_bytes = count * TYPE_BYTES[kind]
                lies_here = n_bytes <= len(inline) and not (ndpi and kind == ASCII)
                value = inline[:n_bytes] if lies_here else self._value(tag, offset, n_bytes)
                if value:
                    yield tag, value
        if exif and exif_too:  # one level: what Exif's directory names holds no text
            n = int.from_bytes(os.pread(self.file, count_bytes, exif), "little" if self.order == "<" else "big")
            if 0 < n <= MAX_ENTRIES:
                yield from self.of_directory(exif, count_bytes + n * entry_bytes, exif_too=False)

    def _has(self, data: bytes, n: int, tag: int) -> bool:
        step, first = (20, 8) if self.big else (12, 2)
        return any(
            struct.unpack_from(f"{self.order}H", data, first + i * step)[0] == tag
            for i in range(n)
            if first + i * step + 2 <= len(data)
        )

    def _value(self, tag: int, at: int, n_bytes: int) -> bytes:
        wanted = min(n_bytes, MAX_VALUE, self.left)
        if wanted < n_bytes:
            self.unread.append(Finding(UNREAD, f"the end of tag {tag}, {n_bytes} bytes long"))
        self.left -= wanted
        return os.pread(self.file, wanted, at)
