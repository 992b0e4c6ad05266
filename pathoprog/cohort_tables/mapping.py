"""The mapping file: how a clinical sheet's columns, codes, units and dates become a cohort. YAML, checked whole.

Its conditions are those of `pathoprog.cohort_tables.conditions`.
"""

import difflib
import re
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.conditions import Condition, Rule
from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.sheets import Sheet, plain, read_sheet_file
from pathoprog.errors import InputError

UNIT_DAYS = {"days": 1.0, "weeks": 7.0, "months": YEAR_DAYS / 12, "years": YEAR_DAYS}
EVENTS = {"none": 0, "event": 1, "competing": 2}
SOURCE_KEYS = {"column", "value", "template", "without", "codes", "unit", "to_unit"}
KEYS = {
    "sheet",
    "encoding",
    "value_labels",
    "decimal",
    "time_zero",
    "missing",
    "rows",
    "one_row_of",
    "columns",
    "followup",
    "event",
    "exclude",
    "contradictions",
    "endpoints",
}
ENDPOINT_KEYS = {"rows", "one_row_of", "followup", "event", "exclude", "contradictions"}
TAKEN = ("first", "earliest")
_ENDPOINT_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

OPEN = "?"
"""Stands in a mapping where `pathoprog init` could guess nothing; no sheet is read before it is answered."""


@dataclass(frozen=True)
class SheetSource:
    """Where a column of the cohort comes from.

    Exactly one of `column`, `value` and `template` is set. `without` are endings that are taken off the sheet's values
    first (``.svs``), the first that fits. `codes` translates values and, where given, must know every one of them;
    `unit` and `to_unit` convert numbers.
    """

    column: str = ""
    value: str = ""
    template: str = ""
    without: tuple[str, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)
    unit: str = ""
    to_unit: str = ""

    def columns(self) -> list[str]:
        """Columns of the sheet that it reads."""
        return [self.column] if self.column else re.findall(r"\{([^{}]+)\}", self.template)

    def bare(self, value: str) -> str:
        """A value of the sheet without the ending that `without` names."""
        ending = next((ending for ending in self.without if value.endswith(ending)), "")
        return value.removesuffix(ending)


@dataclass(frozen=True)
class FollowUp:
    """Follow-up as a number in a unit, or as the days between two dates (`start` is time zero).

    `otherwise` are further columns for where `column` (or `end`) is empty, in their order: days to death, and for those
    alive the days to the last contact. With `take` ``earliest`` the smallest of them all counts, whatever its place.
    """

    column: str = ""
    unit: str = "days"
    start: str = ""
    end: str = ""
    date_format: str = "%Y-%m-%d"
    otherwise: tuple[str, ...] = ()
    take: str = "first"

    def ends(self) -> list[str]:
        """The columns that hold the follow-up, or the date of its end: the first that is not empty counts."""
        return [self.column or self.end, *self.otherwise]


@dataclass(frozen=True)
class EndpointSource:
    """Where an endpoint comes from; `exclude` and `contradictions` of a further one concern that endpoint alone."""

    followup: FollowUp
    event: tuple[Rule, ...]
    exclude: tuple[Rule, ...] = ()
    contradictions: tuple[Rule, ...] = ()
    rows: Condition = field(default_factory=dict)
    one_row_of: str = ""

    def reads(self) -> set[str]:
        """Columns of the sheet that it reads."""
        names = {self.followup.start, *self.followup.ends(), self.one_row_of} - {""}
        whens = (self.rows, *(rule.when for rule in (*self.event, *self.exclude, *self.contradictions)))
        return names | {str(column) for when in whens for column in when}


@dataclass(frozen=True, kw_only=True)
class Mapping(EndpointSource):
    """A mapping file as read, see `read_mapping`: the main endpoint, the cohort's columns, and further `endpoints`."""

    columns: dict[str, SheetSource]
    endpoints: dict[str, EndpointSource] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    time_zero: str = ""
    sheet: str = ""
    encoding: str = ""
    decimal: str = ""
    value_labels: bool = True


