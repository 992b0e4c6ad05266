"""Survival that a Cox model predicts for given covariates: the baseline, read as a step function."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, IntArray
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.partial_likelihood import exposed, score_residuals, tie_sums
from pathoprog.survival.regression.predicted import RiskWithError


@dataclass(frozen=True)
class Predicted:
    """Predicted survival of one covariate pattern at m times: estimate, its standard error, and limits (m,)."""

    time: FloatArray
    survival: FloatArray
    std_err: FloatArray
    lower: FloatArray
    upper: FloatArray


def cumulative_hazard(fit: CoxFit, times: Any, stratum: int = 0, eta: float = 0.0) -> FloatArray:
    """Cumulative hazard of x beta = eta just after each time (m,), Efron's (or Breslow's) increments as the fit.

    Efron, J Am Stat Assoc 1977;72:557. A step function: no interpolation between event times. `eta` 0 is the baseline
    of x = 0, which a covariate far from 0 (a calendar year) puts beyond what a double holds.
    """
    event_time, hazard, _ = _jumps(fit, stratum, eta)
    total = np.concatenate(([0.0], np.cumsum(hazard)))
    return np.asarray(total[np.searchsorted(event_time, np.asarray(times, dtype=float), side="right")])


def _jumps(fit: CoxFit, stratum: int, eta: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Event times of a stratum, ascending (m,), hazard of x beta = eta (m,), means of x (m, q), not centred."""
    sets, at = fit.sets, fit.maximum.end
    rows = np.arange(sets.dead_rows.size)
    if fit.strata is not None:
        rows = rows[fit.strata[sets.order][sets.dead_rows] == stratum]
    rows = rows[::-1]
    kept, scale = fit.maximum.kept, fit.maximum.scale
    centre = fit.design.matrix.mean(axis=0)[kept]
    shift = float(centre @ fit.coef[kept])  # the fit's columns are centred: exp(z beta) = exp(x beta - shift)
    event_time = fit.time[sets.order][sets.dead_rows][rows]
    lifted = at.shift[sets.dead_rows][rows] + (shift - eta)
    return event_time, at.hazard[rows] * np.exp(-lifted), at.means[rows] * scale + centre


def predict_survival(
    fit: CoxFit, pattern: Mapping[str, object], times: Any, stratum: int = 0, level: float = 0.95
) -> Predicted:
    """Survival of a patient with the given covariates.

    exp(-H0(t) exp(x beta)), with the variance of Tsiatis, Ann Stat 1981;9:93, and limits on the scale of log S, as
    R's `survfit.coxph`.

    Args:
        fit: the model.
        pattern: a value for each covariate; levels as text or number.
        times: where the curve is read (m,).
        stratum: index into `fit.strata_levels`.
        level: confidence level.

    Raises:
        InputError: a covariate is missing, a level unknown, or a coefficient has no finite estimate.
    """
    if fit.cluster is not None or fit.weight is not None:
        raise InputError(
            "predicted survival takes no rows of one patient and no case weights: its limits are not known"
        )
    if not np.isfinite(fit.terms["coef"].to_numpy(dtype=float)[fit.maximum.kept]).all():
        raise InputError(
            "a coefficient has no finite estimate, so no survival can be predicted: " + "; ".join(fit.notes)
        )
    row = fit.design.pattern(pattern)
    kept = fit.maximum.kept
    event_time, hazard, means = _jumps(fit, stratum, float(row[kept] @ fit.coef[kept]))
    when = np.atleast_1d(np.asarray(times, dtype=float))
    place = np.searchsorted(event_time, when, side="right")

    def total(values: FloatArray) -> FloatArray:
        return np.concatenate((np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)))[place]

    h = total(hazard)
    drift = total(hazard[:, None] * (row[kept] - means))
    covariance = fit.covariance[np.ix_(kept, kept)]
    spread = np.sqrt(total(hazard**2) + np.einsum("mi,ij,mj->m", drift, covariance, drift))
    survival = np.exp(-h)
    z = float(ndtri((1 + level) / 2))
    lower, upper = survival * np.exp(-z * spread), np.minimum(survival * np.exp(z * spread), 1.0)
    return Predicted(when, survival, survival * spread, lower, upper)


def predict_risk(fit: CoxFit, matrix: FloatArray, horizon: float, strata: Any = None) -> FloatArray:
    """Probability of the event by `horizon` for each row of a design matrix (n,).

    Args:
        fit: the model.
        matrix: rows in the fit's design (n, p).
        horizon: in the unit of the fit's times.
        strata: index of each row's stratum (n,), where the fit is stratified.
    """
    eta = (matrix * np.nan_to_num(fit.coef)).sum(axis=1)
    middle = float(np.mean(fit.linear_predictor))  # far from 0 where a covariate is: 0 itself may not be a double's
    if fit.strata is None:
        base = np.full(len(matrix), float(cumulative_hazard(fit, horizon, 0, middle)))
    else:
        each = np.array([float(cumulative_hazard(fit, horizon, k, middle)) for k in range(len(fit.strata_levels))])
        base = each[np.asarray(strata)]
    return np.asarray(-np.expm1(-base * np.exp(eta - middle)))


