"""What slides are drawn from: periodic noise, gland layouts and nuclei, made once per process.

A slide takes random windows of the banks, which makes drawing fast. The banks are the same for every seed.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

LAYOUT_UM = 1024  # period of the layouts, which have 1 px per um
HOLE_SPACING_UM, HOLE_RADIUS_UM = 15.0, 3.2  # of cribriform lumina
TEXTURE_PX = 2048  # period of the textures, in level-0 pixels
ANGLES = 12  # orientations of a nucleus over half a turn
NUCLEUS_LEVELS = 9  # steps of the nuclear factor from bland to anaplastic
VARIANTS = 10  # nuclei of one level and orientation
NUCLEUS_RADIUS_UM = 7.5  # half the width of a nucleus' picture
NUCLEUS_AREA_UM2 = 28.0  # mean, of a tumour nucleus
OD_SCALE = 100.0  # grey levels per unit of haematoxylin density


def periodic_noise(rng: np.random.Generator, size: int, sigma_x: float, sigma_y: float) -> Floats:
    """White noise under a Gaussian window of `sigma_x`, `sigma_y` px: periodic, mean 0, SD 1, ``[size, size]``."""
    if min(sigma_x, sigma_y) >= 8 and size % 4 == 0:  # smooth: drawn at a quarter of the size
        small = periodic_noise(rng, size // 4, sigma_x / 4, sigma_y / 4)
        wide = Image.fromarray(np.pad(small, 8, mode="wrap"))
        box = (8, 8, 8 + size // 4, 8 + size // 4)
        return np.asarray(wide.resize((size, size), Image.Resampling.BICUBIC, box=box), np.float32)
    fx = np.fft.rfftfreq(size).astype(np.float32)
    fy = np.fft.fftfreq(size).astype(np.float32)[:, None]
    window = np.exp(-2 * np.pi**2 * ((sigma_x * fx) ** 2 + (sigma_y * fy) ** 2))
    white = rng.standard_normal((*window.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise = scipy.fft.irfft2(white * window, s=(size, size), overwrite_x=True)
    noise -= noise.mean()
    noise /= noise.std()
    return np.asarray(noise, np.float32)


def periodic_window(bank: NDArray[Any], x: int, y: int, side: int) -> NDArray[Any]:
    """The window ``[side, side]`` from column `x` and row `y` on, both below the period, of a square map that repeats.

    A view where it lies within one period; else put together of whole pieces, several times faster than by index.
    """
    period = len(bank)
    if max(x, y) + side <= period:
        return bank[y : y + side, x : x + side]
    window = np.empty((side, side), bank.dtype)
    for top in range(-y, side, period):
        for left in range(-x, side, period):
            rows, columns = slice(max(top, 0), top + period), slice(max(left, 0), left + period)
            piece = window[rows, columns]
            above, before = max(-top, 0), max(-left, 0)
            piece[:] = bank[above : above + piece.shape[0], before : before + piece.shape[1]]
    return window


@dataclasses.dataclass(frozen=True)
class Layout:
    """Periodic maps at 1 um/px, each ``[LAYOUT_UM, LAYOUT_UM]``.

    Attributes:
        cell_border: distance to the border of the gland's cell, um (Voronoi cells of jittered centres).
        septum: rank in [0, 1] of that border among those between two cells of a group; 2 between two groups.
        centre: distance to the gland's centre over the gland's own lumen radius, in um of an average gland.
        hole: um inside the nearest small, cribriform lumen.
        hole_number: which one that is, from 0.
        crypt: distance to the centre of a normal crypt, um.
        fat: distance to the border of a fat cell, um.
        ragged: noise at a scale of about 3 um, SD 1.
        smooth: noise at a scale of 40 um, SD 1.
    """

    cell_border: Floats
    septum: Floats
    centre: Floats
    hole: Floats
    hole_number: NDArray[np.intp]
    crypt: Floats
    fat: Floats
    ragged: Floats
    smooth: Floats


@functools.cache
def layout() -> Layout:
    """The layouts; two seconds of work, once per process."""
    rng = np.random.default_rng(20)
    warp = [6.0 * periodic_noise(rng, LAYOUT_UM, 16, 16) for _ in range(2)]
    smooth = periodic_noise(rng, LAYOUT_UM, 40, 40)
    ragged = periodic_noise(rng, LAYOUT_UM, 2.5, 2.5)

    centres = _jittered_lattice(rng, 38.0, 0.16)
    groups = cKDTree(_jittered_lattice(rng, 125.0, 0.2), boxsize=LAYOUT_UM).query(centres)[1]
    nearest, first = _neighbours(centres, warp, 5)
    cell_border, neighbour = _border(centres, nearest, first)
    own = nearest[..., 0]
    # Each border between two cells has a rank of its own, the same from both sides.
    rank = rng.random((len(centres), len(centres))).astype(np.float32)
    rank = np.where(groups[:, None] == groups[None, :], np.minimum(rank, rank.T), 2)
    septum = rank[own, neighbour]
    septum = np.where(septum < 1, 1 - (1 - septum) ** 2, 2)  # the smaller of two is evenly spread again
    size = rng.lognormal(0, 0.18, len(centres)).astype(np.float32)
    septum = np.repeat(np.repeat(septum, 2, 0), 2, 1).astype(np.float32)
    centre = _upsample(first[..., 0] / size[own])

    holes = _jittered_lattice(rng, HOLE_SPACING_UM, 0.15)
    grid = np.moveaxis(np.mgrid[0:LAYOUT_UM, 0:LAYOUT_UM][::-1], 0, -1) + 0.5
    distance, number = cKDTree(holes, boxsize=LAYOUT_UM).query(grid)
    radius = rng.normal(HOLE_RADIUS_UM, 0.5, len(holes))
    hole = (radius[number] - distance - 0.5 * ragged).astype(np.float32)

    crypts = _jittered_lattice(rng, 64.0, 0.1)
    crypt = _upsample(_neighbours(crypts, [0.4 * w for w in warp], 1)[1][..., 0])
    cells = _jittered_lattice(rng, 50.0, 0.24)
    near, far = _neighbours(cells, [0.5 * w for w in warp], 2)
    fat, _ = _border(cells, near, far)
    return Layout(cell_border, septum, centre, hole, number, crypt, fat, ragged, smooth)


def _jittered_lattice(rng: np.random.Generator, spacing: float, jitter: float) -> NDArray[np.float64]:
    """Points of a periodic hexagonal lattice, moved by `jitter` spacings (SD); ``[n, 2]`` as x, y in um."""
    columns = round(LAYOUT_UM / spacing)
    rows = 2 * round(LAYOUT_UM / (spacing * 0.866) / 2)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    points = np.stack([(x + 0.5 * (y % 2)) / columns, (y + 0.5) / rows], -1).reshape(-1, 2) * LAYOUT_UM
    moved: NDArray[np.float64] = (points + rng.normal(0, jitter * spacing, points.shape)) % LAYOUT_UM
    return moved


def _neighbours(points: NDArray[np.float64], warp: list[Floats], k: int) -> tuple[NDArray[np.intp], Floats]:
    """The `k` nearest points of a warped grid of every second um, and their distances in um; ``[n/2, n/2, k]``."""
    y, x = np.mgrid[0:LAYOUT_UM:2, 0:LAYOUT_UM:2].astype(np.float64)
    grid = np.stack([x + warp[0][::2, ::2], y + warp[1][::2, ::2]], -1) % LAYOUT_UM
    distance, index = cKDTree(points, boxsize=LAYOUT_UM).query(grid, k=[*range(1, k + 1)])
    return index, distance.astype(np.float32)


def _border(points: NDArray[np.float64], index: NDArray[np.intp], distance: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Distance to the border of the own cell, um at every um, and the cell beyond it, at every second um."""
    own = index[..., 0]
    gap = np.full(own.shape, np.inf)
    beyond = own.copy()
    for k in range(1, index.shape[-1]):
        apart = np.abs(points[index[..., k]] - points[own])
        between = np.hypot(*np.moveaxis(np.minimum(apart, LAYOUT_UM - apart), -1, 0))
        bisector = (distance[..., k] ** 2 - distance[..., 0] ** 2) / (2 * np.maximum(between, 1e-6))
        beyond = np.where(bisector < gap, index[..., k], beyond)
        gap = np.minimum(gap, bisector)
    # Smoothed: cells meet at corners, glands are round.
    return gaussian_filter(_upsample(gap.astype(np.float32)), 2.5, mode="wrap"), beyond


