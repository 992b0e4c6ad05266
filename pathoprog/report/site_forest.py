"""Forest plot of one figure over sites: each site, their random-effects mean with its prediction interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pathoprog.report.style import FADED, FEWEST_AT_RISK, PALETTE, journal_style, new_figure, stamp
from pathoprog.text.numbers import bare_ratio, decimal, format_interval, format_p, format_range, format_variance

ROW_INCH = 0.24
MOST_SITES = 50
TICKS = {
    "log": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100),
    "logit": tuple(round(0.1 * k, 1) for k in range(11)),
}
NULL = {"hazard_ratio": 1.0, "c": 0.5, "observed_expected": 1.0, "calibration_slope": 1.0}
"""The value at which nothing is told, or all is right."""
FIRST_POOL = "REML_knapp_hartung"
POOL_NAMES = {
    "REML_knapp_hartung": "REML, Knapp-Hartung",
    "REML_z": "REML, normal limits",
    "DL_knapp_hartung": "DerSimonian-Laird, Knapp-Hartung",
    "DL_z": "DerSimonian-Laird, normal limits",
}


POOL_LIMITS = (
    *("value", "lower", "upper", "further_lower", "further_upper"),
    *("prediction_lower", "prediction_upper"),
)


def site_rows(part: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each site, pool and left-out site of all figures of a column of sites.

    Args:
        part: of one column, as in `statistics.json`.
    """
    rows: list[dict[str, Any]] = []
    for name, found in part["measures"].items():
        head = {"sites": part["column"], "figure": name}
        rows += [
            {**head, "row": "site", "name": one["site"]}
            | {key: one[key] for key in ("n", "events", "value", "lower", "upper", "estimate", "se", "note")}
            for one in found["sites"]
        ]
        for kind, pools in (("pooled", found["pools"]), ("without", found["without"])):
            for label, one in pools.items():
                numbers = {
                    key: one["model"][key] for key in ("estimate", "se", "k", "tau2", "i2", "q", "q_df", "q_p", "p")
                }
                limits = {key: one[key] for key in POOL_LIMITS}
                rows.append({**head, "row": kind, "name": label} | limits | numbers)
        if found["one_stage"] is not None:
            value, lower, upper = found["one_stage"]
            rows.append({**head, "row": "one stage", "name": "", "value": value, "lower": lower, "upper": upper})
    return rows


def interval_text(found: dict[str, Any], value: float, lower: float, upper: float) -> str:
    """A figure of one of the measures with its limits, with the digits of the measure."""
    if found["scale"] == "log":
        return bare_ratio(value, lower, upper)
    return format_interval(value, lower, upper, _digits(found))


def range_text(found: dict[str, Any], lower: float, upper: float) -> str:
    """Two limits of one of the measures."""
    return format_range(lower, upper, _digits(found), ratio=found["scale"] == "log")


def value_text(found: dict[str, Any], value: float) -> str:
    """A figure of one of the measures alone."""
    return decimal(value, _digits(found))


def _digits(found: dict[str, Any]) -> int:
    return 3 if found["measure"] == "c" else 2


def pool_text(found: dict[str, Any]) -> str:
    """Heterogeneity in one line; empty where nothing is pooled."""
    pool = found["pools"].get(FIRST_POOL) or next(iter(found["pools"].values()), None)
    if pool is None:
        return ""
    model = pool["model"]
    return (
        f"{model['k']} sites: I\N{SUPERSCRIPT TWO} {model['i2']:.0f}%, "
        f"\N{GREEK SMALL LETTER TAU}\N{SUPERSCRIPT TWO} {format_variance(model['tau2'])}, "
        f"Q {model['q']:.1f} ({model['q_df']} df, {format_p(model['q_p'])})"
    )


