"""The choice in one figure: every candidate's c on tuning with its interval, and where the thresholds cut."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.ensemble.thresholds import Threshold
from pathoprog.report.style import CLASS_COLOURS, journal_style, new_figure, save_figure, stamp
from pathoprog.slides.resolutions import in_order
from pathoprog.survival import Concordance

CHOSEN, LEFT_OUT, TOGETHER = "#0072B2", "#8A8A8A", "#000000"
BINS = 25


@dataclass
class ResolutionChoice:
    """One resolution's choice: mean scores [n] of its members, events [n], their c, and the cut."""

    scores: NDArray[np.float64]
    events: NDArray[np.int64]
    together: Concordance
    cut: Threshold


def draw_choice(
    table: list[dict[str, Any]], found: dict[str, ResolutionChoice], path: str | Path, judged_on: str
) -> list[Path]:
    """Draw and save the figure.

    Args:
        table: rows of choice.csv.
        found: by resolution.
        path: of the files, without suffix.
        judged_on: what the candidates were judged on, for the captions.

    Returns:
        The files.
    """
    resolutions = in_order(found)
    most = max(sum(row["resolution"] == resolution for row in table) for resolution in resolutions)
    with journal_style():
        height = 4.2 + 0.22 * most
        width, left = (7.6, 0.13) if len(resolutions) > 1 else (5.2, 0.19)
        figure = new_figure(width, height)
        grid = figure.add_gridspec(
            2, len(resolutions), height_ratios=[0.75 + 0.22 * most, 1.9], left=left, right=0.97, top=1 - 0.42 / height,
            bottom=1.05 / height, hspace=0.5, wspace=0.32,
        )  # fmt: skip
        low = min(0.5, *(row["tuning_c_lower"] for row in table)) - 0.01
        high = max(row["tuning_c_upper"] for row in table) + 0.01
        for column, resolution in enumerate(resolutions):
            rows = [row for row in table if row["resolution"] == resolution]
            axes = figure.add_subplot(grid[0, column])
            axes.set_xlim(low, high)
            _candidates(axes, resolution, rows, found[resolution].together)
            _threshold(figure.add_subplot(grid[1, column]), resolution, found[resolution])
        caption = (
            f"Judged on {judged_on}. c and its 95% interval rank candidates and are not comparable with an external"
            " cohort's;\nthe chosen ones' are too high, since they were chosen by it. Together, and thresholds:"
            " all tiles, as slides are scored.\nGrey: the threshold's 95% bootstrap interval."
        )
        if len(resolutions) == 1:  # narrower
            caption = fill(caption, 88)
        figure.text(0.1 / width, 0.26 / height, caption, fontsize=6.5, color="#333333", va="bottom")
        stamp(figure)
        return save_figure(figure, path)


def _candidates(axes: Any, resolution: str, rows: list[dict[str, Any]], together: Concordance) -> None:
    for place, row in enumerate(rows):
        colour = CHOSEN if row["chosen"] else LEFT_OUT
        axes.plot([row["tuning_c_lower"], row["tuning_c_upper"]], [place, place], color=colour, linewidth=1.2)
        axes.plot(
            row["tuning_c"], place, marker="o", markersize=5.5, color=colour,
            markerfacecolor=colour if row["chosen"] else "white",
        )  # fmt: skip
    last = len(rows)
    axes.plot([together.lower, together.upper], [last, last], color=TOGETHER, linewidth=1.8)
    axes.plot(together.value, last, marker="D", markersize=5.5, color=TOGETHER)
    n_chosen = sum(bool(row["chosen"]) for row in rows)
    axes.axvline(0.5, color="#B0B0B0", linewidth=0.8, linestyle=":")
    axes.set_yticks(
        range(last + 1), [f"seed {row['seed']}" for row in rows] + [f"the {n_chosen} together"], fontsize=7.5
    )
    axes.set_ylim(last + 0.6, -0.6)
    axes.set_xlabel("c on tuning, 95% CI")
    axes.set_title(f"{resolution}: {n_chosen} chosen (filled) of {last}", loc="left")


def _threshold(axes: Any, resolution: str, found: ResolutionChoice) -> None:
    edges = np.linspace(
        float(found.scores.min()), max(float(found.scores.max()), float(found.scores.min()) + 1e-6), BINS
    )
    died = found.events == 1
    axes.hist(
        [found.scores[~died], found.scores[died]], edges, stacked=True, linewidth=0,
        color=[CLASS_COLOURS["good"], CLASS_COLOURS["poor"]], label=["no event", "event"],
    )  # fmt: skip
    axes.axvspan(found.cut.lower, found.cut.upper, color="#DDDDDD", linewidth=0, zorder=0)
    axes.axvline(found.cut.value, color="#000000", linewidth=1.3)
    axes.set_xlabel("mean score of the chosen (higher = worse)")
    axes.set_ylabel("patients")
    axes.set_title(
        f"{resolution}: threshold {found.cut.value:.3f} ({found.cut.lower:.3f} to {found.cut.upper:.3f})", loc="left"
    )
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])  # room for the legend
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="upper left", fontsize=7.5, handlelength=1.0, ncols=2, borderaxespad=0.1)