def _upsample(half: Floats) -> Floats:
    """From every second um to every um."""
    return np.asarray(Image.fromarray(half).resize((LAYOUT_UM, LAYOUT_UM), Image.Resampling.BICUBIC), np.float32)


@dataclasses.dataclass(frozen=True)
class Texture:
    """Grey textures at level 0, twice their period wide so that any window of one period is a plain slice.

    Attributes:
        fibres: wavy collagen, 128 = average, uint8.
        granules: cytoplasm, 128 = average, uint8.
        fibre_angle: orientation of `fibres` in steps of 1/ANGLES of half a turn, one period, uint8.
    """

    fibres: Bytes
    granules: Bytes
    fibre_angle: Bytes


@functools.lru_cache(maxsize=4)
def texture(mpp: float) -> Texture:
    """The textures at `mpp` um/px."""
    rng = np.random.default_rng(21)
    px, n = 1 / mpp, TEXTURE_PX
    wave = 13.0 * px * periodic_noise(rng, n, 24 * px, 22 * px)
    fibres = 0.7 * periodic_noise(rng, n, 8 * px, 0.5 * px) + 0.5 * periodic_noise(rng, n, 16 * px, 1.7 * px)
    fibres += 0.35 * periodic_noise(rng, n, 1.2 * px, 1.2 * px) + 0.4 * periodic_noise(rng, n, 20 * px, 20 * px)
    clefts = periodic_noise(rng, n, 12 * px, 0.8 * px)
    fibres -= 3.0 * np.clip(clefts - 1.75, 0, 0.6)
    rows = (np.arange(n)[:, None] + np.rint(wave).astype(np.intp)) % n
    fibres = np.take_along_axis(fibres, rows, axis=0) + 0.22 * periodic_noise(rng, n, 0.4, 0.4)
    slope_y, slope_x = np.gradient(wave)
    angle = np.arctan2(-slope_x, 1 + slope_y)  # along a fibre y + wave is constant
    granules = (
        0.5 * periodic_noise(rng, n, 0.45 * px, 0.45 * px)
        + 0.6 * periodic_noise(rng, n, 1.6 * px, 1.6 * px)
        + 0.5 * periodic_noise(rng, n, 14 * px, 14 * px)
        + 0.22 * periodic_noise(rng, n, 0.4, 0.4)
    )
    steps = np.rint(angle / np.pi * ANGLES).astype(np.int8) % ANGLES
    return Texture(_twice(fibres), _twice(granules), steps.astype(np.uint8))


