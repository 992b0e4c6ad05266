"""From a clinical sheet to cohort rows: exclusions by code, rejected rows with their reasons, nothing lost unsaid."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.cohort import MAX_FOLLOWUP_DAYS, NUMERIC_COLUMNS, NUMERIC_RANGE, SLIDE_COLUMNS
from pathoprog.cohort_tables.columns import parse_number, thousands_doubt
from pathoprog.cohort_tables.config import LabelSettings
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.cohort_tables.mapping import EVENTS, UNIT_DAYS, Mapping, SheetSource, holds, not_a_number, unread_numbers
from pathoprog.cohort_tables.roles import ROLES
from pathoprog.errors import InputError

DEVELOPMENT = "development"
"""A role that `assign_development` turns into training or tuning."""
REJECTED_COLUMNS = ("line", "patient_id", "slide_id", "reason")
DAY_ZERO_DAYS = 0.5
"""Follow-up of a patient who is kept although the follow-up ended on the day of time zero: half a day, since it is over
before the first day is."""


@dataclass(frozen=True)
class Mapped:
    """A sheet after mapping.

    Attributes:
        rows: accepted rows: the cohort's columns, ``followup_days``, ``event`` and ``line`` (in the sheet, header 1).
        rejected: every row that cannot be used: ``line, patient_id, slide_id, reason``.
        excluded: patients excluded by code: ``patient_id, code``.
        counts: rows and patients of the sheet, patients excluded by code, rejected and accepted, and those whose
            follow-up ended on day 0.
    """

    rows: pd.DataFrame
    rejected: pd.DataFrame
    excluded: pd.DataFrame
    counts: dict[str, Any]


def apply_mapping(
    mapping: Mapping, sheet: pd.DataFrame, lines: list[int] | None = None, keep_day_zero: bool = False
) -> Mapped:
    """Map a sheet.

    A fault of a patient's value rejects all rows of that patient, since half a patient is no patient; a fault of a
    slide's value rejects the slide. Exclusions count before rejections: a patient who is excluded needs no sound data.

    Args:
        mapping: the mapping file.
        sheet: as `read_sheet` gives it.
        lines: the line of each row in its file; default: as in a CSV with one header line.
        keep_day_zero: keep patients whose follow-up ends on day 0, with a follow-up of `DAY_ZERO_DAYS`; False: reject
            them. Dropping them depends on the outcome, so both are counted.

    Raises:
        InputError: nothing says which sign of a column's numbers is the decimal one.
    """
    _doubtful_thousands(mapping, sheet, lines)
    sheet, lines, others = _rows_that_count(mapping, sheet, lines)
    rows = pd.DataFrame({"line": lines or range(2, len(sheet) + 2)}, index=sheet.index)
    faults = _Faults()
    for name, source in mapping.columns.items():
        rows[name] = _values(name, source, sheet, faults, mapping.decimal)
    rows["followup_days"] = _followup(mapping, sheet, faults, keep_day_zero)
    rows["event"] = _event(mapping, sheet, faults)
    for rule in (*mapping.event, *mapping.exclude, *mapping.contradictions):
        for row, reason in unread_numbers(sheet, rule.when, mapping.decimal):
            faults.add(row, reason)
    for rule in mapping.contradictions:
        faults.add_all(holds(sheet, rule.when, mapping.decimal), rule.then)
    for name in ("patient_id", "slide_id", "slide_path", "cohort", "role"):
        faults.add_all(rows[name] == "", f"{name} is missing", slide=name.startswith("slide"))
    roles = (*ROLES, DEVELOPMENT)
    faults.add_all(~rows["role"].isin(["", *roles]), f"role is none of {', '.join(roles)}", slide=True)
    for name in ("slide_id", "slide_path"):
        twice = rows.duplicated(name, keep=False) & (rows[name] != "")
        faults.add_all(twice, f"{name} stands in several rows", slide=True)
    _contradicting_rows(rows, faults)

    code = pd.Series("", index=rows.index, dtype=object)
    for rule in reversed(mapping.exclude):  # the first that holds is what counts
        code[holds(sheet, rule.when, mapping.decimal)] = rule.then
    order = {rule.then: place for place, rule in enumerate(mapping.exclude)}
    firsts: dict[str, str] = {}
    for patient, found in zip(rows["patient_id"], code, strict=True):
        if patient and found and order[found] < order.get(firsts.get(patient, ""), len(order)):
            firsts[patient] = found
    out = rows["patient_id"].isin(firsts)
    rejected = _rejected(rows[~out], faults)
    accepted = rows[~out & ~rows["line"].isin(rejected["line"])]
    return Mapped(
        accepted.reset_index(drop=True),
        rejected,
        pd.DataFrame(sorted(firsts.items()), columns=["patient_id", "code"]),
        _counts(mapping, rows, firsts, rejected, accepted)
        | ({"rows_passed_over": others} if mapping.rows or mapping.one_row_of else {})
        | {"day_zero": _day_zero(rows[~out], faults.day_zero, keep_day_zero)},
    )


def _rows_that_count(
    mapping: Mapping, sheet: pd.DataFrame, lines: list[int] | None
) -> tuple[pd.DataFrame, list[int], int]:
    """The rows that `rows` and `one_row_of` of the mapping take, with their lines, and how many are passed over.

    Raises:
        InputError: none is left, or a cell that should be compared as a number is none.
    """
    place = dict(zip(sheet.index, lines or range(2, len(sheet) + 2), strict=True))
    for row, reason in unread_numbers(sheet, mapping.rows, mapping.decimal):
        raise InputError(f"line {place[row]}: {reason} (rows: in the mapping)")
    kept = sheet[holds(sheet, mapping.rows, mapping.decimal)]
    if mapping.one_row_of:
        ids = kept[mapping.one_row_of]
        kept = kept[~ids.duplicated() | (ids == "")]
    if kept.empty:
        raise InputError(f"no row of the sheet is one of those that the mapping counts (rows: {mapping.rows})")
    return kept, [place[row] for row in kept.index], len(sheet) - len(kept)


def _doubtful_thousands(mapping: Mapping, sheet: pd.DataFrame, lines: list[int] | None) -> None:
    """Refuse numbers such as 2.385 beside 901, where nothing says whether they are thousands."""
    if mapping.decimal:
        return
    wanted = [] if mapping.followup.start else mapping.followup.ends()
    wanted += [source.column for name, source in mapping.columns.items() if source.unit or name in NUMERIC_COLUMNS]
    for name in filter(None, wanted):
        texts = [
            (text, line) for text, line in zip(sheet[name], lines or range(2, len(sheet) + 2), strict=True) if text
        ]
        doubt = thousands_doubt(texts, ".")
        if doubt:
            raise InputError(f"column {name!r}: {doubt} (decimal: in the mapping)")


def _day_zero(rows: pd.DataFrame, lines: list[Any], kept: bool) -> dict[str, Any]:
    """Patients whose follow-up ended on day 0, by what happened, and whether they were kept."""
    own = rows[rows.index.isin(lines)].drop_duplicates("patient_id")
    named = {name: int((own["event"] == code).sum()) for name, code in EVENTS.items()}
    return {"kept": kept, **named}


def assign_development(rows: pd.DataFrame, labels: LabelSettings, nondistinct: str) -> pd.DataFrame:
    """Turn the role ``development`` into training (distinct outcome) or `nondistinct` (all others), by patient.

    Args:
        rows: accepted rows.
        labels: what a distinct outcome is.
        nondistinct: ``tuning``, or ``training`` for losses that use censored patients (METHOD section 2).
    """
    outcome = distinct_outcome(rows.drop_duplicates("patient_id"), labels)
    distinct = rows["patient_id"].map(outcome) != ""
    development = rows["role"] == DEVELOPMENT
    result = rows.copy()
    result.loc[development & distinct, "role"] = "training"
    result.loc[development & ~distinct, "role"] = nondistinct
    return result


class _Faults:
    """What is wrong with which row; a fault of the patient or only of the slide."""

    def __init__(self) -> None:
        self.patient: dict[Any, list[str]] = {}
        self.slide: dict[Any, list[str]] = {}
        self.day_zero: list[Any] = []  # rows whose follow-up ends on day 0

    def add(self, row: Any, reason: str, slide: bool = False) -> None:
        (self.slide if slide else self.patient).setdefault(row, []).append(reason)

    def add_all(self, mask: pd.Series, reason: str, slide: bool = False) -> None:
        for row in mask.index[mask]:
            self.add(row, reason, slide)


def _values(name: str, source: SheetSource, sheet: pd.DataFrame, faults: _Faults, decimal: str) -> list[str]:
    of_slide = name in SLIDE_COLUMNS
    values = []
    for row in sheet.index:
        if source.template:
            parts = {column: source.bare(str(sheet.at[row, column])) for column in source.columns()}
            values.append("" if "" in parts.values() else _filled(source.template, parts))
            continue
        value = source.value or source.bare(str(sheet.at[row, source.column]))
        if source.codes and value and value not in source.codes:
            faults.add(row, f"{name}: {source.column}={value!r} has no code", of_slide)
            value = ""
        value = source.codes.get(value, value)
        if source.unit and value:
            value = _converted(value, source, name, row, faults, decimal)
        elif name in NUMERIC_COLUMNS and value:
            value = _number(value, source.column, name, row, faults, decimal)
        if name in NUMERIC_COLUMNS and value and not NUMERIC_RANGE[0] <= float(value) <= NUMERIC_RANGE[1]:
            low, high = NUMERIC_RANGE
            faults.add(
                row, f"{name}: {source.column or 'value'}={value} lies outside {low:g} to {high:g}; a code for missing?"
            )
        values.append(value)
    return values


def _filled(template: str, parts: dict[str, str]) -> str:
    """The template with each ``{column}`` replaced; a column's name may hold points and colons."""
    return re.sub(r"\{([^{}]+)\}", lambda match: parts[match[1]], template)


