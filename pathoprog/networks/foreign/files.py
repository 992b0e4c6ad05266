"""One slide's features as TRIDENT, CLAM or STAMP wrote them (h5), or as `pathoprog convert` made them of a ``.pt``.

Forms, keys, attributes and units were read in the tools' own code; which versions stands in docs/features.md.

Shapes: n tiles of one slide, d features.
"""

import functools
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.networks.feature_values import MICRONS, NOWHERE, PIXELS, Features
from pathoprog.networks.foreign.maker import CLAM, CONVERTED, SLIDE, STAMP, TILE, TRIDENT, FeatureMaker, model_of_folder
from pathoprog.networks.foreign.tensors import said_of, tensors_in
from pathoprog.system.file_array import stamp_of
from pathoprog.system.files import sha256_value
from pathoprog.system.h5_array import H5Array
from pathoprog.system.records import plain

H5_SUFFIX = ".h5"
VALUES = ("features", "feats")
"""The dataset of the values: TRIDENT's and CLAM's name, and STAMP's."""
H5_FAULTS = (RuntimeError, ValueError, KeyError, TypeError, IndexError, OverflowError, MemoryError, ZeroDivisionError)
"""What h5py, and sums on what it gives, come to in a damaged file, beside OSError."""
KEPT_IN_MIND = 64
"""Files whose hash and coordinates are not read twice in a row."""


def read_h5(path: Path) -> Features:
    """Features of one slide from an h5: values [n, d] or [1, n, d] with coords [n, 2], or one vector of a slide.

    TRIDENT's and CLAM's ``features`` have coords in level-0 px, x first; STAMP's ``feats`` have them in um. A vector
    [d] of a whole slide (TRIDENT keeps its tiles' coords beside it; STAMP's says ``feat_type`` slide) is a bag of one.
    Tiles are given row by row, as ours lie: a pooling may look at their order.

    Raises:
        InputError: no such file; it is damaged, of patients, or holds NaN; or values and coords do not fit each other.
    """
    try:
        stamp = stamp_of(path.stat())
    except OSError as error:
        raise InputError(f"{path}: not an h5 file ({error.strerror or error})") from error
    try:
        return _read_h5(path, stamp)
    except H5_FAULTS as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split()) or type(error).__name__})") from error


@functools.lru_cache(KEPT_IN_MIND)
def _read_h5(path: Path, stamp: tuple[int, int, int]) -> Features:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names = [name for name in VALUES if isinstance(file.get(name), h5py.Dataset)]
            if not names:
                raise _no_values(path, sorted(file))
            name, has_coords = names[0], isinstance(file.get("coords"), h5py.Dataset)
            shape = tuple(int(side) for side in file[name].shape)
            facts = _attributes(file, file[name], *([file["coords"]] if has_coords else []))
            coords = np.asarray(file["coords"]) if has_coords else None
    except OSError as error:
        raise InputError(f"{path}: not an h5 file ({error})") from error
    tool = STAMP if name == "feats" else TRIDENT if {"encoder", "savetodir"} & facts.keys() else CLAM
    kind = str(facts.get("feat_type") or TILE)
    if kind not in (TILE, SLIDE):
        raise InputError(f"{path}: one vector of a {kind}, named after it; give features of tiles or of slides")
    alone = len(shape) == 1 or kind == SLIDE or (coords is None and shape[:-1] in ((1,), (1, 1)))
    values = H5Array(path, name)
    content = _content(path, values.parts(), coords)
    level = SLIDE if alone else TILE
    if alone and len(values) > 1:
        raise InputError(f"{path}: {name} {shape}, where one vector of a slide should be")
    unit = NOWHERE if alone else _unit(tool, facts)
    x0, y0, side = (np.zeros(len(values), np.int64),) * 2 + (math.nan,)
    if not alone and len(values):
        x, y, order = _places(path, coords, values, names=(name, "coords"))
        values = values if order is None else H5Array(path, name, order)
        x0, y0 = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        side = float(facts.get("tile_size_um" if unit == MICRONS else "patch_size_level0", math.nan))
    tile = _tile(tool, facts) if level == TILE else {}
    maker = FeatureMaker(
        tool=tool,
        model=str(facts.get("encoder") or facts.get("extractor") or "") or model_of_folder(path.parent),
        level=level,
        d=values.shape[1],
        size_px=tile.get("size_px"),
        mpp=tile.get("mpp"),
        overlap_px=tile.get("overlap_px"),
    )
    made_by = sha256_value(plain(maker))
    return Features(path, values, x0, y0, facts, made_by, content, maker, unit, side)


