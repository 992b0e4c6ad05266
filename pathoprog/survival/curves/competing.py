"""Competing deaths: cumulative incidence by Aalen and Johansen, and Gray's test."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtrc, ndtri

from pathoprog.survival.arrays import CENSORED, COMPETING, EVENT, FloatArray, IntArray, checked, groups_of
from pathoprog.survival.curves.rank_tests import HypothesisTest


@dataclass(frozen=True)
class CumulativeIncidence:
    """Probability of the event by each of k distinct times, where other deaths compete.

    Attributes:
        time: distinct follow-up times, ascending (k,).
        n_risk: patients with T >= time (k,).
        n_event: events at time (k,).
        n_competing: competing deaths at time (k,).
        value: cumulative incidence just after time (k,).
        std_err: its standard error (k,).
        lower: lower confidence limit (k,).
        upper: upper confidence limit (k,).
    """

    time: FloatArray
    n_risk: IntArray
    n_event: IntArray
    n_competing: IntArray
    value: FloatArray
    std_err: FloatArray
    lower: FloatArray
    upper: FloatArray

    def at(self, times: Any) -> "IncidenceValues":
        """The curve at given times; after the last follow-up it keeps its last value."""
        when = np.atleast_1d(np.asarray(times, dtype=float))
        place = np.searchsorted(self.time, when, side="right")
        read = [np.concatenate(([0.0], v))[place] for v in (self.value, self.std_err, self.lower, self.upper)]
        return IncidenceValues(when, read[0], read[1], read[2], read[3], when > self.time[-1])

    def identified_at(self, times: Any) -> "IncidenceValues":
        """As `at`, with NaN after the last follow-up, unless everyone's follow-up ended by a death."""
        found = self.at(times)
        all_died = bool(self.n_event[-1] + self.n_competing[-1] == self.n_risk[-1])
        carried = np.asarray(found.beyond) & (not all_died)
        names = ("value", "std_err", "lower", "upper")
        return replace(found, **{name: np.where(carried, np.nan, getattr(found, name)) for name in names})


@dataclass(frozen=True)
class IncidenceValues:
    """A cumulative incidence read at m times; `beyond` marks times after the last follow-up (m,)."""

    time: FloatArray
    value: FloatArray
    std_err: FloatArray
    lower: FloatArray
    upper: FloatArray
    beyond: Any


def cumulative_incidence(time: Any, event: Any, cause: int = EVENT, level: float = 0.95) -> CumulativeIncidence:
    """Aalen-Johansen estimate of the cumulative incidence of one cause.

    Aalen and Johansen, Scand J Stat 1978;5:141; variance by the delta method: Aalen, Ann Stat 1978;6:534, as R's
    `cmprsk::cuminc`; limits on the log(-log) scale.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        cause: the code whose incidence is asked for.
        level: confidence level.
    """
    times, codes = checked(time, event)
    distinct, place = np.unique(times, return_inverse=True)
    k = distinct.size
    n = np.cumsum(np.bincount(place, minlength=k)[::-1])[::-1]
    mine = np.bincount(place[codes == cause], minlength=k)
    other = np.bincount(place[(codes != cause) & (codes != CENSORED)], minlength=k)
    survival = np.asarray(np.cumprod((n - mine - other) / n), dtype=np.float64)
    before = np.concatenate(([1.0], survival[:-1]))
    value = np.cumsum(before * mine / n)
    variance = _variance(value, survival, before, n, mine, other)
    std_err = np.sqrt(np.maximum(variance, 0.0))
    lower, upper = _limits(value, std_err, float(ndtri((1 + level) / 2)))
    return CumulativeIncidence(distinct, n, mine, other, value, std_err, lower, upper)


def _variance(
    value: FloatArray, survival: FloatArray, before: FloatArray, n: IntArray, mine: IntArray, other: IntArray
) -> FloatArray:
    """Sum over jumps u <= t of (part + (F(u) - F(t)) / S(u))**2 q(u), expanded so that running sums give every t."""
    inverse = np.divide(1.0, survival, out=np.zeros_like(survival), where=survival > 0)
    reach = value * inverse
    v1, v2, v3 = np.zeros(n.size), np.zeros(n.size), np.zeros(n.size)
    for count, part, counts in ((mine, 1.0, mine > 0), (other, 0.0, (other > 0) & (survival > 0))):
        ties = np.where(count > 1, 1 - (count - 1) / np.maximum(n - 1, 1), 1.0)
        q = np.where(counts, before**2 * ties * count / n.astype(float) ** 2, 0.0)
        v1 += (part + reach) ** 2 * q
        v2 += (part + reach) * inverse * q
        v3 += inverse**2 * q
    return np.asarray(np.cumsum(v1) - 2 * value * np.cumsum(v2) + value**2 * np.cumsum(v3))


