"""Small slides as Hamamatsu's VMS and VMU: an index, and the image files that it names."""

import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def _size(image: NDArray[np.uint8], mpp: float) -> str:
    height, width = image.shape[:2]
    return (
        f"PhysicalWidth={width * mpp * 1000:.0f}\nPhysicalHeight={height * mpp * 1000:.0f}\nSourceLens=40\nNoLayers=1\n"
    )


def _row_starts(jpeg: bytes, tiles: int) -> bytes:
    """Where each row of tiles (parts between restart marks, 32 x 8 px) begins, in records of 40 bytes."""
    scan = jpeg.index(b"\xff\xda")
    starts = [scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]
    starts += [found.end() for found in re.finditer(rb"\xff[\xd0-\xd7]", jpeg) if found.start() > scan]
    return b"".join(struct.pack("<q", start) + bytes(32) for start in starts[::tiles])


def write_vms(path: Path, image: NDArray[np.uint8], columns: int = 2, mpp: float = 0.25) -> Path:
    """Write a slide whose level 0 lies in `columns` JPEG files side by side; the map is 8 times coarser."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.stem
    index = f"[Virtual Microscope Specimen]\nNoJpegColumns={columns}\nNoJpegRows=1\n"
    optimisation = b""
    for column, part in enumerate(np.split(image, columns, axis=1)):
        file = f"{name}_{column}.jpg"
        Image.fromarray(part).save(path.parent / file, quality=90, restart_marker_blocks=4, subsampling=0)
        index += f"ImageFile({column},0)={file}\n" if column else f"ImageFile={file}\n"
        optimisation += _row_starts((path.parent / file).read_bytes(), part.shape[1] // 32)
    Image.fromarray(image[::8, ::8]).save(path.parent / f"{name}_map.jpg", quality=90, restart_marker_rows=1)
    (path.parent / f"{name}.opt").write_bytes(optimisation)
    path.write_text(index + f"MapFile={name}_map.jpg\nOptimisationFile={name}.opt\n" + _size(image, mpp))
    return path


def write_vmu(path: Path, image: NDArray[np.uint8], mpp: float = 0.25) -> Path:
    """Write a slide of two NGR files: level 0, and a map 4 times coarser; columns of 128 px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, part in ((f"{path.stem}.ngr", image), (f"{path.stem}_map.ngr", image[::4, ::4])):
        height, width = part.shape[:2]
        head = b"GN\0\0" + struct.pack("<3i", width, height, 128) + bytes(8) + struct.pack("<i", 28)
        columns = [(part[:, x : x + 128].astype("<u2") << 4).tobytes() for x in range(0, width, 128)]
        (path.parent / name).write_bytes(head + b"".join(columns))
    path.write_text(
        f"[Uncompressed Virtual Microscope Specimen]\nImageFile={path.stem}.ngr\nMapFile={path.stem}_map.ngr\n"
        f"BitsPerPixel=36\nPixelOrder=RGB\n" + _size(image, mpp)
    )
    return path
