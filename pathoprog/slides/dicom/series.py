"""Whether the DICOM files of a slide are whole, and whether the finest level is among them.

OpenSlide leaves out files that it cannot read and says nothing: the slide is then what is left.
"""

import itertools
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pathoprog.errors import SlideError
from pathoprog.slides.dicom.elements import (
    NO_META,
    NOT_FOLLOWED,
    PREAMBLE_BYTES,
    UNDEFINED,
    ElementError,
    Elements,
    Tag,
    pixel_items,
    text,
)
from pathoprog.slides.dicom.header import WHOLE_SLIDE, starts_as_dicom
from pathoprog.slides.tiff.directory import REMEDY

TOGETHER = "put all files of the series into one folder"
MAX_STEP = 4.0  # from one level to the next, as scanners make them
TEXTS = (
    Tag.CLASS,
    Tag.INSTANCE,
    Tag.IMAGE_TYPE,
    Tag.SERIES,
    Tag.NUMBER,
    Tag.ORGANISATION,
    Tag.CONCATENATION,
    Tag.PHOTOMETRIC,
    Tag.FRAMES,
)
ITEM_BYTES = struct.pack("<HH", Tag.ITEM >> 16, Tag.ITEM & 0xFFFF)
NUMBERS = (Tag.SAMPLES, Tag.ROWS, Tag.COLUMNS, Tag.BITS, Tag.WIDTH, Tag.HEIGHT, Tag.PATHS, Tag.PLANES)


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
        syntax: transfer syntax, which names the compression.
        photometric: photometric interpretation, which names the colours.
        items_at: byte at which its compressed frames begin, with the table of offsets; 0 where it has none.
        uid: its own.
        concatenation: UID of the files that a level lies in; "" for a level of one file.
        frames: that it holds.
        frames_wanted: that its level's size asks for, where they lie side by side; 0 where that is not known.
        trouble: what is wrong with it, in words; "" for nothing.
        organisation: how its frames lie (TILED_FULL, TILED_SPARSE); "" where it does not say.
        tile_width: of a frame, px; 0 where it does not say.
        tile_height: px.
    """

    path: Path
    sop_class: str = ""
    series: str = ""
    image_type: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    number: int | None = None
    syntax: str = ""
    photometric: str = ""
    items_at: int = 0
    uid: str = ""
    concatenation: str = ""
    frames: int = 0
    frames_wanted: int = 0
    trouble: str = ""
    organisation: str = ""
    tile_width: int = 0
    tile_height: int = 0

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
        file: one instance, or an object that is none, for which there are no instances; the others lie in its folder.
        whole_folder: the folder is the slide: files in it whose series is not known count too.

    Raises:
        SlideError: code ``unreadable``, for the first file that is not whole; ``io`` where the system fails.
    """
    try:
        others = sorted(path for path in file.parent.iterdir() if path != file and path.is_file())
        first = read_instance(file)
        assert first is not None
        read = (read_instance(path, first.series) for path in others)
        found = [instance for instance in read if instance is not None]
    except OSError as error:
        raise SlideError(f"{file}: {error.strerror or error}", "io") from error
    if NO_META in first.trouble:
        return ()
    # A file that ends before its series may be of this slide where no other slide lies in the folder.
    alone = whole_folder or all(one.series in ("", first.series) for one in found if one.sop_class in ("", WHOLE_SLIDE))
    series = [one for one in found if one.series == first.series or (not one.series and alone)]
    for instance in (first, *series):
        where = "" if instance is first else f"{instance.path.name}, of the same slide, "
        if instance.syntax in NOT_FOLLOWED:
            raise SlideError(
                f"{file}: {where}is DICOM stored {NOT_FOLLOWED[instance.syntax]} (transfer syntax "
                f"{instance.syntax}), which no library here reads; have it exported in explicit little endian",
                "unreadable",
            )
        if instance.trouble:
            raise SlideError(f"{file}: {where}{instance.trouble}; {REMEDY}", "unreadable")
    why = _lost_part((first, *series))
    if why:
        raise SlideError(f"{file}: {why}", "unreadable")
    return (first, *series)


