"""One reader of users' tables: CSV, Excel, Parquet, Stata, SPSS, SAS as cells of text, with what must be known of them.

Every cell is text as the sheet shows it (``001`` stays ``001``), dates as ISO, durations as `datetime.timedelta`, empty
cells and the empty words ``""``. What a column means is decided by `pathoprog.cohort_tables.columns`.
"""

import csv
import datetime
import gzip
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.statistical_files import PROGRAMS, read_statistical_file
from pathoprog.cohort_tables.text_files import check_header, check_separator, decoded, lost_letters, separator_of
from pathoprog.errors import InputError
from pathoprog.system.csv_files import unquoted

EMPTY_WORDS = (
    "na", "n/a", "#n/a", "nan", "null", "nat", "<na>", "[not available]", "[not applicable]", "[unknown]", "--", "'--",
)  # fmt: skip
"""Words that mean an empty cell, in any case. ``None`` is none of them: "no treatment" is an answer."""
EXCEL, PARQUET = (".xlsx", ".xlsm"), (".parquet", ".pq")
MOST_BYTES_WHOLE = 10_000_000  # of a workbook that is read with its merged cells; a larger one is streamed

_EXCEL_TEXT = re.compile(r'^="([^"]*)"$')  # how a text of digits is kept from becoming a number: ="001"
Cell = str | datetime.timedelta


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in its file.

    Attributes:
        frame: one row a line of the table; cells are text, or `datetime.timedelta` (n, p).
        lines: the line, or the row of the workbook, of each row of `frame` (n,).
        notes: what a reader must know: which sheet, columns twice, empty rows.
        sheets: names of all sheets of a workbook, the one that was read first; empty for other files.
        dates: columns of a workbook with cells typed as dates, and the rows of `frame` where they are.
        repeated: columns whose name stood there twice.
    """

    frame: pd.DataFrame
    lines: list[int]
    notes: tuple[str, ...] = ()
    sheets: tuple[str, ...] = ()
    dates: dict[str, list[int]] | None = None
    repeated: tuple[str, ...] = ()


def read_sheet_file(
    path: str | Path,
    sheet: str = "",
    encoding: str = "",
    missing: tuple[str, ...] = (),
    say: str = "",
    value_labels: bool = True,
) -> Sheet:
    """Read a table of any kind.

    Args:
        path: CSV (commas, semicolons, tabs or bars; also ``.gz``), Excel (``.xlsx``, ``.xlsm``), Parquet, Stata
            (``.dta``), SPSS (``.sav``, ``.zsav``) or SAS (``.sas7bdat``, ``.xpt``).
        sheet: of a workbook; default: the first that is not hidden.
        encoding: of a text file; default: UTF-8, or UTF-16 with its mark; of Stata, SPSS or SAS, what the file names.
        missing: further words that mean an empty cell, as they are written.
        say: how whoever reads a message can give encoding or sheet, with ``{}`` for the setting's name and its value;
            empty where neither can be given, and the file must be saved anew.
        value_labels: codes of Stata and SPSS that have a label become that label; False keeps the codes.

    Raises:
        InputError: no such file or sheet, another format or encoding, lines that do not fit the header, or no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    data = b"" if suffix in (*PARQUET, *PROGRAMS) else path.read_bytes()
    foreign = data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or b"vnd.oasis.opendocument" in data[:100]
    if foreign or suffix in (".xls", ".xlsb", ".ods", ".numbers"):
        raise InputError(f"{path}: an old or foreign workbook (.xls, .xlsb, .ods) is not read; save it as .xlsx or CSV")
    if data[:2] == b"PK" or suffix in EXCEL:
        found = _workbook(path, sheet, say)
    elif sheet:
        raise InputError(f"{path}: sheet={sheet!r} belongs to an Excel file")
    elif suffix in PROGRAMS:
        found = _of_program(path, encoding, value_labels, say)
    elif suffix in PARQUET:
        found = _parquet(path)
    else:
        found = _text_table(path, data, encoding, say)
    if found.frame.empty:
        others = ""
        if found.sheets[1:]:
            remedy = f"give {say.format('sheet', 'NAME')}" if say else "put the table into the first"
            others = f" of sheet {found.sheets[0]!r}; there are also {', '.join(map(repr, found.sheets[1:]))}: {remedy}"
        raise InputError(f"{path}: no rows below the header{others}")
    empty = set(missing)
    for name in found.frame.columns:
        cells = [_without_empty(cell, empty) for cell in found.frame[name]]
        found.frame[name] = pd.Series(cells, index=found.frame.index, dtype=object)
    return found


