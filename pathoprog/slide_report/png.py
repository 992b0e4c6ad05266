"""A picture as PNG, quickly: one filter for all rows, where Pillow tries each filter on each row."""

import imagecodecs
import numpy as np
from numpy.typing import NDArray

LEVEL = 1
"""Of compression: each further one takes longer, and saves nothing on maps of tissue (benchmarks/README.md)."""


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of RGB pixels uint8 [h, w, 3]."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=LEVEL, filter=imagecodecs.PNG.FILTER.SUB))
