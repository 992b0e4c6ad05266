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


def checked_entry(entry: Any, time: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Follow-up and when each row came under observation (n,), None where all were from the start.

    At risk is entry < t <= T. An entry that differs from an event's time by rounding only is that time, whichever of
    the two is the smaller: the row is not at risk at it.

    Args:
        entry: time at which each row enters, in the unit of `time` (n,); None: all at 0.
        time: follow-up as `checked` gives it (n,).

    Returns:
        Both, with times of either that differ by rounding only made equal; entry 0 is no delay.

    Raises:
        InputError: the length differs, an entry is missing or negative, or not before the end of follow-up.
    """
    if entry is None:
        return time, None
    entries = np.asarray(entry, dtype=float)
    if entries.shape != time.shape:
        raise InputError(f"entry {entries.shape} and time {time.shape} must be two columns of one length")
    wrong = ~np.isfinite(entries) | (entries < 0)
    if wrong.any():
        raise InputError(f"{int(wrong.sum())} entry times are missing or negative (first at row {_first(wrong)})")
    if not entries.any():
        return time, None
    both = merge_close(np.concatenate((time, entries)))
    ends, starts = both[: time.size], both[time.size :]
    late = (starts >= ends) & (entries > 0)
    if late.any():
        row = _first(late)
        raise InputError(
            f"{int(late.sum())} rows enter at or after the end of their follow-up (first at row {row}: entry "
            f"{entries[row]:g}, end {time[row]:g}): they were never under observation; leave them out"
        )
    return ends, starts


def checked_weight(weight: Any, n: int) -> FloatArray | None:
    """Case weights (n,), or None where all are 1.

    Raises:
        InputError: the length differs, or a weight is missing or not above 0.
    """
    if weight is None:
        return None
    weights = np.asarray(weight, dtype=float)
    if weights.shape != (n,):
        raise InputError(f"{weights.size} weights for {n} rows")
    wrong = ~np.isfinite(weights) | (weights <= 0)
    if wrong.any():
        raise InputError(
            f"{int(wrong.sum())} weights are missing or not above 0 (first at row {_first(wrong)}); leave such rows out"
        )
    return None if (weights == 1).all() else weights


def clusters(patient: Any, weight: FloatArray | None, n: int) -> IntArray | None:
    """By whom a robust variance sums (n,): the patient of each row; None where the model's own variance holds.

    Weights that are no whole numbers stand for no copies of a patient, so that they ask for a robust variance too, by
    row where no patient is named: the rule of R's `coxph` and `survfit`.

    Args:
        patient: of each row (n,), or None.
        weight: from `checked_weight`.
        n: the number of rows.

    Raises:
        InputError: the length differs, or a patient is missing.
    """
    if patient is not None:
        labels = level_names(patient)
        if labels.shape != (n,):
            raise InputError(f"{labels.size} patients for {n} rows")
        if (labels == "").any():
            raise InputError(f"{int((labels == '').sum())} rows have no patient")
        return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)
    if weight is not None and (weight % 1 != 0).any():
        return np.arange(n)
    return None


def summed(values: FloatArray, cluster: IntArray) -> FloatArray:
    """Sums of rows (n, …) by cluster (c, …)."""
    total = np.zeros((int(cluster.max()) + 1, *values.shape[1:]))
    np.add.at(total, cluster, values)
    return total


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
