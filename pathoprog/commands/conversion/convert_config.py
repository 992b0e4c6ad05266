"""Settings of `pathoprog convert`."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class ConvertConfig:
    """Which file or folder, and what of it."""

    file: str = setting(
        "",
        "an encoder's published weights: a .bin, .pt or .pth, or safetensors; or a folder of another tool's features, a"
        " .pt for each slide",
        kind="path",
        required=True,
    )
    out: str = setting(
        "",
        "safetensors file to write, which must not exist; of a folder, the folder to write to",
        kind="path",
        required=True,
    )
    inside: str = setting(
        "", "name of the tensors' dictionary in the file, such as teacher or model/encoder; default: found", kind="name"
    )
    prefix: str = setting(
        "", "take only tensors whose names begin so, such as backbone., and write them without it", kind="name"
    )
