"""Forest plot: hazard ratios with their intervals on a logarithmic axis, beside a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathoprog.report.style import FADED, PALETTE, journal_style, new_figure, stamp
from pathoprog.text.numbers import bare_ratio

ROW_INCH = 0.24
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class ForestRow:
    """One row.

    Attributes:
        label: left column; leading spaces indent.
        counts: second column, for example ``310 (172)``.
        ratio: hazard ratio; nan draws nothing.
        lower: lower limit.
        upper: upper limit.
        p: last column.
        heading: True for a row that only names what follows.
        faint: True where one of the compared groups has fewer than ten patients: drawn faded.
    """

    label: str
    counts: str
    ratio: float
    lower: float
    upper: float
    p: str
    heading: bool = False
    faint: bool = False


def forest_figure(
    rows: Sequence[ForestRow],
    *,
    title: str = "",
    x_label: str = "Hazard ratio (95% CI), logarithmic axis",
    stamps: Sequence[str] = (),
    width: float = 7.2,
) -> Any:
    """Draw hazard ratios; those without a finite estimate are written as such.

    Returns:
        A matplotlib figure.
    """
    with journal_style():
        top = 0.4 + (0.22 if title else 0.0) + (0.24 if stamps else 0.0)
        below = 0.75
        height = top + ROW_INCH * len(rows) + below
        figure = new_figure(width, height)
        axes = figure.add_axes((0.47, below / height, 0.25, ROW_INCH * len(rows) / height))
        low, high = _range(rows)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.axvline(1, color="#666666", linewidth=0.8, zorder=0)
        for y, row in enumerate(rows):
            _row(figure, axes, row, y, low, high, (below + ROW_INCH * (len(rows) - y - 0.5)) / height)
        ticks = [tick for tick in TICKS if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label, fontsize=8.5)
        y_head = (below + ROW_INCH * len(rows) + 0.1) / height
        for x, text, side in (
            (0.015, "", "left"),
            (0.455, "n (events)", "right"),
            (0.735, "Hazard ratio (95% CI)", "left"),
            (0.985, "p" if any(row.p for row in rows) else "", "right"),
        ):
            figure.text(x, y_head, text, fontsize=8.5, fontweight="bold", ha=side, va="bottom")
        if title:
            figure.text(0.015, y_head + 0.2 / height, title, fontsize=10, fontweight="bold", va="bottom")
        stamp(figure, stamps)
    return figure


def _range(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """Limits of the axis: all estimates, and intervals as far as a factor of 20 from 1."""
    values = [v for row in rows for v in (row.ratio, row.lower, row.upper) if np.isfinite(v) and v > 0]
    values = [v for v in values if 1 / 20 <= v <= 20] or [1.0]
    return min(0.45, *(0.85 * v for v in values)), max(2.2, *(1.15 * v for v in values))


def _row(figure: Any, axes: Any, row: ForestRow, y: int, low: float, high: float, level: float) -> None:
    weight = "bold" if row.heading else "normal"
    figure.text(0.015, level, row.label, fontsize=8.5, va="center", fontweight=weight)
    figure.text(0.455, level, row.counts, fontsize=8.5, va="center", ha="right", color="#333333")
    figure.text(0.985, level, row.p, fontsize=8.5, va="center", ha="right")
    if row.heading:
        return
    if row.counts == "reference":
        axes.plot(1, y, marker="s", color="white", markeredgecolor=PALETTE[0], markersize=5, zorder=3)
        figure.text(0.735, level, "1 (reference)", fontsize=8.5, va="center", color="#555555")
        return
    text = bare_ratio(row.ratio, row.lower, row.upper)
    figure.text(0.735, level, text, fontsize=8.5, va="center")
    if not np.isfinite([row.ratio, row.lower, row.upper]).all() or row.ratio <= 0:
        return
    left, right = max(row.lower, low), min(row.upper, high)
    alpha = FADED if row.faint else 1.0
    axes.plot([left, right], [y, y], color=PALETTE[0], linewidth=1.4, zorder=2, solid_capstyle="butt", alpha=alpha)
    for limit, edge, sign in ((row.lower, low, "<"), (row.upper, high, ">")):
        if (limit < low) if sign == "<" else (limit > high):
            axes.plot(edge, y, marker=sign, color=PALETTE[0], markersize=5, clip_on=False, zorder=3, alpha=alpha)
    if low <= row.ratio <= high:
        axes.plot(row.ratio, y, marker="s", color=PALETTE[0], markersize=5, zorder=3, alpha=alpha)
