"""NDPI: a whole one is read, a cut one is refused in every backend and not read with the levels that are left."""

import numpy as np
import pytest
from made_ndpi import write_ndpi
from made_slides import texture

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.tiff.directory import read_directories


@pytest.fixture
def slide(tmp_path):
    return write_ndpi(tmp_path / "s.ndpi", texture(1024, 768, seed=5))


def test_a_whole_one_is_read(slide):
    images = read_directories(slide)
    assert [(image.width, image.lens) for image in images] == [(1024, 40), (512, 20), (256, 10), (512, -1)]
    with open_slide(slide) as opened:
        assert (opened.backend, opened.vendor, opened.mpp) == ("openslide", "hamamatsu", pytest.approx(0.25))
        assert {1024, 512, 256} <= {level.width for level in opened.levels}  # OpenSlide adds levels
        image = texture(1024, 768, seed=5)[200:500, 100:700].astype(int)
        assert np.abs(opened.read_region(100, 200, 0, (600, 300)) - image).max() < 20


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 0.9, 0.98])
def test_a_cut_one_is_refused(slide, share):
    """OpenSlide refuses it, and TiffSlide would go on with one level."""
    data = slide.read_bytes()
    size = int(len(data) * share)
    slide.write_bytes(data[:size])
    for backend in ("auto", "openslide", "tiffslide", "jpeg"):
        with pytest.raises(SlideError, match=rf"truncated: .*{size}") as caught:
            open_slide(slide, backend)
        assert caught.value.code == "unreadable"


def test_a_circle_of_directories(slide):
    data = bytearray(slide.read_bytes())
    first = int.from_bytes(data[4:12], "little")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[link : link + 8] = first.to_bytes(8, "little")
    slide.write_bytes(data)
    with pytest.raises(SlideError, match="round in a circle: directory 0 leads back to directory 0"):
        open_slide(slide)


@pytest.mark.parametrize("lens", [-3.0, 0.0, -1.0])
def test_the_base_is_no_level_any_more(slide, lens):
    """Its magnification is spoilt: OpenSlide takes the next level for the slide, at half its size."""
    data = bytearray(slide.read_bytes())
    at = data.index(np.float32(40).tobytes(), 100)
    data[at : at + 4] = np.float32(lens).tobytes()
    slide.write_bytes(data)
    with pytest.raises(SlideError, match="takes an image of 512 x 384 px for the slide, and the file holds image 0"):
        open_slide(slide)
