"""Kaplan-Meier curves, their quantiles, and the table of numbers at risk."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, TIE_TOLERANCE, FloatArray, IntArray, checked

CONFIDENCE_KINDS = ("loglog", "log", "plain")


@dataclass(frozen=True)
class KaplanMeier:
    """A Kaplan-Meier curve: one entry for each of k distinct times, right-continuous steps.

    Attributes:
        time: distinct follow-up times, ascending (k,).
        n_risk: patients with T >= time (k,).
        n_event: events at time (k,).
        n_censor: censorings at time, competing deaths included (k,).
        survival: probability of being event-free just after time (k,).
        std_err: Greenwood standard error of `survival` (k,); nan where survival is 0.
        lower: lower confidence limit (k,); nan where survival is 0, and for ``loglog`` where it still is 1.
        upper: upper confidence limit (k,); likewise.
    """

    time: FloatArray
    n_risk: IntArray
    n_event: IntArray
    n_censor: IntArray
    survival: FloatArray
    std_err: FloatArray
    lower: FloatArray
    upper: FloatArray

    @property
    def n(self) -> int:
        """Number of patients."""
        return int(self.n_risk[0])

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


def event_table(time: FloatArray, event: IntArray) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Distinct times (k,) with patients at risk (T >= time), events (code 1) and censorings (all others) at each."""
    distinct, place = np.unique(time, return_inverse=True)
    at_time = np.bincount(place, minlength=distinct.size)
    n_event = np.bincount(place[event == EVENT], minlength=distinct.size)
    n_risk = np.cumsum(at_time[::-1])[::-1]
    return distinct, n_risk, n_event, at_time - n_event


def kaplan_meier(time: Any, event: Any, conf: str = "loglog", level: float = 0.95) -> KaplanMeier:
    """Kaplan-Meier estimate with Greenwood's standard error.

    Kaplan and Meier, J Am Stat Assoc 1958;53:457; limits on the log(-log S) scale: Kalbfleisch and Prentice, The
    Statistical Analysis of Failure Time Data, 2nd ed., section 1.4. Competing deaths (code 2) are censored: the curve
    is *net* survival.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 are censored (n,).
        conf: scale of the limits: ``loglog``, ``log`` or ``plain``.
        level: confidence level.
    """
    if conf not in CONFIDENCE_KINDS:
        raise InputError(f"conf={conf!r}: must be one of {', '.join(CONFIDENCE_KINDS)}")
    times, codes = checked(time, event)
    distinct, n_risk, n_event, n_censor = event_table(times, codes)
    survival = np.asarray(np.cumprod((n_risk - n_event) / n_risk), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(n_event / (n_risk * (n_risk - n_event)))  # of log S
    relative = np.asarray(np.sqrt(np.where(survival == 0, np.nan, variance)), dtype=np.float64)
    lower, upper = _limits(survival, relative, conf, float(ndtri((1 + level) / 2)))
    return KaplanMeier(distinct, n_risk, n_event, n_censor, survival, survival * relative, lower, upper)


def _limits(survival: FloatArray, relative: FloatArray, conf: str, z: float) -> tuple[FloatArray, FloatArray]:
    """Confidence limits of survival from the standard error of its logarithm."""
    if conf == "plain":
        width = z * survival * relative
        return np.clip(survival - width, 0, 1), np.clip(survival + width, 0, 1)
    if conf == "log":
        return survival * np.exp(-z * relative), np.minimum(survival * np.exp(z * relative), 1.0)
    inside = (survival > 0) & (survival < 1)
    safe = np.where(inside, survival, 0.5)
    width = z * relative / np.log(safe)
    nothing = np.full(survival.size, np.nan)  # log(-log S) is infinite before the first event and at 0
    return np.where(inside, safe ** np.exp(-width), nothing), np.where(inside, safe ** np.exp(width), nothing)


@dataclass(frozen=True)
class AtRisk:
    """Numbers at m times of a table under a curve.

    Attributes:
        time: the times (m,).
        n_risk: patients with T >= time (m,).
        n_event: events in [time, next time), the last up to the end of follow-up (m,).
        cum_events: events up to and including time (m,).
        cum_censored: censored before time, competing deaths included (m,).
    """

    time: FloatArray
    n_risk: IntArray
    n_event: IntArray
    cum_events: IntArray
    cum_censored: IntArray


def number_at_risk(time: Any, event: Any, times: Any) -> AtRisk:
    """Patients at risk, and events between and up to given times (ascending)."""
    followup, codes = checked(time, event)
    when = np.atleast_1d(np.asarray(times, dtype=float))
    everyone = np.sort(followup)
    events = np.sort(followup[codes == EVENT])
    censored = np.sort(followup[codes != EVENT])
    before = np.searchsorted(events, when, side="left")
    return AtRisk(
        when,
        everyone.size - np.searchsorted(everyone, when, side="left"),
        np.diff(np.append(before, events.size)),
        np.searchsorted(events, when, side="right"),
        np.searchsorted(censored, when, side="left"),
    )


def followup_time(time: Any, event: Any) -> tuple[float, float, float]:
    """Median follow-up with limits by reverse Kaplan-Meier: deaths of any cause censored, censoring the event.

    Schemper and Smith, Control Clin Trials 1996;17:343.
    """
    times, codes = checked(time, event)
    return kaplan_meier(times, codes == 0).quantile(0.5)
