"""Made-up slides: balanced areas and colours, and files that the slide libraries read."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from pathoprog.simulate import banks
from pathoprog.simulate.morphology import EPITHELIUM, GLASS, LUMEN_SHARE, STROMA, STROMA_SHARE, draw_morphology
from pathoprog.simulate.pyramid import write_pyramid
from pathoprog.simulate.rendering import LAB_STAINS, SCANNERS, draw_stain, render
from pathoprog.slides import open_slide

FIELD_UM = 360.0
EXTREMES = [(a, n) for a in (-2.0, 2.0) for n in (-2.0, 2.0)]


def inside(outline_um: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(shapely.contains_xy(shapely.Polygon(outline_um), points[..., 0], points[..., 1]))


def grid(side: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), -1)


@pytest.mark.parametrize(("architecture", "nuclei"), EXTREMES)
def test_neither_factor_changes_an_area(architecture: float, nuclei: float) -> None:
    drawn = draw_morphology(np.random.default_rng(3), FIELD_UM, architecture, nuclei)
    tumour = inside(drawn.outline_um, grid(int(FIELD_UM)))
    values = drawn.tissue_map[tumour]
    assert (values > (EPITHELIUM + STROMA) / 2).mean() == pytest.approx(STROMA_SHARE, abs=0.015)
    assert (values < (EPITHELIUM + GLASS) / 2).mean() == pytest.approx(LUMEN_SHARE, abs=0.01)
    counts = {stamps.kind: len(stamps.x_um) for stamps in drawn.stamps}
    bland = draw_morphology(np.random.default_rng(3), FIELD_UM, -2.0, -2.0)
    expected = sum(len(stamps.x_um) for stamps in bland.stamps if stamps.kind in ("tumour", "mitosis"))
    assert counts["tumour"] + counts["mitosis"] == pytest.approx(expected, rel=0.04)
    assert np.array_equal(drawn.outline_um, bland.outline_um)
    assert drawn.tumour_area_um2 == pytest.approx(tumour.sum(), rel=0.01)


def test_architecture_fuses_glands() -> None:
    """Fewer separate pieces of epithelium, of the same area in all."""
    from scipy.ndimage import label

    pieces = []
    for architecture in (-2.0, 0.0, 2.0):
        drawn = draw_morphology(np.random.default_rng(4), 640.0, architecture, 0.0)
        solid = drawn.tissue_map < (EPITHELIUM + STROMA) / 2
        pieces.append(label(solid & inside(drawn.outline_um, grid(640)))[1])
    assert pieces[0] > 2 * pieces[2]
    assert pieces[0] > pieces[1] > pieces[2]


def test_neither_factor_changes_the_mean_colour() -> None:
    """Of a tumour in one stain: by less than a tenth of what laboratories and days do."""
    stain, scanner = LAB_STAINS["lab_1"], SCANNERS["scanner_A"]
    colour = {}
    for factors in EXTREMES:
        means = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            drawn = draw_morphology(rng, FIELD_UM, *factors)
            picture = render(rng, drawn, FIELD_UM, stain, scanner)
            small = np.asarray(Image.fromarray(picture).reduce(4))
            means.append(small[inside(drawn.outline_um, grid(len(small)))].mean(0))
        colour[factors] = np.mean(means, 0)
    spread = np.ptp(list(colour.values()), axis=0)  # over four standard deviations of each factor
    assert spread.max() < 2.5
    stains = [draw_stain(np.random.default_rng(seed), lab) for seed, lab in enumerate(LAB_STAINS)]
    assert np.std([s.eosin_amount for s in stains]) > 0.05


def test_all_nuclei_are_equally_dark() -> None:
    pictures = banks.nuclei(0.25, 0.18).tumour / banks.OD_SCALE  # [levels, angles, variants, side, side]
    absorbed = (1 - np.exp(-0.7 * pictures)).sum((-1, -2)).mean((1, 2)) * 0.25**2  # um2 of full absorption
    assert np.ptp(absorbed) < 0.05 * absorbed.mean()
    grain = pictures[:, :, :, 28:33, 28:33].std((-1, -2)).mean((1, 2))
    assert grain[-1] > 3 * grain[0]  # chromatin


def test_banks_have_no_seam() -> None:
    noise = banks.periodic_noise(np.random.default_rng(0), 256, 3.0, 3.0)
    smooth = banks.periodic_noise(np.random.default_rng(0), 256, 12.0, 12.0)
    for field in (noise, smooth, banks.layout().cell_border, banks.layout().smooth):
        inner = np.abs(np.diff(field, axis=0)).max()
        assert np.abs(field[0] - field[-1]).max() < 1.5 * inner
    assert (noise.mean(), noise.std()) == pytest.approx((0, 1), abs=1e-3)


@pytest.mark.parametrize("name", SCANNERS)
def test_a_slide_is_read_with_its_um_per_px(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scanner = SCANNERS[name]
    drawn = draw_morphology(rng, 240.0, 0.0, 0.0)
    picture = render(rng, drawn, 240.0, draw_stain(rng, "lab_3"), scanner)
    assert picture.shape == (round(240 / scanner.mpp),) * 2 + (3,)
    write_pyramid(tmp_path / "slide.tif", picture, scanner.mpp, 80)
    for backend in ("openslide", "tiffslide"):
        with open_slide(tmp_path / "slide.tif", backend) as slide:
            assert (slide.width, slide.height) == picture.shape[1::-1]
            assert [round(level.downsample) for level in slide.levels] == [1, 4, 16]
            assert (slide.mpp_x, slide.mpp_y) == pytest.approx((scanner.mpp,) * 2, rel=1e-6)
            assert slide.warnings == ()
            read = slide.read_region(100, 200, 0, (300, 250))
        assert np.abs(read.astype(int) - picture[200:450, 100:400]).mean() < 4


def test_tissue_is_pink_and_purple_on_pale_glass() -> None:
    rng = np.random.default_rng(6)
    drawn = draw_morphology(rng, FIELD_UM, 0.0, 0.0)
    picture = render(rng, drawn, FIELD_UM, LAB_STAINS["lab_1"], SCANNERS["scanner_A"]).astype(float)
    small = np.asarray(Image.fromarray(drawn.tissue_map).resize(picture.shape[1::-1], Image.Resampling.NEAREST))
    stamps = next(stamps for stamps in drawn.stamps if stamps.kind == "tumour")
    nuclei = picture[(stamps.y_um * 4).astype(int), (stamps.x_um * 4).astype(int)].mean(0)
    glass, stroma = picture[small == GLASS].mean(0), picture[small == STROMA].mean(0)
    assert (glass > 225).all()
    assert stroma[0] > stroma[2] > stroma[1]  # pink
    assert nuclei[2] > nuclei[0] > nuclei[1] - 15  # blue to purple
    assert nuclei.sum() < 0.75 * stroma.sum()
