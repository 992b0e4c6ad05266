"""What the head of a DICOM file says of the object it is and of its series."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pathoprog.slides.dicom.elements import PREAMBLE_BYTES, ElementError, Elements, Tag, text

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy images (DICOM PS3.4, B.5): slides. Other objects lie beside them: annotations,
reports, segmentations."""
MAX_ELEMENTS = 100_000  # before the series, which stands in group 0020; what lies there is passed by its length


def may_be_dicom(name: str) -> bool:
    """Whether a file's name may be that of a DICOM file: exports often have no ending, or a UID for a name."""
    ending = Path(name).suffix.lower()
    return ending in ("", ".dcm", ".dicom") or ending[1:].isdigit()


def is_dicom(file: Path) -> bool:
    """Whether a file starts as DICOM files do: 128 bytes of anything, then ``DICM``."""
    try:
        with file.open("rb") as stream:
            return starts_as_dicom(stream)
    except OSError:
        return False


def starts_as_dicom(stream: BinaryIO) -> bool:
    """Whether an open file, from its first byte, does."""
    return stream.read(PREAMBLE_BYTES)[128:] == b"DICM"


@dataclass(frozen=True)
class DicomHead:
    """What a DICOM file is: its SOP class, its own UID and that of its series; "" for what its head does not say."""

    sop_class: str = ""
    instance: str = ""
    series: str = ""

    @property
    def is_other_object(self) -> bool:
        """Whether it is known to be no slide."""
        return bool(self.sop_class) and self.sop_class != WHOLE_SLIDE


def read_head(file: Path) -> DicomHead:
    """The head of a DICOM file, up to its series; what cannot be followed, or is no DICOM, says nothing.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[int, str] = dict.fromkeys((Tag.CLASS, Tag.INSTANCE, Tag.SERIES), "")
    with file.open("rb") as stream, contextlib.suppress(ElementError):  # what was found by then is what is known
        if starts_as_dicom(stream):
            elements = Elements(stream, MAX_ELEMENTS)
            for tag, length in elements:
                if tag in found:
                    found[tag] = text(elements.value(length))
                if tag >= Tag.SERIES:
                    break
    return DicomHead(found[Tag.CLASS], found[Tag.INSTANCE], found[Tag.SERIES])
