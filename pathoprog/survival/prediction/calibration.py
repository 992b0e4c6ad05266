"""Calibration of predicted risks at a horizon: observed over expected, slope, groups, and the calibration curve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, IntArray, checked
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import kaplan_meier
from pathoprog.survival.prediction.accuracy import Estimate
from pathoprog.survival.prediction.censoring import followed_to
from pathoprog.survival.regression.baseline import risk_with_error
from pathoprog.survival.regression.cox_model import cox
from pathoprog.survival.regression.fine_gray import fine_gray

KNOTS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Calibration:
    """Calibration at one horizon.

    Attributes:
        horizon: the time.
        n: patients.
        observed: share with the event by the horizon, by Kaplan-Meier or Aalen-Johansen; NaN, in `groups` too, where
            nobody was followed for so long.
        expected: mean predicted risk.
        ratio: observed / expected; 1 is right, above 1 the risks are too low.
        slope: coefficient of log(-log(1 - risk)) in a model of the outcome; below 1 the risks are too extreme.
        groups: patients by rising risk: ``group, n, events, at_risk, low, high, expected, observed, lower, upper``,
            `at_risk` of them at the horizon.
        ici: mean distance between the risk and the calibration curve; `e50` its median, `e90` its 90th percentile.
        curve: observed risk that the calibration curve gives each patient (n,); NaN, as the three distances, after the
            last follow-up: a model's baseline only stands still there.
        curve_lower: lower limit of the curve's pointwise band (n,); nan where it has none.
        curve_upper: upper limit (n,).
        competing: True where competing deaths were counted (Aalen-Johansen, Fine-Gray).
    """

    horizon: float
    n: int
    observed: Estimate
    expected: float
    ratio: Estimate
    slope: Estimate
    groups: pd.DataFrame
    ici: float
    e50: float
    e90: float
    curve: FloatArray
    curve_lower: FloatArray
    curve_upper: FloatArray
    competing: bool


def calibration(
    time: Any, event: Any, risk: Any, horizon: float, competing: bool = False, n_groups: int = 10, level: float = 0.95
) -> Calibration:
    """Compare predicted risks with what happened by a horizon.

    Observed over expected and slope: McLernon et al., Ann Intern Med 2023;176:105; with competing deaths: van Geloven
    et al., BMJ 2022;377:e069249. Calibration curve by hazard regression on a restricted cubic spline of
    log(-log(1 - risk)), three knots, and ICI, E50, E90: Austin, Harrell and van Klaveren, Stat Med 2020;39:2714 (Cox);
    Austin, Putter, Giardiello and van Klaveren, Diagn Progn Res 2022;6:2 (Fine-Gray). The curve's band is that model's
    own pointwise interval (`RiskWithError`); it takes the knots as given. A score that is no probability has no
    calibration: `risk` must come from a stated model of absolute risk, developed on a cohort that was not
    selected on outcome.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        risk: predicted probability of the event by the horizon (n,).
        horizon: in the unit of `time`.
        competing: True: competing deaths compete; False: they are censored.
        n_groups: groups of about equal size; equal risks stay together.
        level: confidence level.

    Raises:
        InputError: a risk is no probability, or there are no events.
    """
    times, codes = checked(time, event)
    if not competing:
        codes = np.where(codes == 1, 1, 0)
    risks = np.asarray(risk, dtype=float)
    if risks.shape != times.shape or not ((risks >= 0) & (risks <= 1)).all():
        raise InputError("predicted risks must be one number from 0 to 1 for each patient")
    z = float(ndtri((1 + level) / 2))
    observed = observed_by(times, codes, horizon, competing, level)
    expected = float(risks.mean())
    ratio = observed.value / expected if expected > 0 else float("nan")
    spread = observed.se / observed.value if observed.value > 0 else float("nan")
    limits = (ratio * float(np.exp(-z * spread)), ratio * float(np.exp(z * spread)))
    link = cloglog(risks)
    frame = pd.DataFrame({"time": times, "event": codes, "link": link})
    slope, (curve, low, high) = slope_of(frame, competing, level), _curve(frame, horizon, competing, level)
    distance = np.abs(curve - risks)
    return Calibration(
        float(horizon),
        times.size,
        observed,
        expected,
        Estimate(ratio, ratio * spread, *limits),
        slope,
        _groups(times, codes, risks, horizon, competing, n_groups, level),
        float(distance.mean()),
        float(np.quantile(distance, 0.5)),
        float(np.quantile(distance, 0.9)),
        curve,
        low,
        high,
        competing,
    )


def cloglog(risk: FloatArray) -> FloatArray:
    """log(-log(1 - risk)), with risks of exactly 0 or 1 moved a hair inside."""
    inside = np.clip(risk, 1e-8, 1 - 1e-8)
    return np.asarray(np.log(-np.log1p(-inside)))


def observed_by(time: FloatArray, event: IntArray, horizon: float, competing: bool, level: float) -> Estimate:
    """Share with the event by the horizon; NaN where nobody was followed for so long (`followed_to`)."""
    if not followed_to(time, event, horizon):
        return Estimate(float("nan"), float("nan"), float("nan"), float("nan"))
    if competing:
        read = cumulative_incidence(time, event, level=level).at(horizon)
        return Estimate(*(float(v[0]) for v in (read.value, read.std_err, read.lower, read.upper)))
    curve = kaplan_meier(time, event, level=level).at(horizon)
    return Estimate(
        float(1 - curve.survival[0]), float(curve.std_err[0]), float(1 - curve.upper[0]), float(1 - curve.lower[0])
    )


def slope_of(frame: pd.DataFrame, competing: bool, level: float) -> Estimate:
    """Coefficient of ``link`` in a model of ``time, event``: Fine-Gray where deaths compete, else Cox."""
    if float(frame["link"].std()) < 1e-12 or not (frame["event"] == 1).any():
        return Estimate(float("nan"), float("nan"), float("nan"), float("nan"))
    fit = (fine_gray if competing else cox)(frame, "time", "event", ["link"], level=level)
    row = fit.terms.iloc[0]
    z = float(ndtri((1 + level) / 2))
    coef, se = float(row["coef"]), float(row["se"])
    return Estimate(coef, se, coef - z * se, coef + z * se)


def spline_basis(x: FloatArray, knots: FloatArray) -> FloatArray:
    """Restricted cubic spline without its linear part, for k knots (n, k - 2).

    Harrell, Regression Modeling Strategies, 2nd ed., equations 2.25 and 2.26, scaled by the squared range of knots.
    """
    last, before = knots[-1], knots[-2]

    def cube(at: float) -> FloatArray:
        return np.asarray(np.maximum(x - at, 0.0) ** 3)

    columns = [
        cube(k) - cube(before) * (last - k) / (last - before) + cube(last) * (before - k) / (last - before)
        for k in knots[:-2]
    ]
    return np.asarray(np.column_stack(columns) / (knots[-1] - knots[0]) ** 2)


def _curve(
    frame: pd.DataFrame, horizon: float, competing: bool, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Observed risk by the horizon as a smooth function of the predicted one, for each patient, and its band (n,)."""
    link = frame["link"].to_numpy(dtype=float)
    nothing = np.full(link.size, np.nan)
    if horizon > frame["time"].max():
        return nothing, nothing, nothing
    if not (frame["event"] == 1).any():
        return np.zeros(link.size), nothing, nothing
    knots = np.unique(np.quantile(link, KNOTS))
    names = ["link"] if float(np.std(link)) > 1e-12 else []
    if not names:
        flat = observed_by(*_arrays(frame), horizon, competing, level)
        return np.full(link.size, flat.value), np.full(link.size, flat.lower), np.full(link.size, flat.upper)
    table = frame
    if knots.size == len(KNOTS):
        table = frame.assign(bend=spline_basis(link, knots)[:, 0])
        names.append("bend")
    if competing:
        read = fine_gray(table, "time", "event", names).predict_with_error(table, horizon)
    else:
        fit = cox(table, "time", "event", names)
        read = risk_with_error(fit, fit.design.matrix, horizon)
    return read.risk, *read.limits(level)


def _arrays(frame: pd.DataFrame) -> tuple[FloatArray, IntArray]:
    return frame["time"].to_numpy(dtype=float), frame["event"].to_numpy(dtype=np.int64)


def _groups(
    time: FloatArray, event: IntArray, risk: FloatArray, horizon: float, competing: bool, n_groups: int, level: float
) -> pd.DataFrame:
    edges = np.unique(np.quantile(risk, np.arange(1, n_groups) / n_groups))
    place = np.searchsorted(edges, risk, side="left")
    rows = []
    for number, index in enumerate(np.unique(place), start=1):
        mine = place == index
        seen = observed_by(time[mine], event[mine], horizon, competing, level)
        rows.append(
            {
                "group": number,
                "n": int(mine.sum()),
                "events": int(((event == 1) & (time <= horizon))[mine].sum()),
                "at_risk": int((time[mine] >= horizon).sum()),
                "low": float(risk[mine].min()),
                "high": float(risk[mine].max()),
                "expected": float(risk[mine].mean()),
                "observed": seen.value,
                "lower": seen.lower,
                "upper": seen.upper,
            }
        )
    return pd.DataFrame(rows)
