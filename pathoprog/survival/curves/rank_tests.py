"""Log-rank test and its relatives: weighted, stratified, and for a trend over ordered groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc, ndtr

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, checked, groups_of


@dataclass(frozen=True)
class HypothesisTest:
    """A test's outcome: chi-squared statistic, degrees of freedom, p-value."""

    statistic: float
    df: int
    p_value: float


@dataclass(frozen=True)
class RankTest(HypothesisTest):
    """A log-rank test with what it counted.

    Attributes:
        levels: the g groups, in order.
        n: patients in each (g,).
        observed: events in each, weighted where the test is (g,).
        expected: events expected if all groups had one hazard (g,).
        variance: covariance of observed - expected (g, g).
    """

    levels: tuple[str, ...]
    n: IntArray
    observed: FloatArray
    expected: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class TrendTest(HypothesisTest):
    """Trend over ordered groups: `z` is positive where the hazard rises with the scores."""

    z: float
    scores: tuple[float, ...]


def logrank(
    time: Any, event: Any, group: Any, strata: Any = None, rho: float = 0.0, levels: list[str] | None = None
) -> RankTest:
    """Log-rank test of equal hazards in g groups, optionally weighted or stratified.

    Mantel, Cancer Chemother Rep 1966;50:163; weights S(t-)**rho: Harrington and Fleming, Biometrika 1982;69:553
    (rho = 1: Peto and Peto's modification of the Gehan-Wilcoxon test).

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        group: label of each patient (n,).
        strata: label of each patient's stratum; the sums run over strata (n,).
        rho: 0 the log-rank test; 1 gives early events more weight.
        levels: order of the groups.

    Returns:
        The test. Groups without a patient at risk at any event count for no degree of freedom; fewer than two such
        groups give p = nan.
    """
    times, codes = checked(time, event)
    names, place = groups_of(group, times.size, levels)
    blocks = np.zeros(times.size, dtype=np.int64) if strata is None else groups_of(strata, times.size)[1]
    g = len(names)
    observed, expected, variance = np.zeros(g), np.zeros(g), np.zeros((g, g))
    for block in np.unique(blocks):
        inside = blocks == block
        o, e, v = _sums(times[inside], codes[inside] == EVENT, place[inside], g, rho)
        observed, expected, variance = observed + o, expected + e, variance + v
    at_risk = np.flatnonzero(expected > 0)
    free = at_risk[1:]
    statistic = float("nan")
    if free.size:
        gap = (observed - expected)[free]
        statistic = float(gap @ np.linalg.lstsq(variance[np.ix_(free, free)], gap, rcond=None)[0])
    p = float(chdtrc(free.size, statistic)) if free.size else float("nan")
    n = np.bincount(place, minlength=g)
    return RankTest(statistic, int(free.size), p, tuple(names), n, observed, expected, variance)


def _sums(
    time: FloatArray, event: Any, place: IntArray, g: int, rho: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Observed, expected (g,) and the hypergeometric covariance (g, g), summed over the event times of one stratum."""
    distinct = np.unique(time[event])
    deaths = np.zeros((distinct.size, g))  # [event time, group]
    np.add.at(deaths, (np.searchsorted(distinct, time[event]), place[event]), 1)
    at_risk = np.empty((distinct.size, g))
    for k in range(g):
        mine = np.sort(time[place == k])
        at_risk[:, k] = mine.size - np.searchsorted(mine, distinct, side="left")
    d, n = deaths.sum(axis=1), at_risk.sum(axis=1)
    survival_before = np.concatenate(([1.0], np.cumprod(1 - d / n)[:-1])) if d.size else np.ones(0)
    weight = survival_before**rho
    share = at_risk / n[:, None]
    spread = np.where(n > 1, weight**2 * d * (n - d) / np.maximum(n - 1, 1), 0.0)
    variance = np.diag(spread @ share) - (share * spread[:, None]).T @ share
    return weight @ deaths, (weight * d) @ share, variance


def trend(
    time: Any,
    event: Any,
    group: Any,
    scores: list[float] | None = None,
    strata: Any = None,
    levels: list[str] | None = None,
) -> TrendTest:
    """Tarone's test for a trend of the hazard over ordered groups.

    sum w(O - E) / sqrt(w'Vw): Tarone, Biometrika 1975;62:679.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        group: label of each patient (n,).
        scores: one number a group, in the order of `levels`; default: the labels where all are numbers, else 1, 2, ….
        strata: label of each patient's stratum (n,).
        levels: order of the groups; default: numbers by size, text by alphabet.
    """
    test = logrank(time, event, group, strata=strata, levels=levels)
    if scores is None:
        scores = _scores(test.levels)
    if len(scores) != len(test.levels):
        raise InputError(f"{len(scores)} scores for the {len(test.levels)} groups {list(test.levels)}")
    w = np.asarray(scores, dtype=float)
    spread = float(w @ test.variance @ w)
    z = float(w @ (test.observed - test.expected)) / np.sqrt(spread) if spread > 0 else float("nan")
    return TrendTest(z**2, 1, float(2 * ndtr(-abs(z))), z, tuple(float(score) for score in scores))


def _scores(levels: tuple[str, ...]) -> list[float]:
    try:
        return [float(level) for level in levels]
    except ValueError:
        return [float(index) for index in range(1, len(levels) + 1)]