def site_forest_figure(found: dict[str, Any], *, title: str = "", stamps: Sequence[str] = ()) -> Any:
    """Draw one figure of all sites.

    Args:
        found: one of the measures of a column of sites, as in `statistics.json`.
        title: above the plot.
        stamps: framed warnings.

    Returns:
        A matplotlib figure. Of more than `MOST_SITES` sites those with the most events are drawn.
    """
    sites = found["sites"]
    if len(sites) > MOST_SITES:
        most = sorted(sites, key=lambda one: -one["events"])[:MOST_SITES]
        sites = [one for one in sites if one in most]
    pool = found["pools"].get(FIRST_POOL)
    tail = [] if pool is None else ["pool", "prediction"]
    tail += [] if found["one_stage"] is None else ["stage"]
    count = len(sites) + len(tail)
    with journal_style():
        top = 0.42 + (0.22 if title else 0.0) + (0.24 if stamps else 0.0)
        below = 0.92
        height = top + ROW_INCH * count + below
        figure = new_figure(7.2, height)
        axes = figure.add_axes((0.4, below / height, 0.31, ROW_INCH * count / height))
        low, high = _range(found, sites, pool)
        if found["scale"] == "log":
            axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(count - 0.5, -0.5)
        if found["measure"] in NULL:
            axes.axvline(NULL[found["measure"]], color="#666666", linewidth=0.8, zorder=0)

        def write(y: int, label: str, counts: str, text: str, weight: str = "normal") -> None:
            level = (below + ROW_INCH * (count - y - 0.5)) / height
            figure.text(0.015, level, label, fontsize=8.5, va="center", fontweight=weight)
            figure.text(0.385, level, counts, fontsize=8.5, va="center", ha="right", color="#333333")
            figure.text(0.725, level, text, fontsize=8.5, va="center", fontweight=weight)

        for y, one in enumerate(sites):
            counts = f"{one['n']} ({one['events']})"
            if one["note"]:
                write(y, one["site"][:32], counts, "not pooled" if one["n"] else "nobody to judge, not pooled")
                continue
            write(y, one["site"][:32], counts, interval_text(found, one["value"], one["lower"], one["upper"]))
            alpha = 1.0 if one["n"] >= FEWEST_AT_RISK else FADED
            _line(axes, y, one["lower"], one["upper"], low, high, 1.2, alpha=alpha)
            if low <= one["value"] <= high:
                axes.plot(one["value"], y, marker="s", color=PALETTE[0], markersize=4.5, zorder=3, alpha=alpha)
        for y, kind in enumerate(tail, start=len(sites)):
            if kind == "pool":
                _diamond(axes, y, pool["value"], pool["lower"], pool["upper"], PALETTE[2])
                text = interval_text(found, pool["value"], pool["lower"], pool["upper"])
                write(y, "Random effects", f"{pool['model']['k']} sites", text, "bold")
            elif kind == "prediction":
                limits = (pool["further_lower"], pool["further_upper"])
                _line(axes, y, *limits, low, high, 2.4, PALETTE[2])
                write(y, "Prediction interval, a further site", "", f"({range_text(found, *limits)})")
            else:
                value, lower, upper = found["one_stage"]
                _diamond(axes, y, value, lower, upper, PALETTE[6])
                write(y, "One model stratified by site", "", interval_text(found, value, lower, upper), "bold")
        if tail:
            axes.axhline(len(sites) - 0.5, color="#BBBBBB", linewidth=0.6)
        if found["scale"] != "identity":
            ticks = [tick for tick in TICKS[found["scale"]] if low <= tick <= high]
            if found["scale"] == "logit" and len(ticks) > 6:
                ticks = [tick for tick in ticks if round(10 * tick) % 2 == 0]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{found['what'][0].upper()}{found['what'][1:]} (95% CI)", fontsize=8.5)
        y_head = (below + ROW_INCH * count + 0.1) / height
        for x, text, side in ((0.015, "Site", "left"), (0.385, "n (events)", "right"), (0.725, "95% CI", "left")):
            figure.text(x, y_head, text, fontsize=8.5, fontweight="bold", ha=side, va="bottom")
        if title:
            figure.text(0.015, y_head + 0.2 / height, title, fontsize=10, fontweight="bold", va="bottom")
        figure.text(0.015, 0.3 / height, pool_text(found), fontsize=8, va="bottom", color="#333333")
        stamp(figure, stamps)
    return figure


def _range(found: dict[str, Any], sites: list[dict[str, Any]], pool: dict[str, Any] | None) -> tuple[float, float]:
    """Limits of the axis: all estimates, and intervals as far as makes sense on the scale."""
    values = [one[key] for one in sites if not one["note"] for key in ("value", "lower", "upper")]
    if pool is not None:
        values += [pool[key] for key in ("lower", "upper", "further_lower", "further_upper")]
    values = [value for value in values if np.isfinite(value)]
    if found["scale"] == "log":
        values = [value for value in values if 1 / 20 <= value <= 20] or [1.0]
        return min(0.45, *(0.85 * v for v in values)), max(2.2, *(1.15 * v for v in values))
    if found["scale"] == "logit":
        return max(0.0, min([*values, 0.45]) - 0.03), min(1.0, max([*values, 0.55]) + 0.03)
    middle = [one["value"] for one in sites if not one["note"]] or [1.0]
    spread = max(max(middle) - min(middle), 1.0)
    return max(min([*values, 0.0]), min(middle) - spread), min(max([*values, 2.0]), max(middle) + spread)


def _line(
    axes: Any,
    y: int,
    lower: float,
    upper: float,
    low: float,
    high: float,
    width: float,
    colour: str = PALETTE[0],
    alpha: float = 1.0,
) -> None:
    how = {"color": colour, "alpha": alpha}
    axes.plot([max(lower, low), min(upper, high)], [y, y], linewidth=width, zorder=2, solid_capstyle="butt", **how)
    for beyond, edge, sign in ((lower < low, low, "<"), (upper > high, high, ">")):
        if beyond:
            axes.plot(edge, y, marker=sign, markersize=4.5, clip_on=False, zorder=3, **how)


def _diamond(axes: Any, y: int, value: float, lower: float, upper: float, colour: str) -> None:
    axes.fill([lower, value, upper, value], [y, y - 0.3, y, y + 0.3], color=colour, zorder=3, linewidth=0)
