"""How well a score or a predicted risk foretells the event by a time: AUC(t), Brier score, integrated Brier score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, IntArray, checked
from pathoprog.survival.prediction.censoring import (
    HorizonWeights,
    censoring,
    followed_to,
    horizon_weights,
    weight_influence,
)


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error and confidence limits."""

    value: float
    se: float
    lower: float
    upper: float


def _estimate(value: float, influence: FloatArray, level: float, high: float = 1.0) -> Estimate:
    n = influence.size
    se = float(np.sqrt((influence**2).sum() / (n * (n - 1)))) if n > 1 else float("nan")
    z = float(ndtri((1 + level) / 2))
    return Estimate(value, se, float(np.clip(value - z * se, 0, high)), float(np.clip(value + z * se, 0, high)))


NOTHING = Estimate(float("nan"), float("nan"), float("nan"), float("nan"))


def auc_at(
    time: Any, event: Any, score: Any, horizon: float, competing_as_control: bool = True, level: float = 0.95
) -> Estimate:
    """Area under the ROC curve for the event by `horizon`, weighted by the inverse probability of censoring.

    Cumulative cases, dynamic controls: Uno et al., J Am Stat Assoc 2007;102:527; competing deaths and the standard
    error with estimated weights: Blanche et al., Stat Med 2013;32:5381. As R's riskRegression.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        score: higher = worse (n,).
        horizon: in the unit of `time`.
        competing_as_control: competing deaths by the horizon count as controls; False: as censored.
        level: confidence level.

    Returns:
        The estimate; nan where there is no case or no control, or nobody was followed to the horizon.
    """
    found = auc_influence(time, event, score, horizon, competing_as_control)
    return NOTHING if found is None else _estimate(*found, level)


def auc_influence(
    time: Any, event: Any, score: Any, horizon: float, competing_as_control: bool = True
) -> tuple[float, FloatArray] | None:
    """AUC(t) and each patient's influence on it (n,), arguments as in `auc_at`; None where it is not identified.

    Two scores of the same patients are compared by the difference of their influences (Blanche et al. 2013).
    """
    times, codes = checked(time, event)
    scores = _finite(score, times.size)
    if not _identified(times, codes, horizon, competing_as_control):
        return None
    w = horizon_weights(times, codes, horizon, competing_as_control)
    a, b = w.weight * w.case, w.weight * w.control
    if not a.any() or not b.any():
        return None
    below, above = _shares(scores, a, b)
    total = a.sum() * b.sum()
    value = float((a * below).sum() / total)
    share = (a * below + b * above) / total - value * (a / a.sum() + b / b.sum())
    return value, times.size * share + weight_influence(times, w, share)


def _shares(score: FloatArray, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight b of those below each score, and weight a of those above it; equal scores count one half (n,) each."""
    distinct, place = np.unique(score, return_inverse=True)
    at_a = np.bincount(place, weights=a, minlength=distinct.size)
    at_b = np.bincount(place, weights=b, minlength=distinct.size)
    below = np.cumsum(at_b) - at_b / 2
    above = at_a.sum() - np.cumsum(at_a) + at_a / 2
    return below[place], above[place]


def brier_at(
    time: Any, event: Any, risk: Any, horizon: float, competing_as_control: bool = True, level: float = 0.95
) -> Estimate:
    """Mean squared distance between predicted risk and outcome at `horizon`, weighted for censoring.

    Graf et al., Stat Med 1999;18:2529; with competing deaths: Gerds and Kattan, Medical Risk Prediction Models, 2021,
    chapter 5. As R's riskRegression.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        risk: predicted probability of the event by the horizon (n,).
        horizon: in the unit of `time`.
        competing_as_control: competing deaths by the horizon count as free of the event; False: as censored.
        level: confidence level.

    Returns:
        The estimate; nan where nobody was followed to the horizon: it is not identified there.
    """
    times, codes = checked(time, event)
    risks = _finite(risk, times.size)
    if ((risks < 0) | (risks > 1)).any():
        raise InputError("predicted risks must lie between 0 and 1")
    if not _identified(times, codes, horizon, competing_as_control):
        return NOTHING
    w = horizon_weights(times, codes, horizon, competing_as_control)
    if not w.weight.any():
        return NOTHING
    loss = _loss(w, risks)
    value = float(loss.mean())
    return _estimate(value, loss - value + weight_influence(times, w, loss / times.size), level)


def null_brier(
    time: Any, event: Any, horizon: float, competing_as_control: bool = True, level: float = 0.95
) -> Estimate:
    """Brier score of no model: everyone is given the risk of all together (`null_risk`), from the same patients.

    That risk is where the score is lowest, so that its own estimation adds nothing to the standard error; by the
    jackknife that estimates it anew without each patient it is the same to 1%. Arguments as in `brier_at`.
    """
    risk = null_risk(time, event, horizon, competing_as_control)
    if np.isnan(risk):
        return NOTHING
    return brier_at(time, event, np.full(np.asarray(time).size, risk), horizon, competing_as_control, level)


def _identified(time: FloatArray, event: IntArray, horizon: float, competing_as_control: bool) -> bool:
    return followed_to(time, event if competing_as_control else np.where(event == 1, 1, 0), horizon)


def _loss(w: HorizonWeights, risk: FloatArray) -> FloatArray:
    return w.weight * np.where(w.case, (1 - risk) ** 2, np.where(w.control, risk**2, 0.0))


def null_risk(time: Any, event: Any, horizon: float, competing_as_control: bool = True) -> float:
    """Risk of the event by `horizon` in all patients together, which knows nothing of anyone.

    nan where nobody was followed so long.
    """
    from pathoprog.survival.curves.competing import cumulative_incidence

    times, codes = checked(time, event)
    if not _identified(times, codes, horizon, competing_as_control):
        return float("nan")
    curve = cumulative_incidence(times, codes if competing_as_control else np.where(codes == 1, 1, 0))
    return float(curve.at(horizon).value[0])


def integrated_brier(
    time: Any,
    event: Any,
    risk: Callable[[float], FloatArray],
    tau: float,
    competing_as_control: bool = True,
) -> float:
    """Brier score integrated from 0 to `tau`, divided by `tau`; exact, since it is a step function of time.

    Graf et al., Stat Med 1999;18:2529.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        risk: gives the predicted probability of the event by a time, for each patient (n,); it must only change at
            follow-up times of the table.
        tau: the last time; nan is returned where nobody was followed so long.
        competing_as_control: see `brier_at`.
    """
    times, codes = checked(time, event)
    if not competing_as_control:
        codes = np.where(codes == 1, 1, 0)
    if not followed_to(times, codes, tau):
        return float("nan")
    g = censoring(times, codes)
    own = np.where(codes > 0, 1 / np.maximum(g.before(times), 1e-300), 0.0)
    grid = np.unique(times[times < tau])
    total = 0.0
    for start, width in zip(grid, np.diff(np.append(grid, tau)), strict=True):
        risks = risk(float(start))
        gone = times <= start
        free = 1 / float(g.at(start)) if not gone.all() else 0.0
        loss = np.where(gone, own * np.where(codes == 1, (1 - risks) ** 2, risks**2), free * risks**2)
        total += width * float(loss.mean())
    return total / tau


def _finite(values: Any, n: int) -> FloatArray:
    array = np.asarray(values, dtype=float)
    if array.shape != (n,) or not np.isfinite(array).all():
        raise InputError("scores and risks must be finite numbers, one for each patient")
    return array
