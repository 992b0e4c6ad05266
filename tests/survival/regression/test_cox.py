"""Cox models: a hand-worked likelihood, lifelines to nine digits, and data without a finite answer."""

import math

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, logrank
from pathoprog.survival.regression.baseline import cumulative_hazard, predict_risk, predict_survival
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.survival.regression.partial_likelihood import maximise, risk_sets
from pathoprog.survival.regression.proportional import proportional_hazards


def made_up(n: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": random.normal(size=n), "y": random.normal(size=n), "g": random.choice(list("abc"), n)})
    hazard = np.exp(0.5 * frame["x"] + 0.4 * (frame["g"] == "b"))
    time = np.ceil(10 * random.exponential(size=n) / hazard)  # many ties
    frame["time"], frame["event"] = np.minimum(time, 15), (time <= 15).astype(int)
    return frame


def test_likelihood_by_hand() -> None:
    # risk sets: {1, 0, 0, 1} with x = 1 dying, then {0, 0, 1} and {0, 1} with x = 0 dying; maximum found on a grid
    frame = pd.DataFrame({"time": [1, 1.5, 2, 3], "event": [1, 1, 1, 0], "x": [1, 0, 0, 1]})
    beta = np.linspace(-3, 3, 600_001)
    r = np.exp(beta)
    loglik = beta - np.log(2 * r + 2) - np.log(r + 2) - np.log(r + 1)
    fit = cox(frame, "time", "event", ["x"])
    assert fit.terms["coef"][0] == pytest.approx(beta[loglik.argmax()], abs=1e-5)
    assert fit.loglik == pytest.approx(loglik.max(), abs=1e-9)
    assert fit.loglik_null == pytest.approx(-math.log(4 * 3 * 2), rel=1e-14)


@pytest.mark.parametrize("strata", [None, "g"])
def test_lifelines_to_nine_digits(strata: str | None) -> None:
    from lifelines import CoxPHFitter

    frame = made_up(200, 3)
    fit = cox(frame, "time", "event", ["x", "y"], strata=strata)
    columns = ["time", "event", "x", "y"] + ([strata] if strata else [])
    other = CoxPHFitter().fit(
        frame[columns], "time", "event", strata=strata, fit_options={"precision": 1e-20, "max_steps": 500}
    )
    np.testing.assert_allclose(fit.terms["coef"], other.params_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fit.terms["se"], other.standard_errors_, rtol=0, atol=1e-9)
    assert fit.loglik == pytest.approx(other.log_likelihood_, abs=1e-9)


def test_score_test_of_one_binary_covariate_without_ties_is_the_logrank_test() -> None:
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"time": random.exponential(size=60), "event": 1, "g": random.choice(["a", "b"], 60)})
    fit = cox(frame, "time", "event", ["g"])
    assert fit.score.statistic == pytest.approx(logrank(frame["time"], frame["event"], frame["g"]).statistic, rel=1e-12)


def test_units_do_not_matter() -> None:
    frame = made_up(150, 7)
    plain = cox(frame, "time", "event", ["x", "y"]).terms
    scaled = cox(frame.assign(x=frame["x"] * 1e6 + 1e9, y=frame["y"] * 1e-6), "time", "event", ["x", "y"]).terms
    np.testing.assert_allclose(scaled["coef"] * [1e6, 1e-6], plain["coef"], rtol=1e-6)
    np.testing.assert_allclose(scaled["z"], plain["z"], rtol=1e-6)


def test_a_level_without_events_is_reported_and_the_others_are_as_without_it() -> None:
    frame = made_up(120, 11)
    frame.loc[frame["g"] == "c", "event"] = 0
    fit = cox(frame, "time", "event", ["g", "x"])
    row = fit.terms.set_index("level").loc["c"]
    assert row["coef"] == -math.inf and row["hr"] == 0 and math.isnan(row["upper"])
    assert "no events at this level" in row["note"] and any("g=c" in note for note in fit.notes)
    # in the limit those patients leave the risk sets
    without = cox(frame[frame["g"] != "c"], "time", "event", ["g", "x"]).terms
    both = fit.terms[fit.terms["level"] != "c"]
    np.testing.assert_allclose(both["coef"], without["coef"], rtol=1e-7)
    np.testing.assert_allclose(both["se"], without["se"], rtol=1e-6)
    assert proportional_hazards(fit).iloc[-1]["df"] == 2


