"""An outline as a mask: holes stay out, and an island in a hole stays in."""

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pathoprog.regions.annotations import polygons


def outline_mask(outline: shapely.MultiPolygon, shape: tuple[int, int], with_line: bool) -> NDArray[np.bool_]:
    """The inside of an outline, bool [h, w].

    Args:
        outline: in pixels of the mask, from its top left corner.
        shape: h, w of the mask.
        with_line: True: every pixel that the line goes through counts as that side which is drawn last, the smaller
            ring's; False: a pixel belongs to the side where about its middle lies, so that areas come out true.
    """
    rings = [(shapely.Polygon(part.exterior), 1) for part in outline.geoms]
    rings += [(shapely.Polygon(ring), 0) for part in outline.geoms for ring in part.interiors]
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    for area, fill in sorted(rings, key=lambda item: -item[0].area):  # a hole after its part, an island after its hole
        # Half a pixel smaller where the line is to be split, since Pillow fills the pixels that it goes through.
        for part in [area] if with_line else list(polygons(shapely.buffer(area, -0.5)).geoms):
            draw.polygon(shapely.get_coordinates(part.exterior).ravel().tolist(), fill=fill)
    return np.array(image)
