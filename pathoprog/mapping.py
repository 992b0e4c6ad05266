"""The mapping file: how a clinical sheet's columns, codes, units and dates become a cohort. YAML, checked whole.

Conditions are written as ``{column: [values]}``, ``{column: {below: 18}}``, ``{column: {above: 90}}`` or
``{column: {missing: true}}``; several columns must all hold. Values are compared as text, ``1.0`` as ``1``.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.cohort_config import YEAR_DAYS
from pathoprog.errors import InputError

UNIT_DAYS = {"days": 1.0, "weeks": 7.0, "months": YEAR_DAYS / 12, "years": YEAR_DAYS}
EVENTS = {"none": 0, "event": 1, "competing": 2}
MISSING = ("", "NA", "N/A", "NaN", "nan", "None", "null", "[Not Available]", "[Not Applicable]", "[Unknown]")
KEYS = {
    "sheet",
    "time_zero",
    "missing",
    "columns",
    "followup",
    "event",
    "exclude",
    "contradictions",
}

Condition = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where a column of the cohort comes from.

    Exactly one of `column`, `value` and `template` is set. `codes` translates values and, where given, must know every
    one of them; `unit` and `to_unit` convert numbers.
    """

    column: str = ""
    value: str = ""
    template: str = ""
    codes: dict[str, str] = field(default_factory=dict)
    unit: str = ""
    to_unit: str = ""

    def columns(self) -> list[str]:
        """Columns of the sheet that it reads."""
        return [self.column] if self.column else re.findall(r"\{([^{}]+)\}", self.template)


@dataclass(frozen=True)
class FollowUp:
    """Follow-up as a number in a unit, or as the days between two dates (`start` is time zero)."""

    column: str = ""
    unit: str = "days"
    start: str = ""
    end: str = ""
    date_format: str = "%Y-%m-%d"


@dataclass(frozen=True)
class Rule:
    """A condition with what follows from it: an event's name, an exclusion's code, or a contradiction's text."""

    when: Condition
    then: str


@dataclass(frozen=True)
class Mapping:
    """A mapping file as read; see `read_mapping`."""

    columns: dict[str, Source]
    followup: FollowUp
    event: tuple[Rule, ...]
    exclude: tuple[Rule, ...] = ()
    contradictions: tuple[Rule, ...] = ()
    missing: tuple[str, ...] = MISSING
    time_zero: str = ""
    sheet: str = ""


