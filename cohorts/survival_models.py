"""The model parts of `pathoprog survival`: Cox, Fine-Gray, predictions, calibration, subgroups, imputation, size."""

from typing import Any

from pathoprog.errors import InputError
from pathoprog.survival import summary
from pathoprog.survival.analyses import ANALYSES, Analysis
from pathoprog.survival.arrays import EVENT
from pathoprog.survival.prediction.risks import Accuracies, CalibratedRisk, JudgedRisk, RiskAccuracy
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.fine_gray import FineGrayFit
from pathoprog.survival.regression.models import AdjustedRatios, PatternSurvival
from pathoprog.survival.regression.subgroups import Subgroups
from pathoprog.survival.sample_size import PlannedSize

APPARENT = "apparent: the model was fitted to the same patients, so this flatters it"
PLANNED_ON = (
    "hazard ratio, c-index and share of events as observed in this table, not as planned: what was observed varies by "
    "chance and flatters where it led to this question, so the numbers are a rough guide"
)
GIVEN = "predicted risks as given in the table"
Parts = dict[str, Any]


def _no_events(q: Question) -> bool:
    return not (q.event == EVENT).any()


def cox_models(q: Question, analysis: Analysis) -> Parts:
    """All Cox models; one that cannot be fitted says why in its `note`."""
    if _no_events(q):
        return {}
    fits: dict[str, CoxFit | NotEstimated] = analysis.run(q)
    return {
        "cox": {
            name: summary.plain(fit) if isinstance(fit, NotEstimated) else summary.cox_summary(fit)
            for name, fit in fits.items()
        }
    }


def fine_gray_models(q: Question, analysis: Analysis) -> Parts:
    """Fine-Gray models where deaths compete."""
    if _no_events(q) or not q.competing:
        return {}
    fits: dict[str, FineGrayFit | NotEstimated] = analysis.run(q)
    return {
        "fine_gray": {
            name: summary.plain(fit) if isinstance(fit, NotEstimated) else summary.fine_gray_summary(fit)
            for name, fit in fits.items()
        }
    }


def predicted(q: Question, analysis: Analysis) -> Parts:
    """Survival of the given covariate pattern at the horizons."""
    if _no_events(q) or not q.pattern:
        return {}
    found: PatternSurvival | NotEstimated = analysis.tried(q)
    if isinstance(found, NotEstimated):
        return {"predicted_survival": summary.plain(found)}
    late = max(q.horizons) > found.last_followup
    note = {"note": _not_followed(found.last_followup)} if late else {}
    pattern = {"pattern": dict(q.pattern), "model": list(found.terms)}
    return {"predicted_survival": {**pattern, **summary.plain(found.survival), **note}}


def predictions(q: Question, analysis: Analysis) -> Parts:
    """AUC(t) of the score; AUC(t), Brier, calibration and decision curve of predicted risks at each horizon."""
    if _no_events(q):
        return {}
    found: Accuracies = analysis.run(q)
    result: Parts = {"competing_deaths": "count as controls" if q.competing else "none"}
    if q.scored("c_index"):
        result["score_auc"] = [
            {
                "horizon": one.horizon,
                **summary.plain(one.auc),
                "note": "" if one.followed else _not_followed(one.last),
            }
            for one in found.score
        ]
    if found.risks:
        calibrated: list[CalibratedRisk] = ANALYSES["calibration"].run(q)
        result["by_horizon"] = [_part(*pair) for pair in zip(calibrated, found.risks, strict=True)]
        result["source"] = GIVEN if found.model is None else f"Cox model of {', '.join(found.model)}; {APPARENT}"
    if found.model is not None:
        if q.competing:
            result["source"] += "; its risks are net, competing deaths censored"
        whole = {"tau": max(q.horizons), "value": found.integrated_brier}
        result["integrated_brier"] = whole | ({} if found.identified else {"note": _not_followed(found.last)})
    return {"prediction": result}


