"""Fine and Gray's regression of the subdistribution hazard, with cmprsk's weights, ties and standard errors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import COMPETING, EVENT, FloatArray, IntArray, checked
from pathoprog.survival.prediction.censoring import censoring
from pathoprog.survival.regression.cox_model import SAME
from pathoprog.survival.regression.design import Design, DesignColumn, build_design, complete_rows
from pathoprog.survival.regression.information import finite_inverse
from pathoprog.survival.regression.partial_likelihood import SILENT
from pathoprog.survival.regression.predicted import RiskWithError

MAX_STEPS = 60


@dataclass(frozen=True)
class FineGrayFit:
    """A fitted subdistribution hazards model.

    Attributes:
        terms: columns as in `CoxFit.terms`; `hr` is the subdistribution hazard ratio.
        n: patients in the fit.
        events: events of interest.
        competing: competing deaths.
        n_missing: rows left out for missing values.
        loglik: log pseudo likelihood at the maximum.
        loglik_null: at 0.
        covariance: of the coefficients, with estimated censoring weights (p, p).
        notes: what could not be estimated.
        design: of the rows in the fit.
        jump_time: distinct event times (k,).
        jump: baseline subdistribution hazard of x = 0 at each, by Breslow (k,).
        inside: what the standard errors of predictions take.
    """

    terms: pd.DataFrame
    n: int
    events: int
    competing: int
    n_missing: int
    loglik: float
    loglik_null: float
    covariance: FloatArray
    notes: tuple[str, ...]
    design: Design
    jump_time: FloatArray
    jump: FloatArray
    inside: "_Inside"

    def predict(self, frame: pd.DataFrame, horizon: float) -> FloatArray:
        """Cumulative incidence of the event by `horizon` for complete rows of numeric covariates (n,)."""
        matrix = frame[list(self.design.terms)].to_numpy(dtype=float)
        eta = matrix @ np.nan_to_num(self.terms["coef"].to_numpy(dtype=float))
        return np.asarray(-np.expm1(-float(self.jump[self.jump_time <= horizon].sum()) * np.exp(eta)))

    def predict_with_error(self, frame: pd.DataFrame, horizon: float) -> RiskWithError:
        """The same with standard errors: Fine and Gray 1999, section 5, the estimation of G included.

        The variance is the sum of the patients' squared influences on the logarithm of the cumulative hazard; nan where
        a coefficient has no finite estimate.
        """
        at = self.inside
        z = (frame[list(self.design.terms)].to_numpy(dtype=float)[:, at.usable] - at.centre) / at.scale
        total, mean, own = at.model.cumulative(at.z, at.beta, horizon)
        if not total > 0 or not np.isfinite(self.terms["coef"].to_numpy(dtype=float)[at.usable]).all():
            return RiskWithError(np.full(len(z), -np.inf), np.full(len(z), np.nan))
        away = z - mean
        variance = own @ own + 2 * away @ (at.influence.T @ own)
        variance = variance + np.einsum("ni,ij,nj->n", away, at.influence.T @ at.influence, away)
        return RiskWithError(np.log(total) + z @ at.beta, np.sqrt(np.maximum(variance, 0.0)))


def fine_gray(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariates: list[str],
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
    level: float = 0.95,
) -> FineGrayFit:
    """Fit the subdistribution hazard of the event (code 1) where deaths (code 2) compete.

    Fine and Gray, J Am Stat Assoc 1999;94:496, in the definition of R's `cmprsk::crr`: who died of another cause stays
    at risk with weight G(t-) / G(T-), G the Kaplan-Meier estimate of censoring over all patients; Breslow's ties; the
    variance of equations 7 and 8, which counts the estimation of G.

    Args:
        frame: one row a patient.
        time: column of the follow-up.
        event: column of the code: 0 censored, 1 the event, 2 a competing death.
        covariates: columns; text gets one term for each level but the reference.
        reference: reference levels.
        categorical: numeric columns to take as categories.
        level: confidence level.

    Raises:
        InputError: columns are absent, or no event.
    """
    rows = complete_rows(frame, covariates)
    complete = frame.loc[rows]
    times, codes = checked(complete[time], complete[event])
    if not (codes == EVENT).any():
        raise InputError(f"no events among the {len(complete)} complete rows: nothing to estimate")
    design = build_design(complete, covariates, reference, categorical)
    order = np.argsort(times, kind="stable")
    model = _Model.build(times[order], codes[order])
    x = design.matrix - design.matrix.mean(axis=0)
    scale = np.sqrt((x**2).mean(axis=0))
    silent = model.silent(x[order] / np.where(scale > 0, scale, 1.0))
    usable = np.flatnonzero(_usable(x, scale) & ~silent)
    z = x[order][:, usable] / scale[usable]
    beta, start, information, drift, loglik, loglik_null = _newton(model, z)
    parts = model.influence(z, beta)
    finite = np.abs(drift) <= 1e-4 * np.maximum(np.abs(beta), 1.0)
    inverse = finite_inverse(start, information, not finite.all())
    covariance = np.full((x.shape[1], x.shape[1]), np.nan)
    covariance[np.ix_(usable, usable)] = inverse @ (parts.T @ parts) @ inverse / np.outer(scale[usable], scale[usable])
    coef = np.full(x.shape[1], np.nan)
    coef[usable] = beta / scale[usable]
    infinite = np.zeros(x.shape[1], dtype=bool)
    infinite[usable] = ~finite
    jump = model.deaths / model.risk_sums(np.exp(z @ beta))
    jump = jump * np.exp(-float(design.matrix.mean(axis=0)[usable] @ coef[usable]))  # of x = 0, not of the mean
    terms, notes = _table(design, coef, covariance, infinite, silent, codes, float(ndtri((1 + level) / 2)))
    return FineGrayFit(
        terms,
        len(complete),
        int((codes == EVENT).sum()),
        int((codes == COMPETING).sum()),
        int((~rows).sum()),
        loglik,
        loglik_null,
        covariance,
        tuple(notes),
        design,
        model.at,
        jump,
        _Inside(model, z, beta, parts @ inverse, usable, design.matrix.mean(axis=0)[usable], scale[usable]),
    )


def _usable(x: FloatArray, scale: FloatArray) -> npt.NDArray[np.bool_]:
    """Columns that vary and that no earlier one determines (p,)."""
    kept: list[int] = []
    for j in range(x.shape[1]):
        column = x[:, j]
        if scale[j] > 1e-12 * max(float(np.abs(column).max(initial=0.0)), 1e-300):
            rest = column
            if kept:
                rest = column - x[:, kept] @ np.linalg.lstsq(x[:, kept], column, rcond=None)[0]
            if (rest**2).sum() > 1e-10 * (column**2).sum():
                kept.append(j)
    return np.array([j in kept for j in range(x.shape[1])], dtype=np.bool_)


@dataclass(frozen=True)
class _Model:
    """Patients sorted by time, and the k event times with what stays fixed over Newton's steps.

    Attributes:
        time: follow-up, ascending (n,).
        code: 0, 1, 2 (n,).
        at: distinct event times, ascending (k,).
        deaths: events at each (k,).
        first: number of patients with T < event time (k,).
        until: number of event times <= T, for each patient (n,).
        g_at: G(t-) at the event times (k,).
        g_own: G(T-) of each patient (n,).
        rival: True for competing deaths (n,).
    """

    time: FloatArray
    code: IntArray
    at: FloatArray
    deaths: IntArray
    first: IntArray
    until: IntArray
    g_at: FloatArray
    g_own: FloatArray
    rival: IntArray

    @classmethod
    def build(cls, time: FloatArray, code: IntArray) -> "_Model":
        at, deaths = np.unique(time[code == EVENT], return_counts=True)
        g = censoring(time, code, deaths_first=False)
        first = np.searchsorted(time, at, side="left")
        until = np.searchsorted(at, time, side="right")
        return cls(time, code, at, deaths, first, until, g.before(at), g.before(time), code == COMPETING)

    def risk_sums(self, values: FloatArray) -> FloatArray:
        """Weighted sums of `values` (n, …) over the risk set at each event time (k, …)."""
        shape = (-1, *([1] * (values.ndim - 1)))
        whole = np.cumsum(values[::-1], axis=0)[::-1]
        gone = np.concatenate(
            (
                np.zeros((1, *values.shape[1:])),
                np.cumsum(np.where(self.rival, 1 / self.g_own, 0.0).reshape(shape) * values, axis=0),
            )
        )
        return np.asarray(whole[self.first] + self.g_at.reshape(shape) * gone[self.first])

    def exposure(self, steps: FloatArray) -> FloatArray:
        """Sum over event times of weight times `steps` (k, …) for each patient (n, …)."""
        shape = (-1, *([1] * (steps.ndim - 1)))
        zero = np.zeros((1, *steps.shape[1:]))
        while_here = np.concatenate((zero, np.cumsum(steps, axis=0)))[self.until]
        weighted = self.g_at.reshape(shape) * steps
        after = np.concatenate((np.cumsum(weighted[::-1], axis=0)[::-1], zero))[self.until]
        return np.asarray(while_here + np.where(self.rival, 1 / self.g_own, 0.0).reshape(shape) * after)

    def evaluate(self, z: FloatArray, beta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Log pseudo likelihood, score (p,), information (p, p)."""
        eta = z @ beta
        weight = np.exp(eta)
        s0 = self.risk_sums(weight)
        means = self.risk_sums(weight[:, None] * z) / s0[:, None]
        mine = self.code == EVENT
        loglik = float(eta[mine].sum() - self.deaths @ np.log(s0))
        score = z[mine].sum(axis=0) - self.deaths @ means
        exposure = weight * self.exposure(self.deaths / s0)
        information = z.T @ (exposure[:, None] * z) - means.T @ (self.deaths[:, None] * means)
        return loglik, score, information

    def silent(self, z: FloatArray) -> npt.NDArray[np.bool_]:
        """Columns in which those at risk at an event never differ (p,)."""
        _, _, information = self.evaluate(z, np.zeros(z.shape[1]))
        exposure = self.exposure(self.deaths / self.risk_sums(np.ones(len(z))))
        return np.asarray(np.diag(information) <= SILENT * (exposure @ z**2), dtype=np.bool_)

    def influence(self, z: FloatArray, beta: FloatArray) -> FloatArray:
        """Each patient's part in the score, the estimation of G included (n, p)."""
        weight = np.exp(z @ beta)
        s0 = self.risk_sums(weight)
        means = self.risk_sums(weight[:, None] * z) / s0[:, None]
        hazard = self.deaths / s0
        mine = self.code == EVENT
        eta = np.zeros_like(z)
        eta[mine] = z[mine] - means[self.until[mine] - 1]
        eta -= weight[:, None] * (z * self.exposure(hazard)[:, None] - self.exposure(hazard[:, None] * means))
        return eta + self._censoring_part(z, weight, means, hazard)

    def cumulative(self, z: FloatArray, beta: FloatArray, horizon: float) -> tuple[float, FloatArray, FloatArray]:
        """Cumulative hazard H of z = 0 at `horizon`, the mean of z over its increments (p,), influences on log H (n,).

        The influences are those at fixed beta; a change of beta moves log H by minus the mean.
        """
        weight = np.exp(z @ beta)
        s0 = self.risk_sums(weight)
        means = self.risk_sums(weight[:, None] * z) / s0[:, None]
        hazard = np.where(self.at <= horizon, self.deaths / s0, 0.0)
        total = float(hazard.sum())
        if not total > 0:
            return 0.0, np.zeros(z.shape[1]), np.zeros(len(z))
        own = -weight * self.exposure(hazard / s0)
        mine = (self.code == EVENT) & (self.time <= horizon)
        own[mine] += 1 / s0[self.until[mine] - 1]
        # Weights of the rivals hang on G: equation 8 with 1 / S0 in place of z - mean.
        distinct, place, n_censor, n_risk = self._censorings()
        rivals = np.where(self.rival, weight / self.g_own, 0.0)
        gone = np.concatenate(([0.0], np.cumsum(rivals)))[np.searchsorted(self.time, distinct, side="left")]
        step = self.g_at * hazard / s0
        later = np.concatenate((np.cumsum(step[::-1])[::-1], [0.0]))[np.searchsorted(self.at, distinct, side="left")]
        jump = gone * later / n_risk
        drawn = np.cumsum(jump * (n_censor / n_risk))
        own += np.where(self.code == 0, jump[place], 0.0) - drawn[place]
        return total, hazard @ means / total, own / total

    def _censorings(self) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
        """Distinct times (m,), each patient's place among them (n,), censorings and patients at risk at each (m,)."""
        distinct, place = np.unique(self.time, return_inverse=True)
        n_censor = np.bincount(place[self.code == 0], minlength=distinct.size)
        return distinct, place, n_censor, np.cumsum(np.bincount(place, minlength=distinct.size)[::-1])[::-1]

    def _censoring_part(self, z: FloatArray, weight: FloatArray, means: FloatArray, hazard: FloatArray) -> FloatArray:
        """Integral of q(u) / pi(u) over each patient's censoring martingale (n, p): Fine and Gray, equation 8."""
        distinct, place, n_censor, n_risk = self._censorings()
        lost = self.code == 0
        rival_weight = np.where(self.rival, weight / self.g_own, 0.0)
        # patients already lost to a competing death before u, and events from u on
        gone = np.searchsorted(self.time, distinct, side="left")
        later = np.searchsorted(self.at, distinct, side="left")
        a0 = np.concatenate(([0.0], np.cumsum(rival_weight)))[gone]
        a1 = np.concatenate((np.zeros((1, z.shape[1])), np.cumsum(rival_weight[:, None] * z, axis=0)))[gone]
        step = self.g_at * hazard
        b0 = np.concatenate((np.cumsum(step[::-1])[::-1], [0.0]))[later]
        drift = step[:, None] * means
        b1 = np.concatenate((np.cumsum(drift[::-1], axis=0)[::-1], np.zeros((1, z.shape[1]))))[later]
        jump = (a1 * b0[:, None] - a0[:, None] * b1) / n_risk[:, None]
        drawn = np.cumsum(jump * (n_censor / n_risk)[:, None], axis=0)
        return np.asarray(np.where(lost[:, None], jump[place], 0.0) - drawn[place])


