"""Analyses beyond the curves: right on made-up cohorts, and honest where there is nothing to estimate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_cohort import THRESHOLDS, make_cohort
from shared_data import shared_data

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.ensemble.stage_groups import StageGroups, fit_stage_groups
from pathoprog.errors import InputError
from pathoprog.report.document import Table, Text
from pathoprog.report.validation.recalibration import recalibration_blocks
from pathoprog.survival import cox, kaplan_meier
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.regression.baseline import predict_risk
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.validation.absolute_risk import absolute_risk
from pathoprog.validation.analyses import survival_table
from pathoprog.validation.populations import Population, analysed_patients, populations_of
from pathoprog.validation.score_tables import read_patients
from pathoprog.validation.secondary_analyses import (
    adjusted,
    competing_deaths,
    horizon_values,
    restricted_means,
    stage_combined,
    subgroups,
)


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


def test_nothing_is_said_of_a_class_after_its_last_follow_up(populations: dict[str, Population]):
    whole = populations["external"]
    data = whole.patients.copy()
    poor = data["risk_class"] == "poor"
    late = poor & (data["years"] >= 2.5)
    data["followup_days"] = data["followup_days"].astype(float)
    data.loc[late, ["years", "followup_days", "event"]] = [2.5, 2.5 * 365.25, 0]
    short = Population("external", "all", data, pooled=True)
    rows = pd.DataFrame(survival_table(short)).set_index(["risk_class", "year"]).sort_index()
    assert rows.loc[("poor", 2.0), ["survival", "lower", "upper"]].notna().all()
    assert rows.loc[("poor", 3.0), ["survival", "lower", "upper"]].isna().all()
    assert rows.loc[("good", 3.0), "survival"] > 0.5
    incidence = (
        pd.DataFrame(competing_deaths(short, (2.0, 3.0))["incidence"]).set_index(["risk_class", "years"]).sort_index()
    )
    assert incidence.loc[("poor", 3.0), ["incidence", "lower", "upper"]].isna().all(axis=None)
    assert incidence.loc[("poor", 2.0), "incidence"].notna().all()
    means = {row["risk_class"]: row for row in restricted_means(short, 3.0)}
    assert np.isnan(means["poor"]["mean"]) and np.isnan(means["poor"]["difference"]) and means["good"]["mean"] > 2
    data.loc[late, "event"] = 1  # all of them have the event: everyone's fate is known
    known = Population("external", "all", data[poor | (data["risk_class"] == "good")], pooled=True)
    rows = pd.DataFrame(survival_table(known)).set_index(["risk_class", "year"]).sort_index()
    assert rows.loc[("poor", 3.0), "survival"] == 0
    assert restricted_means(known, 3.0)[-1]["mean"] < 2.5


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
    (part,) = found["horizons"]
    assert set(part["calibration_curve"]) == {"predicted", "observed", "lower", "upper"}
    moved = part["recalibrated"]
    assert moved["name"] == "external: trial 1 model, recalibrated at 3" and moved["n"] == found["n_judged"]
    text, table = recalibration_blocks(found, "planned")
    assert isinstance(text, Text) and "must be validated in others" in text.text
    assert isinstance(table, Table) and table.data.loc[0, "slope"] == part["calibration"]["slope"]["value"]


def test_risks_never_come_from_a_cohort_selected_on_outcome(populations: dict[str, Population]):
    judged = populations["external_trial 2"]
    for key in ("training", "test_retest", "external_trial 2"):
        with pytest.raises(InputError, match="must be another external cohort"):
            absolute_risk(judged, populations[key], (3.0,))
    assert "states no absolute-risk model" in absolute_risk(judged, None, (3.0,))["note"]


def test_a_model_is_never_judged_on_the_patients_it_was_fitted_on(populations: dict[str, Population]):
    source, judged, whole = (populations[key] for key in ("external_trial 1", "external_trial 2", "external"))
    pooled, alone = absolute_risk(whole, source, (3.0, 5.0)), absolute_risk(judged, source, (3.0, 5.0))
    assert pooled["horizons"] == alone["horizons"]
    assert pooled["n_judged"] == len(judged.patients) and pooled["n_left_out"] == len(source.patients)
    assert alone["n_left_out"] == 0
    only = Population("external", "external", source.patients, pooled=True)
    assert "are those of external: trial 1, on whom the model is fitted" in absolute_risk(only, source, (3.0,))["note"]


def test_where_deaths_compete_risks_are_absolute_and_the_net_ones_say_so(populations: dict[str, Population]):
    source, judged = populations["external_trial 1"], populations["external_trial 2"]
    (part,) = absolute_risk(judged, source, (5.0,))["horizons"]
    data = judged.patients
    aj = cumulative_incidence(data["years"], data["event"]).at(5.0).value[0]
    km = 1 - kaplan_meier(data["years"], data["event"]).at(5.0).survival[0]
    absolute, net, taken = part["calibration"], part["net"]["net"], part["net"]["net_taken_for_absolute"]
    assert (absolute["competing"], net["competing"], taken["competing"]) == (True, False, True)
    assert absolute["observed"]["value"] == taken["observed"]["value"] == pytest.approx(aj)
    assert aj < km - 0.01
    assert net["observed"]["value"] == pytest.approx(km)
    model = fine_gray(source.patients, "years", "event", ["one_number"])
    assert absolute["expected"] == pytest.approx(model.predict(data, 5.0).mean())
    by_cox = predict_risk(cox(source.patients, "years", "event", ["one_number"]), data[["one_number"]].to_numpy(), 5.0)
    assert net["expected"] == taken["expected"] == pytest.approx(by_cox.mean())
    assert net["expected"] > absolute["expected"]


def test_without_competing_deaths_there_is_one_calibration(populations: dict[str, Population]):
    def single(key: str) -> Population:
        data = populations[key].patients
        return Population("external", key, data.assign(event=data["event"].where(data["event"] == 1, 0)), pooled=False)

    found = absolute_risk(single("external_trial 2"), single("external_trial 1"), (3.0,))
    assert found["model"].startswith("Cox model") and not found["competing"]
    assert "net" not in found["horizons"][0] and not found["horizons"][0]["calibration"]["competing"]


def test_competing_deaths_in_one_of_the_two_cohorts_are_enough(populations: dict[str, Population]):
    source, judged = populations["external_trial 1"], populations["external_trial 2"]
    data = source.patients
    clean = Population("external", "c", data.assign(event=data["event"].where(data["event"] == 1, 0)), pooled=False)
    for one, other in ((judged, clean), (clean, judged)):
        assert absolute_risk(one, other, (3.0,))["horizons"][0]["calibration"]["competing"]


def test_a_horizon_after_the_last_follow_up_is_no_calibration(populations: dict[str, Population]):
    source, judged = populations["external_trial 1"], populations["external_trial 2"]
    data = judged.patients
    short = Population("external", "s", data.assign(years=data["years"].clip(upper=4.0)), pooled=False)
    parts = absolute_risk(short, source, (3.0, 5.0, 40.0))["horizons"]
    assert parts[0]["note"] == ""
    assert parts[1] == {"years": 5.0, "note": "who is judged: not followed for 5 years"}
    assert "external: trial 1 and who is judged: not followed for 40 years" in parts[2]["note"]


def test_the_contaminated_calibration_of_the_shared_table():
    """O/E at 3 years was 1.20 with the cohort that the model was fitted on, and is 1.29 without it (net)."""
    path = shared_data("../cases/tables/ext.csv")
    sites = {"lab_7": "A", "lab_8": "A", "lab_9": "B", "lab_10": "B", "lab_11": "C", "lab_12": "C"}
    data = pd.read_csv(path).assign(cohort=lambda table: table["prep_site"].map(sites))
    data["years"] = data["followup_days"] / 365.25
    source = Population("external", "A", data[data["cohort"] == "A"], pooled=False)
    found = absolute_risk(Population("external", "external", data, pooled=True), source, (3.0,))
    assert (found["n_judged"], found["n_left_out"]) == (180, 70)
    assert found["horizons"][0]["net"]["net"]["ratio"]["value"] == pytest.approx(1.29, abs=0.005)
    risk = predict_risk(cox(source.patients, "years", "event", ["one_number"]), data[["one_number"]].to_numpy(), 3.0)
    assert calibration(data["years"], data["event"], risk, 3.0).ratio.value == pytest.approx(1.20, abs=0.005)


def test_stage_groups_are_not_judged_on_the_cohorts_that_they_were_fitted_on(populations: dict[str, Population]):
    whole, one, other = (populations[key] for key in ("external", "external_trial 1", "external_trial 2"))
    fitted = fit_stage_groups(one.patients)
    table = StageGroups(fitted.groups, fitted.record)
    found, alone = stage_combined(whole, table, (3.0,)), stage_combined(other, table, (3.0,))
    assert found["n"] == alone["n"] and found["concordance"] == alone["concordance"]
    assert found["n_left_out"] == len(one.patients) and alone["n_left_out"] == 0
    assert "on these very patients" in stage_combined(one, table, (3.0,))["note"]
