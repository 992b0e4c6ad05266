"""Where things are on a slide: tissue, tumour, glands, fat and nuclei, in micrometres.

The two hidden factors enter here and nowhere else. *Architecture* moves the stroma, from thin septa around single
glands (low) to broad bands around fused sheets (high), and turns one wide lumen in each gland into many small,
cribriform ones. *Nuclei* chooses which nuclei are stamped. Shares of epithelium, lumen and stroma within the tumour are
kept, so that neither factor changes an area or the mean colour.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from pathoprog.simulate import banks

Floats = NDArray[np.float32]

# Levels of the map that tells what a place is; between two of them lies a border.
GLASS, EPITHELIUM, STROMA = 20.0, 128.0, 235.0
STROMA_SHARE, LUMEN_SHARE, NUCLEI_SHARE = 0.32, 0.10, 0.19  # of the tumour's area; nuclei of its epithelium
LUMEN_DEPTH_UM = 5.0  # epithelium around a wide lumen, at least
NUCLEUS_SPACING_UM = 5.7
EDGE_UM = 0.7  # softness of a border on the map


@dataclasses.dataclass(frozen=True)
class Stamps:
    """Nuclei of one kind: centres in um from the slide's corner, and which picture each takes."""

    kind: str
    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    angle: NDArray[np.intp]  # of banks.ANGLES; -1 along the fibres
    level: NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Morphology:
    """A slide before it is stained.

    Attributes:
        tissue_map: what a place is (GLASS, EPITHELIUM, STROMA and borders between), 1 um/px, uint8 ``[n, n]``.
        stamps: the nuclei.
        outline_um: the tumour's outline, ``[n, 2]`` x, y in um.
        tumour_area_um2: area inside the outline.
        tissue_area_um2: area that is not glass.
    """

    tissue_map: NDArray[np.uint8]
    stamps: tuple[Stamps, ...]
    outline_um: NDArray[np.float64]
    tumour_area_um2: float
    tissue_area_um2: float


def unit_factor(value: float) -> float:
    """A hidden factor (standard normal) as a share in [0, 1], linear over what nearly all patients have."""
    return float(np.clip(0.5 + value / 4.4, 0, 1))


def cribriform_share(value: float) -> float:
    """The architecture's factor as a share in [0, 1] that tells patients near the middle well apart."""
    return float(0.5 + 0.5 * np.tanh(value))


def draw_morphology(rng: np.random.Generator, field_um: float, architecture: float, nuclei: float) -> Morphology:
    """Lay out one slide.

    Args:
        rng: the slide's generator.
        field_um: width and height of the slide.
        architecture: hidden factor, standard normal.
        nuclei: hidden factor, standard normal.
    """
    n = int(np.ceil(field_um))
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) + 0.5
    smooth = _window(rng, banks.layout().smooth, n)
    centre = field_um / 2 + rng.normal(0, 0.012 * field_um, 2)
    dx, dy = x - centre[0], y - centre[1]
    turn, radius = np.arctan2(dy, dx), np.hypot(dx, dy)

    outline = _Outline(rng, 0.375 * field_um)
    inside = outline.radius(turn) - radius  # um inside the tumour
    facing = rng.uniform(0, 2 * np.pi)
    fat_side = np.cos(turn - facing) * radius + 12 * smooth - 0.345 * field_um
    gland_side = np.cos(turn - facing - np.pi + rng.uniform(-0.7, 0.7)) * radius + 10 * smooth - 0.30 * field_um
    tissue = 0.60 * field_um + 14 * smooth - radius  # um inside the tissue
    cut = facing + np.pi / 2 + rng.uniform(-0.5, 0.5) + np.pi * rng.integers(2)
    tissue = np.minimum(tissue, (0.44 + 0.08 * rng.random()) * field_um + 9 * smooth - np.cos(turn - cut) * radius)

    tumour_map, epithelium, lumen, base = _tumour(rng, n, inside, cribriform_share(architecture))
    crypt = _window(rng, banks.layout().crypt, n)
    mucosa = np.minimum(gland_side, -inside - 12)
    wall = np.minimum(24 - crypt, mucosa)
    # Goblet cells: pale mucus between the nuclei at the crypt's base and its lumen.
    crypt_map = STROMA - (STROMA - EPITHELIUM) * _step(wall)
    crypt_map -= (EPITHELIUM - GLASS) * _step(np.minimum(5 - crypt, mucosa))
    ragged = _window(rng, banks.layout().ragged, n)
    goblet = np.minimum(np.minimum(crypt - 8.0, 17.0 - crypt), 2.2 * (ragged - 0.35))
    crypt_map -= 58 * _step(np.minimum(goblet, mucosa))
    fat = np.minimum(_window(rng, banks.layout().fat, n) - 3.2, np.minimum(fat_side, -inside - 8))
    fat_map = STROMA - (STROMA - GLASS) * _step(fat)

    values = np.minimum(np.minimum(tumour_map, crypt_map), fat_map)
    values = GLASS + (values - GLASS) * _step(tissue)
    stamps = (
        _tumour_nuclei(
            rng,
            n,
            epithelium,
            lumen,
            base,
            float((inside > 0).sum()),
            cribriform_share(architecture),
            unit_factor(nuclei),
        )
        + _crypt_nuclei(rng, n, crypt, np.minimum(wall, tissue))
        + _stroma_nuclei(rng, n, values, fat_side)
    )
    step = np.arange(0, 2 * np.pi, 2 * np.pi / 144)
    edge = outline.radius(step.astype(np.float32))
    points = np.stack([centre[0] + edge * np.cos(step), centre[1] + edge * np.sin(step)], -1)
    area = float(np.sum(points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1)) / 2)
    return Morphology(
        tissue_map=np.rint(np.clip(values, 0, 255)).astype(np.uint8),
        stamps=stamps,
        outline_um=points,
        tumour_area_um2=area,
        tissue_area_um2=float((tissue > 0).sum()),
    )


