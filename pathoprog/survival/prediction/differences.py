"""Two scores of the same patients compared: differences of c and of AUC(t) with paired standard errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from pathoprog.survival.arrays import FloatArray
from pathoprog.survival.prediction.accuracy import auc_influence
from pathoprog.survival.prediction.concordance import pair_influence


@dataclass(frozen=True)
class PairedDifference:
    """Second less first score, both judged in the same patients.

    Attributes:
        first: figure of the first score.
        second: of the second.
        value: their difference.
        se: its paired standard error; 0 where the scores rank all patients alike.
        lower: lower confidence limit.
        upper: upper confidence limit.
        p: two-sided; nan where the standard error is 0.
    """

    first: float
    second: float
    value: float
    se: float
    lower: float
    upper: float
    p: float


def _difference(first: float, second: float, se: float, level: float) -> PairedDifference:
    value, z = second - first, float(ndtri((1 + level) / 2))
    p = float(2 * ndtr(-abs(value) / se)) if se > 0 else float("nan")
    return PairedDifference(first, second, value, se, value - z * se, value + z * se, p)


def concordance_difference(
    time: Any,
    event: Any,
    first: Any,
    second: Any,
    uno: bool = False,
    tau: float | None = None,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
    strata: Any = None,
    level: float = 0.95,
) -> PairedDifference:
    """Difference of Harrell's c, or Uno's, of two scores; higher = worse.

    The variance is that of the difference of the patients' influences (infinitesimal jackknife), as R's
    `concordance(fit1, fit2)`; scores that were fitted count as given.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        first: the first score (n,).
        second: the second (n,).
        uno: True: Uno's c, its censoring weights taken as known.
        tau: of Uno's c: only events before it count.
        entry: as in `harrell_c`, as `weight`, `patient` and `strata`.
        weight: case weights (n,).
        patient: of each row (n,).
        strata: only pairs inside a stratum (n,).
        level: confidence level.
    """
    one, other = (
        pair_influence(time, event, score, tau, uno, entry, weight, patient, strata) for score in (first, second)
    )
    se = float(np.sqrt(((other.influence - one.influence) ** 2).sum()))
    return _difference(one.value, other.value, se, level)


def auc_difference(
    time: Any,
    event: Any,
    first: Any,
    second: Any,
    horizon: float,
    competing_as_control: bool = True,
    level: float = 0.95,
) -> PairedDifference:
    """Difference of AUC(t) of two scores, with estimated censoring weights.

    Blanche et al., Stat Med 2013;32:5381, section 3.3, as R's riskRegression `Score(contrasts = TRUE)`.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        first: the first score, higher = worse (n,).
        second: the second (n,).
        horizon: in the unit of `time`.
        competing_as_control: see `auc_at`.
        level: confidence level.

    Returns:
        The difference, nan throughout where AUC(t) is not identified.
    """
    one, other = (auc_influence(time, event, score, horizon, competing_as_control) for score in (first, second))
    if one is None or other is None:
        return PairedDifference(*(float("nan"),) * 7)
    gap: FloatArray = other[1] - one[1]
    n = gap.size
    se = float(np.sqrt((gap**2).sum() / (n * (n - 1)))) if n > 1 else float("nan")
    return _difference(one[0], other[0], se, level)