def read_mapping(path: str | Path) -> Mapping:
    """Read and check a mapping file.

    Args:
        path: YAML, for example::

            time_zero: day of surgery
            columns:
              patient_id: Pat.No
              slide_id: Slide
              slide_path: {template: "slides/{Slide}.svs"}   # without: .tif takes an ending off the value first
              cohort: {value: north}
              role: {column: Set, codes: {dev: tuning, val: external}}
              age: {column: Age in months, unit: months, to_unit: years}
              sex: {column: Gender, codes: {M: male, F: female}}
            rows: {etype: ["2"]}                          # only these rows count, where a sheet holds several kinds
            one_row_of: Pat.No                            # of several rows of one patient the first counts
            followup: {column: OSDays, unit: days}        # or {start: surgery, end: last seen, date_format: "%d.%m.%Y"}
                                                          # of several columns the first that is not empty counts:
                                                          # column: [days_to_death, days_to_last_follow_up]
            event:                                        # the first that holds
              - {when: {OSCensor: ["1"]}, is: none}
              - {when: {OSCensor: ["0"], Cause: [crc]}, is: event}
              - {when: {OSCensor: ["0"]}, is: competing}
            exclude:                                      # patients; the first that holds is counted
              - {code: neoadjuvant treatment, when: {Neoadj: ["yes"]}}
            decimal: ","                                  # decimal sign of the sheet's numbers; default: a point
            encoding: cp1252                              # of a CSV that is not UTF-8
            value_labels: false                           # of Stata or SPSS: keep codes; default: their labels
            sheet: Data                                   # of a workbook; default: the first that is not hidden
            missing: [unknown]                            # words that mean an empty cell, beside NA, n/a, NULL …
            contradictions:                               # rows that cannot be right
              - {reason: dead and yet censored, when: {Death: ["1"], OSCensor: ["1"]}}
            endpoints:                                    # further ones, by the name that a plan gives them
              disease_free:                               # perhaps with rows, exclude … of its own
                followup: {column: [RelapseDays, OSDays], unit: days}   # with take: earliest the smallest counts
                event: [{when: {Relapse: ["0"], Death: ["0"]}, is: none}, {when: {OSDays: {above: 0}}, is: event}]

    Raises:
        InputError: names what is missing, unknown or impossible.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the mapping is no UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: must hold columns, followup and event, and may hold {', '.join(sorted(KEYS))}")
    lacking, unknown = sorted({"columns", "followup", "event"} - value.keys()), _unknown_key(value, KEYS)
    if lacking or unknown:
        said = "; ".join(filter(None, (f"it lacks {', '.join(lacking)}" if lacking else "", unknown)))
        raise InputError(
            f"{path}: must hold columns, followup and event, and may hold {', '.join(sorted(KEYS))}; {said}"
        )
    if unanswered := _open(value):
        raise InputError(
            f"{path}: still to be answered: {', '.join(unanswered)}; put a column of the sheet in place of {OPEN!r}"
        )
    needed = {"patient_id", "slide_id", "slide_path", "cohort", "role"}
    if not isinstance(value["columns"], dict) or not needed <= value["columns"].keys():
        raise InputError(f"{path}: columns must say where {', '.join(sorted(needed))} come from")
    decimal = str(value.get("decimal") or "")
    if decimal not in ("", ".", ","):
        raise InputError(f"{path}: decimal={decimal!r} must be a point or a comma")
    main = _endpoint(path, "", value)
    return Mapping(
        **vars(main),
        columns={str(name): _source(path, str(name), item) for name, item in value["columns"].items()},
        endpoints=_endpoints(path, value.get("endpoints") or {}),
        missing=_words(path, "missing", value.get("missing")),
        time_zero=str(value.get("time_zero") or ""),
        sheet=str(value.get("sheet") or ""),
        encoding=str(value.get("encoding") or ""),
        decimal=decimal,
        value_labels=_yes_or_no(path, value, "value_labels"),
    )


def _endpoints(path: Path, value: Any) -> dict[str, EndpointSource]:
    """Further endpoints by name."""
    if not isinstance(value, dict):
        raise InputError(f"{path}: endpoints must be {{name: {{followup: …, event: …}}}}, not {value!r}")
    for name, item in value.items():
        if not _ENDPOINT_NAME.fullmatch(str(name)) or name == "followup":
            raise InputError(
                f"{path}: endpoints: {name!r} is no name for one; give lower-case letters, digits and _, such as"
                " disease_free (its columns are disease_free_days and disease_free_event)"
            )
        unknown = _unknown_key(item, ENDPOINT_KEYS) if isinstance(item, dict) else "it holds none"
        if unknown or not {"followup", "event"} <= item.keys():
            more = ", ".join(sorted(ENDPOINT_KEYS - {"followup", "event"}))
            said = f"{path}: endpoints.{name} must hold followup and event, and may hold {more}"
            raise InputError(f"{said}; {unknown}" if unknown else said)
    return {str(name): _endpoint(path, f"endpoints.{name}.", item) for name, item in value.items()}


def _endpoint(path: Path, within: str, value: dict[str, Any]) -> EndpointSource:
    """The main endpoint, or one of `endpoints`; `within` is where its keys stand."""
    return EndpointSource(
        followup=_followup(path, value["followup"], within),
        event=_rules(path, value, "event", "is", set(EVENTS), within),
        rows=_condition(path, f"{within}rows", value.get("rows") or {}),
        exclude=_rules(path, value, "exclude", "code", within=within),
        contradictions=_rules(path, value, "contradictions", "reason", within=within),
        one_row_of=str(value.get("one_row_of") or ""),
    )


def _yes_or_no(path: Path, value: dict[str, Any], key: str) -> bool:
    found = value.get(key, True)
    if not isinstance(found, bool):
        raise InputError(f"{path}: {key}={found!r} must be true or false")
    return found


def _unknown_key(item: dict[Any, Any], known: set[str]) -> str:
    """Which key nothing reads, and which was meant; empty where all are known."""
    for key in item.keys() - known:
        near = difflib.get_close_matches(str(key), known, n=1)
        return f"there is no key {str(key)!r}" + (f" ({near[0]!r} is meant?)" if near else "")
    return ""


def _open(value: Any, where: str = "") -> list[str]:
    """Keys whose value is still `OPEN`; for a list the key that holds it."""
    if isinstance(value, dict):
        return [key for name, item in value.items() for key in _open(item, f"{where}.{name}" if where else str(name))]
    if isinstance(value, list):
        return list(dict.fromkeys(key for item in value for key in _open(item, where)))
    return [where] if value == OPEN else []


def _words(path: Path, key: str, value: Any) -> tuple[str, ...]:
    """One word or a list of words."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, list | dict) for item in value)):
        raise InputError(f"{path}: {key} must be a word, or a list of words")
    return tuple(plain(item) for item in (value if isinstance(value, list) else [value] if value is not None else []))


