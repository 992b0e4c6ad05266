"""A model without and one with what is added to it: calibration and net benefit of both in one figure, and in words."""

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
from pathoprog.text.numbers import format_difference, format_p

NAMES = {"base": "without", "full": "with"}
COLOURS = {"base": PALETTE[1], "full": PALETTE[0]}
STYLES = {"base": LINE_STYLES[3], "full": LINE_STYLES[0]}
"""A print in grey tells them apart, too."""


def added_sentence(found: dict[str, Any]) -> str:
    """Test and difference of c in one sentence.

    Args:
        found: the part ``added_value`` of `statistics.json`.
    """
    test, c = found["likelihood_ratio"], found["harrell"]
    text = (
        f"{' + '.join(found['added'])} over {', '.join(found['base'])} ({found['n']} patients, {found['events']} "
        f"events): likelihood ratio {test['statistic']:.2f}, {test['df']} df, {format_p(test['p_value'])}; Harrell's c "
        f"{c['first']:.3f} without, {c['second']:.3f} with, difference "
        f"{format_difference(c['value'], c['lower'], c['upper'], 3)}"
    )
    corrected = found["corrected"].get("c_difference")
    if corrected is not None:
        value = format_difference(corrected["value"], corrected["lower"], corrected["upper"], 3)
        text += f", without optimism {value}"
    return text


def two_models_figure(part: dict[str, Any], when: str, *, stamps: Sequence[str] = ()) -> Any:
    """Draw calibration curves of both models, and their net benefit without optimism.

    Args:
        part: one of ``horizons`` of the part ``added_value`` of `statistics.json`.
        when: the horizon with its unit.
        stamps: framed warnings.

    Returns:
        A matplotlib figure.
    """
    with journal_style():
        figure = new_figure(7.4, 3.9)
        left = figure.add_axes((0.08, 0.19, 0.38, 0.64))
        right = figure.add_axes((0.58, 0.19, 0.39, 0.64))
        top = 0.05
        for name, label in NAMES.items():
            curve = part[name].get("calibration_curve")
            if curve is None:
                continue
            every = part[name]["calibration"]["groups"]
            first, last = dense_span(every)
            drawn = zip(curve["predicted"], curve["observed"], strict=True)
            solid = [value if first <= risk <= last else np.nan for risk, value in drawn]
            left.plot(curve["predicted"], curve["observed"], color=COLOURS[name], alpha=FADED, linestyle=STYLES[name])
            left.plot(curve["predicted"], solid, color=COLOURS[name], label=label, linestyle=STYLES[name])
            top = max([top, *curve["predicted"], *(v for v in curve["observed"] if np.isfinite(v))])
            for one in every:
                left.plot(
                    one["expected"],
                    one["observed"],
                    marker="o" if name == "full" else "s",
                    markersize=4,
                    color=COLOURS[name],
                    alpha=1.0 if one["at_risk"] >= FEWEST_AT_RISK else FADED,
                )
        left.plot([0, 1], [0, 1], color="#777777", linewidth=0.9, linestyle=LINE_STYLES[2], label="ideal")
        limit = min(1.0, 1.05 * top)
        left.set_xlim(0, limit)
        left.set_ylim(0, limit)
        left.set_xlabel(f"Predicted net risk by {when}")
        left.set_ylabel("Observed risk (Kaplan-Meier)")
        left.set_title("Calibration, apparent", loc="left", fontweight="bold")
        left.legend(loc="upper left", fontsize=8)
        rows = part["net_benefit"]
        threshold = [100 * row["threshold"] for row in rows]
        corrected = "base_corrected" in rows[0]
        best = 0.02
        for name, label in NAMES.items():
            values = [row[f"{name}_corrected" if corrected else name] for row in rows]
            right.plot(threshold, values, color=COLOURS[name], label=label, linestyle=STYLES[name])
            best = max([best, *(v for v in values if np.isfinite(v))])
        right.plot(
            threshold, [row["all"] for row in rows], color="#777777", linestyle=LINE_STYLES[1], label="act in all"
        )
        right.axhline(0, color="#000000", linestyle=LINE_STYLES[2], label="act in none")
        right.set_xlim(0, max(threshold))
        right.set_ylim(-0.25 * best, 1.1 * best)
        right.set_xlabel("Threshold of risk at which one would act (%)")
        right.set_ylabel("Net benefit")
        title = "Net benefit, without optimism" if corrected else "Net benefit, apparent"
        right.set_title(title, loc="left", fontweight="bold")
        right.legend(loc="upper right", fontsize=8)
        stamp(figure, stamps)
    return figure