@dataclass(frozen=True)
class _Inside:
    """The fit in its own coordinates z = (x - centre) / scale, of the q usable columns, rows by time.

    Attributes:
        model: the risk sets.
        z: covariates (n, q).
        beta: coefficients (q,).
        influence: each patient's, on beta (n, q).
        usable: columns of the design (q,).
        centre: their means (q,).
        scale: their standard deviations (q,).
    """

    model: _Model
    z: FloatArray
    beta: FloatArray
    influence: FloatArray
    usable: IntArray
    centre: FloatArray
    scale: FloatArray


def _newton(model: _Model, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float, float]:
    """Maximum of the pseudo likelihood: beta, information at 0 and there, last full step, logarithm there and at 0."""
    beta = np.zeros(z.shape[1])
    loglik, score, information = model.evaluate(z, beta)
    null, start = loglik, information
    step = np.zeros_like(beta)
    settled = False
    for _ in range(MAX_STEPS):
        step = np.asarray(np.linalg.lstsq(information, score, rcond=None)[0])
        part = 1.0
        tried = model.evaluate(z, beta + step)
        while not tried[0] >= loglik - 1e-9 * abs(loglik) and part > 1e-9:
            part /= 2
            tried = model.evaluate(z, beta + part * step)
        flat = abs(tried[0] - loglik) <= 1e-13 * max(abs(loglik), 1e-300)
        beta = beta + part * step
        loglik, score, information = tried
        if bool((np.abs(step) <= 1e-10 * np.maximum(np.abs(beta), 1e-3)).all()) or (flat and settled):
            break
        settled = flat
    return beta, start, information, step, loglik, null