_MORE = "and codes, without, unit, to_unit"


def _source(path: Path, name: str, item: Any) -> SheetSource:
    if isinstance(item, str):
        return SheetSource(column=item)
    where = f"{path}: columns.{name}"
    unknown = _unknown_key(item, SOURCE_KEYS) if isinstance(item, dict) else "it is none of them"
    if unknown:
        raise InputError(f"{where} must be a column's name, or hold column, value or template ({_MORE}); {unknown}")
    if len({"column", "value", "template"} & item.keys()) != 1:
        raise InputError(f"{where} must hold exactly one of column, value and template")
    units = [str(item[key]) for key in ("unit", "to_unit") if key in item]
    if len(units) == 1 or any(unit not in UNIT_DAYS for unit in units):
        raise InputError(f"{where}: unit and to_unit must both be given, of {', '.join(UNIT_DAYS)}")
    codes = item.get("codes") or {}
    if not isinstance(codes, dict):
        raise InputError(f"{where}.codes must map the sheet's values to ours")
    texts = {key: str(text) for key, text in item.items() if key not in ("codes", "without")}
    without = _words(path, f"columns.{name}.without", item.get("without"))
    return SheetSource(**texts, without=without, codes={plain(key): str(to) for key, to in codes.items()})


def _followup(path: Path, item: Any, within: str) -> FollowUp:
    where = f"{path}: {within}followup"
    last = "column" if isinstance(item, dict) and "column" in item else "end"
    allowed = {"column", "unit", "take"} if last == "column" else {"start", "end", "date_format", "take"}
    needed = {"column"} if last == "column" else {"start", "end"}
    if not isinstance(item, dict) or item.keys() - allowed or not needed <= item.keys():
        raise InputError(f"{where} must hold column and unit, or start, end and date_format (and take)")
    ends = _words(path, f"{within}followup.{last}", item[last])
    if not ends:
        raise InputError(f"{where}.{last} must be a column, or a list of columns")
    texts = {str(key): str(text) for key, text in item.items() if key != last}
    result = FollowUp(**texts, **{last: ends[0]}, otherwise=ends[1:])
    for key, found, known in (("unit", result.unit, tuple(UNIT_DAYS)), ("take", result.take, TAKEN)):
        if found not in known:
            raise InputError(f"{where}.{key}={found!r} must be one of {', '.join(known)}")
    return result


