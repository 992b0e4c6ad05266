"""What a column of text is: a number, a date, a duration, true and false, or names; decided once, refused by name.

The same rules serve `survival`, `cohort` and `validate`. A column's problem is found when it is read, and said when the
column is used.
"""

import datetime
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.cohort_tables.sheets import Cell, cell_text
from pathoprog.errors import InputError
from pathoprog.text.plain_text import folded

NUMBER, FLAG, DATE, DURATION, NAMES, BROKEN = "number", "flag", "date", "duration", "names", "broken"

_POINT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf(inity)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?([0-9]+(,[0-9]*)?|,[0-9]+)([eE][+-]?[0-9]+)?")
_THOUSANDS = {
    ".": re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]+)?"),
    ",": re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?"),
}
_GAPS = re.compile("[+-]?[1-9][0-9]{0,2}(?P<gap>[' \u2019\u00a0\u2009\u202f])[0-9]{3}((?P=gap)[0-9]{3})*([.,][0-9]+)?")
"""Thousands parted by an apostrophe or a space, which are no decimal sign in any country: 1'234.5, 1 234,5."""
_DATE = re.compile(
    r"[12][0-9]{3}[-/.][0-9]{1,2}[-/.][0-9]{1,2}([ T][0-9:.]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
    r"|[0-9]{1,2}[-/.][0-9]{1,2}[-/.]([12][0-9]{3}|[0-9]{2})([ T][0-9:.]+)?"
)
_EXCEL_ERROR = re.compile(r"#(DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!|SPILL!|CALC!|GETTING_DATA)")
_CODE = re.compile(r"0[0-9]+")
CODES_TO = 9  # whole numbers up to so many different ones may be codes beside names: pT 1, 2, 3, 4a
FEW_LEVELS = 5
DECIMAL_COMMAS = "its decimal commas were read as such"
WHICH = "decimal=. or decimal=,"
KNOWN_ORDERS = (("good", "uncertain", "poor"), ("low", "intermediate", "high"), ("low", "medium", "high"))
_GRADED = re.compile(r"(p?[tnm]|stage|grade|g|stadium|grad)?[ :.]?([0-9]{1,2}|i{1,3}|iv|v)[ .]?([a-d][0-9]?)?")
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5}


@dataclass(frozen=True)
class Column:
    """A column as read.

    Attributes:
        values: float or int for numbers, bool for flags, timedelta64 for durations, else text; NaN or None where
            missing (n,).
        kind: one of `NUMBER`, `FLAG`, `DATE`, `DURATION`, `NAMES`, `BROKEN` (an error of the spreadsheet).
        problem: why it cannot be used as it is, or empty; without the column's name.
        note: how its numbers were read, or empty.
    """

    values: "pd.Series[Any]"
    kind: str
    problem: str = ""
    note: str = ""


def read_column(cells: "pd.Series[Any]", decimal: str = "", lines: list[int] | None = None) -> Column:
    """Decide what a column is.

    Args:
        cells: text or `datetime.timedelta`, ``""`` where missing, as `pathoprog.cohort_tables.sheets` gives them (n,).
        decimal: ``.`` or ``,`` where it was said; the other sign then parts thousands. Empty: from the values.
        lines: line of each cell in its file, for messages; default: as in a CSV file with one header line.
    """
    where = lines or list(range(2, len(cells) + 2))
    known = [(cell, line) for cell, line in zip(cells, where, strict=True) if not (isinstance(cell, str) and not cell)]
    if not known:
        return Column(pd.Series(np.nan, index=cells.index, dtype=float), NUMBER)
    if all(isinstance(cell, datetime.timedelta) for cell, _ in known):
        return Column(pd.to_timedelta(cells.where(cells != "", None)), DURATION)
    texts = [(_bare(str(cell)), line) for cell, line in known]
    for text, line in texts:
        if _EXCEL_ERROR.fullmatch(text):
            return Column(
                _names(cells), BROKEN, f"{text!r} in line {line} is an error of the spreadsheet; mend the cell"
            )
    if all(text.casefold() in ("true", "false") for text, _ in texts):
        flags = [None if cell == "" else str(cell).casefold() == "true" for cell in cells]
        full = None not in flags
        return Column(pd.Series(flags, index=cells.index, dtype=bool if full else object), FLAG)
    dates = [(text, line) for text, line in texts if _DATE.fullmatch(text)]
    thousands = [text for text, _ in texts if any(sign.fullmatch(text) for sign in _THOUSANDS.values())]
    if len(dates) > len(texts) / 2 and len(thousands) < len(texts) / 2:
        rest = [(text, line) for text, line in texts if not _DATE.fullmatch(text)]
        problem = f"holds dates, first {dates[0][0]!r} in line {dates[0][1]}"
        if rest:
            problem += f", and {len(rest)} other values, first {rest[0][0]!r} in line {rest[0][1]}"
        return Column(_names(cells), DATE, problem)
    return _numbers(cells, texts, decimal)


