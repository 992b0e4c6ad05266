"""Settings of tiles: their resolution, their size, and which of them count."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.slides.resolutions import RESOLUTION_MPP, RESOLUTIONS

PREPROCESSING_VERSION = "2"
"""Level rule, area averaging, tissue mask and grid: a change of any that moves a pixel or a tile raises it.

2: the frame of plain TIFFs is the image's own, whatever tiles were left out; levels in sub-directories are read;
damaged tiles are refused; outlines are held to their slide.
"""


@dataclass
class TileSpec:
    """What a tile is: `size_px` x `size_px` pixels at `mpp` um/px."""

    resolution: str = setting("10x", "name of the resolution", choices=RESOLUTIONS)
    mpp: float = setting(1.0, "um per pixel of the tile", low=0, open_low=True, high=20)
    size_px: int = setting(448, "side of a tile in its own pixels", low=8, high=8192)
    min_coverage: float = setting(0.5, "smallest share of a tile that must lie in the region", low=0, high=1)
    max_per_slide: int = setting(
        0, "largest number of tiles per slide, spread evenly and always the same ones; 0: all", low=0
    )


def standard_spec(resolution: str, size_px: int = 448, min_coverage: float = 0.5, max_per_slide: int = 0) -> TileSpec:
    """The spec of a resolution at its defining um/px (`RESOLUTION_MPP`)."""
    return TileSpec(resolution, RESOLUTION_MPP[resolution], size_px, min_coverage, max_per_slide)
