"""Whether the DICOM files of a slide are whole, and whether the finest level is among them.

OpenSlide leaves out files that it cannot read and says nothing: the slide is then what is left. Data elements are
walked as DICOM PS3.5 (7.1, A.4) lays them out, no further than the pixel data.
"""

import itertools
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pathoprog.errors import SlideError
from pathoprog.slides.tiff_directory import REMEDY

SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
IMPLICIT, NOT_FOLLOWED = "1.2.840.10008.1.2", ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")  # deflated, big endian
TOGETHER = "put all files of the series into one folder"
MAX_STEP = 4.0  # from one level to the next, as scanners make them
MAX_ELEMENTS = 2_000_000
MAX_DEPTH = 16
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END, PIXELS = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
ITEM_BYTES, LAST_BYTES = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
CLASS, SYNTAX, IMAGE_TYPE, SERIES, NUMBER = 0x00020002, 0x00020010, 0x00080008, 0x0020000E, 0x00200013
FAR_TABLE = 0x7FE00001  # the extended offset table; of its values the last is kept
ORGANISATION, CONCATENATION, SAMPLES, FRAMES, ROWS, COLUMNS, BITS = (
    0x00209311, 0x00209161, 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100,
)  # fmt: skip
WIDTH, HEIGHT, PATHS, PLANES = 0x00480006, 0x00480007, 0x00480302, 0x00480303
NUMBERS = (SAMPLES, ROWS, COLUMNS, BITS, WIDTH, HEIGHT, PATHS, PLANES)
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


@dataclass(frozen=True)
class Instance:
    """One DICOM file of a slide.

    Attributes:
        path: the file.
        sop_class: UID of what it is.
        series: UID; "" where the file ends before it.
        image_type: its values.
        width: of the level, px; 0 where the file does not say.
        height: of the level, px.
        number: of the instance in its series; None where the file does not say.
        trouble: what is wrong with it, in words; "" for nothing.
    """

    path: Path
    sop_class: str = ""
    series: str = ""
    image_type: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    number: int | None = None
    trouble: str = ""

    @property
    def is_level(self) -> bool:
        """Whether it is a level of the slide, and no label, overview or thumbnail."""
        return "VOLUME" in self.image_type

    @property
    def is_resampled(self) -> bool:
        """Whether it says that it was made from a finer level."""
        return "RESAMPLED" in self.image_type


def check_series(file: Path, whole_folder: bool) -> tuple[Instance, ...]:
    """The instances of a file's series, all of which must be whole.

    Args:
        file: one instance; the others lie in the same folder.
        whole_folder: the folder is the slide: files in it whose series is not known count too.

    Raises:
        SlideError: code ``unreadable``, for the first file that is not whole; ``io`` where the system fails.
    """
    try:
        others = sorted(path for path in file.parent.iterdir() if path != file and path.is_file())
        first = read_instance(file)
        found = [instance for instance in map(read_instance, others) if instance is not None]
    except OSError as error:
        raise SlideError(f"{file}: {error.strerror or error}", "io") from error
    assert first is not None
    # A file that ends before its series may be of this slide where no other slide lies in the folder.
    alone = whole_folder or all(one.series in ("", first.series) for one in found if one.sop_class in ("", SLIDE_CLASS))
    series = [one for one in found if one.series == first.series or (not one.series and alone)]
    for instance in (first, *series):
        if instance.trouble:
            where = "" if instance is first else f"{instance.path.name}, of the same slide, "
            raise SlideError(f"{file}: {where}{instance.trouble}; {REMEDY}", "unreadable")
    return (first, *series)


