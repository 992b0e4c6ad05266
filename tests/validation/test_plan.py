"""The analysis plan: read whole, refused where it is unclear."""

from pathlib import Path

import pytest
from made_cohort import PLAN

from pathoprog.errors import InputError
from pathoprog.validation.plan import read_plan


def write(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


def test_a_plan_is_read(tmp_path: Path):
    plan = read_plan(write(tmp_path, PLAN))
    assert plan.primary.contrast == ("poor", "good")
    assert plan.horizons_years == (3.0, 5.0)
    assert plan.status("c_index") == "planned"
    assert plan.status("subgroups") == "exploratory"


def test_the_primary_analysis_is_enough(tmp_path: Path):
    text = "primary: {endpoint: death, contrast: uncertain vs good, cohort: X, horizon_years: 5, test: cox}"
    plan = read_plan(write(tmp_path, text))
    assert (plan.primary.contrast, plan.horizons_years, plan.planned) == (("uncertain", "good"), (5.0,), ())


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("poor vs good", "good vs poor", "a worse class vs a better one"),
        ("poor vs good", "poor", "a worse class vs a better one"),
        ("poor vs good", "bad vs good", "a worse class vs a better one"),
        ("test: logrank", "test: wilcoxon", "must be one of logrank, cox"),
        ("  test: logrank\n", "", "primary lacks test"),
        ("horizon_years: 3", "horizon_years: 0", "must be years above 0"),
        ("horizon_years: 3", "horizon_years: three", "must be years above 0"),
        ("[3, 5]", "[3, 500]", "at most 50"),
        ("[kaplan_meier", "[no_such", "no_such unknown"),
        ("[age,", "age #[", "covariates must be a list"),
        ("title:", "titel:", "does not know titel"),
        ("primary:", "primary: x\nmore:", "does not know more"),
        ("title:", "title: [", "no YAML"),
    ],
)
def test_an_unclear_plan_is_refused(tmp_path: Path, old: str, new: str, match: str):
    assert old in PLAN
    with pytest.raises(InputError, match=match):
        read_plan(write(tmp_path, PLAN.replace(old, new)))


def test_a_missing_plan_says_when_to_write_it(tmp_path: Path):
    with pytest.raises(InputError, match="before the outcomes are opened"):
        read_plan(tmp_path / "none.yaml")
