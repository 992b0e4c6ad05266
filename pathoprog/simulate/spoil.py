"""Spoils made-up slides in the ways laboratories and scanners do, to test what tells them from good ones.

Each kind hurts the tumour: a blemish beside it would be no reason to refuse a slide. Optical density (OD) here is
-log10((value + 1) / 256), so that what lies over tissue adds up.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely import affinity

from pathoprog.regions.annotations import read_outline, write_outline
from pathoprog.simulate.drawing import slide_files
from pathoprog.simulate.pyramid import write_pyramid
from pathoprog.simulate.seeds import generator
from pathoprog.slides.opening import open_slide

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

LITTLE_TUMOUR = "little_tumour"
INKS = {  # OD of a thick stroke in red, green, blue: as in pictures of marked slides
    "blue": (0.95, 0.55, 0.22),
    "green": (0.85, 0.30, 0.38),
    "red": (0.12, 0.85, 0.72),
    "black": (1.05, 1.05, 1.00),
}
# Ruifrok and Johnston (2001), except haematoxylin as a counterstain, which absorbs red most in pictures at hand.
HAEMATOXYLIN, EOSIN, DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
COUNTERSTAIN = (0.72, 0.64, 0.27)


def spoil_slide(source: Path, slide_id: str, kind: str, seed: int, out: Path) -> None:
    """Write a spoilt copy of a made-up slide, with its outline, as `<slide_id>-<kind>` under `out`.

    Args:
        source: folder that `pathoprog simulate` wrote.
        slide_id: of the slide to spoil.
        kind: one of `KINDS`.
        seed: of the damage; seed, slide and kind give the same bytes.
        out: folder with ``slides`` and ``outlines``.
    """
    slide_path, outline_path = slide_files(source, slide_id)
    new_slide, new_outline = slide_files(out, f"{slide_id}-{kind}")
    new_slide.parent.mkdir(parents=True, exist_ok=True)
    new_outline.parent.mkdir(parents=True, exist_ok=True)
    rng = generator(seed, *f"{slide_id}-{kind}".encode())
    tumour = read_outline(outline_path)
    if kind == LITTLE_TUMOUR:
        shutil.copyfile(slide_path, new_slide)
        write_outline(new_outline, little_tumour(rng, tumour), name=new_slide.stem)
        return
    with open_slide(slide_path) as slide:
        picture, mpp = slide.read_region(0, 0, 0, (slide.width, slide.height)), slide.mpp
    write_pyramid(new_slide, KINDS[kind](rng, picture, mpp, tumour), mpp, 80)
    shutil.copyfile(outline_path, new_outline)


def little_tumour(rng: np.random.Generator, tumour: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """3% to 10% of the tumour's area, about its middle."""
    factor = float(np.sqrt(rng.uniform(0.03, 0.10)))
    smaller = affinity.scale(tumour, factor, factor, origin=tumour.representative_point())
    assert isinstance(smaller, shapely.MultiPolygon)
    return smaller


