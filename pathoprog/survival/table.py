"""A user's table as survival data: read it, find its columns, translate its codes, count what is left out."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.cohort_tables.columns import (
    DATE,
    DURATION,
    FLAG,
    NUMBER,
    Column,
    column_of,
    known_order,
    one_spelling,
    read_column,
    same_label,
)
from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.sheets import read_sheet_file
from pathoprog.errors import InputError
from pathoprog.survival.arrays import CENSORED, COMPETING, EVENT, FloatArray, IntArray, level_names

TIME, CODE = "\0time", "\0event"
"""Names of the checked columns inside `SurvivalTable.frame`: no column of a file can be called so."""

DAYS = {"days": 1.0, "months": YEAR_DAYS / 12, "years": YEAR_DAYS, "": 1.0}
LONGEST_YEARS = 100.0  # beyond it the unit must be wrong


@dataclass(frozen=True)
class RawTable:
    """A table with what each of its columns is.

    Attributes:
        frame: numbers, flags and durations as such, all else as text; NaN or None where missing.
        columns: how each column was read, and what is wrong with it.
        lines: the line of each row in the file (n,).
        notes: what a reader must know of the file.
        sheet: the sheet of a workbook that was read, and the names of the others; empty for other files.
    """

    frame: pd.DataFrame
    columns: dict[str, Column]
    lines: list[int]
    notes: tuple[str, ...] = ()
    sheet: tuple[str, ...] = ()


@dataclass(frozen=True)
class SurvivalTable:
    """Rows with a follow-up and an event code.

    Attributes:
        frame: the file's columns plus `TIME` and `CODE` (0, 1, 2), usable rows only.
        rows: rows of the file.
        left_out: why rows are not in `frame`, with counts.
        notes: what a reader must know of the data.
        lines: the line of each usable row in the file.
    """

    frame: pd.DataFrame
    rows: int
    left_out: dict[str, int]
    notes: tuple[str, ...]
    lines: list[int]

    @property
    def competing(self) -> bool:
        """True where a competing death occurs."""
        return bool((self.frame[CODE] == COMPETING).any())


def read_raw(
    path: str | Path,
    sheet: str = "",
    encoding: str = "",
    decimal: str = "",
    missing: tuple[str, ...] = (),
    value_labels: bool = True,
) -> RawTable:
    """Read CSV (commas, semicolons, tabs), Excel, Parquet, Stata, SPSS or SAS, and decide what each column is.

    Args:
        path: the file.
        sheet: of a workbook; default: the first that is not hidden.
        encoding: of a text file; default UTF-8.
        decimal: the decimal sign; default: from the values.
        missing: words that mean an empty cell, beside the usual ones (`pathoprog.cohort_tables.sheets.EMPTY_WORDS`).
        value_labels: codes of Stata and SPSS that have a label become that label; False keeps the codes.

    Raises:
        InputError: the file cannot be read as a table. A column that cannot be used says so when it is used.
    """
    found = read_sheet_file(path, sheet, encoding, missing, "{}={}", value_labels)
    columns = {name: read_column(found.frame[name], decimal, found.lines) for name in found.frame.columns}
    frame = pd.DataFrame({name: column.values for name, column in columns.items()})
    return RawTable(frame, columns, found.lines, found.notes, found.sheets)


def raw_table(frame: pd.DataFrame, decimal: str = "") -> RawTable:
    """A table in memory, its columns judged like those of a file; rows are counted as in a CSV with one header line."""
    columns = {str(name): column_of(frame[name], decimal) for name in frame.columns}
    typed = pd.DataFrame({name: column.values for name, column in columns.items()}, index=frame.index)
    return RawTable(typed, columns, list(range(2, len(frame) + 2)))


def read_table(path: str | Path) -> pd.DataFrame:
    """The table of `read_raw` alone, for work in a notebook; a column that is not all numbers is text.

    Raises:
        InputError: no such file, no such format, or no rows.
    """
    return read_raw(path).frame


def find_columns(names: list[str], frame: pd.DataFrame, key: str) -> list[str]:
    """Column names as the user gave them; pieces of a name that holds a comma are put together again.

    Raises:
        InputError: names the key, the column that is absent, and those that there are.
    """
    known = set(frame.columns)
    found: list[str] = []
    rest = [unicodedata.normalize("NFC", name) for name in names]
    while rest:
        for length in range(len(rest), 0, -1):
            joined = [glue.join(rest[:length]) for glue in (",", ", ")]
            match = next((name for name in joined if name in known), None)
            if match is not None:
                found.append(match)
                del rest[:length]
                break
        else:
            there = ", ".join(repr(name) for name in frame.columns if name not in (TIME, CODE))
            raise InputError(f"{key}: no column {rest[0]!r}; there are {there}")
    return found


def find_pairs(pairs: list[str], columns: list[str], key: str) -> dict[str, str]:
    """``column:value`` settings as a dict; either side may hold colons as long as the column is known.

    Raises:
        InputError: a pair has no colon, or its column is not among `columns`.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        cuts = [place for place, sign in enumerate(pair) if sign == ":"]
        column = next((pair[:cut] for cut in reversed(cuts) if pair[:cut] in columns), None)
        if column is None:
            raise InputError(f"{key}={pair}: write COLUMN:VALUE with a column among {', '.join(columns) or '(none)'}")
        result[column] = pair[len(column) + 1 :]
    return result


