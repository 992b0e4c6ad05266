"""Made-up patients: their truth is what the settings say."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.simulate.config import SimulateConfig
from pathoprog.simulate.patients import POOR_ABOVE_SD, SITES, plan_slides, simulate_patients
from pathoprog.survival import harrell_c
from pathoprog.survival.regression.treatment import effect_by_group

DEMO = SimulateConfig(out="unused")
MANY = SimulateConfig(out="unused", development_patients=3000, external_patients=3000)


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    return simulate_patients(MANY)


def test_a_patient_does_not_depend_on_the_others(many: pd.DataFrame) -> None:
    few = simulate_patients(SimulateConfig(out="unused", development_patients=5, external_patients=4))
    expected = pd.concat([many.iloc[:5], many.iloc[3000:3004]], ignore_index=True)
    pd.testing.assert_frame_equal(few, expected)


def test_seeds_differ() -> None:
    other = simulate_patients(dataclasses.replace(DEMO, seed=2))
    assert not np.isclose(other["architecture"], simulate_patients(DEMO)["architecture"]).any()


def test_the_hidden_factors_have_the_correlation_asked_for(many: pd.DataFrame) -> None:
    factors = many[["architecture", "nuclei"]]
    assert np.corrcoef(factors.T)[0, 1] == pytest.approx(0.8, abs=0.02)
    assert factors.mean().abs().max() < 0.05
    assert factors.std().to_numpy() == pytest.approx([1, 1], abs=0.04)
    assert many["log_hazard"].std() == pytest.approx(DEMO.log_hazard_sd, rel=0.04)


def test_the_blocks_of_a_patient_differ_a_little() -> None:
    patients = simulate_patients(MANY)
    slides = plan_slides(MANY, patients).merge(patients, on="patient_id", suffixes=("", "_of_patient"))
    for name in ("architecture", "nuclei"):
        assert (slides[name] - slides[f"{name}_of_patient"]).std() == pytest.approx(DEMO.block_sd, rel=0.05)


def test_follow_up_ends_with_what_came_first(many: pd.DataFrame) -> None:
    days = many["followup_days"]
    assert (days >= 1).all()
    assert np.allclose(days[many["event"] == 1], np.maximum(many["cancer_death_days"], 1)[many["event"] == 1], atol=1)
    assert np.allclose(days[many["event"] == 2], np.maximum(many["other_death_days"], 1)[many["event"] == 2], atol=1)
    assert (days <= many[["cancer_death_days", "other_death_days"]].min(axis=1) + 1).all()


def test_other_deaths_come_with_age_and_not_with_the_factors(many: pd.DataFrame) -> None:
    other = many["event"] == 2
    assert many.loc[other, "age"].mean() > many["age"].mean() + 4
    c = harrell_c(many["followup_days"], other.astype(int), many["log_hazard"])
    assert c.lower < 0.5 < c.upper


def test_roles_follow_the_distinct_outcome() -> None:
    patients = simulate_patients(DEMO)
    development = patients[patients["population"] == "development"]
    label = distinct_outcome(development).to_numpy()
    assert ((label != "") == (development["role"] == "training")).all()
    assert set(patients.loc[patients["population"] == "external", "role"]) == {"external"}


def test_the_demo_is_large_and_hard_enough() -> None:
    patients = simulate_patients(DEMO)
    slides = plan_slides(DEMO, patients)
    external = patients[patients["role"] == "external"]
    assert (patients["role"] == "training").sum() >= 120
    assert (external["event"] == 1).sum() >= 60
    assert 0.70 <= harrell_c(external["followup_days"], external["event"], external["log_hazard"]).value <= 0.80
    assert slides["slide_id"].is_unique
    assert (slides.groupby(["patient_id", "role"]).size() == 2).groupby("role").sum().min() > 0


def test_true_c_index_of_the_population(many: pd.DataFrame) -> None:
    c = harrell_c(many["followup_days"], many["event"], many["log_hazard"])
    assert 0.74 < c.value < 0.80


def test_test_slides_are_other_blocks_prepared_elsewhere() -> None:
    slides = plan_slides(DEMO, simulate_patients(DEMO))
    test = slides[slides["role"] == "test"]
    rest = slides[slides["role"] != "test"]
    developed = rest[rest["role"].isin(["training", "tuning"])]
    assert test["patient_id"].nunique() == DEMO.test_patients
    assert set(test["patient_id"]) <= set(developed["patient_id"])
    assert not set(zip(test["patient_id"], test["block_id"], strict=True)) & set(
        zip(rest["patient_id"], rest["block_id"], strict=True)
    )
    assert not set(test["prep_site"]) & set(rest["prep_site"])
    external = slides[slides["role"] == "external"]
    others = slides[slides["role"] != "external"]
    for column in ("patient_id", "prep_site", "scan_site", "scanner"):
        assert not set(external[column]) & set(others[column])


@pytest.mark.parametrize(("switch", "weights"), [("architecture", (1, 0)), ("nuclei", (0, 1)), ("none", (0, 0))])
def test_the_hazard_can_be_on_one_factor_or_none(switch: str, weights: tuple[int, int]) -> None:
    settings = dataclasses.replace(DEMO, hazard=switch)
    patients = simulate_patients(settings)
    expected = settings.log_hazard_sd * (weights[0] * patients["architecture"] + weights[1] * patients["nuclei"])
    assert np.allclose(patients["log_hazard"], expected)


def test_without_a_hazard_the_factors_tell_nothing() -> None:
    patients = simulate_patients(dataclasses.replace(MANY, hazard="none"))
    c = harrell_c(patients["followup_days"], patients["event"], patients["architecture"])
    assert c.lower < 0.5 < c.upper


def test_the_outcome_can_be_confounded_with_the_site() -> None:
    patients = simulate_patients(dataclasses.replace(MANY, hazard="none", site_log_hazard=2.0))
    slides = plan_slides(MANY, patients).merge(patients[["patient_id", "log_hazard"]], on="patient_id")
    labs = [site.name for cohort in ("dev_north", "dev_south") for site in SITES[cohort]]
    by_lab = slides[slides["role"].isin(["training", "tuning"])].groupby("prep_site")["log_hazard"].unique()
    assert [by_lab[lab].tolist() for lab in labs] == [pytest.approx([x]) for x in (-1, -1 / 3, 1 / 3, 1)]
    assert (patients.loc[patients["population"] == "external", "log_hazard"] == 0).all()


def test_covariates_are_weakly_tied_to_the_hazard_and_partly_missing(many: pd.DataFrame) -> None:
    for name in ("pT", "pN", "grade", "nodes_sampled"):
        known = many[many[name] != ""]
        assert 1 - len(known) / len(many) == pytest.approx(DEMO.missing_fraction, abs=0.02)
        if name != "nodes_sampled":
            c = harrell_c(known["followup_days"], known["event"], known[name].astype(float))
            assert 0.52 < c.value < 0.67
    known = many[(many["pN"] != "") & (many["stage"] != "")]
    assert ((known["pN"] != "0") == (known["stage"] == "III")).all()


def treated_table(**more: object) -> pd.DataFrame:
    """External patients with their true poor."""
    settings = SimulateConfig(out="unused", development_patients=4, external_patients=4000, **more)  # type: ignore[arg-type]
    patients = simulate_patients(settings)
    external = patients[patients["population"] == "external"]
    poor = external["log_hazard"] > POOR_ABOVE_SD * settings.log_hazard_sd
    assert poor.mean() == pytest.approx(1 / 3, abs=0.03)
    return external.assign(had=(external["treatment"] == "yes").astype(int), group=np.where(poor, "poor", "rest"))


def test_without_benefit_every_outcome_is_what_it_is_without_a_treatment(many: pd.DataFrame) -> None:
    assert set(many.loc[many["population"] == "development", "treatment"]) == {"no"}
    external = many[many["population"] == "external"]
    assert (external["treatment"] == "yes").mean() == pytest.approx(0.5, abs=0.03)
    assert (many["treatment_log_hazard"] == 0).all()
    means = external.groupby("treatment")["log_hazard"].mean()
    assert abs(means["yes"] - means["no"]) < 0.1  # chance gave it
    # The outcome of the demo's first external patients, as they were before there was a treatment.
    demo = simulate_patients(DEMO)
    assert demo.loc[demo["population"] == "external", "followup_days"].head(3).tolist() == [2638, 1586, 1318]


def test_a_benefit_changes_the_treated_alone(many: pd.DataFrame) -> None:
    changed = simulate_patients(dataclasses.replace(MANY, treatment="benefit_in_poor"))
    moved = changed["cancer_death_days"] != many["cancer_death_days"]
    poor = many["log_hazard"] > POOR_ABOVE_SD * MANY.log_hazard_sd
    assert moved.equals((many["treatment"] == "yes") & poor)
    assert changed.loc[moved, "treatment_log_hazard"].to_numpy() == pytest.approx(np.log(0.5))
    kept = ["treatment", "log_hazard", "age", "sex", "pT", "other_death_days"]
    pd.testing.assert_frame_equal(changed[kept], many[kept])


@pytest.mark.parametrize(
    ("treatment", "rest", "ratio"),
    [("no_benefit", 1.0, 1.0), ("equal_benefit", 0.5, 1.0), ("benefit_in_poor", 1.0, 0.5)],
)
def test_the_ratio_of_hazard_ratios_is_the_one_asked_for(treatment: str, rest: float, ratio: float) -> None:
    table = treated_table(treatment=treatment)
    found = effect_by_group(table, "followup_days", "event", "had", "group", ["rest", "poor"], ["log_hazard"])
    for row, value, truth in (
        (found.within.set_index("group").loc["rest"], "hr", rest),
        (found.ratios.iloc[0], "ratio", ratio),
    ):
        se = np.log(row["upper"] / row["lower"]) / (2 * 1.96)
        assert abs(np.log(row[value] / truth)) < 3 * se < 0.45
    assert (found.interaction.p_value < 0.001) == (ratio < 1)


def test_disease_free_survival_ends_with_a_recurrence_or_any_death(many: pd.DataFrame) -> None:
    free, died = many["disease_free_days"], many["event"] > 0
    assert (free <= many["followup_days"]).all() and (free >= 1).all()
    recurred = free < many["followup_days"]
    assert (many.loc[recurred | died, "disease_free_event"] == 1).all()
    assert (many.loc[~(recurred | died), "disease_free_event"] == 0).all()
    share = free[recurred] / many.loc[recurred, "cancer_death_days"]
    assert share.between(0.29, 0.91).all()
    assert (recurred & (many["event"] == 0)).sum() > 20 and (recurred & (many["event"] == 1)).sum() > 200
