"""Two scores that were fixed before, judged beside each other in the patients who have both."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, level_names
from pathoprog.survival.prediction.differences import PairedDifference, concordance_difference
from pathoprog.survival.prediction.scores import Discrimination, discrimination
from pathoprog.survival.question import Model, NotEstimated, Question, Score
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.table import CODE, TIME


@dataclass(frozen=True)
class JudgedScore:
    """One of the two.

    Attributes:
        concordance: of these patients.
        sd: standard deviation over them (n - 1).
        per_unit: Cox model of the score alone, Efron ties, stratified by cohort where cohorts are taken together. Of a
            log hazard ratio its coefficient is the calibration slope (van Houwelingen, Stat Med 2000;19:3401): 1 where
            it holds as it was fitted, less where it was too extreme.
        per_sd: likewise for one standard deviation.
    """

    concordance: Discrimination
    sd: float
    per_unit: CoxFit | NotEstimated
    per_sd: CoxFit | NotEstimated


@dataclass(frozen=True)
class TwoScores:
    """Both, and what the second has over the first.

    Attributes:
        n: patients with both.
        n_without: patients who lack one.
        events: of those with both.
        scores: by name, in order.
        harrell: second less first, Harrell's c, paired; competing deaths censored.
        uno: likewise, Uno's c.
    """

    n: int
    n_without: int
    events: int
    scores: dict[str, JudgedScore]
    harrell: PairedDifference
    uno: PairedDifference


def two_scores(q: Question) -> TwoScores:
    """Judge the two scores of the analysis ``clinical_model``.

    Raises:
        InputError: nobody has both, or no event among those who have.
    """
    asked = q.scored("clinical_model")
    if len(asked) != 2:
        raise InputError("two scores are needed")
    first, second = asked
    there = np.isfinite(first.values) & np.isfinite(second.values)
    if not there.any():
        raise InputError("no patient has both numbers")
    time, event = q.time[there], q.event[there]
    if not (event == EVENT).any():
        raise InputError(f"no event among the {int(there.sum())} patients with both numbers")
    pair = (first.values[there], second.values[there])
    return TwoScores(
        n=int(there.sum()),
        n_without=int((~there).sum()),
        events=int((event == EVENT).sum()),
        scores={
            score.name: _judged(q, score, there, values) for score, values in zip((first, second), pair, strict=True)
        },
        harrell=concordance_difference(time, event, *pair),
        uno=concordance_difference(time, event, *pair, uno=True),
    )


def _judged(q: Question, score: Score, there: npt.NDArray[np.bool_], x: FloatArray) -> JudgedScore:
    both = Score(score.name, score.analysis, np.where(there, score.values, np.nan))
    found = discrimination(q, both)
    assert isinstance(found, Discrimination), "some patient has the score here"
    sd = float(np.std(x, ddof=1)) if x.size > 1 else float("nan")
    frame = pd.DataFrame({TIME: q.time[there], CODE: q.event[there], "unit": x, "sd": x / sd if sd > 0 else x})
    strata: tuple[str, ...] = ()
    if q.within:
        frame["block"], strata = level_names(q.frame[q.within])[there], ("block",)
    own = Question(frame=frame, ties=q.ties)
    return JudgedScore(found, sd, own.tried(Model(("unit",), strata)), own.tried(Model(("sd",), strata)))