def _without_empty(cell: Cell, missing: set[str]) -> Cell:
    if isinstance(cell, str) and (cell.casefold() in EMPTY_WORDS or cell in missing):
        return ""
    return cell


def _table(path: Path, rows: list[tuple[int, list[Cell]]], notes: list[str]) -> Sheet:
    """Header and rows as a frame; empty rows and columns fall away, names that repeat get ``.1``."""
    while rows and not any(cell != "" for cell in rows[0][1]):
        rows.pop(0)
    if not rows:
        raise InputError(f"{path}: the file is empty: no UTF-8 CSV table with a header, and no workbook")
    head = [unicodedata.normalize("NFC", str(cell)).strip() for cell in rows[0][1]]
    used = max((place + 1 for _, cells in rows for place, cell in enumerate(cells) if cell != ""), default=0)
    del head[used:]  # columns without name and without cells
    width = len(head)
    below = next((cells for _, cells in rows[1:] if any(cell != "" for cell in cells)), [])
    notes += check_header(path, rows[0][0], head, [str(cell) for cell in below])
    kept, lines, short, blank = [], [], [], 0
    for line, cells in rows[1:]:
        if not any(cell != "" for cell in cells):
            blank += len(cells) > 1
            continue
        if any(cell != "" for cell in cells[width:]):
            hint = "; a decimal comma without quotes does this in a file with commas" if path.suffix != ".xlsx" else ""
            raise InputError(
                f"{path}: line {line} has {len(cells)} cells, the header (line {rows[0][0]}) {width}: a separator or a "
                f"quote is wrong there, a column has no name, or the first line is a title{hint}"
            )
        if len(cells) < width:
            short.append(line)
        kept.append([*cells[:width], *([""] * (width - len(cells)))])
        lines.append(line)
    if short:
        notes.append(f"lines shorter than the header: {len(short)} (first line {short[0]}); their last cells are empty")
    if blank:
        notes.append(f"empty rows passed over: {blank}")
    names: list[str] = []
    repeated: list[str] = []
    for place, name in enumerate(head):
        label = name or f"column {place + 1}"
        number, free = 0, label
        while free in names:
            number += 1
            free = f"{label}.{number}"
        if number:
            repeated.append(label)
            notes.append(f"the column {label!r} is there twice: the first is {label!r}, this one is read as {free!r}")
        names.append(free)
    columns = list(zip(*kept, strict=True)) if kept else [()] * width
    frame = pd.DataFrame(
        {name: pd.Series(list(cells), dtype=object) for name, cells in zip(names, columns, strict=True)}
    )
    return Sheet(frame, lines, tuple(notes), repeated=tuple(dict.fromkeys(repeated)))


