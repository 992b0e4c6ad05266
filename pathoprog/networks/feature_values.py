"""Features of one slide at one resolution, whoever made them. No torch.

Shapes: n tiles of one slide, d features.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.system.file_array import FileArray
from pathoprog.system.h5_array import H5Array

PIXELS, MICRONS, NOWHERE = "px", "um", ""
"""What coordinates are: level-0 px; um from the slide's corner; or not known at all."""


@dataclass
class Features:
    """Features of one slide at one resolution.

    Attributes:
        path: the file.
        values: float16 or float32 [n, d]; they stay in the file.
        x0: int64 [n], left edges of the tiles, in `unit`.
        y0: int64 [n], top edges, in `unit`.
        facts: what the file says of slide, tiles and encoder.
        made_by: SHA-256 over encoder and tile spec: files of one training must agree in it.
        content: SHA-256 that stands for these values: of the facts (which hold slide's and weights'), or of the values.
        maker: who made them, where it was another tool.
        unit: of the coordinates: `PIXELS`, `MICRONS` (STAMP's) or `NOWHERE`, where x0 and y0 are 0 and say nothing.
        side: of a tile, in `unit`; NaN where it is not known.
    """

    path: Path
    values: NDArray[np.floating[Any]] | FileArray | H5Array
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    facts: dict[str, Any]
    made_by: str
    content: str
    maker: FeatureMaker | None = None
    unit: str = PIXELS
    side: float = math.nan
