"""Whether the image files that an index of Hamamatsu names (VMS, VMU) are there and whole.

The layout is that of OpenSlide's description of the format (openslide.org/formats/hamamatsu): a VMS index names JPEG
files side by side and a map, which is the coarse level; a VMU index names uncompressed NGR files in their place.
OpenSlide looks at the beginning of a file only: what is lost behind it is met by chance, or not at all.
"""

import os
import struct
from pathlib import Path

from pathoprog.errors import SlideError
from pathoprog.slides.identity import INDEX_BYTES
from pathoprog.slides.pixels.jpeg_stream import EOI, TileDamageError, read_head
from pathoprog.slides.tiff.directory import REMEDY

SUFFIXES = (".vms", ".vmu")
IMAGES = ("ImageFile", "MapFile")
OPTIMISATION = "OptimisationFile"
HEAD_BYTES = 1 << 20  # in which a JPEG's first scan begins
TAIL_BYTES = 1 << 16  # in which its end mark lies: writers may pad
NGR_HEAD_BYTES = 28
NGR_PIXEL_BYTES = 6  # three samples of 12 bits in 16


def check_hamamatsu(path: Path) -> None:
    """Refuse a slide of which an image file is missing, ends too early, or is none.

    What is wrong in the middle of a JPEG the decoder tells. The optimisation file says where rows of tiles begin, and
    OpenSlide goes without where it is wrong: it must be there, as the index names it, and hold something.

    Args:
        path: the index.

    Raises:
        SlideError: code ``missing`` for a file that is not there, ``unreadable`` for one that is not whole; ``io``
            where the system fails.
    """
    try:
        for key, file in _named(path):
            if not file.is_file():
                raise SlideError(
                    f"{path}: {file.name}, which belongs to it, is not there: copy it beside the slide", "missing"
                )
            why = _trouble(key, file)
            if why:
                raise SlideError(f"{path}: {file.name}, which belongs to it, {why}; {REMEDY}", "unreadable")
    except OSError as error:
        raise SlideError(f"{path}: {error.strerror or error}", "io") from error


def _named(path: Path) -> list[tuple[str, Path]]:
    """(key, file) of all images, the map and the optimisation file that an index names, each file once."""
    with path.open("rb") as stream:
        lines = stream.read(INDEX_BYTES).decode("utf-8", "replace").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        key, _, name = (part.strip() for part in line.partition("="))
        if key.startswith((*IMAGES, OPTIMISATION)) and name and "\0" not in name:
            found.setdefault(name, key)
    return [(key, path.parent / name) for name, key in sorted(found.items())]


def _trouble(key: str, file: Path) -> str:
    """What is wrong with one file, in words; "" for nothing."""
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(HEAD_BYTES)
        stream.seek(max(0, size - TAIL_BYTES))
        tail = stream.read()
    if not size:
        return "is empty (0 bytes)"
    if key.startswith(OPTIMISATION):
        return ""
    if head.startswith(b"GN"):
        return _ngr_trouble(head, size)
    try:
        read_head(head)
    except TileDamageError as error:
        return f"is no whole JPEG image ({size} bytes): {error}"
    # Within a scan's data every byte 255 is followed by 0 or a restart mark: an end mark stands at the end only.
    if bytes((0xFF, EOI)) not in tail:
        return f"is truncated: its JPEG data have no end mark, the file ends at byte {size}"
    return ""


def _ngr_trouble(head: bytes, size: int) -> str:
    """What is wrong with an NGR file by its header: columns of pixels, one behind the other."""
    if len(head) < NGR_HEAD_BYTES:
        return f"is truncated: it ends at byte {size}, within its header"
    width, height, column = struct.unpack_from("<3i", head, 4)
    (start,) = struct.unpack_from("<i", head, 24)
    if min(width, height, column) <= 0 or start < NGR_HEAD_BYTES or width % column:
        return f"is damaged: its header says {width} x {height} px in columns of {column} from byte {start} on"
    end = start + width * height * NGR_PIXEL_BYTES
    return f"is truncated: its {width} x {height} px end at byte {end}, the file at byte {size}" if size < end else ""
