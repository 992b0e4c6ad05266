"""What a strict decoder sees of one compressed tile that the slide libraries pass over without a word.

Decoders that end with an error by themselves where data are cut or contradict each other need nothing here: PNG and
JPEG XL (checksums or a strict format). OpenJPEG's strict mode passes over tile parts that were overwritten. What no
decoder can tell (a changed byte that still decodes, uncompressed data) only a checksum could.
"""

import os
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np

from pathoprog.errors import SlideError
from pathoprog.slides.not_a_slide import COPY
from pathoprog.slides.pixels.jpeg_stream import OtherSizeError, TileDamageError, check_jpeg
from pathoprog.slides.pixels.picture_head import jpeg2000_loss, picture_size
from pathoprog.slides.tiff.facts import TiledPage, inside_size, tiles_under

JPEG = (7, 33007, 34892)
JPEG_XR = (22610, 34934)
JPEG_2000 = (33003, 33004, 33005, 34712)
SAYS_ITS_SIZE = (*JPEG_2000, 34933, 50001)  # the last two: PNG, WebP


def _inflate(data: bytes, out: int) -> bytes:
    """Decompress at most `out` bytes of zlib data, and its checksum, which libtiff does not read."""
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(data, out)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(result) < out and not stream.eof:
        raise ValueError("they end too early")
    return result


BYTES: dict[int, tuple[str, Callable[..., bytes | bytearray]]] = {
    5: ("LZW", imagecodecs.lzw_decode),
    8: ("deflate", _inflate),
    32773: ("PackBits", imagecodecs.packbits_decode),
    32946: ("deflate", _inflate),
    50000: ("Zstandard", imagecodecs.zstd_decode),
}
"""TIFF's numbers of compressions of plain bytes: name, and a decoder that gives at most `out` of them."""
CHECKED = frozenset((*JPEG, *BYTES, *JPEG_2000))
"""Compressions in which OpenSlide, too, passes over something; the others it checks by itself."""


def check_tile(
    compression: int,
    data: bytes,
    tables: bytes | None,
    samples: int,
    least: tuple[int, int],
    most: tuple[int, int],
) -> None:
    """Refuse a compressed tile that cannot give all its pixels.

    Args:
        compression: TIFF's number.
        data: the compressed tile, of 8-bit samples.
        tables: JPEG tables that the tiles share, or None.
        samples: a pixel's, in this tile.
        least: (width, height) px that it must have at least: the part of the tile inside the image.
        most: (width, height) of a whole tile.

    Raises:
        TileDamageError: says what is wrong with the data, not where they are.
    """
    if compression in JPEG:
        check_jpeg(data, tables, samples, least, most)
    elif compression in BYTES:
        _check_length(*BYTES[compression], data, samples, least, most)
    elif compression in JPEG_XR:
        raise TileDamageError("JPEG XR, whose decoder here fills what is missing without a word; convert it to JPEG")
    elif compression in SAYS_ITS_SIZE:
        _check_size(data, least, most)
        loss = jpeg2000_loss(data) if compression in JPEG_2000 else ""
        if loss:
            raise TileDamageError(f"damaged JPEG 2000 data: {loss}")


def _check_length(
    name: str,
    decode: Callable[..., bytes | bytearray],
    data: bytes,
    samples: int,
    least: tuple[int, int],
    most: tuple[int, int],
) -> None:
    """Refuse data that decode to more or fewer bytes than a tile has: a decoder that lost its place ends anywhere."""
    whole = most[0] * most[1] * samples
    allowed = {whole, most[0] * least[1] * samples, least[0] * least[1] * samples}
    try:
        n = len(decode(data, out=whole + 1))  # one more is enough to see that there are too many
    except (ValueError, RuntimeError) as error:
        raise TileDamageError(f"damaged {name} data: {error}") from None
    if n not in allowed:
        more = "more" if n > whole else f"{n}"
        raise TileDamageError(f"damaged {name} data: they hold {more} bytes in place of {whole}")


def _check_size(data: bytes, least: tuple[int, int], most: tuple[int, int]) -> None:
    """Refuse a picture whose own header gives it a size that is no tile's: its rows would be laid out wrongly."""
    size = picture_size(data)
    if size and not (least[0] <= size[0] <= most[0] and least[1] <= size[1] <= most[1]):
        raise OtherSizeError(f"{size[0]} x {size[1]} px in place of {most[0]} x {most[1]}")


class TileChecker:
    """Checks the compressed tiles of a TIFF's pages before another library reads them, each once."""

    def __init__(self, path: str, sizes: list[tuple[int, int]], pages: tuple[TiledPage, ...]):
        """Open the file a second time, if there is anything to check.

        Args:
            path: the TIFF.
            sizes: (width, height) of each level, px.
            pages: the file's tiled pages; a level whose page is not plain from its size is not checked.
        """
        self.path = path
        self._levels = [_checked_page(size, pages) for size in sizes]
        self._sound = [np.zeros(len(page.counts) if page else 0, bool) for page in self._levels]
        self._file = os.open(path, os.O_RDONLY) if any(self._levels) else -1

    def check(self, level: int, x: int, y: int, width: int, height: int, margin: int) -> None:
        """Refuse a rectangle of a level, in its pixels, under or within `margin` of which a tile is damaged.

        Raises:
            SlideError: code ``unreadable``; ``io`` where the system fails.
        """
        page = self._levels[level]
        if page is None:
            return
        left, top = max(x - margin, 0), max(y - margin, 0)
        right, bottom = min(x + width + margin, page.width), min(y + height + margin, page.height)
        for index in tiles_under(page, left, top, right - left, bottom - top):
            if page.counts[index] == 0 or self._sound[level][index]:
                continue
            data = read_tile_data(self._file, self.path, page, index)
            most = page.tile_width, page.tile_height
            try:
                check_tile(page.compression, data, page.tables, page.samples, inside_size(page, index), most)
            except TileDamageError as error:
                raise damaged(self.path, level, page, index, error) from None
            self._sound[level][index] = True

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _checked_page(size: tuple[int, int], pages: tuple[TiledPage, ...]) -> TiledPage | None:
    """The one page of a size, if its tiles want checking and its index is whole."""
    same = [page for page in pages if (page.width, page.height) == size and page.compression in CHECKED]
    whole = len(same) == 1 and len(same[0].counts) == len(same[0].offsets) == same[0].columns * same[0].rows
    return same[0] if whole else None


def read_tile_data(file: int, path: str, page: TiledPage, index: int) -> bytes:
    """The bytes of one compressed tile.

    Raises:
        SlideError: code ``unreadable`` where the file ends before them; ``io`` where the system fails.
    """
    count, offset = int(page.counts[index]), int(page.offsets[index])
    try:
        data = os.pread(file, count, offset)
        size = os.fstat(file).st_size if len(data) < count else 0
    except (OSError, OverflowError, ValueError) as error:
        raise SlideError(f"{path}: {getattr(error, 'strerror', None) or error}", "io") from error
    if len(data) < count:
        raise SlideError(
            f"{path}: truncated: a tile of {count} bytes at {offset} ends beyond the file's {size}; copy it again",
            "unreadable",
        )
    return data


def damaged(path: str, level: int, page: TiledPage, index: int, error: TileDamageError) -> SlideError:
    """What a user is told of a damaged tile; x and y are pixels of the level."""
    row, column = divmod(index, page.columns)
    x, y = column * page.tile_width, row * page.tile_height
    return SlideError(
        f"{path}: damaged data of the tile at level {level}, x {x}, y {y}: {error}; {COPY}",
        "unreadable",
    )
