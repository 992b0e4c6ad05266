"""What is measured of a slide: known pictures, made-up slides spoilt in known ways, and real files."""

import itertools
import math

import numpy as np
import pytest
from made_spoilt import GOOD, looked_at, made_good, spoilt
from PIL import Image
from scipy import ndimage
from shared_data import shared_data

from pathoprog.quality import look as quality_look
from pathoprog.quality.look import colour, density, look_at, look_from, sharpness, view_measures
from pathoprog.regions.tissue import stained, tissue_and_view
from pathoprog.slides import open_slide


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_good(tmp_path_factory.mktemp("spoilt"))


def picture(relative, mpp, wanted_mpp=8.0):
    """A real picture as a coarse view, with its tissue and um/px; all of it is analysed."""
    image = Image.open(shared_data(f"tiles/histolab/{relative}")).convert("RGB")
    factor = max(1, round(wanted_mpp / mpp))
    view = np.asarray(image.reduce(factor))
    return view, stained(view, mpp * factor), mpp * factor


def measured(relative, mpp):
    view, tissue, mpp = picture(relative, mpp)
    return view_measures(view, tissue, np.ones_like(tissue), mpp)[2]


def test_sharpness_falls_by_the_blur_and_not_by_contrast_or_stain():
    rng = np.random.default_rng(0)
    detail = ndimage.gaussian_filter(rng.normal(0, 1, (256, 256)), 0.6)

    def field(contrast, sigma):
        grey = 150 + contrast * ndimage.gaussian_filter(detail, sigma) / detail.std()
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)

    sharp = sharpness(field(30, 0))
    assert sharpness(field(15, 0)) == pytest.approx(sharp, abs=0.02)
    steps = [sharp, *(sharpness(field(40, sigma)) for sigma in (1.0, 2.0, 3.0))]
    assert all(before - after > 0.15 for before, after in itertools.pairwise(steps))
    assert math.isnan(sharpness(np.full((128, 128, 3), 200, np.uint8))), "nothing to see is not blurred"


def test_colour_is_the_density_of_the_stained_pixels():
    field = np.full((1, 40, 40, 3), 255, np.uint8)
    field[:, :20] = (63, 15, 127)
    assert density(np.array([255, 0], np.uint8)) == pytest.approx([0, -math.log10(1 / 256)])
    red, green, blue, spread = colour(field)
    assert (red, green, blue) == pytest.approx([-math.log10((value + 1) / 256) for value in (63, 15, 127)], rel=1e-5)
    assert spread == pytest.approx(0, abs=1e-5)
    assert colour(np.full((1, 40, 40, 3), 250, np.uint8)) == ()


def test_a_good_slide_shows_nothing(folder):
    look = looked_at(folder, GOOD)
    shares = (look.empty_share, look.pen_share, look.pen_elsewhere_mm2, look.fold_share, look.bubble_share)
    assert max(shares) < 0.01
    assert look.glass > 230 and look.green_share > 0.95 and 0.8 < look.other_dye < 1.3
    assert len(look.sharpness) == 6 and look.median_sharpness > -0.8


def test_each_spoilt_slide_shows_its_own_damage(folder):
    assert spoilt(folder, "blurred").median_sharpness < -1.3
    assert spoilt(folder, "folded").fold_share > 0.1
    assert spoilt(folder, "bubbles").bubble_share > 0.1
    pen = spoilt(folder, "pen")
    assert pen.pen_share + pen.fold_share > 0.2 and pen.pen_elsewhere_mm2 > 0
    assert spoilt(folder, "ihc").other_dye > 1.5
    assert spoilt(folder, "blank").empty_share == 1
    assert spoilt(folder, "fluorescence").glass < 60
    assert spoilt(folder, "grey").other_dye == pytest.approx(2, abs=0.01)


def test_where_the_analysed_area_is_decides_what_harms_it(folder):
    """Ink beside the tumour is no reason against it."""
    view = np.full((80, 80, 3), 245, np.uint8)
    view[20:60, 20:60] = (200, 120, 180)
    view[:12] = (20, 60, 170)  # blue ink at the edge
    tissue = np.zeros((80, 80), bool)
    tissue[20:60, 20:60] = True
    _, elsewhere, shares = view_measures(view, tissue, tissue, 8.0)
    assert shares["pen_share"] == 0 and elsewhere == pytest.approx(12 * 80 * 64e-6, rel=0.01)
    _, elsewhere, shares = view_measures(view, tissue, ~tissue, 8.0)
    assert elsewhere == 0 and shares["pen_share"] == pytest.approx(12 * 80 / (6400 - 1600), rel=0.01)


