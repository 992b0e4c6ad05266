"""Added value in a validation: asked for by the plan, never of what is a part of what is judged."""

from dataclasses import replace

import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.ensemble.stage_groups import StageGroups, fit_stage_groups
from pathoprog.errors import InputError
from pathoprog.system.files import read_json
from pathoprog.validation.on_request import added_value
from pathoprog.validation.on_request.added_value import over_covariates
from pathoprog.validation.plan import read_plan
from pathoprog.validation.populations import Population, analysed_patients, populations_of
from pathoprog.validation.score_tables import read_patients


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    return make_cohort(tmp_path_factory.mktemp("made") / "cohort", development=0, test=0, external=(200, 110))


@pytest.fixture(scope="module")
def populations(made: MadeCohort) -> list[Population]:
    cohort = read_cohort(made.folder / "cohort.csv", made.folder / "overlap.json")
    patients = read_patients(made.folder / "scored" / "patients.csv", {"10x": 0.45, "40x": 0.55})
    return populations_of(analysed_patients(cohort, patients, read_outcomes(made.folder / "outcomes.csv"), set()))


def test_the_report_has_it_where_the_plan_asks(made: MadeCohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(added_value, "RESAMPLES", 5)
    plan = made.folder / "added.yaml"
    text = (made.folder / "plan.yaml").read_text().replace("planned: [", "planned: [added_value, ")
    plan.write_text(text + "added_value: [stage, age]\n")
    run(made, "added", plan=str(plan))
    out = made.folder / "added"
    found = read_json(out / "statistics.json")["added_value"]
    assert found["base"] == ["stage", "age"] and found["added"] == ["risk_class"]
    assert found["likelihood_ratio"]["df"] == 2 and found["resamples"]["drawn"] == 5
    page = (out / "report.html").read_text()
    for words in ("Added value over stage", "Net reclassification", "Without optimism"):
        assert words in page
    assert (out / "tables" / "added_value.csv").is_file() and (out / "figures" / "added_value_3.svg").is_file()
    assert read_json(out / "history.json")["labels"]["added_value"] == "planned"


@pytest.mark.parametrize("covariate", ["pT", "pN", "stage"])
def test_what_is_inside_what_is_judged_is_refused_before_the_opening(made: MadeCohort, covariate: str) -> None:
    plan = made.folder / "inside.yaml"
    text = (made.folder / "plan.yaml").read_text()
    plan.write_text(f"{text}added_value: [age, {covariate}]\nadded_value_of: risk_group\n")
    with pytest.raises(InputError, match=f"{covariate} is a part of risk_group"):
        run(made, "inside", plan=str(plan))
    plan.write_text(f"{text}added_value: [age, bmi]\n")
    with pytest.raises(InputError, match="cohort lacks: bmi"):
        run(made, "inside", plan=str(plan))
    assert not (made.folder / "inside" / "openings.jsonl").exists()


def test_stage_combined_groups_are_judged_where_they_were_not_fitted(
    made: MadeCohort, populations: list[Population], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(added_value, "RESAMPLES", 2)
    plan = replace(read_plan(made.folder / "plan.yaml"), added_value=("age",), added_value_of="risk_group")
    whole, one, other = populations
    fitted = fit_stage_groups(one.patients)
    table = StageGroups(fitted.groups, fitted.record)
    assert "holds no table" in over_covariates(plan, whole, None, 1)["note"]
    assert "on these very patients" in over_covariates(plan, one, table, 1)["note"]
    found = over_covariates(plan, whole, table, 1)
    assert found["n"] <= len(other.patients) and found["added"] == ["risk_group"]
    same = replace(plan, added_value=("organ",))
    assert over_covariates(same, whole, table, 1)["note"] == "organ: the same for all patients"