def lost_level(instances: Sequence[Instance]) -> str:
    """Which level of the slide is missing among its files, in words; "" where none is, as far as the files tell.

    The finest one must not say that it was made from another. Between two levels one is missing where the numbers of
    their instances leave one out, which no other file has, and where they differ in size as much as by two steps.
    """
    levels = [instance for instance in instances if instance.is_level and instance.sop_class == SLIDE_CLASS]
    levels.sort(key=lambda instance: instance.width * instance.height, reverse=True)
    if levels and levels[0].is_resampled:
        finest = levels[0]
        return (
            f"the finest level here ({finest.path.name}, {finest.width} x {finest.height} px) says it was made from a "
            f"finer one, whose file is missing; {TOGETHER}"
        )
    numbers = {instance.number for instance in instances}
    steps = [one.width / max(1, other.width) for one, other in itertools.pairwise(levels)]
    usual = min([*(step for step in steps if step > 1.5), MAX_STEP])
    for (one, other), step in zip(itertools.pairwise(levels), steps, strict=True):
        if one.number is None or other.number is None:
            continue
        between = set(range(min(one.number, other.number) + 1, max(one.number, other.number)))
        if between and not between & numbers and step > 1.5 * usual:
            return (
                f"between the levels of {one.width} and {other.width} px width instance "
                f"{', '.join(map(str, sorted(between)))} of the series is missing; {TOGETHER}"
            )
    return ""


