"""Multiple imputation of missing covariates by chained equations, and Rubin's rules."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from pathoprog.errors import InputError
from pathoprog.survival.arrays import COMPETING, EVENT, FloatArray, IntArray, checked, level_names
from pathoprog.survival.curves.risk_sets import event_table
from pathoprog.survival.regression.cox_model import cox
from pathoprog.survival.regression.design import is_categorical

Mask = npt.NDArray[np.bool_]

DONORS = 5
CYCLES = 10
RIDGE = 1e-5


@dataclass(frozen=True)
class Pooled:
    """Estimates over m imputed tables.

    Attributes:
        estimate: mean over the tables (p,).
        se: from the variance within and between tables (p,).
        df: degrees of freedom of the t distribution (p,).
        lower: lower limit (p,).
        upper: upper limit (p,).
        p_value: two-sided (p,).
        missing_information: share of the variance that the missing values cause (p,).
    """

    estimate: FloatArray
    se: FloatArray
    df: FloatArray
    lower: FloatArray
    upper: FloatArray
    p_value: FloatArray
    missing_information: FloatArray


def rubin(estimates: FloatArray, variances: FloatArray, level: float = 0.95) -> Pooled:
    """Pool estimates (m, p) with their variances (m, p).

    Rubin, Multiple Imputation for Nonresponse in Surveys, 1987, equations 3.1.2 to 3.1.10.
    """
    m = estimates.shape[0]
    if m < 2:
        raise InputError(f"{m} imputed tables: Rubin's rules need at least two")
    mean, within = estimates.mean(axis=0), variances.mean(axis=0)
    between = estimates.var(axis=0, ddof=1)
    total = within + (1 + 1 / m) * between
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (1 + 1 / m) * between / within
        df = np.where(between > 0, (m - 1) * (1 + 1 / ratio) ** 2, 1e9)
        lost = np.where(between > 0, (ratio + 2 / (df + 3)) / (ratio + 1), 0.0)
    se = np.sqrt(total)
    reach = stdtrit(df, (1 + level) / 2) * se
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(df, -np.abs(mean / se))
    return Pooled(mean, se, df, mean - reach, mean + reach, np.asarray(p), lost)


def impute(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariates: list[str],
    imputations: int = 20,
    categorical: list[str] | None = None,
    seed: int = 1,
) -> list[pd.DataFrame]:
    """Fill the missing values of covariates, several times over.

    Chained equations with predictive mean matching: White, Royston and Wood, Stat Med 2011;30:377. Each covariate is
    regressed on all others, on the event codes and on the Nelson-Aalen cumulative hazard at each patient's own time
    (White and Royston, Stat Med 2009;28:1982; with competing deaths, on both hazards), in a bootstrap sample of those
    that have it; a missing value is copied from one of the five patients with the nearest prediction. For categories
    the prediction is the vector of the levels' shares, so only values that occur are ever filled in.

    Args:
        frame: one row a patient.
        time: column of the follow-up, complete.
        event: column of the code, complete.
        covariates: columns to fill, and to fill from.
        imputations: number of tables.
        categorical: numeric columns to take as categories.
        seed: of the random numbers.

    Returns:
        Copies of `frame` with complete covariates.

    Raises:
        InputError: a covariate has no value at all.
    """
    times, codes = checked(frame[time], frame[event])
    outcome = _outcome(times, codes)
    kinds = {name: is_categorical(frame[name], name in (categorical or [])) for name in covariates}
    missing = {name: level_names(frame[name]) == "" for name in covariates}
    for name in covariates:
        if missing[name].all():
            raise InputError(f"covariate {name!r} has no value at all: nothing to impute from")
    order = sorted((name for name in covariates if missing[name].any()), key=lambda name: int(missing[name].sum()))
    tables = []
    for stream in np.random.SeedSequence(seed).spawn(imputations):
        random = np.random.default_rng(stream)
        filled = {name: _start(frame[name], kinds[name], missing[name], random) for name in covariates}
        for _ in range(CYCLES if len(order) > 1 else 1):
            for name in order:
                others = [_columns(filled[other], kinds[other]) for other in covariates if other != name]
                x = np.column_stack([np.ones(times.size), outcome, *others])
                filled[name] = _match(filled[name], kinds[name], missing[name], x, random)
        table = frame.copy()
        for name in order:
            table[name] = filled[name]
        tables.append(table)
    return tables


def _outcome(time: FloatArray, event: IntArray) -> FloatArray:
    """Event code and Nelson-Aalen cumulative hazard, one pair of columns for each kind of death that occurs."""
    columns = []
    for code in (EVENT, COMPETING):
        mine = (event == code).astype(np.int64)
        if mine.any():
            distinct, n_risk, n_event, _ = event_table(time, mine)
            hazard = np.cumsum(n_event / n_risk)
            columns += [mine.astype(float), hazard[np.searchsorted(distinct, time)]]
    return np.column_stack(columns) if columns else np.zeros((time.size, 0))


def _start(values: "pd.Series[float]", category: bool, missing: Mask, random: np.random.Generator) -> FloatArray:
    """The column as numbers or texts, missing ones drawn from those that are there."""
    filled = level_names(values).astype(object) if category else values.to_numpy(dtype=float, copy=True)
    filled[missing] = random.choice(filled[~missing], int(missing.sum()))
    return np.asarray(filled)


def _columns(values: FloatArray, category: bool) -> FloatArray:
    """Numbers as one standardised column; categories as one column for each level but the first."""
    if not category:
        spread = float(values.std())
        return np.asarray(((values - values.mean()) / (spread if spread > 0 else 1.0))[:, None])
    levels = sorted(set(values.tolist()))
    return np.asarray(
        np.column_stack([values == level for level in levels[1:]] or [np.zeros(values.size)]), dtype=float
    )


def _match(values: FloatArray, category: bool, missing: Mask, x: FloatArray, random: np.random.Generator) -> FloatArray:
    """Fill the missing values by predictive mean matching."""
    there = np.flatnonzero(~missing)
    target = values[there]
    if category:
        levels = sorted(set(target.tolist()))
        y = np.column_stack([target == level for level in levels]).astype(float)
    else:
        y = target.astype(float)[:, None]
    drawn = random.choice(there.size, there.size)
    seen, wanted = x[there] @ _ridge(x[there], y), x[missing] @ _ridge(x[there][drawn], y[drawn])
    donors = min(DONORS, there.size)
    chosen = np.empty(wanted.shape[0], dtype=np.int64)
    for row, point in enumerate(wanted):
        distance = ((seen - point) ** 2).sum(axis=1)
        near = np.argpartition(distance, donors - 1)[:donors]
        chosen[row] = random.choice(near)
    result = values.copy()
    result[missing] = target[chosen]
    return result


def _ridge(x: FloatArray, y: FloatArray) -> FloatArray:
    """Least squares with a hair of ridge, so that a level absent from a sample does no harm."""
    gram = x.T @ x
    return np.asarray(np.linalg.solve(gram + RIDGE * np.diag(np.diag(gram) + 1e-9), x.T @ y))


@dataclass(frozen=True)
class ImputedCox:
    """A Cox model pooled over imputed tables.

    Attributes:
        terms: ``term, level, reference, coef, se, df, p, hr, lower, upper, missing_information``.
        n: patients, all of them.
        events: events.
        imputations: number of tables.
        missing: missing values by covariate.
    """

    terms: pd.DataFrame
    n: int
    events: int
    imputations: int
    missing: dict[str, int]


def imputed_cox(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariates: list[str],
    reference: dict[str, str] | None = None,
    strata: list[str] | None = None,
    categorical: list[str] | None = None,
    imputations: int = 20,
    seed: int = 1,
    level: float = 0.95,
) -> ImputedCox:
    """Fit a Cox model in each of several imputed tables and pool the coefficients.

    Terms without a finite estimate in some table are nan. Arguments as in `cox` and `impute`.
    """
    tables = impute(frame, time, event, covariates, imputations, categorical, seed)
    fits = [cox(table, time, event, covariates, reference, strata, categorical) for table in tables]
    first = fits[0].terms
    coef = np.array([fit.terms["coef"].to_numpy(dtype=float) for fit in fits])
    se = np.array([fit.terms["se"].to_numpy(dtype=float) for fit in fits])
    with np.errstate(invalid="ignore", over="ignore"):
        pooled = rubin(np.where(np.isfinite(coef), coef, np.nan), se**2, level)
        terms = first[["term", "level", "reference"]].assign(
            coef=pooled.estimate,
            se=pooled.se,
            df=pooled.df,
            p=pooled.p_value,
            hr=np.exp(pooled.estimate),
            lower=np.exp(pooled.lower),
            upper=np.exp(pooled.upper),
            missing_information=pooled.missing_information,
        )
    missing = {name: int((level_names(frame[name]) == "").sum()) for name in covariates}
    return ImputedCox(terms, fits[0].n, fits[0].events, imputations, missing)
