"""One slide through the protocol: frame, levels, bounds, um/px, and regions at any um/px."""

import numpy as np
import pytest
from made_slides import halved, texture, write_pyramid

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.slide import true_downsample


@pytest.fixture(scope="module")
def image():
    return texture(1000, 800, seed=3)


@pytest.fixture(scope="module", params=["openslide", "tiffslide", "jpeg"])
def slide(request, image, tmp_path_factory):
    path = write_pyramid(tmp_path_factory.mktemp("slide") / "s.tif", image, compression="deflate")
    if request.param == "jpeg":
        path = write_pyramid(path, image, quality=100, subsampling=(1, 1))
    with open_slide(path, request.param) as opened:
        yield opened


def same(slide, pixels, expected):
    """Whether pixels are the stored ones; JPEG at its best quality is off by a few grey levels."""
    return pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected).max() <= 4 * (
        "jpeg" in slide.backend
    )


def test_facts(slide):
    assert (slide.width, slide.height) == (1000, 800)
    assert [(level.width, level.height, level.downsample) for level in slide.levels] == [
        (1000, 800, 1),
        (500, 400, 2),
        (250, 200, 4),
    ]
    assert slide.mpp == pytest.approx(0.25, rel=1e-6)
    assert slide.facts.backend == slide.backend


def test_regions_are_the_stored_pixels(slide, image):
    assert same(slide, slide.read_region(300, 200, 0, (120, 90)), image[200:290, 300:420])
    assert same(slide, slide.read_region(300, 200, 1, (100, 50)), halved(image)[100:150, 150:250])


@pytest.mark.parametrize(
    ("x0", "y0", "level", "size"),
    [
        (0, 0, 3, (1, 1)),
        (0, 0, -1, (1, 1)),
        (-1, 0, 0, (5, 5)),
        (996, 0, 0, (5, 5)),
        (0, 0, 2, (251, 1)),
        (0, 0, 0, (0, 5)),
    ],
)
def test_what_is_not_there_is_an_error(slide, x0, y0, level, size):
    with pytest.raises(SlideError) as caught:
        slide.read_region(x0, y0, level, size)
    assert caught.value.code == "bounds"


def test_read_at_mpp_takes_the_coarsest_level_at_or_finer(slide, image):
    assert [slide.level_for(mpp) for mpp in (0.2, 0.25, 0.49, 0.5, 0.97, 0.99, 5.0)] == [0, 0, 0, 1, 1, 2, 2]
    assert same(slide, slide.read_at_mpp(200, 100, 0.5, (60, 50)), halved(image)[50:100, 100:160])
    part = slide.read_at_mpp(200, 100, 0.375, (60, 40))  # 1.5 level-0 px each: from level 0
    block = image[100:160, 200:290].astype(float)
    assert np.abs(
        part.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3)) - block.reshape(20, 3, 30, 3, 3).mean(axis=(1, 3))
    ).max() < (4 if "jpeg" in slide.backend else 1)


def test_overview_and_thumbnail_cover_the_slide(slide, image):
    thumbnail = slide.thumbnail(100)
    assert thumbnail.shape == (80, 100, 3)
    expected = image.reshape(80, 10, 100, 10, 3).mean(axis=(1, 3))
    assert np.abs(thumbnail - expected).max() < 3
    assert slide.overview(1.0).shape == (200, 250, 3)


def test_objective_mpp_and_override_are_told(tmp_path):
    path = write_pyramid(tmp_path / "s.tif", texture(300, 300), mpp=None)
    with open_slide(path) as slide, pytest.raises(SlideError, match=r"s\.tif: no um/px in the file; give slides\.mpp="):
        slide.facts  # noqa: B018 - asking raises
    with open_slide(path, mpp=0.5) as slide:
        assert slide.mpp == 0.5
        assert "given as 0.5; the file says nothing" in slide.warnings[0]


def test_true_downsample_sees_through_dropped_pixels():
    assert true_downsample((300, 250), (75, 62)) == 4.0
    assert true_downsample((300, 250), (37, 31)) == 8.0
    assert true_downsample((1000, 1000), (701, 701)) == pytest.approx(1.4265, abs=1e-3)


def test_missing_file_folder_and_device(tmp_path):
    for path, code in ((tmp_path / "no.svs", "missing"), (tmp_path, "format")):
        with pytest.raises(SlideError) as caught:
            open_slide(path)
        assert caught.value.code == code
