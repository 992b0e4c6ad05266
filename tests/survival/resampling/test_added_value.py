"""Two nested models beside each other: tests, paired differences, optimism, refusals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c, uno_c
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.prediction.accuracy import auc_at
from pathoprog.survival.prediction.differences import auc_difference, concordance_difference
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.regression.baseline import predict_risk
from pathoprog.survival.regression.cox_model import refitted
from pathoprog.survival.resampling.added_value import AddedValue, likelihood_ratio, shortened
from pathoprog.survival.table import CODE, TIME


def made(n: int = 160) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    age, mark, noise = rng.normal(size=n), rng.random(n) < 0.3, rng.normal(size=(n, 12))
    death, lost = rng.exponential(8 * np.exp(-0.5 * age - 0.9 * mark)), rng.uniform(2, 12, n)
    columns = {f"noise{k}": noise[:, k] for k in range(12)}
    return pd.DataFrame(
        {
            TIME: np.minimum(death, lost),
            CODE: (death <= lost).astype(int),
            "age": age,
            "class": np.where(mark, "poor", "good"),
            "cohort": rng.choice(["a", "b"], n),
            **columns,
        }
    )


DATA = made()
ASKED = Question(
    frame=DATA, base=("age",), added=("class",), reference={"class": "good"}, horizons=(3.0,), bootstrap=12, seed=2
)


@pytest.fixture(scope="module")
def found() -> AddedValue:
    result = ANALYSES["added_value"].run(ASKED)
    assert isinstance(result, AddedValue)
    return result


def test_the_test_and_both_c_are_those_of_the_two_models(found: AddedValue) -> None:
    base, full = (
        cox(DATA, TIME, CODE, names, {"class": "good"} if len(names) > 1 else None)
        for names in (["age"], ["age", "class"])
    )
    assert found.likelihood_ratio.statistic == pytest.approx(2 * (full.loglik - base.loglik))
    assert found.likelihood_ratio.df == 1
    given = (DATA[TIME], DATA[CODE])
    assert found.harrell.second == harrell_c(*given, full.linear_predictor).value
    assert found.uno.first == uno_c(*given, base.linear_predictor).value
    assert found.harrell.value == found.harrell.second - found.harrell.first > 0


def test_a_paired_difference_is_narrower_than_two_intervals_and_0_of_itself() -> None:
    rng = np.random.default_rng(1)
    first = DATA["age"] + rng.normal(0, 0.3, len(DATA))
    given = (DATA[TIME], DATA[CODE])
    gap = concordance_difference(*given, first, DATA["age"])
    assert 0 < gap.se < 0.5 * np.hypot(harrell_c(*given, first).se, harrell_c(*given, DATA["age"]).se)
    same = concordance_difference(*given, DATA["age"], DATA["age"] * 2)
    assert (same.value, same.se) == (0, 0) and np.isnan(same.p)
    auc = auc_difference(*given, first, DATA["age"], 3.0)
    assert auc.first == auc_at(*given, first, 3.0).value
    assert auc.value == pytest.approx(auc_at(*given, DATA["age"], 3.0).value - auc.first)
    assert np.isnan(auc_difference(*given, first, DATA["age"], 99.0).value)


def test_the_error_of_an_auc_difference_is_the_jackknifes() -> None:
    rng = np.random.default_rng(1)
    first = (DATA["age"] + rng.normal(0, 0.7, len(DATA))).to_numpy()
    time, event, second = (DATA[name].to_numpy() for name in (TIME, CODE, "age"))
    whole = auc_difference(time, event, first, second, 3.0)
    left = []
    for k in range(len(DATA)):
        rest = np.arange(len(DATA)) != k
        left.append(auc_difference(time[rest], event[rest], first[rest], second[rest], 3.0).value)
    n = len(DATA)
    jackknife = np.sqrt((n - 1) / n * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert whole.se == pytest.approx(jackknife, rel=0.03)


def test_optimism_is_taken_off_where_a_model_is_judged_on_its_own_patients(found: AddedValue) -> None:
    noisy = ANALYSES["added_value"].run(replace(ASKED, added=tuple(f"noise{k}" for k in range(12)), horizons=()))
    gain = noisy.corrected["c_difference"]
    assert gain.optimism > 0.02 and gain.value == pytest.approx(gain.apparent - gain.optimism)
    slope = noisy.corrected["slope_full"]
    assert slope.apparent == pytest.approx(1) and slope.value < 0.9
    assert gain.optimism > found.corrected["c_difference"].optimism
    assert gain.upper - gain.lower == pytest.approx(noisy.harrell.upper - noisy.harrell.lower)
    assert found.resamples == (12, 0)
    table = found.horizons[0].net_benefit
    assert list(table.columns) == ["threshold", "all", "base", "full", "base_corrected", "full_corrected"]
    assert (table["full_corrected"] != table["full"]).any()
    without = ANALYSES["added_value"].run(replace(ASKED, bootstrap=0))
    assert not without.corrected and "full_corrected" not in without.horizons[0].net_benefit


def test_the_same_seed_gives_the_same_optimism_inside_cohorts() -> None:
    asked = replace(ASKED, within="cohort", horizons=(), bootstrap=4)
    once, again = (ANALYSES["added_value"].run(replace(asked)) for _ in range(2))
    assert repr(once.corrected) == repr(again.corrected)
    whole = harrell_c(DATA[TIME], DATA[CODE], once.full_model.linear_predictor, strata=DATA["cohort"]).value
    assert once.harrell.second == pytest.approx(whole)


def test_no_patients_own_risk_is_written(found: AddedValue) -> None:
    part = shortened(found)
    assert (
        "risk" not in part["horizons"][0] and len(part["horizons"][0]["full"]["calibration_curve"]["predicted"]) <= 200
    )
    assert "Net reclassification" in part["note"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"base": ()}, "covariates to add them to"),
        ({"base": ("age", "class")}, "class: on both sides"),
        ({"frame": DATA.assign(**{CODE: 0})}, "no events"),
        ({"weight": "age"}, "added_value takes no case weights"),
    ],
)
def test_what_cannot_be_judged_says_why(asked: dict[str, Any], message: str) -> None:
    result = ANALYSES["added_value"].tried(replace(ASKED, **asked))
    assert isinstance(result, NotEstimated) and message in result.note


def test_models_that_are_not_nested_are_not_compared() -> None:
    one, other = (cox(DATA, TIME, CODE, [name]) for name in ("age", "noise1"))
    with pytest.raises(InputError, match="nested models"):
        likelihood_ratio(one, other)


def test_where_the_variance_is_robust_the_test_is_walds() -> None:
    data = DATA.assign(patient=np.arange(len(DATA)) // 2)
    base, full = (cox(data, TIME, CODE, names, patient="patient") for names in (["age"], ["age", "noise1"]))
    term = full.terms.iloc[1]
    assert likelihood_ratio(base, full).statistic == pytest.approx(term["z"] ** 2)


def test_a_refit_in_a_resample_is_the_model_of_the_drawn_table() -> None:
    frame = made_for_refits()
    whole = cox(frame, "time", "event", ["g", "x"], strata="cohort")
    rows = np.random.default_rng(3).integers(0, len(frame), len(frame))
    drawn, again = refitted(whole, rows), cox(
        frame.iloc[rows].reset_index(drop=True), "time", "event", ["g", "x"], strata="cohort"
    )  # fmt: skip
    np.testing.assert_allclose(drawn.coef, again.coef, rtol=1e-10)
    strata = whole.strata
    ours, theirs = (predict_risk(fit, whole.design.matrix, 0.8, strata) for fit in (drawn, again))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    with pytest.raises(InputError, match="a level is missing in this resample"):
        refitted(whole, np.flatnonzero(frame["g"] != "b"))
    with pytest.raises(InputError, match="3 terms for 0 events"):
        refitted(whole, np.flatnonzero(frame["event"] == 0))


def made_for_refits() -> pd.DataFrame:
    random = np.random.default_rng(2)
    frame = pd.DataFrame({"g": random.choice(["a", "b", "c"], 150), "x": random.normal(size=150)})
    time, lost = random.exponential(size=150) / np.exp(frame["x"]), random.uniform(0.3, 2, 150)
    ends = np.ceil(np.minimum(time, lost) * 20) / 20
    return frame.assign(time=ends, event=(time <= lost).astype(int), cohort=random.choice(["u", "v"], 150))
