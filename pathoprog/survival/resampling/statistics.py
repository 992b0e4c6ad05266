"""What resamples and permutations of a question recompute: c-index, hazard ratios and values at horizons."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoprog.errors import InputError
from pathoprog.survival.arrays import COMPETING, EVENT, FloatArray, IntArray, level_names
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.prediction.horizon import values_by_curves, values_by_weights
from pathoprog.survival.question import Question
from pathoprog.survival.regression.partial_likelihood import maximise, risk_sets
from pathoprog.survival.resampling.bootstrap import bootstrap
from pathoprog.survival.resampling.permutation import Permutation, permuted_c

VALUES = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True)
class Resampled:
    """Statistics of the patients drawn; picklable, so that processes can share the work.

    Attributes:
        time: follow-up (n,).
        event: 0, 1, 2 (n,).
        score: higher = worse (n,), or None.
        place: index of each patient's group (n,), or None.
        levels: the groups; hazard ratios compare with the first.
        horizons: times of the values.
        positives: for each grouping, which levels are positive.
    """

    time: FloatArray
    event: IntArray
    score: FloatArray | None
    place: IntArray | None
    levels: tuple[str, ...]
    horizons: tuple[float, ...]
    positives: tuple[tuple[str, ...], ...]

    def names(self) -> list[str]:
        """Names of the statistics, in their order."""
        names = ["c"] if self.score is not None else []
        if self.place is not None:
            names += [f"hr {level} vs {self.levels[0]}" for level in self.levels[1:]]
            for positive in self.positives:
                for horizon in self.horizons:
                    for estimator in self.estimators():
                        names += [f"{value} {'+'.join(positive)} {horizon:g} {estimator}" for value in VALUES]
        return names

    def competing(self) -> bool:
        """Whether any death of the whole table competes: a resample without one is still judged so."""
        return bool((self.event == COMPETING).any())

    def estimators(self) -> tuple[str, ...]:
        """By which the values at a horizon are resampled: the primary one and its check, then the net ones."""
        absolute = ("aalen_johansen", "inverse_weights_competing") if self.competing() else ()
        return (*absolute, "kaplan_meier", "inverse_weights")

    def __call__(self, index: IntArray) -> FloatArray:
        """The statistics of the patients at `index`, which may repeat; nan where one cannot be had."""
        time, event = self.time[index], self.event[index]
        found: list[float] = []
        ways = (True, False) if self.competing() else (False,)
        if self.score is not None:
            found.append(harrell_c(time, event, self.score[index]).value)
        if self.place is not None:
            place = self.place[index]
            found += hazard_ratios(time, event == EVENT, place, len(self.levels))
            for positive in self.positives:
                mark = np.isin(place, [self.levels.index(level) for level in positive])
                for horizon in self.horizons:
                    found += [value for way in ways for value in _values(time, event, mark, horizon, way)]
        return np.array(found)


def hazard_ratios(time: FloatArray, died: npt.NDArray[np.bool_], place: IntArray, g: int) -> list[float]:
    """Cox hazard ratios of groups 1 to g - 1 against group 0; nan where there is no finite one."""
    if not died.any():
        return [float("nan")] * (g - 1)
    x = (place[:, None] == np.arange(1, g)[None, :]).astype(float)
    best = maximise(x, risk_sets(time, died))
    beta = np.where(best.infinite | best.aliased, np.nan, best.beta)
    return [float(value) for value in np.exp(beta)]


def _values(time: FloatArray, event: IntArray, mark: Any, horizon: float, competing: bool) -> list[float]:
    try:
        curves = values_by_curves(time, event, mark, horizon, competing=competing)
        weights = values_by_weights(time, event, mark, horizon, competing)
    except InputError:  # a resample with one class only
        return [float("nan")] * (2 * len(VALUES))
    return [getattr(curves, name).value for name in VALUES] + [getattr(weights, name) for name in VALUES]


def bootstrap_intervals(
    statistic: Resampled, samples: int, strata: Any = None, seed: int = 1, workers: int = 1
) -> dict[str, Any]:
    """Percentile intervals of all statistics, by name: value, se, lower, upper, failed."""
    names = statistic.names()
    if not names:
        return {}
    drawn = bootstrap(statistic, statistic.time.size, samples, strata, seed, workers)
    rows = {
        name: {
            "value": drawn.value[k],
            "se": drawn.se[k],
            "lower": drawn.lower[k],
            "upper": drawn.upper[k],
            "failed": int(drawn.failed[k]),
        }
        for k, name in enumerate(names)
    }
    return {"samples": samples, "seed": seed, "method": "percentile, patients resampled within cohorts", "values": rows}


def resampled(q: Question) -> dict[str, Any]:
    """Bootstrap intervals of c, hazard ratios and values at horizons: what `bootstrap_intervals` gives.

    c is that of the one score; without one that of the groups, if their order says which is worse.
    """
    keep = q.known
    score = next((one.values for one in q.scored("c_index")), None)
    if score is not None:
        keep = keep & ~np.isnan(score)
        score = score[keep]
    place = None
    if q.group:
        place = np.full(len(q.time), -1)
        place[q.known] = q.place
        place = place[keep]
        score = place.astype(float) if score is None and q.ordered else score
    strata = level_names(q.frame[q.resampled_within])[keep] if q.resampled_within else None
    positives = tuple(grouping.levels for grouping in q.groupings)
    statistic = Resampled(q.time[keep], q.event[keep], score, place, q.levels, q.horizons, positives)
    return bootstrap_intervals(statistic, q.bootstrap, strata, q.seed, q.workers)


def permuted(q: Question) -> dict[str, Permutation]:
    """The one score against permuted outcomes, within cohorts where these are taken together."""
    strata = q.frame[q.within] if q.within else None
    return {
        score.name: permuted_c(q.time, q.event, score.values, q.permutations, q.seed, strata)
        for score in q.scored("c_index")
    }
