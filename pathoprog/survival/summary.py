"""Results as plain nested dicts: the parts of `statistics.json`, whose keys docs/statistics.md describes."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.survival.arrays import CENSORED, COMPETING, EVENT, FloatArray
from pathoprog.survival.curves.by_group import GroupCurve, MedianFollowUp, RankTests, RestrictedMeans
from pathoprog.survival.curves.competing import CumulativeIncidence
from pathoprog.survival.curves.product_limit import CONFIDENCE_KINDS, kaplan_meier
from pathoprog.survival.prediction.calibration import Calibration
from pathoprog.survival.prediction.concordance import harrell_c, uno_c
from pathoprog.survival.prediction.scores import Discrimination
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.fine_gray import FineGrayFit
from pathoprog.survival.regression.proportional import TRANSFORMS, proportional_hazards

QUANTILES = (0.25, 0.5, 0.75)


def plain(value: Any) -> Any:
    """Dataclasses as dicts, arrays and tables as lists; the rest as it is. What repr leaves out is no figure."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, pd.DataFrame):
        return records(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as one dict a row."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def followup(q: Question, found: MedianFollowUp | NotEstimated) -> dict[str, Any]:
    """Who was followed, how long, and what happened."""
    result: dict[str, Any] = {
        "n": int(q.time.size),
        "events": int((q.event == EVENT).sum()),
        "competing": int((q.event == COMPETING).sum()),
        "censored": int((q.event == CENSORED).sum()),
        "time_min": float(q.time.min()),
        "time_max": float(q.time.max()),
    }
    if q.patient:
        result["patients"] = int(q.frame[q.patient].nunique())
    if isinstance(found, NotEstimated):
        return {**result, "note": found.note}
    return {
        **result,
        "median_followup": found.median,
        "median_followup_lower": found.lower,
        "median_followup_upper": found.upper,
        "method": "reverse Kaplan-Meier",
    }


def survival_curve(of: GroupCurve, at: FloatArray) -> dict[str, Any]:
    """Kaplan-Meier values at `at` with all three kinds of limits, quantiles, and the table of numbers at risk."""
    km = of.curve
    read = km.at(at).identified()
    result: dict[str, Any] = {
        "n": km.n,
        "events": km.events,
        "times": read.time,
        "beyond_followup": read.beyond,
        "survival": read.survival,
        "std_err": read.std_err,
    }
    for kind in CONFIDENCE_KINDS:
        own = of.patients
        scaled = kaplan_meier(own.time, own.event, kind, 0.95, own.entry, own.weight, own.patient)
        limits = scaled.at(at).identified()
        result[kind] = {"lower": limits.lower, "upper": limits.upper}
    quantiles = [km.quantile(p) for p in QUANTILES]
    result["quantiles"] = {
        "p": list(QUANTILES),
        "estimate": [q[0] for q in quantiles],
        "lower": [q[1] for q in quantiles],
        "upper": [q[2] for q in quantiles],
    }
    result["at_risk"] = plain(of.at_risk)
    if km.patients is not None:
        result["patients"] = km.patients
    if km.early is not None:
        result["early_risk_sets"] = {**plain(km.early), "note": km.early.note}
    return result


def restricted_means(q: Question, found: RestrictedMeans) -> dict[str, Any]:
    """Restricted mean of all, of each group, and each group's difference from the first."""
    result: dict[str, Any] = {"tau": q.tau, "overall": plain(found.overall)}
    if not q.group:
        return result
    result["by_group"] = plain(found.by_group)
    result["difference"] = {f"{level} - {q.levels[0]}": plain(gap) for level, gap in found.difference.items()}
    return result


def rank_tests(found: RankTests) -> dict[str, Any]:
    """Log-rank test, its Peto form, and the trend where there is one."""
    result = {"logrank": plain(found.logrank), "peto": plain(found.peto)}
    if not found.logrank.robust:
        for part in result.values():
            del part["robust"]
    return result if found.trend is None else {**result, "trend": plain(found.trend)}


def cox_summary(fit: CoxFit) -> dict[str, Any]:
    """A Cox model: terms, tests, concordance of its linear predictor, proportional hazards."""
    event = fit.event.astype(np.int64)
    result: dict[str, Any] = {
        "n": fit.n,
        "events": fit.events,
        "n_missing": fit.n_missing,
        "ties": fit.ties,
        "strata": list(fit.strata_levels),
        "terms": records(fit.terms),
        "loglik_null": fit.loglik_null,
        "loglik": fit.loglik,
        "likelihood_ratio": plain(fit.likelihood_ratio),
        "wald": plain(fit.wald),
        "score": plain(fit.score),
        "aic": fit.aic,
        "notes": list(fit.notes),
    }
    if fit.strata is None and not fit.maximum.infinite.any():
        eta = fit.linear_predictor
        plain_rows = fit.entry is None and fit.weight is None
        result["concordance"] = {
            "harrell": plain(harrell_c(fit.time, event, eta, entry=fit.entry, weight=fit.weight, patient=fit.cluster)),
            **({"uno": plain(uno_c(fit.time, event, eta, patient=fit.cluster))} if plain_rows else {}),
            "note": "of the model's own linear predictor in the patients it was fitted to (apparent)",
        }
    result["proportional_hazards"] = _proportional(fit)
    if fit.robust is not None:
        result["robust"] = {"patients": fit.patients, "naive_se": fit.naive_se}
    return result


def _proportional(fit: CoxFit) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for transform in TRANSFORMS:
        if transform == "log" and (fit.time[fit.event] <= 0).any():
            result[transform] = {"note": "an event at time 0 has no logarithm"}
            continue
        result[transform] = {
            "by_term": records(proportional_hazards(fit, transform, by_term=True)),
            "by_column": records(proportional_hazards(fit, transform, by_term=False)),
        }
    return result


def discrimination(found: Discrimination) -> dict[str, Any]:
    """Harrell's and Uno's c of a score; competing deaths censored, and as controls that never have the event."""
    result = {"n": found.n, "harrell": plain(found.harrell), "uno": plain(found.uno)}
    if found.deaths_as_controls is not None:
        result["competing_deaths"] = "censored"
        result["harrell_competing_as_control"] = plain(found.deaths_as_controls)
    return result


CURVE_POINTS = 200
"""Of a calibration curve in a file, at most."""


def calibration_parts(found: Calibration, risk: FloatArray) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """A calibration's figures, and its curve with the band at some of the predicted risks, by rising risk."""
    numbers = plain(found)
    columns = {"observed": "curve", "lower": "curve_lower", "upper": "curve_upper"}
    order = np.argsort(risk)
    pick = order[np.unique(np.linspace(0, order.size - 1, min(CURVE_POINTS, order.size)).astype(int))]
    curve = {"predicted": risk[pick].tolist()}
    return numbers, curve | {key: numbers.pop(name)[pick].tolist() for key, name in columns.items()}


def incidence_curves(of: dict[str, CumulativeIncidence], at: FloatArray) -> dict[str, Any]:
    """Cumulative incidence of the event and of competing deaths at `at`."""
    n = int(of["event"].n_risk[0])
    return {"n": n, **{cause: plain(curve.identified_at(at)) for cause, curve in of.items()}}


def fine_gray_summary(fit: FineGrayFit) -> dict[str, Any]:
    """A Fine-Gray model."""
    return {
        "n": fit.n,
        "events": fit.events,
        "competing": fit.competing,
        "n_missing": fit.n_missing,
        "terms": records(fit.terms),
        "loglik_null": fit.loglik_null,
        "loglik": fit.loglik,
        "notes": list(fit.notes),
        "definition": "cmprsk::crr: censoring weights from all patients, Breslow ties, variance with estimated weights",
    }


def endpoint_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `endpoints` as one flat table; none where there was no contrast."""
    limits = (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
    return [
        {key: value for key, value in row.items() if key not in ("ratio", "c")}
        | {f"{name}{suffix}": row[key][part] for name, key in (("hr", "ratio"), ("c", "c")) for suffix, part in limits}
        for row in found.get("rows", [])
    ]
