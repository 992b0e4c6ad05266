"""The tile map: each resolution's tile scores over the slide's thumbnail, with the analysed area and a caption.

Drawn with Pillow, since a batch draws thousands. The frame of all coordinates given is level-0 pixels.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.networks.config import ATTENTION, EQUAL, HIGHEST, MIXED
from pathoprog.regions.tissue import RegionMask

_TILE_SCORE = "Tile score: the output of the network for a bag of this tile alone, mean of the members; higher = worse."
_WEIGHT = "Attention weight: the tile's share in the slide's score, relative to equal weights"
CAPTIONS = {
    EQUAL: f"{_TILE_SCORE} All tiles weigh equally in the slide's score, so a small hot spot need not have decided the"
    " class. Neither a cause nor a probability.",
    HIGHEST: f"{_TILE_SCORE} Of each value the highest in the slide count alone, so a few tiles may have decided the"
    " class, and not only those of the highest tile scores. Neither a cause nor a probability.",
    ATTENTION: f"{_TILE_SCORE} {_WEIGHT}. Neither is a cause or a probability.",
    MIXED: f"{_TILE_SCORE} In the slide's score tiles were compared with one another first, so that a tile counts for"
    f" more than itself. {_WEIGHT}, after that. Neither is a cause or a probability.",
}
"""What a map's numbers mean, by what a tile's part in the score is (`networks.config.EQUAL`)."""


def caption_of(weighings: Iterable[str]) -> str:
    """The caption of a map whose resolutions weigh tiles so: of the one that needs the most said."""
    return CAPTIONS[max(weighings, key=list(CAPTIONS).index, default=EQUAL)]


CAPTION_UNKNOWN = f"{_TILE_SCORE} Neither a cause nor a probability."
"""Where it is not known what a tile's part in the score is: its bundle is served no longer."""


MAX_PANEL_PX = 640
OPACITY = 0.55
AREA_COLOUR = (20, 20, 20)

_STOPS = np.array([(49, 70, 149), (116, 173, 209), (255, 247, 190), (244, 130, 67), (165, 0, 38)], dtype=np.float64)
COLOURS: NDArray[np.uint8] = np.stack(
    [np.interp(np.linspace(0, 4, 256), np.arange(5), _STOPS[:, channel]) for channel in range(3)], axis=1
).astype(np.uint8)
"""[256, 3]: blue (0) over pale yellow to red (1); told apart with the common colour blindnesses too."""


_LAID_OVER: NDArray[np.uint8] = (
    (OPACITY * np.arange(256, dtype=np.float32)[:, None] + (1 - OPACITY) * np.arange(256, dtype=np.uint8))
    .astype(np.uint8)
    .ravel()
)
"""[256 * 256]: what is seen of a colour over a pixel, in one channel; at 256 times the colour plus the pixel."""
_ROWS: NDArray[np.int32] = COLOURS.astype(np.int32) * 256
"""[256, 3]: where each value's colour begins there."""


@dataclass
class Layer:
    """One panel of the map.

    Attributes:
        title: what is shown, for example ``10x tile score``.
        x0: left edges of the tiles, [n], level-0 px.
        y0: top edges, [n], level-0 px.
        width0: width of a tile, level-0 px.
        height0: its height.
        values: [n], in [0, 1].
        low: what 0 and `high` what 1 mean, written at the colour bar.
        high: see `low`.
    """

    title: str
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    width0: float
    height0: float
    values: NDArray[np.floating[Any]]
    low: str = "0"
    high: str = "1"


