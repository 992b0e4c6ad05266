"""Settings of the tumour network, and of how its map becomes an outline (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting

POLICIES = ("network", "outline", "tissue")
"""Where tiles may lie: in the outline that the bundle's network draws, in given outlines, or in all tissue."""


@dataclass
class TumourNetworkSettings:
    """A U-Net of segmentation_models_pytorch."""

    encoder: str = setting(
        "mobilenet_v2", "encoder, by its name in segmentation_models_pytorch; tu-NAME is a timm model"
    )
    decoder: int = setting(16, "channels of the decoder's last stage; earlier stages have 2, 4, 8 and 16 times as many",
                           low=4, high=64)  # fmt: skip
    weights: str = setting(
        "", "safetensors file with the encoder's initial weights; default: random weights", kind="path"
    )


@dataclass
class OutlineSettings:
    """The view that the network is shown, and the rules by which its map becomes polygons."""

    mpp: float = setting(4.0, "um per pixel of the coarse view that the network sees", low=1, high=32)
    window_px: int = setting(256, "side of a window of that view, px; a multiple of 32", low=32, high=2048)
    overlap_px: int = setting(64, "overlap of neighbouring windows, px; an even number", low=0)
    threshold: float = setting(0.5, "a pixel is tumour if its probability is at least this", low=0.01, high=0.99)
    min_area_um2: float = setting(20_000.0, "drop parts of the outline that are smaller than this, square um", low=0)
    min_hole_um2: float = setting(10_000.0, "fill holes that are smaller than this, square um", low=0)
    simplify_um: float = setting(2.0, "largest distance by which simplifying may move the outline, um", low=0)
