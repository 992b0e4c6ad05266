"""Messy sheets as hospitals send them, built from one small clean table."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

N = 60
SURVIVAL = ("time=days", "event=dead", "group=class", "covariates=age", "horizons=700")
QUICK = ("bootstrap=0", "figures=false", "sample_size=false")
MAPPING = """\
columns:
  patient_id: Patient
  slide_id: Slide
  slide_path: {template: "slides/{Slide}.svs"}
  cohort: {value: north}
  role: {value: external}
  age: Age
followup: {column: Days, unit: days}
event:
  - {when: {Dead: ["1"]}, is: event}
  - {when: {Dead: ["0"]}, is: none}
"""


def clean() -> pd.DataFrame:
    """Sixty patients: worse class, worse survival; ages with halves; text as a CSV holds it."""
    rows = []
    for k in range(N):
        worse = k % 3 == 0
        days = 90 + (k * 173) % 1400 // (2 if worse else 1)
        rows.append(
            (
                f"P{k:02d}",
                str(days),
                "1" if (k * 7) % 10 < (8 if worse else 5) else "0",
                "poor" if worse else "good",
                f"{50 + (k * 11) % 45 / 2:g}",
                ("dårlig", "usikker", "god")[k % 3],
            )
        )
    return pd.DataFrame(rows, columns=["patient", "days", "dead", "class", "age", "klasse"])


def sheet() -> pd.DataFrame:
    """Twelve rows of a clinical sheet for `cohort`."""
    rows = [(f"P{k:02d}", f"S{k:02d}", f"{60.5 + k}", str(300 + 80 * k), str(k % 2)) for k in range(12)]
    return pd.DataFrame(rows, columns=["Patient", "Slide", "Age", "Days", "Dead"])


@dataclass(frozen=True)
class Case:
    """One messy sheet.

    Attributes:
        what: what is odd about it, for the document.
        build: writes it into a folder and returns its path.
        call: settings of the command beside the table and `out`.
        code: the exit code.
        says: a part of the one line of the answer that the document prints.
        command: ``survival`` or ``cohort``.
        mapping: of `cohort`.
    """

    what: str
    build: Callable[[Path], Path]
    call: tuple[str, ...] = SURVIVAL
    code: int = 0
    says: str = "Cox multivariable: age: HR"
    command: str = "survival"
    mapping: str = ""
    same: bool = field(default=False)


def text(
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
    separator: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8",
    quoted: bool = False,
    name: str = "sheet.csv",
    after: Callable[[str], str] = lambda written: written,
    source: Callable[[], pd.DataFrame] = clean,
) -> Callable[[Path], Path]:
    """A text file of the changed table."""

    def build(folder: Path) -> Path:
        frame = change(source())
        for column in ("age", "Age"):
            if column in frame and decimal == ",":
                frame[column] = frame[column].str.replace(".", ",", regex=False)
        mark = '"' if quoted else ""
        lines = [separator.join(f"{mark}{cell}{mark}" for cell in row) for row in [frame.columns, *frame.to_numpy()]]
        path = folder / name
        path.write_bytes(after("\n".join(lines) + "\n").encode(encoding))
        return path

    return build


def excel(work: Callable[[Any], None], source: Callable[[], pd.DataFrame] = clean) -> Callable[[Path], Path]:
    """A workbook of the table, numbers as numbers, then worked on."""

    def build(folder: Path) -> Path:
        import openpyxl

        book = openpyxl.Workbook()
        tab = book.active
        frame = source()
        tab.append(list(frame.columns))
        for row in frame.to_numpy():
            tab.append([float(cell) if cell.replace(".", "", 1).isdigit() else cell for cell in row])
        work(book)
        path = folder / "sheet.xlsx"
        book.save(path)
        return path

    return build


def put(column: str, value: Any, *rows: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Set cells; a value may be a function of the old one."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for row in rows or range(len(frame)):
            old = frame.loc[row, column]
            frame.loc[row, column] = value(old) if callable(value) else value
        return frame

    return change


def both(*changes: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """One change after the other."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for one in changes:
            frame = one(frame)
        return frame

    return change


def dotted(sign: str) -> Callable[[str], str]:
    """A number with a sign between its thousands."""
    return lambda days: f"{int(days):,}".replace(",", sign)


def dates_in_excel(book: Any) -> None:
    for row in range(2, N + 2):
        book.active.cell(row, 2).value = datetime.datetime(2019, 1, 1) + datetime.timedelta(days=row)


def durations_in_excel(book: Any) -> None:
    for row in range(2, N + 2):
        cell = book.active.cell(row, 2)
        cell.value, cell.number_format = datetime.timedelta(days=cell.value), "[h]:mm:ss"


def codes_in_excel(book: Any) -> None:
    for row in range(2, N + 2):
        cell = book.active.cell(row, 4)
        cell.value, cell.number_format = (1 if cell.value == "good" else 2), "000"


def two_sheets(book: Any) -> None:
    book.create_sheet("Read me").append(["notes"])


def readme_first(book: Any) -> None:
    book.active.title = "Data"
    book.create_sheet("Read me", 0).append(["notes"])


def hidden_first(book: Any) -> None:
    book.active.title = "Data"
    book.create_sheet("old", 0).append(["notes"])
    book["old"].sheet_state = "hidden"
    book.active = 1


def merged(book: Any) -> None:
    book.active.merge_cells("D2:D4")


def formulas(book: Any) -> None:
    for row in range(2, N + 2):
        book.active.cell(row, 5).value = f"=60+{row}"


def texts_in_excel(book: Any) -> None:
    for row in range(2, N + 2):
        book.active.cell(row, 5).value = str(book.active.cell(row, 5).value).replace(".", ",")


def ids_in_excel(book: Any) -> None:
    for row in range(2, 14):
        cell = book.active.cell(row, 1)
        cell.value, cell.number_format = row - 1, "000"
    book.active.cell(3, 1).value = "NULL"


def web_page(folder: Path) -> Path:
    path = folder / "sheet.csv"
    path.write_text("<html><table><tr><td>days</td></tr></table></html>")
    return path


def old_excel(folder: Path) -> Path:
    path = folder / "sheet.xls"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
    return path
