"""Heads of DICOM files, as far as `slides.dicom_header` reads them: no pixels."""

from pathlib import Path

from made_dicom import SLIDE_CLASS, element, implicit_element, sequence

ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def write_dicom(
    path: Path, series: str, instance: str, sop_class: str = SLIDE_CLASS, syntax: str = EXPLICIT, data: bytes = b"x"
) -> Path:
    """Write the head of an instance, and some data behind it."""
    meta = element(2, 2, "UI", sop_class) + element(2, 3, "UI", instance) + element(2, 0x10, "UI", syntax)
    if syntax == IMPLICIT:
        body = implicit_element(0x0008, 0x0060, "SM") + implicit_element(0x0020, 0x000D, "1.2.3")
        body += implicit_element(0x0020, 0x000E, series)
    else:
        body = element(0x0008, 0x0060, "CS", "SM")
        body += sequence(0x0008, 0x1115, element(0x0020, 0x000E, "UI", "9.9.9"), ends=True)  # another series is named
        body += element(0x0020, 0x000D, "UI", "1.2.3") + element(0x0020, 0x000E, "UI", series)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 128 + b"DICM" + meta + body + data)
    return path
