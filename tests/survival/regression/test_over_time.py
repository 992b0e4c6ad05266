"""Ratios in pieces and from landmarks on; adjusted differences of restricted means by pseudo-observations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, kaplan_meier, logrank
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.restricted_mean import restricted_mean
from pathoprog.survival.question import Model, NotEstimated, Question
from pathoprog.survival.regression.over_time import EffectsOverTime, piecewise_ratios, split_at
from pathoprog.survival.regression.proportional import proportional_hazards
from pathoprog.survival.regression.pseudo_mean import adjusted_means, pseudo_means
from pathoprog.survival.table import CODE, TIME


def made(n: int = 500) -> pd.DataFrame:
    """The poor die sooner up to 2 years (ratio 4), and no sooner after; the old are poor more often."""
    rng = np.random.default_rng(9)
    age = rng.normal(size=n)
    poor = rng.random(n) < 1 / (1 + np.exp(1 - 0.8 * age))
    early = rng.exponential(1 / (0.12 * np.where(poor, 4.0, 1.0) * np.exp(0.3 * age)))
    late = 2 + rng.exponential(1 / (0.12 * np.exp(0.3 * age)))
    death, lost = np.where(early <= 2, early, late), rng.uniform(3, 9, n)
    return pd.DataFrame(
        {
            TIME: np.minimum(death, lost).round(2) + 0.01,
            CODE: (death <= lost).astype(int),
            "class": np.where(poor, "poor", "good"),
            "age": age,
            "cohort": rng.choice(["a", "b"], n),
        }
    )


DATA = made()
ASKED = Question(
    frame=DATA,
    group="class",
    levels=("good", "poor"),
    reference={"class": "good"},
    adjusted=Model(("class", "age")),
    tau=5.0,
    cuts=(2.0,),
    landmarks=(2.0, 40.0),
)


@pytest.fixture(scope="module")
def found() -> EffectsOverTime:
    result = ANALYSES["time_effects"].run(ASKED)
    assert isinstance(result, EffectsOverTime)
    return result


def test_each_piece_is_the_model_of_its_own_follow_up(found: EffectsOverTime) -> None:
    assert found.piecewise is not None and not isinstance(found.piecewise, NotEstimated)
    rows = found.piecewise.rows
    short = DATA.assign(**{CODE: np.where(DATA[TIME] <= 2, DATA[CODE], 0), TIME: DATA[TIME].clip(upper=2)})
    late = DATA[DATA[TIME] > 2]
    first, second = (cox(data, TIME, CODE, ["class"], {"class": "good"}) for data in (short, late))
    np.testing.assert_allclose(rows["coef"], [first.coef[0], second.coef[0]], rtol=1e-9)
    np.testing.assert_allclose(rows["se"] ** 2, [first.covariance[0, 0], second.covariance[0, 0]], rtol=1e-9)
    assert list(rows["n"]) == [len(DATA), len(late)] and rows["events"].sum() == DATA[CODE].sum()
    assert rows.loc[0, "hr"] > 2.5 and 0.5 < rows.loc[1, "hr"] < 1.6
    assert found.piecewise.constant.df == 1 and found.piecewise.constant.p_value < 0.001
    assert found.piecewise.loglik == pytest.approx(first.loglik + second.loglik)


def test_the_change_shows_in_the_test_of_proportional_hazards(found: EffectsOverTime) -> None:
    fit = cox(DATA, TIME, CODE, ["class"], {"class": "good"})
    expected = proportional_hazards(fit, by_term=False)
    assert not isinstance(found.proportional, NotEstimated)
    pd.testing.assert_frame_equal(found.proportional, expected)
    assert expected.loc[0, "p"] < 0.05


def test_a_landmark_looks_at_those_who_came_so_far(found: EffectsOverTime) -> None:
    one, nobody = found.landmarks
    late = DATA[DATA[TIME] > 2]
    after = late.assign(**{TIME: late[TIME] - 2})
    fit = cox(after, TIME, CODE, ["class"], {"class": "good"})
    assert (one.n, one.events) == (len(late), int(late[CODE].sum()))
    assert one.terms.loc[0, "hr"] == pytest.approx(fit.terms.loc[0, "hr"])
    assert one.logrank.statistic == pytest.approx(logrank(after[TIME], after[CODE], after["class"]).statistic)
    assert nobody.note == "nobody was followed so long" and nobody.n == 0 and nobody.terms.empty


def test_pseudo_observations_are_the_jackknifes_and_their_mean_the_restricted_mean() -> None:
    data = DATA.head(80)
    ours = pseudo_means(data[TIME], data[CODE], 5.0)
    whole = restricted_mean(data[TIME], data[CODE], 5.0).value
    assert ours.mean() == pytest.approx(whole, rel=1e-12)
    left = []
    for k in range(80):
        rest = np.arange(80) != k
        left.append(80 * whole - 79 * restricted_mean(data[TIME][rest], data[CODE][rest], 5.0).value)
    np.testing.assert_allclose(ours, left, atol=0.05)
    uncensored = pseudo_means([1.0, 2.0, 3.0, 9.0], [1, 1, 1, 1], 4.0)
    np.testing.assert_allclose(uncensored, [1, 2, 3, 4])
    with pytest.raises(InputError, match="nobody was followed to 99"):
        pseudo_means(data[TIME], data[CODE], 99.0)


def test_a_difference_not_adjusted_is_that_of_two_restricted_means(found: EffectsOverTime) -> None:
    assert not isinstance(found.rmst, NotEstimated)
    row = found.rmst.rows.iloc[0]
    means = {
        name: restricted_mean(own[TIME], own[CODE], 5.0) for name, own in DATA.groupby("class")
    }  # pseudo-observations come from one curve of both
    gap = means["poor"].value - means["good"].value
    assert row["difference"] == pytest.approx(gap, abs=0.08)
    assert row["se"] == pytest.approx(np.hypot(means["poor"].se, means["good"].se), rel=0.1)


def test_adjusting_takes_off_what_age_explains(found: EffectsOverTime) -> None:
    assert not isinstance(found.rmst, NotEstimated) and not isinstance(found.rmst_adjusted, NotEstimated | None)
    plain, adjusted = found.rmst.rows.iloc[0], found.rmst_adjusted.rows.iloc[0]
    assert plain["difference"] < adjusted["difference"] < 0 and found.rmst_adjusted.adjusted_for == ("age",)
    inside = adjusted_means(DATA, TIME, CODE, "class", ["age"], 5.0, {"class": "good"}, strata="cohort")
    assert inside.rows.loc[0, "difference"] == pytest.approx(adjusted["difference"], abs=0.1)


def test_rows_are_cut_where_it_is_asked() -> None:
    frame = pd.DataFrame({"t": [1.0, 2.0, 5.0], "e": [1, 1, 2], "x": [0, 1, 2]})
    whole, start, piece = split_at(frame, "t", "e", (2.0, 4.0))
    assert list(whole["t"]) == [1, 2, 2, 4, 5] and list(whole["e"]) == [1, 1, 0, 0, 2]
    assert list(start) == [0, 0, 0, 2, 4] and list(piece) == [0, 0, 0, 1, 2]
    for cuts in ((), (0.0, 1.0), (3.0, 2.0), (2.0, 2.0)):
        with pytest.raises(InputError, match="must be above 0 and rise"):
            split_at(frame, "t", "e", cuts)


def test_other_covariates_have_one_ratio_throughout() -> None:
    both = piecewise_ratios(DATA, TIME, CODE, "class", (2.0,), ["age"], {"class": "good"}, strata="cohort")
    assert len(both.rows) == 2 and both.constant.df == 1
    assert both.rows.loc[0, "hr"] != piecewise_ratios(DATA, TIME, CODE, "class", (2.0,)).rows.loc[0, "hr"]


@pytest.mark.parametrize(
    ("asked", "where", "message"),
    [
        ({"tau": 50.0}, "rmst", "nobody was followed to 50"),
        ({"cuts": (100.0,)}, "piecewise", ""),
        ({"frame": DATA.assign(**{CODE: 0})}, "proportional", "no events"),
    ],
)
def test_what_is_not_there_says_why(asked: dict[str, Any], where: str, message: str) -> None:
    part = getattr(ANALYSES["time_effects"].run(replace(ASKED, **asked)), where)
    if message:
        assert isinstance(part, NotEstimated) and message in part.note
    else:
        assert isinstance(part, NotEstimated) or part.rows.loc[1, "note"] or part.rows.loc[1, "n"] == 0


def test_the_curve_behind_it_is_the_same() -> None:
    km = kaplan_meier(DATA[TIME], DATA[CODE])
    assert pseudo_means(DATA[TIME], DATA[CODE], float(km.time[0])).mean() == pytest.approx(float(km.time[0]))


def test_without_an_event_before_tau_no_means_differ() -> None:
    late = DATA.assign(**{CODE: np.where(DATA[TIME] < 2.0, 0, DATA[CODE])})
    with pytest.raises(InputError, match="nobody has the event before 2"):  # not 0.00, p<0.0001
        adjusted_means(late, TIME, CODE, "class", [], 2.0, {"class": "good"})
