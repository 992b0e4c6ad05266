"""Hollow files: reads that come back blank without an error, where a coarser view shows tissue."""

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.slide import Slide
from pathoprog.slides.tiff_facts import TiledPage
from pathoprog.tiles import TileGrid
from pathoprog.tissue import MIN_CHROMA, RegionMask

MAX_TISSUE = 0.25  # share of tissue under a tile without bytes, from which it was no background to be left out


def check_index(slide: Slide, level: int, tissue: RegionMask) -> None:
    """Refuse a TIFF whose index has no bytes for tiles of a level where the mask shows tissue.

    Vendors may leave background out; such tiles are white.

    Args:
        slide: the open slide.
        level: that tiles will be read from.
        tissue: its mask, from a coarser level.

    Raises:
        SlideError: code ``hollow``.
    """
    facts = slide.levels[level]
    for page in slide.pages:
        if (page.width, page.height) != (facts.width, facts.height) or page.counts.all():
            continue
        width0, height0 = page.tile_width * facts.downsample, page.tile_height * facts.downsample
        columns, rows = np.arange(page.columns) * width0, np.arange(page.rows) * height0
        covered = tissue.coverage(columns[None, :], rows[:, None], width0, height0) > MAX_TISSUE
        n_hollow = int(np.count_nonzero(covered & byteless(page)))
        if n_hollow:
            raise SlideError(
                f"{slide.path}: hollow: {n_hollow} tiles of level {level} hold no data where there is tissue", "hollow"
            )


def byteless(page: TiledPage) -> NDArray[np.bool_]:
    """Which compressed tiles have no bytes: bool [rows, columns]."""
    result: NDArray[np.bool_] = (page.counts == 0).reshape(page.rows, page.columns)
    return result


def in_tissue(tissue: RegionMask, grid: TileGrid) -> NDArray[np.bool_]:
    """Which tiles of a grid tissue covers to at least half: bool [n]."""
    result: NDArray[np.bool_] = tissue.coverage(grid.x0, grid.y0, grid.width0, grid.height0) >= 0.5
    return result


def check_tiles(tiles: NDArray[np.uint8], among_tissue: NDArray[np.bool_], path: str) -> None:
    """Refuse tiles of one single white, grey or black where the mask shows tissue, whatever the format.

    Args:
        tiles: uint8 [n, h, w, 3].
        among_tissue: bool [n], see `in_tissue`.
        path: for the message.

    Raises:
        SlideError: code ``hollow``.
    """
    for i in np.flatnonzero(among_tissue):
        tile = tiles[i]
        blank = np.ptp(tile[0, 0]) < MIN_CHROMA and (tile[::8, ::8] == tile[0, 0]).all()
        if blank and (tile == tile[0, 0]).all():
            raise SlideError(f"{path}: hollow: a tile reads as blank where there is tissue", "hollow")
