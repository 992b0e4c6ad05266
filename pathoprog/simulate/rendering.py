"""From a slide's morphology to what a scanner makes of it: stain, sharpness, um/px, colour."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pathoprog.simulate import banks
from pathoprog.simulate.morphology import EPITHELIUM, GLASS, STROMA, Morphology

Bytes = NDArray[np.uint8]

STRIPE_PX = 128  # rows coloured at a time, so that the work stays in the processor's cache
EOSIN_SCALE = 200.0  # grey levels per unit of eosin density


@dataclasses.dataclass(frozen=True)
class Scanner:
    """How a scanner sees: um/px, sharpness (SD of the point spread, um), white of empty glass, contrast."""

    mpp: float
    blur_um: float
    white: tuple[float, float, float]
    gamma: float


SCANNERS = {
    "scanner_A": Scanner(0.2500, 0.18, (243, 242, 244), 1.0),
    "scanner_B": Scanner(0.2460, 0.21, (238, 240, 243), 1.06),
    "scanner_C": Scanner(0.2273, 0.23, (246, 243, 238), 0.93),
}


@dataclasses.dataclass(frozen=True)
class Stain:
    """Optical density per unit of dye in red, green and blue, and how much of each dye a slide took up."""

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    haematoxylin_amount: float
    eosin_amount: float


# Stain vectors near Ruifrok and Johnston (2001), as laboratories differ: red, green, blue.
LAB_STAINS = {
    "lab_1": Stain((0.68, 0.72, 0.30), (0.08, 0.92, 0.36), 1.00, 1.00),
    "lab_2": Stain((0.62, 0.76, 0.34), (0.10, 0.86, 0.42), 0.92, 1.12),
    "lab_3": Stain((0.72, 0.66, 0.26), (0.06, 0.95, 0.30), 1.08, 0.90),
    "lab_4": Stain((0.66, 0.74, 0.36), (0.12, 0.84, 0.30), 0.98, 0.95),
    "lab_5": Stain((0.70, 0.70, 0.32), (0.09, 0.90, 0.44), 0.95, 1.05),
    "lab_6": Stain((0.64, 0.72, 0.28), (0.07, 0.94, 0.34), 1.06, 1.08),
    "lab_7": Stain((0.74, 0.68, 0.30), (0.11, 0.84, 0.46), 1.10, 1.02),
    "lab_8": Stain((0.60, 0.76, 0.38), (0.08, 0.92, 0.40), 0.90, 0.92),
    "lab_9": Stain((0.70, 0.74, 0.24), (0.13, 0.82, 0.34), 1.02, 1.16),
    "lab_10": Stain((0.66, 0.68, 0.36), (0.06, 0.94, 0.46), 0.96, 1.04),
    "lab_11": Stain((0.72, 0.72, 0.34), (0.10, 0.88, 0.28), 1.12, 0.94),
    "lab_12": Stain((0.63, 0.70, 0.26), (0.09, 0.90, 0.38), 0.94, 1.10),
}


def draw_stain(rng: np.random.Generator, laboratory: str) -> Stain:
    """One slide's stain: its laboratory's, varying from day to day."""
    lab = LAB_STAINS[laboratory]
    vary = rng.normal(0, 1, 8)

    def vector(mean: tuple[float, float, float], z: NDArray[np.float64]) -> tuple[float, float, float]:
        red, green, blue = np.maximum(np.array(mean) + 0.025 * z, 0.02)
        return float(red), float(green), float(blue)

    return Stain(
        vector(lab.haematoxylin, vary[:3]),
        vector(lab.eosin, vary[3:6]),
        float(lab.haematoxylin_amount * np.exp(0.09 * vary[6])),
        float(lab.eosin_amount * np.exp(0.11 * vary[7])),
    )


def render(rng: np.random.Generator, morphology: Morphology, field_um: float, stain: Stain, scanner: Scanner) -> Bytes:
    """Draw level 0 of a slide.

    Returns:
        uint8 ``[side, side, 3]``, ``side = field_um / scanner.mpp`` rounded.
    """
    side = round(field_um / scanner.mpp)
    what = Image.fromarray(morphology.tissue_map).resize((side, side), Image.Resampling.BICUBIC)
    width = 16 + 40 * scanner.blur_um  # of a border on the map, grey levels
    haematoxylin = np.array(what.point(_ramp((0.0, 0.36, 0.03), width, banks.OD_SCALE)))
    eosin = np.asarray(what.point(_ramp((0.0, 0.30, 0.46), width, EOSIN_SCALE)))
    stroma = np.asarray(what) > (EPITHELIUM + STROMA) / 2

    texture = banks.texture(scanner.mpp)
    fibre_x, fibre_y, grain_x, grain_y = rng.integers(0, banks.TEXTURE_PX, 4)
    _stamp_nuclei(rng, haematoxylin, morphology, scanner, texture.fibre_angle, int(fibre_x), int(fibre_y))
    fibres = _tiled(texture.fibres, int(fibre_x), int(fibre_y), side)
    granules = _tiled(texture.granules, int(grain_x), int(grain_y), side)

    colours = _colours(stain, scanner)
    picture = np.empty((side, side, 3), np.uint8)
    for top in range(0, side, STRIPE_PX):
        rows = slice(top, min(top + STRIPE_PX, side))
        grain = np.where(stroma[rows], fibres[rows], granules[rows])
        index = (haematoxylin[rows] >> 2).astype(np.intp)
        index <<= 12
        index |= (eosin[rows] & 0xFC).astype(np.intp) << 4
        index |= grain >> 2
        coloured = np.take(colours, index, mode="clip").view(np.uint8).reshape(*index.shape, 4)
        for channel in range(3):  # faster than the three at once, which are copied pixel by pixel
            picture[rows, :, channel] = coloured[..., channel]
    return picture


def _tiled(bank: Bytes, x: int, y: int, side: int) -> Bytes:
    """A window of a texture that repeats."""
    return banks.periodic_window(bank, x, y, side)


def _ramp(levels: tuple[float, float, float], width: float, scale: float) -> list[int]:
    """Look-up table from the tissue map to a dye's density: flat on glass, epithelium and stroma, steep between."""
    value = np.arange(256)
    anchors = (GLASS, EPITHELIUM, STROMA)
    result = np.full(256, levels[0])
    for i in (0, 1):
        border = (anchors[i] + anchors[i + 1]) / 2
        result += (levels[i + 1] - levels[i]) * np.clip(0.5 + (value - border) / width, 0, 1)
    return [int(level) for level in np.clip(np.rint(result * scale), 0, 255)]