def read_mapping(path: str | Path) -> Mapping:
    """Read and check a mapping file.

    Args:
        path: YAML, for example::

            time_zero: day of surgery
            columns:
              patient_id: Pat.No
              slide_id: Slide
              slide_path: {template: "slides/{Slide}.svs"}
              cohort: {value: north}
              role: {column: Set, codes: {dev: tuning, val: external}}
              age: {column: Age in months, unit: months, to_unit: years}
              sex: {column: Gender, codes: {M: male, F: female}}
            followup: {column: OSDays, unit: days}        # or {start: surgery, end: last seen, date_format: "%d.%m.%Y"}
            event:                                        # the first that holds
              - {when: {OSCensor: ["1"]}, is: none}
              - {when: {OSCensor: ["0"], Cause: [crc]}, is: event}
              - {when: {OSCensor: ["0"]}, is: competing}
            exclude:                                      # patients; the first that holds is counted
              - {code: neoadjuvant treatment, when: {Neoadj: ["yes"]}}
            contradictions:                               # rows that cannot be right
              - {reason: dead and yet censored, when: {Death: ["1"], OSCensor: ["1"]}}

    Raises:
        InputError: names what is missing, unknown or impossible.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict) or not {"columns", "followup", "event"} <= value.keys() or value.keys() - KEYS:
        raise InputError(f"{path}: must hold columns, followup and event, and may hold {', '.join(sorted(KEYS))}")
    needed = {"patient_id", "slide_id", "slide_path", "cohort", "role"}
    if not isinstance(value["columns"], dict) or not needed <= value["columns"].keys():
        raise InputError(f"{path}: columns must say where {', '.join(sorted(needed))} come from")
    return Mapping(
        columns={str(name): _source(path, str(name), item) for name, item in value["columns"].items()},
        followup=_followup(path, value["followup"]),
        event=_rules(path, value, "event", "is", set(EVENTS)),
        exclude=_rules(path, value, "exclude", "code"),
        contradictions=_rules(path, value, "contradictions", "reason"),
        missing=(*MISSING, *map(str, value.get("missing") or ())),
        time_zero=str(value.get("time_zero") or ""),
        sheet=str(value.get("sheet") or ""),
    )


def _source(path: Path, name: str, item: Any) -> Source:
    if isinstance(item, str):
        return Source(column=item)
    where = f"{path}: columns.{name}"
    if not isinstance(item, dict) or item.keys() - {"column", "value", "template", "codes", "unit", "to_unit"}:
        raise InputError(f"{where} must be a column's name, or hold column, value or template (codes, unit, to_unit)")
    if len({"column", "value", "template"} & item.keys()) != 1:
        raise InputError(f"{where} must hold exactly one of column, value and template")
    units = [str(item[key]) for key in ("unit", "to_unit") if key in item]
    if len(units) == 1 or any(unit not in UNIT_DAYS for unit in units):
        raise InputError(f"{where}: unit and to_unit must both be given, of {', '.join(UNIT_DAYS)}")
    codes = item.get("codes") or {}
    if not isinstance(codes, dict):
        raise InputError(f"{where}.codes must map the sheet's values to ours")
    texts = {key: str(text) for key, text in item.items() if key != "codes"}
    return Source(**texts, codes={_plain(key): str(to) for key, to in codes.items()})


def _followup(path: Path, item: Any) -> FollowUp:
    allowed = {"column", "unit"} if isinstance(item, dict) and "column" in item else {"start", "end", "date_format"}
    if (
        not isinstance(item, dict)
        or item.keys() - allowed
        or not ({"column"} <= item.keys() or {"start", "end"} <= item.keys())
    ):
        raise InputError(f"{path}: followup must hold column and unit, or start, end and date_format")
    result = FollowUp(**{str(key): str(text) for key, text in item.items()})
    if result.unit not in UNIT_DAYS:
        raise InputError(f"{path}: followup.unit={result.unit!r} must be one of {', '.join(UNIT_DAYS)}")
    return result


def _rules(path: Path, value: dict[str, Any], key: str, then: str, allowed: set[str] | None = None) -> tuple[Rule, ...]:
    items = value.get(key) or []
    if not isinstance(items, list):
        raise InputError(f"{path}: {key} must be a list of {{when: …, {then}: …}}")
    rules = []
    for item in items:
        if not isinstance(item, dict) or item.keys() != {"when", then} or not isinstance(item["when"], dict):
            raise InputError(f"{path}: {key}: each must be {{when: {{column: [values]}}, {then}: …}}, not {item!r}")
        if allowed and item[then] not in allowed:
            raise InputError(f"{path}: {key}: {then} must be one of {', '.join(sorted(allowed))}, not {item[then]!r}")
        for column, test in item["when"].items():
            known = isinstance(test, list) or (isinstance(test, dict) and len(test) == 1)
            if not known or (isinstance(test, dict) and not set(test) <= {"below", "above", "missing"}):
                raise InputError(f"{path}: {key}: {column} must have a list of values, or one of below, above, missing")
        rules.append(Rule(item["when"], str(item[then])))
    return tuple(rules)


def columns_read(mapping: Mapping) -> set[str]:
    """Every column of the sheet that a mapping names."""
    names = {name for source in mapping.columns.values() for name in source.columns()}
    names |= {mapping.followup.column, mapping.followup.start, mapping.followup.end} - {""}
    rules = (*mapping.event, *mapping.exclude, *mapping.contradictions)
    return names | {str(column) for rule in rules for column in rule.when}


def read_sheet(path: str | Path, mapping: Mapping) -> pd.DataFrame:
    """Read a clinical sheet as text, missing values as ``""``.

    Args:
        path: CSV (UTF-8), or Excel (.xlsx); of Excel the sheet that the mapping names, or the first.
        mapping: for the sheet's name, what counts as missing, and the columns that must be there.

    Raises:
        InputError: no such file, not such a table, or a column that the mapping names is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix.lower() in (".xlsx", ".xlsm"):
            table = pd.read_excel(path, sheet_name=mapping.sheet or 0, dtype=object)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, KeyError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error})") from error
    table.columns = [str(name).strip() for name in table.columns]
    absent = sorted(columns_read(mapping) - set(table.columns))
    if absent:
        raise InputError(f"{path}: the mapping names columns that are not there: {', '.join(absent)}")
    missing = set(mapping.missing)
    for name in table.columns:
        texts = [_plain(value) for value in table[name]]
        table[name] = pd.Series(["" if text in missing else text for text in texts], index=table.index, dtype=object)
    return table


def _plain(value: Any) -> str:
    """A cell as text: no spaces around it, whole numbers without ``.0``, dates as ISO."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return ""
    text = value.isoformat(sep=" ") if hasattr(value, "isoformat") and hasattr(value, "hour") else str(value)
    text = text.strip().removesuffix(" 00:00:00")
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def holds(table: pd.DataFrame, when: Condition) -> pd.Series:
    """Rows in which all parts of a condition hold."""
    result = pd.Series(True, index=table.index)
    for column, test in when.items():
        values = table[column]
        if isinstance(test, list):
            result &= values.isin([_plain(value) for value in test])
        elif "missing" in test:
            result &= (values == "") == bool(test["missing"])
        else:
            numbers = pd.to_numeric(values, errors="coerce")
            result &= numbers < float(test["below"]) if "below" in test else numbers > float(test["above"])
    return result