def column_of(values: "pd.Series[Any]", decimal: str = "", lines: list[int] | None = None) -> Column:
    """A column of any table in memory, by the same rules: numbers are what they are, the rest is read as text.

    Args:
        values: of any type (n,).
        decimal: see `read_column`.
        lines: see `read_column`.
    """
    if pd.api.types.is_bool_dtype(values.dtype):
        return Column(values, FLAG)
    if pd.api.types.is_numeric_dtype(values.dtype):
        extension = isinstance(values.dtype, pd.api.extensions.ExtensionDtype)
        return Column(values.astype(float) if extension else values, NUMBER)
    cells: list[Cell] = [cell_text(value) for value in np.asarray(values, dtype=object).tolist()]
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return Column(values, DURATION)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        cells = [cell_text(value) for value in values]
    return read_column(pd.Series(cells, index=values.index, dtype=object), decimal, lines)


def _names(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    return cells.map(lambda cell: None if isinstance(cell, str) and not cell else str(cell)).astype(object)


def _numbers(cells: "pd.Series[Any]", texts: list[tuple[str, int]], decimal: str) -> Column:
    """A column of numbers, of names, or of numbers with something else between them."""
    if decimal:
        return _told(cells, texts, decimal)
    for sign in ".,":
        doubt = thousands_doubt(texts, sign)
        if doubt:
            return Column(_names(cells), NUMBER, doubt)
    point = {text for text, _ in texts if _POINT.fullmatch(text)}
    if all(text in point for text, _ in texts):
        if all(text.isdigit() for text, _ in texts) and any(_CODE.fullmatch(text) for text, _ in texts):
            return Column(_names(cells), NAMES)  # 001: a code
        even = len(texts) > FEW_LEVELS and all(_THOUSANDS["."].fullmatch(text) for text, _ in texts)
        note = "all its numbers have three digits after the point, taken as decimals (decimal=, if they are thousands)"
        return Column(_parsed(cells, "."), NUMBER, "", note if even else "")
    comma = {text for text, _ in texts if _COMMA.fullmatch(text)}
    if all(text in comma for text, _ in texts):
        return Column(_parsed(cells, ","), NUMBER, "", DECIMAL_COMMAS)
    numeric = point | comma | {text for text, _ in texts if any(sign.fullmatch(text) for sign in _THOUSANDS.values())}
    if all(text in numeric for text, _ in texts):
        one, other = (next((f"{text!r} in line {line}" for text, line in texts if sign in text), "") for sign in ".,")
        problem = f"points and commas stand in its numbers ({one}, {other}); say which is the decimal sign: {WHICH}"
        return Column(_names(cells), NUMBER, problem)
    return _with_others(cells, texts, numeric, point)


def _told(cells: "pd.Series[Any]", texts: list[tuple[str, int]], decimal: str) -> Column:
    """As the user said: this sign is the decimal one, the other parts thousands."""
    other = "," if decimal == "." else "."
    pattern = _POINT if decimal == "." else _COMMA
    numeric = {text for text, _ in texts if pattern.fullmatch(text) or _THOUSANDS[other].fullmatch(text)}
    if len([text for text, _ in texts if text in numeric]) < len(texts):
        loose = {text for text, _ in texts if _POINT.fullmatch(text) or _COMMA.fullmatch(text)}
        if all(text in numeric | loose for text, _ in texts):
            text, line = next((text, line) for text, line in texts if text not in numeric)
            return Column(_names(cells), NUMBER, f"{text!r} in line {line} is no number with decimal={decimal}")
        return _with_others(cells, texts, numeric, numeric)
    if any(_CODE.fullmatch(text) for text, _ in texts) and all(text.isdigit() for text, _ in texts):
        return Column(_names(cells), NAMES)
    return Column(_parsed(cells, decimal), NUMBER)


def _parsed(cells: "pd.Series[Any]", decimal: str) -> "pd.Series[Any]":
    other = "," if decimal == "." else "."
    plain = [_bare(str(cell)).replace(other, "").replace(decimal, ".") for cell in cells]
    numbers = pd.Series([float(text) if text else np.nan for text in plain], index=cells.index, dtype=float)
    whole = all(re.fullmatch(r"[+-]?[0-9]{1,15}", text) for text in plain)
    return numbers.astype(np.int64) if whole else numbers


def _bare(text: str) -> str:
    """A cell with a plain minus, and without the gaps between thousands."""
    text = text.replace("\u2212", "-")
    gaps = _GAPS.fullmatch(text)
    return text.replace(gaps["gap"], "") if gaps else text


def parse_number(text: str, decimal: str = "") -> float | None:
    """The number that one cell means; None where it is none, or infinite.

    Args:
        text: the cell.
        decimal: the decimal sign, where it was said: the other sign then parts thousands. Not said: a point, and no
            thousands.
    """
    bare = _bare(text)
    if not (_COMMA if decimal == "," else _POINT).fullmatch(bare):
        other = "," if decimal == "." else "."
        if not (decimal and _THOUSANDS[other].fullmatch(bare)):
            return None
        bare = bare.replace(other, "")
    value = float(bare.replace(",", ".") if decimal == "," else bare)
    return value if np.isfinite(value) else None


def thousands_doubt(texts: list[tuple[str, int]], sign: str) -> str:
    """Why numbers with this sign may be thousands, or nothing: none of them says that it is the decimal sign.

    All with the sign have three digits after it and none starts with 0; those without it lie below 1000. Where all of
    them have a point the computer's own way of writing is believed; a comma is not.

    Args:
        texts: cells with their lines.
        sign: point or comma.
    """
    signed = [(text, line) for text, line in texts if sign in text]
    bare = [text.lstrip("+-") for text, _ in texts if sign not in text]
    if not signed or not all(_THOUSANDS[sign].fullmatch(text) for text, _ in signed):
        return ""
    if not all(text.isdigit() and len(text) <= 3 for text in bare):
        return ""
    if sign == "." and not bare and not any(text.count(sign) > 1 for text, _ in signed):
        return ""
    text, line = signed[0]
    whole = text.replace(sign, "")
    return (
        f"{text!r} in line {line} may be {whole} with a sign between the thousands, or {text.replace(sign, '.')}; say "
        f"which is the decimal sign: decimal={',' if sign == '.' else '.'} reads {whole}, decimal={sign} the other"
    )


def _with_others(cells: "pd.Series[Any]", texts: list[tuple[str, int]], numeric: set[str], plain: set[str]) -> Column:
    """Names, unless most cells are numbers and too many to be codes: then the others are what is wrong."""
    numbers = [text for text, _ in texts if text in numeric]
    others = [(text, line) for text, line in texts if text not in numeric]
    codes = len(set(numbers)) <= CODES_TO and all(
        text in plain and re.fullmatch(r"[0-9]{1,2}", text) for text in numbers
    )
    if len(numbers) * 2 < len(texts) or codes:
        digits = [(text, line) for text, line in texts if re.match(r"[<>~≤≥]?\s?[+-]?[0-9]", text)]
        if len(digits) == len(texts) and len({text for text, _ in texts}) > CODES_TO:
            text, line = digits[0]
            return Column(
                _names(cells), NAMES, f"numbers with a sign or unit, first {text!r} in line {line}; give bare numbers"
            )
        return Column(_names(cells), NAMES)
    text, line = others[0]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return Column(
        _names(cells),
        NAMES,
        f"{text!r} in line {line}{more} is no number among {len(numbers)} numbers; mend or empty it "
        f"(missing={text} takes the word as an empty cell)",
    )


def one_spelling(values: "pd.Series[Any]") -> tuple["pd.Series[Any]", str]:
    """Labels that differ by case or spaces only, made one: the spelling that occurs most.

    Returns:
        The labels, and a note that names what was joined, or "".
    """
    counts = Counter(str(value) for value in values if value is not None and value == value)
    kinds: dict[str, list[str]] = {}
    for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        kinds.setdefault(folded(label), []).append(label)
    chosen = {label: " ".join(labels[0].split()) for labels in kinds.values() for label in labels}
    joined = [labels for labels in kinds.values() if len(labels) > 1]
    if all(chosen[label] == label for label in chosen):
        return values, ""
    result = values.map(lambda value: value if value is None or value != value else chosen[str(value)])
    note = "; ".join(f"{', '.join(map(repr, labels))} are one level, {chosen[labels[0]]!r}" for labels in joined)
    return result, note


def same_label(given: str, labels: list[str]) -> str:
    """The label of the table that a user's spelling means; the spelling itself where there is none."""
    if given in labels:
        return given
    return next((label for label in labels if folded(label) == folded(given)), given)


def known_order(labels: list[str]) -> list[str] | None:
    """Labels from better to worse, or from less to more, where that order is known; None where it is not.

    Known are the classes of `KNOWN_ORDERS`, numbers by size, stages and grades (``II`` < ``IIIA``, ``pT2`` < ``pT4a``)
    and False < True. Names have no order.
    """
    by_fold = {folded(label): label for label in labels}
    for order in KNOWN_ORDERS:
        if set(by_fold) <= set(order):
            return [by_fold[name] for name in order if name in by_fold]
    if set(by_fold) <= {"false", "true"}:
        return [by_fold[name] for name in ("false", "true") if name in by_fold]
    try:
        numbers = {label: float(label) for label in labels}
        return sorted(labels, key=lambda label: numbers[label])
    except ValueError:
        pass
    graded = {label: _GRADED.fullmatch(folded(label)) for label in labels}
    if not all(graded.values()) or len({(match[1] or "") for match in graded.values() if match}) > 1:
        return None

    def place(label: str) -> tuple[int, str]:
        match = graded[label]
        assert match is not None
        return (_ROMAN[match[2]] if match[2] in _ROMAN else int(match[2])), match[3] or ""

    return sorted(labels, key=place)


def check_levels(term: str, levels: int, rows: int, events: int | None = None) -> None:
    """Refuse a category with more levels than a tenth of the rows (five always may be), or more terms than events.

    Raises:
        InputError: says the column, its levels, and what to do.
    """
    if levels > max(rows / 10, FEW_LEVELS):
        raise InputError(
            f"{term}: {levels} different values in {rows} rows are no category (at most a tenth of the rows); it may "
            f"be a number, a date or an id that was not read as one: mend the column, group its values, or leave it out"
        )
    if events and levels - 1 > events:
        raise InputError(
            f"{term}: {levels} levels make {levels - 1} terms for {events} events; group its levels, or leave it out"
        )


def sentinel_note(name: str, values: npt.NDArray[np.float64]) -> str:
    """A note where a number looks like a code for missing (999, -9), or an age like no age; else empty."""
    known = values[np.isfinite(values)]
    if known.size < 2:
        return ""
    if re.fullmatch(r"(age|alder|alter|ålder|edad|âge|leeftijd)(\W.*|_.*)?", name.casefold()):
        wrong = known[(known < 0) | (known > 120)]
        if wrong.size:
            return (
                f"{name}: {wrong.size} lie outside 0 to 120 (first {wrong[0]:g}); missing={wrong[0]:g} if it is a code"
            )
    for code in (9999.0, 999.0, 99.0, 888.0, -9.0, -99.0, -999.0, -9999.0, 99999.0):
        times = int((known == code).sum())
        rest = known[known != code]
        if not times or not rest.size:
            continue
        spread = float(rest.max() - rest.min())
        far = code > rest.max() + max(spread, 1.0) if code > 0 else code < 0 <= rest.min()
        if far:
            return (
                f"{name}: {code:g} occurs {times} times, the others lie between {rest.min():g} and {rest.max():g}; "
                f"missing={code:g} if it is a code for missing"
            )
    return ""
