"""Tables given to a validation: read in any form they may have, or refused in words before anything is opened."""

from pathlib import Path

import pytest

from pathoprog.errors import InputError
from pathoprog.system.csv_files import read_columns
from pathoprog.validation.covariates import check_covariates
from pathoprog.validation.given_tables import read_exclusions, read_sheet_flow, read_truth
from pathoprog.validation.openings.outcome_rows import rows_of
from pathoprog.validation.plan import parse_plan
from pathoprog.validation.score_tables import read_members

PLAN = """primary: {endpoint: death, contrast: poor vs good, cohort: external, horizon_years: 3, test: cox}
"""


def written(folder: Path, data: str, encoding: str = "utf-8") -> str:
    path = folder / "table.csv"
    path.write_bytes(data.encode(encoding))
    return str(path)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ('patient_id,code\nP1,late\n\'=P2,"not, eligible"\n', "utf-8-sig"),
        ("patient_id;code\n P1 ;late\n=P2;not, eligible\n", "utf-8"),
        ("patient_id\tcode\nP1\tlate\n=P2\tnot, eligible\n", "utf-16"),
    ],
)
def test_exclusions_in_any_form(tmp_path: Path, data: str, encoding: str):
    found = read_exclusions(written(tmp_path, data, encoding), {"P1", "=P2", "P3"})
    assert found == {"P1": "late", "=P2": "not, eligible"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("patient_id,code\nP1,late\nP9,late\n", "1 row of a patient who is not in the cohort table, first in line 3"),
        ("patient_id,code\np1,late\n", "not in the cohort table, first in line 2"),
        ("patient_id,code\nP1,\n", "1 row without patient_id or code, first in line 2"),
        ("patient_id,code\nP1,a\nP1,b\n", "2 rows of a patient with several rows, first in line 2"),
        ("patient_id,code\nP1,late,x\n", "line 2 has 3 cells"),
        ("patient,code\nP1,late\n", "must have the columns patient_id and code; there are patient, code"),
        ("", "the file is empty"),
    ],
)
def test_exclusions_that_would_exclude_nobody_are_refused(tmp_path: Path, data: str, says: str):
    with pytest.raises(InputError, match=says):
        read_exclusions(written(tmp_path, data), {"P1"})


@pytest.mark.parametrize(
    ("data", "encoding", "says"),
    [
        ("", "utf-8", "the file is empty; take the file as `pathoprog score` wrote it"),
        ("a;b\n1;2\n", "utf-8", "its cells are not parted by commas"),
        ("a,b\nø,2\n", "cp1252", "not in UTF-8, as if a spreadsheet had saved it"),
        ("a,b\n1,2,3\n4,5,6\n", "utf-8", "no sound CSV table"),
        ('a,b\n"1,2\n', "utf-8", "no sound CSV table"),
    ],
)
def test_a_table_of_scoring_that_was_saved_anew_is_refused_in_words(
    tmp_path: Path, data: str, encoding: str, says: str
):
    with pytest.raises(InputError, match=says):
        read_columns(written(tmp_path, data, encoding), ("a", "b"), "pathoprog score")


def test_a_short_line_has_empty_cells(tmp_path: Path):
    table = read_columns(written(tmp_path, "a,b\n'=1\n"), ("a", "b"), "pathoprog score")
    assert table.values.tolist() == [["=1", ""]]


def test_a_member_score_that_is_no_number_is_refused(tmp_path: Path):
    path = written(tmp_path, "patient_id,role,resolution,member,score\nP1,external,10x,m,0.2\nP2,external,10x,m,high\n")
    with pytest.raises(InputError, match="score is no number in \\[0, 1\\] in line 3"):
        read_members(path)


def test_truth_and_flow_are_refused_in_words(tmp_path: Path):
    with pytest.raises(InputError, match="log_hazard is no number in line 3"):
        read_truth(written(tmp_path, "patient_id,log_hazard\nP1,0.5\nP2,high\n"))
    whole = '"excluded": {"late": 1}, "rejected_for": {"age": 1}, "patients_rejected": 1, "patients": '
    for text in ("[1]", "{}", "{", "null", '{"patients_accepted": 3}', f'{{{whole}"many", "patients_accepted": 3}}'):
        with pytest.raises(InputError, match=r"no flow\.json of `pathoprog cohort`"):
            read_sheet_flow(written(tmp_path, text), 3)
    with pytest.raises(InputError, match="4 patients accepted, 3 in the cohort"):
        read_sheet_flow(written(tmp_path, f'{{{whole}6, "patients_accepted": 4}}'), 3)
    with pytest.raises(
        InputError, match="the numbers do not add up: 9 patients, but 5 excluded, rejected and accepted"
    ):
        read_sheet_flow(written(tmp_path, f'{{{whole}9, "patients_accepted": 3}}'), 3)
    assert read_sheet_flow(written(tmp_path, f'{{{whole}5, "patients_accepted": 3}}'), 3)["patients"] == 5


def test_outcomes_are_compared_in_whatever_form_they_come(tmp_path: Path):
    one = rows_of(Path(written(tmp_path, "patient_id,followup_days,event\nP1,100,1\n'=P2,20.5,0\n")))
    assert one == {"P1": "100.0;1.0", "=P2": "20.5;0.0"}
    for data, encoding in (
        ("patient_id;followup_days;event\nP1;100;1\n=P2;20.5;0\n", "utf-8"),
        ("patient_id\tfollowup_days\tevent\nP1\t100\t1\n=P2\t20.5\t0\n", "utf-16"),
    ):
        assert rows_of(Path(written(tmp_path, data, encoding))) == one


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("covariates: [age]\ncovariates: [sex]\n", "the key 'covariates' .line 2. is there twice"),
        ("types: {a: number, a: category}\n", "the key 'a' .line 2. is there twice"),
        ("covariates: [age, age]\n", "covariates names age twice"),
        ("horizons_years: {3: 5}\n", "must be years"),
    ],
)
def test_a_plan_that_says_something_twice_is_refused(more: str, says: str):
    with pytest.raises(InputError, match=says):
        parse_plan(PLAN + more, "plan.yaml")


def test_one_horizon_needs_no_list():
    assert parse_plan(PLAN + "horizons_years: 5\n", "plan.yaml").horizons_years == (3.0, 5.0)


@pytest.mark.parametrize("name", ["event", "followup_days", "years", "risk_class", "one_number", "patient_id"])
def test_an_outcome_or_a_score_is_no_covariate(name: str):
    import pandas as pd

    table = pd.DataFrame({"patient_id": ["P1", "P2"], "age": [60.0, 70.0], "years": ["1", "2"]})
    with pytest.raises(InputError, match=f"{name}: an id, an outcome or a score"):
        check_covariates(table, (name,), (), {})
    with pytest.raises(InputError, match=f"{name}: an id, an outcome or a score"):
        check_covariates(table, (), (name,), {})
