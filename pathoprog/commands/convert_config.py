"""Settings of `pathoprog convert`."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class ConvertConfig:
    """Which file, and what of it."""

    file: str = setting(
        "", "an encoder's published weights: a .bin, .pt or .pth, or safetensors", kind="path", required=True
    )
    out: str = setting("", "safetensors file to write; it must not exist", kind="path", required=True)
    inside: str = setting(
        "", "name of the tensors' dictionary in the file, such as teacher or model/encoder; default: found", kind="name"
    )
    prefix: str = setting(
        "", "take only tensors whose names begin so, such as backbone., and write them without it", kind="name"
    )
