"""Recalibration of given risks: a further model, fitted on these patients, with a name of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, checked
from pathoprog.survival.prediction.accuracy import Estimate
from pathoprog.survival.prediction.calibration import cloglog, observed_by, slope_of
from pathoprog.survival.regression.baseline import risk_with_error
from pathoprog.survival.regression.cox_model import cox
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.survival.regression.predicted import RiskWithError

NOT_VALIDATED = (
    "It was fitted on the patients named here: that it fits them shows nothing. Before it is used it must be validated "
    "in others; the figures above are of the model as it was given."
)


@dataclass(frozen=True)
class RecalibratedModel:
    """Risks moved so that they fit some patients at one horizon.

    Attributes:
        name: what it is to be called.
        horizon: of the risks.
        n: patients it was fitted on.
        events: events among them by the horizon.
        competing: True where it is of absolute risks, deaths competing.
        expected: mean of the given risks.
        observed: share with the event by the horizon.
        in_the_large: a, where log(-log(1 - risk)) is moved by a for all alike; 0 is no change.
        intercept: a, where it becomes a + slope times log(-log(1 - risk)).
        slope: of that.
        note: what it is not.
    """

    name: str
    horizon: float
    n: int
    events: int
    competing: bool
    expected: float
    observed: Estimate
    in_the_large: Estimate
    intercept: Estimate
    slope: Estimate
    note: str = NOT_VALIDATED

    def moved(self, risk: Any) -> FloatArray:
        """Given risks, recalibrated in the large (n,)."""
        return _risk(self.in_the_large.value + cloglog(np.asarray(risk, dtype=float)))

    def stretched(self, risk: Any) -> FloatArray:
        """Given risks, recalibrated with intercept and slope (n,)."""
        return _risk(self.intercept.value + self.slope.value * cloglog(np.asarray(risk, dtype=float)))


def recalibrated(
    time: Any, event: Any, risk: Any, horizon: float, competing: bool = False, name: str = "", level: float = 0.95
) -> RecalibratedModel:
    """Move given risks of an event by a horizon to what these patients show.

    In the large: one shift on the scale of log(-log(1 - risk)), so that the mean risk is what was observed by
    Kaplan-Meier or, where deaths compete, Aalen-Johansen. Intercept and slope: a Cox or Fine-Gray model of that scale,
    read at the horizon (van Houwelingen, Stat Med 2000;19:3401; with competing deaths: van Geloven et al., BMJ
    2022;377:e069249).

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        risk: given probability of the event by the horizon (n,).
        horizon: in the unit of `time`.
        competing: True: competing deaths compete; False: they are censored.
        name: of the given risks.
        level: confidence level.

    Raises:
        InputError: nobody was followed to the horizon or had the event by it, or the risks are all the same.
    """
    times, codes = checked(time, event)
    if not competing:
        codes = np.where(codes == EVENT, 1, 0)
    risks = np.asarray(risk, dtype=float)
    link = cloglog(risks)
    observed = observed_by(times, codes, horizon, competing, level)
    if not 0 < observed.value < 1:
        raise InputError(f"no recalibration at {horizon:g}: nobody was followed to it, or nobody or all had the event")
    if float(link.std()) < 1e-12:
        raise InputError(f"no recalibration at {horizon:g}: all risks are the same")
    frame = pd.DataFrame({"time": times, "event": codes, "link": link})
    slope = slope_of(frame, competing, level)
    base = _at_zero(frame, horizon, competing)
    half = float(ndtri((1 + level) / 2)) * float(base.log_error[0])
    middle = float(base.log_hazard[0])
    shifts = [_shift(link, one) for one in (observed.value, observed.lower, observed.upper)]
    shift_se = observed.se / float(_steepness(link + shifts[0]).mean())
    return RecalibratedModel(
        f"{name or 'the given risks'}, recalibrated at {horizon:g}",
        float(horizon),
        times.size,
        int(((codes == EVENT) & (times <= horizon)).sum()),
        competing,
        float(risks.mean()),
        observed,
        Estimate(shifts[0], shift_se, shifts[1], shifts[2]),
        Estimate(middle, float(base.log_error[0]), middle - half, middle + half),
        slope,
    )


def _at_zero(frame: pd.DataFrame, horizon: float, competing: bool) -> RiskWithError:
    """The hazard to the horizon of a risk whose log(-log(1 - risk)) is 0, by the model of the slope."""
    if competing:
        return fine_gray(frame, "time", "event", ["link"]).predict_with_error(pd.DataFrame({"link": [0.0]}), horizon)
    return risk_with_error(cox(frame, "time", "event", ["link"]), np.zeros((1, 1)), horizon)


def _shift(link: FloatArray, share: float) -> float:
    """The shift at which the mean risk is `share`; nan where no shift gives it."""
    if not 0 < share < 1:
        return float("nan")
    return float(brentq(lambda a: float(_risk(a + link).mean()) - share, -60.0, 60.0, xtol=1e-12))


def _risk(log_hazard: FloatArray) -> FloatArray:
    return np.asarray(-np.expm1(-np.exp(log_hazard)))


def _steepness(log_hazard: FloatArray) -> FloatArray:
    """Derivative of the risk by log(-log(1 - risk)) (n,)."""
    hazard = np.exp(log_hazard)
    return np.asarray(hazard * np.exp(-hazard))
