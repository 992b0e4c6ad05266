"""What is measured of a slide's quality, from its coarse view and a few sampled fields: numbers without verdicts.

Runs in the reader process. Its memory does not grow with the slide: the view is held to `MAX_VIEW_PX` pixels.
Optical density (OD) of a channel is -log10((value + 1) / 256); `r`, `g`, `b` are the three channels' densities.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pathoprog.quality.stain import STAINED_OD, is_dark, stain_look
from pathoprog.regions.slide_outline import region_on_view
from pathoprog.regions.tissue import MIN_OBJECT_UM2, RegionMask, without_small
from pathoprog.slides.mpp import COARSER_ALLOWED
from pathoprog.slides.slide import Slide
from pathoprog.tiles.config import TileSpec
from pathoprog.tiles.grid import tile_grid

MAX_VIEW_PX = 4_000_000
FIELD = TileSpec("field", mpp=0.5, size_px=128, min_coverage=0.5, max_per_slide=6)
"""Where sharpness and colour are measured: 6 fields of 64 um, spread over the analysed area."""
BAND_PX = (1.0, 1.5, 4.0)  # SDs of the Gaussians that cut out the fine and the coarse band, px of a field
MIN_CONTRAST = 1.0  # variance of the coarse band, grey levels squared, below which a field shows nothing to judge
MIN_STAINED_PX = 200

INK_RED_TO_GREEN = 1.3  # blue and green ink absorb red most; haematoxylin alone stays below 1.25 in real pictures
RED_INK = (0.34, 0.70, 0.35)  # r/g below, b/g above, total density above: eosin has b/g 0.5 to 0.7
BLACK_INK = (0.65, 0.62, 1.5)  # r/g above, b/g above, total density above
FOLD = (2.5, 1.0)  # of the slide's median density in tissue (dense epithelium: up to 2.2); and at least so dense
NEUTRAL = 0.6  # weakest over strongest channel's excess: a refracting rim takes light from all channels alike
RIM_OD = 0.10  # excess density of a bubble's rim in its weakest channel
RIM_WINDOW_UM = 120.0
INK_WIDTH_UM = 40.0


@dataclass(frozen=True)
class QualityLook:
    """What was measured; NaN where it could not be. Shares are of the analysed area (tumour, or tissue).

    Attributes:
        glass: brightness of the empty glass, median of the strongest channel, 0 to 255.
        empty_share: without tissue.
        pen_share: under ink.
        pen_elsewhere_mm2: area of ink outside the analysed area.
        fold_share: in folds: at least 2.5 times as dense as the slide's tissue.
        bubble_share: inside closed rims that are dark in all channels alike.
        green_share: of the stained pixels, those that absorb green most; see `stain.StainLook`.
        sharpness: of each field; see `sharpness`.
        colour: mean OD of the stained pixels in red, green and blue, and the SD of their sum, over all fields.
    """

    glass: float = math.nan
    empty_share: float = math.nan
    pen_share: float = math.nan
    pen_elsewhere_mm2: float = math.nan
    fold_share: float = math.nan
    bubble_share: float = math.nan
    green_share: float = math.nan
    sharpness: tuple[float, ...] = ()
    colour: tuple[float, ...] = ()

    @property
    def median_sharpness(self) -> float:
        """Of the fields; NaN without any."""
        return float(np.median(self.sharpness)) if self.sharpness else math.nan

    @property
    def other_dye(self) -> float:
        """Mean OD in red and blue over that in green; NaN without stained fields.

        0.9 to 1.3 in H&E (up to 1.5 in pale ones), 1.55 and more in immunostains, 2 in grey pictures.
        """
        return (self.colour[0] + self.colour[2]) / self.colour[1] if self.colour else math.nan


def look_from(values: dict[str, Any]) -> QualityLook:
    """A look from its fields in JSON, where NaN is null and a tuple a list."""
    plain: dict[str, Any] = {key: math.nan if value is None else value for key, value in values.items()}
    return QualityLook(**plain | {key: tuple(plain[key]) for key in ("sharpness", "colour")})


def look_at(
    slide: Slide, view: NDArray[np.uint8], tissue: RegionMask, region: RegionMask | shapely.MultiPolygon
) -> QualityLook:
    """Measure a slide.

    Args:
        slide: open, with sane um/px.
        view: the whole slide, uint8 [h, w, 3], of the pixels of `tissue`.
        tissue: its mask.
        region: the analysed area: a mask, or polygons in level-0 px.
    """
    area = region_on_view(region, tissue)
    fields = sampled_fields(slide, region)
    thinned = fields[:, ::2, ::2]  # colour needs no more
    stained = stain_look(thinned if len(fields) else view)
    glass, elsewhere, shares = view_measures(view, tissue.array, area, tissue.mpp)
    return QualityLook(
        glass=glass,
        pen_elsewhere_mm2=elsewhere,
        **shares,
        green_share=stained.green_share,
        sharpness=tuple(value for value in map(sharpness, fields) if math.isfinite(value)),
        colour=colour(thinned),
    )


def sampled_fields(slide: Slide, region: RegionMask | shapely.MultiPolygon) -> NDArray[np.uint8]:
    """A few fields of the region at 0.5 um/px, uint8 [n, s, s, 3]; none on a slide coarser than that."""
    size = (FIELD.size_px, FIELD.size_px)
    if slide.mpp > FIELD.mpp * COARSER_ALLOWED:
        return np.empty((0, *size, 3), np.uint8)
    grid = tile_grid(slide.facts, region, FIELD)
    fields = [slide.read_at_mpp(float(x), float(y), FIELD.mpp, size) for x, y in zip(grid.x0, grid.y0, strict=True)]
    return np.stack(fields) if fields else np.empty((0, *size, 3), np.uint8)


def sharpness(field: NDArray[np.uint8]) -> float:
    """log10 of the green channel's variance in a fine band (below 0.5 um) over that in a coarse band (0.75 to 2 um).

    A ratio of bands does not follow contrast or the amount of stain (the idea of Kautsky et al., Pattern Recognit Lett
    2002;23:1785). Each further 0.5 um of blur (SD) takes about 0.5 off: sharp H&E has -0.9 to 0.2, a blur of 1 um -1.4
    to -1.6. NaN where the coarse band holds nothing.

    Args:
        field: uint8 [s, s, 3] at 0.5 um/px.
    """
    green = field[..., 1].astype(np.float32)
    fine = green - ndimage.gaussian_filter(green, BAND_PX[0])
    coarse = ndimage.gaussian_filter(green, BAND_PX[1]) - ndimage.gaussian_filter(green, BAND_PX[2])
    contrast = float(coarse.var())
    return math.log10(max(float(fine.var()), 1e-6) / contrast) if contrast >= MIN_CONTRAST else math.nan


def colour(fields: NDArray[np.uint8]) -> tuple[float, ...]:
    """Mean OD of the stained pixels in red, green, blue, and the SD of their sum; () where too few are stained."""
    od = density(fields.reshape(-1, 3))
    total = od.sum(axis=1)
    stained = total > STAINED_OD
    if np.count_nonzero(stained) < MIN_STAINED_PX:
        return ()
    return (*(float(value) for value in od[stained].mean(axis=0)), float(total[stained].std()))


_DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)


def density(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical density of each channel."""
    return _DENSITY[pixels]