def test_a_reference_without_events_says_so() -> None:
    frame = made_up(120, 11)
    frame.loc[frame["g"] == "a", "event"] = 0
    notes = cox(frame, "time", "event", ["g"]).terms["note"]
    assert notes.str.contains("reference level 'a'").all()


def test_aliased_columns_are_left_out() -> None:
    frame = made_up(80, 2)
    fit = cox(frame.assign(double=2 * frame["x"]), "time", "event", ["x", "double", "y"])
    assert math.isnan(fit.terms["coef"][1]) and "determined" in fit.terms["note"][1]
    np.testing.assert_allclose(fit.terms["coef"][[0, 2]], cox(frame, "time", "event", ["x", "y"]).terms["coef"])
    assert fit.likelihood_ratio.df == 2


def test_missing_rows_are_counted_and_references_obeyed() -> None:
    frame = made_up(80, 2)
    frame.loc[[3, 4], "x"] = np.nan
    frame.loc[5, "g"] = None
    fit = cox(frame, "time", "event", ["g", "x"], reference={"g": "b"})
    assert fit.n_missing == 3 and fit.n == 77 and "3 of 80" in fit.notes[0]
    assert fit.terms["level"].tolist() == ["a", "c", ""]


@pytest.mark.parametrize(
    ("change", "covariates", "reference", "words"),
    [
        ({"event": 0}, ["x"], {}, "no events"),
        ({}, ["nothing"], {}, "no column 'nothing'"),
        ({}, ["g"], {"g": "z"}, "no level"),
        ({"g": "a"}, ["g"], {}, "one level only"),
        ({}, [], {}, "at least one"),
        ({}, ["x", "x"], {}, "twice"),
    ],
)
def test_wrong_calls_are_named(
    change: dict[str, object], covariates: list[str], reference: dict[str, str], words: str
) -> None:
    frame = made_up(40, 1).assign(**change)
    with pytest.raises(InputError, match=words):
        cox(frame, "time", "event", covariates, reference=reference)


def test_predictions_are_steps_of_the_baseline() -> None:
    frame = made_up(100, 4)
    fit = cox(frame, "time", "event", ["x", "g"])
    read = predict_survival(fit, {"x": 0, "g": "a"}, [0, 4, 4.5, 5])
    assert read.survival[0] == 1 and read.survival[1] == read.survival[2] > read.survival[3]
    np.testing.assert_allclose(read.survival, np.exp(-cumulative_hazard(fit, [0, 4, 4.5, 5])), rtol=1e-12)
    risk = predict_risk(fit, fit.design.matrix, 5)
    row = {"x": frame["x"][0], "g": frame["g"][0]}
    assert risk[0] == pytest.approx(1 - predict_survival(fit, row, 5).survival[0], rel=1e-12)
    with pytest.raises(InputError, match="no level"):
        predict_survival(fit, {"x": 0, "g": "z"}, 5)


def test_no_covariate_effect_gives_the_nelson_aalen_hazard() -> None:
    frame = pd.DataFrame({"time": [1, 2, 3, 4], "event": [1, 0, 1, 1], "x": [1.0, -1, -1, 1]})
    fit = cox(frame, "time", "event", ["x"])
    hazards = cumulative_hazard(fit, [1, 3, 4]) * np.exp(0)
    r = np.exp(fit.coef[0])
    expected = np.cumsum([1 / (2 * r + 2 / r), 1 / (1 / r + r), 1 / r])
    np.testing.assert_allclose(hazards, expected, rtol=1e-12)


def saturated() -> pd.DataFrame:
    """120 patients in three classes and some 45 ages taken as levels, many of them without events."""
    random = np.random.default_rng(1)
    for _ in range(2):  # the second table of this generator
        frame = pd.DataFrame({"g": random.choice(["good", "uncertain", "poor"], 120)})
        frame["age"] = random.integers(30, 80, 120).astype(str)
        time, lost = random.exponential(1, 120), random.uniform(0, 2, 120)
        frame["time"], frame["event"] = np.minimum(time, lost), time <= lost
    return frame