def survival_table(
    frame: pd.DataFrame,
    time: str,
    event: str,
    event_is: list[str],
    competing_is: list[str],
    censored_is: list[str],
    drop_negative: bool = False,
    unit: str = "",
    lines: list[int] | None = None,
) -> SurvivalTable:
    """Check follow-up and event codes of a table.

    Args:
        frame: as read.
        time: column of the follow-up: numbers, or durations, which become numbers in `unit`.
        event: column of the event code.
        event_is: codes of the event, as text, whole numbers without decimals; nothing given anywhere: 1 and True.
        competing_is: codes of competing deaths; nothing given anywhere: 2.
        censored_is: codes of censoring; default 0 and False.
        drop_negative: leave rows with a negative follow-up out, and count them, instead of refusing the table.
        unit: days, months or years, where it is known: a follow-up of more than 100 years is then refused.
        lines: the line of each row in its file, for messages.

    Raises:
        InputError: a column is absent, a time is no number or negative, or a code is unknown; says how many and where.
    """
    for key, name in (("time", time), ("event", event)):
        find_columns([name], frame, key)
    if time == event:
        raise InputError(f"time and event are one column: {time!r}")
    where = lines or list(range(2, len(frame) + 2))
    times, notes = _times(frame[time], time, unit, where)
    names, joined = one_spelling(pd.Series(level_names(frame[event])).replace("", None))
    if joined:
        notes.append(f"event={event!r}: {joined}")
    label: npt.NDArray[np.str_] = names.fillna("").to_numpy(dtype=np.str_)
    present_labels = sorted(set(label.tolist()))
    event_is, competing_is, censored_is = (
        [same_label(code, present_labels) for code in given] for given in (event_is, competing_is, censored_is)
    )
    no_time = np.isnan(times)
    if np.isinf(times).any():
        raise InputError(f"time={time!r}: {int(np.isinf(times).sum())} values are infinite")
    codes = _codes(label, event, event_is, competing_is, censored_is)
    negative = times < 0
    if negative.any() and not drop_negative:
        raise InputError(
            f"time={time!r}: {int(negative.sum())} follow-up times are negative, first in row "
            f"{where[int(np.flatnonzero(negative)[0])]} of the file; correct them, or drop_negative=true leaves them "
            "out and counts them"
        )
    no_event = label == ""
    usable = ~no_time & ~no_event & ~negative
    if not usable.any():
        raise InputError("no row has both a follow-up and an event code")
    kept = frame.loc[usable].reset_index(drop=True)
    kept_lines = [line for line, keep in zip(where, usable, strict=True) if keep]
    kept[TIME] = times[usable]
    kept[CODE] = codes[usable]
    left_out = {
        "time missing": int(no_time.sum()),
        "event missing": int((no_event & ~no_time).sum()),
        "time negative": int((negative & ~no_event).sum()),
    }
    zero = int((kept[TIME] == 0).sum())
    if zero:
        notes.append(f"{zero} patients have a follow-up of 0: they are at risk at time 0 only, as in R")
    if not (kept[CODE] == EVENT).any():
        notes.append("no events: hazard ratios, tests and concordance cannot be estimated")
    left_out = {key: count for key, count in left_out.items() if count}
    return SurvivalTable(kept, len(frame), left_out, tuple(notes), kept_lines)


