"""Hollow files: what reads as blank without an error, where another view of the same place shows tissue.

Scanners may leave empty glass out of a file, and may clip it to plain white, lumens inside tissue too. What tells a
lost tile from such a place: another level shows stain there, or stain ends at the tile's edges all around.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pathoprog.errors import SlideError
from pathoprog.regions.tissue import MASK_MPP, MIN_CHROMA, RegionMask
from pathoprog.slides.dicom.sparse import SparseLevel
from pathoprog.slides.not_a_slide import COPY
from pathoprog.slides.pixels.resample import area_resize
from pathoprog.slides.slide import BLOCK_PX, Slide
from pathoprog.slides.tiff.facts import TiledPage
from pathoprog.tiles.grid import TileGrid

MAX_TISSUE = 0.25  # share of stain under a tile without data, from which it was no background to be left out
MAX_TORN = 0.5  # share of stain along the edges of tiles without data, from which tissue was cut off there
EDGE_UM = 16.0  # width of the strips that are looked at along such edges
MAX_EDGES = 24  # of one group of tiles without data
MANY = 64  # hollow tiles, at which counting ends
LIGHT = 200  # of 255: glass is lighter


def check_levels(slide: Slide, tissue: RegionMask) -> None:
    """Refuse a slide whose file has no data for tiles of any level where there is tissue; see `check_index`."""
    for level in range(len(slide.levels)):
        check_index(slide, level, tissue)


def check_index(slide: Slide, level: int, tissue: RegionMask) -> None:
    """Refuse a TIFF whose directory has no bytes, or a DICOM level that has no frames, where there is tissue.

    Vendors may leave background out; such tiles are white.

    Args:
        slide: the open slide.
        level: to be looked at.
        tissue: its mask; where it was found in this very level or has nothing to see, other levels are asked.

    Raises:
        SlideError: code ``hollow``.
    """
    page = _page(slide, level)
    if page is None or page.counts.all():
        return
    absent = byteless(page)
    downsample = slide.levels[level].downsample
    width0, height0 = page.tile_width * downsample, page.tile_height * downsample
    x0, y0 = np.arange(page.columns) * width0, np.arange(page.rows) * height0
    grid = (x0[None, :], y0[:, None], width0, height0)
    covered = tissue.coverage(*grid) > MAX_TISSUE
    there = {i: _has_bytes(slide, i, *grid) for i in range(len(slide.levels)) if i != level}
    known = np.any(list(there.values()), axis=0) if there else np.zeros_like(absent)
    blind = ~there.get(slide.level_for(tissue.mpp), np.zeros_like(absent))  # the mask knows nothing better there
    n_hollow = 0
    for row, column in np.argwhere(absent & known & (covered | blind)):
        others = [i for i in _nearest(list(there), level) if there[i][row, column]]
        place = (float(x0[column]), float(y0[row]), width0, height0)
        n_hollow += any(_stain_share(slide, i, *place) > MAX_TISSUE for i in others)
        if n_hollow == MANY:
            break
    n_hollow = n_hollow or _torn(slide, level, page, absent, absent & (covered | ~known))
    if n_hollow:
        number = f"{n_hollow} or more" if n_hollow == MANY else n_hollow
        raise SlideError(
            f"{slide.path}: hollow: {number} tiles of level {level} hold no data where there is tissue; {COPY}",
            "hollow",
        )


def byteless(page: TiledPage | SparseLevel) -> NDArray[np.bool_]:
    """Which compressed tiles have no bytes, in any plane: bool [rows, columns]."""
    result: NDArray[np.bool_] = (page.counts == 0).reshape(-1, page.rows, page.columns).any(axis=0)
    return result


def in_tissue(tissue: RegionMask, grid: TileGrid) -> NDArray[np.bool_]:
    """Which tiles of a grid tissue covers to at least half, small holes counted in: bool [n]."""
    result: NDArray[np.bool_] = tissue.coverage(grid.x0, grid.y0, grid.width0, grid.height0) >= 0.5
    return result


def check_tiles(
    tiles: NDArray[np.uint8],
    among_tissue: NDArray[np.bool_],
    path: str,
    shown: Callable[[int], bool] = lambda _: True,
) -> None:
    """Refuse tiles of one single white, grey or black where there is tissue, whatever the format.

    Args:
        tiles: uint8 [n, h, w, 3].
        among_tissue: bool [n], see `in_tissue`.
        path: for the message.
        shown: whether another level shows stain where tile i lies (`shown_elsewhere`); asked of light tiles only: the
            mask fills lumens, and a scanner may clip them to white.

    Raises:
        SlideError: code ``hollow``.
    """
    for i in np.flatnonzero(among_tissue):
        tile = tiles[i]
        blank = np.ptp(tile[0, 0]) < MIN_CHROMA and (tile[::8, ::8] == tile[0, 0]).all()
        if blank and (tile == tile[0, 0]).all() and (tile[0, 0].min() < LIGHT or shown(int(i))):
            raise SlideError(f"{path}: hollow: a tile reads as blank where there is tissue; {COPY}", "hollow")


def shown_elsewhere(slide: Slide, level: int, x0: float, y0: float, width0: float, height0: float) -> bool:
    """Whether a level other than the given one shows stain in a rectangle, level-0 px."""
    place = (np.array([[x0]]), np.array([[y0]]), width0, height0)
    others = [i for i in range(len(slide.levels)) if i != level and _has_bytes(slide, i, *place).any()]
    return any(_stain_share(slide, i, x0, y0, width0, height0) > MAX_TISSUE for i in _nearest(others, level))


def _nearest(levels: list[int], level: int) -> list[int]:
    """Levels in the order in which they are asked: finer ones cost more, so coarser ones come first."""
    return sorted(levels, key=lambda i: (i < level, abs(i - level)))


def _page(slide: Slide, level: int) -> TiledPage | SparseLevel | None:
    """The file's page behind a level; None where there is none of its size, or several."""
    size = (slide.levels[level].width, slide.levels[level].height)
    pages = [page for page in slide.pages if (page.width, page.height) == size]
    return pages[0] if len(pages) == 1 else None


