"""Windows, the map they are joined to, and its outline: known places, areas and Dice."""

import numpy as np
import pytest
import shapely
from made_slides import texture, write_pyramid

from pathoprog.errors import ConfigError
from pathoprog.regions.annotations import polygons
from pathoprog.regions.overview import check_outline_settings, lay_windows, read_window
from pathoprog.regions.tissue import RegionMask
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.regions.tumour_map import TumourMap, area_um2, dice, outline_of
from pathoprog.slides import open_slide
from pathoprog.slides.slide import Level, SlideFacts


def facts(width=4000, height=3000, mpp_x=0.25, mpp_y=0.25):
    return SlideFacts("x", "made", "made", width, height, (Level(width, height, 1.0),), mpp_x, mpp_y, 40.0, ())


def tissue(found, share=(0.0, 1.0)):
    """Tissue in a vertical band of the slide, from one share of its width to another."""
    array = np.zeros((100, 100), bool)
    array[:, int(100 * share[0]) : int(100 * share[1])] = True
    return RegionMask(array, found.width / 100, found.height / 100, 8.0)


def disc(found, centre_um, radius_um, mpp=8.0):
    """A map with a soft-edged disc, and its value at each place."""
    h, w = round(found.height * found.mpp_y / mpp), round(found.width * found.mpp_x / mpp)
    y, x = (np.mgrid[:h, :w] + 0.5) * mpp
    return np.clip(0.5 + (radius_um - np.hypot(x - centre_um[0], y - centre_um[1])) / 50, 0, 1).astype(np.float32)


def test_windows_cover_every_place_with_tissue_and_no_other():
    found = facts()  # 1000 x 750 um: a canvas of 250 x 188 px
    settings = OutlineSettings(window_px=64, overlap_px=16)
    windows = lay_windows(found, tissue(found), settings)
    assert (windows.width, windows.height) == (250, 188)
    covered = np.zeros((188, 250), bool)
    for x, y in zip(windows.x, windows.y, strict=True):
        assert x % 2 == y % 2 == 0 and x + 64 <= 250 and y + 64 <= 188
        covered[y : y + 64, x : x + 64] = True
    assert covered.all()
    left = lay_windows(found, tissue(found, (0.0, 0.2)), settings)
    assert 0 < len(left) < len(windows) and (left.x < 50).all()


def test_a_slide_smaller_than_a_window_is_one_window_with_glass_around(tmp_path):
    path = write_pyramid(tmp_path / "small.tif", texture(800, 600), levels=2)  # 200 x 150 um: 50 x 37 px
    with open_slide(str(path)) as slide:
        windows = lay_windows(slide.facts, tissue(slide.facts), OutlineSettings(window_px=64, overlap_px=16))
        pixels = np.zeros((64, 64, 3), np.uint8)
        read_window(slide, windows, 0, pixels)
        assert len(windows) == 1 and (windows.width, windows.height) == (64, 64)
        assert np.array_equal(pixels[:37, :50], slide.overview(4.0))
        assert (pixels[37:] == 255).all() and (pixels[:, 50:] == 255).all()


def test_windows_joined_equal_the_whole():
    found = facts()
    settings = OutlineSettings(window_px=64, overlap_px=16)
    windows = lay_windows(found, tissue(found), settings)
    rng = np.random.default_rng(1)
    whole = rng.random((windows.height, windows.width), np.float32)
    joined = TumourMap(windows, settings.overlap_px)
    cut = np.stack([whole[y : y + 64, x : x + 64] for x, y in zip(windows.x, windows.y, strict=True)])
    for start in range(0, len(cut), 3):
        joined.add(start, cut[start : start + 3])
    halved = whole.reshape(windows.height // 2, 2, windows.width // 2, 2).mean(axis=(1, 3))
    assert joined.probabilities() == pytest.approx(halved, abs=1e-5)


def test_windows_that_disagree_fade_into_each_other():
    found = facts(width=1536, height=1024)  # 384 um: 96 px, two windows of 64
    settings = OutlineSettings(window_px=64, overlap_px=32)
    windows = lay_windows(found, tissue(found), settings)
    assert windows.x.tolist() == [0, 32] and windows.y.tolist() == [0, 0]
    joined = TumourMap(windows, settings.overlap_px)
    joined.add(0, np.stack([np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)]))
    line = joined.probabilities()[16]
    assert line[:16] == pytest.approx(0) and line[32:] == pytest.approx(1)
    steps = np.diff(line)
    assert (steps >= 0).all() and steps.max() < 0.12


def test_an_outline_lies_where_the_tumour_is_also_where_um_per_px_differ():
    found = facts(mpp_x=0.25, mpp_y=0.2549)
    outline = outline_of(disc(found, (400, 300), 200), 8.0, found, OutlineSettings())
    assert len(outline.geoms) == 1
    assert outline.centroid.x == pytest.approx(400 / 0.25, abs=5)
    assert outline.centroid.y == pytest.approx(300 / 0.2549, abs=5)
    assert area_um2(outline, found) == pytest.approx(np.pi * 200**2, rel=0.01)
    assert shapely.get_num_coordinates(outline) < 80, "simplified"


def test_holes_stay_and_small_parts_and_holes_go():
    found = facts()
    around = disc(found, (500, 375), 300)
    hole = disc(found, (500, 375), 100)
    speck = disc(found, (40, 40), 30)
    pinhole = disc(found, (500, 175), 30)
    outline = outline_of(
        np.maximum(np.minimum(around, 1 - np.maximum(hole, pinhole)), speck), 8.0, found, OutlineSettings()
    )
    assert len(outline.geoms) == 1 and len(outline.geoms[0].interiors) == 1
    assert area_um2(outline, found) == pytest.approx(np.pi * (300**2 - 100**2), rel=0.01)
    island = outline_of(np.maximum(np.minimum(around, 1 - hole), disc(found, (500, 375), 80)), 8.0, found,
                        OutlineSettings(min_area_um2=5000))  # fmt: skip
    assert len(island.geoms) == 2, "an island in a hole is a part of its own"


def test_nothing_gives_an_empty_outline_and_all_gives_the_slide():
    found = facts()
    empty = outline_of(np.zeros((94, 125), np.float32), 8.0, found, OutlineSettings())
    assert empty.is_empty and area_um2(empty, found) == 0
    full = outline_of(np.ones((94, 125), np.float32), 8.0, found, OutlineSettings())
    assert dice(full, polygons(shapely.box(0, 0, 4000, 3000))) > 0.99
    assert full.bounds[2] <= 4000 and full.bounds[3] <= 3000


def test_dice_by_hand():
    square = polygons(shapely.box(0, 0, 2, 2))
    assert dice(square, polygons(shapely.box(1, 0, 3, 2))) == pytest.approx(0.5)  # common 2 of 4 + 4
    assert dice(square, square) == 1 and dice(square, polygons(shapely.box(5, 5, 6, 6))) == 0
    nothing = shapely.MultiPolygon()
    assert dice(nothing, nothing) == 1 and dice(square, nothing) == 0


@pytest.mark.parametrize(("key", "value"), [("window_px", 100), ("overlap_px", 15), ("overlap_px", 200)])
def test_impossible_windows_are_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        check_outline_settings(OutlineSettings(**{key: value}))
