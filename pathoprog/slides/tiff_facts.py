"""What a TIFF's tags say of its pixels, before any library shows them: some show wrong pixels without a word."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.picture_head import jpeg2000_head

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its remarks on odd tags are not the user's

COLOUR = ("RGB", "YCBCR", "PALETTE")
JPEG = 7
APERIO_YCBCR, JPEG_2000 = 33003, 34712
CONVERTED = (6, 7, 33007, 34892, 33005, 50001, 50002)
"""Compressions that give RGB whatever the tags say: JPEG, Aperio's RGB variant of JPEG 2000, WebP, JPEG XL."""


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
        photometric: tifffile's name, as RGB or YCBCR.
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
    """

    kind: str
    tiffslide_reads: bool
    warnings: tuple[str, ...]
    pages: tuple[TiledPage, ...]


def tiff_facts(path: Path) -> TiffFacts | None:
    """Look at a TIFF's tags; None for a file that is no TIFF.

    Raises:
        SlideError: code ``unreadable`` where the file calls itself a TIFF and its directory cannot be read.
    """
    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    try:
        with tifffile.TiffFile(path) as tiff:
            return _facts(tiff)
    except Exception as error:  # a damaged directory provokes nearly any error in the parser
        raise SlideError(f"{path}: damaged TIFF: {' '.join(str(error).split())}", "unreadable") from error


def _facts(tiff: tifffile.TiffFile) -> TiffFacts:
    page = tiff.pages.first
    orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
    photometric = _name(page.photometric)
    samples = page.samplesperpixel
    kind = ""
    if page.bitspersample != 8:
        kind = f"{page.bitspersample}-bit pixels"
    elif samples == 1 and photometric != "PALETTE":
        axes, shape = tiff.series[0].axes, tiff.series[0].shape
        channels = shape[axes.index("C")] if "C" in axes else 1
        kind = "one channel, no colour" if channels == 1 else f"{channels} separate channels, no brightfield colour"
    elif photometric not in COLOUR or samples not in (1, 3, 4):
        kind = f"{samples} channels ({photometric.lower()}), no brightfield colour"
    plain_ycbcr = photometric == "YCBCR" and page.compression not in CONVERTED and not _transformed(page, tiff)
    plain_ycbcr |= page.compression == APERIO_YCBCR
    return TiffFacts(
        kind,
        tiffslide_reads=photometric != "PALETTE" and not plain_ycbcr,
        warnings=() if orientation in (0, 1) else (f"orientation tag {orientation}: pixels are read as stored",),
        pages=() if kind else tuple(_tiled(tiff)),
    )


def _transformed(page: Any, tiff: tifffile.TiffFile) -> bool:
    """Whether the first tile's JPEG 2000 data have a colour transform, which decoders undo."""
    if page.compression != JPEG_2000 or not page.dataoffsets:
        return False
    tiff.filehandle.seek(page.dataoffsets[0])
    head = jpeg2000_head(tiff.filehandle.read(min(page.databytecounts[0], 65_536)))
    return head is not None and head.transformed


def _tiled(tiff: tifffile.TiffFile) -> list[TiledPage]:
    pages = [sub for page in tiff.pages for sub in (page, *(page.pages or ()))]
    return [_tiled_page(page, tiff) for page in pages if page.is_tiled]


def _tiled_page(page: Any, tiff: tifffile.TiffFile) -> TiledPage:
    counts = np.array(page.databytecounts, np.int64)
    offsets = np.array(page.dataoffsets, np.int64)
    photometric = _name(page.photometric)
    n_tiles = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    plain = (
        int(page.compression) == JPEG
        and page.bitspersample == 8
        and page.samplesperpixel == 3
        and not page.extrasamples
        and int(page.planarconfig) == 1
        and photometric in ("RGB", "YCBCR")
        and len(offsets) == len(counts) == n_tiles
    )
    jfif = False
    if plain:
        first = int(np.argmax(counts > 0))
        tiff.filehandle.seek(int(offsets[first]))
        jfif = b"JFIF" in tiff.filehandle.read(min(32, int(counts[first])))
    return TiledPage(
        page.imagewidth, page.imagelength, page.tilewidth, page.tilelength,
        offsets, counts, page.jpegtables, photometric, jfif, plain,
        int(page.compression), int(page.samplesperpixel) if int(page.planarconfig) == 1 else 1,
    )  # fmt: skip


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


def _name(value: object) -> str:
    return str(getattr(value, "name", value))