def test_a_large_view_is_measured_in_bounded_memory(monkeypatch):
    view = np.full((400, 300, 3), 245, np.uint8)
    view[100:300, 50:250] = (200, 120, 180)
    view[100:200, 50:250] = (20, 60, 170)
    tissue = np.zeros((400, 300), bool)
    tissue[100:300, 50:250] = True
    whole = view_measures(view, tissue, tissue, 8.0)
    sizes = []
    plain = quality_look.density
    monkeypatch.setattr(quality_look, "density", lambda pixels: sizes.append(pixels.size) or plain(pixels))
    monkeypatch.setattr(quality_look, "MAX_VIEW_PX", 10_000)
    small = view_measures(view, tissue, tissue, 8.0)
    assert max(sizes) <= 3 * 10_000
    assert small[2]["pen_share"] == pytest.approx(whole[2]["pen_share"], abs=0.03) == pytest.approx(0.5, abs=0.03)


def test_a_look_survives_json(folder):
    from dataclasses import asdict

    from pathoprog.system.files import finite_or_none

    look = looked_at(folder, GOOD)
    assert look_from(finite_or_none(asdict(look))) == look
    blank = look_from(finite_or_none(asdict(spoilt(folder, "blank"))))
    assert math.isnan(blank.green_share) and blank.colour == ()


@pytest.mark.parametrize(
    ("name", "mpp", "at_least"),
    [
        ("pil-images-rgb/tcga-green-pen.png", 4, 0.1),
        ("pil-images-rgb/tcga-red-pen.png", 8, 0.1),
        ("pil-images-rgb/wsi-blue-pen.png", 40, 0.01),
        ("pil-images-rgb/diagnostic-slide-thumb-rgb.png", 40, 0.1),
        ("tiles/medium-nuclei-score-green-pen-level1.png", 2, 0.3),
        ("tiles/high-nuclei-score-red-pen-level1.png", 2, 0.01),
        ("tiles/very-low-nuclei-score-red-pen-level1.png", 2, 0.1),
        ("tiles/no-tissue-green-pen.png", 2, 0.3),
        ("tiles/no-tissue-red-pen.png", 2, 0.1),
    ],
)
def test_real_pen_marks_are_seen(name, mpp, at_least):
    assert measured(name, mpp)["pen_share"] > at_least


@pytest.mark.parametrize(
    ("name", "mpp"),
    [
        ("pil-images-rgb/tcga-lung-rgb.png", 0.5),
        ("tiles/high-nuclei-score-level0.png", 0.5),
        ("tiles/low-nuclei-score-level1.png", 2),
        ("tiles/medium-nuclei-score-level0.png", 0.5),
        ("tiles/medium-nuclei-score-level1.png", 2),
        ("tiles/medium-nuclei-score-level2.png", 8),
        ("tiles/tissue-level2-3000-7666-7096-11763.png", 8),
    ],
)
def test_real_clean_pictures_show_no_ink_or_bubble(name, mpp):
    found = measured(name, mpp)
    assert found["pen_share"] == found["bubble_share"] == 0 and found["fold_share"] < 0.05


def test_a_real_fold_is_seen():
    assert measured("tiles/high-nuclei-score-red-pen-level1.png", 2)["fold_share"] > 0.02


@pytest.mark.parametrize(
    ("name", "other_dye", "green"),
    [
        ("aperio_CMU-1-Small-Region.svs", (0.9, 1.3), (0.9, 1.0)),
        ("ome_OS-1-detail_HE.ome.tif", (0.9, 1.3), (0.9, 1.0)),
        ("ome_OS-2-ndpi_Ki67.ome.tif", (1.6, 2.5), (0.0, 0.1)),
    ],
)
def test_stain_and_sharpness_of_real_slides(name, other_dye, green):
    with open_slide(str(shared_data(f"wsi/{name}"))) as slide:
        tissue, view = tissue_and_view(slide)
        look = look_at(slide, view, tissue, tissue)
    assert other_dye[0] < look.other_dye < other_dye[1] and green[0] <= look.green_share <= green[1]
    assert -0.9 < look.median_sharpness < 0.3
