"""Grids of tiles: place, coverage, and the choice among too many."""

import numpy as np
import pytest
import shapely

from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.tiles.grid import standard_spec, tile_grid


def facts(width, height, mpp_x=0.25, mpp_y=0.25):
    return SlideFacts("s", "openslide", "x", width, height, (Level(width, height, 1.0),), mpp_x, mpp_y, None, ())


def test_grid_steps_by_the_tile_and_stays_inside():
    spec = standard_spec("10x", 100, min_coverage=0)
    grid = tile_grid(facts(1250, 850), shapely.MultiPolygon([shapely.box(0, 0, 5000, 5000)]), spec)
    assert sorted(set(grid.x0)) == [0, 400, 800]  # 100 px at 1.0 um/px are 400 level-0 px; 1200 would reach beyond
    assert sorted(set(grid.y0)) == [0, 400]
    assert (grid.width0, grid.height0) == (400, 400)
    assert grid.x0.dtype == np.int64
    assert np.array_equal(grid.y0, np.sort(grid.y0))


def test_same_tile_in_um_whatever_the_scan():
    spec = standard_spec("40x", 448)
    whole = shapely.MultiPolygon([shapely.box(0, 0, 9000, 9000)])
    for mpp in (0.2267, 0.25, 0.2525):
        grid = tile_grid(facts(5000, 5000, mpp, mpp * 1.01), whole, spec)
        assert grid.width0 * mpp == pytest.approx(112)
        assert grid.height0 * mpp * 1.01 == pytest.approx(112)


def test_polygon_coverage_is_exact_with_holes():
    outline = shapely.MultiPolygon(
        [shapely.Polygon(shapely.box(0, 0, 600, 400).exterior, [shapely.box(100, 100, 200, 300).exterior])]
    )
    grid = tile_grid(facts(1200, 400), outline, standard_spec("10x", 100, min_coverage=0.1))
    assert list(grid.x0) == [0, 400]
    assert grid.coverage == pytest.approx([1 - 20_000 / 160_000, 0.5])


def test_mask_coverage_counts_parts_of_mask_pixels():
    array = np.zeros((10, 10), bool)
    array[:, :3] = True  # 3 mask px of 150 level-0 px = 450
    grid = tile_grid(
        facts(1500, 1500), RegionMask(array, 150.0, 150.0, 37.5), standard_spec("10x", 100, min_coverage=0.1)
    )
    assert sorted(set(grid.x0)) == [0, 400]
    assert {round(float(value), 4) for value in grid.coverage} == {1.0, 0.125}


def test_min_coverage_and_empty_region():
    half = shapely.MultiPolygon([shapely.box(0, 0, 600, 400)])
    assert len(tile_grid(facts(1200, 400), half, standard_spec("10x", 100, min_coverage=0.5))) == 2
    assert len(tile_grid(facts(1200, 400), half, standard_spec("10x", 100, min_coverage=0.51))) == 1
    assert len(tile_grid(facts(1200, 400), shapely.MultiPolygon(), standard_spec("10x", 100, min_coverage=0))) == 0
    assert len(tile_grid(facts(300, 300), half, standard_spec("10x", 100))) == 0  # smaller than one tile


def test_max_per_slide_is_spread_deterministic_and_recorded():
    whole = shapely.MultiPolygon([shapely.box(0, 0, 8000, 8000)])
    spec = standard_spec("10x", 50, max_per_slide=25)
    grid, again = (tile_grid(facts(8000, 8000), whole, spec) for _ in range(2))
    assert len(grid) == 25
    assert grid.n_candidates == 1600
    assert np.array_equal(grid.x0, again.x0)
    quarters = {(int(x >= 4000), int(y >= 4000)) for x, y in zip(grid.x0, grid.y0, strict=True)}
    counts = np.histogram2d(grid.x0, grid.y0, bins=2, range=[[0, 8000], [0, 8000]])[0]
    assert len(quarters) == 4
    assert counts.min() >= 4
