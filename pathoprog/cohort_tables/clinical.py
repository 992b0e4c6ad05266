"""From a clinical sheet to cohort rows: exclusions by code, rejected rows with their reasons, nothing lost unsaid."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.cohort import NUMERIC_COLUMNS, NUMERIC_RANGE, SLIDE_COLUMNS
from pathoprog.cohort_tables.columns import parse_number, thousands_doubt
from pathoprog.cohort_tables.conditions import holds, not_a_number, unread_numbers
from pathoprog.cohort_tables.config import LabelSettings
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.cohort_tables.mapping import UNIT_DAYS, EndpointSource, Mapping, SheetSource
from pathoprog.cohort_tables.roles import ROLES
from pathoprog.cohort_tables.sheet_outcomes import (
    EndpointOutcomes,
    Faults,
    day_zero_counts,
    endpoint_outcomes,
    excluded_patients,
    outcome_of_rows,
)
from pathoprog.errors import InputError

DEVELOPMENT = "development"
"""A role that `assign_development` turns into training or tuning."""
REJECTED_COLUMNS = ("line", "patient_id", "slide_id", "reason")


@dataclass(frozen=True)
class Mapped:
    """A sheet after mapping.

    Attributes:
        rows: accepted rows: the cohort's columns, ``followup_days``, ``event`` and ``line`` (in the sheet, header 1).
        rejected: every row that cannot be used: ``line, patient_id, slide_id, reason``.
        excluded: patients excluded by code: ``patient_id, code``.
        counts: rows and patients of the sheet, patients excluded by code, rejected and accepted, and those whose
            follow-up ended on day 0.
        endpoints: the further endpoints of the accepted patients, in the mapping's order.
    """

    rows: pd.DataFrame
    rejected: pd.DataFrame
    excluded: pd.DataFrame
    counts: dict[str, Any]
    endpoints: tuple[EndpointOutcomes, ...] = ()


def apply_mapping(
    mapping: Mapping, sheet: pd.DataFrame, lines: list[int] | None = None, keep_day_zero: bool = False
) -> Mapped:
    """Map a sheet.

    A fault of a patient's value rejects all rows of that patient, since half a patient is no patient; a fault of a
    slide's value rejects the slide. Exclusions count before rejections: a patient who is excluded needs no sound data.
    What is missing or wrong in a further endpoint takes the patient out of that endpoint alone.

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
    whole, whole_lines = sheet, lines
    sheet, lines, others = _rows_that_count(mapping, sheet, lines, mapping.decimal)
    rows = pd.DataFrame({"line": lines or range(2, len(sheet) + 2)}, index=sheet.index)
    faults = Faults()
    for name, source in mapping.columns.items():
        rows[name] = _values(name, source, sheet, faults, mapping.decimal)
    outcome = outcome_of_rows(mapping, sheet, faults, mapping.decimal, keep_day_zero)
    rows["followup_days"], rows["event"] = outcome.days, outcome.event
    for row in outcome.missing:
        faults.add(row, outcome.missing[row])
    for name in ("patient_id", "slide_id", "slide_path", "cohort", "role"):
        faults.add_all(rows[name] == "", f"{name} is missing", slide=name.startswith("slide"))
    roles = (*ROLES, DEVELOPMENT)
    faults.add_all(~rows["role"].isin(["", *roles]), f"role is none of {', '.join(roles)}", slide=True)
    for name in ("slide_id", "slide_path"):
        twice = rows.duplicated(name, keep=False) & (rows[name] != "")
        faults.add_all(twice, f"{name} stands in several rows", slide=True)
    _contradicting_rows(rows, faults)

    firsts = excluded_patients(mapping, sheet, rows["patient_id"], mapping.decimal)
    out = rows["patient_id"].isin(firsts)
    rejected = _rejected(rows[~out], faults)
    accepted = rows[~out & ~rows["line"].isin(rejected["line"])]
    patients = list(dict.fromkeys(accepted["patient_id"]))
    further = [
        _further(mapping, name, source, whole, whole_lines, patients, keep_day_zero)
        for name, source in mapping.endpoints.items()
    ]
    return Mapped(
        accepted.reset_index(drop=True),
        rejected,
        pd.DataFrame(sorted(firsts.items()), columns=["patient_id", "code"]),
        _counts(mapping, rows, firsts, rejected, accepted)
        | ({"rows_passed_over": others} if mapping.rows or mapping.one_row_of else {})
        | {"day_zero": day_zero_counts(rows[~out], outcome.day_zero, keep_day_zero)},
        tuple(further),
    )


