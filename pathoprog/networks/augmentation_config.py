"""Settings of the augmentation of training tiles."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class AugmentSettings:
    """Random changes that must not change a tile's prognosis. Zero switches one off."""

    flips: bool = setting(True, "flips and quarter turns")
    crop: float = setting(
        0.0,
        "share of the tile's side that a random window leaves out; the network then sees smaller tiles",
        low=0.0,
        high=0.9,
    )
    stain: float = setting(0.2, "SD of the factor on haematoxylin, eosin and residual density", low=0.0, high=1.0)
    stain_shift: float = setting(0.02, "SD of the shift of each stain's density", low=0.0, high=0.5)
    brightness: float = setting(0.05, "SD of the factor on intensity", low=0.0, high=0.5)
    blur: float = setting(0.0, "largest SD of a Gaussian blur, px; each tile draws its own", low=0.0, high=5.0)
    zoom: float = setting(
        0.0, "largest relative change of scale, about a random place; edges are mirrored", low=0.0, high=0.5
    )
    jpeg: float = setting(0.0, "share of tiles compressed again as JPEG (quality 40 to 90)", low=0.0, high=1.0)
