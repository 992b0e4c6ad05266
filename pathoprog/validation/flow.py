"""Where every patient and slide went, from the cohort table to the analysis: numbers that must add up."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.cohort import endpoint_columns
from pathoprog.cohort_tables.mapping import EVENTS
from pathoprog.cohort_tables.roles import ROLES
from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.errors import InputError
from pathoprog.validation.score_tables import STATUSES


@dataclass(frozen=True)
class Flow:
    """The way of one role's cohort.

    Attributes:
        role: its role.
        cohort: its name.
        slides: number of slides by status, and ``all``.
        patients: number of patients by status, and ``all``.
        excluded: number of scored patients excluded by code.
        no_outcome: scored and not excluded, but without a row in the outcomes.
        analysed: number of patients by class, and ``all``.
        events: of the analysed, by ``none``, ``event``, ``competing``.
        reasons: why slides and patients have no score: ``unit, status, reason, n``; no ids in it.
    """

    role: str
    cohort: str
    slides: dict[str, int]
    patients: dict[str, int]
    excluded: dict[str, int]
    no_outcome: int
    analysed: dict[str, int]
    events: dict[str, int]
    reasons: pd.DataFrame


@dataclass(frozen=True)
class EndpointFlow:
    """A further endpoint among analysed patients.

    Attributes:
        there: whether the outcome table has its columns.
        patients: number of analysed patients.
        without: of them, those whose follow-up or event is missing.
        events: of the others, by ``none``, ``event``, ``competing``.
    """

    there: bool
    patients: int
    without: int
    events: dict[str, int]


def endpoint_flow(name: str, analysed: pd.DataFrame) -> EndpointFlow:
    """Count a further endpoint among the patients of `analysed_patients`, by the name that the plan gives it."""
    days, event = endpoint_columns(name)
    there = {days, event} <= set(analysed.columns)
    known = analysed[days].notna() & analysed[event].notna() if there else pd.Series(False, index=analysed.index)
    codes = analysed.loc[known, event] if there else pd.Series(dtype=float)
    events = {words: int((codes == code).sum()) for words, code in EVENTS.items()}
    return EndpointFlow(there, len(analysed), int((~known).sum()), events)


def not_scored(cohort: pd.DataFrame, results: pd.DataFrame) -> list[tuple[str, str]]:
    """Cohorts of which no slide was scored at all: `(role, cohort)`, left out as a whole and said so."""
    known = set(results["slide_id"])
    return [
        (str(role), str(name))
        for (role, name), group in cohort.groupby(["role", "cohort"], sort=True)
        if not set(group["slide_id"]) & known
    ]


def check_complete(cohort: pd.DataFrame, results: pd.DataFrame, patients: pd.DataFrame) -> None:
    """Every slide of the cohort has its row in the results, every patient in patients.csv, and the counts agree.

    Args:
        cohort: as `read_cohort` gives it, without the cohorts of `not_scored`.
        results: as `read_results` gives it.
        patients: as `read_patients` gives it.

    Raises:
        InputError: lists every slide and patient that is missing, unknown or counted otherwise.
    """
    problems = []
    in_cohort, in_results = set(cohort["slide_id"]), set(results["slide_id"])
    problems += [f"slide {name}: in the cohort, but not in the results" for name in sorted(in_cohort - in_results)]
    problems += [f"slide {name}: in the results, but not in the cohort" for name in sorted(in_results - in_cohort)]
    contents: dict[str, str] = {}
    for row in records(results):
        content = row.get("slide_sha256", "")
        if content and contents.setdefault(content, row["slide_id"]) != row["slide_id"]:
            problems.append(f"slide {row['slide_id']}: the same content as slide {contents[content]}")
    scored = dict(zip(results["slide_id"], results["status"] == "scored", strict=True))
    owner = dict(zip(results["slide_id"], results["patient_id"], strict=True))
    expected: dict[tuple[str, str], tuple[int, int]] = {}  # slides, scored slides
    for row in records(cohort):
        slide, patient, key = row["slide_id"], row["patient_id"], (row["patient_id"], row["role"])
        if owner.get(slide, patient) != patient:
            problems.append(f"slide {slide}: of patient {patient} in the cohort, of {owner[slide]} in the results")
        n, n_scored = expected.get(key, (0, 0))
        expected[key] = (n + 1, n_scored + int(scored.get(slide, False)))
    found = {
        (row["patient_id"], row["role"]): (int(row["n_slides"]), int(row["n_slides_scored"]))
        for row in records(patients)
    }
    for patient, role in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get((patient, role)), found.get((patient, role))
        if ours is None or theirs is None:
            where = "the cohort, but not in patients.csv" if theirs is None else "patients.csv, but not in the cohort"
            problems.append(f"patient {patient} ({role}): in {where}")
        elif ours != theirs:
            problems.append(
                f"patient {patient} ({role}): {ours[1]} of {ours[0]} slides scored by the results, "
                f"{theirs[1]} of {theirs[0]} by patients.csv"
            )
    cohorts: dict[tuple[str, str], set[str]] = {}
    for row in records(cohort):
        cohorts.setdefault((row["patient_id"], row["role"]), set()).add(row["cohort"])
    problems += [
        f"patient {patient} ({role}): in the cohorts {', '.join(sorted(names))} of that role, and would count twice"
        for (patient, role), names in cohorts.items()
        if len(names) > 1
    ]
    if problems:
        raise InputError("\n  ".join(["cohort, results and patients.csv do not add up; no report:", *problems]))


def flow_of(
    role: str,
    name: str,
    cohort: pd.DataFrame,
    results: pd.DataFrame,
    patients: pd.DataFrame,
    analysed: pd.DataFrame,
    excluded: dict[str, str],
    classes: tuple[str, ...] = RISK_CLASSES,
) -> Flow:
    """Count one role's cohort.

    Args:
        role: the role.
        name: the cohort.
        cohort: the whole cohort table (slides).
        results: the whole results table (slides).
        patients: the whole patient table with its scores.
        analysed: the patients that the analyses use, with ``event``.
        excluded: code of each excluded patient.
        classes: that the ensemble can give.

    Raises:
        InputError: the numbers do not add up.
    """
    own = cohort[(cohort["role"] == role) & (cohort["cohort"] == name)]
    slides = results[results["slide_id"].isin(own["slide_id"])]
    people = patients[(patients["role"] == role) & patients["patient_id"].isin(own["patient_id"])]
    used = analysed[(analysed["role"] == role) & (analysed["cohort"] == name)]
    scored = people[people["status"] == "scored"]
    codes = scored["patient_id"].map(excluded).dropna().value_counts().sort_index()
    flow = Flow(
        role,
        name,
        _counts(slides["status"], STATUSES),
        _counts(people["status"], STATUSES),
        {str(code): int(n) for code, n in codes.items()},
        int((~scored["patient_id"].isin([*excluded, *used["patient_id"]])).sum()),
        _counts(used["risk_class"], classes),
        {name: int((used["event"] == code).sum()) for name, code in EVENTS.items()},
        _reasons(slides, people),
    )
    _check_sums(flow, n_slides=len(own), n_patients=own["patient_id"].nunique())
    return flow


def _check_sums(flow: Flow, n_slides: int, n_patients: int) -> None:
    sums = {
        "slides in the cohort and in the results": (n_slides, flow.slides["all"]),
        "patients in the cohort and in patients.csv": (n_patients, flow.patients["all"]),
        "slides by status": (flow.slides["all"], sum(flow.slides[status] for status in STATUSES)),
        "patients by status": (flow.patients["all"], sum(flow.patients[status] for status in STATUSES)),
        "scored = excluded + without outcome + analysed": (
            flow.patients["scored"],
            sum(flow.excluded.values()) + flow.no_outcome + flow.analysed["all"],
        ),
        "analysed by class": (flow.analysed["all"], sum(n for name, n in flow.analysed.items() if name != "all")),
        "analysed by event": (flow.analysed["all"], sum(flow.events.values())),
    }
    wrong = [f"{what}: {left} against {right}" for what, (left, right) in sums.items() if left != right]
    if wrong:
        raise InputError(f"{flow.role} {flow.cohort}: the flow does not add up; no report: {'; '.join(wrong)}")


def _counts(values: pd.Series, names: tuple[str, ...]) -> dict[str, int]:
    return {name: int((values == name).sum()) for name in names} | {"all": len(values)}


def _reasons(slides: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Reasons for missing scores, counted; ids are cut out, since tables leave the house."""
    rows: list[dict[str, Any]] = []
    for unit, table in (("slides", slides), ("patients", people)):
        missing = table[table["status"] != "scored"]
        for row in records(missing):
            rows.append({"unit": unit, "status": row["status"], "reason": _without_ids(row)})
    frame = pd.DataFrame(rows, columns=["unit", "status", "reason"])
    return frame.groupby(["unit", "status", "reason"], sort=True).size().rename("n").reset_index()


def _without_ids(row: dict[str, Any]) -> str:
    reason = str(row["reason"]) or "no reason given"
    ids = [str(row.get("slide_id", "")), str(row["patient_id"]), *str(row.get("slides", "")).split(";")]
    for name in sorted({name for name in ids if name}, key=len, reverse=True):
        reason = re.sub(rf"(?<!\w){re.escape(name)}(: |(?!\w))", lambda match: "" if match[1] else "…", reason)
    return reason


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as dicts."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def ordered(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """`(role, cohort)` in the order of roles, then by name."""
    return sorted(pairs, key=lambda pair: (ROLES.index(pair[0]), pair[1]))
