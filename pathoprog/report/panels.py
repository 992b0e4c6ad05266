"""Small figures of a validation: chance, and where the scores lie."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pathoprog.ensemble.classes import classes_of
from pathoprog.report.style import CLASS_COLOURS, journal_style, new_figure, stamp
from pathoprog.slides.resolutions import in_order


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
    """The scores of every patient, one panel per group of patients, with the locked thresholds.

    Of two resolutions one score against the other; of one the share of patients with at most that score.

    Args:
        panels: title and patients (``risk_class``, and ``score_10x`` or so of each resolution).
        thresholds: by resolution.
    """
    resolutions = in_order(thresholds)
    low, high = resolutions[0], resolutions[1] if len(resolutions) > 1 else ""
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    side, gap = 1.85, 0.28
    width, height = max(0.65 + columns * (side + gap), 3.0), 0.85 + rows * (side + 0.6)
    with journal_style():
        figure = new_figure(width, height)
        for number, (title, patients) in enumerate(panels):
            row, column = divmod(number, columns)
            left = 0.6 + column * (side + gap)
            bottom = height - 0.3 - side - row * (side + 0.6)
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            scores = patients[f"score_{low}"]
            heights = patients[f"score_{high}"] if high else scores.rank(method="max", pct=True)
            for name in classes_of(resolutions):
                own = patients["risk_class"] == name
                axes.plot(
                    scores[own],
                    heights[own],
                    linestyle="",
                    marker="o",
                    markersize=2.4,
                    markeredgewidth=0,
                    alpha=0.75,
                    color=CLASS_COLOURS[name],
                    label=name,
                )
            axes.axvline(thresholds[low], color="#555555", linewidth=0.7, linestyle=(0, (4, 2)))
            if high:
                axes.axhline(thresholds[high], color="#555555", linewidth=0.7, linestyle=(0, (4, 2)))
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"] if not column else [])
            axes.set_title(title, fontsize=8.5, loc="left", pad=4)
            if not column:
                axes.set_ylabel(f"Score at {high}" if high else "Share of patients")
            if row == rows - 1:
                axes.set_xlabel(f"Score at {low}")
        above = (1.0, 0.22 / height) if columns == 1 else (1.0, 0.0)  # the notice takes a narrow figure's width
        figure.legend(
            *axes.get_legend_handles_labels(), loc="lower right", ncols=3, fontsize=8, markerscale=2, handletextpad=0.1,
            bbox_to_anchor=above,
        )  # fmt: skip
        stamp(figure)
    return figure
