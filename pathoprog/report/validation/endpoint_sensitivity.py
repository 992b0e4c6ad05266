"""The section of a report that says how far one other choice moves the primary contrast: one table."""

from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.validation.findings import Findings
from pathoprog.survival.summary import endpoint_rows
from pathoprog.text.numbers import bare_ratio, format_interval
from pathoprog.text.wording import capital, count, listing


def endpoints_section(findings: Findings) -> Section:
    """Other endpoints, early deaths, borderline classes, uncertain with either side."""
    section = Section("endpoints", "Sensitivity to the endpoint and to who is counted")
    found = findings.statistics["endpoints"]
    if "rows" not in found:
        section.add(Text(f"No contrast could be looked at: {found['note']}."))
        return section
    early = f"{found['early_days']:g} days"
    said = [
        "Each row changes one choice of the analysis above and nothing else; none is a further hypothesis to be tested."
    ]
    if found["n_early"]:
        said.append(f"{capital(count(found['n_early'], 'patient'))} died of any cause within {early}.")
    else:
        said.append(f"Nobody died within {early}.")
    if found["n_borderline"]:
        said.append(f"The class of {count(found['n_borderline'], 'patient')} lies at a threshold (borderline).")
    if found["absent"]:
        said.append(f"Not in the outcome table: {listing(found['absent'])}.")
    if len({row["endpoint"] for row in found["rows"]}) == 1:
        said.append("No competing deaths are on record and no further endpoint, so that there is one endpoint here.")
    section.add(
        Text(" ".join(said)),
        Table(
            "endpoints",
            f"{capital(findings.primary.phrase)}: the primary contrast under other choices (95% CI).",
            pd.DataFrame([_shown(row, early) for row in found["rows"]], columns=COLUMNS),
            pd.DataFrame(endpoint_rows(found)),
            "Patients (events) are those of the two sides compared; c is of the one number in all patients of the row.",
            findings.status("endpoints", findings.primary),
            text_columns=3,
        ),
    )
    return section


COLUMNS = ["Endpoint", "Left out", "Compared", "Worse", "Better", "Hazard ratio", "Harrell's c"]


def _shown(row: dict[str, Any], early: str) -> tuple[str, ...]:
    left_out = {"": "–", "early deaths": f"deaths within {early}", "borderline": "borderline classes"}[row["left_out"]]
    ratio, c = row["ratio"], row["c"]
    return (
        row["endpoint"],
        left_out,
        f"{row['worse']} vs {row['better']}",
        f"{row['n_worse']} ({row['events_worse']})",
        f"{row['n_better']} ({row['events_better']})",
        row["note"] or bare_ratio(ratio["value"], ratio["lower"], ratio["upper"]),
        format_interval(c["value"], c["lower"], c["upper"]),
    )
