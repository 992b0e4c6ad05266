"""Sheets as they come from other countries and other hands: read by the one meaning they have, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pathoprog.cli import main
from pathoprog.cohort_tables.columns import NAMES, NUMBER, parse_number, read_column

QUICK = ["bootstrap=0", "sample_size=false", "figures=false"]
ROWS = [(f"P{i:02d}", 300 + 97 * i, int(i % 3 != 0), ("good", "uncertain", "poor")[i % 3]) for i in range(30)]


def asked(
    folder: Path, capsys: pytest.CaptureFixture[str], *more: str, head: str = "patient_id,days,dead,class"
) -> Callable[..., tuple[int, str]]:
    def run(
        change: Callable[[int, tuple[str, int, int, str]], tuple[object, ...]] = lambda _, row: row,
    ) -> tuple[int, str]:
        path = folder / "sheet.csv"
        lines = [head, *(",".join(f'"{cell}"' for cell in change(i, row)) for i, row in enumerate(ROWS))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        call = ["survival", str(path), "time=days", "event=dead", "group=class", f"out={folder / 'out'}"]
        code = main([*call, *QUICK, *more])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.mark.parametrize("gap", ["'", "\u2019", " ", "\u00a0", "\u202f", "\u2009"])
def test_thousands_parted_by_an_apostrophe_or_a_space_are_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gap: str
):
    run = asked(tmp_path, capsys)
    code, plain = run()
    assert code == 0
    assert run(lambda _, row: (row[0], f"{row[1]:,}".replace(",", gap), *row[2:])) == (0, plain)
    cells = pd.Series([f"1{gap}234,5", "12,5", f"-2{gap}000{gap}000,25", ""])
    assert read_column(cells).values.tolist()[:3] == [1234.5, 12.5, -2_000_000.25]
    assert parse_number(f"1{gap}234.5") == 1234.5 and parse_number(f"1{gap}234,5", ",") == 1234.5


@pytest.mark.parametrize("text", ["1'23", "12 34", "0 123", "1 234'567", "1234 567", "1 234 56"])
def test_other_gaps_are_no_thousands(text: str):
    assert parse_number(text) is None
    found = read_column(pd.Series(["5", "61", "72", "83", "104", "95", "206", "307", "408", "509", "610", text]))
    assert found.kind == NAMES and repr(text) in found.problem
    assert read_column(pd.Series(["1 234", "9 876", "12"])).kind == NUMBER


@pytest.mark.parametrize("name", ["pasientnr", "MRN", "Case ID", "Subject no.", "Patient number", "fødselsnummer"])
def test_several_rows_of_one_patient_are_said_whatever_the_column_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    run = asked(tmp_path, capsys, head=f"{name},days,dead,class")
    code, said = run(lambda i, row: ("P00" if i < 3 else row[0], *row[1:]))
    assert code == 0 and f"the column '{name}' holds 28 different values in 30 rows" in said
    assert "different values" not in run()[1]


def test_ids_that_differ_by_case_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, said = asked(tmp_path, capsys)(lambda i, row: ("p03" if i == 7 else row[0], *row[1:]))
    assert code == 2 and "patient_id: 'P03', 'p03' differ by upper and lower case or spaces only" in said


def test_a_level_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, said = asked(tmp_path, capsys, "levels=good,uncertain,poor,Good")()
    assert code == 2 and "levels: good stands there twice" in said


def test_horizons_in_years_on_days_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, said = asked(tmp_path, capsys, "horizons=3,5", "unit=days")()
    text = " ".join(said.split())
    assert code == 0
    assert "horizon 3, 5 lies before the first event (397): nothing has happened by then" in text
    assert "before the first event" not in asked(tmp_path, capsys, "horizons=1095", "unit=days")()[1]
