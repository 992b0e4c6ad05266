"""The model parts of `pathoprog survival`: Cox, Fine-Gray, predictions, calibration, subgroups, imputation, size."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.errors import InputError
from pathoprog.survival import summary
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, level_names
from pathoprog.survival.prediction.accuracy import auc_at, brier_at, integrated_brier, null_risk
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.prediction.censoring import followed_to
from pathoprog.survival.prediction.decision import decision_curve
from pathoprog.survival.regression.baseline import predict_risk, predict_survival
from pathoprog.survival.regression.cox_model import CoxFit, cox
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.survival.regression.imputation import imputed_cox
from pathoprog.survival.regression.subgroups import subgroup_analysis
from pathoprog.survival.sample_size import validation_size
from pathoprog.survival.table import CODE, TIME

if TYPE_CHECKING:
    from pathoprog.cohorts.survival_question import Question

APPARENT = "apparent: the model was fitted to the same patients, so this flatters it"
PLANNED_ON = (
    "hazard ratio, c-index and share of events as observed in this table, not as planned: what was observed varies by "
    "chance and flatters where it led to this question, so the numbers are a rough guide"
)
GIVEN = "predicted risks as given in the table"


def model_parts(settings: SurvivalConfig, q: "Question") -> dict[str, Any]:
    """All parts that fit a model or judge a prediction; a part that cannot be had says why in its `note`."""
    results: dict[str, Any] = {}
    if not (q.event == EVENT).any():
        return results
    fits = cox_models(settings, q)
    results["cox"] = {name: fit if isinstance(fit, dict) else summary.cox_summary(fit) for name, fit in fits.items()}
    main = _main_model(fits)
    if q.data.competing:
        results["fine_gray"] = {name: _tried(_fine_gray_of(q, names)) for name, names in _models(q).items()}
    if q.pattern:
        results["predicted_survival"] = _tried(lambda: predicted(q, main))
    results["concordance"] = concordances(q)
    results["prediction"] = predictions(q, main)
    if q.subgroups and q.group:
        results["subgroups"] = [
            summary.plain(subgroup_analysis(q.frame, TIME, CODE, q.group, by, q.reference, q.categorical))
            for by in q.subgroups
        ]
    if settings.imputations:
        results["imputation"] = _tried(lambda: imputed(settings, q))
    if settings.sample_size and q.group:
        results["sample_size"] = _tried(lambda: sizes(settings, q, fits))
    return results


def _tried(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part's result, or a note where the data do not allow it."""
    try:
        return part()
    except InputError as error:
        return {"note": str(error)}


def _models(q: "Question") -> dict[str, list[str]]:
    """Models by name: each covariate alone, the group with all covariates, and stratified where strata are given."""
    every = ([q.group] if q.group and len(q.levels) > 1 else []) + q.covariates
    models = {f"univariable {name}": [name] for name in every}
    if len(every) > 1:
        models["multivariable"] = every
    return models


def cox_models(settings: SurvivalConfig, q: "Question") -> dict[str, CoxFit | dict[str, Any]]:
    """Fit all Cox models; one that cannot be fitted is a dict with a note."""
    fits: dict[str, CoxFit | dict[str, Any]] = {}
    models: list[tuple[str, list[str], list[str] | None]] = [(name, names, None) for name, names in _models(q).items()]
    if q.strata:
        every = [name for name in ([q.group] if q.group else []) + q.covariates if name not in q.strata]
        models.append(("stratified", every, q.strata))
    for name, names, strata in models:
        try:
            fits[name] = cox(
                q.frame, TIME, CODE, names, _only(q.reference, names), strata, q.categorical, settings.ties
            )
        except InputError as error:
            fits[name] = {"note": str(error)}
    return fits


def _only(reference: dict[str, str], names: list[str]) -> dict[str, str]:
    return {name: level for name, level in reference.items() if name in names}


