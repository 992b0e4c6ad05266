"""Small figures of a validation: hazard ratios side by side, chance, and where the scores lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.classes import RESOLUTIONS, RISK_CLASSES
from pathoprog.report.style import CLASS_COLOURS, journal_style, new_figure, stamp


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot; a heading where `value` is NaN and no text stands at the right."""

    label: str
    value: float = float("nan")
    lower: float = float("nan")
    upper: float = float("nan")
    text: str = ""
    colour: str = "black"
    bold: bool = False


def forest_figure(
    rows: Sequence[ForestRow],
    x_label: str,
    reference: float = 1.0,
    log: bool = True,
    stamps: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
) -> Any:
    """Draw estimates with their 95% intervals, one line each.

    Args:
        rows: from top to bottom.
        x_label: of the axis.
        reference: where the dashed line stands.
        log: logarithmic axis, for ratios.
        stamps: framed warnings.
        limits: of the axis; intervals that reach beyond end in an arrow. Default: chosen from the estimates.
    """
    estimates = [row for row in rows if np.isfinite(row.value) and row.value > 0]
    if limits is None:
        limits = _limits(estimates, reference, log)
    foot, top = 0.75, 0.2 + (0.25 if stamps else 0.0)
    height = top + 0.235 * len(rows) + foot
    width = 6.9
    with journal_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0.34, foot / height, 0.34, 1 - (top + foot) / height))
        if log:
            axes.set_xscale("log")
            ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if limits[0] <= tick <= limits[1]]
            axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlim(*limits)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.axvline(reference, color="#777777", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        for place, row in enumerate(rows):
            weight = "bold" if row.bold else "normal"
            axes.text(
                -0.95,
                place,
                row.label,
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8.5,
                fontweight=weight,
            )
            axes.text(1.05, place, row.text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
            if np.isfinite(row.value) and row.value > 0:
                _estimate(axes, row, place, limits)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label)
        stamp(figure, stamps)
    return figure


def _limits(rows: Sequence[ForestRow], reference: float, log: bool) -> tuple[float, float]:
    lows = [row.lower for row in rows if np.isfinite(row.lower)] + [row.value for row in rows] + [reference]
    highs = [row.upper for row in rows if np.isfinite(row.upper)] + [row.value for row in rows] + [reference]
    if log:
        positive = [low for low in lows if low > 0]
        return max(min(positive) / 1.25, 0.09), min(max(highs) * 1.25, 60.0)
    pad = 0.06 * (max(highs) - min(lows) or 1.0)
    return min(lows) - pad, max(highs) + pad


def _estimate(axes: Any, row: ForestRow, place: int, limits: tuple[float, float]) -> None:
    low, high = max(row.lower, limits[0]), min(row.upper, limits[1])
    axes.plot([low, high], [place, place], color=row.colour, linewidth=1.2, solid_capstyle="butt")
    for end, marker, cut in ((low, "<", row.lower < limits[0]), (high, ">", row.upper > limits[1])):
        if cut:
            axes.plot([end], [place], marker=marker, color=row.colour, markersize=4, clip_on=False)
    axes.plot([row.value], [place], marker="s", color=row.colour, markersize=4.6, zorder=3)


def permutation_figure(observed: float, permuted: Any, stamps: Sequence[str] = ()) -> Any:
    """Histogram of c under permuted outcomes, with the observed c."""
    with journal_style():
        figure = new_figure(5.2, 2.9)
        axes = figure.add_axes((0.12, 0.27, 0.84, 0.6))
        axes.hist(permuted, bins=40, color="#b9c4cf", edgecolor="white", linewidth=0.4)
        axes.axvline(observed, color=CLASS_COLOURS["poor"], linewidth=1.6)
        axes.annotate(
            f"observed {observed:.3f}",
            (observed, axes.get_ylim()[1]),
            xytext=(-4, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8.5,
            color=CLASS_COLOURS["poor"],
        )
        axes.set_xlabel("Harrell's c")
        axes.set_ylabel("Permutations")
        stamp(figure, stamps)
    return figure


def scores_figure(panels: Sequence[tuple[str, pd.DataFrame]], thresholds: dict[str, float]) -> Any:
    """Both scores of every patient, one panel per group of patients, with the locked thresholds.

    Args:
        panels: title and patients (``score_10x, score_40x, risk_class``).
        thresholds: by resolution.
    """
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    side, gap = 1.85, 0.28
    width, height = 0.65 + columns * (side + gap), 0.85 + rows * (side + 0.6)
    with journal_style():
        figure = new_figure(width, height)
        for number, (title, patients) in enumerate(panels):
            row, column = divmod(number, columns)
            left = 0.6 + column * (side + gap)
            bottom = height - 0.3 - side - row * (side + 0.6)
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            for name in RISK_CLASSES:
                own = patients[patients["risk_class"] == name]
                axes.plot(
                    own["score_10x"],
                    own["score_40x"],
                    linestyle="",
                    marker="o",
                    markersize=2.4,
                    markeredgewidth=0,
                    alpha=0.75,
                    color=CLASS_COLOURS[name],
                    label=name,
                )
            low, high = RESOLUTIONS
            axes.axvline(thresholds[low], color="#555555", linewidth=0.7, linestyle=(0, (4, 2)))
            axes.axhline(thresholds[high], color="#555555", linewidth=0.7, linestyle=(0, (4, 2)))
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"] if not column else [])
            axes.set_title(title, fontsize=8.5, loc="left", pad=4)
            if not column:
                axes.set_ylabel("Score at 40x")
            if row == rows - 1:
                axes.set_xlabel("Score at 10x")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="lower right", ncols=3, fontsize=8, markerscale=2, handletextpad=0.1
        )
        stamp(figure)
    return figure
