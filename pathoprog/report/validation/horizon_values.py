"""The section on sensitivity, specificity and predictive values: which estimator is primary, and where others part."""

import math
from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.validation.findings import Findings
from pathoprog.survival.prediction.scores import primary_estimator
from pathoprog.text.numbers import format_percent
from pathoprog.text.wording import capital, listing
from pathoprog.validation.secondary_analyses import ESTIMATORS, VALUES

NAMES_OF_VALUES = dict(zip(VALUES, ("Sensitivity", "Specificity", "PPV", "NPV"), strict=True))
PRIMARY_ESTIMATORS = {competing: ESTIMATORS[primary_estimator(competing)] for competing in (True, False)}
"""Whose values come first, where deaths compete and where none does."""
POINT = 0.01
"""Weighted values that lie further from Kaplan-Meier's are commented (STATISTICS: late they may mislead)."""


def weights_text(rows: list[dict[str, Any]]) -> str:
    """Where inverse censoring weights part from Kaplan-Meier by more than a point, and what that means."""
    net = {(row["grouping"], row["years"]): row for row in rows if row["estimator"] == ESTIMATORS["kaplan_meier"]}
    apart = []
    for row in rows:
        beside = net.get((row["grouping"], row["years"]))
        if row["estimator"] != ESTIMATORS["inverse_weights"] or beside is None:
            continue
        apart += [
            f"{NAMES_OF_VALUES[name] if name in ('ppv', 'npv') else name} of {row['grouping']} at {row['years']:g} "
            f"years ({format_percent(row[name])} against {format_percent(beside[name])})"
            for name in VALUES
            if abs(row[name] - beside[name]) > POINT
        ]
    if not apart:
        return "Inverse censoring weights agree with Kaplan-Meier within a percentage point everywhere."
    return (
        f"Inverse censoring weights lie more than a percentage point from Kaplan-Meier in {listing(apart)}. "
        "The weights take follow-up as alike in all patients, Kaplan-Meier only within each group: where they part, "
        "the groups were followed for different times, and Kaplan-Meier takes account of it."
    )


def horizon_section(findings: Findings) -> Section:
    """Sensitivity, specificity and predictive values."""
    section = Section("values", "Sensitivity, specificity and predictive values")
    rows = findings.statistics["horizon_values"]
    primary = PRIMARY_ESTIMATORS[findings.deaths_compete]
    sizes = {row["grouping"]: row for row in findings.of(findings.primary)["groupings"]}
    shown, head = [], ""
    for row in sorted(
        rows, key=lambda row: (row["grouping"] != rows[0]["grouping"], row["years"], row["estimator"] != primary)
    ):
        values = [
            format_percent(row[name], row.get(f"{name}_lower", math.nan), row.get(f"{name}_upper", math.nan))
            if name in row
            else row["note"]
            for name in VALUES
        ]
        years = findings.dated("horizons_years", row["years"])
        estimator = f"{row['estimator']} (primary)" if row["estimator"] == primary else row["estimator"]
        size = sizes[row["grouping"]]
        positive = f"{size['n_worse']} of {size['n_worse'] + size['n_better']} positive"
        title = f"{row['grouping']}, {years} years ({positive})"
        if title != head:
            shown.append((title, *("" for _ in VALUES)))
            head = title
        shown.append((f"  {estimator}", *values))
    section.add(
        Text(
            "A patient of the worse group who has the event by the horizon counts as a true positive. "
            + (
                "Other deaths compete, so that Aalen-Johansen is primary: a patient who dies of something else by the "
                "horizon never has the event. Kaplan-Meier censors other deaths (net values). "
                if findings.deaths_compete
                else "No other deaths are on record: Kaplan-Meier is primary, and Aalen-Johansen agrees with it. "
            )
            + "Inverse censoring weights are a check on Kaplan-Meier. Complete cases leave out patients censored "
            "before the horizon and mislead late; they stand here only because papers print them."
        ),
        Text(weights_text(rows)),
        Table(
            "horizon_values",
            f"{capital(findings.primary.phrase)}: values at the horizons (95% CI).",
            pd.DataFrame(
                shown,
                columns=["Grouping and estimator", *NAMES_OF_VALUES.values()],
            ),
            pd.DataFrame(rows),
            "Percentages are estimates for all patients of the grouping, censored ones too; only complete cases are "
            "counts of those known.",
            findings.status("horizon_values", findings.primary),
            text_columns=1,
        ),
    )
    return section
