"""Sensitivity, specificity and predictive values of a positive class at a time horizon, by three estimators."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import CENSORED, COMPETING, EVENT, FloatArray, IntArray, checked
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import kaplan_meier
from pathoprog.survival.prediction.accuracy import NOTHING, Estimate
from pathoprog.survival.prediction.censoring import followed_to, horizon_weights


@dataclass(frozen=True)
class HorizonValues:
    """Values at a horizon from the curves of both classes.

    Attributes:
        horizon: the time.
        sensitivity: P(positive | event by the horizon).
        specificity: P(negative | no event by the horizon).
        ppv: P(event by the horizon | positive).
        npv: P(no event by the horizon | negative).
        prevalence: P(event by the horizon), from both curves.
        positive_share: share of positive patients.
        event_share: P(event by the horizon) of all patients in one curve.
        beyond: True where a class was not followed to the horizon: what needs its curve is nan, unless all of the class
            had the event.
    """

    horizon: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    prevalence: float
    positive_share: float
    event_share: float
    beyond: bool


def values_by_curves(
    time: Any, event: Any, positive: Any, horizon: float, competing: bool = False, level: float = 0.95
) -> HorizonValues:
    """Values at a horizon by Kaplan-Meier, or by Aalen-Johansen where deaths compete (the primary estimator).

    The risk in each class is read from its own curve; sensitivity and specificity follow by Bayes' rule: Heagerty,
    Lumley and Pepe, Biometrics 2000;56:337. Limits of PPV and NPV are the curves' own, on the log(-log) scale; those
    of sensitivity and specificity come by the delta method on the logit scale from both curves and the binomial share.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        positive: True for the class said to have the event (n,).
        horizon: in the unit of `time`.
        competing: True: a competing death is no event, and no censoring; False: it is censored (*net* values).
        level: confidence level.

    Raises:
        InputError: all patients are in one class.
    """
    times, codes = checked(time, event)
    mark = _classes(positive, times.size)
    risk, spread, lower, upper, beyond = (np.empty(2) for _ in range(5))
    for k, mine in enumerate((~mark, mark)):
        risk[k], spread[k], lower[k], upper[k], beyond[k] = _risk(times[mine], codes[mine], horizon, competing, level)
    lost = np.array([not _known(times[mine], codes[mine], horizon, competing) for mine in (~mark, mark)])
    risk[lost] = spread[lost] = lower[lost] = upper[lost] = np.nan
    share = float(mark.mean())
    prevalence = float(risk[1] * share + risk[0] * (1 - share))
    z = float(ndtri((1 + level) / 2))
    chance = 1 / (times.size * share * (1 - share))
    sensitivity = _bayes(risk[1] * share, risk[0] * (1 - share), _relative(spread, risk) + chance, z)
    free = 1 - risk
    specificity = _bayes(free[0] * (1 - share), free[1] * share, _relative(spread, free) + chance, z)
    return HorizonValues(
        float(horizon),
        sensitivity,
        specificity,
        Estimate(float(risk[1]), float(spread[1]), float(lower[1]), float(upper[1])),
        Estimate(float(free[0]), float(spread[0]), float(1 - upper[0]), float(1 - lower[0])),
        prevalence,
        share,
        _risk(times, codes, horizon, competing, level)[0] if _known(times, codes, horizon, competing) else float("nan"),
        bool(beyond.any()),
    )


def _known(time: FloatArray, event: IntArray, horizon: float, competing: bool) -> bool:
    return followed_to(time, event if competing else np.where(event == EVENT, 1, 0), horizon)


def _classes(positive: Any, n: int) -> npt.NDArray[np.bool_]:
    mark = np.asarray(positive).astype(bool)
    if mark.shape != (n,):
        raise InputError(f"{mark.size} class marks for {n} patients")
    if mark.all() or not mark.any():
        raise InputError("all patients are in one class: sensitivity and predictive values need both")
    return mark


def _risk(
    time: FloatArray, event: IntArray, horizon: float, competing: bool, level: float
) -> tuple[float, float, float, float, bool]:
    """Risk at the horizon, its standard error and limits, and whether nobody was followed so long."""
    if competing:
        read = cumulative_incidence(time, event, level=level).at(horizon)
        return (
            float(read.value[0]),
            float(read.std_err[0]),
            float(read.lower[0]),
            float(read.upper[0]),
            bool(read.beyond[0]),
        )
    curve = kaplan_meier(time, event, level=level).at(horizon)
    return (
        float(1 - curve.survival[0]),
        float(curve.std_err[0]),
        float(1 - curve.upper[0]),
        float(1 - curve.lower[0]),
        bool(curve.beyond[0]),
    )


def _relative(spread: FloatArray, value: FloatArray) -> float:
    """Sum of the squared relative standard errors of both classes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(((spread / value) ** 2).sum())


