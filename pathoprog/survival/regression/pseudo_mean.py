"""Differences of restricted mean survival adjusted for covariates, by pseudo-observations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, checked, groups_of
from pathoprog.survival.curves.product_limit import kaplan_meier
from pathoprog.survival.regression.design import build_design, complete_rows

ALIASED = 1e-10  # of the largest singular value: a direction that other columns determine


def pseudo_means(time: Any, event: Any, tau: float) -> FloatArray:
    """Pseudo-observation of each patient's time lived within `tau` (n,): a stand-in for what censoring hides.

    Andersen, Hansen and Klein, Lifetime Data Anal 2004;10:335; by the infinitesimal jackknife of the Kaplan-Meier
    curve's area (Parner, Andersen and Overgaard, Lifetime Data Anal 2023;29:654), as R's `survival::pseudo`. Their mean
    is the restricted mean. Censoring must not depend on what the patients are compared by.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        tau: end of the window.

    Raises:
        InputError: nobody was followed to `tau`.
    """
    times, codes = checked(time, event)
    km = kaplan_meier(times, codes)
    if not tau > 0 or (km.time[-1] < tau and km.survival[-1] > 0):
        raise InputError(f"nobody was followed to {tau:g}: the restricted mean is not known")
    steps = np.concatenate(([0.0], km.time[km.time < tau], [tau]))
    height = np.concatenate(([1.0], km.survival[km.time < tau]))
    areas = np.diff(steps) * height
    ahead = np.concatenate((np.cumsum(areas[::-1])[::-1][1:], np.zeros(km.time.size + 1)))[: km.time.size]
    left = (km.n_risk - km.n_event).astype(float)
    usable = (km.n_event > 0) & (left > 0)
    safe = np.where(usable, left, 1.0)
    drawn = np.concatenate(([0.0], np.cumsum(np.where(usable, km.n_event / (km.n_risk * safe) * ahead, 0.0))))
    place = np.searchsorted(km.time, times)
    own = np.where((codes == 1) & usable[place], ahead[place] / safe[place], 0.0)
    influence = drawn[place + 1] - own
    return np.asarray(areas.sum() + times.size * influence)


@dataclass(frozen=True)
class AdjustedMeans:
    """Differences of restricted mean survival between groups.

    Attributes:
        tau: end of the window.
        n: patients.
        n_missing: left out for a missing value.
        adjusted_for: covariates in the model.
        rows: ``level, reference, difference, se, lower, upper, p``.
    """

    tau: float
    n: int
    n_missing: int
    adjusted_for: tuple[str, ...]
    rows: pd.DataFrame


def adjusted_means(
    frame: pd.DataFrame,
    time: str,
    event: str,
    group: str,
    covariates: list[str],
    tau: float,
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
    strata: str | None = None,
    level: float = 0.95,
) -> AdjustedMeans:
    """Linear model of the pseudo-observations on groups and covariates, with a sandwich variance.

    It needs no proportional hazards. Pseudo-observations are formed inside strata, whose levels have means of their
    own; the variance is the sandwich (Andersen et al. 2004) times n / (n - p).

    Args:
        frame: one row a patient.
        time: column of the follow-up.
        event: column of the event code.
        group: column of the groups; its reference level is in `reference`, else the first.
        covariates: columns to adjust for; none: the difference of the restricted means.
        tau: end of the window.
        reference: reference levels.
        categorical: numeric columns to take as categories.
        strata: column whose levels have curves and means of their own.
        level: confidence level.

    Raises:
        InputError: a column is absent, one level only, a group that other columns determine, a stratum that was not
            followed to `tau`, or nobody has the event before.
    """
    rows = complete_rows(frame, [group, *covariates, *([strata] if strata else [])])
    data = frame.loc[rows]
    if not len(data):
        raise InputError("no row has the group and all covariates")
    design = build_design(data, [group, *covariates], reference, [*(categorical or []), group])
    names, place = groups_of(data[strata], len(data)) if strata else (["all"], np.zeros(len(data), dtype=np.int64))
    times, codes = data[time].to_numpy(dtype=float), data[event].to_numpy(dtype=np.int64)
    if not ((codes == 1) & (times < tau)).any():
        raise InputError(f"nobody has the event before {tau:g}: no restricted means can differ")
    own = np.empty(len(data))
    for k in range(len(names)):
        mine = place == k
        own[mine] = pseudo_means(times[mine], codes[mine], tau)
    intercepts = (place[:, None] == np.arange(len(names))[None, :]).astype(float)
    x = np.column_stack((design.matrix, intercepts))
    size = np.sqrt((x**2).sum(axis=0))
    x = x / np.where(size > 0, size, 1.0)  # covariates may be in any unit
    solve = np.linalg.pinv(x, rcond=ALIASED)  # of x, not of x'x, which has half the digits
    known = np.abs(np.diag(solve @ x) - 1) < 1e-6  # no other columns determine it
    beta = solve @ own
    residual = own - x @ beta
    n, p = x.shape[0], int(np.linalg.matrix_rank(x, tol=ALIASED * np.linalg.norm(x, 2)))
    influence = solve * residual  # (p, n)
    covariance = influence @ influence.T * n / max(n - p, 1)
    z = float(ndtri((1 + level) / 2))
    found = []
    for k, column in enumerate(design.columns):
        if column.term != group:
            continue
        if not known[k]:
            raise InputError(f"{group}={column.level} is determined by the other columns: no difference is known")
        value, se = float(beta[k] / size[k]), float(np.sqrt(covariance[k, k]) / size[k])
        p_value = float(2 * ndtr(-abs(value) / se)) if se > 0 else float("nan")
        found.append((column.level, column.reference, value, se, value - z * se, value + z * se, p_value))
    names_ = ["level", "reference", "difference", "se", "lower", "upper", "p"]
    table = pd.DataFrame(found, columns=names_)
    return AdjustedMeans(float(tau), n, int((~rows).sum()), tuple(covariates), table)
