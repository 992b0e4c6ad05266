"""The fast path: compressed tiles of plain JPEG pyramids taken straight from the file and decoded by libjpeg-turbo.

About five times as fast as OpenSlide's way over RGBA, with the same pixels within one grey level. Another adapter
tells the slide's facts and reads what is not plain.
"""

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.pixels.jpeg_stream import OtherSizeError, TileDamageError, decode_jpeg
from pathoprog.slides.pixels.resample import area_resize
from pathoprog.slides.pixels.tile_data import damaged, read_tile_data
from pathoprog.slides.slide import LevelRectangle, Pixels, Slide
from pathoprog.slides.tiff.facts import TiledPage, inside_size, paste, tiles_under
from pathoprog.slides.tiff.pyramid import PAGE_VENDORS
from pathoprog.slides.tile_reader import TileReader, in_chunks

VIEW_CACHE_BYTES = 32 * 2**20
KEPT_BYTES = 256 * 2**20  # decoded tiles that wait for their neighbours; beyond it some are decoded again


class JpegSlide(Slide):
    """A plain JPEG pyramid read past the library that opened it."""

    def __init__(self, inner: Slide, pages: Iterable[TiledPage]):
        """Take over an open slide.

        Raises:
            SlideError: code ``format`` if its base level is no plain JPEG.
        """
        sizes = [(level.width, level.height) for level in inner.levels]
        super().__init__(
            inner.path,
            inner.vendor,
            sizes,
            inner.file_mpp,
            inner.objective,
            override_mpp=inner.override_mpp,
            warnings=inner.file_warnings,
        )
        self.backend = f"{inner.backend}+jpeg"
        self._inner = inner
        # OpenSlide believes the tags, tifffile the tile: where they contradict, only tifffile's way is followed here.
        sure = [page for page in pages if inner.backend == "tiffslide" or page.photometric != "RGB" or not page.jfif]
        self._pages = [_page_of(size, sure) for size in sizes]
        if self._pages[0] is None or inner.vendor not in PAGE_VENDORS or (inner.origin_x, inner.origin_y) != (0, 0):
            raise SlideError(f"{inner.path}: no plain JPEG pyramid; use slides.backend=auto", "format")
        self._file = os.open(inner.path, os.O_RDONLY)
        self._views: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._views_lock = threading.Lock()
        self._view_bytes = 0
        self.decoded = 0  # compressed tiles decoded so far, for tests and benchmarks

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._inner.close()

    def page(self, level: int) -> TiledPage | None:
        """The file's page behind a level; None where it is not plain."""
        return self._pages[level]

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        page = self._pages[level]
        if page is None:
            return self._inner._read(level, x, y, width, height)
        out = np.empty((height, width, 3), np.uint8)
        for index in tiles_under(page, x, y, width, height):
            paste(page, index, self._viewed(level, index), out, x, y)
        return out

    def _viewed(self, level: int, index: int) -> Pixels:
        """A decoded tile, from the few last used where it is among them."""
        key = (level, index)
        with self._views_lock:
            if key in self._views:
                self._views.move_to_end(key)
                return self._views[key]
        tile = self.decode(level, index)
        with self._views_lock:
            if key not in self._views:
                self._views[key] = tile
                self._view_bytes += tile.nbytes
            while self._view_bytes > VIEW_CACHE_BYTES and len(self._views) > 1:
                self._view_bytes -= self._views.popitem(last=False)[1].nbytes
        return tile

    def decode(self, level: int, index: int) -> Pixels:
        """Decode one compressed tile: uint8 [tile_height, tile_width, 3]; many threads may do so at once.

        A tile that is absent or not of the page's size is left to the other adapter, to read or to refuse.

        Raises:
            SlideError: code ``unreadable`` where data are damaged; ``io`` where the system fails, which may pass.
        """
        page = self._pages[level]
        assert page is not None
        self.on_read()
        self.decoded += 1
        if page.counts[index]:
            data = read_tile_data(self._file, self.path, page, index)
            try:
                return decode_jpeg(data, page.tables, stored_as_rgb(page), (page.tile_width, page.tile_height))
            except OtherSizeError:
                pass  # an edge tile may be as small as the image ends; the other adapter takes it or refuses it
            except TileDamageError as error:
                raise damaged(self.path, level, page, index, error) from None
        return self._from_inner(level, page, index)

    def _from_inner(self, level: int, page: TiledPage, index: int) -> Pixels:
        row, column = divmod(index, page.columns)
        x, y = column * page.tile_width, row * page.tile_height
        width, height = inside_size(page, index)
        tile = np.full((page.tile_height, page.tile_width, 3), 255, np.uint8)
        tile[:height, :width] = self._inner._read(level, x, y, width, height)
        return tile

    def tile_reader(
        self,
        x0: NDArray[np.int64],
        y0: NDArray[np.int64],
        mpp: float,
        size_px: int,
        pool: Executor | None = None,
        threads: int = 1,
    ) -> TileReader:
        """As `Slide.tile_reader`; each compressed tile is decoded once, however many tiles of the grid share it."""
        if self._pages[self.level_for(mpp)] is None:
            return super().tile_reader(x0, y0, mpp, size_px, pool, threads)
        return JpegTileReader(self, x0, y0, mpp, size_px, pool, threads)


