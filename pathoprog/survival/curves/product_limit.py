"""Kaplan-Meier curves, their quantiles, and the table of numbers at risk."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import (
    EVENT,
    TIE_TOLERANCE,
    FloatArray,
    IntArray,
    checked,
    checked_entry,
    checked_weight,
    clusters,
    level_names,
    summed,
)
from pathoprog.survival.curves.risk_sets import (
    Counts,
    EarlyRisk,
    EventTable,
    continued,
    early_risk,
    event_table,
    weighted_table,
)

CONFIDENCE_KINDS = ("loglog", "log", "plain")


@dataclass(frozen=True)
class CurveRows:
    """The rows behind a curve: follow-up and whether the event ended it, entry and case weights or None (n,) each."""

    time: FloatArray
    died: Any
    entry: FloatArray | None
    weight: FloatArray | None


@dataclass(frozen=True)
class KaplanMeier:
    """A Kaplan-Meier curve: one entry for each of k distinct times, right-continuous steps.

    Attributes:
        time: distinct follow-up times, ascending (k,).
        n_risk: patients with entry < time <= T; their weights where they have some (k,).
        n_event: events at time (k,).
        n_censor: censorings at time, competing deaths included (k,).
        survival: probability of being event-free just after time (k,).
        std_err: standard error of `survival`, Greenwood's or robust (k,); where survival is 0 nan, or 0 if robust.
        lower: lower confidence limit (k,); nan where survival is 0 (robust ``plain`` limits are 0 there), and for
            ``loglog`` where it still is 1.
        upper: upper confidence limit (k,); likewise.
        n: rows of the table.
        patients: different patients, where rows were summed by patient for the variance; else None.
        early: under delayed entry the events of early risk sets that were tiny; None where entry was not delayed.
        rows: those that the curve is of.
        robust: True where the standard errors are.
    """

    time: FloatArray
    n_risk: Counts
    n_event: Counts
    n_censor: Counts
    survival: FloatArray
    std_err: FloatArray
    lower: FloatArray
    upper: FloatArray
    n: int
    patients: int | None
    early: EarlyRisk | None
    rows: CurveRows = field(repr=False, compare=False)
    robust: bool = False

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.n_event.sum())

    def at(self, times: Any) -> "CurveValues":
        """The curve at given times; before the first time it is 1, after the last it keeps its last value."""
        when = np.atleast_1d(np.asarray(times, dtype=float))
        place = np.searchsorted(self.time, when, side="right")

        def step(values: FloatArray, start: float) -> FloatArray:
            return np.concatenate(([start], values))[place]

        return CurveValues(
            when,
            step(self.survival, 1.0),
            step(self.std_err, 0.0),
            step(self.lower, 1.0),
            step(self.upper, 1.0),
            when > self.time[-1],
        )

    def to_lifelines(self, label: str = "") -> Any:
        """A fitted `lifelines.KaplanMeierFitter` of the same rows, to go on with (`kaplan_meier_fitter`)."""
        from pathoprog.survival.lifelines_objects import kaplan_meier_fitter

        return kaplan_meier_fitter(self, label)

    def quantile(self, p: float) -> tuple[float, float, float]:
        """Time by which a share `p` has had the event, with confidence limits.

        The first time at which the curve is at or below 1 - p; where the curve runs exactly at 1 - p, the middle of
        that stretch. The limits are where the confidence bands cross (Brookmeyer and Crowley, Biometrics 1982;38:29,
        with the bands of the chosen kind, as R's `quantile.survfit`).

        Returns:
            Estimate, lower and upper limit; nan where the curve or band does not get so low.
        """
        target = 1 - p
        return (
            _crossing(self.time, self.survival, target),
            _crossing(self.time, self.lower, target),
            _crossing(self.time, self.upper, target),
        )


@dataclass(frozen=True)
class CurveValues:
    """A curve read at m times.

    Attributes:
        time: the times (m,).
        survival: probability of being event-free (m,).
        std_err: its standard error (m,).
        lower: lower confidence limit (m,).
        upper: upper confidence limit (m,).
        beyond: True where nobody was followed so long: the value is only carried forward (m,).
    """

    time: FloatArray
    survival: FloatArray
    std_err: FloatArray
    lower: FloatArray
    upper: FloatArray
    beyond: Any

    def identified(self) -> "CurveValues":
        """The same with NaN where the curve is only carried forward; a curve that ended at 0 stays there."""
        carried = np.asarray(self.beyond) & (self.survival > 0)
        names = ("survival", "std_err", "lower", "upper")
        return replace(self, **{name: np.where(carried, np.nan, getattr(self, name)) for name in names})


def _crossing(time: FloatArray, curve: FloatArray, target: float) -> float:
    known = np.flatnonzero(np.isfinite(curve))
    if known.size == 0:
        return float("nan")
    times, values = time[known], curve[known]
    below = np.flatnonzero(values <= target + TIE_TOLERANCE)
    if below.size == 0:
        return float("nan")
    first = float(times[below[0]])
    if values[below[0]] < target - TIE_TOLERANCE:
        return first
    lower = np.flatnonzero(values < target - TIE_TOLERANCE)
    end = float(times[lower[0]]) if lower.size else float(times[-1])
    return (first + end) / 2


def kaplan_meier(
    time: Any,
    event: Any,
    conf: str = "loglog",
    level: float = 0.95,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
) -> KaplanMeier:
    """Kaplan-Meier estimate with Greenwood's standard error, or a robust one.

    Kaplan and Meier, J Am Stat Assoc 1958;53:457; limits on the log(-log S) scale: Kalbfleisch and Prentice, The
    Statistical Analysis of Failure Time Data, 2nd ed., section 1.4. Competing deaths (code 2) are censored: the curve
    is *net* survival. Robust standard errors are the infinitesimal jackknife's, summed by patient, as R's `survfit`.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 are censored (n,).
        conf: scale of the limits: ``loglog``, ``log`` or ``plain``.
        level: confidence level.
        entry: when each row came under observation (delayed entry, left truncation) (n,); None: all at 0.
        weight: case weights (n,). Whole numbers are copies; with others the standard error is robust.
        patient: of each row, where a patient has several: the standard error is then robust, by patient (n,).
    """
    if conf not in CONFIDENCE_KINDS:
        raise InputError(f"conf={conf!r}: must be one of {', '.join(CONFIDENCE_KINDS)}")
    times, codes = checked(time, event)
    times, entries = checked_entry(entry, times)
    weights = checked_weight(weight, times.size)
    cluster = clusters(patient, weights, times.size)
    distinct, n_risk, n_event, n_censor = rows = event_table(times, codes, entries)
    if weights is not None:
        distinct, n_risk, n_event, n_censor = weighted_table(rows, times, codes, entries, weights)
    if entries is None and weights is None:
        share = (n_risk - n_event) / n_risk
    else:
        share = np.where(rows[1] > rows[2], (n_risk - n_event) / np.where(rows[1] > 0, n_risk, 1), 0.0)
        share = np.where(rows[2] == 0, 1.0, share)
    survival = np.asarray(np.cumprod(share), dtype=np.float64)
    if cluster is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = n_event / (n_risk * (n_risk - n_event))
            if entries is not None:
                terms = np.where(n_event > 0, terms, 0.0)  # between two risk sets there may be nobody
            variance = np.cumsum(terms)  # of log S
    else:
        variance = _robust(times, codes, entries, weights, cluster, (distinct, n_risk, n_event, n_censor), survival)
    at_zero = np.nan if cluster is None else 0.0  # no row's weight moves a curve that has ended
    relative = np.asarray(np.sqrt(np.where(survival == 0, at_zero, variance)), dtype=np.float64)
    lower, upper = _limits(survival, relative, conf, float(ndtri((1 + level) / 2)))
    n_censor = (
        n_censor
        if patient is None or entries is None
        else n_censor - continued(times, codes, entries, patient, weights)
    )
    return KaplanMeier(
        distinct,
        n_risk,
        n_event,
        n_censor,
        survival,
        survival * relative,
        lower,
        upper,
        times.size,
        None if patient is None else int(np.unique(level_names(patient)).size),
        None if entries is None else early_risk(rows[0], rows[1], rows[2], survival),
        CurveRows(times, codes == EVENT, entries, weights),
        cluster is not None,
    )


CHUNK_CLUSTERS = 256


def _robust(
    time: FloatArray,
    event: IntArray,
    entry: FloatArray | None,
    weight: FloatArray | None,
    cluster: IntArray,
    table: EventTable,
    survival: FloatArray,
) -> FloatArray:
    """Infinitesimal jackknife variance of log S at each distinct time (k,), rows summed by cluster.

    A row's influence on log S(t) is the sum, over times up to t at which it is at risk, of d/(n (n - d)) less
    1/(n - d) at its own event.
    """
    distinct, n_risk, n_event, _ = table
    alive = (survival > 0) & (n_event > 0)
    left = np.where(alive, n_risk - n_event, 1.0)
    drawn = np.concatenate(([0.0], np.cumsum(np.where(alive, n_event / (np.where(alive, n_risk, 1.0) * left), 0.0))))
    own = np.searchsorted(distinct, time)
    first = np.zeros(time.size, dtype=np.int64) if entry is None else np.searchsorted(distinct, entry, side="right")
    if entry is not None:
        first[entry <= 0] = 0
    died = (event == EVENT) & alive[own]
    weights = np.ones(time.size) if weight is None else weight
    k = distinct.size
    variance = np.zeros(k)
    order = np.argsort(cluster, kind="stable")
    edges = np.searchsorted(cluster[order], np.arange(0, int(cluster.max()) + 1 + CHUNK_CLUSTERS, CHUNK_CLUSTERS))
    for start, stop in pairwise(edges):
        mine = order[start:stop]
        if not mine.size:
            continue
        local = cluster[mine] - int(cluster[mine].min())
        steps = np.arange(k)
        until = np.minimum(steps[None, :], own[mine][:, None]) + 1  # index into `drawn`
        part = drawn[np.maximum(until, first[mine][:, None])] - drawn[first[mine]][:, None]
        part -= np.where(
            died[mine][:, None] & (steps[None, :] >= own[mine][:, None]), 1 / left[own[mine]][:, None], 0.0
        )
        variance += (summed(weights[mine][:, None] * part, local) ** 2).sum(axis=0)
    return variance


def _limits(survival: FloatArray, relative: FloatArray, conf: str, z: float) -> tuple[FloatArray, FloatArray]:
    """Confidence limits of survival from the standard error of its logarithm."""
    if conf == "plain":
        width = z * survival * relative
        return np.clip(survival - width, 0, 1), np.clip(survival + width, 0, 1)
    if conf == "log":
        spread = np.where(survival > 0, relative, np.nan)
        return survival * np.exp(-z * spread), np.minimum(survival * np.exp(z * spread), 1.0)
    inside = (survival > 0) & (survival < 1)
    safe = np.where(inside, survival, 0.5)
    width = z * relative / np.log(safe)
    nothing = np.full(survival.size, np.nan)  # log(-log S) is infinite before the first event and at 0
    return np.where(inside, safe ** np.exp(-width), nothing), np.where(inside, safe ** np.exp(width), nothing)


def followup_time(time: Any, event: Any, entry: Any = None, weight: Any = None) -> tuple[float, float, float]:
    """Median follow-up with limits by reverse Kaplan-Meier: deaths of any cause censored, censoring the event.

    Schemper and Smith, Control Clin Trials 1996;17:343. `entry` and `weight` as in `kaplan_meier`.
    """
    times, codes = checked(time, event)
    return kaplan_meier(times, codes == 0, entry=entry, weight=weight).quantile(0.5)


def limits_of_difference(first: KaplanMeier, second: KaplanMeier, horizon: float) -> tuple[float, float]:
    """95% limits of the second curve's survival at a horizon less the first's, recovered from the limits of each.

    Zou and Donner, Stat Med 2008;27:1693: they need not be symmetric, and hold for few patients where normal ones are
    too narrow. Where none, or all, have had the event a curve has no limits: then Clopper and Pearson's (Biometrika
    1934;26:404), of those still at risk or of all. The patients of both must differ.

    Args:
        first: of unweighted patients, with 95% limits.
        second: likewise.
        horizon: in the unit of their times.
    """
    values, limits = [], []
    for curve in (first, second):
        read = curve.at(horizon)
        survival, low, high = float(read.survival[0]), float(read.lower[0]), float(read.upper[0])
        if survival == 1:
            left = int((curve.rows.time >= horizon).sum())
            low, high = float(0.025 ** (1 / left)) if left else 0.0, 1.0
        elif survival == 0:
            low, high = 0.0, 1 - float(0.025 ** (1 / curve.n))
        values.append(survival)
        limits.append((low, high))
    gap = values[1] - values[0]
    down = np.hypot(values[1] - limits[1][0], limits[0][1] - values[0])
    up = np.hypot(limits[1][1] - values[1], values[0] - limits[0][0])
    return float(gap - down), float(gap + up)
