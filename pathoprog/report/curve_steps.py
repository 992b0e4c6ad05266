"""One step curve in a figure: its line, its band, its marks of censoring; faded where few are left at risk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathoprog.report.style import FADED, FEWEST_AT_RISK
from pathoprog.survival.arrays import FloatArray
from pathoprog.survival.curves.risk_sets import number_at_risk


@dataclass(frozen=True)
class Curve:
    """What is drawn of one group.

    Attributes:
        time: of its steps (k,).
        value: from there on (k,).
        lower: of its band (k,).
        upper: of its band (k,).
        censored: times of censoring to be marked (c,).
        sparse_from: from there on fewer than `FEWEST_AT_RISK` are at risk; infinite where that is nowhere.
    """

    time: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    censored: FloatArray
    sparse_from: float = np.inf


def sparse_from(time: Any, entry: Any = None, patient: Any = None) -> float:
    """From which time on fewer than `FEWEST_AT_RISK` are at risk, up to the end of follow-up; infinite if nowhere.

    Early under delayed entry, where few have entered yet, nothing is sparse in this sense.

    Args:
        time: follow-up of a group's rows (n,).
        entry: of each row (n,), or None.
        patient: of each row (n,), or None: several rows of a patient count once.
    """
    ends = np.unique(np.asarray(time, dtype=float))
    at_risk = number_at_risk(time, np.zeros(len(time)), ends, entry, None, patient).n_risk
    enough = np.flatnonzero(at_risk >= FEWEST_AT_RISK)
    if not enough.size:
        return 0.0
    last = enough[-1]
    return np.inf if last == ends.size - 1 else float(ends[last])


def draw_steps(
    axes: Any,
    curve: Curve,
    colour: str,
    style: Any,
    label: str,
    start: float,
    end: float,
    divide_by: float,
    bands: bool,
    censor_marks: bool,
) -> None:
    """Draw one curve with its band, faded from where few are at risk; arguments as in `curves.curve_figure`."""
    time = np.concatenate(([0.0], curve.time)) / divide_by
    value, lower, upper = (np.concatenate(([start], of)) for of in (curve.value, curve.lower, curve.upper))
    sparse = curve.sparse_from / divide_by
    solid = np.append(time[time < sparse], min(sparse, time[-1]))  # ends where the faded part goes on alone
    place = np.searchsorted(time, solid, side="right") - 1
    how = {"drawstyle": "steps-post", "color": colour, "linestyle": style, "zorder": 3, "solid_capstyle": "butt"}
    axes.plot(time, value, alpha=FADED, **how)
    axes.plot(solid, value[place], label=label, **how)
    if bands:
        for x, low, high in ((time, lower, upper), (solid, lower[place], upper[place])):
            axes.fill_between(x, low, high, step="post", color=colour, alpha=0.07, linewidth=0, zorder=1)
    if censor_marks and curve.censored.size:
        marks = curve.censored / divide_by
        marks = np.unique(marks[marks <= end])
        height = value[np.searchsorted(time, marks, side="right") - 1]
        for chosen, alpha in ((marks <= sparse, 1.0), (marks > sparse, FADED)):
            how = {"linestyle": "", "marker": "|", "markersize": 4.5, "markeredgewidth": 0.6, "color": colour}
            axes.plot(marks[chosen], height[chosen], alpha=alpha, zorder=4, **how)


def place_legend(
    axes: Any,
    curves: Sequence[Curve],
    falling: bool,
    end: float,
    divide_by: float,
    limits: tuple[float, float],
) -> None:
    """Put the legend where the curves and their bands are not: below them, else above them, else on a white ground."""
    if not falling:
        axes.legend(loc="upper left", handlelength=2.6, borderaxespad=0.2)
        return
    span = limits[1] - limits[0]
    height = span * (0.03 + 0.068 * len(curves))
    lowest = min(_read(curve, curve.lower, end * divide_by, limits[1]) for curve in curves)
    highest = max(_read(curve, curve.upper, 0.7 * end * divide_by, limits[1]) for curve in curves)
    above = highest < limits[1] - height
    free = above or lowest > limits[0] + height
    axes.legend(
        loc="upper right" if above else "lower right",
        handlelength=2.6,
        borderaxespad=0.2,
        frameon=not free,
        facecolor="white",
        edgecolor="none",
        framealpha=0.85,
    )


def _read(curve: Curve, values: FloatArray, time: float, start: float) -> float:
    """A step curve's limit at a time; the curve itself where the limit is not known."""
    place = int(np.searchsorted(curve.time, time, side="right")) - 1
    if place < 0:
        return start
    return float(values[place] if np.isfinite(values[place]) else curve.value[place])
