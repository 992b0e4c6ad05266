"""Concordance of a score with survival: Harrell's and Uno's c with standard errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import (
    COMPETING,
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
from pathoprog.survival.curves.risk_sets import event_table


@dataclass(frozen=True)
class Concordance:
    """A concordance index.

    Attributes:
        value: share of comparable pairs in which the patient with the higher score has the earlier event; ties in the
            score count one half.
        se: standard error.
        lower: lower confidence limit.
        upper: upper confidence limit.
        concordant: number of concordant pairs, not weighted (under case weights the rows of each count once).
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
    time: Any,
    event: Any,
    score: Any,
    level: float = 0.95,
    competing_as_control: bool = False,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
    strata: Any = None,
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
        entry: when each row came under observation (n,): a pair is comparable if both are at risk at its event.
        weight: case weights: a pair counts the product of both (n,).
        patient: of each row, where a patient has several: the standard error is by patient (n,).
        strata: label of each row: only pairs inside a stratum are comparable (n,).
    """
    if competing_as_control:
        time, event = checked(time, event)
        time = np.where(event == COMPETING, time.max() + 1, time)
    return _interval(pair_influence(time, event, score, None, False, entry, weight, patient, strata), level)


def uno_c(
    time: Any,
    event: Any,
    score: Any,
    tau: float | None = None,
    level: float = 0.95,
    patient: Any = None,
) -> Concordance:
    """Uno's c: each pair weighted by 1 / G(t-)**2 at its event, G the Kaplan-Meier estimate of censoring.

    Uno et al., Stat Med 2011;30:1105. As R's `concordance(timewt = "n/G2")`; the standard error takes the weights as
    known.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        score: higher = worse (n,).
        tau: only events before `tau` count; default: all.
        level: confidence level.
        patient: of each row, where a patient has several (n,).

    Delayed entry and case weights are no arguments: the censoring distribution is then another.
    """
    return _interval(pair_influence(time, event, score, tau, True, None, None, patient), level)


@dataclass(frozen=True)
class PairInfluence:
    """A concordance with what each patient adds to it.

    Attributes:
        value: the concordance.
        influence: of each patient on it, case weight included; its squares sum to the variance (c,).
        counts: rows of pairs: concordant, discordant, tied in score, tied in time, tied in both.
    """

    value: float
    influence: FloatArray
    counts: tuple[int, int, int, int, int]


def pair_influence(
    time: Any,
    event: Any,
    score: Any,
    tau: float | None = None,
    weighted: bool = False,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
    strata: Any = None,
) -> PairInfluence:
    """Harrell's c, or Uno's (`weighted`), as a mean over pairs with each patient's influence on it.

    Arguments as in `harrell_c` and `uno_c`; two scores of the same patients are compared by the difference of their
    influences, as R's `concordance(fit1, fit2)`.
    """
    times, codes = checked(time, event)
    scores = np.asarray(score, dtype=float)
    if scores.shape != times.shape or not np.isfinite(scores).all():
        raise InputError("scores must be finite numbers, one for each patient")
    times, entries = checked_entry(entry, times)
    weights = checked_weight(weight, times.size)
    if weighted and (entries is not None or weights is not None):
        raise InputError("Uno's c takes no delayed entry and no case weights: its censoring weights are not known then")
    cluster = clusters(patient, weights, times.size)
    blocks = [np.arange(times.size)]
    if strata is not None:
        place = groups_of(strata, times.size)[1]
        blocks = [np.flatnonzero(place == k) for k in np.unique(place)]
    n = times.size
    plain, pairs = Pairs(*(np.zeros(n) for _ in range(3))), Pairs(*(np.zeros(n) for _ in range(3)))
    tied_time = tied_both = 0
    g = _uno_weight(times, codes) if weighted else None
    for mine in blocks:
        t, e, s = times[mine], codes[mine], scores[mine]
        own = None if entries is None else entries[mine]
        died = (e == EVENT) & (t < (np.inf if tau is None else tau))
        # a patient censored at an event's time counts as later: even ranks are events, odd ones all others
        rank = 2 * np.unique(t, return_inverse=True)[1] + (e != EVENT)
        bare = whole = _pairs_at_risk(rank, died.astype(float), s, t, own, None)
        if g is not None:
            whole = count_pairs(rank, np.where(died, g[mine], 0.0), s)
        if weights is not None:
            whole = _pairs_at_risk(rank, died.astype(float), s, t, own, weights[mine])
        for total, part in ((plain, bare), (pairs, whole)):
            total.concordant[mine], total.discordant[mine], total.tied[mine] = (
                part.concordant,
                part.discordant,
                part.tied,
            )
        more = _ties_among_events(rank[died], s[died])
        tied_time, tied_both = tied_time + more[0], tied_both + more[1]
    mine_ = pairs.concordant + pairs.discordant + pairs.tied
    total_ = float(mine_.sum()) / 2
    value, influence = float("nan"), np.full(n, np.nan)
    if total_ > 0:
        somers = float(pairs.concordant.sum() - pairs.discordant.sum()) / 2 / total_
        value = (1 + somers) / 2
        influence = ((pairs.concordant - pairs.discordant) - somers * mine_) / total_ / 2
    if patient is not None and cluster is not None:
        influence = summed(influence, cluster)
    counted = [round(float(one.sum()) / 2) for one in (plain.concordant, plain.discordant, plain.tied)]
    return PairInfluence(value, influence, (counted[0], counted[1], counted[2], tied_time, tied_both))


def _interval(found: PairInfluence, level: float) -> Concordance:
    value = found.value
    se = float(np.sqrt((found.influence**2).sum()))
    z = float(ndtri((1 + level) / 2))
    lower, upper = float(np.clip(value - z * se, 0, 1)), float(np.clip(value + z * se, 0, 1))
    return Concordance(value, se, lower, upper, *found.counts)


def _pairs_at_risk(
    rank: IntArray,
    died: FloatArray,
    score: FloatArray,
    time: FloatArray,
    entry: FloatArray | None,
    weight: FloatArray | None,
) -> "Pairs":
    """Comparable pairs; less those whose later one had not entered yet at the event; each by the product of weights."""
    each = np.ones(rank.size) if weight is None else weight
    found = count_pairs(rank, died, score) if weight is None else count_weighted(rank, died * each, each, score)
    if entry is None:
        return found
    late = np.flatnonzero(entry > 0)
    if not late.size:
        return found
    dead = np.flatnonzero(died > 0)
    at = np.unique(np.concatenate((time[dead], entry[late])), return_inverse=True)[1]
    both = np.concatenate((2 * at[: dead.size], 2 * at[dead.size :] + 1))  # an entry at an event's time is too late
    earlier = np.concatenate((each[dead], np.zeros(late.size)))
    later = np.concatenate((np.zeros(dead.size), each[late]))
    gone = count_weighted(both, earlier, later, np.concatenate((score[dead], score[late])))
    kept = []
    for name in ("concordant", "discordant", "tied"):
        values, part = getattr(found, name).copy(), getattr(gone, name)
        np.subtract.at(values, dead, part[: dead.size])
        np.subtract.at(values, late, part[dead.size :])
        kept.append(values)
    return Pairs(*kept)


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


def count_weighted(rank: IntArray, earlier: FloatArray, later: FloatArray, score: FloatArray) -> Pairs:
    """As `count_pairs`, where a pair counts the product of two weights.

    Args:
        rank: a pair is comparable if the earlier patient's rank is lower (n,).
        earlier: weight as the earlier one of a pair; 0 for patients without event (n,).
        later: weight as the later one (n,).
        score: higher = worse (n,).
    """
    order = np.argsort(rank, kind="stable")
    ranks = rank[order]
    before = np.concatenate(([0.0], np.cumsum(earlier[order])))[np.searchsorted(ranks, rank, side="left")]
    ahead = np.concatenate((np.cumsum(later[order][::-1])[::-1], [0.0]))[np.searchsorted(ranks, rank, side="right")]
    concordant = _inversions(rank, earlier, score, later)
    discordant = _inversions(rank, earlier, -score, later)
    return Pairs(concordant, discordant, earlier * ahead + later * before - concordant - discordant)


def _inversions(rank: IntArray, weight: FloatArray, score: FloatArray, later: FloatArray | None = None) -> FloatArray:
    """Weight of each patient's pairs whose earlier patient has the strictly higher score (times `later`) (n,).

    Patients stand in the order of rank. Scores are split by their highest bit, then each half by the next, as in a
    wavelet tree: every pair parts at exactly one level, where running sums count it for all patients at once.
    """
    n = rank.size
    index = np.lexsort((score, rank))
    place = np.empty(n, dtype=np.int64)
    place[np.lexsort((np.arange(n), score[index]))] = np.arange(n)  # equal scores: earlier ones lower, never counted
    w = weight[index]
    v = None if later is None else later[index]
    total = np.zeros(n)
    position = np.arange(n)
    for bit in reversed(range(max(n - 1, 1).bit_length())):
        start = (place >> (bit + 1)) << (bit + 1)
        high = (place >> bit) & 1
        lows = np.concatenate(([0], np.cumsum(1 - high)))
        lows_before = lows[position] - lows[start]
        lows_in_all = lows[np.minimum(start + (2 << bit), n)] - lows[start]
        highs = np.concatenate(([0.0], np.cumsum(w * high)))
        if v is None:
            total[index] += np.where(high == 1, w * (lows_in_all - lows_before), highs[position] - highs[start])
        else:
            after = np.concatenate(([0.0], np.cumsum(v * (1 - high))))
            beyond = after[np.minimum(start + (2 << bit), n)] - after[position]
            total[index] += np.where(high == 1, w * beyond, v * (highs[position] - highs[start]))
        target = start + np.where(high == 1, lows_in_all + position - start - lows_before, lows_before)
        moved = np.empty(n, dtype=np.int64)
        moved[target] = position
        index, place, w = index[moved], place[moved], w[moved]
        v = None if v is None else v[moved]
    return total
