"""Clinical sheets: who is excluded, which rows are rejected and why, and that all of them are accounted for."""

from pathlib import Path

import pytest
from made_sheet import GOOD, HEADER, MAPPING, write_mapping

from pathoprog.cohort_tables.clinical import Mapped, apply_mapping, assign_development
from pathoprog.cohort_tables.config import LabelSettings
from pathoprog.cohort_tables.mapping import read_mapping, read_sheet
from pathoprog.errors import InputError


def mapped(folder: Path, *rows: str, mapping: str = MAPPING) -> Mapped:
    (folder / "sheet.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    rules = read_mapping(write_mapping(folder, mapping))
    return apply_mapping(rules, read_sheet(folder / "sheet.csv", rules))


def test_values_codes_units_and_events(tmp_path: Path):
    rows = mapped(tmp_path, *GOOD).rows
    assert rows["event"].tolist() == [0, 1, 2]
    assert rows["age"].tolist() == ["60", "66.6667", "58.3333"]
    assert rows["sex"].tolist() == ["male", "female", "female"]
    assert rows["slide_path"].tolist() == ["slides/a1.svs", "slides/b1.svs", "slides/c1.svs"]
    assert rows["followup_days"].tolist() == [3000, 400, 500]


def test_every_fault_is_a_rejected_row_with_its_reason(tmp_path: Path):
    faults = {
        "D,d1,val,700,M,0,1,,no,0": "gives 0 days",
        "E,e1,val,700,M,-5,1,,no,0": "gives -5 days",
        "F,f1,val,700,M,,1,,no,0": "Days is missing",
        "G,g1,val,700,M,ten,1,,no,0": "Days is no number",
        "H,h1,val,700,X,100,1,,no,0": "Sex='X' has no code",
        "I,i1,val,old,M,100,1,,no,0": "Months='old' is no number",
        "J,j1,val,700,M,100,,,no,0": "no rule holds for Cause='', Censored=''",
        "K,k1,val,700,M,100,1,,no,1": "dead and yet censored",
        ",l1,val,700,M,100,1,,no,0": "patient_id is missing",
        "M,,val,700,M,100,1,,no,0": "slide_id is missing",
        "N,n1,other,700,M,100,1,,no,0": "Set='other' has no code",
    }
    result = mapped(tmp_path, *GOOD, *faults)
    assert result.rejected["line"].tolist() == list(range(5, 5 + len(faults)))
    for reason, expected in zip(result.rejected["reason"], faults.values(), strict=True):
        assert expected in reason
    assert result.rows["patient_id"].tolist() == ["A", "B", "C"]
    assert result.counts["rows"] == 3 + len(faults) == result.counts["rows_accepted"] + result.counts["rows_rejected"]


KINDS = [f"{row.rpartition(',')[0]},{kind}" for row in GOOD for kind in ("2", "0")]  # of the last column


def test_rows_of_another_kind_are_passed_over_and_counted(tmp_path: Path):
    mapping = MAPPING.partition("contradictions:")[0]
    result = mapped(tmp_path, *KINDS, mapping=mapping + 'rows: {Dead: ["0"]}\n')
    assert result.rejected.empty and result.rows["line"].tolist() == [3, 5, 7]
    assert result.counts["rows"] == 3 and result.counts["rows_passed_over"] == 3
    first = mapped(tmp_path, *KINDS, mapping=mapping + "one_row_of: Pat\n")
    assert first.rows["line"].tolist() == [2, 4, 6] and first.counts["rows_passed_over"] == 3
    with pytest.raises(InputError, match="no row of the sheet is one of those that the mapping counts"):
        mapped(tmp_path, *KINDS, mapping=mapping + 'rows: {Dead: ["7"]}\n')
    with pytest.raises(InputError, match=r"line 2: Set='dev' is no number \(rows: in the mapping\)"):
        mapped(tmp_path, *GOOD, mapping=MAPPING + "rows: {Set: {above: 1}}\n")


def test_of_several_columns_of_follow_up_the_first_that_is_filled_counts(tmp_path: Path):
    mapping = MAPPING.replace("{column: Days, unit: days}", "{column: [Neo, Days], unit: days}").partition("exclude:")[
        0
    ]
    result = mapped(
        tmp_path, "A,a1,dev,720,M,3000,1,,77,0", "B,b1,dev,800,F,400,1,,,1", "C,c1,val,700,F,,1,,,1", mapping=mapping
    )
    assert result.rows["followup_days"].tolist() == [77, 400]
    assert result.rejected["reason"].tolist() == ["follow-up: Neo and Days is missing"]


def test_of_several_dates_of_the_end_the_first_that_is_filled_counts(tmp_path: Path):
    mapping = MAPPING.replace("{column: Days, unit: days}", "{start: Months, end: [Neo, Days]}").partition("exclude:")[
        0
    ]
    mapping = mapping.replace("age: {column: Months, unit: months, to_unit: years}", "surgery: Months")
    rows = ("A,a1,dev,2020-01-01,M,2020-12-31,1,,2020-01-11,0", "B,b1,dev,2020-01-01,F,2020-01-31,1,,,1")
    assert mapped(tmp_path, *rows, mapping=mapping).rows["followup_days"].tolist() == [10, 30]


def test_a_contradiction_or_a_bad_value_takes_the_whole_patient(tmp_path: Path):
    result = mapped(
        tmp_path,
        *GOOD,
        "D,d1,val,700,M,100,1,,no,0",
        "D,d2,val,700,F,100,1,,no,0",
        "E,e1,val,700,M,100,1,,no,0",
        "E,e2,val,700,M,,1,,no,0",
    )
    reasons = dict(zip(result.rejected["slide_id"], result.rejected["reason"], strict=True))
    assert "the rows of patient D contradict each other (female, male)" in reasons["d1"]
    assert "contradict" in reasons["e2"] and "Days is missing" in reasons["e2"]
    assert set(reasons) == {"d1", "d2", "e1", "e2"}


def test_a_bad_slide_leaves_the_patient(tmp_path: Path):
    result = mapped(tmp_path, *GOOD, "A,,dev,720,M,3000,1,,no,0", "B,c1,dev,800,F,400,0,crc,no,1")
    assert result.rejected["reason"].str.contains("slide_id stands in several rows").sum() == 2
    assert result.rows["slide_id"].tolist() == ["a1", "b1"]
    assert result.counts["patients_rejected"] == 1  # C had only that slide


def test_the_first_exclusion_counts_and_comes_before_rejection(tmp_path: Path):
    result = mapped(
        tmp_path, *GOOD, "D,d1,val,100,M,0,1,,yes,0", "E,e1,val,100,M,5,1,,no,0", "E,e2,val,100,M,5,1,,no,0"
    )
    assert result.excluded.to_numpy().tolist() == [["D", "neoadjuvant treatment"], ["E", "under 18"]]
    assert result.counts["excluded"] == {"neoadjuvant treatment": 1, "under 18": 1}
    assert result.rejected.empty
    assert result.counts["patients"] == 5 == result.counts["patients_accepted"] + 2


def test_dates_give_follow_up(tmp_path: Path):
    mapping = MAPPING.replace(
        "{column: Days, unit: days}", '{start: Days, end: Cause, date_format: "%d.%m.%Y"}'
    ).replace('{Censored: ["0"], Cause: [crc]}', '{Censored: ["0"]}')
    result = mapped(
        tmp_path,
        "A,a1,val,720,M,01.03.2020,1,01.03.2021,no,0",
        "B,b1,val,720,M,01.03.2020,1,29.02.2020,no,0",
        "C,c1,val,720,M,2020-03-01,1,01.03.2021,no,0",
        mapping=mapping,
    )
    assert result.rows["followup_days"].tolist() == [365]
    assert "01.03.2020 to 29.02.2020 gives -1 days" in result.rejected["reason"][0]
    assert "Days is no date %d.%m.%Y" in result.rejected["reason"][1]


def test_development_patients_are_parted_by_their_outcome(tmp_path: Path):
    result = mapped(tmp_path, *GOOD, "D,d1,dev,700,M,50,0,crc,no,1", "D,d2,dev,700,M,50,0,crc,no,1")
    rows = assign_development(result.rows, LabelSettings(), "tuning")
    assert rows["role"].tolist() == ["training", "training", "external", "tuning", "tuning"]
    everyone = assign_development(result.rows, LabelSettings(), "training")
    assert everyone["role"].tolist() == ["training", "training", "external", "training", "training"]
