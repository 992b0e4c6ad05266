"""Tensors of encoders that are published under other names than timm's: one file format's names to the code's.

Shapes: w numbers per token, p side of a patch.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

DINOV2 = "dinov2"
"""Names of transformers' Dinov2Model, without registers and without SwiGLU (its modeling_dinov2.py)."""

OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
IN_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
SCALES = {"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
PARTS = ("query", "key", "value")
BLOCK = re.compile(r"encoder\.layer\.(\d+)\.(.+)")


def names_of_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a Dinov2Model under the names of timm's vision transformer; what has no such name keeps its own.

    Queries, keys and values [w, w] of a block become one [3 w, w], in this order, where all three are there.
    """
    found: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, tuple[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        block = BLOCK.fullmatch(name)
        part = re.fullmatch(rf"attention\.attention\.({'|'.join(PARTS)})\.(weight|bias)", block[2]) if block else None
        if block and part:
            parts.setdefault((block[1], part[2]), {})[part[1]] = name, tensor
        else:
            found[_of_timm(name, block)] = tensor
    for (number, kind), three in parts.items():
        if set(three) == set(PARTS):
            found[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat([three[part][1] for part in PARTS])
        else:
            found |= dict(three.values())
    return found


def _of_timm(name: str, block: re.Match[str] | None) -> str:
    if block is None:
        return OUTSIDE.get(name, name)
    if block[2] in SCALES:
        return f"blocks.{block[1]}.{SCALES[block[2]]}"
    module, _, kind = block[2].rpartition(".")
    return f"blocks.{block[1]}.{IN_BLOCK[module]}.{kind}" if module in IN_BLOCK else name
