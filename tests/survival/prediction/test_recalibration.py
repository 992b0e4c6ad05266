"""Standard errors of predicted risks, and the recalibrated model: known answers and second methods."""

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival.prediction.calibration import calibration, cloglog
from pathoprog.survival.prediction.recalibration import recalibrated
from pathoprog.survival.regression.baseline import predict_risk, predict_survival, risk_with_error
from pathoprog.survival.regression.cox_model import cox
from pathoprog.survival.regression.fine_gray import fine_gray


def made(n: int, seed: int = 1, slope: float = 1.0) -> pd.DataFrame:
    """Risks at 3 of a Fine-Gray model, other deaths, censoring; `x` is log(-log(1 - risk)) but for `slope`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-1.2, 0.7, n)
    never = np.exp(-0.6 * np.exp(slope * (x + 1.2)))  # who never has the event: 1 - F1(infinity)
    u = rng.random(n)
    event = u > never
    died = -np.log1p(np.log(np.where(event, u, 1.0)) / (0.6 * np.exp(slope * (x + 1.2)))) / 0.3
    other = rng.exponential(size=n) / 0.15
    end = rng.uniform(1, 9, n)
    time = np.minimum(np.where(event, died, other), end)
    code = np.where(time == end, 0, np.where(event, 1, 2))
    return pd.DataFrame({"time": time, "event": code, "x": x})


NEW = pd.DataFrame({"x": [-2.5, -1.2, 0.0]})


def test_errors_of_a_fine_gray_prediction_are_the_jackknife_s() -> None:
    data = made(400)
    found = fine_gray(data, "time", "event", ["x"]).predict_with_error(NEW, 3.0)
    assert found.risk == pytest.approx(fine_gray(data, "time", "event", ["x"]).predict(NEW, 3.0), abs=1e-14)
    without = [
        cloglog(fine_gray(data.drop(index=i), "time", "event", ["x"]).predict(NEW, 3.0)) for i in range(len(data))
    ]
    n, values = len(data), np.array(without)
    jackknife = np.sqrt((n - 1) / n * ((values - values.mean(axis=0)) ** 2).sum(axis=0))
    assert found.log_error == pytest.approx(jackknife, rel=0.03)
    low, high = found.limits()
    assert (low < found.risk).all() and (found.risk < high).all()
    assert cloglog(high) - cloglog(low) == pytest.approx(2 * 1.959964 * found.log_error, rel=1e-6)


def test_errors_of_a_cox_prediction_are_those_of_one_pattern_at_a_time() -> None:
    data = made(300)
    fit = cox(data, "time", "event", ["x"])
    found = risk_with_error(fit, NEW.to_numpy(), 3.0)
    assert found.risk == pytest.approx(predict_risk(fit, NEW.to_numpy(), 3.0), abs=1e-14)
    for k, x in enumerate(NEW["x"]):
        one = predict_survival(fit, {"x": x}, [3.0])
        assert found.risk[k] == pytest.approx(1 - one.survival[0], rel=1e-12)
        spread = one.std_err[0] / one.survival[0] / -np.log(one.survival[0])  # of log H, from that of H
        assert found.log_error[k] == pytest.approx(spread, rel=1e-10)


def test_before_the_first_event_there_is_no_risk_and_no_error() -> None:
    data = made(100)
    for read in (
        fine_gray(data, "time", "event", ["x"]).predict_with_error(NEW, 1e-9),
        risk_with_error(cox(data, "time", "event", ["x"]), NEW.to_numpy(), 1e-9),
    ):
        assert (read.risk == 0).all() and np.isnan(read.log_error).all()


@pytest.mark.parametrize("competing", [False, True])
def test_the_band_lies_around_the_curve(competing: bool) -> None:
    data = made(500)
    risk = 1 - np.exp(-np.exp(data["x"].to_numpy()))
    found = calibration(data["time"], data["event"], risk, 3.0, competing)
    assert (found.curve_lower < found.curve).all() and (found.curve < found.curve_upper).all()
    middle = np.argsort(risk)[250]
    assert found.curve_upper[middle] - found.curve_lower[middle] < 0.15
    same = calibration(data["time"], data["event"], np.full(500, 0.3), 3.0, competing)
    assert same.curve_lower == pytest.approx(np.full(500, same.observed.lower))
    late = calibration(data["time"], data["event"], risk, 20.0, competing)
    assert np.isnan(late.curve_lower).all() and np.isnan(late.curve_upper).all()


@pytest.mark.parametrize("competing", [False, True])
def test_recalibrated_risks_fit_on_average_and_spread_as_they_should(competing: bool) -> None:
    data = made(600, slope=0.7)
    risk = 1 - np.exp(-np.exp(data["x"].to_numpy() + 0.5))
    given = (data["time"], data["event"])
    found = recalibrated(*given, risk, 3.0, competing, name="north model")
    assert found.name == "north model, recalibrated at 3" and found.n == 600
    assert found.moved(risk).mean() == pytest.approx(found.observed.value, abs=1e-10)
    assert found.in_the_large.lower < found.in_the_large.value < found.in_the_large.upper < 0
    before = calibration(*given, risk, 3.0, competing)
    assert (found.slope.value, found.expected) == (before.slope.value, before.expected)
    assert found.observed == before.observed and before.slope.lower < 0.7 < before.slope.upper < 1
    after = calibration(*given, found.stretched(risk), 3.0, competing)
    assert after.slope.value == pytest.approx(1.0, abs=1e-6)
    assert after.ratio.value == pytest.approx(1.0, abs=0.02)
    again = recalibrated(*given, found.stretched(risk), 3.0, competing)
    assert (again.intercept.value, again.slope.value) == pytest.approx((0.0, 1.0), abs=1e-6)


def test_the_shift_s_error_is_that_of_what_was_observed() -> None:
    data = made(600)
    risk = 1 - np.exp(-np.exp(data["x"].to_numpy()))
    found = recalibrated(data["time"], data["event"], risk, 3.0, competing=True)
    ends = [found.moved(risk).mean()]
    for shift in (found.in_the_large.lower, found.in_the_large.upper):
        ends.append((1 - np.exp(-np.exp(cloglog(risk) + shift))).mean())
    assert ends == pytest.approx([found.observed.value, found.observed.lower, found.observed.upper], abs=1e-10)
    half = (found.in_the_large.upper - found.in_the_large.lower) / 2
    assert found.in_the_large.se == pytest.approx(half / 1.959964, rel=0.02)


def test_what_cannot_be_recalibrated_says_why() -> None:
    data = made(60)
    with pytest.raises(InputError, match="all risks are the same"):
        recalibrated(data["time"], data["event"], np.full(60, 0.3), 3.0)
    with pytest.raises(InputError, match="nobody was followed to it"):
        recalibrated(data["time"], data["event"], np.linspace(0.1, 0.5, 60), 1e-6)