def _further(
    mapping: Mapping,
    name: str,
    source: EndpointSource,
    sheet: pd.DataFrame,
    lines: list[int] | None,
    patients: list[str],
    keep_day_zero: bool,
) -> EndpointOutcomes:
    """A further endpoint of the patients, from its own kind of rows or from those of the main one."""
    kept = source if source.rows or source.one_row_of else mapping
    own, own_lines, _ = _rows_that_count(kept, sheet, lines, mapping.decimal, f"endpoints.{name}.rows")
    ids = _values("patient_id", mapping.columns["patient_id"], own, Faults(), mapping.decimal)
    frame = pd.DataFrame({"patient_id": ids, "line": own_lines}, index=own.index)
    return endpoint_outcomes(name, source, own, frame, patients, mapping.decimal, keep_day_zero)


def _rows_that_count(
    mapping: EndpointSource, sheet: pd.DataFrame, lines: list[int] | None, decimal: str, key: str = "rows"
) -> tuple[pd.DataFrame, list[int], int]:
    """The rows that `rows` and `one_row_of` of the mapping take, with their lines, and how many are passed over.

    Raises:
        InputError: none is left, or a cell that should be compared as a number is none.
    """
    place = dict(zip(sheet.index, lines or range(2, len(sheet) + 2), strict=True))
    for row, reason in unread_numbers(sheet, mapping.rows, decimal):
        raise InputError(f"line {place[row]}: {reason} ({key}: in the mapping)")
    kept = sheet[holds(sheet, mapping.rows, decimal)]
    if mapping.one_row_of:
        ids = kept[mapping.one_row_of]
        kept = kept[~ids.duplicated() | (ids == "")]
    if kept.empty:
        raise InputError(f"no row of the sheet is one of those that the mapping counts ({key}: {mapping.rows})")
    return kept, [place[row] for row in kept.index], len(sheet) - len(kept)


def _doubtful_thousands(mapping: Mapping, sheet: pd.DataFrame, lines: list[int] | None) -> None:
    """Refuse numbers such as 2.385 beside 901, where nothing says whether they are thousands."""
    if mapping.decimal:
        return
    ways = [endpoint.followup for endpoint in (mapping, *mapping.endpoints.values())]
    wanted = [name for way in ways if not way.start for name in way.ends()]
    wanted += [source.column for name, source in mapping.columns.items() if source.unit or name in NUMERIC_COLUMNS]
    for name in dict.fromkeys(filter(None, wanted)):
        texts = [
            (text, line) for text, line in zip(sheet[name], lines or range(2, len(sheet) + 2), strict=True) if text
        ]
        doubt = thousands_doubt(texts, ".")
        if doubt:
            raise InputError(f"column {name!r}: {doubt} (decimal: in the mapping)")


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


def _values(name: str, source: SheetSource, sheet: pd.DataFrame, faults: Faults, decimal: str) -> list[str]:
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


def _number(value: str, column: str, name: str, row: Any, faults: Faults, decimal: str) -> str:
    """A number as text with a point, or a fault."""
    number = parse_number(value, decimal)
    if number is None:
        faults.add(row, f"{name}: {column}={value!r} {not_a_number(value, decimal)}")
        return ""
    return str(int(number)) if number.is_integer() else repr(number)


def _converted(value: str, source: SheetSource, name: str, row: Any, faults: Faults, decimal: str) -> str:
    number = parse_number(value, decimal)
    if number is None:
        faults.add(row, f"{name}: {source.column}={value!r} {not_a_number(value, decimal)}")
        return ""
    return f"{number * UNIT_DAYS[source.unit] / UNIT_DAYS[source.to_unit]:.4f}".rstrip("0").rstrip(".")


def _contradicting_rows(rows: pd.DataFrame, faults: Faults) -> None:
    own = [name for name in rows.columns if name not in SLIDE_COLUMNS and name not in ("patient_id", "line")]
    for patient, group in rows[rows["patient_id"] != ""].groupby("patient_id", sort=False):
        for name in own if len(group) > 1 else ():
            if group[name].nunique(dropna=False) > 1:
                values = ", ".join(sorted({str(value) for value in group[name]}))
                for row in group.index:
                    faults.add(row, f"{name}: the rows of patient {patient} contradict each other ({values})")


def _rejected(rows: pd.DataFrame, faults: Faults) -> pd.DataFrame:
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
