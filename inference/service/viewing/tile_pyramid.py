"""The levels and tiles in which a slide is shown, as Deep Zoom counts them, and how a tile is read. No torch.

Level `max_level` has one pixel for each level-0 pixel of the slide; each level below has half as many in x and y,
rounded up. The frame of x0, y0 is level-0 pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathoprog.slides.pixels.resample import area_resize
from pathoprog.slides.slide import LEVEL_TOLERANCE, Level, Slide

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TilePyramid:
    """The picture's geometry.

    Attributes:
        width: of the slide, level-0 px.
        height: of the slide, level-0 px.
        tile_px: side of a tile; those at the right and lower edge are smaller.
    """

    width: int
    height: int
    tile_px: int

    @property
    def max_level(self) -> int:
        """The level of the slide's own pixels; level 0 is one pixel."""
        return (max(self.width, self.height) - 1).bit_length()

    def downsample(self, level: int) -> int:
        """Level-0 px per px of a level."""
        return 1 << (self.max_level - level)

    def size(self, level: int) -> tuple[int, int]:
        """Width and height of a level in its px."""
        step = self.downsample(level)
        return -(-self.width // step), -(-self.height // step)

    def tiles(self, level: int) -> tuple[int, int]:
        """Columns and rows of tiles of a level."""
        width, height = self.size(level)
        return -(-width // self.tile_px), -(-height // self.tile_px)

    def has(self, level: int, column: int, row: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level <= self.max_level:
            return False
        columns, rows = self.tiles(level)
        return 0 <= column < columns and 0 <= row < rows

    def tile_size(self, level: int, column: int, row: int) -> tuple[int, int]:
        """Width and height of a tile in its px."""
        width, height = self.size(level)
        return min(self.tile_px, width - column * self.tile_px), min(self.tile_px, height - row * self.tile_px)

    def read(self, slide: Slide, level: int, column: int, row: int) -> Pixels:
        """One tile: uint8 [h, w, 3].

        Raises:
            SlideError: see `Slide.read_region`.
        """
        step = self.downsample(level)
        x0, y0 = column * self.tile_px * step, row * self.tile_px * step
        return read_scaled(slide, x0, y0, step, self.tile_size(level, column, row))

    def least_level(self, levels: tuple[Level, ...], most_px: float) -> int:
        """The coarsest level whose tiles are each made of at most so many pixels of the file.

        Args:
            levels: of the file.
            most_px: pixels of the file's level that a tile is read from.
        """
        found = self.max_level
        while found > 0:
            side = self.tile_px * self.downsample(found - 1)
            if source_px(levels, side, side, self.downsample(found - 1)) > most_px:
                break
            found -= 1
        return found


def level_from(levels: tuple[Level, ...], downsample: float) -> int:
    """Index of the coarsest level at or finer than a downsample (2% tolerance), 0 where none is."""
    fitting = [i for i, level in enumerate(levels) if level.downsample <= downsample * LEVEL_TOLERANCE]
    return max(fitting, key=lambda i: levels[i].downsample, default=0)


def source_px(levels: tuple[Level, ...], width0: float, height0: float, downsample: float) -> float:
    """Pixels of the file that a rectangle of so many level-0 px is read from at a downsample."""
    level = levels[level_from(levels, downsample)]
    return min(width0 / level.downsample, level.width) * min(height0 / level.downsample, level.height)


def read_scaled(slide: Slide, x0: float, y0: float, downsample: float, size: tuple[int, int]) -> Pixels:
    """A rectangle with one pixel for `downsample` level-0 px in x and y, whatever um/px they have, by area averaging.

    Args:
        slide: open.
        x0: left edge, level-0 px, inside the slide.
        y0: top edge.
        downsample: level-0 px per px of the result.
        size: (width, height) of the result; where it reaches beyond the slide the edge is repeated.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        SlideError: see `Slide.read_region`.
    """
    index = level_from(slide.levels, downsample)
    level = slide.levels[index]
    step = downsample / level.downsample
    left, top = x0 / level.downsample, y0 / level.downsample
    right, bottom = left + size[0] * step, top + size[1] * step
    x, y = min(math.floor(left + 1e-6), level.width - 1), min(math.floor(top + 1e-6), level.height - 1)
    x_end = max(x + 1, min(math.ceil(right - 1e-6), level.width))
    y_end = max(y + 1, min(math.ceil(bottom - 1e-6), level.height))
    corner = round(x * level.downsample), round(y * level.downsample)
    image = slide.read_region(*corner, index, (x_end - x, y_end - y))
    return area_resize(image, (left - x, top - y, right - x, bottom - y), size)
