"""The coarse view of a slide as overlapping windows: what a network that outlines is shown. No torch.

The view begins at the slide's corner, pixel (0, 0), and has the same um per pixel in x and y. Windows lie on a canvas
that is at least one window large and even in size; beyond the slide it is white, as glass is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import ConfigError
from pathoprog.regions.tissue import RegionMask
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.slides.slide import Slide, SlideFacts

GLASS = 255
ROUNDING = 1e-6  # shares of a window that are no tissue, only sums of rounded numbers


@dataclass(frozen=True)
class Windows:
    """Windows of one slide's view, row by row.

    Attributes:
        x: int64 [n], left edges, pixels of the view; even.
        y: int64 [n], top edges; even.
        size_px: side of a window.
        mpp: um per pixel of the view.
        width: of the canvas, pixels of the view; even.
        height: of the canvas.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    size_px: int
    mpp: float
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.x)


def check_outline_settings(settings: OutlineSettings) -> None:
    """Refuse windows that cannot be laid.

    Raises:
        ConfigError: names the key.
    """
    if settings.window_px % 32:
        raise ConfigError(f"outline.window_px={settings.window_px}: must be a multiple of 32")
    if settings.overlap_px % 2 or settings.overlap_px > settings.window_px // 2:
        raise ConfigError(f"outline.overlap_px={settings.overlap_px}: must be even, and at most half of window_px")


def lay_windows(facts: SlideFacts, tissue: RegionMask, settings: OutlineSettings) -> Windows:
    """Lay windows over the slide and keep those with any tissue.

    Args:
        facts: size and um/px of the slide.
        tissue: where tissue is.
        settings: window, overlap, um per pixel.
    """
    size, mpp = settings.window_px, settings.mpp
    width = canvas_px(facts.width * facts.mpp_x / mpp, size)
    height = canvas_px(facts.height * facts.mpp_y / mpp, size)
    columns, rows = starts(width, settings), starts(height, settings)
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    to_x, to_y = mpp / facts.mpp_x, mpp / facts.mpp_y
    kept = tissue.coverage(x * to_x, y * to_y, size * to_x, size * to_y) > ROUNDING
    return Windows(x[kept], y[kept], size, mpp, width, height)


def canvas_px(length: float, window_px: int) -> int:
    """Side of the canvas for a view of so many pixels: whole, even, at least a window."""
    return max(window_px, 2 * int(np.ceil(length / 2 - 1e-6)))


def starts(length: int, settings: OutlineSettings) -> NDArray[np.int64]:
    """Where windows begin along an axis of `length` pixels: at even steps, the last one flush with the end."""
    last = length - settings.window_px
    steps = np.arange(0, last, settings.window_px - settings.overlap_px, dtype=np.int64)
    return np.append(steps, last)


def read_window(slide: Slide, windows: Windows, index: int, out: NDArray[np.uint8]) -> None:
    """Read window `index` into `out`, uint8 [size_px, size_px, 3]."""
    out[:] = GLASS
    x, y, mpp = int(windows.x[index]), int(windows.y[index]), windows.mpp
    w = min(windows.size_px, int(slide.width * slide.mpp_x / mpp + 1e-6) - x)
    h = min(windows.size_px, int(slide.height * slide.mpp_y / mpp + 1e-6) - y)
    if w > 0 and h > 0:
        out[:h, :w] = slide.read_at_mpp(x * mpp / slide.mpp_x, y * mpp / slide.mpp_y, mpp, (w, h))
