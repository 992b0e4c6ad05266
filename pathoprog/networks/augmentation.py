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


def augment(tiles: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Change tiles at random.

    Args:
        tiles: uint8 [n, s, s, 3]; features [n, d] of tiles are left as they are.
        settings: what and how much.
        generator: on the CPU; parameters are drawn there, so that CPU and GPU runs see the same ones.

    Returns:
        float32 [n, s, s, 3] in [0, 255], s smaller by `settings.crop`; or [n, d].
    """
    if tiles.ndim == 2:
        return tiles.float()
    if settings.crop > 0:
        tiles = crop(tiles, cropped_px(tiles.shape[1], settings), generator)
    if settings.jpeg > 0:
        tiles = recompress_some(tiles, settings.jpeg, generator)
    if settings.stain > 0 or settings.stain_shift > 0:
        result = jitter_stain(tiles, settings.stain, settings.stain_shift, generator)
    else:
        result = tiles.float()
    if settings.brightness > 0:
        factor = 1 + settings.brightness * torch.randn(len(tiles), 1, 1, 1, generator=generator)
        result = (result * factor.to(result.device)).clamp_(0, 255)
    if settings.zoom > 0:
        result = zoom(result, settings.zoom, generator)
    if settings.blur > 0:
        result = blur(result, settings.blur, generator)
    result = turn(result, generator) if settings.flips else result
    return result.clamp_(0, 255)


def jitter_stain(tiles: Tensor, factor_sd: float, shift_sd: float, generator: torch.Generator) -> Tensor:
    """Scale and shift each stain's optical density (Tellez et al. 2018, IEEE TMI 37:2126), per tile.

    One 3 x 3 matrix per tile does it: density -> stains, scaled, -> density. The shift leaves white background
    untouched by acting in proportion to a pixel's own density.
    """
    n = len(tiles)
    stains = STAINS
    factors = (1 + factor_sd * torch.randn(n, 3, generator=generator)).clamp(0.3, 2.0)
    shifts = shift_sd * torch.randn(n, 3, generator=generator)
    matrix = torch.linalg.inv(stains) @ (torch.diag_embed(factors) @ stains)  # [n, 3, 3]
    matrix = matrix + torch.diag_embed(shifts @ stains)
    table = -torch.log((torch.arange(256) + 1.0) / 256)
    table, matrix = table.to(tiles.device), matrix.to(tiles.device)
    density = table[tiles.int()].flatten(1, 2)  # [n, s * s, 3]
    changed = torch.bmm(density, matrix)
    return (torch.exp(-changed) * 256 - 1).clamp_(0, 255).view(tiles.shape)


def blur(tiles: Tensor, largest_sd_px: float, generator: torch.Generator) -> Tensor:
    """Blur each tile with a Gaussian of its own SD, drawn evenly from [0, largest]; two separable passes."""
    n = len(tiles)
    radius = max(1, math.ceil(2.5 * largest_sd_px))
    sd = (largest_sd_px * torch.rand(n, generator=generator)).clamp(min=1e-3)
    offsets = torch.arange(-radius, radius + 1)
    kernels = torch.exp(-(offsets**2) / (2 * sd[:, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, 0).to(tiles.device)  # [n * 3, width]
    planes = tiles.permute(0, 3, 1, 2).reshape(1, n * 3, *tiles.shape[1:3])
    padded = functional.pad(planes, (radius, radius, radius, radius), mode="reflect")
    padded = functional.conv2d(padded, kernels[:, None, None, :], groups=n * 3)
    padded = functional.conv2d(padded, kernels[:, None, :, None], groups=n * 3)
    return padded.view(n, 3, *tiles.shape[1:3]).permute(0, 2, 3, 1)


def zoom(tiles: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Scale each tile by its own factor in [1 - largest, 1 + largest] about a random centre; edges are mirrored."""
    n = len(tiles)
    scale = 1 + largest * (2 * torch.rand(n, generator=generator) - 1)
    shift = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - 1 / scale).abs()[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    theta[:, :, 2] = shift
    planes = tiles.permute(0, 3, 1, 2)
    grid = functional.affine_grid(theta.to(tiles.device), list(planes.shape), align_corners=False)
    moved = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return moved.permute(0, 2, 3, 1)


def turn(tiles: Tensor, generator: torch.Generator) -> Tensor:
    """One of the eight flips and quarter turns, each tile its own."""
    choice = torch.randint(8, (len(tiles),), generator=generator)
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


def crop(tiles: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    """A window of `size_px` at a place of its own in each tile; no pixel is interpolated."""
    n, room = len(tiles), tiles.shape[1] - size_px + 1
    rows, columns = (torch.randint(room, (2, n, 1), generator=generator) + torch.arange(size_px)).to(tiles.device)
    which = torch.arange(n, device=tiles.device)[:, None, None]
    return tiles[which, rows[:, :, None], columns[:, None, :]]


def recompress_some(tiles: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Compress a share of the tiles (uint8 [n, s, s, 3]) as JPEG of quality 40 to 90, as another scanner might."""
    chosen = torch.nonzero(torch.rand(len(tiles), generator=generator) < share).flatten()
    qualities = torch.randint(40, 91, (len(tiles),), generator=generator)[chosen]
    result = tiles.clone()
    if len(chosen):
        index = chosen.to(tiles.device)
        result[index] = recompress(tiles[index], qualities)
    return result
