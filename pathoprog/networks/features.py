"""Stored tile features: one safetensors file per slide and resolution; h5 files of TRIDENT and CLAM are read too.

Shapes: n tiles of one slide, d features. Coordinates are level-0 pixels, the tile's top left corner. The format, and
why it is safetensors, stand in docs/features.md. No torch here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.system.file_array import FileArray
from pathoprog.system.files import atomic_write, canonical_json, sha256_file, sha256_value
from pathoprog.system.h5_array import H5Array

FORMAT = 1
METADATA = "pathoprog"
"""The one metadata key: with several, files of equal content would differ from run to run."""
SUFFIX, FOREIGN_SUFFIX = ".safetensors", ".h5"
DTYPES = {"F16": np.float16, "F32": np.float32}


@dataclass
class Features:
    """Features of one slide at one resolution.

    Attributes:
        path: the file.
        values: float16 or float32 [n, d]; they stay in the file.
        x0: int64 [n], left edges of the tiles, level-0 px.
        y0: int64 [n], top edges, level-0 px.
        facts: what the file says of slide, tiles and encoder.
        made_by: SHA-256 over encoder and tile spec: files of one training must agree in it.
        content: SHA-256 that stands for these values: of the facts (which hold slide's and weights'), or of the h5.
    """

    path: Path
    values: NDArray[np.floating[Any]] | FileArray | H5Array
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    facts: dict[str, Any]
    made_by: str
    content: str


def write_features(
    path: Path, values: NDArray[np.floating[Any]], x0: NDArray[np.int64], y0: NDArray[np.int64], facts: dict[str, Any]
) -> None:
    """Write one slide's features, whole or not at all; equal arguments give equal bytes.

    Args:
        path: ends with ``.safetensors``.
        values: float16 or float32 [n, d].
        x0: [n], level-0 px.
        y0: [n], level-0 px.
        facts: plain JSON values; see docs/features.md for those that ours have.

    Raises:
        InputError: values that are not finite.
    """
    from safetensors.numpy import save

    if not np.isfinite(values).all():
        raise InputError("features hold NaN or infinity")
    tensors = {"features": np.ascontiguousarray(values), "x0": x0.astype(np.int64), "y0": y0.astype(np.int64)}
    with atomic_write(path) as stream:
        stream.write(save(tensors, metadata={METADATA: canonical_json({"format": FORMAT, **facts})}))


def read_facts(path: Path) -> dict[str, Any]:
    """What one of our files says of slide, tiles and encoder, without its values.

    Raises:
        InputError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stream:
            facts = json.loads((stream.metadata() or {}).get(METADATA, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a feature file ({error}); delete it to have it made again") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise InputError(f"{path}: not a feature file of `pathoprog features`, format {FORMAT}")
    return facts


def read_features(path: Path) -> Features:
    """Read one slide's features, ours or an h5 of TRIDENT or CLAM, by the name's ending.

    Raises:
        InputError: the file is absent, damaged, or lacks what it must hold.
    """
    return _read_h5(path) if path.suffix == FOREIGN_SUFFIX else _read_ours(path)


def _read_ours(path: Path) -> Features:
    facts = read_facts(path)  # also checks that header and size agree
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    arrays = {}
    for name in ("features", "x0", "y0"):
        entry = header.get(name)
        dtype = {**DTYPES, "I64": np.int64}.get(entry["dtype"]) if entry else None
        if dtype is None:
            raise InputError(f"{path}: no tensor {name} of a known type")
        place = 8 + length + entry["data_offsets"][0]
        shape = tuple(entry["shape"])
        arrays[name] = FileArray(path, dtype, shape, place)
    values, x0, y0 = arrays["features"], np.asarray(arrays["x0"]), np.asarray(arrays["y0"])
    if values.ndim != 2 or x0.shape != (len(values),) or y0.shape != x0.shape:
        raise InputError(f"{path}: features {values.shape}, x0 {x0.shape} and y0 {y0.shape} do not fit each other")
    made_by = sha256_value({"encoder": facts.get("encoder"), "spec": facts.get("spec")})
    lasting = {name: value for name, value in facts.items() if name not in ("key", "software_version")}
    return Features(path, values, x0, y0, facts, made_by, sha256_value(lasting))


def _read_h5(path: Path) -> Features:
    """An h5 with datasets `features` [n, d] or [1, n, d] and `coords` [n, 2], as TRIDENT and CLAM write them.

    Coordinates are level-0 px, x first. CLAM keeps patch size and level in another file, so these may be absent. Tiles
    are given row by row, as ours lie: a pooling may look at their order.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in ("features", "coords") if not isinstance(file.get(name), h5py.Dataset)]
            if missing:
                found = ", ".join(sorted(file)) or "nothing"
                raise InputError(f"{path}: no dataset {' and no '.join(missing)} (it holds: {found})")
            coords = np.asarray(file["coords"])
            facts = {
                name: value.item() if isinstance(value, np.generic) else str(value)
                for part in (file["features"], file["coords"])
                for name, value in part.attrs.items()
                if isinstance(value, str | np.generic | int | float)
            }
    except OSError as error:
        raise InputError(f"{path}: not an h5 file ({error})") from error
    values = H5Array(path, "features")
    coords = coords[0] if coords.ndim == 3 and len(coords) == 1 else coords
    if values.ndim != 2 or coords.shape != (len(values), 2):
        raise InputError(
            f"{path}: features {values.shape} and coords {coords.shape}; they must be [n, d] and [n, 2], or each with"
            " a leading 1"
        )
    if not all(np.isfinite(part).all() for part in values.parts()):
        raise InputError(f"{path}: features hold NaN or infinity")
    x0, y0 = np.rint(coords.astype(float)).astype(np.int64).T
    order = np.lexsort((x0, y0))
    if np.any(np.diff(order) != 1):
        values, x0, y0 = H5Array(path, "features", order), x0[order], y0[order]
    shared = ("encoder", "patch_size", "patch_level", "patch_size_level0", "target_magnification", "target_mag")
    made_by = sha256_value({name: facts[name] for name in shared if name in facts})
    return Features(path, values, x0, y0, facts, made_by, sha256_file(path))
