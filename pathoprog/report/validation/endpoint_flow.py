"""The flow's table of further endpoints: of whom each was looked for, who lacks it and why, and its events."""

from typing import Any

import pandas as pd

from pathoprog.cohort_tables.endpoints import endpoint_label
from pathoprog.report.document import Table
from pathoprog.report.validation.findings import Findings
from pathoprog.validation.flow import endpoint_flow

COLUMNS = ["Endpoint", "Counted in", "Why some lack it", "Patients", "Without it", "With it", "Events", "Other deaths"]
SHEET = "clinical sheet"


def endpoint_flow_table(findings: Findings) -> Table | None:
    """One row for each further endpoint in the clinical sheet and in each cohort's analysed patients; None without."""
    planned = findings.plan.endpoints
    sheet: dict[str, Any] = (findings.sheet_flow or {}).get("endpoints", {})
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*planned, *sheet]):
        if name in sheet:
            rows.append(_of_sheet(name, sheet[name]))
        if name in planned:
            rows += [_of_cohort(name, p.role, p.cohort, p.patients) for p in findings.populations if not p.pooled]
    if not rows:
        return None
    unplanned = [name for name in sheet if name not in planned]
    shown = [_shown(row, head=not k or rows[k - 1]["endpoint"] != row["endpoint"]) for k, row in enumerate(rows)]
    note = "Cohorts: their analysed patients. Who lacks an endpoint stays in all other analyses. "
    note += "Other deaths compete with the endpoint's event; none is on record where they are events themselves."
    if unplanned:
        note += " Endpoints that the plan does not name are counted in the clinical sheet alone."
    return Table(
        "endpoint_flow",
        "Further endpoints: patients, those without it and why, events.",
        pd.DataFrame(shown, columns=COLUMNS),
        pd.DataFrame(rows),
        note,
        text_columns=3,
    )


def _of_sheet(name: str, counts: dict[str, Any]) -> dict[str, Any]:
    why = {"missing": counts["missing"]}
    why |= {f"excluded, {code}": n for code, n in counts["excluded"].items()}
    why["rejected"] = counts["rejected"]
    lacking = sum(why.values())
    return _row(name, SHEET, counts["patients"] + lacking, why, counts["events"])


def _of_cohort(name: str, role: str, cohort: str, patients: pd.DataFrame) -> dict[str, Any]:
    found = endpoint_flow(name, patients)
    where = role if cohort == role else f"{role}: {cohort}"
    why = {"missing in the outcome table" if found.there else "not in the outcome table": found.without}
    return _row(name, where, found.patients, why, found.events)


def _row(name: str, where: str, patients: int, why: dict[str, int], events: dict[str, int]) -> dict[str, Any]:
    return {
        "endpoint": name,
        "of": where,
        "patients": patients,
        "without": sum(why.values()),
        "why": "; ".join(f"{reason}: {n}" for reason, n in why.items() if n),
        "with": sum(events.values()),
        "events": events["event"],
        "other_deaths": events["competing"],
    }


def _shown(row: dict[str, Any], head: bool) -> tuple[str, ...]:
    numbers = [f"{row[key]:,}" for key in ("patients", "without", "with", "events", "other_deaths")]
    return (endpoint_label(row["endpoint"]) if head else "", row["of"], row["why"] or "–", *numbers)
