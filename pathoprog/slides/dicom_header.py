"""What the head of a DICOM file says of the object it is and of its series, without a DICOM library."""

import contextlib
import struct
from dataclasses import dataclass
from pathlib import Path

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy images (DICOM PS3.4, B.5): slides. Other objects lie beside them: annotations,
reports, segmentations."""
HEAD_BYTES = 1 << 16  # the series stands in group 0020, before the image's own facts and its colour profile
_CLASS, _INSTANCE, _SYNTAX, _SERIES = (0x0002, 0x0002), (0x0002, 0x0003), (0x0002, 0x0010), (0x0020, 0x000E)
_IMPLICIT = "1.2.840.10008.1.2"
_OTHER_ORDERS = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")  # big-endian, deflated: not looked into
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF


def may_be_dicom(name: str) -> bool:
    """Whether a file's name may be that of a DICOM file: exports often have no ending, or a UID for a name."""
    ending = Path(name).suffix.lower()
    return ending in ("", ".dcm", ".dicom") or ending[1:].isdigit()


def is_dicom(file: Path) -> bool:
    """Whether a file starts as DICOM files do: 128 bytes of anything, then ``DICM``."""
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


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
    """The head of a DICOM file: of its first 64 KiB.

    Raises:
        OSError: the file cannot be read.
    """
    with file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    found: dict[tuple[int, int], str] = {}
    with contextlib.suppress(struct.error):  # it ends before the series: what was found by then is what is known
        _walk(head, found)
    return DicomHead(found.get(_CLASS, ""), found.get(_INSTANCE, ""), found.get(_SERIES, ""))


def _walk(head: bytes, found: dict[tuple[int, int], str]) -> None:
    """Go over the elements of the top level (PS3.5, 7.1), through sequences of no stated length, to the series."""
    at, depth = 132, 0
    while at < len(head):
        tag = struct.unpack_from("<HH", head, at)
        explicit = tag[0] == 2 or found.get(_SYNTAX, "") != _IMPLICIT
        if tag[0] != 2 and found.get(_SYNTAX, "") in _OTHER_ORDERS:
            return
        kind = head[at + 4 : at + 6]
        if tag[0] == 0xFFFE or not explicit:
            length, at = struct.unpack_from("<I", head, at + 4)[0], at + 8
        elif kind in _LONG:
            length, at = struct.unpack_from("<I", head, at + 8)[0], at + 12
        else:
            length, at = struct.unpack_from("<H", head, at + 6)[0], at + 8
        if tag in (_ITEM_END, _SEQUENCE_END):
            depth -= 1
        elif length == _UNDEFINED:
            depth += 1
        else:
            if depth == 0 and tag in (_CLASS, _INSTANCE, _SYNTAX, _SERIES):
                found[tag] = head[at : at + length].decode("ascii", "replace").rstrip("\0 ")
            at += length
        if depth == 0 and tag >= _SERIES and tag[0] != 0xFFFE:
            return
