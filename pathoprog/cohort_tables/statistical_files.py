"""Files of other statistics programs: Stata, SPSS and SAS, with their value labels, missing codes and dates.

ReadStat, by pyreadstat, reads all of them in one way; pandas reads neither SPSS's missing codes nor SAS's.
"""

import datetime
import math
import re
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
DAY_SECONDS = 86400
EPOCHS = {
    "SAS": datetime.datetime(1960, 1, 1),
    "SPSS": datetime.datetime(1582, 10, 14),
    "Stata": datetime.datetime(1960, 1, 1),
}
"""From where each program counts its dates."""
_PARTED = "[BCDNPS]?"
DATES = {
    ("SAS", "days", "date"): (
        rf"DATE|(DDMMYY|MMDDYY|YYMMDD|MMYY|YYMM|YYQ|YYQR){_PARTED}|YYQZ|YYMON|MONYY|YEAR|QTRR?|MONTH|MONNAME|DAY|DOWNAME"
        r"|WEEKDAY|WEEKDAT[EX]|WORDDAT[EX]|(YY)?WEEK[UVW]|JULIAN|JULDAY|PDJUL[GI]|NENGO|MINGUO|HDATE|HEBDATE"
        r"|NLDATE\w*|EURDF(DD|DE|DN|DWN|MN|MY|WDX|WKX)|([BE]|IS)8601DA"
    ),
    ("SAS", "seconds", "date"): r"DT(DATE|MONYY|WKDATX|YEAR|YYQC)|([BE]|IS)8601DN",
    ("SAS", "seconds", "moment"): r"DATETIME|DATEAMPM|MDYAMPM|EURDFDT|NLDATM\w*|([BE]|IS)8601(DT|DX|DZ|LX)",
    ("SAS", "seconds", "time"): r"TIME|TIMEAMPM|TOD|HHMM|HOUR|MMSS|NLTIM\w*|([BE]|IS)8601(TM|TX|TZ|LZ)",
    ("SPSS", "seconds", "date"): r"[AEJS]?DATE|MOYR|QYR|WKYR",
    ("SPSS", "seconds", "moment"): r"DATETIME|YMDHMS",
    ("SPSS", "seconds", "time"): r"TIME|MTIME",
    ("SPSS", "seconds", "duration"): r"DTIME",
    ("Stata", "days", "date"): r"%-?t?d.*",
    ("Stata", "milliseconds", "moment"): r"%-?t[cC].*",
}
"""What a program counts in a column with a format of such a name, and what it shows of it: a date, a date with a time,
a time of day, or a duration. Some of SAS's formats show the date of what counts seconds. SAS 9.4 Formats and Informats:
Reference, formats by category; IBM SPSS Statistics, variable types and formats; Stata, datetime display formats.
ReadStat knows a part of them, and takes the seconds under SAS's DTDATE for days."""
STATA_PARTS = {"%tm": ("m", 12), "%tq": ("q", 4), "%tw": ("w", 52), "%th": ("h", 2)}
"""Stata's dates without days: how they are shown, and how many make a year; numbers count from 1960."""
_SAS_NUMBERS = re.compile(
    r"(BEST|BESTX|D|E|F|Z|COMMA|COMMAX|DOLLAR|DOLLARX|EURO|EUROX|NUMX|PERCENT|PERCENTN|NEGPAREN|FRACT|ROMAN|WORDS|WORDF|SSN"
    r"|YEN|HEX|BINARY|OCTAL|PVALUE|NL(NUM|MNY|PCT|BEST)\w*)?[0-9]*(\.[0-9]*)?"
)


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
    how: dict[str, Any] = {"disable_datetime_conversion": True} | ({"encoding": encoding} if encoding else {})
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
        form = about.original_variable_types.get(name) or ""
        if program == "Stata":
            cells = _in_parts(cells, form)
            if form.replace("-", "").startswith("%tb"):
                notes.append(f"the column {name!r} has dates of a business calendar ({form}): its numbers stay")
        cells = _as_dates(cells, program, form, f"{path}: the column {name!r}")
        there = [row for row, cell in enumerate(cells) if isinstance(cell, datetime.date)]
        if there:
            dates[name] = there
        columns.append(cells)
    if labelled:
        remedy = f"; for the codes {say.format('value_labels', 'false')}" if say else ""
        notes.append(f"codes were read as their labels: {'; '.join(labelled)}{remedy}")
    if program == "SAS" and (coded := _coded_elsewhere(about)):
        notes.append(f"the labels of {coded} lie in a catalog of SAS, which is not read: their codes stay as they are")
    if about.file_encoding and about.file_encoding.upper() not in ("UTF-8", "UTF8", "US-ASCII", "ASCII"):
        notes.append(f"the file says that its texts are in {about.file_encoding}")
    return StatisticalFile(names, [list(row) for row in zip(*columns, strict=True)], tuple(notes), dates)