def _text_table(path: Path, data: bytes, encoding: str, say: str) -> Sheet:
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: cannot be unpacked ({error})") from error
    text = decoded(path, data, encoding, say)
    if re.match(r"\s*<(!doctype|html|table)\b", text[:200], re.IGNORECASE):
        raise InputError(f"{path}: a web page, whatever its name; save the table as CSV or .xlsx")
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"\"?sep=(.|\\t)\"?\s*", first.strip("\r\n"), re.IGNORECASE)  # Excel's own first line
    skipped = 0
    if told:
        text, skipped = rest, 1
    text, comments = _without_comments(text)
    skipped += comments
    notes = [f"comment lines at the top passed over: {comments} (they begin with #)"] if comments else []
    separator = told[1].replace("\\t", "\t") if told else separator_of(text)
    check_separator(path, text, separator)
    rows: list[tuple[int, list[Cell]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    start = 1
    try:
        for cells in reader:
            rows.append((start + skipped, [unquoted(_EXCEL_TEXT.sub(r"\1", _cleaned(cell))) for cell in cells]))
            start = reader.line_num + 1
    except csv.Error as error:
        what = "a quote is opened there and never closed" if "unexpected end" in str(error) else str(error)
        raise InputError(f"{path}: line {start + skipped} cannot be read: {what}") from error
    return _table(path, rows, [*notes, *lost_letters(text, skipped)])


def _without_comments(text: str) -> tuple[str, int]:
    """A text without the lines at its top that begin with ``#``, and how many they are.

    cBioPortal's clinical files have four or five. One alone is a header whose first column is called so.
    """
    comments = re.match(r"(?:#[^\n]*\n){2,}", text)
    return (text, 0) if comments is None else (text[comments.end() :], comments[0].count("\n"))


def _cleaned(cell: str) -> str:
    """A cell without spaces, no-break spaces and invisible marks around it."""
    return cell.strip().strip("\ufeff\u200b").strip()


def _parquet(path: Path) -> Sheet:
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError, ImportError) as error:
        raise InputError(
            f"{path}: cannot be read as a table: no sound Parquet file ({' '.join(str(error).split())})"
        ) from error
    frame = frame.reset_index(drop=True)
    head: list[Cell] = [str(name) for name in frame.columns]
    cells = [[cell_text(value) for value in frame.iloc[:, place]] for place in range(frame.shape[1])]
    rows: list[tuple[int, list[Cell]]] = [(1, head)]
    rows += [(line, list(row)) for line, row in enumerate(zip(*cells, strict=True), start=2)]
    return _table(path, rows, [])


def _of_program(path: Path, encoding: str, value_labels: bool, say: str) -> Sheet:
    read = read_statistical_file(path, encoding, value_labels, say)
    rows: list[tuple[int, list[Cell]]] = [(0, list(read.names))]  # line 1 is the first row, as these programs count
    rows += [(line, [cell_text(value) for value in row]) for line, row in enumerate(read.rows, start=1)]
    found = _table(path, rows, list(read.notes))
    where = {line - 1: row for row, line in enumerate(found.lines)}
    dates = {name: [where[row] for row in there if row in where] for name, there in read.dates.items()}
    return Sheet(found.frame, found.lines, found.notes, (), dates, found.repeated)


def cell_text(value: Any) -> Cell:
    """A value of Python or numpy as a cell."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, pd.Timedelta):
        return value.to_pytimedelta()
    if isinstance(value, datetime.timedelta):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return _cleaned(str(value))


def plain(value: Any) -> str:
    """A cell as text: no spaces around it, whole numbers without ``.0``, durations as days."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds() / 86_400:g}"
    text = str(cell_text(value)).strip()
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def _workbook(path: Path, wanted: str, say: str) -> Sheet:
    from zipfile import BadZipFile

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    whole = path.stat().st_size <= MOST_BYTES_WHOLE
    try:
        with path.open("rb") as stream:
            book = openpyxl.load_workbook(stream, data_only=True, read_only=not whole)
            shown = [tab.title for tab in book.worksheets if tab.sheet_state == "visible"]
            title = wanted or (shown or book.sheetnames or [""])[0]
            if title not in [tab.title for tab in book.worksheets]:
                there = ", ".join(repr(tab.title) for tab in book.worksheets) or "none"
                raise InputError(f"{path}: no sheet {title!r}; there are {there}")
            tab = book[title]
            if not whole:
                tab.reset_dimensions()
            rows, dates, nothing, percent = _rows_of(tab)
            hidden = [line for line, row in tab.row_dimensions.items() if row.hidden] if whole else []
            merged = [str(area) for area in tab.merged_cells.ranges] if whole else []
    except (InvalidFileException, BadZipFile, KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as a table: no sound Excel file ({' '.join(str(error).split())})"
        ) from error
    others = [name for name in book.sheetnames if name != title]
    notes = []
    if others:
        remedy = f": {say.format('sheet', 'NAME')}" if say else ""
        notes.append(f"sheet {title!r} was read; the workbook also holds {', '.join(map(repr, others))}{remedy}")
    if merged:
        notes.append(
            f"merged areas: {len(merged)} ({', '.join(merged[:3])}{', …' if len(merged) > 3 else ''}); only the first "
            "cell of each holds its value, the others are empty"
        )
    if hidden:
        said = f"hidden rows, by a filter perhaps: {len(hidden)} (first {hidden[0]})"
        notes.append(f"{said}; they were read as all others")
    formulas = _formulas_without_value(path, title, nothing) if whole and nothing else []
    if formulas:
        raise InputError(
            f"{path}: {len(formulas)} formulas of sheet {title!r} have no stored value (first in {formulas[0]}); open "
            "and save the file in Excel, or paste the values"
        )
    found = _table(path, rows, notes)
    where = {line: row for row, line in enumerate(found.lines)}
    names = list(found.frame.columns)
    in_percent = ", ".join(repr(names[place]) for place in sorted(percent) if place < len(names))
    dated: dict[str, list[int]] = {}
    for line, place in dates:
        if line in where and place < len(names):
            dated.setdefault(names[place], []).append(where[line])
    more = (f"shown in percent, read as shares of 1: {in_percent}",) if in_percent else ()
    return Sheet(found.frame, found.lines, (*found.notes, *more), (title, *others), dated, found.repeated)


def _rows_of(tab: Any) -> tuple[list[tuple[int, list[Cell]]], list[tuple[int, int]], set[tuple[int, int]], set[int]]:
    """Cells of a worksheet by row; where dates are, where nothing is (row from 1, column from 0); percent's columns."""
    rows: list[tuple[int, list[Cell]]] = []
    dates: list[tuple[int, int]] = []
    nothing: set[tuple[int, int]] = set()
    percent: set[int] = set()
    for line, row in enumerate(tab.iter_rows(), start=1):
        cells: list[Cell] = []
        for place, cell in enumerate(row):
            value = cell.value
            if value is None:
                nothing.add((line, place))
            elif isinstance(value, datetime.date):
                dates.append((line, place))
            elif isinstance(value, int | float) and "%" in (cell.number_format or ""):
                percent.add(place)
            shown = as_shown(value, cell.number_format) if isinstance(value, int | float) else None
            cells.append(cell_text(value) if shown is None else shown)
        rows.append((line, cells))
    return rows, dates, nothing, percent


def as_shown(value: int | float, number_format: str) -> str | None:
    """A number that its cell shows as a code (``001``, ``P-01``), as that text; None for all other formats."""
    if isinstance(value, bool) or value != int(value) or value < 0:
        return None
    first = (number_format or "").split(";")[0]
    parts = re.findall(r'"[^"]*"|\\.|[0]+|[-/ ]|.', first)
    literal = [re.fullmatch(r'"([^"]*)"|\\(.)|([-/ ])', part) for part in parts]
    if any(not mark and not set(part) <= {"0"} for part, mark in zip(parts, literal, strict=True)):
        return None
    zeros = sum(len(part) for part, mark in zip(parts, literal, strict=True) if not mark)
    if not zeros or literal[-1] or (zeros < 2 and not literal[0]):
        return None
    digits = str(int(value)).zfill(zeros)
    head, tail = digits[: len(digits) - zeros], list(digits[len(digits) - zeros :])
    text = ""
    for part, mark in zip(parts, literal, strict=True):
        if mark:
            text += next(group for group in mark.groups() if group is not None)
        else:
            text += head + "".join(tail[: len(part)])
            head, tail = "", tail[len(part) :]
    return text


def _formulas_without_value(path: Path, title: str, nothing: set[tuple[int, int]]) -> list[str]:
    """Cells that hold a formula whose value was never stored."""
    import openpyxl

    with path.open("rb") as stream:
        tab = openpyxl.load_workbook(stream, read_only=False)[title]
        return [
            cell.coordinate
            for line, row in enumerate(tab.iter_rows(), start=1)
            for place, cell in enumerate(row)
            if cell.data_type == "f" and (line, place) in nothing
        ]
