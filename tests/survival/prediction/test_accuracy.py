"""AUC(t), Brier, integrated Brier, calibration and decision curves against R, and by hand."""

import math

import made_survival as small
import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import kaplan_meier
from pathoprog.survival.prediction.accuracy import auc_at, brier_at, integrated_brier, null_brier, null_risk
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.prediction.censoring import censoring
from pathoprog.survival.prediction.decision import decision_curve
from pathoprog.survival.regression.baseline import predict_risk


def columns(kind: str) -> tuple[pd.Series, pd.Series, pd.Series]:
    frame = small.TABLES[kind]
    return frame["time"], frame["event"], frame["risk"]


@pytest.mark.parametrize("kind", ["competing", "single"])
@pytest.mark.parametrize("k", [0, 1])
def test_auc_and_brier_are_those_of_risk_regression(kind: str, k: int) -> None:
    time, event, risk = columns(kind)
    horizon = small.HORIZONS[k]
    auc, brier = auc_at(time, event, risk, horizon), brier_at(time, event, risk, horizon)
    assert auc.value == pytest.approx(small.AUC[kind][k], rel=1e-12)
    assert brier.value == pytest.approx(small.BRIER[kind][k], rel=1e-12)
    nothing = np.full(len(time), null_risk(time, event, horizon))
    assert brier_at(time, event, nothing, horizon).value == pytest.approx(small.BRIER_NULL[kind][k], rel=1e-12)
    # R approximates the part of the censoring at tied times: the standard errors agree to a few parts in a hundred here
    assert auc.se == pytest.approx(small.AUC_SE[kind][k], rel=0.05)
    assert brier.se == pytest.approx(small.BRIER_SE[kind][k], rel=0.05)


def test_standard_error_is_the_jackknife() -> None:
    """The influence with estimated weights, against leaving each patient out."""
    random = np.random.default_rng(0)
    n = 400
    score = random.normal(size=n)
    death, lost = random.exponential(size=n) / np.exp(score), random.exponential(size=n)
    time, event = np.minimum(death, lost), (death <= lost).astype(int)
    risk = 1 / (1 + np.exp(-score))
    for statistic in (auc_at, brier_at):
        left_out = [statistic(np.delete(time, i), np.delete(event, i), np.delete(risk, i), 0.5).value for i in range(n)]
        jackknife = math.sqrt((n - 1) / n * float(((left_out - np.mean(left_out)) ** 2).sum()))
        assert statistic(time, event, risk, 0.5).se == pytest.approx(jackknife, rel=0.01)


@pytest.mark.parametrize("competing", [False, True])
def test_standard_error_of_no_model_is_the_jackknife_that_estimates_its_risk_anew(competing: bool) -> None:
    random = np.random.default_rng(3)
    n = 400
    times = np.vstack((random.exponential(1.5, n), random.exponential(1.0, n), random.exponential(2.5, n)))
    time, event = times.min(axis=0), times.argmin(axis=0)
    found = null_brier(time, event, 0.5, competing)
    left_out = [null_brier(np.delete(time, i), np.delete(event, i), 0.5, competing).value for i in range(n)]
    jackknife = math.sqrt((n - 1) / n * float(((left_out - np.mean(left_out)) ** 2).sum()))
    assert found.se == pytest.approx(jackknife, rel=0.01)
    assert 0.1 < found.value < 0.26 and math.isnan(null_brier(time, event * 0, 99.0).value)


def test_integrated_brier_is_that_of_risk_regression() -> None:
    fit = cox(small.SINGLE, "time", "event", ["x"])
    for tau, expected in small.INTEGRATED_BRIER.items():
        found = integrated_brier(fit.time, fit.event, lambda t: predict_risk(fit, fit.design.matrix, t), tau)
        assert found == pytest.approx(expected, rel=1e-9)


def test_weights_look_just_before_each_time() -> None:
    g = censoring([1, 2, 2, 3], [0, 1, 0, 1])
    # at 2 one dies and one is lost: the dead are not at risk of it, so 1 of 2 is lost
    np.testing.assert_allclose(g.survival, [3 / 4, 3 / 8, 3 / 8])
    assert g.before([1, 2, 3]).tolist() == [1, 3 / 4, 3 / 8] and g.at([0.5, 2]).tolist() == [1, 3 / 8]
    np.testing.assert_allclose(
        censoring([1, 2, 2, 3], [0, 1, 0, 1], deaths_first=False).survival, [3 / 4, 1 / 2, 1 / 2]
    )


