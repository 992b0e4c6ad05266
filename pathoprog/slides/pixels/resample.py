"""Exact area averaging of an image to another size, the one kernel of this project's reading."""

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Pixels = NDArray[np.uint8]


def area_resize(image: Pixels, box: tuple[float, float, float, float], size: tuple[int, int]) -> Pixels:
    """Resample a part of an image so that each output pixel is the mean over its area.

    Each output pixel averages a rectangle as large as itself, partly covered pixels by their covered share; where the
    output is finer than the input the rectangle is one input pixel wide, which is linear interpolation. Pixels beyond
    the image's edge repeat the edge.

    Args:
        image: uint8 [h, w, 3].
        box: (left, top, right, bottom) of the part, in pixels of `image`, fractions allowed.
        size: (width, height) of the output.

    Returns:
        uint8 [height, width, 3], within half a grey level of the exact mean.
    """
    left, top, right, bottom = box
    width, height = size
    h, w = image.shape[:2]
    x, y = int(left), int(top)
    same_scale = right - left == width and bottom - top == height and left == x and top == y
    if same_scale and x >= 0 and y >= 0 and x + width <= w and y + height <= h:
        return image[y : y + height, x : x + width]
    columns = _weights(width, left, right, w)
    rows = _weights(height, top, bottom, h)
    # The sparse product runs over rows; the transposition in between makes columns rows.
    tall = rows @ image.reshape(h, -1).astype(np.float32)
    wide = columns @ np.ascontiguousarray(tall.reshape(height, w, 3).transpose(1, 0, 2)).reshape(w, -1)
    wide += np.float32(0.5)
    return np.ascontiguousarray(wide.astype(np.uint8).reshape(width, height, 3).transpose(1, 0, 2))


@functools.lru_cache(maxsize=256)
def _weights(n_out: int, start: float, stop: float, n_in: int) -> csr_array:
    """Weights [n_out, n_in] of one axis, float32; each row sums to one."""
    step = (stop - start) / n_out
    width = max(step, 1.0)
    centre = start + (np.arange(n_out) + 0.5) * step
    low, high = centre - width / 2, centre + width / 2
    taps = math.ceil(width) + 1
    index = np.floor(low).astype(np.int64)[:, None] + np.arange(taps)
    share = np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index)
    share = np.clip(share, 0.0, None)
    share /= share.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(n_out), taps)
    column = np.clip(index, 0, n_in - 1).ravel()
    return csr_array((share.astype(np.float32).ravel(), (row, column)), shape=(n_out, n_in))
