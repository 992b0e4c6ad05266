"""`survival` and `validate` go down one list: what is added to it is in their results, and nothing in it is dead."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import made_survival as small
import numpy as np
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run as validate

from pathoprog.cli import main
from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.ensemble.clinical import ClinicalCovariate, ClinicalModel, ClinicalTerm
from pathoprog.ensemble.clinical_values import covariate_values
from pathoprog.ensemble.stage_groups import StageGroups, fit_stage_groups
from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES, Analysis
from pathoprog.survival.question import Question
from pathoprog.system.files import read_json
from pathoprog.validation import numbers
from pathoprog.validation.clinical_model import LockedClinical
from pathoprog.validation.given_tables import read_truth
from pathoprog.validation.plan import TITLES, PlannedTreatment, read_plan
from pathoprog.validation.populations import analysed_patients, populations_of
from pathoprog.validation.score_tables import read_members, read_patients

EVERYTHING = [
    "time=time", "event=event", "group=group", "levels=b,a,c", "covariates=x", "subgroups=x", "score=x",
    "risks=risk,risk", "horizons=6,12", "pattern=group:a,x:0.5", "imputations=2", "bootstrap=5", "figures=false",
    "sites=site", "added=group", "treatment=site", "control=u", "randomised=no", "cuts=8", "early_deaths=2",
]  # fmt: skip


MODEL = ClinicalModel(
    covariates=(ClinicalCovariate(name="age", kind="number", typical="69", levels=("30", "95")),),
    terms=tuple(
        ClinicalTerm(covariate=name, level="", reference="", coef=coef, se=0.1, mean=0.0)
        for name, coef in (("one_number", 1.0), ("age", 0.01))
    ),
    missing="withhold",
    n=100,
    events=50,
    n_missing=0,
    strata=("north",),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    return make_cohort(tmp_path_factory.mktemp("made") / "cohort", development=0, test=0, external=(260, 110))


def survival(folder: Path) -> dict[str, Any]:
    """Every part of `survival`, of a small table."""
    table, out = folder / "table.csv", folder / "survival"
    small.FRAME.assign(site=list("uv") * 12).to_csv(table, index=False)
    assert main(["survival", str(table), *EVERYTHING, f"out={out}"]) == 0
    return dict(read_json(out / "statistics.json"))


@dataclass(frozen=True)
class LongestFollowUp:
    """A made analysis' result."""

    years: dict[str, float]
    median: float


def longest(q: Question) -> LongestFollowUp:
    """The last follow-up of each group."""
    return LongestFollowUp(
        {level: float(own.time.max()) for level, own in q.by_group.items()}, float(np.median(q.time))
    )


def test_one_function_and_one_line_add_an_analysis(
    made: MadeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANALYSES, "longest", Analysis("longest", "the longest follow-up", longest))
    monkeypatch.setitem(TITLES, "longest", "the longest follow-up")  # as plans have it with a line in the list
    found = survival(tmp_path)["longest"]
    assert found["years"] == {"a": 17.0, "b": 18.0, "c": 20.0} and found["median"] == np.median(small.TIME)
    plan = tmp_path / "plan.yaml"
    text = (made.folder / "plan.yaml").read_text()
    plan.write_text(text.replace("planned: [", "planned: [longest, "))
    validate(made, "longest", plan=str(plan))
    found = read_json(made.folder / "longest" / "statistics.json")["longest"]
    assert set(found["years"]) == {"good", "uncertain", "poor"} and 0 < found["median"] < max(found["years"].values())
    assert "the longest follow-up" in (made.folder / "longest" / "report.html").read_text()


def test_an_analysis_that_refuses_says_why_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(q: Question) -> None:
        raise InputError("too few patients")

    monkeypatch.setitem(ANALYSES, "refused", Analysis("refused", "", refuse))
    found = survival(tmp_path)
    assert found["refused"] == {"note": "too few patients"} and found["bootstrap"]["samples"] == 5


@pytest.mark.slow
def test_each_command_does_what_its_part_of_the_list_says(
    made: MadeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: set[str] = set()

    def recorded(one: Analysis) -> Callable[[Question], Any]:
        def run(q: Question) -> Any:
            reached.add(one.name)
            return one.run(q)

        return run

    for name, one in list(ANALYSES.items()):
        monkeypatch.setitem(ANALYSES, name, replace(one, work=recorded(one)))
    survival(tmp_path)
    by_survival = {name for name, one in ANALYSES.items() if one.in_survival}
    assert reached == by_survival | {"calibration"}  # beside the accuracy of the same risks
    reached.clear()
    every_statistic(made)
    assert reached == set(TITLES) | {"followup", "rmst", "fine_gray"}  # parts of others


def every_statistic(made: MadeCohort) -> dict[str, Any]:
    """All numbers of a validation with everything that one can be given."""
    scored = made.folder / "scored"
    cohort = read_cohort(made.folder / "cohort.csv", made.folder / "overlap.json")
    patients = read_patients(scored / "patients.csv", {"10x": 0.45, "40x": 0.55})
    populations = populations_of(
        analysed_patients(cohort, patients, read_outcomes(made.folder / "outcomes.csv"), set())
    )
    plan = replace(
        read_plan(made.folder / "plan.yaml"),
        absolute_risk="trial 1",
        sites=("cohort", "prep_site"),
        added_value=("age", "stage"),
        cuts_years=(2.0,),
        treatment=PlannedTreatment("scanner", "XR", randomised=False),
    )
    fitted = fit_stage_groups(populations[1].patients)
    members, truth = read_members(scored / "members.csv"), read_truth(str(made.folder / "truth.csv"))
    stage = StageGroups(fitted.groups, fitted.record)
    clinical = LockedClinical(MODEL, covariate_values(cohort, MODEL))
    for population in populations:
        population.patients["clinical_number"] = population.patients["one_number"] + population.patients["age"] / 100
    return numbers.all_statistics(plan, populations, populations[0], members, truth, stage, 100, 1, clinical)