def blurred(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """Out of focus all over: a Gaussian of 1.2 to 3 um."""
    sigma = rng.uniform(1.2, 3.0) / mpp
    return np.stack([ndimage.gaussian_filter(picture[..., channel], sigma) for channel in range(3)], axis=-1)


def pen(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """A stroke of 120 to 220 um through the tumour, in blue, green, red or black ink."""
    across, _ = _across(rng, picture, tumour)
    half = rng.uniform(60, 110) / mpp
    ink = np.array(list(INKS.values())[rng.integers(len(INKS))], np.float32) * rng.uniform(0.9, 1.3)
    edge = np.clip((half - np.abs(across)) / (12 / mpp), 0, 1)
    return _over(picture, edge[..., None] * ink)


def folded(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """One or two bands of 60 to 110 um where the tissue lies three layers thick, as a crease does."""
    extra = np.zeros(picture.shape, np.float32)
    layers = _od(picture[::-1]) + _od(picture[:, ::-1])
    for _ in range(rng.integers(1, 3)):
        across, _ = _across(rng, picture, tumour)
        half = rng.uniform(30, 55) / mpp
        inside = np.clip((half - np.abs(across)) / (4 / mpp), 0, 1)
        extra = np.maximum(extra, inside[..., None] * layers)
    tissue = _od(picture).sum(axis=-1, keepdims=True) > 0.15
    return _over(picture, np.where(ndimage.binary_dilation(tissue[..., 0], iterations=8)[..., None], extra, 0))


def bubbles(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """One to three air bubbles of 160 to 300 um: a dark refracting rim, and a pale, blurred view inside."""
    h, w = picture.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    left, top, right, bottom = tumour.bounds
    result = picture
    pale = np.stack([ndimage.gaussian_filter(picture[..., c], 2.0 / mpp) for c in range(3)], axis=-1)
    for number in range(rng.integers(1, 4)):
        reach = 0.1 if number == 0 else 0.35
        centre_x = (left + right) / 2 + rng.uniform(-reach, reach) * (right - left)
        centre_y = (top + bottom) / 2 + rng.uniform(-reach, reach) * (bottom - top)
        radius = rng.uniform(80, 150) / mpp
        stretch = rng.uniform(0.85, 1.15)
        r = np.hypot((x - centre_x) * stretch, (y - centre_y) / stretch)
        inside = np.clip((radius - r) / (3 / mpp), 0, 1)[..., None]
        washed = 255 - (255 - pale.astype(np.float32)) * 0.6
        result = _bytes(result * (1 - inside) + washed * inside)
        rim = np.exp(-0.5 * ((r - radius) / (rng.uniform(6, 10) / mpp)) ** 2) * rng.uniform(0.4, 0.9)
        result = _over(result, rim[..., None].astype(np.float32))
    return result


def ihc(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """The section stained brown (DAB) with a blue counterstain instead of H&E; nuclei or cytoplasm positive."""
    dyes = np.array([HAEMATOXYLIN, EOSIN], np.float32)
    amounts = np.clip(_od(picture) @ np.linalg.pinv(dyes), 0, None)  # [h, w, 2]
    nuclear = rng.random() < 0.5
    positive = rng.uniform(0.1, 0.9)
    brown = amounts[..., 0] * positive if nuclear else amounts[..., 1] * positive
    blue = amounts[..., 0] * (1 - positive if nuclear else 1.0) + 0.1 * amounts[..., 1]
    od = blue[..., None] * np.array(COUNTERSTAIN) + brown[..., None] * np.array(DAB)
    return _picture(od.astype(np.float32))


def blank(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """Nothing on the glass but dust."""
    glass = np.percentile(picture.reshape(-1, 3)[::101], 99, axis=0)
    noise = rng.normal(0, 1.0, picture.shape).astype(np.float32)
    return _bytes(glass.astype(np.float32) + noise)


def fluorescence(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """Light on black instead of dye on white: nuclei blue, the rest in green."""
    dyes = np.array([HAEMATOXYLIN, EOSIN], np.float32)
    amounts = np.clip(_od(picture) @ np.linalg.pinv(dyes), 0, None)
    light = np.stack([0.05 * amounts[..., 1], 0.6 * amounts[..., 1], amounts[..., 0]], axis=-1)
    return _bytes(8 + 400 * light)


def grey(rng: np.random.Generator, picture: Bytes, mpp: float, tumour: shapely.MultiPolygon) -> Bytes:
    """Scanned without colour."""
    return np.repeat(picture.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)


KINDS: dict[str, Callable[[np.random.Generator, Bytes, float, shapely.MultiPolygon], Bytes]] = {
    "blurred": blurred,
    "pen": pen,
    "folded": folded,
    "bubbles": bubbles,
    "ihc": ihc,
    "blank": blank,
    "fluorescence": fluorescence,
    "grey": grey,
}
"""What can be done to the pixels; `LITTLE_TUMOUR` changes the outline instead."""
ALL_KINDS = (*KINDS, LITTLE_TUMOUR)


def _across(rng: np.random.Generator, picture: Bytes, tumour: shapely.MultiPolygon) -> tuple[Floats, Floats]:
    """Distances, in px, across and along a wavy line through the tumour's middle at a random angle: two [h, w]."""
    h, w = picture.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    middle = tumour.representative_point()
    left, top, right, bottom = tumour.bounds
    shift = rng.uniform(-0.15, 0.15, 2) * (right - left, bottom - top)
    angle = rng.uniform(0, np.pi)
    dx, dy = x - middle.x - shift[0], y - middle.y - shift[1]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    return across + 0.04 * w * np.sin(along / (0.12 * w) + rng.uniform(0, 6)), along


def _od(picture: Bytes) -> Floats:
    return -np.log10((picture.astype(np.float32) + 1) / 256)


def _picture(od: Floats) -> Bytes:
    return _bytes(256 * 10.0**-od - 1)


def _bytes(light: Floats) -> Bytes:
    result: Bytes = np.clip(light, 0, 255).astype(np.uint8)
    return result


def _over(picture: Bytes, od: Floats) -> Bytes:
    """What is seen through a further layer of the given OD."""
    return _picture(_od(picture) + od)