def _part(calibrated: CalibratedRisk, accuracy: RiskAccuracy | NotEstimated) -> Parts:
    """One horizon; a column of given risks is named, with the number of patients who have none."""
    judged = calibrated.judged
    if judged.name and not judged.n:
        return {"column": judged.name, "horizon": judged.horizon, "note": "no numbers in this column"}
    head = {"column": judged.name, "n_missing": judged.n_missing} if judged.name else {}
    return {**head, **_judged(judged, calibrated, accuracy)}


def _judged(judged: JudgedRisk, calibrated: CalibratedRisk, accuracy: RiskAccuracy | NotEstimated) -> Parts:
    if not judged.followed:
        return _beyond(judged)
    for one in (accuracy, calibrated.calibration):
        if isinstance(one, NotEstimated):
            return {"note": one.note}
    assert isinstance(accuracy, RiskAccuracy) and not isinstance(calibrated.calibration, NotEstimated)
    found, curve = summary.calibration_parts(calibrated.calibration, judged.risk)
    brier, nothing = accuracy.brier, accuracy.brier_of_no_model.value
    return {
        "horizon": judged.horizon,
        "n": judged.n,
        "auc": summary.plain(accuracy.auc),
        "brier": summary.plain(brier),
        "brier_of_no_model": nothing,
        "brier_of_no_model_se": accuracy.brier_of_no_model.se,
        "scaled_brier": 1 - brier.value / nothing if nothing > 0 else float("nan"),
        "calibration": found,
        "calibration_curve": curve,
        **({} if calibrated.recalibrated is None else {"recalibrated": summary.plain(calibrated.recalibrated)}),
        "decision_curve": summary.records(accuracy.decision_curve),
    }


def _not_followed(last: float) -> str:
    return f"not estimable: the last follow-up ends at {last:g}, before the horizon"


def _beyond(judged: JudgedRisk) -> Parts:
    """What a part says of a horizon that nobody was followed to: nothing is identified there, so nothing is printed."""
    names = (
        "auc",
        "brier",
        "brier_of_no_model",
        "brier_of_no_model_se",
        "scaled_brier",
        "calibration",
        "calibration_curve",
        "decision_curve",
    )
    note = _not_followed(float(judged.time.max()))
    return {"horizon": judged.horizon, "n": judged.n, **dict.fromkeys(names), "note": note}


def subgroups(q: Question, analysis: Analysis) -> Parts:
    """Hazard ratios within subgroups.

    Raises:
        InputError: a column that makes no subgroups.
    """
    if _no_events(q) or not q.subgroups:
        return {}
    found: dict[str, Subgroups | NotEstimated] = analysis.run(q)
    for one in found.values():
        if isinstance(one, NotEstimated):
            raise InputError(one.note)
    return {"subgroups": [summary.plain(one) for one in found.values()]}


def adjusted(q: Question, analysis: Analysis) -> Parts:
    """The model of all covariates over imputed tables; that of the complete cases is the multivariable Cox model."""
    if _no_events(q) or not q.imputations:
        return {}
    found: AdjustedRatios = analysis.run(q)
    if isinstance(found.imputed, NotEstimated):
        return {"imputation": summary.plain(found.imputed)}
    method = "chained equations, predictive mean matching, Rubin's rules"
    return {"imputation": {"method": method, **summary.plain(found.imputed)}}


def sizes(q: Question, analysis: Analysis) -> Parts:
    """What a further validation like this one would take, for the last level against the reference."""
    if _no_events(q) or not (q.sample_size and q.group):
        return {}
    found: PlannedSize | NotEstimated = analysis.tried(q)
    if isinstance(found, NotEstimated):
        return {"sample_size": summary.plain(found)}
    return {
        "sample_size": {
            "contrast": f"{q.group}: {found.level} vs {found.reference}",
            "event_share": found.event_share,
            "assumption": PLANNED_ON,
            "rows": summary.records(found.rows),
        }
    }