def _limits(value: FloatArray, std_err: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    inside = (value > 0) & (value < 1 - 1e-12)
    safe = np.where(inside, value, 0.5)
    width = np.where(inside, z * std_err / (safe * np.log(safe)), 0.0)  # the logarithm is negative
    with np.errstate(over="ignore"):  # so wide that the limit is 0
        lower, upper = safe ** np.exp(-width), safe ** np.exp(width)
    return np.where(inside, lower, value), np.where(inside, upper, value)


def gray_test(time: Any, event: Any, group: Any, levels: list[str] | None = None) -> HypothesisTest:
    """Gray's test of equal cumulative incidence of the event (code 1) in g groups, weight rho = 0.

    Gray, Ann Stat 1988;16:1141, equations 3.1 to 3.3 with the variance under equal incidence; as R's
    `cmprsk::cuminc`.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        group: label of each patient (n,).
        levels: order of the groups (has no influence on the test).
    """
    times, codes = checked(time, event)
    names, place = groups_of(group, times.size, levels)
    g = len(names)
    if g < 2 or not (codes == EVENT).any():
        return HypothesisTest(float("nan"), max(g - 1, 0), float("nan"))
    distinct = np.unique(times[codes != CENSORED])
    d1, d2, n = (np.zeros((distinct.size, g)) for _ in range(3))  # [time, group]
    for k in range(g):
        mine = np.sort(times[place == k])
        n[:, k] = mine.size - np.searchsorted(mine, distinct, side="left")
        for counts, code in ((d1, EVENT), (d2, COMPETING)):
            np.add.at(counts[:, k], np.searchsorted(distinct, times[(place == k) & (codes == code)]), 1)
    score, variance = _gray_sums(d1, d2, n)
    free = slice(0, g - 1)
    statistic = float(score[free] @ np.linalg.lstsq(variance[free, free], score[free], rcond=None)[0])
    return HypothesisTest(statistic, g - 1, float(chdtrc(g - 1, statistic)))


def _gray_sums(d1: FloatArray, d2: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Score (g,) and covariance (g, g) of Gray's test from counts [time, group]."""
    there = n > 0
    safe_n = np.maximum(n, 1)
    survival = np.cumprod(np.where(there, 1 - (d1 + d2) / safe_n, 1.0), axis=0)
    before = np.vstack((np.ones(n.shape[1]), survival[:-1]))  # S_k(t-)
    incidence = np.cumsum(np.where(there, before * d1 / safe_n, 0.0), axis=0)
    incidence_before = np.vstack((np.zeros(n.shape[1]), incidence[:-1]))
    risk = np.divide(n, before, out=np.zeros_like(n), where=there & (before > 0))  # n_k / S_k(t-)
    total = risk.sum(axis=1)
    events = d1.sum(axis=1)
    ok = total > 0
    weighted = risk * (1 - incidence_before)
    sub = np.where(ok, weighted.sum(axis=1), 1.0)
    score = (d1 - np.where(ok, events / sub, 0.0)[:, None] * weighted).sum(axis=0)
    pooled = np.cumsum(np.where(ok, events / np.where(ok, total, 1.0), 0.0))  # F under equal incidence
    pooled_before = np.concatenate(([0.0], pooled[:-1]))
    share = risk / np.where(ok, total, 1.0)[:, None]
    a = risk[:, :, None] * (np.eye(n.shape[1])[None] - share[:, None, :])  # [time, group i, group k]
    hazard = events / np.where(ok, total, 1.0) / (1 - pooled_before)
    c = np.cumsum(a * hazard[:, None, None], axis=0)
    ahead = c[-1] - c
    left = np.divide((1 - pooled)[:, None], survival, out=np.ones_like(survival), where=survival > 0)
    fall = np.where(survival > 0, 1 - left, 1.0)
    spread = np.where(total * 1.0 > 0, events, 0.0)[:, None] * before / (np.where(ok, total, 1.0)[:, None] * safe_n)
    tied = np.where(
        events[:, None] > 1, 1 - (events[:, None] - 1) / np.maximum(total[:, None] * before - 1, 1e-300), 1.0
    )
    q1 = np.where(there, spread * tied, 0.0)
    q2 = np.where(there & (d2 > 0) & (survival > 0), before**2 * d2 / safe_n**2, 0.0)
    q2 *= np.where(d2 > 1, 1 - (d2 - 1) / np.maximum(n - 1, 1), 1.0)
    one = a + fall[:, None, :] * ahead
    two = left[:, None, :] * ahead
    variance = np.einsum("tik,tjk,tk->ij", one, one, q1) + np.einsum("tik,tjk,tk->ij", two, two, q2)
    return score, np.asarray(variance)
