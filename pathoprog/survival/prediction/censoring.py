"""Inverse probability of censoring weights, with the probability just before each time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import CENSORED, FloatArray, IntArray, checked


@dataclass(frozen=True)
class Censoring:
    """Kaplan-Meier estimate of the probability G of not being censored yet.

    Attributes:
        time: distinct follow-up times, ascending (k,).
        survival: G just after each (k,).
        n_risk: patients who may be censored at each: T > time, or censored there (k,).
        n_censor: censorings at each (k,).
    """

    time: FloatArray
    survival: FloatArray
    n_risk: IntArray
    n_censor: IntArray

    def at(self, times: Any) -> FloatArray:
        """G(t): not censored up to and including t."""
        place = np.searchsorted(self.time, np.asarray(times, dtype=float), side="right")
        return np.asarray(np.concatenate(([1.0], self.survival))[place])

    def before(self, times: Any) -> FloatArray:
        """G(t-): not censored before t."""
        place = np.searchsorted(self.time, np.asarray(times, dtype=float), side="left")
        return np.asarray(np.concatenate(([1.0], self.survival))[place])


def censoring(time: Any, event: Any, deaths_first: bool = True) -> Censoring:
    """Estimate G by Kaplan-Meier with censoring as the event.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        deaths_first: who dies at a time is not at risk of being censored at it (the reverse Kaplan-Meier of R's
            prodlim, riskRegression and `survival::concordance`); False: is (plain `survfit` with censoring as event,
            and cmprsk). They differ only where deaths and censorings share a time.
    """
    times, codes = checked(time, event)
    distinct, place = np.unique(times, return_inverse=True)
    at_time = np.bincount(place, minlength=distinct.size)
    n_censor = np.bincount(place[codes == CENSORED], minlength=distinct.size)
    n_risk = np.cumsum(at_time[::-1])[::-1] - (at_time - n_censor if deaths_first else 0)
    survival = np.cumprod(np.where(n_risk > 0, 1 - n_censor / np.maximum(n_risk, 1), 1.0))
    return Censoring(distinct, np.asarray(survival), n_risk, n_censor)


def followed_to(time: FloatArray, event: IntArray, horizon: float) -> bool:
    """True where the table tells what happened by `horizon`: someone was followed so long, or nobody is left.

    After the last follow-up nothing is identified but where the last patient's follow-up ended by an event (code 1 or
    2): then everyone's fate is known.

    Args:
        time: follow-up (n,).
        event: 0, 1, 2 (n,).
        horizon: in the unit of `time`.
    """
    last = float(time.max())
    return horizon <= last or not bool((event[time == last] == CENSORED).any())


@dataclass(frozen=True)
class HorizonWeights:
    """Who is a case, who a control at a horizon, and with what weight (n,) each; censored before it: weight 0.

    Attributes:
        case: True for the event by the horizon.
        control: True for event-free at the horizon, and for competing deaths before it where they count.
        weight: 1 / G(T-) of those whose follow-up ended by an event, 1 / G(horizon) of those still followed.
        until: the time up to which each one's weight looks (n,); a death's own time is not included.
        g: the censoring distribution.
        lost: True for those censored, at any time.
    """

    case: npt.NDArray[np.bool_]
    control: npt.NDArray[np.bool_]
    weight: FloatArray
    until: FloatArray
    g: Censoring
    lost: npt.NDArray[np.bool_]


def horizon_weights(
    time: FloatArray, event: IntArray, horizon: float, competing_as_control: bool = True, deaths_first: bool = True
) -> HorizonWeights:
    """Weights by which patients of known status at a horizon stand for those censored before it.

    Graf et al., Stat Med 1999;18:2529; Blanche et al., Stat Med 2013;32:5381 (competing deaths as controls).

    Args:
        time: follow-up, checked (n,).
        event: 0, 1, 2 (n,).
        horizon: in the unit of `time`.
        competing_as_control: competing deaths by the horizon are controls; False: they are censored.
        deaths_first: see `censoring`.
    """
    codes = event if competing_as_control else np.where(event == 1, 1, 0)
    g = censoring(time, codes, deaths_first)
    case = (time <= horizon) & (codes == 1)
    rival = (time <= horizon) & (codes == 2)
    free = time > horizon
    known = case | rival
    weight = np.zeros(time.size)
    weight[known] = 1 / g.before(time[known])
    if free.any():
        weight[free] = 1 / float(g.at(horizon))
    return HorizonWeights(case, free | rival, weight, np.where(free, horizon, time), g, codes == CENSORED)


def weight_influence(time: FloatArray, weights: HorizonWeights, share: FloatArray) -> FloatArray:
    """What estimating G adds to the influence of each patient on a weighted sum (n,).

    The martingale term of Blanche et al., Stat Med 2013;32:5381, appendix.

    Args:
        time: follow-up (n,).
        weights: from `horizon_weights`.
        share: each patient's part in the derivative of the sum by the logarithm of its weight (n,).
    """
    g = weights.g
    known = weights.weight > 0
    death = known & (weights.until == time) & ~weights.lost  # weight 1 / G(T-): looks strictly before its time
    up_to = np.searchsorted(g.time, weights.until, side="right") - death
    ahead = np.bincount(up_to[known], weights=share[known], minlength=g.time.size + 1)
    later = np.cumsum(ahead[::-1])[::-1][1:]  # of those whose weight includes each time
    at_risk = np.maximum(g.n_risk, 1)
    step = later / at_risk
    drawn = np.concatenate(([0.0], np.cumsum(step * g.n_censor / at_risk)))
    place = np.searchsorted(g.time, time)
    return np.asarray(np.where(weights.lost, step[place], 0.0) - drawn[place + weights.lost]) * time.size
