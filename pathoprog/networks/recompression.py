"""What JPEG compression takes from a tile, as tensor arithmetic on the device where the tiles lie.

Shapes: n tiles, s tile size in pixels. The steps are baseline JPEG's (ITU-T T.81; JFIF's YCbCr; chroma at half size,
as scanners mostly write it) without the lossless coding at their end, which changes no pixel.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

# ITU-T T.81, tables K.1 (luminance) and K.2 (chrominance), row by row
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
)  # fmt: skip
# JFIF 1.02: RGB to Y, Cb, Cr (less their offset of 128)
YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_INDEX = torch.arange(8)
DCT = torch.cos((2 * _INDEX + 1) * _INDEX[:, None] * math.pi / 16) / 2  # [frequency, place], orthonormal
DCT[0] /= math.sqrt(2)


def recompress(tiles: Tensor, qualities: Tensor) -> Tensor:
    """Compress tiles as JPEG and decompress them again.

    Args:
        tiles: uint8 [n, s, s, 3].
        qualities: [n], 1 to 100, as libjpeg scales its tables.

    Returns:
        uint8 [n, s, s, 3].
    """
    s = tiles.shape[1]
    padded = functional.pad(tiles.permute(0, 3, 1, 2).float(), (0, -s % 16, 0, -s % 16), mode="replicate")
    matrix = YCBCR.to(tiles.device)
    colours = torch.einsum("kc,nchw->nkhw", matrix, padded).round_()  # stored as whole numbers
    luma, chroma = colours[:, :1] - 128, functional.avg_pool2d(colours[:, 1:], 2).round_()
    luma = _quantise(luma, _tables(LUMINANCE, qualities, tiles.device)) + 128
    chroma = _quantise(chroma, _tables(CHROMINANCE, qualities, tiles.device))
    chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    colours = torch.einsum("ck,nkhw->nchw", torch.linalg.inv(YCBCR).to(tiles.device), torch.cat([luma, chroma], 1))
    return colours[:, :, :s, :s].round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _tables(table: tuple[int, ...], qualities: Tensor, device: torch.device) -> Tensor:
    """The step of each frequency [n, 8, 8] at each tile's quality."""
    quality = qualities.float()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None]
    steps = ((torch.tensor(table).view(8, 8) * scale + 50) / 100).floor()
    return steps.clamp_(1, 255).to(device)


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine coefficients of every 8 x 8 block of planes [n, c, h, w] to multiples of steps [n, 8, 8]."""
    n, c, h, w = planes.shape
    dct = DCT.to(planes.device)
    blocks = planes.reshape(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)  # [n, c, rows, columns, 8, 8]
    steps = steps[:, None, None, None]
    kept = (dct @ blocks @ dct.T / steps).round_() * steps
    return (dct.T @ kept @ dct).round_().transpose(3, 4).reshape(n, c, h, w)
