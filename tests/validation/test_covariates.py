"""Covariates of a validation: numbers by their values, categories where they are codes, refused before the opening."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.errors import InputError
from pathoprog.validation.covariates import check_covariates, typed_covariates
from pathoprog.validation.plan import read_plan
from pathoprog.validation.populations import Population, analysed_patients, populations_of
from pathoprog.validation.secondary_analyses import adjusted

PLAN = "primary: {endpoint: css, contrast: poor vs good, cohort: external, horizon_years: 3, test: logrank}\n"


def population(folder: Path, separator: str = ",", decimal: str = ".") -> Population:
    """An external cohort of 200, read from files as `validate` reads them."""
    random = np.random.default_rng(0)
    n = 200
    size = random.gamma(4, 10, n).round(1)
    classes = random.choice(["good", "uncertain", "poor"], n, p=[0.6, 0.15, 0.25])
    time = random.exponential(1 / (2e-4 * np.exp(0.8 * (classes == "poor") + 0.02 * size)))
    lost = random.uniform(1000, 2500, n)
    ids = [f"P{k}" for k in range(n)]
    cohort = pd.DataFrame({"patient_id": ids, "slide_id": ids, "slide_path": ids, "cohort": "q", "role": "external"})
    cohort = cohort.assign(age=random.normal(68, 9, n).round(1), tumour_size_mm=size, grade=random.integers(1, 4, n))
    cohort.to_csv(folder / "cohort.csv", index=False, sep=separator, decimal=decimal)
    outcomes = pd.DataFrame({"patient_id": ids, "followup_days": np.minimum(time, lost).round() + 1})
    outcomes.assign(event=(time <= lost).astype(int)).to_csv(folder / "outcomes.csv", index=False)
    read, known = read_cohort(folder / "cohort.csv"), read_outcomes(folder / "outcomes.csv")
    patients = pd.DataFrame({"patient_id": ids, "role": "external", "cohort": "q", "status": "scored"})
    patients = patients.assign(risk_class=classes, score_10x=0.5, score_40x=0.5, one_number=random.random(n))
    return populations_of(analysed_patients(read, patients, known, set()))[0]


def terms(found: dict[str, object]) -> pd.DataFrame:
    assert "complete_cases" in found, found.get("note")
    rows = found["complete_cases"]
    assert isinstance(rows, dict)
    return pd.DataFrame(rows["terms"])


def test_a_size_is_a_number_and_a_grade_a_category(tmp_path: Path) -> None:
    found = terms(adjusted(population(tmp_path), ("age", "tumour_size_mm", "grade"), 3.0, 1))
    assert found["term"].value_counts().to_dict() == {"risk_class": 2, "age": 1, "tumour_size_mm": 1, "grade": 2}
    size = found[found["term"] == "tumour_size_mm"].iloc[0]
    assert size["coef"] == pytest.approx(0.02, abs=2.6 * size["se"])


def test_decimal_commas_of_a_cohort_saved_by_excel_change_nothing(tmp_path: Path) -> None:
    point = terms(adjusted(population(tmp_path), ("age", "tumour_size_mm"), 3.0, 1))
    comma = terms(adjusted(population(tmp_path, ";", ","), ("age", "tumour_size_mm"), 3.0, 1))
    pd.testing.assert_frame_equal(point, comma)


def test_types_follow_the_plan_then_the_values() -> None:
    table = pd.DataFrame({"patient_id": [f"P{k}" for k in range(60)], "ecog": [str(k % 3) for k in range(60)]})
    table["size"] = [f"{k}.5" for k in range(60)]
    table["sex"] = ["male", "Male ", "female"] * 20
    table["prep_site"] = [str(k % 12) for k in range(60)]
    found = typed_covariates(table)
    assert found["size"].dtype == float and found["ecog"].dtype == object and found["prep_site"].dtype == object
    assert set(found["sex"]) == {"male", "female"} or set(found["sex"]) == {"Male", "female"}
    declared = typed_covariates(table, {"ecog": "number", "size": "category"})
    assert declared["ecog"].dtype == float and declared["size"].dtype == object


@pytest.mark.parametrize(
    ("values", "types", "match"),
    [
        ([*(f"{k}.5" for k in range(59)), "ukjent"], {}, r"x: 'ukjent' in line 61 is no number among 59 numbers"),
        ([f"2020-01-{k % 28 + 1:02d}" for k in range(60)], {}, "x: holds dates"),
        ([f"word {k}" for k in range(60)], {}, "x: 60 different values in 60 rows are no category"),
        ([f"{k}.5" for k in range(60)], {"x": "category"}, "no category"),
        (["low", "high"] * 30, {"x": "number"}, "the plan says number, but it holds texts"),
        (["1", "2"] * 30, {"y": "number"}, "types name columns that the cohort lacks: y"),
    ],
)
def test_what_is_neither_is_refused_before_the_opening(values: list[str], types: dict[str, str], match: str) -> None:
    table = pd.DataFrame({"patient_id": [f"P{k}" for k in range(60)], "x": values})
    with pytest.raises(InputError, match=match):
        check_covariates(table, ("x",), (), types)


def test_types_of_the_plan_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN + "types: {tumour_size_mm: number}\n")
    assert read_plan(path).types == {"tumour_size_mm": "number"}
    path.write_text(PLAN + "types: {tumour_size_mm: numeric}\n")
    with pytest.raises(InputError, match="types must give each column one of number, category"):
        read_plan(path)
