"""DICOM slides whose compressed frames contradict their header's photometric interpretation: colours nobody can tell.

OpenSlide follows the codestream for JPEG 2000 and the header for JPEG; where the two disagree, one of them is wrong,
and the picture may be of false colours that look like a stain or a pen. Data elements: DICOM PS3.5, 7.1 and A.4; which
interpretation goes with which transform: PS3.5, 8.2.1 and 8.2.4.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pathoprog.errors import SlideError
from pathoprog.slides.picture_head import jpeg2000_head

JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
JPEG = ("1.2.840.10008.1.2.4.50",)
SYNTAX, IMAGE_TYPE, SERIES, PHOTOMETRIC, PIXELS = (
    (0x0002, 0x0010), (0x0008, 0x0008), (0x0020, 0x000E), (0x0028, 0x0004), (0x7FE0, 0x0010),
)  # fmt: skip
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
LONG_LENGTH = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
UNDEFINED = 0xFFFFFFFF
MAX_ELEMENTS = 500_000  # that are passed on the way to the pixels; beyond them nothing is said
MAX_DEPTH = 16
N_FRAMES, FRAME_BYTES = 8, 16_384  # that are looked at, of each instance


@dataclass(frozen=True)
class Instance:
    """One DICOM file, as far as its colours are concerned; "" for what it does not say.

    Attributes:
        syntax: transfer syntax, which names the compression.
        image_type: its values, of which VOLUME says that it is a level of the slide.
        series: UID of the series.
        photometric: the photometric interpretation.
        frames: the beginning of the first compressed frames.
    """

    syntax: str
    image_type: str
    series: str
    photometric: str
    frames: tuple[bytes, ...]


def check_colours(file: Path) -> None:
    """Refuse a slide one of whose instances stores its colours otherwise than its header says.

    Args:
        file: one instance; the others of its series lie in the same folder.

    Raises:
        SlideError: code ``colour``; ``io`` where the system fails.
    """
    try:
        first = read_instance(file)
        if first is None:
            return
        others = (path for path in sorted(file.parent.iterdir()) if path != file and path.is_file())
        for path, instance in ((file, first), *((path, read_instance(path, first.series)) for path in others)):
            if instance is not None and (text := contradiction(instance)):
                where = "" if path == file else f"{path.name}: "
                raise SlideError(
                    f"{file}: {where}{text}, so its colours may be false; export the slide again, or have its"
                    " photometric interpretation corrected",
                    "colour",
                )
    except OSError as error:
        raise SlideError(f"{file}: {error.strerror or error}", "io") from error


def contradiction(instance: Instance) -> str:
    """What is contradictory about the colours of one instance, in words; "" where nothing is.

    RGB in the header of JPEG 2000 data that have a transform is no contradiction that shows: the decoder undoes it.
    """
    says = instance.photometric
    if "VOLUME" not in instance.image_type:  # a label or an overview, which nobody scores
        return ""
    for frame in instance.frames:
        if instance.syntax in JPEG_2000:
            head = jpeg2000_head(frame)
            if head is not None and not head.transformed and says in ("YBR_ICT", "YBR_RCT"):
                return f"its header says {says}, but its JPEG 2000 data have no colour transform"
        elif instance.syntax in JPEG:
            stored = _stored_in_jpeg(frame)
            if stored == "YCbCr" and says == "RGB":
                return "its header says RGB, but its JPEG data say that their colour transform is YCbCr"
            if stored == "RGB" and says.startswith("YBR"):
                return f"its header says {says}, but its JPEG data say that they have no colour transform (RGB)"
    return ""


def _stored_in_jpeg(frame: bytes) -> str:
    """Which colours a JPEG says it stores, by its JFIF or Adobe segment (T.871, T.872): RGB, YCbCr or ""."""
    at = 2
    while frame[at : at + 1] == b"\xff" and at + 4 <= len(frame):
        code, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if code == 0xE0 and frame[at + 4 : at + 9] == b"JFIF\0":
            return "YCbCr"
        if code == 0xEE and frame[at + 4 : at + 9] == b"Adobe" and at + 15 < len(frame):
            return "RGB" if frame[at + 15] == 0 else "YCbCr"
        if code == 0xDA or length < 2:
            return ""
        at += 2 + length
    return ""


def read_instance(path: Path, series: str = "") -> Instance | None:
    """Read one DICOM file up to its first frames; None for other files, and those that cannot be followed.

    Args:
        path: the file.
        series: UID; files of another series are None too.

    Raises:
        OSError: the system fails.
    """
    with path.open("rb") as stream:
        if stream.read(132)[128:] != b"DICM":
            return None
        found: dict[tuple[int, int], str] = {}
        frames: tuple[bytes, ...] = ()
        try:
            for tag, length in _elements(stream):
                if tag in (SYNTAX, IMAGE_TYPE, SERIES, PHOTOMETRIC) and length < 1024:
                    found[tag] = stream.read(length).decode("ascii", "replace").strip(" \0")
                elif tag == PIXELS:
                    frames = tuple(_frames(stream)) if length == UNDEFINED else ()
                    break
                else:
                    stream.seek(length, os.SEEK_CUR)
                if tag == SYNTAX and found[tag] not in (*JPEG_2000, *JPEG):
                    return None
                if tag == SERIES and series and found[tag] != series:
                    return None
        except (struct.error, ValueError):
            return None  # a damaged file: the library that opens it says more
    syntax, image_type, uid, photometric = (found.get(tag, "") for tag in (SYNTAX, IMAGE_TYPE, SERIES, PHOTOMETRIC))
    return Instance(syntax, image_type, uid, photometric, frames)


def _elements(stream: BinaryIO) -> Iterator[tuple[tuple[int, int], int]]:
    """(tag, bytes of its value) of the file's own elements, the stream standing at the value; sequences are passed."""
    count = [0]
    while True:
        tag, kind, length = _element(stream, count)
        if kind == b"SQ" and length == UNDEFINED:
            _pass_sequence(stream, count, 0)
        else:
            yield tag, length


def _element(stream: BinaryIO, count: list[int]) -> tuple[tuple[int, int], bytes, int]:
    count[0] += 1
    if count[0] > MAX_ELEMENTS:
        raise ValueError("too many elements")
    group, element, kind, short = struct.unpack("<HH2sH", stream.read(8))
    if group == 0xFFFE:
        return (group, element), b"", short << 16 | int.from_bytes(kind, "little")
    (length,) = struct.unpack("<I", stream.read(4)) if kind in LONG_LENGTH else (short,)
    return (group, element), kind, length


def _pass_sequence(stream: BinaryIO, count: list[int], depth: int) -> None:
    """Go behind a sequence of undefined length."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    while True:
        tag, _, length = _element(stream, count)
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise ValueError("no item of a sequence")
        if length != UNDEFINED:
            stream.seek(length, os.SEEK_CUR)
            continue
        while True:
            tag, kind, length = _element(stream, count)
            if tag == ITEM_END:
                break
            if length != UNDEFINED:
                stream.seek(length, os.SEEK_CUR)
            elif kind == b"SQ":
                _pass_sequence(stream, count, depth + 1)
            else:
                raise ValueError("an element without an end")


def _frames(stream: BinaryIO) -> Iterator[bytes]:
    """The beginning of the first compressed frames, behind the table of offsets."""
    n = -1
    while n < N_FRAMES:
        tag, _, length = _element(stream, [0])
        if tag != ITEM or length == UNDEFINED:
            return
        data = stream.read(min(length, FRAME_BYTES)) if n >= 0 else b""
        stream.seek(length - len(data), os.SEEK_CUR)
        if data:
            yield data
        n += 1