def _in_parts(cells: list[Any], form: str) -> list[Any]:
    """Stata's months, quarters, weeks and halves of years, as Stata shows them: ``2020m1``; all else as it is."""
    sign, of_year = STATA_PARTS.get(form.replace("-", "")[:3], ("", 0))
    if not sign:
        return cells
    whole = [isinstance(cell, int | float) and cell == int(cell) for cell in cells]
    return [
        f"{1960 + int(cell) // of_year}{sign}{int(cell) % of_year + 1}" if counted else cell
        for cell, counted in zip(cells, whole, strict=True)
    ]


def _counted(program: str, form: str) -> tuple[str, str]:
    """What a program counts under a format, and shows, as `DATES` says it; empty where it is no date."""
    name = form if program == "Stata" else re.sub(r"[0-9]*(\.[0-9]*)?$", "", form.upper())  # E8601DT19.3: E8601DT
    for (whose, unit, shown), names in DATES.items():
        if whose == program and re.fullmatch(names, name):
            return unit, shown
    return "", ""


def _as_dates(cells: list[Any], program: str, form: str, where: str) -> list[Any]:
    """Numbers as dates, as dates with a time, as times of day or durations (days, if any is a day or more).

    Raises:
        InputError: a number is no day of the calendar.
    """
    unit, shown = _counted(program, form)
    numbers = [cell for cell in cells if isinstance(cell, int | float)]
    if not shown or not numbers:
        return cells
    if shown == "time" and not all(0 <= number < DAY_SECONDS for number in numbers):
        shown = "duration"
    result = []
    for cell in cells:
        if not isinstance(cell, int | float):
            result.append(cell)
            continue
        try:
            since = datetime.timedelta(**{unit: math.floor(cell) if unit == "days" else round(cell, 6)})
            at = EPOCHS[program] + since
        except OverflowError as error:
            raise InputError(
                f"{where} holds a date that is none ({cell:.15g} {unit} from {EPOCHS[program]:%Y-%m-%d}); mend it in "
                f"{program}, or save the table from {program} as CSV"
            ) from error
        result.append({"date": at.date(), "moment": at, "time": at.time(), "duration": since}[shown])
    return result


def _coded_elsewhere(about: Any) -> str:
    """Columns of SAS with a format that is none of SAS's own: a user's labels."""
    own = []
    for name, form in about.original_variable_types.items():
        text = (form or "").upper()
        kind = str(about.readstat_variable_types.get(name, ""))
        if text.startswith("$"):
            if re.fullmatch(r"\$(CHAR|ASCII|HEX|QUOTE|UPCASE|VARYING|UTF\w*|F)?[0-9]*\.?", text) is None:
                own.append(f"{name!r} ({text})")
        elif kind != "string" and not _counted("SAS", text)[1] and _SAS_NUMBERS.fullmatch(text) is None:
            own.append(f"{name!r} ({text})")
    return ", ".join(own[:SHOWN_LABELS]) + (" …" if len(own) > SHOWN_LABELS else "")


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
    if re.search(r"date value out of range|must have magnitude", error):
        return f"{path}: holds a date that is none ({error}); mend it in {program}, or {anew}"
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
