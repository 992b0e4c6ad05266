"""What a report says of hazard ratios that change with time."""

import math
from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.forest import forest_figure
from pathoprog.report.over_time import over_time_forest, over_time_rows, piece_name
from pathoprog.report.style import FEWEST_AT_RISK
from pathoprog.report.validation.findings import Figures, Findings
from pathoprog.text.numbers import bare_ratio, format_difference, format_p
from pathoprog.text.wording import capital, count, listing, p_cell

CROSSED = 0.05
ALL_CLASSES = "Ratios are of models of all classes, patients (events) of a piece those of all classes."
FADED = f"Faded from landmarks where one of the compared classes has fewer than {FEWEST_AT_RISK} patients left."


def proportional_text(primary: dict[str, Any]) -> str:
    """Proportional hazards of the primary contrast, and the planned fallback, in a few sentences."""
    test, names = primary["proportional_hazards"], f"{primary['worse']} against {primary['better']}"
    if test["note"]:
        text = f"Proportional hazards of {names} could not be tested: {test['note']}."
    else:
        text = proportional_sentence(primary)
        text += (
            ", so that the ratio is an average over time, which depends on how long patients were followed; the "
            "planned fallback is the difference of restricted mean survival."
            if test["p"] < CROSSED
            else ": with few events it would not show a change."
        )
    plain, adjusted = primary["rmst"], primary["rmst_adjusted"]
    if plain["note"]:
        return f"{text} No difference of restricted means: {plain['note']}."
    text += (
        f" Restricted mean net survival to {plain['tau_years']:g} years differed by {_gap(plain)} years "
        f"({format_p(plain['p'])})"
    )
    if adjusted is not None and not adjusted["note"]:
        text += (
            f", adjusted for {listing(adjusted['adjusted_for'])} by {_gap(adjusted)} ({adjusted['n']} complete cases, "
            f"pseudo-observations, {format_p(adjusted['p'])})"
        )
    return f"{text}."


def proportional_sentence(primary: dict[str, Any]) -> str:
    """The test of proportional hazards of the primary contrast, without a full stop."""
    names = f"{primary['worse']} against {primary['better']}"
    return f"Test of proportional hazards of {names}: {format_p(primary['proportional_hazards']['p'])}"


def _gap(row: dict[str, Any]) -> str:
    return format_difference(row["difference"], row["lower"], row["upper"])


def over_time_section(findings: Findings, figures: Figures) -> Section:
    """Hazard ratios in pieces of the follow-up, and from landmarks on."""
    section = Section("time_effects", "Hazard ratios over time")
    found = findings.statistics.get("time_effects")
    if found is None:
        return section
    if "landmarks" not in found:
        section.add(Text(f"Nothing could be told of ratios over time: {found['note']}."))
        return section
    status = findings.status("time_effects", findings.primary)
    piecewise = found["piecewise"] or {}
    if "rows" in piecewise:
        cuts = listing([findings.dated("cuts_years", float(cut)) for cut in piecewise["cuts"]])
        test = piecewise["constant"]
        section.add(
            Text(
                f"The follow-up is cut at {cuts} years, and each class has a ratio of its own in each piece. That the "
                f"ratios are the same in all pieces: {format_p(test['p_value'])} (likelihood ratio, {test['df']} df). "
                "Ratios of single pieces rest on few events and are not tested one by one."
            )
        )
    elif piecewise:
        section.add(Text(f"No ratios in pieces: {piecewise['note']}.", "note"))
    if found["landmarks"]:
        section.add(
            Text(
                "From a landmark on, only patients who are followed and event-free there are compared: what the class "
                "tells to who has come so far. Earlier events do not enter."
            )
        )
    for one in found["landmarks"]:
        if one["note"]:
            section.add(Text(f"From {one['time']:g} years on: {one['note']}.", "note"))
    rows = over_time_forest(found, "years")
    if rows:
        drawn = forest_figure(rows, stamps=findings.stamps(status))
        note = f"{ALL_CLASSES} {FADED}" if findings.primary.more_than_two_classes else FADED
        title = (
            f"{capital(findings.primary.phrase)}: hazard ratios against {findings.plan.primary.contrast[1]} over time."
        )
        section.add(figures.add(drawn, "time_effects", title, note, status))
    section.add(_table(findings, found, status))
    return section


def _table(findings: Findings, found: dict[str, Any], status: str) -> Table | None:
    shown = []
    for row in (found["piecewise"] or {}).get("rows", []):
        shown.append((piece_name(row, "years"), row["level"], f"{row['n']} ({row['events']})", _ratio(row)))
    for one in found["landmarks"]:
        when = f"from the landmark on, year {findings.dated('landmarks_years', float(one['time']))}"
        for term in one["terms"]:
            shown.append((when, term["level"], f"{one['n']} ({one['events']})", _ratio(term)))
        if one["terms"]:
            test = one["logrank"]
            events = count(one["events"], "event")
            shown.append((when, "log-rank over the classes", events, p_cell(test["p_value"])))
    if not shown:
        return None
    several = findings.primary.more_than_two_classes
    note = f"Patients{' (of all classes)' if several else ''} are those followed into a piece, or beyond a landmark; "
    note += f"events those inside it.{' Ratios and log-rank tests are over all classes.' if several else ''}"
    return Table(
        "time_effects",
        "Hazard ratios over time.",
        pd.DataFrame(shown, columns=["Time", "Class", "Patients (events)", "Hazard ratio (95% CI)"]),
        pd.DataFrame(over_time_rows(found)),
        note,
        status,
        text_columns=2,
    )


def _ratio(row: dict[str, Any]) -> str:
    if not math.isfinite(row["hr"]) or row["note"]:
        return "not estimable"
    return bare_ratio(row["hr"], row["lower"], row["upper"])
