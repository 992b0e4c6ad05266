"""Calibration plot and decision curve of predicted risks at a horizon."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pathoprog.report.style import (
    FADED,
    FEWEST_AT_RISK,
    LINE_STYLES,
    PALETTE,
    dense_span,
    journal_style,
    new_figure,
    stamp,
)
from pathoprog.text.numbers import format_interval


def calibration_figure(part: dict[str, Any], when: str, *, stamps: Sequence[str] = ()) -> Any:
    """Draw observed against predicted risk: groups with intervals, the curve with its band, and the patients.

    Groups with fewer than ten at risk at the horizon are faded, and so is the curve beyond the others.

    Args:
        part: keys ``calibration`` and ``calibration_curve`` as in `statistics.json`.
        when: the horizon with its unit, for the title.
        stamps: framed warnings.

    Returns:
        A matplotlib figure.
    """
    found, curve = part["calibration"], part["calibration_curve"]
    groups = found["groups"]
    with journal_style():
        figure = new_figure(4.6, 4.9)
        axes = figure.add_axes((0.15, 0.27, 0.8, 0.61))
        rug = figure.add_axes((0.15, 0.145, 0.8, 0.07))
        top = max([g["upper"] for g in groups if np.isfinite(g["upper"])] + curve["predicted"] + curve["observed"])
        top = min(1.0, max(0.02, 1.08 * top))
        axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.9, linestyle=LINE_STYLES[2], label="ideal")
        first, last = dense_span(groups)
        inside = [first <= risk <= last for risk in curve["predicted"]]
        solid = [value if there else np.nan for value, there in zip(curve["observed"], inside, strict=True)]
        for where, alpha in ((inside, 0.1), (None, 0.05)):
            axes.fill_between(
                curve["predicted"], curve["lower"], curve["upper"], where, color=PALETTE[0], alpha=alpha, linewidth=0
            )
        axes.plot(curve["predicted"], curve["observed"], color=PALETTE[0], alpha=FADED)
        axes.plot(curve["predicted"], solid, color=PALETTE[0], label="smooth curve, 95% band")
        for k, group in enumerate(group for group in groups if np.isfinite(group["observed"])):
            limits, alpha = (group["lower"], group["upper"]), 1.0 if group["at_risk"] >= FEWEST_AT_RISK else FADED
            axes.plot([group["expected"]] * 2, limits, color=PALETTE[2], linewidth=1.0, alpha=alpha)
            label = "groups, 95% CI" if k == 0 else None
            axes.plot(
                group["expected"],
                group["observed"],
                marker="o",
                color=PALETTE[2],
                markersize=4,
                alpha=alpha,
                label=label,
                linestyle="",
            )
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_xticklabels([])
        axes.set_ylabel("Observed risk (Aalen-Johansen)" if found["competing"] else "Observed risk (Kaplan-Meier)")
        axes.set_title(f"Calibration at {when}", loc="left", fontweight="bold")
        ratio, slope = found["ratio"], found["slope"]
        lines = [
            f"O/E {format_interval(ratio['value'], ratio['lower'], ratio['upper'], 2)}",
            f"slope {format_interval(slope['value'], slope['lower'], slope['upper'], 2)}",
            f"ICI {found['ici']:.3f}, E50 {found['e50']:.3f}, E90 {found['e90']:.3f}",
        ]
        axes.text(0.98, 0.03, "\n".join(lines), transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
        axes.legend(loc="upper left", fontsize=8)
        for group in groups:
            width = max(group["high"] - group["low"], 0.004 * top)
            rug.bar(group["low"], group["n"] / width, width=width, align="edge", color="#B8C4CE", edgecolor="white")
        rug.set_xlim(0, top)
        rug.set_yticks([])
        rug.spines["left"].set_visible(False)
        rug.set_xlabel(f"Predicted risk by {when} (bars: density of patients in each group)")
        stamp(figure, stamps)
    return figure


def decision_figure(part: dict[str, Any], when: str, *, stamps: Sequence[str] = ()) -> Any:
    """Draw net benefit over the threshold of risk at which one would act.

    Args:
        part: key ``decision_curve`` as in `statistics.json`.
        when: the horizon with its unit, for the title.
        stamps: framed warnings.

    Returns:
        A matplotlib figure.
    """
    rows = part["decision_curve"]
    with journal_style():
        figure = new_figure(5.0, 3.9)
        axes = figure.add_axes((0.14, 0.19, 0.82, 0.66))
        models = list(dict.fromkeys(row["model"] for row in rows))
        best = 0.05
        for k, model in enumerate(models):
            mine = [row for row in rows if row["model"] == model]
            x = [100 * row["threshold"] for row in mine]
            y = [row["net_benefit"] for row in mine]
            best = max([best, *(value for value in y if np.isfinite(value))])
            name = {"all": "act in all", "none": "act in none"}.get(model, model)
            colour = {"all": "#777777", "none": "#000000"}.get(model, PALETTE[k % len(PALETTE)])
            style = {"all": LINE_STYLES[1], "none": LINE_STYLES[2]}.get(model, "-")
            axes.plot(x, y, color=colour, linestyle=style, label=name)
        axes.set_ylim(-0.25 * best, 1.1 * best)
        axes.set_xlim(0, max(100 * row["threshold"] for row in rows))
        axes.set_xlabel("Threshold of risk at which one would act (%)")
        axes.set_ylabel("Net benefit")
        axes.set_title(f"Decision curve at {when}", loc="left", fontweight="bold")
        axes.legend(loc="upper right", fontsize=8)
        stamp(figure, stamps)
    return figure
