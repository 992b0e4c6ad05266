"""Weibull and log-normal curves beside Kaplan-Meier: a check of how a smooth form would fit; fitted by lifelines."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, checked, checked_entry, checked_weight
from pathoprog.survival.curves.product_limit import kaplan_meier
from pathoprog.survival.lifelines_objects import parametric_fitter
from pathoprog.survival.question import Followed, NotEstimated, Question

DISTRIBUTIONS = {"weibull": ("lambda_", "rho_"), "log_normal": ("mu_", "sigma_")}
"""With their parameters as lifelines calls them: scale and shape; mean and standard deviation of log time."""


@dataclass(frozen=True)
class Parameter:
    """A parameter's maximum likelihood estimate, standard error and Wald limits."""

    value: float
    se: float
    lower: float
    upper: float


@dataclass(frozen=True)
class ParametricCurve:
    """A parametric survival curve.

    Attributes:
        distribution: ``weibull``, S(t) = exp(-(t / lambda)^rho), or ``log_normal``, log t normal (mu, sigma).
        n: rows.
        events: events.
        parameters: by name.
        loglik: log likelihood.
        aic: Akaike's criterion; of curves of the same rows the lower fits better.
        median: time at which S is one half.
        time: where the curve is read (m,).
        survival: its values (m,).
        distance: the largest distance from Kaplan-Meier at an event's time, just before or after it.
        at: that time.
        fitted: lifelines' fitted object.
    """

    distribution: str
    n: int
    events: int
    parameters: dict[str, Parameter]
    loglik: float
    aic: float
    median: float
    time: FloatArray
    survival: FloatArray
    distance: float
    at: float
    fitted: Any = field(repr=False, compare=False)

    def to_lifelines(self) -> Any:
        """The fitted `lifelines.WeibullFitter` or `LogNormalFitter`, to go on with."""
        return self.fitted


def parametric_curve(
    time: Any,
    event: Any,
    distribution: str,
    times: Any = (),
    entry: Any = None,
    weight: Any = None,
) -> ParametricCurve:
    """Fit one distribution by maximum likelihood, and say how far it is from Kaplan-Meier.

    Args:
        time: follow-up, above 0 (n,).
        event: 1 the event; 0 and 2 censored: the curve is *net* survival (n,).
        distribution: one of `DISTRIBUTIONS`.
        times: where the curve is read (m,).
        entry: as in `kaplan_meier`.
        weight: whole case weights, which are copies; others are refused, as their limits are not known.

    Raises:
        InputError: no such distribution, a follow-up of 0, fewer than two different event times, or no convergence.
    """
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"distribution={distribution!r}: must be one of {', '.join(DISTRIBUTIONS)}")
    followup, codes = checked(time, event)
    followup, entries = checked_entry(entry, followup)
    weights = checked_weight(weight, followup.size)
    name = distribution.replace("_", "-")
    if (followup <= 0).any():
        raise InputError(
            f"no {name} curve: {int((followup <= 0).sum())} follow-ups are 0, which it takes as impossible"
        )
    if weights is not None and (weights % 1 != 0).any():
        raise InputError(f"no {name} curve: weights that are no whole numbers have no known limits here")
    died = codes == EVENT
    if np.unique(followup[died]).size < 2:
        raise InputError(f"no {name} curve: fewer than two different times of events")
    fitted = parametric_fitter(distribution, followup, died, entries, weights)
    columns = ["coef", "se(coef)", "coef lower 95%", "coef upper 95%"]
    parameters = {
        key.rstrip("_"): Parameter(*(float(value) for value in fitted.summary.loc[key, columns]))
        for key in DISTRIBUTIONS[distribution]
    }
    curve = kaplan_meier(followup, codes, entry=entries, weight=weights)
    steps = np.flatnonzero(curve.n_event > 0)
    smooth = fitted.survival_function_at_times(curve.time[steps]).to_numpy()
    before = np.concatenate(([1.0], curve.survival))[steps]
    gaps = np.maximum(np.abs(smooth - curve.survival[steps]), np.abs(smooth - before))
    worst = int(np.argmax(gaps))
    when = np.atleast_1d(np.asarray(times, dtype=float))
    read = fitted.survival_function_at_times(when).to_numpy() if when.size else np.zeros(0)
    events = int(died.sum() if weights is None else weights[died].sum())
    return ParametricCurve(
        distribution,
        followup.size,
        events,
        parameters,
        float(fitted.log_likelihood_),
        float(fitted.AIC_),
        float(fitted.median_survival_time_),
        when,
        np.asarray(read, dtype=np.float64),
        float(gaps[worst]),
        float(curve.time[steps][worst]),
        fitted,
    )


@dataclass(frozen=True)
class ParametricCurves:
    """Each distribution's curve of all rows and of each group, or why there is none."""

    overall: dict[str, ParametricCurve | NotEstimated]
    by_group: dict[str, dict[str, ParametricCurve | NotEstimated]]


def parametric_curves(q: Question) -> ParametricCurves:
    """Weibull and log-normal curves, read at the horizons, of all rows and by group."""

    def tried(of: Followed, distribution: str) -> ParametricCurve | NotEstimated:
        try:
            return parametric_curve(of.time, of.event, distribution, q.horizons, of.entry, of.weight)
        except InputError as error:
            return NotEstimated(str(error))

    def every(of: Followed) -> dict[str, ParametricCurve | NotEstimated]:
        return {name: tried(of, name) for name in DISTRIBUTIONS}

    return ParametricCurves(every(q.all_rows), {level: every(own) for level, own in q.by_group.items()})
