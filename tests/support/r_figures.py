"""Our figures beside R's, one by one, with the number of digits in which they agree."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Row = tuple[str, float | None, float | None, float]
"""Name, our figure, R's figure, tolerance (relative)."""


def figures(path: str, ours: Any, theirs: Any, tolerance: float) -> Iterator[Row]:
    """Pair two nested values figure by figure."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            yield from figures(f"{path}/{key}", ours[key], value, tolerance)
    elif isinstance(theirs, list):
        values = list(np.asarray(ours).tolist()) if not isinstance(ours, list) else ours
        assert len(values) == len(theirs), path
        for index, (mine, value) in enumerate(zip(values, theirs, strict=True)):
            yield from figures(f"{path}[{index}]", mine, value, tolerance)
    elif isinstance(theirs, str):
        assert str(ours) == theirs, path
    else:
        yield path, ours, theirs, tolerance


def agreement(ours: Any, theirs: Any) -> float:
    """Relative difference; 0 where both are nothing, or the same truth value."""
    if theirs is None or ours is None:
        missing = ours is None or (isinstance(ours, float) and math.isnan(ours))
        return 0.0 if theirs is None and missing else math.inf
    if isinstance(theirs, bool):
        return 0.0 if bool(ours) == theirs else math.inf
    if theirs == 0:
        return 0.0 if abs(float(ours)) < 1e-12 else math.inf
    return abs(float(ours) - theirs) / abs(theirs)


def digits(gap: float) -> float:
    """Agreeing digits for a relative difference."""
    return 15.9 if gap == 0 else min(-math.log10(gap), 15.9) if gap < math.inf else 0.0


def leaves(value: Any, key: str = "", skip: frozenset[str] | set[str] = frozenset()) -> Iterator[str]:
    """All figures of R, texts apart."""
    if isinstance(value, dict):
        for inner, item in value.items():
            if inner not in skip:
                yield from leaves(item, inner, skip)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, key, skip)
    elif not isinstance(value, str):
        yield key
