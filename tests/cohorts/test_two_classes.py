"""A validation of an ensemble of one resolution: two classes in every analysis, table and sentence."""

import re
from pathlib import Path

import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import without_rendering

from pathoprog.cohorts.config import ValidateConfig
from pathoprog.cohorts.validate import run
from pathoprog.errors import InputError, LockError
from pathoprog.system.files import read_json

pytestmark = pytest.mark.slow
PLAN = """\
title: An ensemble at 20x
time_zero: day of surgery
primary:
  endpoint: cancer-specific survival
  contrast: poor vs good
  cohort: external
  horizon_years: 3
  test: logrank
planned: [kaplan_meier, logrank, hazard_ratios, c_index, c_classes, c_resolutions, c_members, groupings, horizon_values,
  competing_deaths, adjusted, subgroups, permutation, sites, added_value, time_effects, treatment, calibration,
  endpoints]
covariates: [age, sex, pT, pN]
subgroups: [scanner, stage]
sites: [scanner]
added_value: [age, sex, pT, pN]
absolute_risk: trial 2
landmarks_years: [1]
horizons_years: [3, 5]
treatment: {column: sex, control: female, randomised: false, adjust: [age]}
"""


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    """Two external trials and development, scored by three members at 20x, and validated with every analysis."""
    sizes = {"development": 120, "test": 30, "external": (150, 120)}
    made = make_cohort(tmp_path_factory.mktemp("two"), **sizes, thresholds={"20x": 0.5}, members=3)
    (made.folder / "plan.yaml").write_text(PLAN)
    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        run(ValidateConfig(**made.settings(permutations=100, truth=str(made.folder / "truth.csv"))))
    return made


def test_every_population_has_two_classes(validated: MadeCohort):
    statistics = read_json(validated.folder / "validation" / "statistics.json")
    for population in statistics["populations"].values():
        assert population["classes"].keys() == {"good", "poor"}
        assert sum(population["classes"].values()) == population["n"]
        assert [row["level"] for row in population["hazard_ratios"]] == ["poor"]
        assert [row["grouping"] for row in population["groupings"]] == ["poor against good"]
        assert {row["risk_class"] for row in population["survival"]} == {"good", "poor"}
        names = [row["score"] for row in population["concordance"]]
        assert names[:2] == ["ensemble", "two classes"] and len(names) == 2 + 3
    external = statistics["populations"]["external"]
    (ratio,), (grouping,) = external["hazard_ratios"], external["groupings"]
    assert (grouping["hr"], grouping["n_worse"]) == (ratio["hr"], external["classes"]["poor"])
    assert statistics["primary"]["hr"] == ratio["hr"] > 1
    for name in ("competing_deaths", "adjusted", "subgroups", "sites", "added_value", "treatment", "time_effects"):
        assert statistics[name] and "uncertain" not in str(statistics[name]), name


def test_the_report_speaks_of_two_classes_alone(validated: MadeCohort):
    out = validated.folder / "validation"
    text = re.sub(r"data:[^\"]*|<style.*?</style>", "", (out / "report.html").read_text(encoding="utf-8"), flags=re.S)
    said = re.sub(r"<[^>]+>", " ", text).replace("&#39;", "'")
    assert "not METHOD's ensemble: 3 networks at 20x" in said and "for the two classes" in said
    assert "A patient is good where the score lies below its threshold (0.5000 at 20x" in said
    others = r"three classes|(of|over) all (the )?(classes|groups)|[Bb]oth scores|both resolutions|ten networks"
    assert not re.search(rf"uncertain|{others}|five networks", said)
    remark = pd.read_csv(out / "tables" / "remark.csv", dtype=str, keep_default_na=False)
    (scores,) = remark.loc[remark["Fact"] == "distribution of the scores", "The report says"]
    assert scores == "The score of every analysed patient"
    cohorts = pd.read_csv(out / "tables" / "cohorts.csv")
    assert {"n_good", "n_poor", "hr_poor"} <= set(cohorts) and not [name for name in cohorts if "uncertain" in name]


def test_scores_of_another_resolution_or_a_class_that_does_not_follow_are_refused(
    validated: MadeCohort, tmp_path: Path
):
    scored = validated.folder / "scored"
    for name in ("patients.csv", "results.csv", "members.csv"):
        (tmp_path / name).write_text((scored / name).read_text())
    given = validated.settings(out=str(tmp_path / "out"), permutations=100)
    given |= {"scores": str(tmp_path / "patients.csv"), "results": str(tmp_path / "results.csv")}
    table = pd.read_csv(tmp_path / "patients.csv", dtype=str, keep_default_na=False)
    first = table.index[table["risk_class"] == "good"][0]
    table.assign(risk_class=table["risk_class"].where(table.index != first, "uncertain")).to_csv(
        tmp_path / "patients.csv", index=False
    )
    with pytest.raises(LockError, match="the class does not follow from the scores"):
        run(ValidateConfig(**given))
    table.rename(columns={"score_20x": "score_10x"}).to_csv(tmp_path / "patients.csv", index=False)
    with pytest.raises(InputError, match="the columns score_20x are missing"):
        run(ValidateConfig(**given))
