"""The trials of a sweep in one figure: their c in the order of trial, and against each swept key."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog.report.style import PALETTE, journal_style, new_figure, save_figure, stamp
from pathoprog.training.search.trials import SweepRecord, TrialResult, looked_at_line

FIGURE = "trials"
MOST_PANELS, MOST_WORDS = 8, 12
LOG_RATIO = 20.0  # numbers that span more than this stand on a logarithmic axis


def draw_trials(record: SweepRecord, path: Path) -> list[Path]:
    """Draw and save the figure.

    Args:
        record: of the sweep; trials without a c are left out.
        path: of the files, without suffix.

    Returns:
        The files.
    """
    done = [trial for trial in record.trials if math.isfinite(trial.objective)]
    best = record.best
    keys = record.keys[:MOST_PANELS]
    rows = 1 + math.ceil(len(keys) / 2)
    with journal_style():
        height = 0.9 + 2.3 * rows
        figure = new_figure(7.2, height)
        grid = figure.add_gridspec(
            rows, 2, left=0.1, right=0.97, top=1 - 0.3 / height, bottom=0.95 / height, hspace=0.65, wspace=0.25
        )
        axes = figure.add_subplot(grid[0, :])
        values = [trial.objective for trial in done]
        axes.plot(range(1, len(done) + 1), values, "o", color=PALETTE[0], markersize=4)
        axes.step(range(1, len(done) + 1), np.maximum.accumulate(values), where="post", color=PALETTE[2], linewidth=1.0)
        axes.set_xlabel("trial, in the order of trial; the line: the best so far")
        axes.set_ylabel("c")
        axes.xaxis.get_major_locator().set_params(integer=True)
        for number, key in enumerate(keys):
            _against(figure.add_subplot(grid[1 + number // 2, number % 2]), key, done, best)
        judged = "cross-validated" if record.command == "cross_validate" else "on tuning"
        stamp(figure)
        figure.text(0.1, 0.35 / height, f"c {judged}; {looked_at_line(record.looked_at)}", fontsize=6.5, va="bottom")
        return save_figure(figure, path)


def _against(axes: Any, key: str, done: list[TrialResult], best: TrialResult | None) -> None:
    """One panel: c against the values of one key; the best trial is filled."""
    shown = [(trial, trial.values[key]) for trial in done if key in trial.values]
    numbers = [_number(value) for _, value in shown]
    if all(math.isfinite(number) for number in numbers) and numbers:
        places = numbers
        if min(numbers) > 0 and max(numbers) / min(numbers) > LOG_RATIO:
            axes.set_xscale("log")
    else:
        words = list(dict.fromkeys(value for _, value in shown))
        places = [float(words.index(value)) for _, value in shown]
        axes.set_xticks(range(len(words)), [word if len(word) <= MOST_WORDS else f"{word[:11]}…" for word in words])
        axes.set_xlim(-0.5, len(words) - 0.5)
    for (trial, _), place in zip(shown, places, strict=True):
        filled = best is not None and trial.name == best.name
        axes.plot(
            place, trial.objective, "o", color=PALETTE[0], markersize=5, markerfacecolor=None if filled else "none"
        )
    axes.set_xlabel(key)
    axes.set_ylabel("c")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