def _twice(noise: Floats) -> Bytes:
    return np.tile(np.clip(128 + 40 * noise, 0, 255).astype(np.uint8), (2, 2))


@dataclasses.dataclass(frozen=True)
class Nuclei:
    """Pictures of nuclei as haematoxylin density (times OD_SCALE), uint8, each ``[side, side]``.

    Attributes:
        tumour: ``[NUCLEUS_LEVELS, ANGLES, VARIANTS, side, side]``.
        gland: normal epithelium, ``[ANGLES, VARIANTS, side, side]``.
        spindle: fibroblasts, ``[ANGLES, VARIANTS, side, side]``.
        lymphocyte: ``[1, VARIANTS, side, side]``.
        mitosis: ``[ANGLES, VARIANTS, side, side]``.
    """

    tumour: Bytes
    gland: Bytes
    spindle: Bytes
    lymphocyte: Bytes
    mitosis: Bytes


@functools.lru_cache(maxsize=4)
def nuclei(mpp: float, blur_um: float) -> Nuclei:
    """The nuclei as a scanner of `mpp` um/px and `blur_um` sharpness (SD of its point spread) shows them."""
    rng = np.random.default_rng(22)

    def draw(angles: int, **form: float) -> Bytes:
        angle = np.repeat(np.arange(angles) * np.pi / ANGLES, VARIANTS)
        pictures = _draw_nuclei(rng, angle, mpp, blur_um, **form)
        return pictures.reshape(angles, VARIANTS, *pictures.shape[1:])

    levels = []
    for level in range(NUCLEUS_LEVELS):
        u = level / (NUCLEUS_LEVELS - 1)
        levels.append(
            draw(
                ANGLES,
                area_um2=NUCLEUS_AREA_UM2,
                size_sd=0.1,
                aspect=1.5,
                ragged=0.025 + 0.02 * u,
                vesicular=0.1 + 0.3 * u,
                clumps=0.05 + 0.45 * u,
                nucleoli=1.5 * u,
                density=1.1,
            )
        )
    return Nuclei(
        tumour=np.stack(levels),
        gland=draw(ANGLES, area_um2=22, size_sd=0.06, aspect=1.6, ragged=0.02, vesicular=0.1, clumps=0.1, density=1.15),
        spindle=draw(
            ANGLES, area_um2=17, size_sd=0.2, aspect=4.2, ragged=0.04, vesicular=0.0, clumps=0.15, density=1.2
        ),
        lymphocyte=draw(1, area_um2=18, size_sd=0.06, aspect=1.08, ragged=0.02, vesicular=0.0, clumps=0.3, density=1.6),
        mitosis=draw(ANGLES, area_um2=17, size_sd=0.1, aspect=3.2, ragged=0.2, vesicular=0.0, clumps=0.1, density=2.2),
    )


