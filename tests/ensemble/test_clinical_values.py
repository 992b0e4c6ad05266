"""A hostile clinical sheet: what of it the bundle's model takes, what it counts as missing, and that it says so."""

from pathlib import Path

import pandas as pd
import pytest

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.clinical import ClinicalCovariate, ClinicalModel, ClinicalTerm, number_text
from pathoprog.ensemble.clinical_values import covariate_values, state_counts, state_lines
from pathoprog.errors import CohortError

MODEL = ClinicalModel(
    covariates=(
        ClinicalCovariate(name="age", kind="number", typical="68", levels=("40", "90")),
        ClinicalCovariate(name="cea", kind="number", typical="3.5", levels=("0.5", "200")),
        ClinicalCovariate(name="pT", kind="category", typical="3", levels=("2", "3", "4")),
    ),
    terms=tuple(
        ClinicalTerm(covariate=name, level=level, reference="2" if level else "", coef=0.1, se=0.1, mean=0.0)
        for name, level in (("one_number", ""), ("age", ""), ("cea", ""), ("pT", "3"), ("pT", "4"))
    ),
    missing="withhold",
    n=120,
    events=40,
    n_missing=0,
    strata=("north",),
)


def sheet(folder: Path, rows: list[str], columns: str = "age;cea;pT;remarks") -> pd.DataFrame:
    """A cohort as a spreadsheet of another country saves it: byte-order mark, semicolons, decimal commas."""
    lines = [f"patient_id;slide_id;slide_path;cohort;role;{columns}"]
    lines += [f"P{k};S{k};S{k}.svs;c;external;{row}" for k, row in enumerate(rows, 1)]
    (folder / "cohort.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return read_cohort(folder / "cohort.csv", look=False)


def test_decimal_commas_semicolons_and_spellings_are_read(tmp_path: Path) -> None:
    cohort = sheet(tmp_path, ["64,5;3,25;3;x", "70; 12,5 ; 4 ;", ";;3.0;", "95;1500,5;T4b;", "71;;x;"])
    values = covariate_values(cohort, MODEL)
    assert values["P1"] == {"age": "64.5", "cea": "3.25", "pT": "3"}
    assert values["P2"] == {"age": "70", "cea": "12.5", "pT": "4"} and values["P3"] == {"pT": "3"}
    counts = state_counts(MODEL, values)
    assert dict(counts["age"]) == {"known": 3, "missing": 1, "outside tuning": 1}
    assert dict(counts["pT"]) == {"known": 3, "no level of tuning": 2}
    assert state_lines(MODEL, values) == [
        "age, of 5 patients: 1 missing and 1 outside tuning (40 to 90): another unit?: '95'",
        "cea, of 5 patients: 2 missing and 1 outside tuning (0.5 to 200): another unit?: '1500.5'",
        "pT, of 5 patients: 2 no level of tuning (2, 3, 4): 'T4b', 'x'",
    ]


def test_texts_among_numbers_have_no_number_and_stay_as_they_are(tmp_path: Path) -> None:
    values = covariate_values(sheet(tmp_path, ["60;<0,5;3;", "61;2,5;3;", "62;high;3;", "63;1_0;3;"]), MODEL)
    assert dict(state_counts(MODEL, values)["cea"]) == {"no number": 4}, "of a column that is none no comma is read"
    assert values["P1"]["cea"] == "<0,5"


@pytest.mark.parametrize("age", ["640", "-3", "old"])
def test_an_age_of_another_unit_is_refused_by_its_line(tmp_path: Path, age: str) -> None:
    with pytest.raises(CohortError, match=r"line 3: age=.*must be a number from 0 to 150, or empty"):
        sheet(tmp_path, ["64;1;3;", f"{age};1;3;"])


def test_slides_of_one_patient_that_disagree_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text(
        "patient_id,slide_id,slide_path,cohort,role,age\nP1,A,A.svs,c,external,60\nP1,B,B.svs,c,external,61\n"
    )
    with pytest.raises(CohortError, match="patient P1 has contradicting rows"):
        read_cohort(tmp_path / "cohort.csv", look=False)


def test_columns_that_are_absent_are_missing(tmp_path: Path) -> None:
    values = covariate_values(sheet(tmp_path, ["60", "61"], columns="age"), MODEL)
    assert dict(state_counts(MODEL, values)["pT"]) == {"missing": 2}


def test_a_number_loses_no_digit() -> None:
    for value in (1234.5678, 70.0, 0.1, 1e20, -3.25):
        assert float(number_text(value)) == value
    assert number_text(70.0) == "70"