def _main_model(fits: dict[str, CoxFit | dict[str, Any]]) -> CoxFit | None:
    """The model whose predictions are judged: the multivariable one, else the first."""
    found = fits.get("multivariable") or next(iter(fits.values()), None)
    return found if isinstance(found, CoxFit) else None


def _fine_gray_of(q: "Question", names: list[str]) -> Callable[[], dict[str, Any]]:
    return lambda: summary.fine_gray_summary(
        fine_gray(q.frame, TIME, CODE, names, _only(q.reference, names), q.categorical)
    )


def predicted(q: "Question", main: CoxFit | None) -> dict[str, Any]:
    """Survival of the given covariate pattern at the horizons."""
    if main is None:
        raise InputError("no Cox model could be fitted")
    found = summary.plain(predict_survival(main, q.pattern, q.horizons))
    late = np.array(q.horizons) > main.time.max()
    for name in ("survival", "std_err", "lower", "upper"):
        found[name] = np.where(late, np.nan, found[name])
    note = {"note": _beyond(main.time, max(q.horizons))["note"]} if late.any() else {}
    return {"pattern": q.pattern, "model": list(main.design.terms), **found, **note}


def concordances(q: "Question") -> dict[str, Any]:
    """c-index of the score, and of the group's levels in their order."""
    result: dict[str, Any] = {}
    if q.score:
        score = q.frame[q.score].to_numpy(dtype=float)
        there = np.isfinite(score)
        if not there.any():
            return {q.score: {"note": "no numbers in this column"}}
        result[q.score] = summary.score_concordance(q.time[there], q.event[there], score[there])
    if q.group and len(q.levels) > 1 and q.ordered:
        classes = summary.score_concordance(q.time[q.known], q.event[q.known], q.place.astype(float))
        result[q.group] = {**classes, "order": q.levels, "direction": "later levels = worse"}
    return result


def predictions(q: "Question", main: CoxFit | None) -> dict[str, Any]:
    """AUC(t) of the score; AUC(t), Brier, calibration and decision curve of predicted risks at each horizon."""
    result: dict[str, Any] = {
        "competing_deaths": "count as controls" if q.data.competing else "none",
    }
    if q.score:
        score = q.frame[q.score].to_numpy(dtype=float)
        there = np.isfinite(score)
        time, event = q.time[there], q.event[there]
        result["score_auc"] = [
            {
                "horizon": horizon,
                **summary.plain(auc_at(time, event, score[there], horizon)),
                "note": "" if followed_to(time, event, horizon) else _beyond(time, horizon)["note"],
            }
            for horizon in q.horizons
        ]
    if q.risks:
        result["source"] = GIVEN
        result["by_horizon"] = [_given(q, column, horizon) for column, horizon in zip(q.risks, q.horizons, strict=True)]
    elif main is not None and main.strata is None and not main.maximum.infinite.any():
        result["source"] = f"Cox model of {', '.join(main.design.terms)}; {APPARENT}"
        time, event = q.time[main.rows], q.event[main.rows]
        if q.data.competing:
            result["source"] += "; its risks are net, competing deaths censored"
            event = np.where(event == EVENT, 1, 0)

        def risk(t: float) -> FloatArray:
            return predict_risk(main, main.design.matrix, t)

        result["by_horizon"] = [_tried(_judged(time, event, risk(horizon), horizon, False)) for horizon in q.horizons]
        tau = max(q.horizons)
        whole = {"tau": tau, "value": integrated_brier(time, event, risk, tau)}
        result["integrated_brier"] = whole | (
            {} if followed_to(time, event, tau) else {"note": _beyond(time, tau)["note"]}
        )
    return result


def _given(q: "Question", column: str, horizon: float) -> dict[str, Any]:
    risk = q.frame[column].to_numpy(dtype=float)
    there = np.isfinite(risk)
    if not there.any():
        return {"column": column, "horizon": horizon, "note": "no numbers in this column"}
    part = _tried(_judged(q.time[there], q.event[there], risk[there], horizon, q.data.competing))
    return {"column": column, "n_missing": int((~there).sum()), **part}


