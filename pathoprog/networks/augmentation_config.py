"""Settings of the augmentation of training tiles."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class AugmentSettings:
    """Random changes that must not change a tile's prognosis. Zero switches one off."""

    flips: bool = setting(True, "flip and turn tiles at random (quarter turns)")
    crop: float = setting(
        0.0,
        "cut a random window that is smaller than the tile by this share of its side",
        low=0.0,
        high=0.9,
    )
    stain: float = setting(
        0.2, "SD of a random factor on the density of haematoxylin, eosin and the residual", low=0.0, high=1.0
    )
    stain_shift: float = setting(0.02, "SD of a random shift of each stain's density", low=0.0, high=0.5)
    brightness: float = setting(0.05, "SD of a random factor on brightness", low=0.0, high=0.5)
    blur: float = setting(0.0, "largest SD of a random Gaussian blur, px", low=0.0, high=5.0)
    zoom: float = setting(
        0.0, "largest relative change of scale, around a random point; edges are mirrored", low=0.0, high=0.5
    )
    jpeg: float = setting(0.0, "share of tiles compressed again as JPEG (quality 40 to 90)", low=0.0, high=1.0)