def _number(value: str, column: str, name: str, row: Any, faults: _Faults, decimal: str) -> str:
    """A number as text with a point, or a fault."""
    number = parse_number(value, decimal)
    if number is None:
        faults.add(row, f"{name}: {column}={value!r} {not_a_number(value, decimal)}")
        return ""
    return str(int(number)) if number.is_integer() else repr(number)


def _converted(value: str, source: SheetSource, name: str, row: Any, faults: _Faults, decimal: str) -> str:
    number = parse_number(value, decimal)
    if number is None:
        faults.add(row, f"{name}: {source.column}={value!r} {not_a_number(value, decimal)}")
        return ""
    return f"{number * UNIT_DAYS[source.unit] / UNIT_DAYS[source.to_unit]:.4f}".rstrip("0").rstrip(".")


def _followup(mapping: Mapping, sheet: pd.DataFrame, faults: _Faults, keep_day_zero: bool) -> pd.Series:
    rule = mapping.followup
    cells, column = _first_filled(sheet, rule.ends())
    named = " and ".join(rule.ends())
    if rule.column:
        numbers = [parse_number(value, mapping.decimal) if value else None for value in cells]
        days = pd.Series(numbers, index=sheet.index, dtype=float) * UNIT_DAYS[rule.unit]
        what = column + "='" + cells + "'"
        for row in days.index[days.isna() & (cells != "")]:
            why = not_a_number(str(cells[row]), mapping.decimal)
            faults.add(row, f"follow-up: {column[row]} {why} ({what[row]})")
        faults.add_all(cells == "", f"follow-up: {named} is missing")
    else:
        dates = {}
        for name, values in ((rule.start, sheet[rule.start]), (named, cells)):
            dates[name] = pd.to_datetime(values, format=rule.date_format, errors="coerce")
            faults.add_all(values == "", f"follow-up: {name} is missing")
            faults.add_all(dates[name].isna() & (values != ""), f"follow-up: {name} is no date {rule.date_format}")
        days = (dates[named] - dates[rule.start]).dt.days.astype(float)
        what = sheet[rule.start] + " to " + cells
    faults.day_zero = list(days.index[days == 0])
    if keep_day_zero:
        days = days.mask(days == 0, DAY_ZERO_DAYS)
    for row in days.index[days.notna() & ((days <= 0) | (days > MAX_FOLLOWUP_DAYS))]:
        faults.add(row, f"follow-up: {what[row]} gives {days[row]:g} days; must be above 0 and within 100 years")
    return days


