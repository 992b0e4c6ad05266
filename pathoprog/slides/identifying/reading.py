"""All that a slide's files, and their names, hold that could name a person.

Each file is read by this project's own bounded readers of tags, attributes and texts, never by a slide library, and no
picture is decoded: a label image is only said to be there.
"""

import struct
from collections.abc import Callable
from pathlib import Path

from pathoprog.errors import SlideError
from pathoprog.slides.identifying.dicom_attributes import dicom_findings
from pathoprog.slides.identifying.kinds import IMAGE, UNREAD, Finding, merged
from pathoprog.slides.identifying.names import name_findings
from pathoprog.slides.identifying.texts import fields, ini_fields, pictures, xml_fields
from pathoprog.slides.identifying.tiff_tags import MAX_VALUE, tiff_findings
from pathoprog.slides.identity import INDEX_BYTES, files_of, slide_id_of
from pathoprog.slides.mirax_index import MAX_SETTINGS_BYTES, SETTINGS

CZI_SEGMENT, CZI_HEAD_BYTES, CZI_ENTRY_BYTES, MOST_CZI_ENTRIES = 32, 32 + 80, 128, 1024
JPEG_START = b"\xff\xd8\xff"


def identifying_in(
    path: str | Path, root: str | Path = "", on_progress: Callable[[], None] = lambda: None
) -> tuple[Finding, ...]:
    """What in a slide could name a person.

    Args:
        path: of the slide.
        root: the folder that it was found in: names of the folders from there on are looked at. Without it the
            file's own name and its folder's are.
        on_progress: called for each file.

    Raises:
        SlideError: code ``missing`` or ``io``: a file cannot be read.
    """
    path = Path(path)
    found = _names(path, Path(root) if root else None)
    try:
        for file in files_of(path):
            on_progress()
            found += _of_file(file, path)
    except FileNotFoundError as error:
        raise SlideError(f"{path}: it, or a file that belongs to it, is not there", "missing") from error
    except OSError as error:
        raise SlideError(f"{path}: {error.strerror or error}", "io") from error
    return merged(found)


def _names(path: Path, root: Path | None) -> list[Finding]:
    found = name_findings(slide_id_of(path.name), "file name" if path.suffix else "name")
    folders = path.parent.parts[-1:]
    if root is not None and path.is_relative_to(root):
        folders = path.relative_to(root).parts[:-1]
    for folder in folders:
        found += name_findings(folder, "folder name")
    return found


def _of_file(file: Path, slide: Path) -> list[Finding]:
    """Findings of one of a slide's files.

    Raises:
        OSError: it cannot be read.
    """
    for read in (dicom_findings, tiff_findings, _czi):
        found = read(file)
        if found is not None:
            return found
    suffix = slide.suffix.lower()
    if suffix == ".mrxs":
        return _mirax(file, slide)
    if suffix in (".vms", ".vmu"):
        return _hamamatsu(file) if file == slide else []
    return [Finding(UNREAD, "a file of no kind that is known here")]


def _mirax(file: Path, slide: Path) -> list[Finding]:
    """Of MIRAX: its settings; the file itself is often a JPEG of the glass."""
    if file == slide:
        with file.open("rb") as stream:
            return [Finding(IMAGE, "the .mrxs file is a picture")] if stream.read(3) == JPEG_START else []
    if file.name != SETTINGS:
        return []
    text = _text(file, MAX_SETTINGS_BYTES)
    return fields(ini_fields(text), SETTINGS) + pictures(_layers(text), SETTINGS)


def _layers(text: str) -> list[tuple[str, str]]:
    """Names of the layers that are no level of the slide."""
    return [(name, value) for name, value in ini_fields(text) if name.startswith("NONHIER_") and "_VAL" in name]


def _hamamatsu(file: Path) -> list[Finding]:
    pairs = list(ini_fields(_text(file, INDEX_BYTES)))
    macro = [Finding(IMAGE, "macro image") for name, value in pairs if name == "MacroImage" and value]
    return fields(pairs, file.suffix[1:].upper()) + macro


def _text(file: Path, most: int) -> str:
    with file.open("rb") as stream:
        return stream.read(most).decode("utf-8-sig", "replace")


def _czi(file: Path) -> list[Finding] | None:
    """Of Zeiss's CZI: its metadata in XML, and the pictures attached; None for another file.

    The layout is that of Zeiss's description of the format, ZISRAW (CZI) File Format, version 1.2.2: segments with a
    head of 32 bytes, numbers little-endian.
    """
    with file.open("rb") as stream:
        head = stream.read(CZI_HEAD_BYTES)
        if not head.startswith(b"ZISRAWFILE"):
            return None
        if len(head) < CZI_HEAD_BYTES:
            return [Finding(UNREAD, "a CZI file that ends in its header")]
        (metadata_at,) = struct.unpack_from("<q", head, CZI_SEGMENT + 60)
        (attached_at,) = struct.unpack_from("<q", head, CZI_SEGMENT + 72)
        found = []
        stream.seek(max(metadata_at, 0))
        segment = stream.read(CZI_SEGMENT + 256)
        if metadata_at > 0 and segment.startswith(b"ZISRAWMETADATA") and len(segment) == CZI_SEGMENT + 256:
            (n_bytes,) = struct.unpack_from("<i", segment, CZI_SEGMENT)
            text = stream.read(min(max(n_bytes, 0), MAX_VALUE)).decode("utf-8", "replace")
            found += fields(xml_fields(text), "CZI")
        else:
            found.append(Finding(UNREAD, "the metadata of a CZI file"))
        stream.seek(max(attached_at, 0))
        segment = stream.read(CZI_SEGMENT + 256)
        if attached_at > 0 and segment.startswith(b"ZISRAWATTDIR") and len(segment) == CZI_SEGMENT + 256:
            (n,) = struct.unpack_from("<i", segment, CZI_SEGMENT)
            entries = stream.read(CZI_ENTRY_BYTES * min(max(n, 0), MOST_CZI_ENTRIES))
            names = [entries[i + 48 : i + 128].split(b"\0")[0] for i in range(0, len(entries), CZI_ENTRY_BYTES)]
            found += pictures([("attachment", name.decode("utf-8", "replace")) for name in names], "CZI")
    return found
