"""Is it H&E on brightfield at all: a first look at colours, to tell fluorescence and immunostains."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STAINED_OD = 0.25  # optical density, sum of the channels, from which a pixel is stained
MIN_GREEN_SHARE = 0.6
DARK = 40  # strongest channel of a pixel; ink and folds are as dark, but never much of a slide
MAX_DARK_SHARE = 0.4
MIN_STAINED_PX = 200


@dataclass(frozen=True)
class StainLook:
    """What the colours of some tiles look like.

    Attributes:
        kind: ``h&e``, ``other`` (stained, not like H&E) or ``blank`` (nothing stained).
        green_share: share of the stained pixels that absorb green most; NaN where nothing is stained.
    """

    kind: str
    green_share: float


def is_dark(view: NDArray[np.uint8]) -> bool:
    """Whether a view of the whole slide, uint8 [..., 3], has the black ground of fluorescence and no bright one."""
    return bool(np.mean(view.max(axis=-1) < DARK) > MAX_DARK_SHARE)


def stain_look(pixels: NDArray[np.uint8]) -> StainLook:
    """Judge the stain of some pixels.

    Eosin absorbs almost only green, haematoxylin green and red: in H&E nearly every stained pixel absorbs green most
    (0.74 to 1.0 of them in the H&E pictures at hand). Brown (DAB) absorbs blue most, a lone haematoxylin counterstain
    red (0.02 to 0.5 in immunostains), green ink red.

    Args:
        pixels: uint8 [..., 3], tiles in tissue.
    """
    rgb = pixels.reshape(-1, 3)
    rgb = rgb[:: max(1, len(rgb) // 2_000_000)]
    density = -np.log10((rgb.astype(np.float32) + 1) / 256)
    stained = density.sum(axis=1) > STAINED_OD
    if np.count_nonzero(stained) < MIN_STAINED_PX:
        return StainLook("blank", float("nan"))
    red, green, blue = density[stained].T
    share = float(np.mean((green > red) & (green > blue)))
    return StainLook("h&e" if share >= MIN_GREEN_SHARE else "other", share)
