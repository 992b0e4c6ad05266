"""Slides made for tests: tiled pyramids with known pixels, written by tifffile."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

GLASS = (242, 241, 243)
PINK = (214, 140, 182)
PURPLE = (110, 60, 140)


def texture(width: int, height: int, seed: int = 0, margin: int = 0) -> NDArray[np.uint8]:
    """A stained-looking picture, smooth enough that JPEG keeps it: uint8 [height, width, 3].

    Args:
        width: px.
        height: px.
        seed: of the pattern.
        margin: px of empty glass around the tissue.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    a, b, c, d = rng.uniform(0.01, 0.05, 4)
    wave = (np.sin(a * x + b * y) + np.sin(c * x - d * y) + 2) / 4
    image = np.array(PINK, np.float32) * wave[..., None] + np.array(PURPLE, np.float32) * (1 - wave[..., None])
    if margin:
        inside = np.zeros((height, width, 1), bool)
        inside[margin:-margin, margin:-margin] = True
        image = np.where(inside, image, np.array(GLASS, np.float32))
    return image.astype(np.uint8)


def halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each 2 x 2 pixels averaged; an odd last row or column is dropped."""
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    parts = image[:h, :w].astype(np.float32).reshape(h // 2, 2, w // 2, 2, -1).mean(axis=(1, 3))
    return np.rint(parts).astype(np.uint8).reshape(h // 2, w // 2, *image.shape[2:])


def write_pyramid(
    path: Path,
    image: NDArray[Any],
    *,
    mpp: float | tuple[float, float] | None = 0.25,
    levels: int = 3,
    tile: int | tuple[int, int] = 256,
    compression: str | None = "jpeg",
    quality: int = 90,
    description: str | None = None,
    **options: Any,
) -> Path:
    """Write a tiled pyramid that OpenSlide reads as generic-tiff, or as Aperio if `description` begins so.

    Args:
        path: the file to write.
        image: uint8 [h, w, 3] (or what a test needs).
        mpp: um per px in the resolution tags, one value or (x, y); None writes none.
        levels: of the pyramid, each half the one before.
        tile: side, or (height, width); multiples of 16.
        compression: tifffile's name.
        quality: of JPEG.
        description: ImageDescription of the first page.
        **options: for `tifffile.TiffWriter.write`.
    """
    mpp_x, mpp_y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    if mpp_x is not None and mpp_y is not None:
        options |= {"resolution": (1e4 / mpp_x, 1e4 / mpp_y), "resolutionunit": "CENTIMETER"}
    if compression == "jpeg":
        options |= {"compressionargs": {"level": quality}}
    options.setdefault("photometric", "rgb")
    with tifffile.TiffWriter(
        path, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("byteorder", None)
    ) as tiff:
        for level in range(levels):
            tiff.write(
                image,
                tile=(tile, tile) if isinstance(tile, int) else tile,
                compression=compression,
                description=description if level == 0 else None,
                metadata=None,
                subfiletype=1 if level else 0,
                **options,
            )
            image = halved(image)
    return path


def aperio_description(width: int, height: int, mpp: float, objective: float = 40) -> str:
    """ImageDescription of an Aperio SVS."""
    return (
        f"Aperio Image Library v11.2.1 \r\n{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=90"
        f"|AppMag = {objective:g}|MPP = {mpp:g}"
    )


def write_sparse(
    path: Path,
    image: NDArray[np.uint8],
    absent: set[tuple[int, int]],
    *,
    description: str | None = None,
    mpp: float = 0.25,
    levels: int = 3,
    compression: str = "jpeg",
) -> Path:
    """Write a pyramid whose base level has no bytes for some 256 px tiles, `absent` = {(row, column)}."""
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):

            def tiles(image: NDArray[np.uint8] = image, base: bool = level == 0) -> Any:
                for row in range(0, image.shape[0], 256):
                    for column in range(0, image.shape[1], 256):
                        left_out = base and (row // 256, column // 256) in absent
                        yield None if left_out else image[row : row + 256, column : column + 256]

            tiff.write(
                tiles(),
                shape=image.shape,
                dtype=np.uint8,
                tile=(256, 256),
                compression=compression,
                photometric="rgb",
                metadata=None,
                description=description if level == 0 else None,
                subfiletype=1 if level else 0,
                resolution=(1e4 / mpp, 1e4 / mpp),
                resolutionunit="CENTIMETER",
            )
            image = halved(image)
    return path


def write_scn(path: Path, image: NDArray[np.uint8], at: tuple[int, int], canvas: tuple[int, int]) -> Path:
    """Write a Leica SCN at 0.5 um/px: a scan at place `at` (x, y) of a larger empty canvas (width, height), level-0 px.

    OpenSlide reports `bounds-x/y` for it, as for MIRAX.
    """
    nm = 500
    h, w = image.shape[:2]
    macro = np.full((400, 160, 3), 240, np.uint8)

    def xml_image(
        name: str, size: tuple[int, int], place: tuple[int, int], view: tuple[int, int], ifds: list[int]
    ) -> str:
        dimensions = "".join(
            f'<dimension sizeX="{size[0] >> r}" sizeY="{size[1] >> r}" r="{r}" ifd="{ifd}"/>'
            for r, ifd in enumerate(ifds)
        )
        return (
            f'<image name="{name}"><device model="m" version="1"/>'
            f'<pixels sizeX="{size[0]}" sizeY="{size[1]}">{dimensions}</pixels>'
            f'<view sizeX="{view[0] * nm}" sizeY="{view[1] * nm}" offsetX="{place[0] * nm}" '
            f'offsetY="{place[1] * nm}"/><scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>'
            "<illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>brightfield"
            "</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{canvas[0] * nm}" sizeY="{canvas[1] * nm}"><barcode></barcode>'
        + xml_image("macro", (160, 400), (0, 0), canvas, [0])
        + xml_image("main", (w, h), at, (w, h), [1, 2])
        + "</collection></scn>"
    )
    options: dict[str, Any] = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb", "metadata": None}
    options |= {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(macro, description=xml, **options)
        tiff.write(image, **options)
        tiff.write(halved(image), **options)
    return path


def write_giant(path: Path, side: int, mpp: float = 0.25, margin_tiles: int = 40) -> Path:
    """Write a BigTIFF JPEG pyramid of any size in a few MiB: all tiles of a level point at two compressed ones.

    Glass in a margin of `margin_tiles` tiles of the base level, tissue inside. Levels are a quarter of each other,
    down to 2,000 px or less.
    """
    import struct

    import imagecodecs

    encoded = [
        imagecodecs.jpeg8_encode(picture, 85, subsampling="420")
        for picture in (np.full((256, 256, 3), GLASS, np.uint8), texture(256, 256, seed=9))
    ]
    with path.open("wb") as file:
        file.write(b"II+\0" + struct.pack("<HHQ", 8, 0, 0))
        places = []
        for data in encoded:
            places.append((file.tell(), len(data)))
            file.write(data)
        link, px, step = 8, side, 1
        while True:
            n = -(-px // 256)
            base_tile = np.arange(n) * step
            inside = (base_tile >= margin_tiles) & (base_tile + step <= -(-side // 256) - margin_tiles)
            kind = (inside[:, None] & inside[None, :]).astype(int).ravel()
            offsets = np.array([place for place, _ in places], "<u8")[kind]
            counts = np.array([count for _, count in places], "<u4")[kind]
            at = []
            for block in (struct.pack("<HHH", 8, 8, 8), offsets.tobytes(), counts.tobytes()):
                file.seek(-file.tell() % 8, 1)
                at.append(file.tell())
                file.write(block)
            per_cm = struct.pack("<II", round(1e8 / mpp * px / side), 10_000)
            tags = [
                (254, 4, 1, struct.pack("<I", int(px != side))), (256, 4, 1, struct.pack("<I", px)),
                (257, 4, 1, struct.pack("<I", px)), (258, 3, 3, struct.pack("<HHH", 8, 8, 8)),
                (259, 3, 1, struct.pack("<H", 7)), (262, 3, 1, struct.pack("<H", 6)),
                (277, 3, 1, struct.pack("<H", 3)), (282, 5, 1, per_cm), (283, 5, 1, per_cm),
                (284, 3, 1, struct.pack("<H", 1)), (296, 3, 1, struct.pack("<H", 3)),
                (322, 4, 1, struct.pack("<I", 256)), (323, 4, 1, struct.pack("<I", 256)),
                (324, 16, n * n, struct.pack("<Q", at[1])), (325, 4, n * n, struct.pack("<Q", at[2])),
                (530, 3, 2, struct.pack("<HH", 2, 2)),
            ]  # fmt: skip
            file.seek(-file.tell() % 8, 1)
            here = file.tell()
            file.write(struct.pack("<Q", len(tags)))
            for number, kind_of, count, value in tags:
                file.write(struct.pack("<HHQ", number, kind_of, count) + value.ljust(8, b"\0"))
            next_link = file.tell()
            file.write(struct.pack("<Q", 0))
            file.seek(link)
            file.write(struct.pack("<Q", here))
            file.seek(0, 2)
            link = next_link
            if px <= 2000:
                return path
            px, step = px // 4, step * 4
