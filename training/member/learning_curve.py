"""How a candidate learned, in one figure, in its folder; and what MLflow keeps of each candidate beside it.

The figure has four panels over the steps: the loss, c, the gradients' norm, and where the time goes.
"""

from pathlib import Path
from typing import Any

from pathoprog.report.style import PALETTE, journal_style, new_figure, save_figure, stamp
from pathoprog.system.files import read_json
from pathoprog.training.member.candidate import SETTINGS
from pathoprog.training.member.metrics import METRICS
from pathoprog.training.tracking import Tracking
from pathoprog.training.watching.step_clock import PARTS

CURVE, LOG = "learning_curve", "log.txt"
RAW, TRAINING, TUNING = "#B0B0B0", PALETTE[0], PALETTE[2]
PART_COLOURS = ("#D55E00", "#E69F00", "#56B4E9", "#0072B2", "#009E73")
Lines = list[dict[str, Any]]


def draw_curve(lines: Lines, path: Path, clip_norm: float = 0.0, judged: str = "tuning") -> list[Path]:
    """Draw how a candidate learned.

    Args:
        lines: of metrics.jsonl; those of earlier versions have less to show.
        path: of the files, without suffix.
        clip_norm: norm that gradients are scaled down to; 0: not known.
        judged: what the networks were judged on.

    Returns:
        The files.
    """
    with journal_style():
        figure = new_figure(7.4, 5.6)
        grid = figure.add_gridspec(2, 2, left=0.09, right=0.985, top=0.94, bottom=0.12, hspace=0.34, wspace=0.26)
        places = [figure.add_subplot(grid[row, column]) for row in range(2) for column in range(2)]
        _losses(places[0], lines, judged)
        _concordance(places[1], lines, judged)
        _norms(places[2], lines, clip_norm)
        _shares(places[3], lines)
        last = max((line["step"] for line in lines), default=1)
        for axes in places:
            axes.set_xlim(0, max(1, last) * 1.02)
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
        stamp(figure)
        return save_figure(figure, path)


def _column(lines: Lines, *names: str) -> list[list[float]]:
    """Steps, and the values of each name, of the lines that have all of them."""
    kept = [line for line in lines if all(line.get(name) is not None for name in names)]
    return [[line[name] for line in kept] for name in ("step", *names)]


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize=7.5, handlelength=1.6, borderaxespad=0.2)


def _losses(axes: Any, lines: Lines, judged: str) -> None:
    steps, values = _column(lines, "loss")
    axes.plot(steps, values, color=RAW, linewidth=0.7, label="a step")
    steps, values = _column(lines, "loss_smooth")
    if steps:
        axes.plot(steps, values, color=TRAINING, linewidth=1.5, label="smoothed")
    steps, values = _column(lines, "tuning_loss")
    if steps:
        around, low, high = _column(lines, "tuning_loss_lower", "tuning_loss_upper")
        axes.fill_between(around, low, high, color=TUNING, alpha=0.18, linewidth=0)
        axes.plot(steps, values, color=TUNING, marker="o", markersize=3.5, label=judged)
    axes.set_ylabel("loss")
    axes.set_title("Loss", loc="left")
    _legend(axes)


def _concordance(axes: Any, lines: Lines, judged: str) -> None:
    for name, label, colour, mark in (
        ("tuning", judged, TUNING, "o"),
        ("training", "sample of training", TRAINING, "s"),
    ):
        steps, values, low, high = _column(lines, f"{name}_c", f"{name}_c_lower", f"{name}_c_upper")
        if steps:
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(steps, values, color=colour, marker=mark, markersize=3.5, label=label)
    steps, values = _column(lines, "tuning_c")
    if steps:
        best = max(range(len(steps)), key=lambda number: (values[number], -steps[number]))
        axes.plot(steps[best], values[best], marker="o", markersize=8, markerfacecolor="none", color="#000000",
                  linestyle="none", label=f"best, step {steps[best]}")  # fmt: skip
    axes.axhline(0.5, color=RAW, linewidth=0.8, linestyle=":")
    axes.set_ylabel("c, 95% CI")
    axes.set_title("Concordance", loc="left")
    _legend(axes)


def _norms(axes: Any, lines: Lines, clip_norm: float) -> None:
    steps, values = _column(lines, "grad_norm")
    axes.plot(steps, values, color=TRAINING, linewidth=0.9, label="a step")
    steps, values = _column(lines, "grad_norm_max")
    if steps:
        axes.plot(steps, values, color=RAW, linewidth=0.7, label="largest since the last line", zorder=1)
    if clip_norm:
        axes.axhline(clip_norm, color="#000000", linewidth=0.8, linestyle=":", label="scaled down to")
    if any(line.get("grad_norm", 0) > 0 for line in lines):
        axes.set_yscale("log")
    axes.set_ylabel("norm of the gradients")
    axes.set_title("Gradients", loc="left")
    _legend(axes)


def _shares(axes: Any, lines: Lines) -> None:
    steps, *shares = _column(lines, *(f"{part}_share" for part in PARTS))
    if len(steps) == 1:  # an area needs two
        steps, shares = [0, *steps], [share * 2 for share in shares]
    if steps:
        percent = [[100 * value for value in share] for share in shares]
        axes.stackplot(steps, percent, labels=PARTS, colors=PART_COLOURS, linewidth=0)
        axes.legend(
            loc="lower center", fontsize=7, handlelength=0.9, ncols=3, columnspacing=0.8, framealpha=0.85, frameon=True,
            edgecolor="none",
        )  # fmt: skip
    axes.set_ylim(0, 100)
    axes.set_ylabel("share of a step's time, %")
    axes.set_title("Time", loc="left")


def show_candidate(lines: Lines, out: Path) -> list[Path]:
    """Draw a candidate's figure into its folder, if there is anything to draw.

    Args:
        lines: of its metrics.
        out: its folder.
    """
    if not lines:
        return []
    settings = read_json(out / SETTINGS) if (out / SETTINGS).is_file() else {}
    judged = "tuning" if not settings.get("split", {}).get("folds") else "patients held out"
    return draw_curve(lines, out / CURVE, float(settings.get("fit", {}).get("clip_norm", 0.0)), judged)


def log_candidate(tracking: Tracking, run_id: str, lines: Lines, out: Path) -> None:
    """Draw how a candidate learned, and keep what is in its folder beside its weights, whatever became of it."""
    drawn = show_candidate(lines, out)
    if not run_id or tracking.client is None:
        return
    for path in drawn:
        tracking.file(run_id, path)
    for name in (SETTINGS, METRICS):
        if (out / name).is_file():
            tracking.file(run_id, out / name)
    if (out / LOG).is_file():
        tracking.text(run_id, LOG, (out / LOG).read_text(encoding="utf-8", errors="replace"))