def _judged(
    time: FloatArray, event: IntArray, risk: FloatArray, horizon: float, competing: bool
) -> Callable[[], dict[str, Any]]:
    def part() -> dict[str, Any]:
        if not followed_to(time, event, horizon):
            return _beyond(time, horizon)
        brier = brier_at(time, event, risk, horizon)
        nothing = brier_at(time, event, np.full(time.size, null_risk(time, event, horizon)), horizon)
        found = summary.plain(calibration(time, event, risk, horizon, competing))
        curve = found.pop("curve")
        return {
            "horizon": horizon,
            "n": int(time.size),
            "auc": summary.plain(auc_at(time, event, risk, horizon)),
            "brier": summary.plain(brier),
            "brier_of_no_model": nothing.value,
            "scaled_brier": 1 - brier.value / nothing.value if nothing.value > 0 else float("nan"),
            "calibration": found,
            "calibration_curve": _thinned(risk, curve),
            "decision_curve": summary.records(
                decision_curve(time, event, {"model": risk}, horizon, competing=competing)
            ),
        }

    return part


def _beyond(time: FloatArray, horizon: float) -> dict[str, Any]:
    """What a part says of a horizon that nobody was followed to: nothing is identified there, so nothing is printed."""
    names = ("auc", "brier", "brier_of_no_model", "scaled_brier", "calibration", "calibration_curve", "decision_curve")
    note = f"not estimable: the last follow-up ends at {float(time.max()):g}, before the horizon"
    return {"horizon": horizon, "n": int(time.size), **dict.fromkeys(names), "note": note}


def _thinned(risk: FloatArray, curve: FloatArray, most: int = 200) -> dict[str, list[float]]:
    """At most `most` points of the calibration curve, by rising risk."""
    order = np.argsort(risk)
    pick = order[np.unique(np.linspace(0, order.size - 1, min(most, order.size)).astype(int))]
    return {"predicted": [float(v) for v in risk[pick]], "observed": [float(v) for v in curve[pick]]}


def imputed(settings: SurvivalConfig, q: "Question") -> dict[str, Any]:
    """The multivariable Cox model over imputed tables."""
    names = ([q.group] if q.group else []) + q.covariates
    reference = _only(q.reference, names)
    categorical = [*q.categorical, *(name for name in reference if name not in q.categorical)]
    fit = imputed_cox(q.frame, TIME, CODE, names, reference, None, categorical, settings.imputations, settings.seed)
    return {"method": "chained equations, predictive mean matching, Rubin's rules", **summary.plain(fit)}


def sizes(settings: SurvivalConfig, q: "Question", fits: dict[str, CoxFit | dict[str, Any]]) -> dict[str, Any]:
    """What a further validation like this one would take, for the last level against the reference."""
    fit = fits.get(f"univariable {q.group}")
    if not isinstance(fit, CoxFit):
        raise InputError("no hazard ratio of the group to plan with")
    term = fit.terms.iloc[-1]
    reference = q.reference[q.group]
    label = level_names(q.frame[q.group])
    mine, other = int((label == term["level"]).sum()), int((label == reference).sum())
    event_share = float((q.event == EVENT).mean())
    c = next((part["harrell"]["value"] for part in concordances(q).values() if "harrell" in part), float("nan"))
    if not q.ordered:
        raise InputError(f"nothing says which level of {q.group} is worse: give levels=… from better to worse")
    if c < 0.5:
        raise InputError(
            f"c = {c:.3f} in this table, below 0.5: higher is not worse here; turn the score or levels=… first"
        )
    if not (np.isfinite(term["hr"]) and term["hr"] > 0 and 0.5 < c < 0.99 and 0 < event_share < 1):
        raise InputError("hazard ratio or c-index of this table gives nothing to plan with")
    table = validation_size(float(term["hr"]), mine / (mine + other), c, event_share, seed=settings.seed)
    return {
        "contrast": f"{q.group}: {term['level']} vs {reference}",
        "event_share": event_share,
        "assumption": PLANNED_ON,
        "rows": summary.records(table),
    }
