"""Outlines as masks: parts, holes, and islands in holes, in whatever order they come."""

import itertools

import numpy as np
import pytest
import shapely

from pathoprog.regions.outline_mask import outline_mask

RING = shapely.box(10, 10, 90, 70).difference(shapely.box(20, 20, 80, 60))
ISLAND = shapely.box(30, 30, 70, 50).difference(shapely.box(40, 35, 60, 45))
INNERMOST = shapely.box(45, 38, 55, 42)


@pytest.mark.parametrize("order", list(itertools.permutations([RING, ISLAND, INNERMOST])))
@pytest.mark.parametrize("with_line", [True, False])
def test_islands_in_holes_are_kept_in_any_order(order: tuple[shapely.Polygon, ...], with_line: bool):
    mask = outline_mask(shapely.MultiPolygon(order), (80, 100), with_line)
    y, x = np.mgrid[:80, :100] + 0.5
    true = shapely.contains_xy(shapely.union_all(order), x, y)
    near = shapely.distance(shapely.union_all(order).boundary, shapely.points(x, y)) < 1
    assert np.array_equal(mask[~near], true[~near])
    assert mask[40, 50] and not mask[37, 42] and mask[32, 32] and not mask[25, 25] and mask[15, 15]


def test_areas_come_out_true_without_the_line():
    disc = shapely.Point(50, 40).buffer(30)
    without, with_line = (outline_mask(shapely.MultiPolygon([disc]), (80, 100), line).sum() for line in (False, True))
    assert abs(without / disc.area - 1) < 0.02 < with_line / disc.area - 1


def test_nothing_gives_nothing():
    assert not outline_mask(shapely.MultiPolygon(), (4, 5), True).any()