def _first_filled(sheet: pd.DataFrame, names: list[str]) -> tuple[pd.Series, pd.Series]:
    """The first cell of each row that is not empty, of several columns, and the column that it stands in."""
    cells = sheet[names[0]].copy()
    column = pd.Series(names[0], index=sheet.index, dtype=object)
    for name in names[1:]:
        empty = cells == ""
        cells[empty], column[empty] = sheet.loc[empty, name], name
    return cells, column


def _event(mapping: Mapping, sheet: pd.DataFrame, faults: _Faults) -> pd.Series:
    event = pd.Series(-1, index=sheet.index)
    for rule in reversed(mapping.event):
        event[holds(sheet, rule.when, mapping.decimal)] = EVENTS[rule.then]
    for row in event.index[event < 0]:
        columns = sorted({str(column) for rule in mapping.event for column in rule.when})
        found = ", ".join(f"{column}={sheet.at[row, column]!r}" for column in columns)
        faults.add(row, f"event: no rule holds for {found}")
    return event


def _contradicting_rows(rows: pd.DataFrame, faults: _Faults) -> None:
    own = [name for name in rows.columns if name not in SLIDE_COLUMNS and name not in ("patient_id", "line")]
    for patient, group in rows[rows["patient_id"] != ""].groupby("patient_id", sort=False):
        for name in own if len(group) > 1 else ():
            if group[name].nunique(dropna=False) > 1:
                values = ", ".join(sorted({str(value) for value in group[name]}))
                for row in group.index:
                    faults.add(row, f"{name}: the rows of patient {patient} contradict each other ({values})")


