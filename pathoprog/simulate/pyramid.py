"""Writing a picture as a tiled JPEG pyramid that OpenSlide and TiffSlide read with its um/px."""

import io
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pathoprog import __version__
from pathoprog.system.files import atomic_write

Bytes = NDArray[np.uint8]

DOWNSAMPLE = 4  # from one level to the next
LEVELS = 3
TILE_PX = 256


def write_pyramid(path: str | Path, picture: Bytes, mpp: float, quality: int) -> None:
    """Write a picture as levels of 1, 4 and 16, whole or not at all.

    Args:
        path: TIFF to write.
        picture: level 0, uint8 ``[h, w, 3]``.
        mpp: its um/px, kept in the resolution tags.
        quality: JPEG quality.
    """
    levels = [picture]
    for _ in range(LEVELS - 1):
        levels.append(np.asarray(Image.fromarray(levels[-1]).reduce(DOWNSAMPLE)))
    memory = io.BytesIO()
    with tifffile.TiffWriter(memory) as tiff:
        for number, level in enumerate(levels):
            per_cm = 10_000 / (mpp * DOWNSAMPLE**number)
            tiff.write(
                _encoded_tiles(level, quality),
                shape=level.shape,
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=1 if number else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                software=f"pathoprog {__version__} simulate",
                metadata=None,
            )
    with atomic_write(path) as stream:
        stream.write(memory.getbuffer())


def _encoded_tiles(level: Bytes, quality: int) -> Iterator[bytes]:
    """JPEG streams row by row; tiles that reach beyond the edge repeat it, as JPEG rings least on that."""
    height, width = level.shape[:2]
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            tile = level[top : top + TILE_PX, left : left + TILE_PX]
            missing = (TILE_PX - tile.shape[0], TILE_PX - tile.shape[1])
            if any(missing):
                tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            yield bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), level=quality, subsampling="420"))
