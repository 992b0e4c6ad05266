"""Heads of DICOM files, as far as `slides.dicom_header` reads them: no pixels."""

import struct
from pathlib import Path

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def element(group: int, number: int, kind: str, value: bytes, explicit: bool = True) -> bytes:
    """One element; a text of odd length is padded."""
    value += b"\0" * (len(value) % 2)
    tag = struct.pack("<HH", group, number)
    if not explicit:
        return tag + struct.pack("<I", len(value)) + value
    if kind in ("SQ", "OB", "UN"):
        return tag + kind.encode() + struct.pack("<HI", 0, len(value)) + value
    return tag + kind.encode() + struct.pack("<H", len(value)) + value


def referenced(series: str) -> bytes:
    """A sequence of no stated length that names another series, as annotations do."""
    item = element(0x0020, 0x000E, "UI", series.encode())
    return (
        struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + item
        + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )


def write_dicom(
    path: Path, series: str, instance: str, sop_class: str = WHOLE_SLIDE, syntax: str = EXPLICIT, data: bytes = b"x"
) -> Path:
    """Write the head of an instance, and some data behind it."""
    explicit = syntax != IMPLICIT
    meta = (
        element(2, 2, "UI", sop_class.encode())
        + element(2, 3, "UI", instance.encode())
        + element(2, 0x10, "UI", syntax.encode())
    )
    body = element(0x0008, 0x0060, "CS", b"SM", explicit)
    body += referenced("9.9.9") if explicit else b""
    body += element(0x0020, 0x000D, "UI", b"1.2.3", explicit) + element(0x0020, 0x000E, "UI", series.encode(), explicit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 128 + b"DICM" + meta + body + data)
    return path
