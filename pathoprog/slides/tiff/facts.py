"""What a TIFF's tags say of its pixels, before any library shows them: some show wrong pixels without a word."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from pathoprog.slides.pixels.picture_head import jpeg2000_head
from pathoprog.slides.tiff.directory import Directory, read_directories
from pathoprog.slides.tiff.pyramid import Pyramid, pyramid_of
from pathoprog.slides.tiff.unnamed import check_unnamed

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its remarks on odd tags are not the user's

PHOTOMETRIC = {
    0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 3: "PALETTE", 4: "MASK", 5: "SEPARATED", 6: "YCBCR", 8: "CIELAB",
    9: "ICCLAB", 10: "ITULAB", 32803: "CFA", 34892: "LINEAR_RAW",
}  # fmt: skip
COLOUR = ("RGB", "YCBCR", "PALETTE")
JPEG = 7
APERIO_YCBCR, JPEG_2000 = 33003, 34712
CONVERTED = (6, JPEG, 33007, 34892, 33005, 50001, 50002)
"""Compressions that give RGB whatever the tags say: JPEG, Aperio's RGB variant of JPEG 2000, WebP, JPEG XL."""
# JPEG XR, JPEG 2000 outside Aperio's SVS, LZMA, PNG, WebP and JPEG XL: OpenSlide's libtiff has no decoder for them.
ONLY_TIFFSLIDE = (22610, 33004, 34712, 34892, 34925, 34933, 34934, 50001, 50002)


@dataclass(frozen=True)
class TiledPage:
    """One tiled image of a TIFF and where its compressed tiles lie.

    Attributes:
        width: px.
        height: px.
        tile_width: px.
        tile_height: px.
        offsets: int64 [n], of the tiles in the file, row by row.
        counts: int64 [n], bytes of each tile; 0 where the file has none.
        tables: JPEG tables that the tiles share, or None.
        photometric: as RGB or YCBCR.
        jfif: its first tile says JFIF, which is YCbCr by its own standard whatever the tags say.
        plain_jpeg: 8-bit colour tiles of JPEG in one plane, as many as the size asks for.
        compression: TIFF's number.
        samples: of a pixel in one compressed tile.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    tables: bytes | None
    photometric: str
    jfif: bool
    plain_jpeg: bool
    compression: int = 1
    samples: int = 3

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile_height)


@dataclass(frozen=True)
class TiffFacts:
    """What the tags of a TIFF say.

    Attributes:
        kind: "" for 8-bit colour, else what it is instead, in words.
        tiffslide_reads: False where TiffSlide would return the stored numbers for colours (palette, plain YCbCr).
        warnings: for the user.
        pages: its tiled images.
        pyramid: which of its images are the slide.
        openslide_decodes: whether OpenSlide has a decoder for the slide's compression.
    """

    kind: str
    tiffslide_reads: bool
    warnings: tuple[str, ...]
    pages: tuple[TiledPage, ...]
    pyramid: Pyramid
    openslide_decodes: bool


def tiff_facts(path: Path) -> TiffFacts | None:
    """Look at a TIFF's tags; None for a file that is no TIFF.

    Raises:
        SlideError: code ``unreadable`` where the file calls itself a TIFF and its directories, or where they say that
            pixels lie, cannot be read; ``levels`` where it holds a level that they do not name; ``io`` where the
            system fails.
    """
    spans: dict[int, int] = {}
    images = read_directories(path, spans)
    if images is None:
        return None
    check_unnamed(path, images, spans)
    pyramid = pyramid_of(images)
    base = pyramid.base
    photometric, compression = _photometric(base), base.compression
    kind = ""
    if set(base.bits) != {8}:
        bits = "- and ".join(map(str, dict.fromkeys(base.bits)))
        kind = f"{bits}-bit pixels"
    elif base.samples == 1 and photometric != "PALETTE":
        channels = _separate_channels(path)
        kind = "one channel, no colour" if channels == 1 else f"{channels} separate channels, no brightfield colour"
    elif photometric not in COLOUR or base.samples not in (1, 3, 4):
        kind = f"{base.samples} channels ({photometric.lower()}), no brightfield colour"
    plain_ycbcr = photometric == "YCBCR" and compression not in CONVERTED and not _transformed(base, path)
    plain_ycbcr |= compression == APERIO_YCBCR
    return TiffFacts(
        kind,
        tiffslide_reads=photometric != "PALETTE" and not plain_ycbcr,
        warnings=_orientation_warning(base),
        pages=() if kind else tuple(_tiled_pages(path, images)),
        pyramid=pyramid,
        openslide_decodes=compression not in ONLY_TIFFSLIDE,
    )


def _orientation_warning(base: Directory) -> tuple[str, ...]:
    if base.orientation in (0, 1):
        return ()
    return (f"orientation tag {base.orientation}: pixels are read as stored",)


def _transformed(image: Directory, path: Path) -> bool:
    """Whether the first tile's JPEG 2000 data have a colour transform, which decoders undo."""
    if image.compression != JPEG_2000 or not len(image.offsets):
        return False
    with path.open("rb") as stream:
        stream.seek(int(image.offsets[0]))
        head = jpeg2000_head(stream.read(min(int(image.counts[0]), 65_536)))
    return head is not None and head.transformed