@pytest.mark.parametrize("order", [["good", "uncertain", "poor"], ["good", "poor", "uncertain"]])
@pytest.mark.parametrize("classes_first", [True, False])
def test_infinite_terms_leave_the_others_alone(order: list[str], classes_first: bool) -> None:
    # R 4.2.2, survival 3.5-3, coxph(eps = 1e-13): the same whichever column comes first. Here no column was finite, and
    # the standard errors hung on the order (0.44 to 0.50).
    r = {"uncertain": (-0.6824457819, 0.5042639311), "poor": (-0.6103351561, 0.4724704252)}
    frame = saturated()
    levels = sorted(set(frame["age"]))
    classes = np.column_stack([frame["g"] == name for name in order[1:]]).astype(float)
    ages = np.column_stack([frame["age"] == level for level in levels[1:]]).astype(float)
    x = np.hstack([classes, ages] if classes_first else [ages, classes])
    found = maximise(x, risk_sets(frame["time"].to_numpy(), frame["event"].to_numpy()))
    mine = slice(0, 2) if classes_first else slice(len(levels) - 1, None)
    se = np.sqrt(np.diag(found.covariance)[mine])
    assert not found.infinite[mine].any() and found.infinite.any()
    for k, name in enumerate(order[1:]):
        assert (found.beta[mine][k], se[k]) == pytest.approx(r[name], rel=1e-6)


def levels_without_events() -> tuple[pd.DataFrame, np.ndarray]:
    """400 patients at 30 sites, ten of them (the reference too) without events; and who is at those."""
    random = np.random.default_rng(4)
    group, site = random.choice(list("abc"), 400), random.integers(0, 30, 400)
    time = random.exponential(1 / (0.1 * np.exp(0.5 * (group == "c"))))
    lost = random.uniform(0, 12, 400)
    none = np.isin(site, [0, 1, 2, 5, 7, 11, 13, 19, 23, 29])
    event = np.where(none, 0, time <= lost).astype(int)
    names = [f"s{k:02d}" for k in site]
    return pd.DataFrame({"time": np.minimum(time, lost), "event": event, "g": group, "site": names}), none


def test_terms_are_what_they_are_without_the_patients_of_empty_levels() -> None:
    frame, none = levels_without_events()
    plain = cox(frame[~none], "time", "event", ["g", "site"]).terms
    for covariates in (["g", "site"], ["site", "g"]):
        terms = cox(frame, "time", "event", covariates).terms
        for column in ("coef", "se"):
            expected = plain.loc[plain["term"] == "g", column]
            np.testing.assert_allclose(terms.loc[terms["term"] == "g", column], expected, rtol=1e-8)
    ph = proportional_hazards(cox(frame, "time", "event", ["g", "site"]), "identity")
    same = proportional_hazards(cox(frame[~none], "time", "event", ["g", "site"]), "identity")
    assert ph["statistic"][0] == pytest.approx(same["statistic"][0], rel=1e-6)


def test_fine_gray_terms_beside_empty_levels_do_not_hang_on_their_order() -> None:
    frame, none = levels_without_events()
    frame.loc[(frame["event"] == 0) & ~none & (np.arange(400) % 5 == 0), "event"] = 2
    one, other = (fine_gray(frame, "time", "event", names).terms for names in (["g", "site"], ["site", "g"]))
    first, second = (found.loc[found["term"] == "g", ["coef", "se"]].to_numpy() for found in (one, other))
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_more_terms_than_events_and_ids_as_levels_are_refused() -> None:
    frame = made_up(60, 1)
    with pytest.raises(InputError, match="60 different values in 60 rows are no category"):
        cox(frame.assign(id=[f"P{k}" for k in range(60)]), "time", "event", ["id"])
    few = frame.assign(event=[1, *[0] * 59])
    with pytest.raises(InputError, match="4 terms for 1 events"):
        cox(few, "time", "event", ["x", "y", "g"])
    with pytest.raises(InputError, match="holds dates"):
        cox(frame.assign(when=pd.Timestamp("2020-01-01")), "time", "event", ["when"])


def test_a_calendar_year_as_covariate_can_be_predicted_from() -> None:
    frame = made_up(200, 5)
    year = frame.assign(year=1990 + frame["x"])  # a baseline at year 0 lies beyond what a double holds
    far, near = cox(year, "time", "event", ["year"]), cox(frame, "time", "event", ["x"])
    expected = predict_risk(near, near.design.matrix, 8.0)
    np.testing.assert_allclose(predict_risk(far, far.design.matrix, 8.0), expected, rtol=1e-8)
    one, other = predict_survival(far, {"year": 1991.0}, [8.0]), predict_survival(near, {"x": 1.0}, [8.0])
    assert (one.survival[0], one.lower[0]) == pytest.approx((other.survival[0], other.lower[0]), rel=1e-6)
