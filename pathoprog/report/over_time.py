"""Ratios over time in words, in a table and as rows of a forest plot."""

import math
from typing import Any

from pathoprog.report.forest import ForestRow
from pathoprog.report.style import FEWEST_AT_RISK
from pathoprog.text.numbers import format_difference, format_p, format_ratio


def piece_name(row: dict[str, Any], unit: str = "") -> str:
    """``0 to 2 years``, ``from 5 years on``."""
    tail = f" {unit}" if unit else ""
    if not math.isfinite(row["stop"]):
        return f"from {row['start']:g}{tail} on"
    return f"{row['start']:g} to {row['stop']:g}{tail}"


def over_time_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """All figures of the part ``time_effects`` as rows of a table."""
    rows: list[dict[str, Any]] = []
    if not found or "landmarks" not in found:
        return rows
    piecewise = found["piecewise"] or {}
    for row in piecewise.get("rows", []):
        rows.append({"what": "piece", **row})
    for one in found["landmarks"]:
        head = {"what": "landmark", "start": one["time"], "n": one["n"], "events": one["events"]}
        for term in one["terms"]:
            kept = ("level", "reference", "coef", "se", "hr", "lower", "upper", "p", "note")
            rows.append({**head, **{key: term[key] for key in kept}})
        if not one["terms"]:
            rows.append({**head, "note": one["note"]})
    for key in ("rmst", "rmst_adjusted"):
        part = found[key] or {}
        for row in part.get("rows", []):
            rows.append({"what": key, "stop": part["tau"], "n": part["n"], **row})
    return rows


def over_time_forest(found: dict[str, Any], unit: str = "") -> list[ForestRow]:
    """Rows of a forest plot: pieces, then landmarks."""
    rows: list[ForestRow] = []
    piecewise = found["piecewise"] or {}
    if "rows" in piecewise:
        heading = f"In pieces: equal ratios {format_p(piecewise['constant']['p_value'])}"
        rows.append(ForestRow(heading, "", math.nan, math.nan, math.nan, "", heading=True))
        for row in piecewise["rows"]:
            label = f"   {row['level'] or row['reference']}, {piece_name(row, unit)}"
            rows.append(ForestRow(label, f"{row['n']} ({row['events']})", row["hr"], row["lower"], row["upper"], ""))
    if any(one["terms"] for one in found["landmarks"]):
        rows.append(ForestRow("From landmarks on", "", math.nan, math.nan, math.nan, "", heading=True))
    for one in found["landmarks"]:
        for term in one["terms"]:
            label = f"   {term['level']}, from {one['time']:g}{f' {unit}' if unit else ''} on"
            rest_n, rest_events = (one[key] - sum(other[key] for other in one["terms"]) for key in ("n", "events"))
            counts = f"{term['n']} ({term['events']}) vs {rest_n} ({rest_events})"
            faint = min(term["n"], rest_n) < FEWEST_AT_RISK
            rows.append(ForestRow(label, counts, term["hr"], term["lower"], term["upper"], "", faint=faint))
    return rows


def over_time_lines(found: dict[str, Any]) -> list[str]:
    """The part ``time_effects`` of `statistics.json` as sentences; none where there is none."""
    if not found:
        return []
    if "landmarks" not in found:
        return [f"ratios over time not estimated: {found['note']}"]
    lines = []
    piecewise = found["piecewise"] or {}
    if "note" in piecewise:
        lines.append(f"ratios in pieces not estimated: {piecewise['note']}")
    for row in piecewise.get("rows", []):
        ratio = row["note"] or format_ratio(row["hr"], row["lower"], row["upper"])
        lines.append(f"HR {row['level']} {piece_name(row)}: {ratio}")
    if "constant" in piecewise:
        lines.append(f"equal ratios in all pieces: {format_p(piecewise['constant']['p_value'])}")
    for one in found["landmarks"]:
        for term in one["terms"]:
            ratio = term["note"] or format_ratio(term["hr"], term["lower"], term["upper"])
            lines.append(f"from {one['time']:g} on ({one['n']} patients): HR {term['level']} {ratio}")
        if not one["terms"]:
            lines.append(f"from {one['time']:g} on: {one['note']}")
    for key in ("rmst", "rmst_adjusted"):
        part = found[key] or {}
        words = f"adjusted for {', '.join(part['adjusted_for'])}" if part.get("adjusted_for") else "not adjusted"
        for row in part.get("rows", []):
            gap = format_difference(row["difference"], row["lower"], row["upper"], 3)
            lines.append(f"restricted mean to {part['tau']:g}, {row['level']} less {row['reference']}: {gap}, {words}")
        if "note" in part:
            lines.append(f"no restricted means: {part['note']}")
    return lines
