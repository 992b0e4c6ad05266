"""Stored tile features: one safetensors file per slide and resolution; files of other tools are read too.

Shapes: n tiles of one slide, d features. Coordinates are level-0 pixels, the tile's top left corner. The format, and
why it is safetensors, stand in docs/features.md. No torch here.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.networks.feature_values import Features
from pathoprog.networks.foreign.files import H5_SUFFIX, read_converted, read_h5
from pathoprog.networks.foreign.tensors import METADATA, is_converted, said_of, tensors_in
from pathoprog.system.files import atomic_write, canonical_json, sha256_value

FORMAT = 1


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
    facts = said_of(path)
    if facts.get("format") != FORMAT or is_converted(facts):
        raise InputError(f"{path}: not a feature file of `pathoprog features`, format {FORMAT}")
    return facts


def read_features(path: Path) -> Features:
    """Read one slide's features: ours, an h5 of TRIDENT, CLAM or STAMP, or a converted ``.pt``.

    Raises:
        InputError: the file is absent, damaged, or lacks what it must hold.
    """
    if path.suffix == H5_SUFFIX:
        return read_h5(path)
    return read_converted(path) if is_converted(said_of(path)) else _read_ours(path)


def is_foreign(path: Path) -> bool:
    """Whether a file of features is another tool's.

    Raises:
        InputError: a safetensors file of something else.
    """
    return path.suffix == H5_SUFFIX or is_converted(said_of(path))


def _read_ours(path: Path) -> Features:
    facts = read_facts(path)  # also checks that header and size agree
    arrays = tensors_in(path, ("features", "x0", "y0"))
    values, x0, y0 = arrays["features"], np.asarray(arrays["x0"]), np.asarray(arrays["y0"])
    if values.ndim != 2 or x0.shape != (len(values),) or y0.shape != x0.shape:
        raise InputError(f"{path}: features {values.shape}, x0 {x0.shape} and y0 {y0.shape} do not fit each other")
    made_by = sha256_value({"encoder": facts.get("encoder"), "spec": facts.get("spec")})
    lasting = {name: value for name, value in facts.items() if name not in ("key", "software_version")}
    return Features(path, values, x0, y0, facts, made_by, sha256_value(lasting))
