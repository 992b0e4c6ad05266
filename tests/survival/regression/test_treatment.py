"""A treatment by group: ratios within groups, their ratio, the interaction test, absolute benefit; the words used."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, t

from pathoprog.errors import InputError
from pathoprog.survival import cox, kaplan_meier
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import limits_of_difference
from pathoprog.survival.question import NotEstimated, Question, Treatment
from pathoprog.survival.regression.baseline import cumulative_hazard, survival_gained
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
    assert 0 < one.standardised.lower < one.standardised.value < one.difference.value


def test_limits_of_absolute_benefit_are_recovered_from_those_of_the_curves(found: TreatmentByGroup) -> None:
    """Zou and Donner 2008: each limit lies as far off as the two curves' own limits on its side together."""
    one = next(benefit for benefit in found.benefits if benefit.group == "poor")
    poor = DATA[DATA["class"] == "poor"]
    none, chemo = (kaplan_meier(side[TIME], side[CODE]).at(3.0) for side in
                   (poor[poor["drug"] == drug] for drug in ("none", "chemo")))  # fmt: skip
    gap, limits = one.difference.value, (one.difference.lower, one.difference.upper)
    down = (chemo.survival[0] - chemo.lower[0]) ** 2 + (none.upper[0] - none.survival[0]) ** 2
    up = (chemo.upper[0] - chemo.survival[0]) ** 2 + (none.survival[0] - none.lower[0]) ** 2
    assert limits == pytest.approx((gap - down**0.5, gap + up**0.5))
    assert gap - limits[0] != pytest.approx(limits[1] - gap, rel=0.01)  # not symmetric
    # nobody dies in one curve, all in the other: the exact limits of 12 and of 9, not those of no spread at all
    alive, dead = kaplan_meier([5.0] * 12 + [1.0] * 3, [0] * 15), kaplan_meier(np.arange(1.0, 10), [1] * 9)
    assert limits_of_difference(dead, alive, 9.5)[1] == 1.0  # nobody is at risk any more
    exact = [binomtest(0, n).proportion_ci(method="exact").high for n in (12, 9)]
    kept = kaplan_meier([9.0] * 12, [0] * 12)
    assert limits_of_difference(dead, kept, 9.0) == pytest.approx((1 - float(np.hypot(*exact)), 1.0))


def test_limits_of_standardised_benefit_are_wider_where_events_are_few() -> None:
    """T of events less terms, and HC1's factor with events for rows; about the estimate."""
    for n, within in ((120, ""), (900, "cohort")):
        asked = replace(ASKED, frame=made(n), within=within)
        events = int((asked.frame[CODE] == 1).sum())
        factor = t.ppf(0.975, events - 6) * np.sqrt(events / (events - 6))  # two groups, three effects, age
        for benefit in ANALYSES["treatment"].run(asked).benefits:
            one = benefit.standardised
            assert one.upper - one.value == pytest.approx(factor * one.se)
            assert one.value - one.lower == pytest.approx(factor * one.se)


def test_survival_gained_is_that_of_risk_regression() -> None:
    """R 4.2.2, riskRegression 2022.11.28: ate(coxph(Surv(time, event) ~ a + x), treatment = "a", times = c(6, 12))."""
    time = [0.9, 1.7, 2.3, 3.1, 3.8, 4.4, 5.2, 5.9, 6.3, 7.1, 7.7, 8.2]
    time += [9.4, 10.1, 11.3, 12.2, 13.5, 14.1, 15.7, 16.3, 17.2, 18.9, 19.5, 20.8]
    event = [1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0]
    a = [0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1]
    x = [0.8, 1.2, 0.1, -0.3, 1.1, 0.4, -0.7, 0.9, 0.2, -1.1, 0.6, -0.2]
    x += [0.3, 1.4, -0.9, -0.4, 0.5, -1.3, 0.7, 0, -0.6, -1.2, 0.25, -0.8]
    fit = cox(pd.DataFrame({"time": time, "event": event, "a": a, "x": x}), "time", "event", ["a", "x"])
    sides = [np.column_stack((np.full(24, side), x)) for side in (0.0, 1.0)]
    for horizon, value, se in (
        (6, 0.323607074803399, 0.0824129168729346),
        (12, 0.419220734977268, 0.0954553565267849),
    ):
        found = survival_gained(fit, *sides, np.zeros(24, dtype=int), 1, horizon)
        assert found.value[0] == pytest.approx(value, rel=1e-9)
        assert np.sqrt((found.influence**2).sum()) == pytest.approx(se, rel=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("strata", [None, "cohort"])
def test_the_influence_on_survival_gained_is_its_slope_by_each_patient_s_weight(ties: str, strata: str | None) -> None:
    data = made(60)
    data[TIME] = np.ceil(data[TIME] * 4) / 4  # ties
    fit = cox(data, TIME, CODE, ["x", "age"], strata=strata, ties=ties)
    sides = [fit.design.matrix * [0, 1] + [side, 0] for side in (0, 1)]
    place = (data["class"] == "poor").to_numpy().astype(int)
    found = survival_gained(fit, *sides, place, 2, 3.0)

    def gained(weight: np.ndarray) -> np.ndarray:
        one = cox(data.assign(w=weight), TIME, CODE, ["x", "age"], strata=strata, ties=ties, weight="w")
        block = np.zeros(60, dtype=int) if one.strata is None else one.strata
        hazard = np.array([cumulative_hazard(one, 3.0, k) for k in range(block.max() + 1)])[block]
        gain = np.exp(-hazard * np.exp(sides[1] @ one.coef)) - np.exp(-hazard * np.exp(sides[0] @ one.coef))
        return np.array([np.average(gain[place == k], weights=weight[place == k]) for k in (0, 1)])

    assert found.value == pytest.approx(gained(np.ones(60)), abs=1e-12)
    for k in range(0, 60, 7):
        step = np.where(np.arange(60) == k, 1e-4, 0.0)
        slope = (gained(1 + step) - gained(1 - step)) / 2e-4
        assert found.influence[k] == pytest.approx(slope, abs=1e-9)


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
    assert np.isnan(one.standardised.value)  # not 0: nothing is known of it


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
