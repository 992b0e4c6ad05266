"""Bounds on what an annotation file may ask of us: points, coordinates, crossings."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pathoprog.errors import InputError

MAX_POINTS = 2_000_000  # of the areas of a file; drawn by hand they have thousands, by a classifier hundred thousands
MAX_COORDINATE = 10_000_000.0  # level-0 px; the widest slide that is opened has a fifth of it
MAX_CROSSINGS = 1_000  # of one area with itself; GEOS takes a second to repair so many, a minute for 10,000
MAX_UNION_CROSSINGS = 200_000  # of different areas' lines, that are joined


def ring_points(values: object) -> NDArray[np.float64]:
    """Coordinates of one line as float64 [n, 2], level-0 px; a third dimension is left out.

    Raises:
        InputError: not numbers, not finite, or larger than any slide.
    """
    try:
        points = np.array(values)
    except (ValueError, TypeError, OverflowError):
        points = np.empty(0, object)
    if points.ndim == 1 and points.size == 0 and isinstance(values, list) and not values:
        return np.empty((0, 2))
    if points.dtype.kind not in "iuf" or points.ndim != 2 or points.shape[1] < 2:
        raise InputError(
            "its coordinates are not lists of numbers (x, y), as GeoJSON has them: export the outline anew"
        )
    return checked_points(points[:, :2].astype(np.float64))


def checked_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points [n, 2] as they are.

    Raises:
        InputError: a coordinate is not finite, or larger than any slide.
    """
    if not np.isfinite(points).all():
        raise InputError("a coordinate is not a finite number: export the outline anew")
    if points.size and (largest := float(np.abs(points).max())) > MAX_COORDINATE:
        raise InputError(f"a coordinate is {largest:.3g}, beyond any slide; coordinates must be level-0 pixels")
    return points


def check_crossings(lines: list[NDArray[np.float64]], most: int, what: str) -> None:
    """Refuse lines that cross so often that joining them takes minutes.

    Args:
        lines: of points [n, 2], each closed or not.
        most: crossings that are allowed.
        what: crosses, for the message.

    Raises:
        InputError: more crossings.
    """
    pairs = [np.stack([line[:-1], line[1:]], axis=1) for line in lines if len(line) > 1]
    segments = np.concatenate(pairs) if pairs else np.empty((0, 2, 2))
    if not len(segments):
        return
    drawn: NDArray[Any] = np.asarray(shapely.linestrings(segments))
    tree = shapely.STRtree(drawn)
    step = max(16, min(4096, 2_000_000 // len(drawn)))  # bounds the memory of one answer
    found = 0
    for first in range(0, len(drawn), step):
        found += tree.query(drawn[first : first + step], predicate="crosses").shape[1]  # finds each crossing twice
        if found > 2 * most:
            raise InputError(f"{what} more than {most:,} times: draw it anew, or simplify it")