def draw_heatmap(
    thumbnail: NDArray[np.uint8],
    downsample: float,
    area: RegionMask | shapely.MultiPolygon,
    layers: list[Layer],
    title: str,
    caption: str = CAPTIONS[EQUAL],
) -> Image.Image:
    """Draw the panels side by side, one per layer; with no layer the thumbnail and the analysed area alone.

    Args:
        thumbnail: uint8 [h, w, 3].
        downsample: level-0 px per thumbnail px.
        area: the analysed area: a mask, or polygons in level-0 px.
        layers: what to show.
        title: above the panels.
        caption: below them; the research-use line is added.
    """
    shrink = max(1, -(-max(thumbnail.shape[:2]) // MAX_PANEL_PX))
    base = Image.fromarray(thumbnail).reduce(shrink)
    scale = 1 / (downsample * shrink)
    edge = _edge(area, base.size, scale)
    panels = [_panel(np.asarray(base), edge, scale, layer) for layer in layers] or [
        _panel(np.asarray(base), edge, scale)
    ]
    width, height = base.size
    gap, head, bar = 12, 44, 34
    total = max(len(panels) * (width + gap) + gap, 420)
    small, large = _font(12), _font(15)
    lines = [line for text in (caption, RESEARCH_USE_ONLY) for line in textwrap.wrap(text, max(40, int(total / 6.1)))]
    page = Image.new("RGB", (total, head + height + bar + 16 * len(lines) + 12), "white")
    draw = ImageDraw.Draw(page)
    draw.text((gap, 4), title, fill="black", font=large)
    for index, panel in enumerate(panels):
        left = gap + index * (width + gap)
        page.paste(Image.fromarray(panel), (left, head))
        draw.text((left, head - 18), layers[index].title if layers else "analysed area", fill="black", font=small)
        if layers:
            _colour_bar(page, draw, left, head + height + 6, min(width, 220), layers[index], small)
    for index, line in enumerate(lines):
        draw.text((gap, head + height + bar + 4 + 16 * index), line, fill=(60, 60, 60), font=small)
    return page


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _panel(
    base: NDArray[np.uint8], edge: NDArray[np.bool_], scale: float, layer: Layer | None = None
) -> NDArray[np.uint8]:
    """Thumbnail [h, w, 3] with the tiles' colours laid over it and the area's edge on top."""
    panel = base.copy()
    if layer is not None and len(layer.x0):
        values = np.full(base.shape[:2], -1, dtype=np.int16)
        levels = np.rint(np.clip(layer.values, 0, 1) * 255).astype(np.int16)
        left, top = np.floor(layer.x0 * scale).astype(int), np.floor(layer.y0 * scale).astype(int)
        right = np.maximum(left + 1, np.ceil((layer.x0 + layer.width0) * scale).astype(int))
        bottom = np.maximum(top + 1, np.ceil((layer.y0 + layer.height0) * scale).astype(int))
        for x, y, x_end, y_end, level in zip(left, top, right, bottom, levels, strict=True):
            values[y:y_end, x:x_end] = level
        at = np.flatnonzero(values >= 0)
        pixels = panel.reshape(-1, 3)
        index = np.take(_ROWS, values.ravel()[at], axis=0)  # [n, 3]
        index += pixels[at]
        pixels[at] = np.take(_LAID_OVER, index)
    panel[edge] = AREA_COLOUR
    return panel


def _edge(area: RegionMask | shapely.MultiPolygon, size: tuple[int, int], scale: float) -> NDArray[np.bool_]:
    """The border of the area as a line of one pixel, bool [h, w] for a panel of `size` (w, h) px."""
    if isinstance(area, RegionMask):
        h, w = area.array.shape
        rows = ((np.arange(size[1]) + 0.5) / scale / area.downsample_y).astype(int)
        columns = ((np.arange(size[0]) + 0.5) / scale / area.downsample).astype(int)
        mask = area.array[np.ix_(np.minimum(rows, h - 1), np.minimum(columns, w - 1))]
        padded = np.pad(mask, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        edge: NDArray[np.bool_] = mask & ~inner
        return edge
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for polygon in area.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            draw.line((shapely.get_coordinates(ring) * scale).ravel().tolist(), fill=1)
    return np.asarray(image)


def _colour_bar(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    width: int,
    layer: Layer,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    ramp = COLOURS[np.linspace(0, 255, width).astype(int)]
    page.paste(Image.fromarray(np.broadcast_to(ramp, (8, width, 3)).copy()), (left, top))
    draw.text((left, top + 9), layer.low, fill="black", font=font)
    draw.text((left + width, top + 9), layer.high, fill="black", font=font, anchor="ra")
