"""A comparison in one figure: each experiment's c with every seed, and its difference from the reference."""

import textwrap
from pathlib import Path
from typing import Any

from pathoprog.report.style import PALETTE, journal_style, new_figure, save_figure, stamp

ROW_INCH, WIDTH = 0.3, 7.4
SEED, GREY = "#8A8A8A", "#B0B0B0"


def draw_comparison(rows: list[dict[str, Any]], path: Path, caption: str) -> list[Path]:
    """Draw and save the figure.

    Args:
        rows: of the table, one resolution's behind the other's, each with the reference first.
        path: of the files, without suffix.
        caption: what the figures mean.

    Returns:
        The files.
    """
    resolutions = list(dict.fromkeys(row["resolution"] for row in rows))
    places: dict[int, float] = {}
    heads: dict[str, float] = {}
    level = 0.0
    for resolution in resolutions:
        heads[resolution] = level
        level += 1
        for number, row in enumerate(rows):
            if row["resolution"] == resolution:
                places[number] = level
                level += 1
    text = textwrap.fill(caption, 150)
    below = 0.95 + 0.12 * text.count("\n")
    with journal_style():
        height = 0.4 + ROW_INCH * level + below
        figure = new_figure(WIDTH, height)
        grid = figure.add_gridspec(
            1, 2, left=0.2, right=0.985, top=1 - 0.35 / height, bottom=below / height, wspace=0.1
        )  # fmt: skip
        left, right = (figure.add_subplot(grid[0, column]) for column in range(2))
        for number, row in enumerate(rows):
            y = places[number]
            by_seed = [float(value) for value in row["c_by_seed"].split()]
            if len(by_seed) > 1:
                left.plot(by_seed, [y + 0.22] * len(by_seed), marker="|", linestyle="none", color=SEED, markersize=5)
            left.plot([row["c_lower"], row["c_upper"]], [y, y], color=PALETTE[0], linewidth=1.4)
            left.plot(row["c"], y, marker="s", color=PALETTE[0], markersize=5)
            if row["difference"] == "":
                right.plot(0, y, marker="s", color="white", markeredgecolor=PALETTE[0], markersize=5, zorder=3)
                continue
            right.plot([row["difference_lower"], row["difference_upper"]], [y, y], color=PALETTE[2], linewidth=1.4)
            right.plot(row["difference"], y, marker="s", color=PALETTE[2], markersize=5)
        left.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        right.axvline(0, color="#666666", linewidth=0.8, zorder=0)
        for axes in (left, right):
            axes.set_ylim(level - 0.4, -0.5)
            axes.spines["left"].set_visible(False)
            axes.set_yticks([])
        left.set_yticks([*heads.values(), *places.values()], [*heads, *(f"{row['experiment']}" for row in rows)])
        left.tick_params(axis="y", length=0)
        for label in left.get_yticklabels()[: len(heads)]:
            label.set_fontweight("bold")
        left.set_xlabel("c within folds, 95% CI; ticks: each seed")
        right.set_xlabel(f"difference from {rows[0]['reference']}, 95% CI")
        figure.text(0.1 / WIDTH, 0.26 / height, text, fontsize=6.5, color="#333333", va="bottom")
        stamp(figure)
        return save_figure(figure, path)
