"""The plan's treatment: declared as randomised or not, checked before the opening, worded accordingly."""

import numpy as np
import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.errors import InputError
from pathoprog.system.files import read_json
from pathoprog.validation.plan import read_plan

PLANNED = 'treatment: {column: chemo, control: "no", randomised: %s, adjust: [age, stage]}\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    made = make_cohort(tmp_path_factory.mktemp("made") / "cohort", development=0, test=0, external=(220, 120))
    path = made.folder / "cohort.csv"
    cohort = pd.read_csv(path, dtype=str, keep_default_na=False)
    chemo = np.random.default_rng(1).choice(["yes", "no", ""], len(cohort), p=[0.48, 0.48, 0.04])
    cohort.assign(chemo=chemo).to_csv(path, index=False)
    return made


@pytest.mark.parametrize(
    ("randomised", "says"), [("true", "effects of treatment"), ("false", "associations, no effects")]
)
def test_the_report_words_it_as_declared(made: MadeCohort, randomised: str, says: str) -> None:
    plan = made.folder / f"{randomised}.yaml"
    plan.write_text((made.folder / "plan.yaml").read_text() + PLANNED % randomised)
    run(made, randomised, plan=str(plan))
    out = made.folder / randomised
    found = read_json(out / "statistics.json")["treatment"]
    assert (found["treated"], found["control"], found["randomised"]) == ("yes", "no", randomised == "true")
    assert found["n_missing"] > 0 and len(found["benefits"]) == 6
    assert found["adjusted"]["adjusted_for"] == ["age", "stage"]
    page = (out / "report.html").read_text()
    assert says in page and "alone shows no interaction" in page and "Treatment by class" in page
    assert (out / "tables" / "treatment.csv").is_file() and (out / "figures" / "treatment.svg").is_file()


@pytest.mark.parametrize(
    ("planned", "message"),
    [
        (
            "treatment: {column: chemo, control: placebo, randomised: true}",
            "must have two values, one of them 'placebo'",
        ),
        ("treatment: {column: drug, control: placebo, randomised: true}", "cohort lacks: drug"),
        ("treatment: {column: chemo, control: no, randomised: true}", "quote it"),
        ('treatment: {column: chemo, control: "no"}', "must be true or false"),
        ("treatment: {column: chemo, randomised: true}", "lacks control"),
    ],
)
def test_a_treatment_is_checked_before_the_opening(made: MadeCohort, planned: str, message: str) -> None:
    plan = made.folder / "wrong.yaml"
    plan.write_text((made.folder / "plan.yaml").read_text() + planned + "\n")
    with pytest.raises(InputError, match=message):
        run(made, "wrong", plan=str(plan))
    assert not (made.folder / "wrong" / "openings.jsonl").exists()


def test_the_plan_says_in_one_line_what_it_planned(made: MadeCohort) -> None:
    plan = made.folder / "one.yaml"
    plan.write_text((made.folder / "plan.yaml").read_text() + PLANNED % "false")
    assert str(read_plan(plan).treatment) == "chemo against no, not randomised, adjusted for age, stage"
