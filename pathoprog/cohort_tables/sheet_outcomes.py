"""Follow-up and event of one endpoint, from the rows of a clinical sheet; a further endpoint by patient."""

import datetime
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.cohort import MAX_FOLLOWUP_DAYS
from pathoprog.cohort_tables.columns import parse_number
from pathoprog.cohort_tables.conditions import holds, not_a_number, unread_numbers
from pathoprog.cohort_tables.mapping import EVENTS, UNIT_DAYS, EndpointSource, FollowUp
from pathoprog.errors import InputError

DAY_ZERO_DAYS = 0.5
"""Follow-up of a patient who is kept although the follow-up ended on the day of time zero: half a day, since it is over
before the first day is."""
ABSENT_COLUMNS = ("endpoint", "patient_id", "line", "why", "reason")
MISSING, EXCLUDED, REJECTED = "missing", "excluded", "rejected"


class Faults:
    """What is wrong with which row; a fault of the patient or only of the slide."""

    def __init__(self) -> None:
        self.patient: dict[Any, list[str]] = {}
        self.slide: dict[Any, list[str]] = {}

    def add(self, row: Any, reason: str, slide: bool = False) -> None:
        """One row."""
        (self.slide if slide else self.patient).setdefault(row, []).append(reason)

    def add_all(self, mask: pd.Series, reason: str, slide: bool = False) -> None:
        """Every row where `mask` holds."""
        for row in mask.index[mask]:
            self.add(row, reason, slide)


@dataclass(frozen=True)
class RowOutcomes:
    """One endpoint, by row of the sheet.

    Attributes:
        days: follow-up, NaN where it is missing or wrong (n,).
        event: 0 none, 1 the event, 2 competing; -1 where no rule holds (n,).
        missing: rows without follow-up or without anything that says the event, and what is missing.
        day_zero: rows whose follow-up ended on day 0.
    """

    days: "pd.Series[float]"
    event: "pd.Series[int]"
    missing: dict[Any, str]
    day_zero: list[Any]


@dataclass(frozen=True)
class EndpointOutcomes:
    """A further endpoint of the accepted patients.

    Attributes:
        name: as the mapping and the plan have it.
        table: ``patient_id, days, event`` of those who have it.
        absent: those who do not: `ABSENT_COLUMNS`, `why` one of `MISSING`, `EXCLUDED`, `REJECTED`.
        counts: patients with it, by event; those without it, by why; those whose follow-up ended on day 0.
    """

    name: str
    table: pd.DataFrame
    absent: pd.DataFrame
    counts: dict[str, Any] = field(default_factory=dict)


def outcome_of_rows(
    source: EndpointSource, sheet: pd.DataFrame, faults: Faults, decimal: str, keep_day_zero: bool
) -> RowOutcomes:
    """Read one endpoint; what is wrong goes to `faults`, what is missing into the result.

    Args:
        source: of the mapping.
        sheet: cells as text, ``""`` where missing (n, p).
        faults: to add to.
        decimal: the decimal sign, if it was said.
        keep_day_zero: a follow-up of 0 days becomes `DAY_ZERO_DAYS`; else it is a fault.

    Raises:
        InputError: the dates are in another order of day and month than the mapping says.
    """
    days, zero, missing = _followup(source.followup, sheet, faults, decimal, keep_day_zero)
    event = pd.Series(-1, index=sheet.index)
    for rule in reversed(source.event):
        event[holds(sheet, rule.when, decimal)] = EVENTS[rule.then]
    columns = sorted({str(column) for rule in source.event for column in rule.when})
    for row in event.index[event < 0]:
        found = ", ".join(f"{column}={sheet.at[row, column]!r}" for column in columns)
        said = f"event: no rule holds for {found}"
        if columns and not any(sheet.at[row, column] for column in columns):
            missing[row] = f"{missing[row]}; {said}" if row in missing else said
        else:
            faults.add(row, said)
    for rule in (*source.event, *source.exclude, *source.contradictions):
        for row, reason in unread_numbers(sheet, rule.when, decimal):
            faults.add(row, reason)
    for rule in source.contradictions:
        faults.add_all(holds(sheet, rule.when, decimal), rule.then)
    return RowOutcomes(days, event, missing, zero)