def _lost_part(instances: Sequence[Instance]) -> str:
    """Which level of several files has too few frames, in words: nothing else tells where the last file is lost."""
    parts: dict[str, dict[str, Instance]] = {}
    for instance in instances:
        if instance.concatenation:
            parts.setdefault(instance.concatenation, {})[instance.uid] = instance  # a copy of a file counts once
    for files in (list(by_uid.values()) for by_uid in parts.values()):
        held, wanted = sum(part.frames for part in files), max(part.frames_wanted for part in files)
        if held < wanted:
            level = f"{files[0].width} x {files[0].height} px"
            return f"the files of the level of {level} hold {held} frames where its size asks for {wanted}; {TOGETHER}"
    return ""


def lost_level(instances: Sequence[Instance]) -> str:
    """Which level of the slide is missing among its files, in words; "" where none is, as far as the files tell.

    The finest one must not say that it was made from another. Between two levels one is missing where the numbers of
    their instances leave one out, which no other file has, and where they differ in size as much as by two steps.
    """
    levels = [instance for instance in instances if instance.is_level and instance.sop_class == WHOLE_SLIDE]
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


def read_instance(path: Path, series: str = "") -> Instance | None:
    """What one DICOM file says, and whether its pixel data are whole; None for a file that is no DICOM.

    Args:
        path: the file.
        series: UID; a file that is of another is looked into no further.

    Raises:
        OSError: the system fails.
    """
    with path.open("rb") as stream:
        if not starts_as_dicom(stream):
            size = stream.seek(0, 2)
            stream.seek(0)
            lost = path.suffix.lower() == ".dcm" and not stream.read(PREAMBLE_BYTES).strip(b"\0")
            return Instance(path, trouble=f"holds nothing ({size} bytes)") if lost else None
        return _File(stream, path).read(series)


def _whole_number(digits: str) -> int | None:
    try:
        return int(digits)
    except ValueError:
        return None


