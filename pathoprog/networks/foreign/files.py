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
from pathoprog.system.h5_array import H5Array, opened, rows_written
from pathoprog.system.records import plain

H5_SUFFIX = ".h5"
VALUES = ("features", "feats")
"""The dataset of the values: TRIDENT's and CLAM's name, and STAMP's."""
H5_FAULTS = (RuntimeError, ValueError, KeyError, TypeError, IndexError, OverflowError, MemoryError, ZeroDivisionError)
"""What h5py, and sums on what it gives, come to in a damaged file, beside OSError."""
ATTRIBUTES = (
    "encoder", "savetodir", "patch_size", "patch_size_level0", "level0_magnification", "target_magnification",
    "overlap", "level0_width", "level0_height",
    "extractor", "feat_type", "unit", "tile_size", "tile_size_um", "tile_size_px",
)  # fmt: skip
"""What is read of what the tools say: TRIDENT's, then STAMP's; CLAM says nothing."""
AUGMENTED = "augmented"
"""STAMP 1's dataset [n] of bool: which rows are altered copies of tiles."""
MAY_BE_0 = ("overlap",)
SAME_SIDE = 0.01
"""By how much a tile's side at level 0 may differ from what magnifications say, as a share: tools round them."""
FURTHEST = 2.0**31
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

    with opened(path) as file:
        names = [name for name in VALUES if isinstance(file.get(name), h5py.Dataset)]
        if not names:
            raise _no_values(path, sorted(file))
        name, has_coords = names[0], isinstance(file.get("coords"), h5py.Dataset)
        values = H5Array(path, name)
        shape = tuple(int(side) for side in file[name].shape)
        facts = _attributes(file, file[name], *([file["coords"]] if has_coords else []))
        coords = _stored_places(path, file["coords"]) if has_coords else None
        augmented = AUGMENTED in file and bool(np.any(file[AUGMENTED]))
    if augmented:
        raise InputError(
            f"{path}: holds altered copies of its tiles beside them (STAMP 1's augmentation); make it without"
        )
    tool = STAMP if name == "feats" else TRIDENT if {"encoder", "savetodir"} & facts.keys() else CLAM
    kind = str(facts.get("feat_type") or TILE)
    if kind not in (TILE, SLIDE):
        raise InputError(f"{path}: one vector of a {kind}, named after it; give features of tiles or of slides")
    alone = len(shape) == 1 or kind == SLIDE or (coords is None and shape[:-1] in ((1,), (1, 1)))
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
        side = _side(path, facts, unit)
        _check_places(path, facts, x0, y0)
    tile = _tile(path, tool, facts) if level == TILE else {}
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
    """Those attributes of file and datasets that count, as plain values; of one name the later part's holds."""
    found = {}
    for part in parts:
        for name in ATTRIBUTES:
            if name in part.attrs:
                value = part.attrs[name]
                value = value.item() if isinstance(value, np.generic) else value
                found[name] = _text(value) if isinstance(value, bytes) else value
    return found


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _number(path: Path, facts: dict[str, Any], name: str) -> float:
    """A length or a magnification that the file says; NaN where it does not: TRIDENT writes ``None`` for nothing.

    Raises:
        InputError: it is no number over 0.
    """
    said = facts.get(name, "None")
    if isinstance(said, str) and said in ("", "None"):
        return math.nan
    try:
        found = float(said)  # what cannot be made one is the error
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found) or found < 0 or (found == 0 and name not in MAY_BE_0):
        raise InputError(f"{path}: its attribute {name} is {str(said)[:40]!r}, must be a number over 0")
    return found


def _unit(tool: str, facts: dict[str, Any]) -> str:
    if tool != STAMP:
        return PIXELS
    return MICRONS if facts.get("unit") == "um" or "tile_size_um" in facts else NOWHERE


def _side(path: Path, facts: dict[str, Any], unit: str) -> float:
    """Side of a tile in the unit of its place; NaN where the file does not say it.

    Raises:
        InputError: what TRIDENT says of it contradicts itself.
    """
    if unit == MICRONS:
        side = _number(path, facts, "tile_size_um")
        return _number(path, facts, "tile_size") if math.isnan(side) else side
    side, size, scan, target = (
        _number(path, facts, name)
        for name in ("patch_size_level0", "patch_size", "level0_magnification", "target_magnification")
    )
    if abs(size * scan / target - side) > 1 + side * SAME_SIDE:  # False where one is not known
        raise InputError(
            f"{path}: its attributes contradict each other: patch_size {size:g} at {target:g}x of a scan at {scan:g}x"
            f" is {size * scan / target:g} px at level 0, and patch_size_level0 is {side:g}"
        )
    return side


def _check_places(path: Path, facts: dict[str, Any], x0: NDArray[np.int64], y0: NDArray[np.int64]) -> None:
    """Tiles begin inside the slide, where TRIDENT says how large that is.

    Raises:
        InputError: one does not.
    """
    for name, places in (("level0_width", x0), ("level0_height", y0)):
        length = _number(path, facts, name)
        if int(places.min()) < 0 or int(places.max()) >= length:
            raise InputError(
                f"{path}: coords from {int(places.min())} to {int(places.max())} lie outside the slide ({name}"
                f" {length:g}): they are of another slide, or no pixels of level 0"
            )


def _tile(path: Path, tool: str, facts: dict[str, Any]) -> dict[str, float]:
    """What is said of tiles that holds for all slides; their side in level-0 px hangs on the scan."""
    if tool == STAMP:
        um, size = (_number(path, facts, name) for name in ("tile_size_um", "tile_size_px"))
        if math.isnan(um) and facts.get("unit") == "um":
            um = _number(path, facts, "tile_size")
        found = {"size_px": size, "mpp": um / size}
    else:
        found = {
            "size_px": _number(path, facts, "patch_size"),
            "mpp": 10 / _number(path, facts, "target_magnification"),
            "overlap_px": _number(path, facts, "overlap"),
        }
    return {name: value for name, value in found.items() if value and math.isfinite(value)}


def _stored_places(path: Path, stored: Any) -> NDArray[Any]:
    """Coordinates as they lie in the file.

    Raises:
        InputError: they are no numbers, or were not written to their end.
    """
    if not np.issubdtype(stored.dtype, np.number) or np.issubdtype(stored.dtype, np.complexfloating):
        raise InputError(f"{path}: coords are {stored.dtype}, not numbers")
    if not rows_written(stored):
        raise InputError(f"{path}: coords {stored.shape} were not written to their end; have the file made again")
    return np.asarray(stored)


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
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"{path}: {names[1]} hold NaN or infinity")
    if len(x) and max(np.abs(x).max(), np.abs(y).max()) > FURTHEST:
        raise InputError(f"{path}: {names[1]} reach beyond what any slide has")
    order = np.lexsort((x, y))
    return x[order], y[order], order if np.any(np.diff(order) != 1) else None