def read_converted(path: Path) -> Features:
    """Features of one slide from what `pathoprog convert` made of a ``.pt``: no coordinates, in the file's order.

    Raises:
        InputError: damaged, or NaN or infinity in it.
    """
    facts = said_of(path)
    values = tensors_in(path, ("features",))["features"]
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"{path}: features {values.shape} of {values.dtype}, must be [n, d] of floating point")
    content = _content(path, [np.asarray(values)], None)
    maker = FeatureMaker(
        tool=CONVERTED, model=str(facts.get("model", "")), level=str(facts.get("level", TILE)), d=values.shape[1]
    )
    nowhere = np.zeros(len(values), np.int64)
    return Features(path, values, nowhere, nowhere, facts, sha256_value(plain(maker)), content, maker, NOWHERE)


def _content(path: Path, parts: Iterable[NDArray[Any]], coords: NDArray[Any] | None) -> str:
    """SHA-256 over values and places as they lie: equal under whatever name, and whoever's copy of the file it is.

    Raises:
        InputError: NaN or infinity among the values.
    """
    digest = hashlib.sha256()
    for part in parts:
        if not np.isfinite(part).all():
            raise InputError(f"{path}: features hold NaN or infinity")
        digest.update(f"{part.dtype} {part.shape[1:]}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    if coords is not None:
        digest.update(np.ascontiguousarray(coords, np.float64).tobytes())
    return digest.hexdigest()


def _no_values(path: Path, names: list[str]) -> InputError:
    if names == ["coords"]:
        return InputError(
            f"{path}: holds coordinates alone, as the tools' folders `patches` do; give the folder of the features"
        )
    found = ", ".join(names) or "nothing"
    return InputError(f"{path}: no dataset {' or '.join(VALUES)} (it holds: {found})")


def _attributes(*parts: Any) -> dict[str, Any]:
    """Attributes of file and datasets as plain values; of one name the later part's counts."""
    return {
        name: value.item() if isinstance(value, np.generic) else value.decode() if isinstance(value, bytes) else value
        for part in parts
        for name, value in part.attrs.items()
        if isinstance(value, str | bytes | np.generic | int | float)
    }


def _unit(tool: str, facts: dict[str, Any]) -> str:
    if tool != STAMP:
        return PIXELS
    return MICRONS if facts.get("unit") == "um" or "tile_size_um" in facts else NOWHERE


def _tile(tool: str, facts: dict[str, Any]) -> dict[str, float]:
    """What is said of tiles that holds for all slides; their side in level-0 px hangs on the scan."""
    found: dict[str, float] = {}
    if tool == STAMP:
        um, size = (float(facts.get(name) or 0) for name in ("tile_size_um", "tile_size_px"))
        um = um or (float(facts.get("tile_size") or 0) if facts.get("unit") == "um" else 0.0)
        found = {"size_px": size, "mpp": um / size if size else 0.0}
    else:
        magnification = float(facts.get("target_magnification") or 0)
        found = {
            "size_px": float(facts.get("patch_size") or 0),
            "mpp": 10 / magnification if magnification else 0.0,
            "overlap_px": float(facts.get("overlap") or 0),
        }
    return {name: value for name, value in found.items() if value}


def _places(
    path: Path, coords: NDArray[Any] | None, values: H5Array, names: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64] | None]:
    """X and y [n] of the tiles row by row, and the rows of the file in that order; None where they lie so."""
    if coords is None:
        raise InputError(
            f"{path}: no dataset {names[1]} beside {names[0]} {values.shape}: where its tiles lie is not known"
        )
    coords = coords[0] if coords.ndim == 3 and len(coords) == 1 else coords
    if values.ndim != 2 or coords.shape != (len(values), 2):
        raise InputError(
            f"{path}: {names[0]} {values.shape} and {names[1]} {coords.shape}; they must be [n, d] and [n, 2], or each"
            " with a leading 1"
        )
    x, y = coords.astype(float).T
    if not np.isfinite(coords.astype(float)).all():
        raise InputError(f"{path}: {names[1]} hold NaN or infinity")
    order = np.lexsort((x, y))
    return x[order], y[order], order if np.any(np.diff(order) != 1) else None