def test_without_censoring_auc_is_the_plain_share_of_pairs() -> None:
    assert auc_at([1, 2, 3, 4], [1, 1, 1, 1], [4, 2, 3, 1], 2.5).value == 3 / 4
    assert math.isnan(auc_at([1, 2], [0, 0], [1, 2], 1.5).value)
    assert brier_at([1, 2, 3, 4], [1, 1, 1, 1], [1, 0.5, 0, 0], 2.5).value == pytest.approx(0.25 / 4)
    with pytest.raises(InputError, match="between 0 and 1"):
        brier_at([1, 2], [1, 0], [0.5, 1.5], 1)


def test_calibration_is_that_of_r() -> None:
    time, event, risk = columns("single")
    found = calibration(time, event, risk, 12, n_groups=3)
    assert found.slope.value == pytest.approx(small.SLOPE, rel=1e-9)
    assert (found.ici, found.e50, found.e90) == pytest.approx(small.CURVE_DISTANCE, rel=1e-8)
    assert found.ratio.value == pytest.approx(found.observed.value / risk.mean())
    assert found.groups["n"].sum() == 24 and found.groups["expected"].is_monotonic_increasing


def test_right_risks_are_calibrated_with_and_without_competing_deaths() -> None:
    random = np.random.default_rng(4)
    n = 4000
    x = random.normal(size=n)
    death, other, end = random.exponential(size=n) / np.exp(x - 1), random.exponential(size=n) / 0.3, 2.0
    time = np.minimum(np.minimum(death, other), end)
    event = np.where(time == end, 0, np.where(death <= other, 1, 2))
    hazard = np.exp(x - 1)
    net = 1 - np.exp(-hazard)
    crude = hazard / (hazard + 0.3) * (1 - np.exp(-(hazard + 0.3)))
    for risk, competing in ((net, False), (crude, True)):
        found = calibration(time, event, risk, 1.0, competing=competing)
        assert found.ratio.lower < 1 < found.ratio.upper and found.ici < 0.02
    assert calibration(time, event, net, 1.0).slope.value == pytest.approx(1, abs=0.1)
    assert calibration(time, event, net, 1.0, competing=True).ratio.upper < 1  # net risks are too high where others die
    halved = calibration(time, event, net / 2, 1.0)
    assert halved.ratio.value == pytest.approx(2, rel=0.1) and halved.ici > 0.1


def test_decision_curve_is_that_of_dcurves() -> None:
    from dcurves import dca

    thresholds = [0.1, 0.2, 0.3, 0.4]  # above that, all have died before the horizon, and dcurves says nothing
    ours = decision_curve(small.SINGLE["time"], small.SINGLE["event"], {"risk": small.SINGLE["risk"]}, 12, thresholds)
    theirs = dca(
        data=small.SINGLE[["time", "event", "risk"]],
        outcome="event",
        modelnames=["risk"],
        thresholds=thresholds,
        time=12,
        time_to_outcome_col="time",
    )
    for model in ("risk", "all", "none"):
        mine = ours.loc[ours["model"] == model, "net_benefit"]
        np.testing.assert_allclose(mine, theirs.loc[theirs["model"] == model, "net_benefit"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("horizon", [0.0, 0.2, 2.0, 6.0])
def test_net_benefit_is_that_of_the_curves_above_each_threshold(horizon: float) -> None:
    """All thresholds at once, against one curve for each; ties, none above, none followed so long."""
    random = np.random.default_rng(5)
    time, event, risk = np.ceil(random.exponential(2, 80) * 5) / 5, random.integers(0, 3, 80), random.random(80) * 0.9
    levels = [0.1, 0.3, 0.6, 0.85, 0.95]
    for competing in (False, True):
        rows = decision_curve(time, event, {"m": risk}, horizon, levels, competing).query("model == 'm'")
        for level, share, found in zip(levels, rows["share_positive"], rows["true_positive"], strict=True):
            t, e = time[risk >= level], event[risk >= level]
            assert share == t.size / 80
            if not t.size:
                assert found == 0
                continue
            curve = kaplan_meier(t, e > 0 if competing else e == 1).at(horizon)
            value = cumulative_incidence(t, e).at(horizon).value[0] if competing else 1 - curve.survival[0]
            unknown = curve.beyond[0] and curve.survival[0] > 0
            assert math.isnan(found) if unknown else found == pytest.approx(value * share, abs=1e-14)


def test_decision_curve_with_competing_deaths_by_hand() -> None:
    curve = decision_curve([1, 2, 3, 4], [1, 2, 1, 0], {"m": [0.9, 0.9, 0.1, 0.1]}, 3.5, [0.5], competing=True)
    rows = curve.set_index("model")["net_benefit"]
    assert rows["m"] == pytest.approx(0.25 - 0.25)  # of two acted on, one dies of the disease
    assert rows["all"] == pytest.approx(0.5 - 0.5) and rows["none"] == 0
    with pytest.raises(InputError, match="between 0 and 1"):
        decision_curve([1], [1], {}, 1, [1.0])
