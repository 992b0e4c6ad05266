"""A treatment by group: ratios within groups, their ratio, the interaction test, absolute benefit; the words used."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, kaplan_meier
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.question import NotEstimated, Question, Treatment
from pathoprog.survival.regression.subgroups import interaction_test
from pathoprog.survival.regression.treatment import TreatmentByGroup, effect_by_group
from pathoprog.survival.table import CODE, TIME


def made(n: int = 900, seed: int = 4) -> pd.DataFrame:
    """Treatment helps the poor alone: ratios 1, 1 and 0.4; the old are treated less, and die more."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["good", "uncertain", "poor"], n, p=[0.5, 0.2, 0.3])
    age = rng.normal(size=n)
    treated = rng.random(n) < 1 / (1 + np.exp(age))
    base = np.where(label == "poor", 0.3, np.where(label == "uncertain", 0.15, 0.08)) * np.exp(0.6 * age)
    death = rng.exponential(1 / (base * np.where((label == "poor") & treated, 0.4, 1.0)))
    other, lost = rng.exponential(25, n), rng.uniform(2, 9, n)
    times = np.vstack([lost, death, other])
    return pd.DataFrame(
        {
            TIME: times.min(axis=0),
            CODE: times.argmin(axis=0),
            "class": label,
            "drug": np.where(treated, "chemo", "none"),
            "x": treated.astype(float),
            "age": age,
            "cohort": rng.choice(["a", "b"], n),
            "patient": np.arange(n) // 2,
        }
    )


DATA = made()
CHEMO = Treatment("drug", "none", "chemo", True, ("age",))
ASKED = Question(
    frame=DATA,
    group="class",
    levels=("good", "uncertain", "poor"),
    reference={"class": "good"},
    treatment=CHEMO,
    horizons=(3.0,),
    competing=True,
)


@pytest.fixture(scope="module")
def found() -> TreatmentByGroup:
    result = ANALYSES["treatment"].run(ASKED)
    assert isinstance(result, TreatmentByGroup)
    return result


def test_ratios_within_groups_are_those_of_the_model_with_products() -> None:
    order = ["good", "uncertain", "poor"]
    ours = effect_by_group(DATA, TIME, CODE, "x", "class", order, ["age"], strata="cohort")
    data = DATA.assign(u=(DATA["class"] == "uncertain") * 1.0, p=(DATA["class"] == "poor") * 1.0)
    data = data.assign(xu=data["x"] * data["u"], xp=data["x"] * data["p"])
    fit = cox(data, TIME, CODE, ["u", "p", "x", "xu", "xp", "age"], strata="cohort")
    rows = {row["term"]: row for row in fit.terms.to_dict("records")}
    assert ours.within.loc[0, "hr"] == pytest.approx(rows["x"]["hr"], rel=1e-9)
    for k, name in enumerate(("xu", "xp")):
        ratio = ours.ratios.iloc[k]
        expected = [rows[name][key] for key in ("hr", "lower", "upper", "p")]
        assert [ratio[key] for key in ("ratio", "lower", "upper", "p")] == pytest.approx(expected, rel=1e-8)
        assert ours.within.loc[k + 1, "hr"] == pytest.approx(ratio["ratio"] * ours.within.loc[0, "hr"])
    test, n = interaction_test(DATA, TIME, CODE, "x", "class", ["age"], strata="cohort")
    assert (ours.interaction.statistic, ours.interaction.df, ours.n) == (pytest.approx(test.statistic), 2, n)


def test_the_truth_is_found(found: TreatmentByGroup) -> None:
    adjusted = found.adjusted
    assert not isinstance(adjusted, NotEstimated | None)
    within = adjusted.within.set_index("group")
    assert 0.2 < within.loc["poor", "hr"] < 0.6 and within.loc["poor", "upper"] < 1
    assert within.loc["good", "lower"] < 1 < within.loc["good", "upper"]
    assert adjusted.interaction.p_value < 0.01
    assert "p" not in adjusted.within  # groups are not compared by their own p-values


def test_absolute_benefit_is_the_difference_of_the_curves(found: TreatmentByGroup) -> None:
    one = next(benefit for benefit in found.benefits if benefit.group == "poor")
    poor = DATA[DATA["class"] == "poor"]
    sides = [poor[poor["drug"] == side] for side in ("none", "chemo")]
    curves = [kaplan_meier(side[TIME], side[CODE]).at(3.0) for side in sides]
    assert one.difference.value == pytest.approx(curves[1].survival[0] - curves[0].survival[0])
    assert one.difference.se == pytest.approx(np.hypot(curves[0].std_err[0], curves[1].std_err[0]))
    risks = [cumulative_incidence(side[TIME], side[CODE]).at(3.0).value[0] for side in sides]
    assert one.incidence.value == pytest.approx(risks[0] - risks[1])
    assert one.n == (len(sides[0]), len(sides[1]))
    # the treated are younger: standardised to the same ages less is gained
    assert 0 < one.standardised.value < one.difference.value and np.isnan(one.standardised.lower)


def test_a_bootstrap_gives_standardised_benefit_its_limits() -> None:
    asked = replace(ASKED, bootstrap=10, within="cohort")
    one = ANALYSES["treatment"].run(asked).benefits[-1]
    assert one.standardised.lower < one.standardised.value < one.standardised.upper


def test_without_randomisation_it_is_an_association(found: TreatmentByGroup) -> None:
    other = ANALYSES["treatment"].run(replace(ASKED, treatment=replace(CHEMO, randomised=False)))
    assert (found.word, other.word) == ("effect", "association")
    assert "alone shows no interaction" in found.note == other.note


def test_a_group_in_which_none_or_all_were_treated_has_no_ratio() -> None:
    frame = DATA.assign(drug=DATA["drug"].where(DATA["class"] != "uncertain", "none"))
    result = ANALYSES["treatment"].run(replace(ASKED, frame=frame))
    row = result.unadjusted.within.set_index("group").loc["uncertain"]
    assert row["note"] and np.isnan(result.unadjusted.ratios.iloc[0]["ratio"])
    assert result.unadjusted.interaction.df == 1
    one = next(benefit for benefit in result.benefits if benefit.group == "uncertain")
    assert one.note == "nobody here with and without it" and np.isnan(one.difference.value)


def test_several_rows_of_a_patient_make_the_interaction_test_robust() -> None:
    plain = effect_by_group(DATA, TIME, CODE, "x", "class")
    robust = effect_by_group(DATA, TIME, CODE, "x", "class", patient="patient")
    assert plain.ratios.loc[0, "ratio"] == pytest.approx(robust.ratios.loc[0, "ratio"])
    assert plain.ratios.loc[0, "upper"] != robust.ratios.loc[0, "upper"]
    assert robust.interaction.df == 2 and robust.interaction.statistic != plain.interaction.statistic


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"treatment": None}, "takes a treatment and a group"),
        ({"treatment": replace(CHEMO, treated="surgery")}, "'chemo' is neither none nor surgery"),
        ({"frame": DATA.assign(drug="none")}, "all patients are none"),
        ({"entry": "age"}, "treatment takes no delayed entry"),
    ],
)
def test_what_cannot_be_looked_at_says_why(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ANALYSES["treatment"].run(replace(ASKED, **asked))