def _in_level(
    slide: Slide, level: int, x0: float, y0: float, width0: float, height0: float
) -> tuple[int, int, int, int]:
    """A rectangle in level-0 px as x, y, width, height in a level's pixels, inside it and at least a pixel."""
    facts = slide.levels[level]
    x = min(max(0, round(x0 / facts.downsample)), facts.width - 1)
    y = min(max(0, round(y0 / facts.downsample)), facts.height - 1)
    width = min(max(1, round(width0 / facts.downsample)), facts.width - x)
    height = min(max(1, round(height0 / facts.downsample)), facts.height - y)
    return x, y, width, height


def _has_bytes(
    slide: Slide, level: int, x0: NDArray[Any], y0: NDArray[Any], width0: float, height0: float
) -> NDArray[np.bool_]:
    """Whether a level has data anywhere in rectangles (level-0 px), as far as the directory tells: their shape."""
    page = _page(slide, level)
    if page is None or page.counts.all():
        return np.ones(np.broadcast_shapes(x0.shape, y0.shape), bool)
    downsample = slide.levels[level].downsample
    present = RegionMask(~byteless(page), page.tile_width * downsample, page.tile_height * downsample, 1.0)
    result: NDArray[np.bool_] = present.coverage(x0, y0, width0, height0) > 1e-9
    return result


def _stain_share(slide: Slide, level: int, x0: float, y0: float, width0: float, height0: float) -> float:
    """Share of a rectangle (level-0 px) that is stained as a level shows it, at the mask's um/px, read in blocks."""
    left, top, width, height = _in_level(slide, level, x0, y0, width0, height0)
    downsample = slide.levels[level].downsample
    shrink = max(1.0, MASK_MPP / (slide.mpp * downsample))
    stained = 0.0
    for y in range(top, top + height, BLOCK_PX):
        for x in range(left, left + width, BLOCK_PX):
            size = (min(BLOCK_PX, left + width - x), min(BLOCK_PX, top + height - y))
            image = slide.read_region(round(x * downsample), round(y * downsample), level, size)
            small = (max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink)))
            view = area_resize(image, (0, 0, *size), small).astype(np.int16)
            stained += float(np.mean(view.max(axis=2) - view.min(axis=2) > MIN_CHROMA)) * size[0] * size[1]
    return stained / (width * height)


def _torn(
    slide: Slide, level: int, page: TiledPage | SparseLevel, absent: NDArray[np.bool_], suspect: NDArray[np.bool_]
) -> int:
    """How many of the suspect tiles lie in holes whose edges cut through stain.

    Suspect are those inside tissue, and those that no other level knows: OpenSlide draws an Aperio's lower levels from
    the level above them where that one has holes. A hole lies inside the image: tissue may end where the area ends
    that somebody chose for scanning.
    """
    if not suspect.any():
        return 0
    downsample = slide.levels[level].downsample
    depth = max(2.0, EDGE_UM / slide.mpp)
    width0, height0 = page.tile_width * downsample, page.tile_height * downsample
    groups, _ = ndimage.label(absent)
    places = np.argwhere(absent)
    names = groups[absent]
    order = np.argsort(names, kind="stable")
    total = 0
    for group in np.split(places[order], np.flatnonzero(np.diff(names[order])) + 1):
        at_border = (group.min(axis=0) == 0).any() or (group.max(axis=0) == np.array(absent.shape) - 1).any()
        if at_border or not suspect[tuple(group.T)].any():
            continue
        strips = []
        for row, column in group.tolist():
            x, y = column * width0, row * height0
            for below, right, strip in (
                (-1, 0, (x, y - depth, width0, depth)),
                (1, 0, (x, y + height0, width0, depth)),
                (0, -1, (x - depth, y, depth, height0)),
                (0, 1, (x + width0, y, depth, height0)),
            ):
                beside = (row + below, column + right)
                if 0 <= beside[0] < page.rows and 0 <= beside[1] < page.columns and not absent[beside]:
                    strips.append(strip)
        chosen = [strips[i] for i in np.linspace(0, len(strips) - 1, min(len(strips), MAX_EDGES)).astype(int)]
        if chosen and np.mean([_stain_share(slide, level, *strip) for strip in chosen]) > MAX_TORN:
            total += int(np.count_nonzero(suspect[tuple(group.T)]))
    return min(total, MANY)