def _rules(
    path: Path, value: dict[str, Any], key: str, then: str, allowed: set[str] | None = None, within: str = ""
) -> tuple[Rule, ...]:
    items, where = value.get(key) or [], f"{path}: {within}{key}"
    if not isinstance(items, list):
        raise InputError(f"{where} must be a list of {{when: …, {then}: …}}")
    rules = []
    for item in items:
        if not isinstance(item, dict) or item.keys() != {"when", then} or not isinstance(item["when"], dict):
            raise InputError(f"{where}: each must be {{when: {{column: [values]}}, {then}: …}}, not {item!r}")
        if allowed and item[then] not in allowed:
            raise InputError(f"{where}: {then} must be one of {', '.join(sorted(allowed))}, not {item[then]!r}")
        rules.append(Rule(_condition(path, within + key, item["when"]), str(item[then])))
    return tuple(rules)


def _condition(path: Path, key: str, when: Any) -> Condition:
    if not isinstance(when, dict):
        raise InputError(f"{path}: {key} must be a condition {{column: [values]}}, not {when!r}")
    for column, test in when.items():
        known = isinstance(test, list) or (isinstance(test, dict) and len(test) == 1)
        if not known or (isinstance(test, dict) and not set(test) <= {"below", "above", "missing"}):
            raise InputError(f"{path}: {key}: {column} must have a list of values, or one of below, above, missing")
    return when


def columns_read(mapping: Mapping) -> set[str]:
    """Every column of the sheet that a mapping names."""
    names = {name for source in mapping.columns.values() for name in source.columns()}
    return names.union(*(endpoint.reads() for endpoint in (mapping, *mapping.endpoints.values())))


def read_sheet(path: str | Path, mapping: Mapping) -> pd.DataFrame:
    """The cells of `read_clinical` alone: text, missing values as ``""``."""
    return read_clinical(path, mapping).frame


def read_clinical(path: str | Path, mapping: Mapping) -> Sheet:
    """Read a clinical sheet as text, missing values as ``""``.

    Args:
        path: CSV (commas, semicolons or tabs), Excel or Parquet.
        mapping: for the sheet's name, its encoding, what counts as missing, and the columns that must be there.

    Raises:
        InputError: no such file, not such a table, or a column that the mapping names is not there.
    """
    how = (mapping.sheet, mapping.encoding, mapping.missing, "{}: {} in the mapping", mapping.value_labels)
    found = read_sheet_file(path, *how)
    names = {unicodedata.normalize("NFC", name) for name in found.frame.columns}
    absent = sorted(name for name in columns_read(mapping) if unicodedata.normalize("NFC", name).strip() not in names)
    if absent:
        there = ", ".join(map(repr, found.frame.columns))
        other = (
            f"; sheet {found.sheets[0]!r} was read of {', '.join(map(repr, found.sheets))}" if found.sheets[1:] else ""
        )
        raise InputError(
            f"{path}: the mapping names columns that are not there: {', '.join(absent)}; there are {there}{other}"
        )
    table, formats = pd.DataFrame(index=found.frame.index), _date_formats(path, mapping)
    for name in found.frame.columns:
        values = found.frame[name]
        if name in formats:
            values = _dates_as_asked(values, (found.dates or {}).get(name, []), formats[name])
        table[name] = pd.Series([plain(value) for value in values], index=values.index, dtype=object)
    return replace(found, frame=table)


def _date_formats(path: str | Path, mapping: Mapping) -> dict[str, str]:
    """The format of each column of dates that an endpoint reads."""
    formats: dict[str, str] = {}
    for endpoint in (mapping, *mapping.endpoints.values()):
        rule = endpoint.followup
        for name in (rule.start, *rule.ends()) if rule.start else ():
            if formats.setdefault(name, rule.date_format) != rule.date_format:
                both = f"{formats[name]} and as {rule.date_format}"
                raise InputError(f"{path}: the mapping reads the dates of {name!r} as {both}; give one of them")
    return formats


def _dates_as_asked(values: "pd.Series[Any]", rows: list[int], date_format: str) -> "pd.Series[Any]":
    """Cells that Excel holds as dates, in the format that the mapping asks of texts."""
    result = values.copy()
    for row in rows:
        text = str(values.iloc[row])
        result.iloc[row] = pd.Timestamp(text).strftime(date_format) if text else ""
    return result
