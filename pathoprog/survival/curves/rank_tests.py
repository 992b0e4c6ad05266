"""Log-rank test and its relatives: weighted, stratified, and for a trend over ordered groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc, ndtr

from pathoprog.errors import InputError
from pathoprog.survival.arrays import (
    EVENT,
    FloatArray,
    IntArray,
    checked,
    checked_entry,
    checked_weight,
    clusters,
    groups_of,
    summed,
)


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
        variance: covariance of observed - expected (g, g), hypergeometric or robust.
        robust: True where rows were summed by patient, or weights are no copies.
    """

    levels: tuple[str, ...]
    n: IntArray
    observed: FloatArray
    expected: FloatArray
    variance: FloatArray
    robust: bool = False


@dataclass(frozen=True)
class TrendTest(HypothesisTest):
    """Trend over ordered groups: `z` is positive where the hazard rises with the scores."""

    z: float
    scores: tuple[float, ...]


def logrank(
    time: Any,
    event: Any,
    group: Any,
    strata: Any = None,
    rho: float = 0.0,
    levels: list[str] | None = None,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
) -> RankTest:
    """Log-rank test of equal hazards in g groups, optionally weighted or stratified.

    Mantel, Cancer Chemother Rep 1966;50:163; weights S(t-)**rho: Harrington and Fleming, Biometrika 1982;69:553
    (rho = 1: Peto and Peto's modification of the Gehan-Wilcoxon test). Rows of one patient, and weights that are no
    whole numbers, get the robust variance of Lin and Wei, J Am Stat Assoc 1989;84:1074: the robust score test of a
    Cox model with Breslow's ties.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        group: label of each patient (n,).
        strata: label of each patient's stratum; the sums run over strata (n,).
        rho: 0 the log-rank test; 1 gives early events more weight.
        levels: order of the groups.
        entry: when each row came under observation (n,); None: all at 0.
        weight: case weights (n,); whole numbers are copies.
        patient: of each row, where a patient has several (n,).

    Returns:
        The test. Groups without a patient at risk at any event count for no degree of freedom; fewer than two such
        groups give p = nan, as does a robust variance from no more patients than degrees of freedom.
    """
    times, codes = checked(time, event)
    names, place = groups_of(group, times.size, levels)
    blocks = np.zeros(times.size, dtype=np.int64) if strata is None else groups_of(strata, times.size)[1]
    g = len(names)
    times, entries = checked_entry(entry, times)
    weights = checked_weight(weight, times.size)
    cluster = clusters(patient, weights, times.size)
    observed, expected, variance = np.zeros(g), np.zeros(g), np.zeros((g, g))
    influence = np.zeros((times.size, g))
    for block in np.unique(blocks):
        inside = blocks == block
        own = None if entries is None else entries[inside]
        mine = None if weights is None else weights[inside]
        o, e, v, of_rows = _sums(
            times[inside], codes[inside] == EVENT, place[inside], g, rho, own, mine, cluster is not None
        )
        observed, expected, variance = observed + o, expected + e, variance + v
        influence[inside] = of_rows
    if cluster is not None:
        by_cluster = summed(influence, cluster)
        variance = by_cluster.T @ by_cluster
    at_risk = np.flatnonzero(expected > 0)
    free = at_risk[1:]
    statistic = float("nan")
    if free.size and (cluster is None or int(cluster.max()) + 1 > free.size):
        gap = (observed - expected)[free]
        statistic = float(gap @ np.linalg.lstsq(variance[np.ix_(free, free)], gap, rcond=None)[0])
    p = float(chdtrc(free.size, statistic)) if np.isfinite(statistic) else float("nan")
    n = np.bincount(place, minlength=g)
    return RankTest(statistic, int(free.size), p, tuple(names), n, observed, expected, variance, cluster is not None)


def _sums(
    time: FloatArray,
    event: Any,
    place: IntArray,
    g: int,
    rho: float,
    entry: FloatArray | None,
    weight: FloatArray | None,
    by_row: bool,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Observed, expected (g,), the hypergeometric covariance (g, g), summed over the event times of one stratum.

    And, where it is asked for, each row's influence on observed - expected (n, g), else zeros: over the times at which
    it is at risk, the difference of its group and the groups' shares, times its event less the hazard (Lin and Wei).
    """
    distinct = np.unique(time[event])
    deaths = np.zeros((distinct.size, g))  # [event time, group]
    each = np.ones(time.size) if weight is None else weight
    np.add.at(deaths, (np.searchsorted(distinct, time[event]), place[event]), each[event])
    at_risk = np.empty((distinct.size, g))
    for k in range(g):
        own = place == k
        if weight is None:
            mine = np.sort(time[own])
            at_risk[:, k] = mine.size - np.searchsorted(mine, distinct, side="left")
        else:
            at_risk[:, k] = _from(time[own], weight[own], distinct)
        if entry is not None:
            late = own & (entry > 0)
            at_risk[:, k] -= _from(entry[late], each[late], distinct)
    d, n = deaths.sum(axis=1), at_risk.sum(axis=1)
    survival_before = np.concatenate(([1.0], np.cumprod(1 - d / n)[:-1])) if d.size else np.ones(0)
    pull = survival_before**rho
    share = at_risk / n[:, None]
    spread = np.where(n > 1, pull**2 * d * (n - d) / np.maximum(n - 1, 1), 0.0)
    variance = np.diag(spread @ share) - (share * spread[:, None]).T @ share
    influence = np.zeros((time.size, g))
    if by_row and d.size:
        first = np.zeros(time.size, dtype=np.int64)
        if entry is not None:
            first = np.where(entry > 0, np.searchsorted(distinct, entry, side="right"), 0)
        last = np.searchsorted(distinct, time, side="right")  # event times up to T
        hazard = pull * d / n
        drawn = np.concatenate(([0.0], np.cumsum(hazard)))
        drift = np.concatenate((np.zeros((1, g)), np.cumsum(hazard[:, None] * share, axis=0)))
        influence = drift[last] - drift[first]
        influence[np.arange(time.size), place] -= drawn[last] - drawn[first]
        at = np.searchsorted(distinct, time[event])
        influence[event] -= pull[at, None] * share[at]
        influence[np.flatnonzero(event), place[event]] += pull[at]
        influence *= each[:, None]
    return pull @ deaths, (pull * d) @ share, variance, influence


def _from(time: FloatArray, weight: FloatArray, at: FloatArray) -> FloatArray:
    """Weight of those whose time is at or after each of `at` (k,)."""
    order = np.argsort(time)
    ahead = np.concatenate((np.cumsum(weight[order][::-1])[::-1], [0.0]))
    return np.asarray(ahead[np.searchsorted(time[order], at, side="left")])


def trend(
    time: Any,
    event: Any,
    group: Any,
    scores: list[float] | None = None,
    strata: Any = None,
    levels: list[str] | None = None,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
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
        entry: as in `logrank`, as `weight` and `patient` (n,).
        weight: case weights (n,).
        patient: of each row (n,).
    """
    test = logrank(time, event, group, strata, 0.0, levels, entry, weight, patient)
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