class _Outline:
    """An irregular closed line around a centre, as a radius for each direction."""

    def __init__(self, rng: np.random.Generator, mean_radius: float):
        self.mean = mean_radius * np.exp(rng.normal(0, 0.02))
        self.waves = [(k, rng.normal(0, 0.11 / k**0.8), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5, 7, 9, 12)]

    def radius(self, turn: Floats) -> Floats:
        """Radius in um at each direction (radians)."""
        shape = sum(size * np.cos(k * turn + phase) for k, size, phase in self.waves)
        return np.asarray(self.mean * (1 + 0.16 * np.tanh(shape / 0.16)), np.float32)


def _window(rng: np.random.Generator, bank: Floats, n: int) -> Floats:
    """A random window ``[n, n]`` of a periodic map, turned or mirrored at random."""
    x, y, turns, mirror = rng.integers(0, len(bank)), rng.integers(0, len(bank)), rng.integers(4), rng.integers(2)
    return _cut(bank, int(x), int(y), int(turns), bool(mirror), n)


def _cut(bank: NDArray[Any], x: int, y: int, turns: int, mirror: bool, n: int) -> NDArray[Any]:
    window = np.rot90(banks.periodic_window(bank, x, y, n), turns)
    return window[:, ::-1] if mirror else window


def _step(um: Floats, softness: float = EDGE_UM) -> Floats:
    """From 0 to 1 where a signed distance turns positive."""
    return np.asarray(np.clip(0.5 + um / (2 * softness), 0, 1), np.float32)