class JpegTileReader(TileReader):
    """Reads the tiles of one grid from compressed tiles that are decoded once and kept while still needed."""

    slide: JpegSlide

    def __init__(
        self,
        slide: JpegSlide,
        x0: NDArray[np.int64],
        y0: NDArray[np.int64],
        mpp: float,
        size_px: int,
        pool: Executor | None,
        threads: int,
    ):
        super().__init__(slide, x0, y0, mpp, size_px, pool, threads)
        self.level = slide.level_for(mpp)
        page = slide.page(self.level)
        assert page is not None
        self.page = page
        self.sources: list[LevelRectangle] = []
        self.uses: Counter[int] = Counter()
        self.counted_from = -1
        self.kept: dict[int, Pixels] = {}

    def read(self, start: int, out: Pixels) -> None:
        """As `TileReader.read`; batches are expected in the order of the grid."""
        if self.counted_from < 0:
            self._count(start)
        sources = self.sources[start - self.counted_from :][: len(out)]
        wanted = [tiles_under(self.page, *source[1:5]) for source in sources]
        missing = sorted({index for tiles in wanted for index in tiles} - self.kept.keys())
        decoded: list[Pixels | None] = [None] * len(missing)

        def decode(part: slice) -> None:
            for i in range(part.start, part.stop):
                decoded[i] = self.slide.decode(self.level, missing[i])

        def assemble(part: slice) -> None:
            for i in range(part.start, part.stop):
                self._assemble(sources[i], wanted[i], out[i])

        in_chunks(decode, len(missing), self.pool, self.threads)
        self.kept.update((index, tile) for index, tile in zip(missing, decoded, strict=True) if tile is not None)
        in_chunks(assemble, len(out), self.pool, self.threads)
        self._forget(wanted)

    def _count(self, start: int) -> None:
        """Count from `start` on how many tiles of the grid need each compressed tile."""
        self.counted_from = start
        size = (self.size_px, self.size_px)
        for x0, y0 in zip(self.x0[start:].tolist(), self.y0[start:].tolist(), strict=True):
            source = self.slide.source(x0, y0, self.mpp, size)
            self.slide.check_inside(*source[:5])
            self.sources.append(source)
            self.uses.update(tiles_under(self.page, *source[1:5]))

    def _assemble(self, source: LevelRectangle, tiles: list[int], out: Pixels) -> None:
        size = (self.size_px, self.size_px)
        exact = source[3:] == (*size, (0, 0, *size))
        region = out if exact else np.empty((source.height, source.width, 3), np.uint8)
        for index in tiles:
            paste(self.page, index, self.kept[index], region, source.x, source.y)
        if not exact:
            out[:] = area_resize(region, source.box, size)

    def _forget(self, wanted: list[list[int]]) -> None:
        for tiles in wanted:
            self.uses.subtract(tiles)
        for index in [index for index in self.kept if self.uses[index] <= 0]:
            del self.kept[index]
        limit = max(1, KEPT_BYTES // (self.page.tile_width * self.page.tile_height * 3))
        for index in sorted(self.kept)[: max(0, len(self.kept) - limit)]:
            del self.kept[index]


def stored_as_rgb(page: TiledPage) -> bool:
    """Whether a page's JPEG tiles store RGB and not YCbCr; the tiles' own markers often say nothing."""
    return page.photometric == "RGB" and not page.jfif


def _page_of(size: tuple[int, int], pages: Iterable[TiledPage]) -> TiledPage | None:
    """The one plain JPEG page of a size; None if there is none, or several to choose from."""
    same = [page for page in pages if (page.width, page.height) == size]
    return same[0] if len(same) == 1 and same[0].plain_jpeg else None