def _bayes(mine: float, rest: float, variance: float, z: float) -> Estimate:
    """Mine / (mine + rest), with the standard error and limits that the variance of its logit gives."""
    if not mine + rest > 0:
        return NOTHING
    value = mine / (mine + rest)
    if not (np.isfinite(variance) and 0 < value < 1):
        return Estimate(float(value), float("nan"), float("nan"), float("nan"))
    width = z * np.sqrt(variance)
    middle = logit(value)
    se = np.sqrt(variance) * value * (1 - value)
    return Estimate(float(value), float(se), float(expit(middle - width)), float(expit(middle + width)))


@dataclass(frozen=True)
class WeightedValues:
    """Values at a horizon from patients of known status, weighted for those censored before."""

    horizon: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float


def values_by_weights(time: Any, event: Any, positive: Any, horizon: float, competing: bool = False) -> WeightedValues:
    """Values at a horizon by inverse probability of censoring weights.

    Uno et al., J Am Stat Assoc 2007;102:527. One censoring curve for both classes (plain Kaplan-Meier of censoring,
    read just before each event); PPV and NPV divide by the weighted number of patients in the class.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        positive: True for the class said to have the event (n,).
        horizon: in the unit of `time`.
        competing: True: competing deaths by the horizon are free of the event; False: censored.
    """
    times, codes = checked(time, event)
    mark = _classes(positive, times.size)
    if not _known(times, codes, horizon, competing):
        return WeightedValues(float(horizon), *(float("nan"),) * 4)
    w = horizon_weights(times, codes, horizon, competing, deaths_first=False)
    case, control = w.weight * w.case, w.weight * w.control
    return WeightedValues(
        float(horizon),
        _part(case[mark].sum(), case.sum()),
        _part(control[~mark].sum(), control.sum()),
        _part(case[mark].sum(), (case + control)[mark].sum()),
        _part(control[~mark].sum(), (case + control)[~mark].sum()),
    )


@dataclass(frozen=True)
class CompleteCases:
    """Counts of patients whose status at a horizon is known; those censored before are left out: only a note."""

    horizon: float
    n: int
    excluded: int
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    sensitivity: float
    specificity: float
    ppv: float
    npv: float
    accuracy: float


def values_of_complete_cases(
    time: Any, event: Any, positive: Any, horizon: float, competing: bool = False
) -> CompleteCases:
    """Values at a horizon without those censored before it: biased where many are, so never the result.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        positive: True for the class said to have the event (n,).
        horizon: in the unit of `time`; who is censored exactly there is known to be free until then.
        competing: True: competing deaths by the horizon are free of the event; False: excluded.
    """
    times, codes = checked(time, event)
    mark = _classes(positive, times.size)
    case = (times <= horizon) & (codes == EVENT)
    control = (times > horizon) | ((times == horizon) & (codes == CENSORED))
    if competing:
        control |= (times <= horizon) & (codes == COMPETING)
    tp, fn = int((case & mark).sum()), int((case & ~mark).sum())
    fp, tn = int((control & mark).sum()), int((control & ~mark).sum())
    n = tp + fp + fn + tn
    known = _known(times, codes, horizon, competing)
    share = _part if known else _unknown
    return CompleteCases(
        float(horizon),
        n,
        times.size - n,
        tp,
        fp,
        fn,
        tn,
        share(tp, tp + fn),
        share(tn, tn + fp),
        share(tp, tp + fp),
        share(tn, tn + fn),
        share(tp + tn, n),
    )


def _unknown(part: float, whole: float) -> float:
    return float("nan")


def _part(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
