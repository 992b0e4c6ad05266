"""The threshold of one resolution: the cut of the ensemble's score that separates survival best on tuning. No torch.

The rule is METHOD's default: maximise the log-rank statistic, stratified by cohort, with at least a given share of the
patients on each side. Such a maximum has no honest p-value (Miller, Siegmund 1982, Biometrics 38:1011), so none is
given; a bootstrap interval shows how firm the cut is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError

MAX_CUTS_IN_BOOTSTRAP = 100
MOST_CELLS = 1 << 21
"""Patients times cuts that are held at once, 8 bytes each and a few times over."""


@dataclass
class Threshold:
    """A cut and its percentile bootstrap interval (95%); a score at the cut counts as above it."""

    value: float
    lower: float
    upper: float
    share_above: float
    rule: str


def fit_threshold(
    score: NDArray[np.float64],
    time: NDArray[np.float64],
    event: NDArray[np.int64],
    strata: NDArray[np.str_],
    min_share: float = 0.15,
    bootstrap: int = 200,
    seed: int = 1,
) -> Threshold:
    """Fit the threshold of one resolution: the cut with the largest log-rank statistic, stratified by cohort.

    METHOD, section 1, "Thresholds". Likely: each resolution has a threshold of its own, fixed on tuning (Skrede et al.,
    Lancet 2020;395:350-360). Project default, for the sources at hand do not say it: the statistic (Mantel 1966, Cancer
    Chemother Rep 50:163, stratified), at least `min_share` of the patients on each side, on the five-member mean per
    patient. No p-value: that of a maximum is none (Miller, Siegmund 1982, Biometrics 38:1011).

    Args:
        score: [n] mean score per patient, in [0, 1].
        time: [n] follow-up.
        event: [n] 1 for the event, anything else is censored.
        strata: [n] cohort of each patient.
        min_share: smallest share of patients on each side.
        bootstrap: resamples (within strata) for the interval; 0 gives none (lower = upper = value).
        seed: of the bootstrap.

    Raises:
        InputError: no event, or no cut leaves `min_share` on each side.
    """
    died = np.asarray(event) == 1
    if not died.any():
        raise InputError("no tuning patient has the event: a threshold cannot be fitted")
    cuts = candidate_cuts(score, min_share)
    if not len(cuts):
        raise InputError(f"no cut leaves {min_share:.0%} of the tuning patients on each side: the scores are too alike")
    value = float(cuts[np.argmax(logrank_of_cuts(score, time, died, strata, cuts))])
    rng = np.random.default_rng(seed)
    found = []
    members = [np.flatnonzero(strata == name) for name in np.unique(strata)]
    for _ in range(bootstrap):
        draw = np.concatenate([rng.choice(index, len(index)) for index in members])
        some = candidate_cuts(score[draw], min_share)
        if len(some) and died[draw].any():
            some = some[np.unique(np.linspace(0, len(some) - 1, MAX_CUTS_IN_BOOTSTRAP).astype(int))]
            statistics = logrank_of_cuts(score[draw], time[draw], died[draw], strata[draw], some)
            found.append(some[np.argmax(statistics)])
    lower, upper = np.quantile(found, [0.025, 0.975], method="weibull") if found else (value, value)
    return Threshold(
        value,
        float(lower),
        float(upper),
        float(np.mean(score >= value)),
        f"largest log-rank statistic stratified by cohort, at least {min_share:.0%} on each side",
    )


def candidate_cuts(score: NDArray[np.float64], min_share: float) -> NDArray[np.float64]:
    """Midpoints between neighbouring scores that leave at least `min_share` of the patients on each side."""
    values = np.unique(score)
    cuts = (values[1:] + values[:-1]) / 2
    above = 1 - np.searchsorted(np.sort(score), cuts, side="left") / len(score)
    kept: NDArray[np.float64] = cuts[(above >= min_share) & (above <= 1 - min_share)]
    return kept


def logrank_of_cuts(
    score: NDArray[np.float64],
    time: NDArray[np.float64],
    died: NDArray[np.bool_],
    strata: NDArray[np.str_],
    cuts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Stratified two-group log-rank chi-squared for every cut at once.

    Args:
        score: [n].
        time: [n].
        died: [n].
        strata: [n].
        cuts: [m]; the groups are score >= cut and score < cut.

    Returns:
        [m], zero where the variance is zero.
    """
    difference, variance = np.zeros(len(cuts)), np.zeros(len(cuts))
    for name in np.unique(strata):
        index = np.flatnonzero(strata == name)
        index = index[np.argsort(time[index], kind="stable")]
        for part in _parts(len(cuts), max(2, MOST_CELLS // len(index))):
            above = (score[index, None] >= cuts[part]).astype(np.float64)  # [n, p], p cuts of the m
            observed, spread = _above_and_spread(above, time[index], died[index])
            difference[part] += observed
            variance[part] += spread
    return np.divide(difference**2, variance, out=np.zeros(len(cuts)), where=variance > 0)


def _parts(n: int, most: int) -> Iterator[slice]:
    """Cut n columns into parts of `most`, or a bit more: a part of one would be added up in another order."""
    ends = [*range(most, n - 1, most), n]
    return (slice(begin, end) for begin, end in pairwise([0, *ends]))


def _above_and_spread(
    above: NDArray[np.float64], time: NDArray[np.float64], died: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Observed less expected events above each cut, and their variance, [p] each.

    Args:
        above: [n, p] 1 where the patient's score is above the cut, in the order of time.
        time: [n].
        died: [n].
    """
    distinct, first = np.unique(time, return_index=True)
    at_risk = len(time) - first.astype(np.float64)  # [t]
    at_risk_above = np.cumsum(above[::-1], axis=0)[::-1][first]  # [t, p]
    events = np.add.reduceat(died.astype(np.float64), first)  # [t]
    events_above = np.add.reduceat(died[:, None] * above, first, axis=0)  # [t, p]
    share = at_risk_above / at_risk[:, None]
    spread = events * (at_risk - events) / np.maximum(at_risk - 1, 1)  # hypergeometric variance
    assert len(distinct) == len(first)
    return (events_above - events[:, None] * share).sum(0), (spread[:, None] * share * (1 - share)).sum(0)