def _table(
    design: Design,
    coef: FloatArray,
    covariance: FloatArray,
    infinite: npt.NDArray[np.bool_],
    silent: npt.NDArray[np.bool_],
    codes: IntArray,
    z_limit: float,
) -> tuple[pd.DataFrame, list[str]]:
    rows, notes = [], []
    for index, column in enumerate(design.columns):
        b, se = float(coef[index]), float(np.sqrt(max(covariance[index, index], 0.0)))
        note = ""
        if np.isnan(b):
            note = f"not estimable: {SAME if silent[index] else 'determined by the other terms'}"
        elif infinite[index]:
            note = "no finite hazard ratio: no events on one side"
            b, se = float(np.copysign(np.inf, b)), float("nan")
        if note:
            notes.append(f"{column.name}: {note}")
        rows.append(_row(column, design.matrix[:, index], codes, b, se, z_limit, note))
    return pd.DataFrame(rows), notes


def _row(
    column: DesignColumn, values: FloatArray, codes: IntArray, b: float, se: float, z_limit: float, note: str
) -> dict[str, object]:
    mine = values != 0 if column.level else np.ones(codes.size, dtype=bool)
    z = b / se if np.isfinite(b) else float("nan")
    return {
        "term": column.term,
        "level": column.level,
        "reference": column.reference,
        "n": int(mine.sum()),
        "events": int((codes[mine] == EVENT).sum()),
        "coef": b,
        "se": se,
        "z": z,
        "p": float(2 * ndtr(-abs(z))),
        "hr": float(np.exp(b)),
        "lower": float(np.exp(b - z_limit * se)),
        "upper": float(np.exp(b + z_limit * se)),
        "note": note,
    }
