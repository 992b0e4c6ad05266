"""From the probabilities of overlapping windows to an outline: one smooth map, polygons, area, Dice. No torch.

The map has half the view's resolution, so that the widest slide's stays small; its lines are found between pixels.
"""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pathoprog.regions.annotations import polygons
from pathoprog.regions.overview import Windows
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.slides.slide import SlideFacts

MAP_STEP = 2  # pixels of the view per pixel of the map, each way


class TumourMap:
    """Probabilities of one slide's windows, joined.

    Where windows overlap, each counts less towards its edge, so that the map has no seams.
    """

    def __init__(self, windows: Windows, overlap_px: int):
        self.windows = windows
        shape = (windows.height // MAP_STEP, windows.width // MAP_STEP)
        self._sum, self._weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        ramp = np.minimum((np.arange(windows.size_px) + 0.5) / max(overlap_px, 0.5), 1.0)
        side = _halved(np.minimum(ramp, ramp[::-1])[None, :].repeat(MAP_STEP, axis=0))[0]
        self._window_weight = np.outer(side, side).astype(np.float32)

    def add(self, start: int, probabilities: NDArray[np.float32]) -> None:
        """Lay the windows `start` … into the map; float32 [n, s, s]."""
        side = self.windows.size_px // MAP_STEP
        for offset, window in enumerate(probabilities):
            y, x = (int(axis[start + offset]) // MAP_STEP for axis in (self.windows.y, self.windows.x))
            self._sum[y : y + side, x : x + side] += self._window_weight * _halved(window)
            self._weight[y : y + side, x : x + side] += self._window_weight

    def probabilities(self) -> NDArray[np.float32]:
        """The map, float32 [height / 2, width / 2]; 0 where no window lay."""
        return np.divide(self._sum, self._weight, out=np.zeros_like(self._sum), where=self._weight > 0)

    def outline(self, facts: SlideFacts, settings: OutlineSettings) -> shapely.MultiPolygon:
        """The tumour, level-0 px; empty where there is none. See `outline_of`."""
        return outline_of(self.probabilities(), self.windows.mpp * MAP_STEP, facts, settings)


def _halved(window: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    h, w = window.shape
    return np.asarray(window.reshape(h // MAP_STEP, MAP_STEP, w // MAP_STEP, MAP_STEP).mean(axis=(1, 3)))


def outline_of(
    probabilities: NDArray[np.float32], mpp: float, facts: SlideFacts, settings: OutlineSettings
) -> shapely.MultiPolygon:
    """Polygons around the places whose probability passes the threshold.

    Args:
        probabilities: float32 [h, w]; pixel (0, 0) begins at the slide's corner.
        mpp: um per pixel of them, the same in x and y.
        facts: size and um/px of the slide.
        settings: threshold, smallest part and hole, tolerance of the simplification.

    Returns:
        Valid polygons inside the slide, level-0 px, holes cut out; empty where nothing passes.
    """
    from skimage import measure  # takes a while, and readers need the rest

    find_contours: Any = measure.find_contours  # has no types

    # A border of zeros closes lines at the edge. Pixel (row, column) of the padded map has its centre at
    # (column - 0.5, row - 0.5) pixels of the map.
    lines = find_contours(np.pad(probabilities, 1), settings.threshold)
    rings = [shapely.linearrings((line[:, ::-1] - 0.5) * mpp) for line in lines if len(line) >= 4]
    area_um = polygons(shapely.build_area(shapely.geometrycollections(rings)))
    kept = [_without_holes(part, settings.min_hole_um2) for part in area_um.geoms if part.area >= settings.min_area_um2]
    simple = shapely.simplify(shapely.union_all(kept), settings.simplify_um)
    to_px = np.array([1 / facts.mpp_x, 1 / facts.mpp_y])
    in_px = shapely.transform(simple, lambda xy: np.round(xy * to_px, 1))
    return polygons(shapely.clip_by_rect(polygons(in_px), 0, 0, facts.width, facts.height))


def _without_holes(part: shapely.Polygon, min_area: float) -> shapely.Polygon:
    holes = [ring for ring in part.interiors if shapely.Polygon(ring).area >= min_area]
    return shapely.Polygon(part.exterior, holes)


def area_um2(outline: shapely.MultiPolygon, facts: SlideFacts) -> float:
    """Area of polygons in level-0 px, square um."""
    return float(outline.area) * facts.mpp_x * facts.mpp_y


def dice(one: shapely.MultiPolygon, other: shapely.MultiPolygon) -> float:
    """Dice coefficient of two outlines: twice the common area over the sum of both (Dice 1945); 1 if both are empty."""
    total = one.area + other.area
    return float(2 * shapely.intersection(one, other).area / total) if total > 0 else 1.0
