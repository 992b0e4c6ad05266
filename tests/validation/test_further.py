"""Analyses beyond the curves: right on made-up cohorts, and honest where there is nothing to estimate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_cohort import THRESHOLDS, make_cohort

from pathoprog.cohort import read_cohort, read_outcomes
from pathoprog.errors import InputError
from pathoprog.survival import cox
from pathoprog.validation.further import (
    absolute_risk,
    adjusted,
    competing_deaths,
    horizon_values,
    restricted_means,
    subgroups,
)
from pathoprog.validation.populations import Population, analysed_patients, populations_of
from pathoprog.validation.score_tables import read_patients


@pytest.fixture(scope="module")
def populations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Population]:
    made: Path = make_cohort(tmp_path_factory.mktemp("made"), development=60, test=10, external=(260, 240)).folder
    cohort = read_cohort(made / "cohort.csv", made / "overlap.json")
    patients = read_patients(made / "scored" / "patients.csv", THRESHOLDS)
    analysed = analysed_patients(cohort, patients, read_outcomes(made / "outcomes.csv"), set())
    return {population.key: population for population in populations_of(analysed)}


def test_both_groupings_at_each_horizon_by_every_estimator(populations: dict[str, Population]):
    table = pd.DataFrame(horizon_values(populations["external"], (3.0, 5.0)))
    assert len(table) == 2 * 2 * 4
    first = table.set_index(["grouping", "years", "estimator"])
    km, weights = (first.loc[("poor against the rest", 3.0, name)] for name in ("Kaplan-Meier", "inverse weights"))
    assert km["ppv"] == pytest.approx(weights["ppv"], abs=0.03)
    assert km["ppv_lower"] < km["ppv"] < km["ppv_upper"]
    net, crude = (first.loc[("poor against the rest", 5.0, name), "ppv"] for name in ("Kaplan-Meier", "Aalen-Johansen"))
    assert crude < net  # deaths of other causes make room
    rest = first.xs("the rest against good", level="grouping")
    assert (rest["sensitivity"] > first.xs("poor against the rest", level="grouping")["sensitivity"]).all()


def test_one_class_only_says_so(populations: dict[str, Population]):
    whole = populations["external"]
    data = whole.patients
    alone = Population("external", "x", data[data["risk_class"] == "good"], pooled=False)
    rows = horizon_values(alone, (3.0,))
    assert all("all patients are in one class" in row["note"] for row in rows)


def test_incidences_of_both_causes_stay_below_one(populations: dict[str, Population]):
    found = competing_deaths(populations["external"], (3.0, 5.0))
    table = pd.DataFrame(found["incidence"])
    assert (table.groupby(["risk_class", "years"])["incidence"].sum() < 1).all()
    assert found["gray"]["p_value"] < 0.001
    assert 0.6 < found["c_deaths_as_controls"]["value"] < 0.9


def test_adjusted_ratios_complete_and_imputed(populations: dict[str, Population]):
    population = populations["external"]
    found = adjusted(population, ("age", "pT", "no_such"), 3.0, seed=1)
    assert found["absent"] == ["no_such"]
    complete, imputed = found["complete_cases"], found["imputed"]
    assert complete["n"] < imputed["n"] == len(population.patients)
    by_hand = cox(
        population.patients, "followup_days", "event", ["risk_class", "age", "pT"], {"risk_class": "good"}, "cohort"
    )
    np.testing.assert_allclose([row["coef"] for row in complete["terms"]], by_hand.terms["coef"], rtol=1e-9)
    assert found["proportional_hazards"][-1]["term"] == "GLOBAL"


def test_restricted_means_against_good(populations: dict[str, Population]):
    rows = {row["risk_class"]: row for row in restricted_means(populations["external"], 3.0)}
    assert rows["good"]["mean"] > rows["poor"]["mean"]
    assert rows["poor"]["difference"] == pytest.approx(rows["poor"]["mean"] - rows["good"]["mean"])
    assert "difference" not in rows["good"]


def test_subgroups_have_one_test_each_and_none_inside(populations: dict[str, Population]):
    found = {part["by"]: part for part in subgroups(populations["external"], ("scanner", "stage", "organ", "no_such"))}
    assert found["organ"]["note"] == found["no_such"]["note"] == "absent, or the same for all"
    assert {row["subgroup"] for row in found["stage"]["rows"]} == {"II", "III"}
    assert all("p" not in row for row in found["stage"]["rows"])
    assert 0 <= found["stage"]["interaction"]["p_value"] <= 1
    assert sum(row["n"] for row in found["stage"]["rows"]) == 2 * len(populations["external"].patients)


def test_risks_of_another_cohort_are_calibrated(populations: dict[str, Population]):
    source, judged = populations["external_trial 1"], populations["external_trial 2"]
    found = absolute_risk(judged, source, (3.0,))
    (part,) = found["horizons"]
    assert "fitted on external: trial 1" in found["model"]
    assert 0.6 < part["calibration"]["ratio"]["value"] < 1.6  # both trials were drawn from one hazard
    assert part["calibration"]["slope"]["lower"] < 1 < part["calibration"]["slope"]["upper"]


def test_risks_never_come_from_a_cohort_selected_on_outcome(populations: dict[str, Population]):
    judged = populations["external_trial 2"]
    for key in ("training", "test_retest", "external_trial 2"):
        with pytest.raises(InputError, match="must be another external cohort"):
            absolute_risk(judged, populations[key], (3.0,))
    assert "states no absolute-risk model" in absolute_risk(judged, None, (3.0,))["note"]