def _tumour(
    rng: np.random.Generator, n: int, inside: Floats, architecture: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """The tumour's part of the map; um inside epithelium and lumen; um from the nearest border of a gland's cell."""
    layout = banks.layout()
    place = (int(rng.integers(banks.LAYOUT_UM)), int(rng.integers(banks.LAYOUT_UM)))
    place_turn = (int(rng.integers(4)), bool(rng.integers(2)))
    cell, septum, centre = (
        _cut(bank, *place, *place_turn, n) for bank in (layout.cell_border, layout.septum, layout.centre)
    )
    ragged = _window(rng, layout.ragged, n)
    local = _window(rng, layout.smooth, n)
    # Septa between glands of one group vanish one by one as the factor rises; what is left widens in exchange. The
    # outlines get more ragged, so that a field too small for architecture meets as many borders at either end.
    fused = np.clip(1.04 * architecture - 0.02 + 0.06 * local - septum, -0.02, 0.02) / 0.04 + 0.5
    gland = gaussian_filter(cell + 24.0 * fused, 1.5) + (0.5 + 0.6 * architecture) * ragged
    tumour = inside > 0
    gland -= np.quantile(gland[tumour], STROMA_SHARE)
    epithelium = np.minimum(gland, inside)
    lumen = _lumina(rng, epithelium, centre, ragged, tumour, architecture)
    values = STROMA - (STROMA - EPITHELIUM) * _step(epithelium) - (EPITHELIUM - GLASS) * _step(lumen)
    return values, epithelium, lumen, centre


def _lumina(
    rng: np.random.Generator,
    epithelium: Floats,
    centre: Floats,
    ragged: Floats,
    tumour: NDArray[np.bool_],
    architecture: float,
) -> Floats:
    """Um inside a lumen: one wide lumen in the middle of each gland (low architecture), or many small, cribriform ones.

    The white area is the same share of the tumour whatever the mixture.
    """
    n, share = len(epithelium), LUMEN_SHARE * tumour.sum()
    deep = epithelium > LUMEN_DEPTH_UM
    wide = -centre - 1.2 * ragged
    wide -= np.quantile(wide[deep], 1 - min((1 - architecture) * share / max(deep.sum(), 1), 0.9))
    wide = np.minimum(wide, epithelium - LUMEN_DEPTH_UM)
    place = (int(rng.integers(banks.LAYOUT_UM)), int(rng.integers(banks.LAYOUT_UM)))
    turn = (int(rng.integers(4)), bool(rng.integers(2)))
    hole, number = _cut(banks.layout().hole, *place, *turn, n), _cut(banks.layout().hole_number, *place, *turn, n)
    hole = np.minimum(hole, epithelium - 2.0)
    hole = np.where(wide > -3.5, np.float32(-9.0), hole)  # a wall of epithelium stays around a wide lumen
    # Holes are opened one after the other, in random order, until the share is reached.
    white = np.bincount(number[tumour], _step(hole)[tumour])
    order = rng.permutation(len(white))
    opened = np.cumsum(white[order]) <= share - _step(wide)[tumour].sum()
    is_open = np.zeros(int(number.max()) + 1, bool)
    is_open[order[opened]] = True
    return np.asarray(np.maximum(wide, np.where(is_open[number], hole, np.float32(-9.0))))


def _points(rng: np.random.Generator, n: int, spacing: float) -> NDArray[np.float64]:
    """Points of a jittered hexagonal lattice over the slide, ``[k, 2]`` x, y in um."""
    count = int(np.ceil(n / spacing)) + 1
    y, x = np.mgrid[0 : int(np.ceil(count / 0.866)), 0:count].astype(np.float64)
    x, y = x + 0.5 * (y % 2), y * 0.866
    points = np.stack([x.ravel(), y.ravel()], -1) * spacing + rng.normal(0, 0.15 * spacing, (x.size, 2))
    return points[((points > 1) & (points < n - 1)).all(1)]


def _at(field: Floats, points: NDArray[np.float64]) -> Floats:
    """Values of a map at points (nearest um)."""
    column, row = points.astype(np.intp).T
    return np.asarray(field[row, column])


def _angle_to_centre(distance: Floats, points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Orientation bin of the way to the centre, from a map of the distance to it."""
    far = np.clip(points, 4, distance.shape[0] - 5)
    gx = _at(distance, far + np.array([3, 0])) - _at(distance, far - np.array([3, 0]))
    gy = _at(distance, far + np.array([0, 3])) - _at(distance, far - np.array([0, 3]))
    angle = np.arctan2(gy, gx) + rng.normal(0, 0.22, len(points))
    return np.asarray(np.rint(angle / np.pi * banks.ANGLES).astype(np.intp) % banks.ANGLES)


def _tumour_nuclei(
    rng: np.random.Generator,
    n: int,
    epithelium: Floats,
    lumen: Floats,
    centre: Floats,
    tumour_area_um2: float,
    architecture: float,
    nuclei: float,
) -> tuple[Stamps, ...]:
    points = _points(rng, n, NUCLEUS_SPACING_UM)
    points = points[(_at(epithelium, points) > 1.2) & (_at(lumen, points) < -3.5)]
    # As many as cover a fixed share of the tumour: those at the base of each gland (low architecture) or any (high).
    wanted = NUCLEI_SHARE * tumour_area_um2 / banks.NUCLEUS_AREA_UM2
    basal = np.exp(-np.maximum(_at(epithelium, points) - 2.5, 0) / 4)
    order = np.argsort(-((1 - architecture) * basal + (0.15 + architecture) * rng.random(len(points))))
    points = points[order[: round(wanted)]]
    spread = rng.normal(0, 0.13, len(points))
    level = np.rint(np.clip(nuclei + spread, 0, 1) * (banks.NUCLEUS_LEVELS - 1)).astype(np.intp)
    angle = _angle_to_centre(centre, points, rng)
    dividing = rng.random(len(points)) < 0.002 + 0.006 * nuclei
    return (
        _stamps("tumour", points[~dividing], angle[~dividing], level[~dividing]),
        _stamps("mitosis", points[dividing], angle[dividing]),
    )


def _crypt_nuclei(rng: np.random.Generator, n: int, crypt: Floats, wall: Floats) -> tuple[Stamps, ...]:
    points = _points(rng, n, 5.6)
    base = np.abs(_at(crypt, points) - 20.5) < 2.6
    points = points[base & (_at(wall, points) > 1)]
    return (_stamps("gland", points, _angle_to_centre(crypt, points, rng)),)


def _stroma_nuclei(rng: np.random.Generator, n: int, values: Floats, fat_side: Floats) -> tuple[Stamps, ...]:
    points = _points(rng, n, 11.0)
    points = points[(_at(values, points) > 215) & (rng.random(len(points)) < 0.5)]
    crowd = map_coordinates(
        banks.layout().smooth,
        (points[:, ::-1] * 2.3 + rng.integers(0, banks.LAYOUT_UM, 2)).T,
        order=1,
        mode="grid-wrap",
    )
    round_ones = rng.random(len(points)) < np.clip(0.16 + 0.3 * (crowd - 0.6), 0.06, 0.7)
    spindle = ~round_ones
    return (
        _stamps("spindle", points[spindle], np.full(spindle.sum(), -1)),
        _stamps("lymphocyte", points[round_ones], np.zeros(round_ones.sum(), np.intp)),
    )


def _stamps(
    kind: str, points: NDArray[np.float64], angle: NDArray[np.intp], level: NDArray[np.intp] | None = None
) -> Stamps:
    return Stamps(kind, points[:, 0], points[:, 1], angle, np.zeros(len(points), np.intp) if level is None else level)
