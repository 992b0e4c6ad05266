"""Checked arrays: follow-up times, event codes and groups, as every analysis takes them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pathoprog.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TIE_TOLERANCE = float(np.sqrt(np.finfo(float).eps))
"""Times closer than this, absolutely or relative to their mean, are one time: arithmetic on dates (days / 365.25) must
not break ties. The rule and the value are those of R's survival package (`timefix`)."""

CENSORED, EVENT, COMPETING = 0, 1, 2


def checked(time: Any, event: Any) -> tuple[FloatArray, IntArray]:
    """Follow-up and event codes as arrays of equal length.

    Args:
        time: follow-up of n patients, any unit, not negative (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).

    Returns:
        time as float (n,), with times that differ by rounding only made equal; event as int (n,).

    Raises:
        InputError: lengths differ, nothing is there, a time is missing, infinite or negative, or a code is unknown.
    """
    times = np.asarray(time, dtype=float)
    codes = np.asarray(event, dtype=float)
    if times.ndim != 1 or times.shape != codes.shape:
        raise InputError(f"time {times.shape} and event {codes.shape} must be two columns of one length")
    if times.size == 0:
        raise InputError("no patients: the table is empty")
    wrong = ~np.isfinite(times) | (times < 0)
    if wrong.any():
        raise InputError(f"{int(wrong.sum())} follow-up times are missing or negative (first at row {_first(wrong)})")
    wrong = ~np.isin(codes, (CENSORED, EVENT, COMPETING))
    if wrong.any():
        raise InputError(
            f"{int(wrong.sum())} event codes are none of 0 (censored), 1 (event), 2 (competing death): "
            f"{codes[wrong][0]:g} at row {_first(wrong)}"
        )
    return merge_close(times), codes.astype(np.int64)


def _first(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(mask)[0])


def merge_close(times: FloatArray) -> FloatArray:
    """Give times that differ by less than `TIE_TOLERANCE` the value of the smallest of them."""
    distinct, place = np.unique(times, return_inverse=True)
    if distinct.size < 2:
        return times
    gaps = np.diff(distinct)
    scale = float(np.mean(np.abs(distinct)))
    close = (gaps <= TIE_TOLERANCE) | (gaps <= TIE_TOLERANCE * scale)
    if not close.any():
        return times
    run = np.concatenate(([0], np.cumsum(~close)))
    start = np.concatenate(([True], ~close))
    return np.asarray(distinct[start][run[place]])


def groups_of(group: Any, n: int, levels: list[str] | None = None) -> tuple[list[str], IntArray]:
    """Group labels as text and each patient's position among them.

    Args:
        group: a label for each of n patients; missing ones are refused.
        n: the number of patients.
        levels: the order of the groups; default: numbers by size, text by alphabet.

    Returns:
        The levels that occur, in order, and the index of each patient's level (n,).

    Raises:
        InputError: the length differs, a label is missing, or a label is not among `levels`.
    """
    labels = level_names(group)
    if labels.shape != (n,):
        raise InputError(f"{labels.size} group labels for {n} patients")
    if (labels == "").any():
        raise InputError(f"{int((labels == '').sum())} group labels are missing")
    present = set(labels.tolist())
    if levels is None:
        levels = sorted(present, key=_natural)
    elif not present <= set(levels):
        raise InputError(f"group labels {sorted(present - set(levels))} are not among {levels}")
    kept = [level for level in levels if level in present]
    place = {level: index for index, level in enumerate(kept)}
    return kept, np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def level_names(values: Any) -> npt.NDArray[np.str_]:
    """Labels as text: whole numbers without a decimal point, missing values as empty text (n,)."""
    names = []
    for value in np.asarray(values, dtype=object).tolist():
        if value is None or value != value or str(value) in ("", "<NA>", "NaT"):
            names.append("")
        elif isinstance(value, bool | np.bool_):
            names.append(str(bool(value)))
        elif isinstance(value, float | np.floating) and float(value).is_integer():
            names.append(str(int(value)))
        else:
            names.append(str(value))
    return np.array(names, dtype=np.str_)


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)