def excluded_patients(
    source: EndpointSource, sheet: pd.DataFrame, patients: "pd.Series[str]", decimal: str
) -> dict[str, str]:
    """Code by excluded patient: the first rule of the mapping that holds in any of the patient's rows."""
    code = pd.Series("", index=sheet.index, dtype=object)
    for rule in reversed(source.exclude):
        code[holds(sheet, rule.when, decimal)] = rule.then
    order = {rule.then: place for place, rule in enumerate(source.exclude)}
    firsts: dict[str, str] = {}
    for patient, found in zip(patients, code, strict=True):
        if patient and found and order[found] < order.get(firsts.get(patient, ""), len(order)):
            firsts[patient] = found
    return firsts


def day_zero_counts(rows: pd.DataFrame, zero: list[Any], kept: bool) -> dict[str, Any]:
    """Patients whose follow-up ended on day 0, by what happened, and whether they were kept."""
    own = rows[rows.index.isin(zero)].drop_duplicates("patient_id")
    return {"kept": kept, **{name: int((own["event"] == code).sum()) for name, code in EVENTS.items()}}


def endpoint_outcomes(
    name: str,
    source: EndpointSource,
    sheet: pd.DataFrame,
    rows: pd.DataFrame,
    patients: list[str],
    decimal: str,
    keep_day_zero: bool,
) -> EndpointOutcomes:
    """A further endpoint of some patients.

    Args:
        name: of the endpoint.
        source: of the mapping.
        sheet: the cells of its rows (n, p).
        rows: ``patient_id, line`` of these rows (n, 2).
        patients: those that are in the cohort.
        decimal: see `outcome_of_rows`.
        keep_day_zero: see `outcome_of_rows`.

    Raises:
        InputError: see `outcome_of_rows`.
    """
    faults = Faults()
    ours = rows["patient_id"].isin(patients)
    sheet, rows = sheet[ours], rows[ours]
    found = outcome_of_rows(source, sheet, faults, decimal, keep_day_zero)
    rows = rows.assign(days=found.days, event=found.event)
    codes = excluded_patients(source, sheet, rows["patient_id"], decimal)
    groups = {str(patient): own for patient, own in rows.groupby("patient_id", sort=False)}
    table: list[tuple[str, float, int]] = []
    absent: list[tuple[str, str, str, str, str]] = []
    for patient in patients:
        own = groups.get(patient, rows[:0])
        line, why, reason = _without(own, found, faults, codes.get(patient, ""))
        if why:
            absent.append((name, patient, line, why, reason))
        else:
            table.append((patient, float(own["days"].iloc[0]), int(own["event"].iloc[0])))
    outcomes = pd.DataFrame(table, columns=["patient_id", "days", "event"])
    left = pd.DataFrame(absent, columns=list(ABSENT_COLUMNS))
    counts = _counts(source, outcomes, left) | {
        "day_zero": day_zero_counts(rows[~rows["patient_id"].isin(codes)], found.day_zero, keep_day_zero)
    }
    assert len(outcomes) + len(left) == len(patients)
    return EndpointOutcomes(name, outcomes, left, counts)


def _without(own: pd.DataFrame, found: RowOutcomes, faults: Faults, code: str) -> tuple[str, str, str]:
    """Line, why and reason for a patient who lacks an endpoint; empty where there is one."""
    if own.empty:
        return "", MISSING, "no row of the sheet that counts for it"
    first = str(own["line"].iloc[0])
    if code:
        return first, EXCLUDED, code
    for row in own.index:
        if row in faults.patient:
            return str(own.at[row, "line"]), REJECTED, "; ".join(faults.patient[row])
    for column, said in (("days", "follow-up"), ("event", "event")):
        if own[column].nunique(dropna=False) > 1:
            values = ", ".join(sorted({f"{value:g}" for value in own[column]}))
            return first, REJECTED, f"{said}: the rows of this patient contradict each other ({values})"
    row = own.index[0]
    return (first, MISSING, found.missing[row]) if row in found.missing else ("", "", "")


def _counts(source: EndpointSource, outcomes: pd.DataFrame, absent: pd.DataFrame) -> dict[str, Any]:
    of = {why: absent[absent["why"] == why]["reason"] for why in (MISSING, EXCLUDED, REJECTED)}
    codes = list(dict.fromkeys(rule.then for rule in source.exclude))
    return {
        "patients": len(outcomes),
        "events": {name: int((outcomes["event"] == code).sum()) for name, code in EVENTS.items()},
        "missing": len(of[MISSING]),
        "excluded": {code: n for code in codes if (n := int((of[EXCLUDED] == code).sum()))},
        "rejected": len(of[REJECTED]),
    }