def _rejected(rows: pd.DataFrame, faults: _Faults) -> pd.DataFrame:
    columns = [rows["line"], rows["patient_id"], rows["slide_id"]]
    places: list[tuple[Any, int, str, str]] = list(zip(rows.index, *columns, strict=True))
    spoiled: dict[str, int] = {}
    for row, line, patient, _ in places:
        if patient and row in faults.patient:
            spoiled.setdefault(patient, line)
    result = []
    for row, line, patient, slide in places:
        reasons = [*faults.patient.get(row, []), *faults.slide.get(row, [])]
        if not reasons and patient in spoiled:
            reasons = [f"another row of this patient is rejected (line {spoiled[patient]})"]
        if reasons:
            result.append((line, patient, slide, "; ".join(reasons)))
    return pd.DataFrame(result, columns=list(REJECTED_COLUMNS))


def _counts(
    mapping: Mapping, rows: pd.DataFrame, firsts: dict[str, str], rejected: pd.DataFrame, accepted: pd.DataFrame
) -> dict[str, Any]:
    patients = set(rows["patient_id"]) - {""}
    kept = set(accepted["patient_id"])
    lost = patients - kept - set(firsts)
    counts: dict[str, Any] = {
        "rows": len(rows),
        "rows_without_patient": int((rows["patient_id"] == "").sum()),
        "patients": len(patients),
        "excluded": {
            rule.then: n for rule in mapping.exclude if (n := sum(code == rule.then for code in firsts.values()))
        },
        "rows_excluded": int(rows["patient_id"].isin(firsts).sum()),
        "rows_rejected": len(rejected),
        "patients_rejected": len(lost),
        "patients_accepted": len(kept),
        "rows_accepted": len(accepted),
    }
    assert counts["rows"] == counts["rows_excluded"] + counts["rows_rejected"] + counts["rows_accepted"]
    assert counts["patients"] == len(firsts) + counts["patients_rejected"] + counts["patients_accepted"]
    return counts
