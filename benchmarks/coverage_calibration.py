"""Do the intervals of calibration and recalibration cover?

    python benchmarks/coverage_calibration.py [--tables 2000] [--patients 400] [--out coverage_calibration.jsonl]

Given risks that are too high and too extreme, with competing deaths (Aalen-Johansen, Fine-Gray) and without (Cox).
"""

import math
import sys
from functools import cache

import numpy as np
import pandas as pd
from coverage_more import RATE, Intervals, main, survival_times
from scipy.optimize import brentq

from pathoprog.survival.prediction.calibration import calibration, cloglog
from pathoprog.survival.prediction.recalibration import recalibrated

BIG = 200_000
SHIFT, STRETCH, LEVEL = 0.3, 0.8, 0.6  # the given risks are too high by the one and too extreme by the other
TRUE = math.log(LEVEL * (1 - math.exp(-0.9)))  # log(-log(1 - risk)) at 3 where x is at its mean


def risky(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """Fine and Gray's model of x, other deaths, censoring; `risk` is given, `true` the risk at 3."""
    x = random.normal(-1.2, 0.7, patients)
    steep = LEVEL * np.exp(STRETCH * (x + 1.2))
    u = random.random(patients)
    event = u > np.exp(-steep)
    died = -np.log1p(np.log(np.where(event, u, 1.0)) / steep) / 0.3
    other, lost = random.exponential(size=patients) / 0.15, random.uniform(1, 8, patients)
    first = np.vstack((lost, np.where(event, died, np.inf), np.where(event, np.inf, other)))
    return pd.DataFrame(
        {
            "time": first.min(axis=0), "event": first.argmin(axis=0), "x": x,
            "risk": -np.expm1(-np.exp(x + SHIFT)), "true": -np.expm1(-np.exp(TRUE + STRETCH * (x + 1.2))),
        }
    )  # fmt: skip


@cache
def truth_of_risks() -> tuple[float, float]:
    """Observed over expected, and the shift that makes the mean fit."""
    data = risky(BIG, np.random.default_rng(7))
    link, mean = cloglog(data["risk"].to_numpy()), float(data["true"].mean())
    shift = brentq(lambda a: float(-np.expm1(-np.exp(a + link)).mean()) - mean, -5, 5)
    return mean / float(data["risk"].mean()), float(shift)


def of_calibration(patients: int, random: np.random.Generator) -> Intervals:
    """Where deaths compete: observed over expected, slope, the band low, in the middle and high, recalibration."""
    data = risky(patients, random)
    given = (data["time"], data["event"], data["risk"], 3.0, True)
    found, moved = calibration(*given), recalibrated(*given)
    ratio, shift = truth_of_risks()
    intercept = TRUE + STRETCH * (1.2 - SHIFT)
    result = {
        "calibration: observed over expected": (found.ratio.lower, found.ratio.upper, ratio),
        "calibration: slope": (found.slope.lower, found.slope.upper, STRETCH),
        "calibration: shift": (moved.in_the_large.lower, moved.in_the_large.upper, shift),
        "calibration: intercept": (moved.intercept.lower, moved.intercept.upper, intercept),
    }
    order = np.argsort(data["risk"].to_numpy())
    for share in (10, 50, 90):
        one = order[patients * share // 100]
        result[f"calibration: band at the {share}th percentile"] = (
            found.curve_lower[one], found.curve_upper[one], float(data["true"].iloc[one])
        )  # fmt: skip
    return result


def of_net_calibration(patients: int, random: np.random.Generator) -> Intervals:
    """The same without competing deaths: Cox and Kaplan-Meier."""
    x = random.normal(0, 0.7, patients)
    data = survival_times(STRETCH * x, random)
    risk = -np.expm1(-3 * RATE * np.exp(x + SHIFT))
    given = (data["time"], data["event"], risk, 3.0)
    found, moved = calibration(*given), recalibrated(*given)
    log_hazard = math.log(3 * RATE)
    intercept = log_hazard - STRETCH * (log_hazard + SHIFT)
    one = np.argsort(risk)[patients // 2]
    truth = -math.expm1(-3 * RATE * math.exp(STRETCH * x[one]))
    return {
        "net calibration: slope": (found.slope.lower, found.slope.upper, STRETCH),
        "net calibration: intercept": (moved.intercept.lower, moved.intercept.upper, intercept),
        "net calibration: band in the middle": (found.curve_lower[one], found.curve_upper[one], truth),
    }


if __name__ == "__main__":
    sys.exit(main(str(__doc__), (of_calibration, of_net_calibration)))