def risk_with_error(fit: CoxFit, matrix: FloatArray, horizon: float) -> RiskWithError:
    """Probability of the event by `horizon` for each row of a design matrix, with Tsiatis' standard error.

    The variance of log H(x) is that of the increments plus (x - m) V (x - m), m the mean of x over them: the formula of
    `predict_survival`, for many rows at once.

    Args:
        fit: a model without strata, weights and rows of one patient.
        matrix: rows in the fit's design (n, p).
        horizon: in the unit of the fit's times.

    Returns:
        Errors are nan where a coefficient has no finite estimate, or before the first event.
    """
    assert fit.strata is None and fit.cluster is None and fit.weight is None
    kept = fit.maximum.kept
    middle = float(np.mean(fit.linear_predictor))
    event_time, hazard, means = _jumps(fit, 0, middle)
    until = event_time <= horizon
    h, m = hazard[until], means[until]
    total = float(h.sum())
    eta = matrix[:, kept] @ fit.coef[kept]
    if not total > 0 or fit.maximum.infinite.any():
        return RiskWithError(np.log(total) + eta - middle if total > 0 else eta * 0 - np.inf, np.full(len(eta), np.nan))
    away = matrix[:, kept] - h @ m / total
    spread = np.einsum("ni,ij,nj->n", away, fit.covariance[np.ix_(kept, kept)], away)
    return RiskWithError(np.log(total) + eta - middle, np.sqrt(float((h**2).sum()) / total**2 + spread))


@dataclass(frozen=True)
class SurvivalGained:
    """Survival gained by g groups, and what each patient of the fit has to do with it.

    Attributes:
        value: gain of each group (g,); nan where its stratum has no event by the horizon.
        influence: derivative of the gains by each patient's weight (n, g): their squares sum to the variance.
    """

    value: FloatArray
    influence: FloatArray


def survival_gained(
    fit: CoxFit, without: FloatArray, treated: FloatArray, place: IntArray, groups: int, horizon: float
) -> SurvivalGained:
    """Mean survival predicted for the patients of each group under one design less under another (standardisation).

    The influence is the infinitesimal jackknife: a patient counts in the mean, in the coefficients (score residuals)
    and in the baseline's increments; as Ozenne, Scheike, Staerk and Gerds, Biom J 2020;62:751, and R's
    `riskRegression::ate`. Without rows of one patient and case weights.

    Args:
        fit: the model, of n patients.
        without: their design, had none been treated (n, p).
        treated: had all been (n, p).
        place: group of each (n,).
        groups: how many there are.
        horizon: in the unit of the fit's times.
    """
    assert fit.cluster is None and fit.weight is None
    sets, at, kept = fit.sets, fit.maximum.end, fit.maximum.kept
    change = np.empty((fit.n, kept.size))  # of the coefficients, by each patient's weight
    change[sets.order] = score_residuals(fit.maximum.z, sets, at) @ fit.maximum.inverse / fit.maximum.scale
    until = fit.time[sets.order][sets.dead_rows] <= horizon
    hazard = np.where(until, at.hazard, 0.0)
    jump = -at.weight * exposed(hazard**2, sets)  # of the cumulative hazard, at the same coefficients
    jump[sets.dead_rows] += tie_sums(hazard, sets) / np.bincount(sets.tie)[sets.tie]
    own = np.empty(fit.n)
    own[sets.order] = jump
    stratum = np.zeros(fit.n, dtype=np.int64) if fit.strata is None else fit.strata
    total = np.bincount(stratum[sets.order][sets.dead_rows], weights=hazard, minlength=int(stratum.max()) + 1)
    middle = float(np.mean(fit.linear_predictor))
    size = np.bincount(place, minlength=groups).astype(float)
    gain, influence = np.zeros(fit.n), np.zeros((fit.n, groups))
    with np.errstate(invalid="ignore", divide="ignore"):
        for k in range(total.size):
            mine = stratum == k
            event_time, steps, means = _jumps(fit, k, middle)
            steps = np.where(event_time <= horizon, steps, 0.0)
            centre = steps @ means / steps.sum()
            log_jump = np.where(mine, own / total[k], 0.0)
            for sign, matrix in ((1.0, treated[mine]), (-1.0, without[mine])):
                x = matrix[:, kept]
                h = steps.sum() * np.exp(x @ fit.coef[kept] - middle)
                gain[mine] += sign * np.exp(-h)
                slope = -sign * h * np.exp(-h)  # by the log of the cumulative hazard
                for g in range(groups):
                    here = np.where(place[mine] == g, slope, 0.0) / size[g]
                    influence[:, g] += here.sum() * log_jump + change @ (here @ (x - centre))
    value = np.bincount(place, weights=gain, minlength=groups) / size
    for g in range(groups):
        influence[:, g] += np.where(place == g, gain - value[g], 0.0) / size[g]
    return SurvivalGained(np.asarray(value), influence)
