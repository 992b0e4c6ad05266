"""Predicted risks judged: calibration, Brier score, AUC(t), decision curve; and AUC(t) of a score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray
from pathoprog.survival.prediction.accuracy import Estimate, auc_at, brier_at, integrated_brier, null_brier
from pathoprog.survival.prediction.calibration import Calibration, calibration
from pathoprog.survival.prediction.censoring import followed_to
from pathoprog.survival.prediction.decision import decision_curve
from pathoprog.survival.prediction.recalibration import RecalibratedModel, recalibrated
from pathoprog.survival.question import NotEstimated, PredictedRisk, Question
from pathoprog.survival.regression.baseline import predict_risk
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.models import main_model


@dataclass(frozen=True)
class JudgedRisk:
    """Predicted risks with what happened to those who have one (k,); `time`, `event`, `risk` are theirs."""

    name: str
    horizon: float
    n_missing: int
    time: FloatArray
    event: IntArray
    risk: FloatArray

    @property
    def followed(self) -> bool:
        """False where nobody was followed to the horizon: nothing is identified there."""
        return self.n > 0 and followed_to(self.time, self.event, self.horizon)

    @property
    def n(self) -> int:
        """Number of patients."""
        return int(self.time.size)


def judging_model(q: Question) -> CoxFit | None:
    """The model whose own predictions are judged where no risks are given, if it predicts any."""
    main = None if q.risks else main_model(q)
    return main if main is not None and main.strata is None and not main.maximum.infinite.any() else None


def predicted_risks(q: Question) -> list[PredictedRisk]:
    """The risks that were given; else those of the main model at each horizon, which are net."""
    main = judging_model(q)
    if main is None:
        return list(q.risks)
    risk = _risk_of(main)
    return [PredictedRisk(horizon, main.rows, risk(horizon), competing=False) for horizon in q.horizons]


def _judged(q: Question, of: PredictedRisk) -> JudgedRisk:
    event = q.event[of.rows] if of.competing else _net(q.event[of.rows])
    return JudgedRisk(of.name, of.horizon, int((~of.rows).sum()), q.time[of.rows], event, of.risk)


def _net(event: IntArray) -> IntArray:
    return np.where(event == EVENT, 1, 0)


@dataclass(frozen=True)
class CalibratedRisk:
    """Predicted risks and their calibration, or why there is none; `recalibrated` is None for a model's own risks."""

    judged: JudgedRisk
    calibration: Calibration | NotEstimated
    recalibrated: RecalibratedModel | NotEstimated | None = None


def calibrations(q: Question) -> list[CalibratedRisk]:
    """Calibration of each of the predicted risks."""
    found: list[CalibratedRisk] = []
    for of in predicted_risks(q):
        judged = _judged(q, of)
        if not judged.followed:
            found.append(CalibratedRisk(judged, NotEstimated("nobody was followed to the horizon")))
            continue
        given = (judged.time, judged.event, judged.risk, judged.horizon, of.competing)
        try:
            one = calibration(*given, of.groups)
        except InputError as error:
            found.append(CalibratedRisk(judged, NotEstimated(str(error))))
            continue
        found.append(CalibratedRisk(judged, one, _recalibrated(given, of.name) if q.risks else None))
    return found


def _recalibrated(
    given: tuple[FloatArray, IntArray, FloatArray, float, bool], name: str
) -> RecalibratedModel | NotEstimated:
    try:
        return recalibrated(*given, name=name)
    except InputError as error:
        return NotEstimated(str(error))


@dataclass(frozen=True)
class RiskAccuracy:
    """AUC(t), Brier score, that of no model, and net benefit of predicted risks at their horizon."""

    auc: Estimate
    brier: Estimate
    brier_of_no_model: Estimate
    decision_curve: pd.DataFrame


@dataclass(frozen=True)
class ScoreAuc:
    """AUC(t) of a score; `followed` is False where nobody was followed to the horizon, the last time being `last`."""

    horizon: float
    auc: Estimate
    followed: bool
    last: float


@dataclass(frozen=True)
class Accuracies:
    """What is told of the accuracy of predictions.

    Attributes:
        score: AUC(t) of the score at each horizon; empty where no patient has one.
        risks: of each of the predicted risks, in their order.
        model: terms of the model that predicted them; None where they were given, or there are none.
        integrated_brier: of that model to the last horizon.
        identified: False where nobody in the model was followed to the last horizon, its last time being `last`.
        last: the model's last follow-up.
    """

    score: list[ScoreAuc]
    risks: list[RiskAccuracy | NotEstimated]
    model: tuple[str, ...] | None = None
    integrated_brier: float = float("nan")
    identified: bool = True
    last: float = float("nan")


def accuracies(q: Question) -> Accuracies:
    """AUC(t) of the score, and of predicted risks AUC(t), Brier score and decision curve at each horizon."""
    scores = [auc for score in q.scored("c_index") for auc in _score_auc(q, score.values)]
    risks = [_accuracy(_judged(q, of), of.competing) for of in predicted_risks(q)]
    main = judging_model(q)
    if main is None:
        return Accuracies(scores, risks)
    time, event, tau = q.time[main.rows], _net(q.event[main.rows]), max(q.horizons)
    whole = integrated_brier(time, event, _risk_of(main), tau)
    return Accuracies(scores, risks, tuple(main.design.terms), whole, followed_to(time, event, tau), float(time.max()))


def _risk_of(main: CoxFit) -> Callable[[float], FloatArray]:
    return lambda t: predict_risk(main, main.design.matrix, t)


def _score_auc(q: Question, score: FloatArray) -> list[ScoreAuc]:
    there = np.isfinite(score)
    time, event = q.time[there], q.event[there]
    return [
        ScoreAuc(h, auc_at(time, event, score[there], h), followed_to(time, event, h), float(time.max()))
        for h in q.horizons
    ]


def _accuracy(judged: JudgedRisk, competing: bool) -> RiskAccuracy | NotEstimated:
    if not judged.followed:
        return NotEstimated("nobody was followed to the horizon")
    time, event, risk, horizon = judged.time, judged.event, judged.risk, judged.horizon
    try:
        brier = brier_at(time, event, risk, horizon)
        nothing = null_brier(time, event, horizon)
        auc = auc_at(time, event, risk, horizon)
        benefit = decision_curve(time, event, {"model": risk}, horizon, competing=competing)
    except InputError as error:
        return NotEstimated(str(error))
    return RiskAccuracy(auc, brier, nothing, benefit)
