"""A small Hamamatsu NDPI for tests: classic TIFF with 64-bit places, one JPEG in one strip a level, and a macro."""

import io
import struct
from pathlib import Path

import numpy as np
from made_slides import halved
from numpy.typing import NDArray
from PIL import Image

LENS, FOCAL_PLANE, FLAG = 65421, 65424, 65420


def write_ndpi(path: Path, image: NDArray[np.uint8], levels: int = 3, mpp: float = 0.25) -> Path:
    """Write levels at 40x and below, and a macro image last; sides must be multiples of 256."""
    data = bytearray(b"II*\0" + bytes(8))
    link = 4
    macro = np.full((256, 512, 3), 230, np.uint8)
    pictures = []
    for level in range(levels):
        pictures.append((image, 40.0 / 2**level, mpp * 2**level))
        image = halved(image)
    for picture, lens, size in [*pictures, (macro, -1.0, 20.0)]:
        sink = io.BytesIO()
        # One restart interval for each stretch of 256 px: what Hamamatsu calls a tile.
        Image.fromarray(picture).save(sink, "JPEG", quality=90, subsampling=0, restart_marker_blocks=32)
        jpeg = sink.getvalue()
        strip = len(data)
        data += jpeg + bytes(-len(jpeg) % 8)
        per_cm = len(data)
        data += struct.pack("<II", round(1e4 / size), 1)
        bits = len(data)
        data += struct.pack("<HHHxx", 8, 8, 8)
        height, width = picture.shape[:2]
        entries = [
            (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, 7), (262, 3, 1, 6),
            (273, 4, 1, strip), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(jpeg)), (282, 5, 1, per_cm),
            (283, 5, 1, per_cm), (296, 3, 1, 3), (FLAG, 4, 1, 1), (LENS, 11, 1, lens), (FOCAL_PLANE, 9, 1, 0),
        ]  # fmt: skip
        struct.pack_into("<Q", data, link, len(data))
        data += struct.pack("<H", len(entries))
        for tag, kind, count, value in entries:
            data += struct.pack("<HHI", tag, kind, count) + struct.pack("<f" if kind == 11 else "<I", value)
        link = len(data)
        data += bytes(8 + 4 * len(entries))  # the next directory, and the upper halves of the values
    path.write_bytes(data)
    return path