def read_instance(path: Path) -> Instance | None:
    """What one DICOM file says, and whether its pixel data are whole; None for a file that is no DICOM.

    Raises:
        OSError: the system fails.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(132)
        if head[128:] != b"DICM":
            lost = path.suffix.lower() == ".dcm" and not head.strip(b"\0")
            return Instance(path, trouble=f"holds nothing ({size} bytes)") if lost else None
        walk = _Walk(stream, size)
        try:
            trouble = walk.whole()
        except (struct.error, _DamagedError) as error:
            ends = stream.tell() >= size or isinstance(error, struct.error)
            trouble = f"is truncated: it ends at byte {size}, before its pixels" if ends else f"is damaged: {error}"
        found = walk.found
        texts = {
            tag: found.get(tag, b"").decode("ascii", "replace").strip(" \0") for tag in (CLASS, SERIES, IMAGE_TYPE)
        }
        return Instance(
            path,
            texts[CLASS],
            texts[SERIES],
            tuple(texts[IMAGE_TYPE].split("\\")),
            walk.number(WIDTH),
            walk.number(HEIGHT),
            _whole_number(found.get(NUMBER, b"")),
            trouble if texts[CLASS] in ("", SLIDE_CLASS) else "",
        )


def _whole_number(text: bytes) -> int | None:
    try:
        return int(text.decode("ascii").strip(" \0"))
    except ValueError:
        return None


class _DamagedError(Exception):
    """The elements of a file cannot be followed."""


class _Walk:
    """The walk through one file, from behind its preamble."""

    def __init__(self, stream: BinaryIO, size: int):
        self.stream, self.size = stream, size
        self.found: dict[int, bytes] = {}
        self.n_elements = 0
        self.implicit = False

    def whole(self) -> str:
        """Go to the end of the pixel data; what is missing, in words."""
        wanted = (CLASS, SYNTAX, IMAGE_TYPE, SERIES, NUMBER, ORGANISATION, CONCATENATION, FRAMES, *NUMBERS)
        while True:
            if self.stream.tell() == self.size:
                return "" if self.found.get(CLASS, b"").strip(b" \0") != SLIDE_CLASS.encode() else "has no pixels"
            tag, length = self._element()
            if tag == PIXELS:
                return self._pixels(length)
            if tag == FAR_TABLE and UNDEFINED > length >= 8:
                self._skip(length - 8)
                self.found[tag] = self.stream.read(8)
            elif tag in wanted and length != UNDEFINED:
                self.found[tag] = self._value(length)
            elif length == UNDEFINED:
                self._pass_sequence(0)
            else:
                self._skip(length)
            if tag == SYNTAX:
                syntax = self.found[SYNTAX].decode("ascii", "replace").strip(" \0")
                if syntax in NOT_FOLLOWED:
                    return ""
                self.implicit = syntax == IMPLICIT

    def number(self, tag: int) -> int:
        """A whole number of the file's own elements; 0 where it does not say."""
        return int.from_bytes(self.found.get(tag, b"")[:4], "little")

    def _element(self) -> tuple[int, int]:
        """(tag, bytes of the value), the stream standing at the value."""
        self.n_elements += 1
        if self.n_elements > MAX_ELEMENTS:
            raise _DamagedError(f"more than {MAX_ELEMENTS} elements")
        group, element, kind, short = struct.unpack("<HH2sH", self.stream.read(8))
        tag = group << 16 | element
        if group == 0xFFFE or (self.implicit and group != 2):
            return tag, short << 16 | int.from_bytes(kind, "little")
        if kind in LONG:
            return tag, int(struct.unpack("<I", self.stream.read(4))[0])
        return tag, int(short)

    def _value(self, length: int) -> bytes:
        if length > 1 << 16:
            raise _DamagedError(f"a value of {length} bytes at byte {self.stream.tell()}")
        return self.stream.read(length)

    def _skip(self, length: int) -> None:
        self.stream.seek(length, os.SEEK_CUR)

    def _pass_sequence(self, depth: int) -> None:
        """Go behind a sequence of undefined length."""
        if depth > MAX_DEPTH:
            raise _DamagedError("sequences nested without end")
        while True:
            tag, length = self._element()
            if tag == SEQUENCE_END:
                return
            if tag != ITEM:
                raise _DamagedError(f"no item where one belongs, at byte {self.stream.tell()}")
            if length != UNDEFINED:
                self._skip(length)
                continue
            while True:
                tag, length = self._element()
                if tag == ITEM_END:
                    break
                if length == UNDEFINED:
                    self._pass_sequence(depth + 1)
                else:
                    self._skip(length)

    def _pixels(self, length: int) -> str:
        """What is missing of the pixel data that begin here, in words."""
        frames = _whole_number(self.found.get(FRAMES, b"")) or 1
        start = self.stream.tell()
        if length != UNDEFINED:
            needed = frames * self.number(ROWS) * self.number(COLUMNS) * self.number(SAMPLES) * (self.number(BITS) // 8)
            if start + length > self.size or length < needed:
                end = start + max(length, needed)
                return f"is truncated: its {frames} frames end at byte {end}, the file at byte {self.size}"
        else:
            fragments = self._last_frame(start, frames)  # -1 before the first item, which is the table of offsets
            while True:
                at = self.stream.tell()
                head = self.stream.read(8)
                tag, size = struct.unpack("<4sI", head) if len(head) == 8 else (b"", 0)
                if tag == LAST_BYTES:
                    break
                if tag and tag != ITEM_BYTES:
                    return f"is damaged: no frame where one belongs, at byte {at}"
                if not tag or at + 8 + size > self.size:
                    lost = f"frame {max(fragments, 0) + 1} of {frames} begins at byte {at}"
                    return f"is truncated: {lost}, the file ends at byte {self.size}"
                self._skip(size)
                fragments += 1
            if fragments < frames:
                return f"holds {fragments} of its {frames} frames"
        return self._gaps(frames)

    def _last_frame(self, start: int, frames: int) -> int:
        """Go to the last frame where a table says where it lies, as its file may be far away; the frames before it."""
        tag, size = struct.unpack("<4sI", self.stream.read(8))
        at = -1
        if tag == ITEM_BYTES and size == 4 * frames > 0:
            self._skip(size - 4)
            at = start + 8 + size + int.from_bytes(self.stream.read(4), "little")
        elif tag == ITEM_BYTES and size == 0 and len(self.found.get(FAR_TABLE, b"")) == 8:
            at = start + 8 + int.from_bytes(self.found[FAR_TABLE], "little")
        if start < at <= self.size - 8:
            self.stream.seek(at)
            if self.stream.read(4) == ITEM_BYTES:
                self.stream.seek(at)
                return frames - 1
        self.stream.seek(start)
        return -1

    def _gaps(self, frames: int) -> str:
        """Whether a level whose frames lie side by side has as many as its size asks for."""
        full = self.found.get(ORGANISATION, b"").strip(b" \0") == b"TILED_FULL" and CONCATENATION not in self.found
        if not full or not (self.number(ROWS) and self.number(COLUMNS)):
            return ""
        columns = -(-self.number(WIDTH) // self.number(COLUMNS))
        rows = -(-self.number(HEIGHT) // self.number(ROWS))
        needed = columns * rows * max(1, self.number(PATHS)) * max(1, self.number(PLANES))
        return f"holds {frames} frames where its size asks for {needed}" if frames < needed else ""