def view_measures(
    view: NDArray[np.uint8], tissue: NDArray[np.bool_], area: NDArray[np.bool_], mpp: float
) -> tuple[float, float, dict[str, float]]:
    """What the coarse view tells.

    Args:
        view: uint8 [h, w, 3].
        tissue: bool [h, w].
        area: bool [h, w], the analysed area.
        mpp: um per pixel.

    Returns:
        Brightness of the glass, area of ink outside the analysed area in square mm, and the shares of the analysed
        area that `QualityLook` names.
    """
    factor = math.ceil(math.sqrt(view.shape[0] * view.shape[1] / MAX_VIEW_PX))
    if factor > 1:
        view, tissue, area = _reduced(view, factor), _reduced(tissue, factor), _reduced(area, factor)
        mpp *= factor
    od = density(view)
    ink = _ink(od, mpp)
    if is_dark(view):  # a dark ground is no black ink
        ink[:] = False
    shares = {
        "empty_share": ~(tissue | ink),
        "pen_share": ink,
        "fold_share": _folds(od, tissue & ~ink, mpp),
        "bubble_share": _bubbles(od, ink, mpp),
    }
    n = np.count_nonzero(area)
    background = view[~tissue & ~ink].max(axis=1)
    background = background[background > 0]  # canvas that a scanner filled in is no glass
    return (
        float(np.median(background)) if len(background) > 0.01 * tissue.size else math.nan,
        float(np.count_nonzero(ink & ~area)) * mpp**2 / 1e6,
        {name: float(np.count_nonzero(mask & area) / n) if n else math.nan for name, mask in shares.items()},
    )


def _reduced(array: NDArray[Any], factor: int) -> NDArray[Any]:
    """An image, or a mask by majority, `factor` times smaller, by averaging."""
    if array.dtype == np.bool_:
        return _reduced(array.astype(np.uint8) * 255, factor) > 127
    return np.asarray(Image.fromarray(array).reduce(factor))


def _ink(od: NDArray[np.float32], mpp: float) -> NDArray[np.bool_]:
    """Marker ink: blue, green, red or black, by the ratios of its densities, which H&E does not have.

    A stroke is wide: what is narrower than `INK_WIDTH_UM` (a bubble's rim, a hair) is none.
    """
    r, g, b = od[..., 0], od[..., 1], od[..., 2]
    total = od.sum(axis=-1)
    blue = (r > INK_RED_TO_GREEN * g) & (total > STAINED_OD)
    red = (r < RED_INK[0] * g) & (b > RED_INK[1] * g) & (total > RED_INK[2])
    black = (r > BLACK_INK[0] * g) & (b > BLACK_INK[1] * g) & (total > BLACK_INK[2])
    width = max(3, round(INK_WIDTH_UM / mpp))
    ink = ndimage.binary_opening(blue | red | black, np.ones((width, width)))
    return without_small(ink, MIN_OBJECT_UM2 / mpp**2)


def _folds(od: NDArray[np.float32], tissue: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Tissue that lies in several layers: far denser than the slide's median, fat left out."""
    total = ndimage.uniform_filter(od.sum(axis=-1), 3)
    dyed = total[tissue & (total > STAINED_OD)]
    if not len(dyed):
        return np.zeros_like(tissue)
    limit = max(FOLD[0] * float(np.median(dyed)), FOLD[1])
    return without_small(tissue & (total > limit), MIN_OBJECT_UM2 / mpp**2)


def _bubbles(od: NDArray[np.float32], ink: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Areas enclosed by a thin rim that is darker than its surroundings in all three channels alike."""
    window = 2 * round(RIM_WINDOW_UM / mpp / 2) + 1
    excess = od - ndimage.uniform_filter(od, (window, window, 1))
    weakest, strongest = excess.min(axis=-1), excess.max(axis=-1)
    rim = (weakest > RIM_OD) & (weakest > NEUTRAL * strongest) & ~ndimage.binary_dilation(ink, iterations=2)
    rim = ndimage.binary_closing(np.pad(rim, 2), iterations=2)[2:-2, 2:-2]
    return without_small(ndimage.binary_fill_holes(rim) & ~rim, MIN_OBJECT_UM2 / mpp**2)
