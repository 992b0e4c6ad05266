"""How a candidate learned, in one figure; and what MLflow keeps of each candidate: curve, settings, metrics, log."""

from pathlib import Path
from typing import Any

from pathoprog.report.style import PALETTE, journal_style, new_figure, save_figure, stamp
from pathoprog.training.member.candidate import SETTINGS
from pathoprog.training.member.metrics import METRICS
from pathoprog.training.tracking import Tracking

CURVE, LOG = "learning_curve", "log.txt"


def draw_curve(lines: list[dict[str, Any]], path: Path) -> list[Path]:
    """Draw loss and c on tuning over the steps.

    Args:
        lines: of metrics.jsonl.
        path: of the files, without suffix.

    Returns:
        The files.
    """
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    judged = [line for line in lines if "tuning_c" in line]
    with journal_style():
        figure = new_figure(6.4, 4.4)
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"left": 0.12, "right": 0.97, "bottom": 0.16})
        upper.plot([step for step, _ in losses], [loss for _, loss in losses], color=PALETTE[0], linewidth=1.0)
        upper.set_ylabel("loss")
        steps = [line["step"] for line in judged]
        low, high = ([line[f"tuning_c_{end}"] for line in judged] for end in ("lower", "upper"))
        lower.fill_between(steps, low, high, color=PALETTE[2], alpha=0.18, linewidth=0)
        lower.plot(steps, [line["tuning_c"] for line in judged], color=PALETTE[2], marker="o", markersize=3.5)
        lower.axhline(0.5, color="#B0B0B0", linewidth=0.8, linestyle=":")
        lower.set_ylabel("c where judged, 95% CI")
        lower.set_xlabel("step")
        stamp(figure)
        return save_figure(figure, path)


def log_candidate(tracking: Tracking, run_id: str, lines: list[dict[str, Any]], out: Path) -> None:
    """Keep what is in a candidate's folder beside its weights, whatever became of it."""
    if not run_id or tracking.client is None:
        return
    if lines:
        for path in draw_curve(lines, out / CURVE):
            tracking.file(run_id, path)
    for name in (SETTINGS, METRICS):
        if (out / name).is_file():
            tracking.file(run_id, out / name)
    if (out / LOG).is_file():
        tracking.text(run_id, LOG, (out / LOG).read_text(encoding="utf-8", errors="replace"))