class _File:
    """One DICOM file, and what was found in it."""

    def __init__(self, stream: BinaryIO, path: Path):
        self.stream, self.path = stream, path
        self.elements = Elements(stream)
        self.size = self.elements.size
        self.texts: dict[int, str] = dict.fromkeys(TEXTS, "")
        self.numbers: dict[int, int] = dict.fromkeys(NUMBERS, 0)  # 0 for what it does not say
        self.last_frame = -1  # where it lies behind the table of offsets, by the extended one
        self.items_at = 0

    def read(self, series: str) -> Instance:
        """Go to the end of the pixel data, unless the file is of another series than the one given."""
        try:
            trouble = self._whole(series)
        except ElementError as error:
            ends = error.ended or self.stream.tell() >= self.size
            trouble = (
                f"is truncated: it ends at byte {self.size}, before its pixels" if ends else f"is damaged: {error}"
            )
        return Instance(
            self.path,
            self.texts[Tag.CLASS],
            self.texts[Tag.SERIES],
            tuple(self.texts[Tag.IMAGE_TYPE].split("\\")),
            self.numbers[Tag.WIDTH],
            self.numbers[Tag.HEIGHT],
            _whole_number(self.texts[Tag.NUMBER]),
            self.elements.syntax,
            self.texts[Tag.PHOTOMETRIC],
            self.items_at,
            self.texts[Tag.INSTANCE],
            self.texts[Tag.CONCATENATION],
            _whole_number(self.texts[Tag.FRAMES]) or 0,
            self._wanted(),
            trouble if self.texts[Tag.CLASS] in ("", WHOLE_SLIDE) else "",
            self.texts[Tag.ORGANISATION],
            self.numbers[Tag.COLUMNS],
            self.numbers[Tag.ROWS],
        )

    def _whole(self, series: str) -> str:
        """What is missing of the file, in words."""
        for tag, length in self.elements:
            if tag in self.texts:
                self.texts[tag] = text(self.elements.value(length))
            elif tag in self.numbers:
                self.numbers[tag] = int.from_bytes(self.elements.value(length)[:4], "little")
            elif tag == Tag.FAR_TABLE and length >= 8:
                self.stream.seek(length - 8, os.SEEK_CUR)
                self.last_frame = int.from_bytes(self.stream.read(8), "little")
            elif tag == Tag.PIXELS:
                return self._pixels(length)
            if tag == Tag.SERIES and series and self.texts[Tag.SERIES] != series:
                return ""
        if self.elements.syntax in NOT_FOLLOWED:
            return ""
        return "has no pixels" if self.texts[Tag.CLASS] == WHOLE_SLIDE else ""

    def _pixels(self, length: int) -> str:
        """What is missing of the pixel data that begin here, in words."""
        frames = _whole_number(self.texts[Tag.FRAMES]) or 1
        start = self.stream.tell()
        if length != UNDEFINED:
            tile_bytes = (
                self.numbers[Tag.ROWS]
                * self.numbers[Tag.COLUMNS]
                * self.numbers[Tag.SAMPLES]
                * (self.numbers[Tag.BITS] // 8)
            )
            needed = frames * tile_bytes
            if start + length > self.size or length < needed:
                end = start + max(length, needed)
                return f"is truncated: its {frames} frames end at byte {end}, the file at byte {self.size}"
        else:
            self.items_at = start
            fragments = self._last_frame(start, frames)  # -1 before the first item, which is the table of offsets
            try:
                for _ in pixel_items(self.stream, self.size):
                    fragments += 1
            except ElementError as error:
                if not error.ended:
                    return f"is damaged: {error}, at byte {error.at}"
                lost = f"frame {max(fragments, 0) + 1} of {frames} begins at byte {error.at}"
                return f"is truncated: {lost}, the file ends at byte {self.size}"
            if fragments < frames:
                return f"holds {fragments} of its {frames} frames"
        return self._gaps(frames)

    def _last_frame(self, start: int, frames: int) -> int:
        """Go to the last frame where a table says where it lies, as its file may be far away; the frames before it."""
        first = self.stream.read(8)
        size = int.from_bytes(first[4:], "little")
        at = -1
        if first[:4] == ITEM_BYTES and size == 4 * frames > 0:
            self.stream.seek(size - 4, os.SEEK_CUR)
            at = start + 8 + size + int.from_bytes(self.stream.read(4), "little")
        elif first[:4] == ITEM_BYTES and size == 0 and self.last_frame >= 0:
            at = start + 8 + self.last_frame
        if start < at <= self.size - 8:
            self.stream.seek(at)
            if self.stream.read(4) == ITEM_BYTES:
                self.stream.seek(at)
                return frames - 1
        self.stream.seek(start)
        return -1

    def _gaps(self, frames: int) -> str:
        """Whether a level of one file has as many frames as its size asks for."""
        wanted = 0 if self.texts[Tag.CONCATENATION] else self._wanted()
        return f"holds {frames} frames where its size asks for {wanted}" if frames < wanted else ""

    def _wanted(self) -> int:
        """How many frames the size of a level asks for whose frames lie side by side; 0 where that is not known."""
        numbers = self.numbers
        if self.texts[Tag.ORGANISATION] != "TILED_FULL" or not (numbers[Tag.ROWS] and numbers[Tag.COLUMNS]):
            return 0
        columns = -(-numbers[Tag.WIDTH] // numbers[Tag.COLUMNS])
        rows = -(-numbers[Tag.HEIGHT] // numbers[Tag.ROWS])
        return columns * rows * max(1, numbers[Tag.PATHS]) * max(1, numbers[Tag.PLANES])