def _followup(
    rule: FollowUp, sheet: pd.DataFrame, faults: Faults, decimal: str, keep_day_zero: bool
) -> tuple["pd.Series[float]", list[Any], dict[Any, str]]:
    """Days by row; rows that end on day 0; rows whose follow-up is missing, and what is."""
    cells = _cells_that_count(rule, sheet)
    missing: dict[Any, str] = {}
    if rule.column:
        values = {name: _numbers(name, own, rule.unit, faults, decimal) for name, own in cells.items()}
    else:
        start = _dates(rule.start, sheet[rule.start], rule.date_format, faults)
        ends = {name: _dates(name, own, rule.date_format, faults) for name, own in cells.items()}
        values = {name: (end - start).dt.days.astype(float) for name, end in ends.items()}
        missing |= dict.fromkeys(sheet.index[sheet[rule.start] == ""], f"follow-up: {rule.start} is missing")
    days = pd.Series(float("nan"), index=sheet.index)
    column = pd.Series("", index=sheet.index, dtype=object)
    for name, own in values.items():
        taken = (cells[name] != "") & ((column == "") | (own < days))
        days, column = days.mask(taken, own), column.mask(taken, name)
    for row in column.index[column == ""]:
        missing.setdefault(row, f"follow-up: {' and '.join(rule.ends())} is missing")
    zero = list(days.index[days == 0])
    if keep_day_zero:
        days = days.mask(days == 0, DAY_ZERO_DAYS)
    for row in days.index[days.notna() & ((days <= 0) | (days > MAX_FOLLOWUP_DAYS))]:
        cell = str(sheet.at[row, column[row]])
        what = f"{sheet.at[row, rule.start]!s} to {cell}" if rule.start else f"{column.at[row]}={cell!r}"
        faults.add(row, f"follow-up: {what} gives {days[row]:g} days; must be above 0 and within 100 years")
    return days, zero, missing


def _cells_that_count(rule: FollowUp, sheet: pd.DataFrame) -> dict[str, "pd.Series[str]"]:
    """The cells of each column of ends: all of them for the earliest, else the first of a row that is not empty."""
    cells: dict[str, pd.Series[str]] = {}
    filled = pd.Series(False, index=sheet.index)
    for name in rule.ends():
        cells[name] = sheet[name].mask(filled, "") if rule.take == "first" else sheet[name]
        filled = filled | (sheet[name] != "")
    return cells


def _numbers(name: str, cells: "pd.Series[str]", unit: str, faults: Faults, decimal: str) -> "pd.Series[float]":
    found = [parse_number(cell, decimal) if cell else None for cell in cells]
    numbers = pd.Series(found, index=cells.index, dtype=float)
    for row in numbers.index[numbers.isna() & (cells != "")]:
        faults.add(row, f"follow-up: {name} {not_a_number(cells[row], decimal)} ({name}={cells[row]!r})")
    return numbers * UNIT_DAYS[unit]


def _dates(name: str, cells: "pd.Series[str]", form: str, faults: Faults) -> "pd.Series[Any]":
    dates = pd.to_datetime(cells, format=form, errors="coerce")
    wrong = dates.isna() & (cells != "")
    if wrong.any():
        _refuse_turned(name, cells[cells != ""], form, dates)
    for row in dates.index[wrong]:
        faults.add(row, f"follow-up: {name} is no date {form}")
    for row in dates.index[dates > pd.Timestamp(datetime.date.today())]:
        faults.add(row, f"follow-up: {name}={cells[row]!r} is {dates[row]:%Y-%m-%d}, a day that is still to come")
    return dates


def _refuse_turned(name: str, cells: "pd.Series[str]", form: str, dates: "pd.Series[Any]") -> None:
    """Refuse days read as months: some are no dates, and with day and month the other way round all of them are.

    Raises:
        InputError: says which cell shows it.
    """
    turned = form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    if turned != form and pd.to_datetime(cells, format=turned, errors="coerce").notna().all():
        cell = cells[dates[cells.index].isna()].iloc[0]
        raise InputError(
            f"column {name!r}: {cell!r} is no date {form}, and every date of the column is one as {turned}: day and"
            f' month seem to be the other way round (date_format: "{turned}" in the mapping)'
        )