def _stamp_nuclei(
    rng: np.random.Generator,
    haematoxylin: Bytes,
    morphology: Morphology,
    scanner: Scanner,
    fibre_angle: Bytes,
    fibre_x: int,
    fibre_y: int,
) -> None:
    """Put the nuclei onto the haematoxylin channel, in place."""
    bank = banks.nuclei(scanner.mpp, scanner.blur_um)
    side = bank.gland.shape[-1]
    half = side // 2
    limit = len(haematoxylin)
    for stamps in morphology.stamps:
        pictures = getattr(bank, stamps.kind)
        if pictures.ndim == 4:
            pictures = pictures[None]
        left = np.rint(stamps.x_um / scanner.mpp).astype(int) - half
        top = np.rint(stamps.y_um / scanner.mpp).astype(int) - half
        fits = (left >= 0) & (top >= 0) & (left + side <= limit) & (top + side <= limit)
        along = fibre_angle[(top + half + fibre_y) % banks.TEXTURE_PX, (left + half + fibre_x) % banks.TEXTURE_PX]
        angle = np.where(stamps.angle < 0, along, stamps.angle) % pictures.shape[1]
        variant = rng.integers(0, banks.VARIANTS, len(left))
        for i in np.flatnonzero(fits):
            window = haematoxylin[top[i] : top[i] + side, left[i] : left[i] + side]
            np.maximum(window, pictures[stamps.level[i], angle[i], variant[i]], out=window)


def _colours(stain: Stain, scanner: Scanner) -> NDArray[np.uint32]:
    """Colour of each (haematoxylin, eosin, texture) triple of six bits, by Beer-Lambert; red in the lowest byte."""
    step = np.arange(64, dtype=np.float32)
    grain = (step * 4 + 2 - 128) / 40
    haematoxylin = (step * 4 + 1.5)[:, None, None] / banks.OD_SCALE * (1 + 0.07 * grain)
    haematoxylin[0] = 0
    eosin = (step * 4 + 1.5)[None, :, None] / EOSIN_SCALE * np.clip(1 + 0.21 * grain, 0.1, None)
    eosin[:, 0] = 0
    h = haematoxylin * stain.haematoxylin_amount
    e = eosin * stain.eosin_amount
    glass = 0.004 * grain[None, None, :]
    result = np.zeros((64, 64, 64), np.uint32)
    for channel in range(3):
        od = h * stain.haematoxylin[channel] + e * stain.eosin[channel] + glass
        light = scanner.white[channel] * np.exp(-od * scanner.gamma)
        result |= np.clip(np.rint(light), 0, 255).astype(np.uint32) << np.uint32(8 * channel)
    return result.ravel()
