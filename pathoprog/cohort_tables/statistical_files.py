"""Files of other statistics programs: Stata, SPSS and SAS, with their value labels, missing codes and dates.

ReadStat, by pyreadstat, reads all of them in one way; pandas reads neither SPSS's missing codes nor SAS's.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoprog.errors import InputError
from pathoprog.text.wording import count

PROGRAMS = {
    ".dta": ("Stata", "read_dta"),
    ".sav": ("SPSS", "read_sav"),
    ".zsav": ("SPSS", "read_sav"),
    ".sas7bdat": ("SAS", "read_sas7bdat"),
    ".xpt": ("SAS", "read_xport"),
}
"""By ending: whose file it is, and what of pyreadstat reads it."""
SHOWN_LABELS = 4


@dataclass(frozen=True)
class StatisticalFile:
    """What such a file holds, as its program shows it.

    Attributes:
        names: of the columns (p,).
        rows: their cells: numbers, texts, dates, labels, or None where a value is missing (n of p).
        notes: which codes were read as which labels, which as missing, and the file's encoding where it is not UTF-8.
        dates: columns of dates, and the rows where they are.
    """

    names: list[str]
    rows: list[list[Any]]
    notes: tuple[str, ...]
    dates: dict[str, list[int]]


def read_statistical_file(path: Path, encoding: str, labels: bool, say: str) -> StatisticalFile:
    """Read a file of Stata, SPSS or SAS.

    Args:
        path: ends in one of `PROGRAMS`.
        encoding: of its texts; default: what the file says of itself.
        labels: a code that has a value label becomes that label; else the code stays.
        say: how whoever reads a message can give a setting, as in `sheets.read_sheet_file`.

    Raises:
        InputError: no sound file of this kind, or texts in another encoding.
    """
    import pyreadstat

    program, reader = PROGRAMS[path.suffix.lower()]
    how: dict[str, Any] = {"encoding": encoding} if encoding else {}
    if path.suffix.lower() != ".xpt":
        how["user_missing"] = True
    try:
        frame, about = getattr(pyreadstat, reader)(str(path), **how)
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, ValueError, OverflowError, OSError) as error:
        raise InputError(_said(path, program, encoding, " ".join(str(error).split()), say)) from error
    names = [str(name) for name in frame.columns]
    columns: list[list[Any]] = []
    notes: list[str] = []
    dates: dict[str, list[int]] = {}
    labelled: list[str] = []
    for place, name in enumerate(names):
        cells = [None if value != value else value for value in frame.iloc[:, place]]
        missing = [_is_missing(cell, name, about) for cell in cells]
        if any(missing):
            which = sorted({_shown(cell) for cell, gone in zip(cells, missing, strict=True) if gone})
            notes.append(
                f"the column {name!r}: {count(sum(missing), 'cell')} with a code that {program} counts as missing "
                f"({', '.join(which[:SHOWN_LABELS])}{' …' if len(which) > SHOWN_LABELS else ''}) read as empty"
            )
            cells = [None if gone else cell for cell, gone in zip(cells, missing, strict=True)]
        known = about.variable_value_labels.get(name, {})
        if known and labels:
            used = {cell: known[cell] for cell in cells if cell is not None and cell in known}
            cells = [used.get(cell, cell) for cell in cells]
            labelled += [_labelled(name, used)] if used else []
        there = [row for row, cell in enumerate(cells) if isinstance(cell, datetime.date)]
        if there:
            dates[name] = there
        columns.append(cells)
    if labelled:
        remedy = f"; for the codes {say.format('value_labels', 'false')}" if say else ""
        notes.append(f"codes were read as their labels: {'; '.join(labelled)}{remedy}")
    if about.file_encoding and about.file_encoding.upper() not in ("UTF-8", "UTF8", "US-ASCII", "ASCII"):
        notes.append(f"the file says that its texts are in {about.file_encoding}")
    return StatisticalFile(names, [list(row) for row in zip(*columns, strict=True)], tuple(notes), dates)


def _said(path: Path, program: str, encoding: str, error: str, say: str) -> str:
    """What is wrong, where, and what to do."""
    anew = f"save the table from {program} as CSV"
    if "character set" in error or "LookupError" in error:
        if encoding:
            return f"encoding={encoding!r} is not known; such as utf-8, cp1252, latin1"
        return f"{path}: its texts are in an encoding that cannot be read; {anew}"
    if "byte sequence" in error or "codec" in error:
        if encoding:
            return f"{path}: holds texts that are not in {encoding}; leave encoding out, or try another"
        remedy = f"give {say.format('encoding', 'cp1252')}, or {anew}" if say else anew
        return f"{path}: holds texts that are not in the encoding that the file names; {remedy}"
    return f"{path}: cannot be read as a table: no sound {program} file ({error}); {anew}"


def _is_missing(cell: Any, name: str, about: Any) -> bool:
    """Whether a value is one of those that its program counts as missing: SPSS's ranges, Stata's and SAS's letters."""
    if cell is None:
        return False
    for one in about.missing_ranges.get(name, ()):
        low, high = one["lo"], one["hi"]
        alike = isinstance(cell, str) == isinstance(low, str) and isinstance(cell, str | int | float)
        if alike and low <= cell <= high:
            return True
    return cell in about.missing_user_values.get(name, ())


def _labelled(name: str, used: dict[Any, str]) -> str:
    pairs = [f"{_shown(code)} = {text!r}" for code, text in sorted(used.items(), key=lambda pair: str(pair[0]))]
    return f"{name!r} ({', '.join(pairs[:SHOWN_LABELS])}{' …' if len(pairs) > SHOWN_LABELS else ''})"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
