"""A treatment by group in words, in a forest plot and in a table."""

import math
from typing import Any

from pathoprog.report.forest import ForestRow
from pathoprog.text.numbers import format_difference, format_p, format_ratio

MODELS = {"unadjusted": "not adjusted", "adjusted": "adjusted"}


def treatment_lines(found: dict[str, Any]) -> list[str]:
    """The part ``treatment`` of `statistics.json` as sentences; none where there is none."""
    if not found:
        return []
    if "unadjusted" not in found:
        return [f"treatment not estimated: {found['note']}"]
    declared = "randomised" if found["randomised"] else "not randomised: associations, no effects"
    lines = [f"{found['column']}, {found['treated']} against {found['control']} ({declared})"]
    for name, words in MODELS.items():
        part = found[name]
        if part is None:
            continue
        if "within" not in part:
            lines.append(f"{words}: not estimated: {part['note']}")
            continue
        within = [
            f"{row['group']} {row['note'] or 'HR ' + format_ratio(row['hr'], row['lower'], row['upper'])}"
            for row in part["within"]
        ]
        ratios = [
            f"{row['group']} to {row['reference']} {format_ratio(row['ratio'], row['lower'], row['upper'])}"
            for row in part["ratios"]
        ]
        test = format_p(part["interaction"]["p_value"])
        lines.append(f"{words}: {'; '.join(within)}; ratio of ratios {'; '.join(ratios)}; interaction {test}")
    for one in found["benefits"]:
        lines.append(f"{found['word']} at {one['horizon']:g} in {one['group']}: {benefit_text(one)}")
    return [*lines, found["note"]]


def benefit_text(one: dict[str, Any]) -> str:
    """Differences in percent points, or why there are none; where deaths compete, by Aalen-Johansen first."""
    if one["note"]:
        return str(one["note"])
    net = f"net survival {points(one['difference'])} points"
    if not math.isfinite(one["incidence"]["value"]):
        return net
    return f"events avoided {points(one['incidence'])} points (Aalen-Johansen), {net}"


def points(estimate: dict[str, Any]) -> str:
    """A difference of two shares in percent points."""
    value, lower, upper = (100 * estimate[key] for key in ("value", "lower", "upper"))
    return format_difference(value, lower, upper, 1)


def treatment_forest(found: dict[str, Any]) -> list[ForestRow]:
    """Rows of a forest plot: ratios within groups under each model, the interaction test in its heading."""
    rows: list[ForestRow] = []
    for name, words in MODELS.items():
        part = found.get(name)
        if not part or "within" not in part:
            continue
        heading = f"{words.capitalize()}: interaction {format_p(part['interaction']['p_value'])}"
        rows.append(ForestRow(heading, "", math.nan, math.nan, math.nan, "", heading=True))
        for row in part["within"]:
            counts = f"{row['n']} ({row['events']})"
            rows.append(ForestRow(f"   in {row['group']}", counts, row["hr"], row["lower"], row["upper"], ""))
        for row in part["ratios"]:
            label = f"   ratio, {row['group']} to {row['reference']}"
            rows.append(ForestRow(label, "", row["ratio"], row["lower"], row["upper"], ""))
    return rows


def treatment_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """All figures as rows of a table: ratios within groups, ratios of ratios, tests, absolute benefits."""
    rows: list[dict[str, Any]] = []
    for name in MODELS:
        part = found.get(name)
        if not part or "within" not in part:
            continue
        rows += [
            {"model": name, "row": "hazard ratio", "group": row["group"], "n": row["n"], "events": row["events"]}
            | {"value": row["hr"], "lower": row["lower"], "upper": row["upper"], "note": row["note"]}
            for row in part["within"]
        ]
        rows += [
            {"model": name, "row": "ratio of hazard ratios", "group": row["group"], "reference": row["reference"]}
            | {"value": row["ratio"], "lower": row["lower"], "upper": row["upper"], "p": row["p"]}
            for row in part["ratios"]
        ]
        test = part["interaction"]
        rows.append(
            {"model": name, "row": "interaction", "value": test["statistic"], "df": test["df"], "p": test["p_value"]}
        )
    kinds = {
        "incidence": "cumulative incidence avoided",  # only where deaths compete, and then the primary one
        "difference": "net survival gained",
        "standardised": "net survival gained, standardised",
    }
    for one in found.get("benefits", []):
        for key, words in kinds.items():
            if math.isfinite(one[key]["value"]):
                head = {"row": words, "group": one["group"], "horizon": one["horizon"], "n": sum(one["n"])}
                rows.append(head | {name: one[key][name] for name in ("value", "lower", "upper")})
    return rows
