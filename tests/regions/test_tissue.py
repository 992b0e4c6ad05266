"""The tissue mask on made and real slides."""

import numpy as np
import pytest
from made_slides import GLASS, texture, write_pyramid
from shared_data import shared_data

from pathoprog.regions.tissue import otsu, stained, tissue_mask
from pathoprog.slides import open_slide


def test_tissue_with_margin_is_found_at_its_place(tmp_path):
    path = write_pyramid(tmp_path / "s.tif", texture(2000, 1500, margin=250), mpp=1.0)
    with open_slide(path) as slide:
        mask = tissue_mask(slide)
    assert mask.area_um2 == pytest.approx(1500 * 1000, rel=0.03)
    y, x = np.nonzero(mask.array)
    assert np.array([x.min(), x.max() + 1]) * mask.downsample == pytest.approx([250, 1750], abs=2 * mask.downsample)
    assert np.array([y.min(), y.max() + 1]) * mask.downsample_y == pytest.approx([250, 1250], abs=2 * mask.downsample)


def test_blank_grey_and_black_are_no_tissue():
    for colour in (GLASS, (128, 128, 128), (0, 0, 0), (250, 248, 244)):
        noise = np.random.default_rng(0).normal(0, 2, (80, 80, 3))
        assert not stained(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8), 8.0).any()


def test_slide_full_of_tissue_is_all_tissue():
    assert stained(texture(100, 100), 8.0).all()


def test_specks_go_and_holes_close():
    view = np.full((100, 100, 3), GLASS, np.uint8)
    view[20:80, 20:80] = (200, 120, 170)
    view[50:54, 50:54] = GLASS
    view[5:8, 5:8] = (200, 120, 170)
    mask = stained(view, 8.0)
    assert mask[21:79, 21:79].all()
    assert not mask[:15, :15].any()


def test_otsu_by_hand():
    values = np.array([0] * 10 + [100] * 10, np.float32)
    assert 0 < otsu(values) <= 100


def test_real_slide():
    with open_slide(shared_data("wsi/aperio_CMU-1-Small-Region.svs")) as slide:
        mask = tissue_mask(slide)
    assert 0.3 < mask.array.mean() < 0.6
    assert not mask.array[:, :8].any()
