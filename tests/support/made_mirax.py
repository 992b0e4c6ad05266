"""A small MIRAX slide for tests: an empty .mrxs, and its folder of settings, index and data files."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
from made_slides import halved
from numpy.typing import NDArray

SIDE = 256
UUID = "0123456789ABCDEF0123456789ABCDEF"


def write_mirax(path: Path, image: NDArray[np.uint8], levels: int = 3, mpp: float = 0.25) -> Path:
    """Write a slide of images of 256 px, no overlap, one data file a level; sides must be multiples of 256."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    path.write_bytes(b"")
    columns, rows = image.shape[1] // SIDE, image.shape[0] // SIDE
    pages = []
    for level in range(levels):
        data, records = bytearray(), []
        for row in range(-(-rows // 2**level)):
            for column in range(-(-columns // 2**level)):
                tile = np.full((SIDE, SIDE, 3), 255, np.uint8)
                part = image[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
                tile[: part.shape[0], : part.shape[1]] = part
                jpeg = imagecodecs.jpeg8_encode(tile, 90)
                records.append(((row * columns + column) << level, len(data), len(jpeg), level))
                data += jpeg
        (folder / f"Data{level:04d}.dat").write_bytes(data)
        pages.append(records)
        image = halved(image)
    head = b"01.02" + UUID.encode()
    first = len(head) + 8
    index = bytearray(head + struct.pack("<ii", first, 0) + bytes(4 * levels))
    for level, records in enumerate(pages):
        struct.pack_into("<i", index, first + 4 * level, len(index))
        page = len(index) + 8
        index += struct.pack("<ii", 0, page)
        index += struct.pack("<ii", len(records), 0)
        for record in records:
            index += struct.pack("<iiii", *record)
    (folder / "Index.dat").write_bytes(index)
    text = (
        f"[GENERAL]\nSLIDE_ID = {UUID}\nIMAGENUMBER_X = {columns}\nIMAGENUMBER_Y = {rows}\n"
        "OBJECTIVE_MAGNIFICATION = 40\n"
        f"[HIERARCHICAL]\nHIER_COUNT = 1\nNONHIER_COUNT = 0\nINDEXFILE = Index.dat\nHIER_0_NAME = Slide zoom level\n"
        f"HIER_0_COUNT = {levels}\n"
    )
    text += "".join(f"HIER_0_VAL_{level}_SECTION = LEVEL_{level}\n" for level in range(levels))
    text += f"[DATAFILE]\nFILE_COUNT = {levels}\n"
    text += "".join(f"FILE_{level} = Data{level:04d}.dat\n" for level in range(levels))
    for level in range(levels):
        size = mpp * 2**level
        text += (
            f"[LEVEL_{level}]\nIMAGE_CONCAT_FACTOR = {int(level > 0)}\nOVERLAP_X = 0\nOVERLAP_Y = 0\n"
            f"MICROMETER_PER_PIXEL_X = {size}\nMICROMETER_PER_PIXEL_Y = {size}\nIMAGE_FILL_COLOR_BGR = 16777215\n"
            f"DIGITIZER_WIDTH = {SIDE}\nDIGITIZER_HEIGHT = {SIDE}\nIMAGE_FORMAT = JPEG\n"
        )
    (folder / "Slidedat.ini").write_text(text, encoding="utf-8-sig")
    return path
