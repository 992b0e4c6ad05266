"""Augmentation of training tiles, on the device where they lie, from one generator: equal seeds, equal tiles.

Shapes: n tiles, s tile size in pixels. Tiles are float [n, s, s, 3] in [0, 255] on the way.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.recompression import recompress

# Ruifrok, Johnston 2001 (Anal Quant Cytol Histol 23:291): optical density of haematoxylin, eosin and DAB (residual)
STAINS = torch.nn.functional.normalize(
    torch.tensor([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]]), dim=1
)


class Draws:
    """Random numbers of some of a step's tiles: those that the same tiles get when the whole step is augmented at once.

    They are drawn for all tiles of the step, and the ones at hand are taken out. So it changes nothing in how many
    parts, or on how many devices, a step is augmented.

    Args:
        generator: on the CPU, as it is before the step's first draw; CPU and GPU runs then see the same numbers.
        n: tiles of the whole step.
        first: number of the first tile at hand.
        stop: number behind the last one; None: n.
    """

    def __init__(self, generator: torch.Generator, n: int, first: int = 0, stop: int | None = None):
        self._generator, self._n, self._at_hand = generator, n, slice(first, stop)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers [tiles at hand, *shape]."""
        return torch.randn(self._n, *shape, generator=self._generator)[self._at_hand]

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), [tiles at hand, *shape]."""
        return torch.rand(self._n, *shape, generator=self._generator)[self._at_hand]

    def integers(self, low: int, stop: int) -> Tensor:
        """Integers from `low` to below `stop`, [tiles at hand]."""
        return torch.randint(low, stop, (self._n,), generator=self._generator)[self._at_hand]


def augment(
    tiles: Tensor, settings: AugmentSettings, generator: torch.Generator, first: int = 0, whole: int = 0
) -> Tensor:
    """Change tiles at random.

    Args:
        tiles: uint8 [n, s, s, 3]; features [n, d] of tiles are left as they are.
        settings: what and how much.
        generator: on the CPU, as it is before the step's first draw; see `Draws`.
        first: number of the first of these tiles among the step's.
        whole: tiles of the step; 0: these are all.

    Returns:
        float32 [n, s, s, 3] in [0, 255], s smaller by `settings.crop`; or [n, d].
    """
    if tiles.ndim == 2:
        return tiles.float()
    draws = Draws(generator, whole or len(tiles), first, first + len(tiles))
    if settings.crop > 0:
        tiles = crop(tiles, cropped_px(tiles.shape[1], settings), draws)
    if settings.jpeg > 0:
        tiles = recompress_some(tiles, settings.jpeg, draws)
    if settings.stain > 0 or settings.stain_shift > 0:
        result = jitter_stain(tiles, settings.stain, settings.stain_shift, draws)
    else:
        result = tiles.float()
    if settings.brightness > 0:
        factor = 1 + settings.brightness * draws.normal(1, 1, 1)
        result = (result * factor.to(result.device)).clamp_(0, 255)
    if settings.zoom > 0:
        result = zoom(result, settings.zoom, draws)
    if settings.blur > 0:
        result = blur(result, settings.blur, draws)
    result = turn(result, draws) if settings.flips else result
    return result.clamp_(0, 255)


def jitter_stain(tiles: Tensor, factor_sd: float, shift_sd: float, draws: Draws) -> Tensor:
    """Scale and shift each stain's optical density (Tellez et al. 2018, IEEE TMI 37:2126), per tile.

    One 3 x 3 matrix per tile does it: density -> stains, scaled, -> density. The shift leaves white background
    untouched by acting in proportion to a pixel's own density.
    """
    stains = STAINS
    factors = (1 + factor_sd * draws.normal(3)).clamp(0.3, 2.0)
    shifts = shift_sd * draws.normal(3)
    matrix = torch.linalg.inv(stains) @ (torch.diag_embed(factors) @ stains)  # [n, 3, 3]
    matrix = matrix + torch.diag_embed(shifts @ stains)
    table = -torch.log((torch.arange(256) + 1.0) / 256)
    table, matrix = table.to(tiles.device), matrix.to(tiles.device)
    density = table.index_select(0, tiles.flatten().int()).view(len(tiles), -1, 3)  # [n, s * s, 3]
    changed = torch.bmm(density, matrix)
    return changed.neg_().exp_().mul_(256).sub_(1).clamp_(0, 255).view(tiles.shape)


def blur(tiles: Tensor, largest_sd_px: float, draws: Draws) -> Tensor:
    """Blur each tile with a Gaussian of its own SD, drawn evenly from [0, largest]; two separable passes."""
    n = len(tiles)
    radius = max(1, math.ceil(2.5 * largest_sd_px))
    sd = (largest_sd_px * draws.uniform()).clamp(min=1e-3)
    offsets = torch.arange(-radius, radius + 1)
    kernels = torch.exp(-(offsets**2) / (2 * sd[:, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, 0).to(tiles.device)  # [n * 3, width]
    planes = tiles.permute(0, 3, 1, 2).reshape(1, n * 3, *tiles.shape[1:3])
    padded = functional.pad(planes, (radius, radius, radius, radius), mode="reflect")
    padded = functional.conv2d(padded, kernels[:, None, None, :], groups=n * 3)
    padded = functional.conv2d(padded, kernels[:, None, :, None], groups=n * 3)
    return padded.view(n, 3, *tiles.shape[1:3]).permute(0, 2, 3, 1)


def zoom(tiles: Tensor, largest: float, draws: Draws) -> Tensor:
    """Scale each tile by its own factor in [1 - largest, 1 + largest] about a random centre; edges are mirrored."""
    n = len(tiles)
    scale = 1 + largest * (2 * draws.uniform() - 1)
    shift = (2 * draws.uniform(2) - 1) * (1 - 1 / scale).abs()[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    theta[:, :, 2] = shift
    planes = tiles.permute(0, 3, 1, 2)
    grid = functional.affine_grid(theta.to(tiles.device), list(planes.shape), align_corners=False)
    moved = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return moved.permute(0, 2, 3, 1)


def turn(tiles: Tensor, draws: Draws) -> Tensor:
    """One of the eight flips and quarter turns, each tile its own."""
    choice = draws.integers(0, 8)
    result = torch.empty_like(tiles)
    for which in range(8):
        index = torch.nonzero(choice == which).flatten().to(tiles.device)
        if len(index):
            part = torch.rot90(tiles[index], which % 4, (1, 2))
            result[index] = part.flip(2) if which >= 4 else part
    return result


def cropped_px(size_px: int, settings: AugmentSettings) -> int:
    """Side of the window that is left of a tile of `size_px`."""
    return max(1, round(size_px * (1 - settings.crop)))


def crop(tiles: Tensor, size_px: int, draws: Draws) -> Tensor:
    """A window of `size_px` at a place of its own in each tile; no pixel is interpolated."""
    n, room = len(tiles), tiles.shape[1] - size_px + 1
    corners = torch.stack([draws.integers(0, room), draws.integers(0, room)])[:, :, None]  # [2, n, 1]
    rows, columns = (corners + torch.arange(size_px)).to(tiles.device)
    which = torch.arange(n, device=tiles.device)[:, None, None]
    return tiles[which, rows[:, :, None], columns[:, None, :]]


def recompress_some(tiles: Tensor, share: float, draws: Draws) -> Tensor:
    """Compress a share of the tiles (uint8 [n, s, s, 3]) as JPEG of quality 40 to 90, as another scanner might."""
    chosen = torch.nonzero(draws.uniform() < share).flatten()
    qualities = draws.integers(40, 91)[chosen]
    result = tiles.clone()
    if len(chosen):
        index = chosen.to(tiles.device)
        result[index] = recompress(tiles[index], qualities)
    return result
