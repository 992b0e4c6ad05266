"""Mapping files: read whole, refused where they are unclear; sheets as CSV and Excel."""

from pathlib import Path

import pandas as pd
import pytest
from made_sheet import MAPPING, write_mapping

from pathoprog.cohort_tables.conditions import holds
from pathoprog.cohort_tables.mapping import read_mapping, read_sheet
from pathoprog.cohort_tables.sheets import read_sheet_file
from pathoprog.errors import InputError


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("columns:", "colums:", "must hold columns, followup and event"),
        ("  slide_id: Slide\n", "", "columns must say where"),
        ("{value: north}", "{value: north, column: C}", "exactly one of column, value and template"),
        ("{value: north}", "{valu: north}", "columns.cohort must be a column's name"),
        ("to_unit: years", "to_unit: eons", "unit and to_unit must both be given"),
        (", to_unit: years", "", "unit and to_unit must both be given"),
        ("unit: days", "unit: moons", "followup.unit='moons'"),
        ("{column: Days, unit: days}", "{start: A}", "followup must hold column and unit, or start, end"),
        ("is: competing", "is: other", "is must be one of competing, event, none"),
        ('when: {Neo: ["yes"]}', 'if: {Neo: ["yes"]}', "each must be {when"),
        ("{below: 216}", "{under: 216}", "one of below, above, missing"),
        ("columns:", "columns: [", "no YAML"),
        ("cohort: {value: north}", 'cohort: "?"', "still to be answered: columns.cohort"),
        ("columns:", "rows: [a]\ncolumns:", "rows must be a condition"),
        ("{column: Days, unit: days}", "{column: []}", "followup.column must be a column, or a list"),
    ],
)
def test_an_unclear_mapping_is_refused(tmp_path: Path, old: str, new: str, match: str):
    assert old in MAPPING
    with pytest.raises(InputError, match=match):
        read_mapping(write_mapping(tmp_path, MAPPING.replace(old, new)))


SHEET = {
    "Pat": ["1", "2"],
    "Slide": ["a", "b"],
    "Set": ["dev", "val"],
    "Months": ["720.0", "unknown"],
    "Sex": ["M", " F "],
    "Days": ["100", "200"],
    "Censored": ["1.0", "0"],
    "Cause": ["", "crc"],
    "Neo": ["no", "NA"],
    "Dead": ["0", "1"],
}


def test_csv_and_excel_read_alike(tmp_path: Path):
    mapping = read_mapping(write_mapping(tmp_path))
    pd.DataFrame(SHEET).to_csv(tmp_path / "sheet.csv", index=False)
    numbers = {"Months": [720.0, "unknown"], "Days": [100, 200], "Censored": [1.0, 0.0], "Dead": [0, 1]}
    pd.DataFrame(SHEET | numbers).to_excel(tmp_path / "sheet.xlsx", index=False)
    one, other = (read_sheet(tmp_path / name, mapping) for name in ("sheet.csv", "sheet.xlsx"))
    pd.testing.assert_frame_equal(one, other)
    assert one["Months"].tolist() == ["720", ""]
    assert one["Neo"].tolist() == ["no", ""]
    assert one["Sex"].tolist() == ["M", "F"]


def test_a_column_that_is_not_there_is_named(tmp_path: Path):
    pd.DataFrame(SHEET).drop(columns=["Neo", "Cause"]).to_csv(tmp_path / "sheet.csv", index=False)
    with pytest.raises(InputError, match="not there: Cause, Neo"):
        read_sheet(tmp_path / "sheet.csv", read_mapping(write_mapping(tmp_path)))
    (tmp_path / "sheet.xlsx").write_text("no Excel")
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_sheet(tmp_path / "sheet.xlsx", read_mapping(write_mapping(tmp_path)))


def test_conditions():
    table = pd.DataFrame({"a": ["1", "2", ""], "b": ["x", "x", "y"]})
    assert holds(table, {"a": [1.0, "2"], "b": ["x"]}).tolist() == [True, True, False]
    assert holds(table, {"a": {"above": 1}}).tolist() == [False, True, False]
    assert holds(table, {"a": {"below": 2}}).tolist() == [True, False, False]
    assert holds(table, {"a": {"missing": True}}).tolist() == [False, False, True]
    assert holds(table, {"a": {"missing": False}}).tolist() == [True, True, False]


def test_comment_lines_above_a_header_are_passed_over(tmp_path: Path):
    rows = ["#Patient\tDays", "#STRING\tNUMBER", "PATIENT_ID\tDAYS", "A\t1", "B\t2"]
    (tmp_path / "sheet.txt").write_text("\n".join(rows) + "\n")
    found = read_sheet_file(tmp_path / "sheet.txt")
    assert list(found.frame.columns) == ["PATIENT_ID", "DAYS"] and found.lines == [4, 5]
    assert found.notes == ("comment lines at the top passed over: 2 (they begin with #)",)
    (tmp_path / "sheet.txt").write_text("\n".join(["#\tDays", "1\t2"]) + "\n")  # a header that begins so
    assert list(read_sheet_file(tmp_path / "sheet.txt").frame.columns) == ["#", "Days"]
