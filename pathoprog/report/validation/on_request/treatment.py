"""The section of a report on a treatment by class."""

from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.forest import forest_figure
from pathoprog.report.treatment import points, treatment_forest, treatment_rows
from pathoprog.report.validation.findings import Figures, Findings
from pathoprog.text.numbers import format_p, format_percent, format_ratio
from pathoprog.text.wording import capital, count, listing


def treatment_section(findings: Findings, figures: Figures) -> Section:
    """Ratios within classes, the ratio of these ratios with its interval, absolute benefit."""
    section = Section("treatment", "Treatment by class")
    found = findings.statistics.get("treatment")
    if found is None:
        return section
    if "unadjusted" not in found:
        section.add(Text(f"No treatment could be looked at: {found['note']}."))
        return section
    status = findings.status("treatment", findings.primary)
    what, word = f"{found['column']} {found['treated']}", found["word"]
    if found["randomised"]:
        declared = f"{capital(found['column'])} is declared as randomised: differences are effects of treatment."
    else:
        declared = (
            f"{capital(found['column'])} was not randomised: patients with {what} may differ in prognosis from "
            f"those with {found['control']}, and no covariate may tell. What follows are associations, no effects of "
            "treatment."
        )
    missing = f" {capital(count(found['n_missing'], 'patient'))} without it are left out." if found["n_missing"] else ""
    section.add(Text(f"{declared}{missing}", "" if found["randomised"] else "warning"))
    for name, words in (("unadjusted", "Not adjusted"), ("adjusted", "Adjusted")):
        part = found[name]
        if part is not None:
            section.add(Text(_said(part, words, word)))
    note = found["note"].replace("groups", "classes").replace("group", "class")
    section.add(Text(note.replace("in the effect", f"in the {word}")))
    rows = treatment_forest(found)
    if rows:
        drawn = forest_figure(rows, x_label=f"Hazard ratio of {what} (95% CI)", stamps=findings.stamps(status))
        title = f"{capital(findings.primary.phrase)}: {word} of {what} by class."
        section.add(figures.add(drawn, "treatment", title, "Ratios of ratios stand below.", status))
    section.add(_benefits(found, findings.deaths_compete, status))
    return section


def _said(part: dict[str, Any], words: str, word: str) -> str:
    if "within" not in part:
        return f"{words}: not estimated: {part['note']}."
    within = [
        f"{row['note'] or format_ratio(row['hr'], row['lower'], row['upper'])} in {row['group']}"
        for row in part["within"]
    ]
    ratios = [
        f"{format_ratio(row['ratio'], row['lower'], row['upper'])} for {row['group']} to {row['reference']}"
        for row in part["ratios"]
    ]
    head = f"{words} for {listing(list(part['adjusted_for']))}" if part["adjusted_for"] else words
    who = "complete cases" if part["adjusted_for"] else "patients"
    return (
        f"{head} ({part['n']} {who}, {count(part['events'], 'event')}): hazard ratio {listing(within)}. Ratio of "
        f"these ratios {listing(ratios)}. Test of interaction, which asks whether the {word} differs between classes: "
        f"{format_p(part['interaction']['p_value'])}."
    )


def _benefits(found: dict[str, Any], compete: bool, status: str) -> Table | None:
    """Differences at each horizon; where deaths compete, those by Aalen-Johansen stand first."""
    shown = []
    for one in found["benefits"]:
        if one["note"]:
            avoided, net = [one["note"]], ["–", "–", "–" if compete else one["note"], "–"]
            avoided = avoided if compete else ["–"]
        else:
            without, with_ = (format_percent(value) for value in one["survival"])
            avoided = [_points(one["incidence"])]
            net = [without, with_, points(one["difference"]), _points(one["standardised"])]
        cells = [*avoided, *net] if compete else [*net, *avoided]
        shown.append((one["group"], f"{one['horizon']:g}", f"{one['n'][0]} / {one['n'][1]}", *cells))
    if not shown:
        return None
    columns = ["Net survival without", "Net survival with", "Gained, points (95% CI)", "Gained, standardised"]
    avoided_by = "Events avoided, points (95% CI)"
    columns = [f"{avoided_by}, primary", *columns] if compete else [*columns, avoided_by]
    columns = ["Class", "Years", "Without / with", *columns]
    note = (
        "Events avoided by Aalen-Johansen, the primary estimate where deaths compete, as here; net survival by "
        "Kaplan-Meier; "
        if compete
        else "Survival by Kaplan-Meier; no deaths compete, so that events avoided are the same; "
    )
    note += (
        "standardised: had all of the class had it or not, by the adjusted model, limits by the infinitesimal "
        "jackknife. Points are percentage points; above 0 favours the treated."
    )
    return Table(
        "treatment",
        f"Absolute {'benefit' if found['randomised'] else 'difference'} by class.",
        pd.DataFrame(shown, columns=columns),
        pd.DataFrame(treatment_rows(found)),
        note,
        status,
    )


def _points(estimate: dict[str, Any]) -> str:
    return points(estimate) if estimate["value"] == estimate["value"] else "–"
