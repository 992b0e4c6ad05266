"""PNG files of the tile maps: any reader gives the pixels back."""

import io

import numpy as np
import pytest
from PIL import Image

from pathoprog.slide_report.png import png


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 7), (5, 1), (63, 130)])
def test_the_pixels_come_back(h, w):
    pixels = np.random.default_rng(h * w).integers(0, 256, (h, w, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        image.verify()  # every chunk's checksum
    with Image.open(io.BytesIO(png(pixels))) as image:
        assert (image.mode, image.size) == ("RGB", (w, h))
        assert np.array_equal(np.asarray(image), pixels)


def test_smooth_pictures_get_small():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (200, 256, 3))
    assert len(png(ramp)) < ramp.size / 50