def _separate_channels(path: Path) -> int:
    """How many images of one channel stand for one picture (fluorescence in OME-TIFF)."""
    try:
        with tifffile.TiffFile(path) as tiff:
            axes, shape = tiff.series[0].axes, tiff.series[0].shape
            return int(shape[axes.index("C")]) if "C" in axes else 1
    except Exception:  # odd metadata provoke nearly any error in the parser; the slide is refused in either case
        return 1


def _tiled_pages(path: Path, images: list[Directory]) -> list[TiledPage]:
    tiled = [image for image in images if image.is_tiled]
    with path.open("rb") as stream:
        return [_tiled_page(image, stream) for image in tiled]


def _tiled_page(image: Directory, stream: BinaryIO) -> TiledPage:
    photometric = _photometric(image)
    plain = (
        image.compression == JPEG
        and set(image.bits) == {8}
        and image.samples == 3
        and not image.extra_samples
        and image.planar == 1
        and photometric in ("RGB", "YCBCR")
    )
    jfif = False
    if plain:
        first = int(np.argmax(image.counts > 0))
        stream.seek(int(image.offsets[first]))
        jfif = b"JFIF" in stream.read(min(32, int(image.counts[first])))
    return TiledPage(
        image.width, image.height, image.tile_width, image.tile_height,
        image.offsets, image.counts, image.tables, photometric, jfif, plain,
        image.compression, image.samples if image.planar == 1 else 1,
    )  # fmt: skip


def _photometric(image: Directory) -> str:
    return PHOTOMETRIC.get(image.photometric, str(image.photometric))


def tiles_under(page: TiledPage, x: int, y: int, width: int, height: int) -> list[int]:
    """Indices of the compressed tiles that a rectangle of a page touches."""
    columns = range(x // page.tile_width, (x + width - 1) // page.tile_width + 1)
    rows = range(y // page.tile_height, (y + height - 1) // page.tile_height + 1)
    return [row * page.columns + column for row in rows for column in columns]


def inside_size(page: TiledPage, index: int) -> tuple[int, int]:
    """(width, height) px of the part of a compressed tile that lies inside its page."""
    row, column = divmod(index, page.columns)
    width, height = page.width - column * page.tile_width, page.height - row * page.tile_height
    return min(page.tile_width, width), min(page.tile_height, height)


def paste(page: TiledPage, index: int, tile: NDArray[np.uint8], out: NDArray[np.uint8], x: int, y: int) -> None:
    """Copy the part of a decoded tile that lies in `out`, whose corner is (x, y) on the page."""
    row, column = divmod(index, page.columns)
    left, top = column * page.tile_width - x, row * page.tile_height - y
    x_from, y_from = max(left, 0), max(top, 0)
    x_to, y_to = min(left + page.tile_width, out.shape[1]), min(top + page.tile_height, out.shape[0])
    out[y_from:y_to, x_from:x_to] = tile[y_from - top : y_to - top, x_from - left : x_to - left]
