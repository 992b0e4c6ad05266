"""Where tissue is on a slide: a mask from a coarse view."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pathoprog.slides.slide import Slide

Level0 = NDArray[Any]
MASK_MPP = 8.0
MIN_CHROMA, MAX_CHROMA = 12.0, 25.0  # of 255: below is glass and JPEG noise, above is stained whatever the histogram
MIN_OBJECT_UM2 = 5_000.0
MAX_HOLE_UM2 = 10_000.0


@dataclass(frozen=True)
class RegionMask:
    """A region of a slide as a coarse mask whose pixel (0, 0) begins at the slide's corner.

    Attributes:
        array: bool [h, w].
        downsample: level-0 px per mask px in x.
        downsample_y: the same in y (differs where um/px does).
        mpp: um per mask px.
    """

    array: NDArray[np.bool_]
    downsample: float
    downsample_y: float
    mpp: float

    @property
    def area_um2(self) -> float:
        """Area of the region in square um."""
        return float(np.count_nonzero(self.array)) * self.mpp**2

    def coverage(self, x0: Level0, y0: Level0, width0: float, height0: float) -> NDArray[np.float64]:
        """Share of rectangles inside the region, partly covered mask pixels by their share.

        Args:
            x0: left edges, level-0 px; any shape that goes with that of `y0`.
            y0: top edges, level-0 px.
            width0: of a rectangle, level-0 px.
            height0: of a rectangle, level-0 px.

        Returns:
            float64 of the common shape.
        """
        integral = np.zeros((self.array.shape[0] + 1, self.array.shape[1] + 1))
        np.cumsum(np.cumsum(self.array, axis=0), axis=1, out=integral[1:, 1:])
        left, right = x0 / self.downsample, (x0 + width0) / self.downsample
        top, bottom = y0 / self.downsample_y, (y0 + height0) / self.downsample_y

        def up_to(y: Level0, x: Level0) -> NDArray[np.float64]:
            where = np.stack(np.broadcast_arrays(y, x))
            # The integral of a mask is linear within a pixel: interpolation is exact, and constant beyond the edge.
            result: NDArray[np.float64] = ndimage.map_coordinates(integral, where, order=1, mode="nearest")
            return result

        inside = up_to(bottom, right) - up_to(bottom, left) - up_to(top, right) + up_to(top, left)
        return inside * self.downsample * self.downsample_y / (width0 * height0)


def tissue_mask(slide: Slide, mpp: float = MASK_MPP) -> RegionMask:
    """Find stained tissue.

    Stain is colour: a pixel counts where the spread between its strongest and weakest channel, averaged over 3 x 3
    pixels, passes Otsu's threshold kept within fixed limits. Grey (dust, shadow, black borders) is no tissue. Specks
    below 5,000 square um are dropped and holes below 10,000 square um filled.

    Args:
        slide: an open slide with sane um/px.
        mpp: um per pixel of the mask; a slide of fewer pixels than 64 at this is looked at four times finer.
    """
    return tissue_and_view(slide, mpp)[0]


def tissue_and_view(slide: Slide, mpp: float = MASK_MPP) -> tuple[RegionMask, NDArray[np.uint8]]:
    """`tissue_mask`, and the view of the whole slide that it was found in, uint8 [h, w, 3] of the mask's pixels."""
    while mpp > slide.mpp and min(slide.width * slide.mpp_x, slide.height * slide.mpp_y) < 64 * mpp and mpp > 2.0:
        mpp /= 2
    view = slide.overview(mpp)
    mask = RegionMask(
        stained(view, mpp),
        slide.width / view.shape[1] if view.shape[1] == 1 else mpp / slide.mpp_x,
        slide.height / view.shape[0] if view.shape[0] == 1 else mpp / slide.mpp_y,
        mpp,
    )
    return mask, view


def stained(view: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Mask [h, w] of stained tissue in a coarse view, uint8 [h, w, 3] at `mpp` um/px."""
    chroma = (view.max(axis=2) - view.min(axis=2)).astype(np.float32)
    chroma = ndimage.uniform_filter(chroma, 3)
    mask = chroma > np.clip(otsu(chroma), MIN_CHROMA, MAX_CHROMA)
    mask = without_small(mask, MIN_OBJECT_UM2 / mpp**2)
    return ~without_small(~mask, MAX_HOLE_UM2 / mpp**2, keep_at_edge=True)


def otsu(values: NDArray[np.float32]) -> float:
    """Threshold of values in 0 to 255 that maximises the variance between the classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(0, 256))
    below = np.cumsum(counts)[:-1].astype(np.float64)
    sums = np.cumsum(counts * edges[:-1])
    above = counts.sum() - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.argmax(np.nan_to_num(between))])


def without_small(mask: NDArray[np.bool_], min_px: float, keep_at_edge: bool = False) -> NDArray[np.bool_]:
    """The mask without connected parts of fewer than `min_px` pixels."""
    labels, n = ndimage.label(mask)
    keep = np.bincount(labels.ravel(), minlength=n + 1) >= min_px
    if keep_at_edge:  # background that the edge cuts may go on beyond it
        for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            keep[edge] = True
    keep[0] = False
    result: NDArray[np.bool_] = keep[labels]
    return result
