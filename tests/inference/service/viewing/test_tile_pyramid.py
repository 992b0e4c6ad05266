"""A slide's picture in tiles: known pixels at every level, whole at the edges, and bounded work for each tile."""

import numpy as np
import pytest
from made_slides import texture, write_pyramid

from pathoprog.inference.service.viewing.tile_pyramid import TilePyramid, level_from, read_scaled, source_px
from pathoprog.slides.opening import open_slide
from pathoprog.slides.slide import Level


def levels_of(*sizes):
    return tuple(Level(width, height, sizes[0][0] / width) for width, height in sizes)


def test_levels_are_counted_as_deep_zoom_does():
    one = TilePyramid(1000, 600, 256)
    assert one.max_level == 10 and one.size(10) == (1000, 600) and one.size(9) == (500, 300)
    assert one.size(0) == (1, 1) and one.downsample(8) == 4
    assert one.tiles(10) == (4, 3) and one.tile_size(10, 3, 2) == (1000 - 768, 600 - 512)
    assert one.has(10, 3, 2) and not one.has(10, 4, 0) and not one.has(11, 0, 0) and not one.has(10, 0, -1)
    assert TilePyramid(1024, 5, 256).max_level == 10 and TilePyramid(1025, 5, 256).max_level == 11
    assert TilePyramid(1, 1, 256).max_level == 0


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Lossless, of odd sizes at every level."""
    path = tmp_path_factory.mktemp("pyramid") / "odd.tif"
    write_pyramid(path, texture(1021, 607, seed=3), compression=None, levels=3, tile=128)
    with open_slide(path) as found:
        yield found


def test_the_finest_tiles_are_the_slides_own_pixels(slide):
    pyramid = TilePyramid(slide.width, slide.height, 128)
    for column, row in ((0, 0), (3, 2), (7, 4)):
        size = pyramid.tile_size(pyramid.max_level, column, row)
        own = slide.read_region(column * 128, row * 128, 0, size)
        assert np.array_equal(pyramid.read(slide, pyramid.max_level, column, row), own)


def test_each_level_below_is_the_mean_of_the_one_above(slide):
    """Wherever it comes from in the file: within the rounding of the file's own levels."""
    whole = slide.read_region(0, 0, 0, (slide.width, slide.height)).astype(np.float64)
    pyramid = TilePyramid(slide.width, slide.height, 128)
    for level in (9, 8, 7):
        step = pyramid.downsample(level)
        tile = pyramid.read(slide, level, 0, 0).astype(np.float64)
        h, w = min(tile.shape[0], slide.height // step), min(tile.shape[1], slide.width // step)
        mean = whole[: h * step, : w * step].reshape(h, step, w, step, 3).mean(axis=(1, 3))
        assert np.abs(tile[:h, :w] - mean).max() <= 1.5, level


def test_every_tile_of_every_level_can_be_read(slide):
    pyramid = TilePyramid(slide.width, slide.height, 64)
    for level in range(pyramid.max_level + 1):
        columns, rows = pyramid.tiles(level)
        for column, row in {(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)}:
            width, height = pyramid.tile_size(level, column, row)
            assert pyramid.read(slide, level, column, row).shape == (height, width, 3)


def test_a_region_of_any_scale_is_the_mean_of_its_pixels(slide):
    whole = slide.read_region(0, 0, 0, (slide.width, slide.height)).astype(np.float64)
    found = read_scaled(slide, 30, 60, 3, (20, 10))
    mean = whole[60:90, 30:90].reshape(10, 3, 20, 3, 3).mean(axis=(1, 3))
    assert np.abs(found - mean).max() <= 1.5


def test_work_is_bounded_where_a_file_lacks_coarse_levels():
    pyramid = TilePyramid(100_000, 80_000, 256)
    whole = levels_of((100_000, 80_000), (25_000, 20_000), (6_250, 5_000), (1_562, 1_250))
    assert pyramid.least_level(whole, 16e6) == 0
    single = levels_of((100_000, 80_000))
    least = pyramid.least_level(single, 16e6)
    step = pyramid.downsample(least)
    assert (256 * step) ** 2 <= 16e6 < (512 * step) ** 2
    assert source_px(whole, 100_000, 80_000, 64) == pytest.approx(1_562 * 1_250, rel=0.01)


def test_a_tile_comes_from_the_nearest_finer_level():
    levels = levels_of((4096, 4096), (1024, 1024), (256, 256))
    assert [level_from(levels, step) for step in (1, 2, 4, 8, 16, 64)] == [0, 0, 1, 1, 2, 2]