def _draw_nuclei(
    rng: np.random.Generator,
    angle: NDArray[np.float64],
    mpp: float,
    blur_um: float,
    *,
    area_um2: float,
    size_sd: float,
    aspect: float,
    ragged: float,
    vesicular: float,
    clumps: float,
    density: float,
    nucleoli: float = 0.0,
) -> Bytes:
    """Ellipses with an uneven outline and chromatin; all of one mean transmittance, so that none is darker.

    Args:
        rng: the generator.
        angle: long axis of each, radians, ``[n]``.
        mpp: um/px.
        blur_um: point spread, SD in um.
        area_um2: mean area.
        size_sd: SD of the log of the diameter.
        aspect: long over short axis.
        ragged: relative SD of the outline.
        vesicular: 0 = even chromatin, 1 = pale centre and dark rim.
        clumps: SD of the chromatin's density at a scale of half a um.
        density: haematoxylin density of a nucleus, in the mean.
        nucleoli: mean number of nucleoli.

    Returns:
        ``[n, side, side]``, density times OD_SCALE.
    """
    n = len(angle)
    half = int(np.ceil(NUCLEUS_RADIUS_UM / mpp))
    y, x = (np.mgrid[-half : half + 1, -half : half + 1] * mpp).astype(np.float32)
    cos, sin = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    long, short = x * cos + y * sin, -x * sin + y * cos  # [n, side, side] um, in the nucleus' own axes
    scale = rng.normal(0, size_sd, n)
    scale -= np.log(np.mean(np.exp(2 * scale))) / 2  # the mean area stays
    radius = np.sqrt(area_um2 / np.pi) * np.exp(scale)
    stretch = np.sqrt(aspect * np.exp(rng.normal(0, 0.08, n)))
    a = np.minimum(radius * stretch, NUCLEUS_RADIUS_UM - 0.8).astype(np.float32)[:, None, None]
    b = (radius / stretch).astype(np.float32)[:, None, None]
    turn = np.arctan2(short / b, long / a)
    outline = np.ones_like(turn)
    for k in (2, 3, 4, 5):
        wave = rng.normal(0, ragged / np.sqrt(k - 1), n).astype(np.float32)[:, None, None]
        phase = rng.uniform(0, 2 * np.pi, n).astype(np.float32)[:, None, None]
        outline += wave * np.cos(k * turn + phase)
    rho = np.hypot(long / a, short / b) / np.maximum(outline, 0.4)  # 1 on the outline
    inside = (1 - rho) * b  # um inside the outline, about
    edge = np.hypot(0.16, blur_um)
    cover = 1 / (1 + np.exp(-np.clip(inside / (0.6 * edge), -30, 30)))

    od = 1 + vesicular * (0.6 * np.exp(-(((inside - 0.45) / 0.5) ** 2)) - 0.45 * np.clip(inside / 1.2, 0, 1))
    grain = np.hypot(0.36, blur_um) / mpp
    noise = periodic_noise(rng, 1024, grain, grain)
    noise -= gaussian_filter(noise, 0.9 / mpp, mode="wrap")  # nothing of a size that 1 um/px would show
    for i, (u, v) in enumerate(rng.integers(0, 1024 - 2 * half - 1, (n, 2))):
        od[i] += clumps * noise[u : u + 2 * half + 1, v : v + 2 * half + 1]
    spot = np.hypot(0.42, blur_um)
    for i, count in enumerate(np.minimum(rng.poisson(nucleoli, n), 3)):
        for _ in range(count):
            r, t = 0.5 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            at = np.hypot(long[i] - r * a[i] * np.cos(t), short[i] - r * b[i] * np.sin(t))
            od[i] += 1.4 * np.exp(-((at / spot) ** 2) / 2)
    od = np.clip(od, 0.15, None) * density
    # One mean transmittance of green light over the area of each nucleus: chromatin then leaves its mean colour alone.
    factor = np.ones((n, 1, 1), np.float32)
    area = cover.sum((1, 2), keepdims=True)
    for _ in range(5):
        light = (np.exp(-0.7 * od * factor) * cover).sum((1, 2), keepdims=True) / area
        factor *= -0.7 * density / np.log(light)
    return np.asarray(np.clip(np.rint(od * factor * cover * OD_SCALE), 0, 255), np.uint8)