def _times(values: "pd.Series[Any]", time: str, unit: str, lines: list[int]) -> tuple[FloatArray, list[str]]:
    """Follow-up as numbers (n,), NaN where missing, with notes.

    Raises:
        InputError: dates, texts, doubtful thousands, or times beyond every life; says the first and its row.
    """
    column = column_of(values, lines=lines)
    notes = [f"time={time!r}: {column.note}"] if column.note else []
    if column.kind == DURATION:
        days = pd.to_timedelta(column.values).dt.total_seconds().to_numpy(dtype=float) / 86_400
        notes.append(f"time={time!r}: durations were turned into {unit or 'days'}")
        return days / DAYS[unit], notes
    if column.kind == DATE:
        raise InputError(
            f"time={time!r}: {column.problem}; a follow-up is a number: the days from time zero to the last day known"
        )
    if column.problem:
        raise InputError(f"time={time!r}: {column.problem}")
    if column.kind != NUMBER:
        texts = level_names(column.values)
        numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(dtype=float)
        wrong = np.isnan(numbers) & (texts != "") | (column.kind == FLAG)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"time={time!r}: {int(wrong.sum())} values are no numbers, first {str(texts[row])!r} in row "
                f"{lines[row]} of the file; a follow-up is a bare number, without unit"
            )
        return numbers, notes
    times = column.values.to_numpy(dtype=float)
    known = times[np.isfinite(times)]
    if known.size and (known % 1 == 0).all() and known.min() >= 19_000_101 and known.max() <= 22_001_231:
        raise InputError(
            f"time={time!r}: holds dates written as numbers, first {known[0]:.0f}; a follow-up is the number of days "
            "from time zero to the last day known"
        )
    longest = float(known.max()) * DAYS[unit] / YEAR_DAYS if known.size else 0.0
    if unit and longest > LONGEST_YEARS:
        raise InputError(
            f"time={time!r}: the longest follow-up, {known.max():g} {unit}, is {longest:.0f} years; another unit=, or "
            "dates in place of durations"
        )
    if not unit and known.size and known.max() * DAYS["days"] / YEAR_DAYS > LONGEST_YEARS:
        notes.append(
            f"time={time!r}: the longest is {known.max():g}, in days more than 100 years: dates, or another unit?"
        )
    if known.size > 1 and (known % 1 == 0).all() and known.min() >= 1900 and known.max() <= 2100:
        notes.append(f"time={time!r}: all lie between 1900 and 2100: calendar years, not durations?")
    return times, notes


def _codes(
    label: npt.NDArray[np.str_], event: str, event_is: list[str], competing_is: list[str], censored_is: list[str]
) -> IntArray:
    present = sorted(set(label.tolist()) - {""})
    if not (event_is or competing_is or censored_is) and present == ["1", "2"]:
        raise InputError(
            f"event={event!r}: all codes are 1 or 2, which has two meanings; give event_is=2 censored_is=1 if 1 is "
            "censored and 2 the event, or event_is=1 competing_is=2 if 2 is a competing death and nobody is censored"
        )
    censored_is = censored_is or [code for code in ("0", "False") if code not in [*event_is, *competing_is]]
    event_is = event_is or [code for code in ("1", "True") if code not in [*censored_is, *competing_is]]
    if not competing_is and "2" not in [*censored_is, *event_is]:
        competing_is = ["2"]
    meaning: dict[str, int] = {}
    given = (
        (CENSORED, "censored_is", censored_is),
        (EVENT, "event_is", event_is),
        (COMPETING, "competing_is", competing_is),
    )
    for code, key, values in given:
        for value in values:
            if meaning.get(value, code) != code:
                raise InputError(f"{key}: code {value!r} has two meanings")
            meaning[value] = code
    unknown = [value for value in present if value not in meaning]
    if unknown:
        raise InputError(
            f"event={event!r}: codes {', '.join(map(repr, unknown[:8]))} have no meaning (known: "
            f"{', '.join(f'{value!r}' for value in meaning)}); give event_is=…, censored_is=… and competing_is=…"
        )
    return np.array([meaning.get(value, 0) for value in label.tolist()], dtype=np.int64)


def order_levels(labels: list[str], reference: str, given: list[str]) -> tuple[list[str], bool]:
    """Order of a group's levels: as given; else a known order; else the alphabet, the reference first.

    Args:
        labels: the levels that occur, numbers by size, then text by alphabet.
        reference: first level, or empty.
        given: the user's order, or empty.

    Returns:
        The levels, and True where their order says which is worse (given, or known): only then are there a trend, a
        c-index and predictive values.

    Raises:
        InputError: a level is absent from the user's order or there twice, or the reference does not occur.
    """
    if reference and reference not in labels:
        raise InputError(f"reference={reference}: no such level; there are {', '.join(labels)}")
    if given:
        twice = sorted({level for level in given if given.count(level) > 1})
        if twice:
            raise InputError(f"levels: {', '.join(twice)} stands there twice")
        if set(labels) - set(given):
            raise InputError(
                f"levels: {', '.join(sorted(set(labels) - set(given)))} occur in the table and are not listed"
            )
        return [level for level in given if level in labels], True
    known = known_order(labels)
    if known is not None:
        return known, True
    return ([reference] if reference else []) + [level for level in labels if level != reference], False
