"""DICOM slides whose compressed frames contradict their header's photometric interpretation: colours nobody can tell.

OpenSlide follows the codestream for JPEG 2000 and the header for JPEG; where the two disagree, one of them is wrong,
and the picture may be of false colours that look like a stain or a pen. Which interpretation
goes with which transform: DICOM PS3.5, 8.2.1 and 8.2.4.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pathoprog.errors import SlideError
from pathoprog.slides.dicom.elements import ElementError, pixel_items
from pathoprog.slides.dicom.series import Instance
from pathoprog.slides.pixels.picture_head import jpeg2000_head

JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
JPEG = ("1.2.840.10008.1.2.4.50",)
N_FRAMES, FRAME_BYTES = 8, 16_384  # that are looked at, of each instance


def check_colours(file: Path, series: Sequence[Instance]) -> None:
    """Refuse a slide one of whose instances stores its colours otherwise than its header says.

    Args:
        file: that was given.
        series: its instances.

    Raises:
        SlideError: code ``colour``; ``io`` where the system fails.
    """
    try:
        for instance in series:
            if text := contradiction(instance, first_frames(instance)):
                where = "" if instance.path == file else f"{instance.path.name}: "
                raise SlideError(
                    f"{file}: {where}{text}, so its colours may be false; export the slide again, or have its"
                    " photometric interpretation corrected",
                    "colour",
                )
    except OSError as error:
        raise SlideError(f"{file}: {error.strerror or error}", "io") from error


def first_frames(instance: Instance) -> Iterator[bytes]:
    """The beginning of the first compressed frames of a level; none of a label or an overview, which nobody scores.

    Raises:
        OSError: the system fails.
    """
    if not (instance.is_level and instance.items_at and instance.syntax in (*JPEG_2000, *JPEG)):
        return
    with instance.path.open("rb") as stream, suppress(ElementError):  # whether it is whole is asked elsewhere
        size = stream.seek(0, 2)
        stream.seek(instance.items_at)
        for _, length in islice(pixel_items(stream, size), 1, 1 + N_FRAMES):  # behind the table of offsets
            yield stream.read(min(length, FRAME_BYTES))


def contradiction(instance: Instance, frames: Iterable[bytes]) -> str:
    """What is contradictory about the colours of one level, in words; "" where nothing is.

    RGB in the header of JPEG 2000 data that have a transform is no contradiction that shows: the decoder undoes it.

    Args:
        instance: the level.
        frames: the beginning of compressed frames of it.
    """
    says = instance.photometric
    for frame in frames:
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
