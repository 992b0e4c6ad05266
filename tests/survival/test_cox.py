"""Cox models: a hand-worked likelihood, lifelines to nine digits, and data without a finite answer."""

import math

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, logrank
from pathoprog.survival.baseline import cumulative_hazard, predict_risk, predict_survival
from pathoprog.survival.proportional import proportional_hazards


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
