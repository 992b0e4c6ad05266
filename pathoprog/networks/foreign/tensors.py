"""safetensors files of features as arrays that stay in them, and what their one metadata key says. No torch."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog.errors import InputError
from pathoprog.system.file_array import FileArray

SUFFIX = ".safetensors"
METADATA = "pathoprog"
"""The one metadata key: with several, files of equal content would differ from run to run."""
DTYPES = {"F16": np.float16, "F32": np.float32, "I64": np.int64}
KIND = "converted features"
"""What `pathoprog convert` writes beside the values of a feature file of another tool."""


def said_of(path: Path) -> dict[str, Any]:
    """What the metadata of a file of features says.

    Raises:
        InputError: the file is absent or damaged, or its metadata are not ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stream:
            facts = json.loads((stream.metadata() or {}).get(METADATA, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a feature file ({error}); delete it to have it made again") from error
    if not isinstance(facts, dict):
        raise InputError(
            f"{path}: not a feature file of `pathoprog features`, nor one that `pathoprog convert` made of a .pt"
        )
    return facts


def damage(path: Path) -> str:
    """Why a file cannot be one of tensors at all, '' if it is whole: cut short, empty, or something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return ""
    except SafetensorError as error:
        return f"{path}: damaged ({error})"


def is_converted(facts: dict[str, Any]) -> bool:
    """Whether a file holds features that another tool made."""
    return facts.get("kind") == KIND


def tensors_in(path: Path, names: Iterable[str]) -> dict[str, FileArray]:
    """Tensors of a file that was found whole, as arrays that stay in it.

    Raises:
        InputError: one is missing, or of a type that features do not have.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    arrays = {}
    for name in names:
        entry = header.get(name)
        dtype = DTYPES.get(entry["dtype"]) if entry else None
        if dtype is None:
            raise InputError(f"{path}: no tensor {name} of a known type")
        arrays[name] = FileArray(path, dtype, tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
    return arrays
