"""The tile map: colours lie where the tiles are, the area's edge where the area ends."""

import numpy as np
import pytest
import shapely

from pathoprog.regions.tissue import RegionMask
from pathoprog.slide_report.heatmap import AREA_COLOUR, COLOURS, OPACITY, Layer, draw_heatmap

LEFT, TOP = 12, 44  # where the first panel begins on the page


def layer(values, x0=(0, 400), y0=(0, 400), side=400.0):
    return Layer("10x tile score", np.array(x0), np.array(y0), side, side, np.array(values, np.float32))


@pytest.fixture
def thumbnail():
    return np.full((200, 200, 3), 240, np.uint8)  # 4 level-0 px per px: an 800 x 800 slide


NO_AREA = RegionMask(np.zeros((10, 10), bool), 80.0, 80.0, 8.0)


def blended(level, background=240):
    return (OPACITY * COLOURS[level].astype(float) + (1 - OPACITY) * background).astype(np.uint8)


def test_a_tile_is_coloured_by_its_score_and_nothing_else_is(thumbnail):
    page = np.asarray(draw_heatmap(thumbnail, 4.0, NO_AREA, [layer([0.0, 1.0])], "S1"))
    panel = page[TOP : TOP + 200, LEFT : LEFT + 200]
    assert np.array_equal(panel[50, 50], blended(0))
    assert np.array_equal(panel[150, 150], blended(255))
    assert np.array_equal(panel[50, 150], (240, 240, 240))
    assert np.array_equal(panel[99, 99], blended(0)) and np.array_equal(panel[100, 100], blended(255))


def test_a_large_thumbnail_is_shrunk_and_the_tiles_with_it():
    big = np.full((1280, 1280, 3), 240, np.uint8)
    page = np.asarray(draw_heatmap(big, 1.0, NO_AREA, [layer([0.0, 1.0], (0, 640), (0, 640), 640.0)], "S1"))
    panel = page[TOP : TOP + 640, LEFT : LEFT + 640]
    assert np.array_equal(panel[300, 300], blended(0)) and np.array_equal(panel[400, 400], blended(255))
    assert np.array_equal(panel[400, 300], (240, 240, 240))


def test_panels_stand_side_by_side(thumbnail):
    two = np.asarray(draw_heatmap(thumbnail, 4.0, NO_AREA, [layer([0, 0]), layer([1, 1])], "S1"))
    assert np.array_equal(two[TOP + 50, LEFT + 50], blended(0))
    assert np.array_equal(two[TOP + 50, LEFT + 212 + 50], blended(255))


def test_the_edge_of_a_mask_is_drawn_where_the_mask_ends(thumbnail):
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:8] = True  # level-0 px 240..640 x 160..400, thumbnail px 60..160 x 40..100
    page = np.asarray(draw_heatmap(thumbnail, 4.0, RegionMask(mask, 80.0, 80.0, 8.0), [], "S1"))
    dark = (page[TOP : TOP + 200, LEFT : LEFT + 200] == AREA_COLOUR).all(axis=2)
    rows, columns = np.nonzero(dark)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 99, 60, 159)
    assert not dark[60, 100], "only the edge"


def test_the_edge_of_an_outline_is_drawn_in_level_0_px(thumbnail):
    square = shapely.MultiPolygon([shapely.box(200, 200, 600, 600)])
    page = np.asarray(draw_heatmap(thumbnail, 4.0, square, [], "S1"))
    dark = (page[TOP : TOP + 200, LEFT : LEFT + 200] == AREA_COLOUR).all(axis=2)
    rows, columns = np.nonzero(dark)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 150, 50, 150)
    assert not dark[100, 100]


def test_tiles_smaller_than_a_pixel_still_show(thumbnail):
    page = np.asarray(draw_heatmap(thumbnail, 4.0, NO_AREA, [layer([1.0], (401,), (401,), 1.0)], "S1"))
    assert np.array_equal(page[TOP + 100, LEFT + 100], blended(255))
