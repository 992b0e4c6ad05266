"""Area averaging against worked examples and against brute force."""

import numpy as np
import pytest

from pathoprog.slides.pixels.resample import area_resize


def brute_force(image, box, size, fine=400):
    """Mean over each output pixel's area, by sampling `fine` points a side."""
    left, top, right, bottom = box
    result = np.zeros((size[1], size[0], 3))
    for j in range(size[1]):
        for i in range(size[0]):
            x = left + (i + (np.arange(fine) + 0.5) / fine) * (right - left) / size[0]
            y = top + (j + (np.arange(fine) + 0.5) / fine) * (bottom - top) / size[1]
            result[j, i] = image[np.ix_(y.astype(int), x.astype(int))].mean(axis=(0, 1))
    return result


@pytest.mark.parametrize("size", [(5, 5), (7, 4), (2, 3)])
def test_agrees_with_brute_force(size):
    image = np.random.default_rng(0).integers(0, 256, (12, 14, 3), np.uint8)
    box = (0.75, 1.25, 13.0, 11.5)
    assert np.abs(area_resize(image, box, size) - brute_force(image, box, size)).max() <= 1.2


def test_whole_factor_is_the_block_mean():
    image = np.random.default_rng(1).integers(0, 256, (8, 12, 3), np.uint8)
    mean = image.reshape(2, 4, 3, 4, 3).mean(axis=(1, 3))
    assert np.array_equal(area_resize(image, (0, 0, 12, 8), (3, 2)), np.floor(mean + 0.5).astype(np.uint8))


def test_same_size_is_a_copy_of_the_part():
    image = np.random.default_rng(2).integers(0, 256, (9, 9, 3), np.uint8)
    assert np.array_equal(area_resize(image, (2, 3, 7, 8), (5, 5)), image[3:8, 2:7])


def test_finer_output_interpolates_and_keeps_a_ramp():
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 4, axis=0).repeat(3, axis=2)
    wide = area_resize(ramp, (0, 0, 20, 4), (40, 8))[0, :, 0].astype(int)
    assert np.all(np.diff(wide[1:-1]) == 5)
