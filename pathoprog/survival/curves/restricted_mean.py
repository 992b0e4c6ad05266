"""Restricted mean survival time: the area under the Kaplan-Meier curve up to a time, and differences of it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.curves.product_limit import kaplan_meier


@dataclass(frozen=True)
class RestrictedMean:
    """A restricted mean, in the unit of time; `beyond` is True where the curve had to be carried on to `tau`."""

    tau: float
    value: float
    se: float
    lower: float
    upper: float
    beyond: bool

    def identified(self) -> "RestrictedMean":
        """The same, NaN where the curve had to be carried on: what comes after the last follow-up nobody saw."""
        nothing = float("nan")
        return replace(self, value=nothing, se=nothing, lower=nothing, upper=nothing) if self.beyond else self


@dataclass(frozen=True)
class MeanDifference:
    """Difference of two restricted means, with a normal test."""

    value: float
    se: float
    lower: float
    upper: float
    p_value: float


def restricted_mean(time: Any, event: Any, tau: float, level: float = 0.95) -> RestrictedMean:
    """Mean survival time within `tau`.

    Irwin, J Hyg 1949;47:188; variance by Greenwood's terms weighted with the squared area that remains (Klein and
    Moeschberger, Survival Analysis, 2nd ed., equation 4.5.2), as R's `survfit` prints it.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        tau: end of the window, in the unit of `time`.
        level: confidence level.
    """
    if not tau > 0:
        raise InputError(f"tau={tau:g}: must be above 0")
    km = kaplan_meier(time, event)
    inside = km.time < tau
    steps = np.concatenate(([0.0], km.time[inside], [tau]))
    height = np.concatenate(([1.0], km.survival[inside]))
    areas = np.diff(steps) * height
    value = float(areas.sum())
    ahead = np.cumsum(areas[::-1])[::-1][1:]  # area from each time on
    d, n = km.n_event[inside], km.n_risk[inside]
    jumps = (d > 0) & (n > d)
    se = float(np.sqrt((ahead[jumps] ** 2 * d[jumps] / (n[jumps] * (n[jumps] - d[jumps]))).sum()))
    z = float(ndtri((1 + level) / 2))
    beyond = bool(km.time[-1] < tau and km.survival[-1] > 0)
    return RestrictedMean(tau, value, se, max(value - z * se, 0.0), min(value + z * se, tau), beyond)


def difference(first: RestrictedMean, second: RestrictedMean, level: float = 0.95) -> MeanDifference:
    """Difference first - second of two independent groups."""
    value = first.value - second.value
    se = float(np.hypot(first.se, second.se))
    z = float(ndtri((1 + level) / 2))
    p = float(2 * ndtr(-abs(value) / se)) if se > 0 else float("nan")
    return MeanDifference(value, se, value - z * se, value + z * se, p)
