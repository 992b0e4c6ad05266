"""Concordance of a score with survival: Harrell's and Uno's c with standard errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import COMPETING, EVENT, FloatArray, IntArray, checked
from pathoprog.survival.curves.product_limit import event_table


@dataclass(frozen=True)
class Concordance:
    """A concordance index.

    Attributes:
        value: share of comparable pairs in which the patient with the higher score has the earlier event; ties in the
            score count one half.
        se: standard error.
        lower: lower confidence limit.
        upper: upper confidence limit.
        concordant: number of concordant pairs, not weighted.
        discordant: number of discordant pairs.
        tied_score: comparable pairs with equal scores.
        tied_time: pairs of events at one time with different scores: not comparable.
        tied_both: pairs of events at one time with equal scores.
    """

    value: float
    se: float
    lower: float
    upper: float
    concordant: int
    discordant: int
    tied_score: int
    tied_time: int
    tied_both: int


def harrell_c(
    time: Any, event: Any, score: Any, level: float = 0.95, competing_as_control: bool = False
) -> Concordance:
    """Harrell's c; a higher score means a worse prognosis.

    A pair is comparable if the earlier time is an event; a patient censored at the time of an event outlives it.
    Harrell et al., JAMA 1982;247:2543. The standard error is the infinitesimal jackknife of the ratio, as in R's
    `survival::concordance` (Therneau and Watson, The concordance statistic and the Cox model, Mayo Clinic 2015).

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        score: higher = worse (n,).
        level: confidence level.
        competing_as_control: competing deaths never have the event, so they outlive everyone who has it (Wolbers et
            al., Biostatistics 2014;15:526, without weights); False: they are censored when they die.
    """
    if competing_as_control:
        time, event = checked(time, event)
        time = np.where(event == COMPETING, time.max() + 1, time)
    return _concordance(time, event, score, level, None, False)


def uno_c(time: Any, event: Any, score: Any, tau: float | None = None, level: float = 0.95) -> Concordance:
    """Uno's c: each pair weighted by 1 / G(t-)**2 at its event, G the Kaplan-Meier estimate of censoring.

    Uno et al., Stat Med 2011;30:1105. As R's `concordance(timewt = "n/G2")`; the standard error takes the weights as
    known.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        score: higher = worse (n,).
        tau: only events before `tau` count; default: all.
        level: confidence level.
    """
    return _concordance(time, event, score, level, tau, True)


def _concordance(time: Any, event: Any, score: Any, level: float, tau: float | None, weighted: bool) -> Concordance:
    times, codes = checked(time, event)
    scores = np.asarray(score, dtype=float)
    if scores.shape != times.shape or not np.isfinite(scores).all():
        raise InputError("scores must be finite numbers, one for each patient")
    died = (codes == EVENT) & (times < (np.inf if tau is None else tau))
    # a patient censored at an event's time counts as later: even ranks are events, odd ones all others
    rank = 2 * np.unique(times, return_inverse=True)[1] + (codes != EVENT)
    plain = pairs = count_pairs(rank, died.astype(float), scores)
    if weighted:
        pairs = count_pairs(rank, np.where(died, _uno_weight(times, codes), 0.0), scores)
    tied_time, tied_both = _ties_among_events(rank[died], scores[died])
    mine = pairs.concordant + pairs.discordant + pairs.tied
    total = float(mine.sum()) / 2
    value = se = float("nan")
    if total > 0:
        somers = float(pairs.concordant.sum() - pairs.discordant.sum()) / 2 / total
        value = (1 + somers) / 2
        influence = ((pairs.concordant - pairs.discordant) - somers * mine) / total / 2
        se = float(np.sqrt((influence**2).sum()))
    z = float(ndtri((1 + level) / 2))
    return Concordance(
        value,
        se,
        float(np.clip(value - z * se, 0, 1)),
        float(np.clip(value + z * se, 0, 1)),
        round(float(plain.concordant.sum()) / 2),
        round(float(plain.discordant.sum()) / 2),
        round(float(plain.tied.sum()) / 2),
        tied_time,
        tied_both,
    )


def _uno_weight(time: FloatArray, event: IntArray) -> FloatArray:
    """1 / G(T-)**2 for each patient, events before censorings at one time (n,)."""
    distinct, n_risk, n_event, n_censor = event_table(time, event)
    left = n_risk - n_event
    g = np.cumprod(np.where(left > 0, 1 - n_censor / np.maximum(left, 1), 1.0))
    before = np.concatenate(([1.0], g[:-1]))
    return np.asarray(1 / before[np.searchsorted(distinct, time)] ** 2)


def _ties_among_events(rank: IntArray, score: FloatArray) -> tuple[int, int]:
    """Pairs of events at one time: with different scores, with equal scores."""
    at_time = np.unique(rank, return_counts=True)[1]
    at_both = np.unique(np.column_stack((rank, score)), axis=0, return_counts=True)[1]
    both = int((at_both * (at_both - 1) // 2).sum())
    return int((at_time * (at_time - 1) // 2).sum()) - both, both


@dataclass(frozen=True)
class Pairs:
    """Weighted comparable pairs that each patient is part of, be it as the earlier or the later one (n,) each.

    Every pair stands at both of its patients: sums over all patients count it twice.
    """

    concordant: FloatArray
    discordant: FloatArray
    tied: FloatArray


def count_pairs(rank: IntArray, weight: FloatArray, score: FloatArray) -> Pairs:
    """Comparable pairs of each patient, in O(n log n).

    Args:
        rank: a pair is comparable if the earlier patient's rank is lower (n,).
        weight: weight of the pairs in which a patient is the earlier one; 0 for patients without event (n,).
        score: higher = worse (n,).
    """
    order = np.argsort(rank, kind="stable")
    sorted_rank, sorted_weight = rank[order], weight[order]
    later = rank.size - np.searchsorted(sorted_rank, rank, side="right")
    earlier = np.concatenate(([0.0], np.cumsum(sorted_weight)))[np.searchsorted(sorted_rank, rank, side="left")]
    concordant = _inversions(rank, weight, score)
    discordant = _inversions(rank, weight, -score)
    return Pairs(concordant, discordant, weight * later + earlier - concordant - discordant)


def _inversions(rank: IntArray, weight: FloatArray, score: FloatArray) -> FloatArray:
    """Weight of each patient's pairs whose earlier patient has the strictly higher score (n,).

    Patients stand in the order of rank. Scores are split by their highest bit, then each half by the next, as in a
    wavelet tree: every pair parts at exactly one level, where running sums count it for all patients at once.
    """
    n = rank.size
    index = np.lexsort((score, rank))
    place = np.empty(n, dtype=np.int64)
    place[np.lexsort((np.arange(n), score[index]))] = np.arange(n)  # equal scores: earlier ones lower, never counted
    w = weight[index]
    total = np.zeros(n)
    position = np.arange(n)
    for bit in reversed(range(max(n - 1, 1).bit_length())):
        start = (place >> (bit + 1)) << (bit + 1)
        high = (place >> bit) & 1
        lows = np.concatenate(([0], np.cumsum(1 - high)))
        lows_before = lows[position] - lows[start]
        lows_in_all = lows[np.minimum(start + (2 << bit), n)] - lows[start]
        highs = np.concatenate(([0.0], np.cumsum(w * high)))
        total[index] += np.where(high == 1, w * (lows_in_all - lows_before), highs[position] - highs[start])
        target = start + np.where(high == 1, lows_in_all + position - start - lows_before, lows_before)
        moved = np.empty(n, dtype=np.int64)
        moved[target] = position
        index, place, w = index[moved], place[moved], w[moved]
    return total
