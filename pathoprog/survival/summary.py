"""Results as plain nested dicts: the parts of `statistics.json`, whose keys docs/statistics.md describes."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.survival import analyses
from pathoprog.survival.analyses import Followed
from pathoprog.survival.arrays import FloatArray, IntArray
from pathoprog.survival.curves.product_limit import CONFIDENCE_KINDS, followup_time, kaplan_meier, number_at_risk
from pathoprog.survival.curves.rank_tests import logrank, trend
from pathoprog.survival.curves.restricted_mean import restricted_mean
from pathoprog.survival.prediction.concordance import harrell_c, uno_c
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.fine_gray import FineGrayFit
from pathoprog.survival.regression.proportional import TRANSFORMS, proportional_hazards

QUANTILES = (0.25, 0.5, 0.75)


def plain(value: Any) -> Any:
    """Dataclasses as dicts, arrays and tables as lists; the rest as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
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


def followup(time: FloatArray, event: IntArray) -> dict[str, Any]:
    """Who was followed, how long, and what happened."""
    median, lower, upper = followup_time(time, event)
    return {
        "n": int(time.size),
        "events": int((event == 1).sum()),
        "competing": int((event == 2).sum()),
        "censored": int((event == 0).sum()),
        "time_min": float(time.min()),
        "time_max": float(time.max()),
        "median_followup": median,
        "median_followup_lower": lower,
        "median_followup_upper": upper,
        "method": "reverse Kaplan-Meier",
    }


def survival_curve(time: FloatArray, event: IntArray, at: FloatArray, columns: FloatArray) -> dict[str, Any]:
    """Kaplan-Meier values at `at` with all three kinds of limits, quantiles, and the table of numbers at risk."""
    km = kaplan_meier(time, event)
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
        limits = kaplan_meier(time, event, kind).at(at).identified()
        result[kind] = {"lower": limits.lower, "upper": limits.upper}
    quantiles = [km.quantile(p) for p in QUANTILES]
    result["quantiles"] = {
        "p": list(QUANTILES),
        "estimate": [q[0] for q in quantiles],
        "lower": [q[1] for q in quantiles],
        "upper": [q[2] for q in quantiles],
    }
    result["at_risk"] = plain(number_at_risk(time, event, columns))
    return result


def restricted_means(
    time: FloatArray, event: IntArray, place: IntArray | None, levels: list[str], tau: float
) -> dict[str, Any]:
    """Restricted mean of all, of each group, and each group's difference from the first."""
    result: dict[str, Any] = {"tau": tau, "overall": plain(restricted_mean(time, event, tau).identified())}
    if place is None:
        return result
    groups = {level: Followed(time[place == k], event[place == k]) for k, level in enumerate(levels)}
    means, gaps = analyses.restricted_means(groups, tau, levels[0])
    result["by_group"] = plain(means)
    result["difference"] = {f"{level} - {levels[0]}": plain(gap) for level, gap in gaps.items()}
    return result


def group_tests(
    time: FloatArray, event: IntArray, label: Any, levels: list[str], strata: Any = None, scores: Any = None
) -> dict[str, Any]:
    """Log-rank test, its Peto form, and the trend."""
    result = {
        "logrank": plain(logrank(time, event, label, strata, 0.0, levels)),
        "peto": plain(logrank(time, event, label, strata, 1.0, levels)),
    }
    if len(levels) > 2:
        result["trend"] = plain(trend(time, event, label, scores, strata, levels))
    return result


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
        result["concordance"] = {
            "harrell": plain(harrell_c(fit.time, event, eta)),
            "uno": plain(uno_c(fit.time, event, eta)),
            "note": "of the model's own linear predictor in the patients it was fitted to (apparent)",
        }
    result["proportional_hazards"] = _proportional(fit)
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


def score_concordance(time: FloatArray, event: IntArray, score: FloatArray) -> dict[str, Any]:
    """Harrell's and Uno's c of a score; competing deaths censored, and as controls that never have the event."""
    result: dict[str, Any] = {
        "n": int(time.size),
        "harrell": plain(harrell_c(time, event, score)),
        "uno": plain(uno_c(time, event, score)),
    }
    if (event == 2).any():
        result["competing_deaths"] = "censored"
        result["harrell_competing_as_control"] = plain(harrell_c(time, event, score, competing_as_control=True))
    return result


def horizon_values(time: FloatArray, event: IntArray, positive: Any, horizon: float) -> dict[str, Any]:
    """Sensitivity, specificity, PPV and NPV at a horizon by all estimators."""
    found = analyses.horizon_values(Followed(time, event), positive, horizon, competing=bool((event == 2).any()))
    return {estimator: plain(values) for estimator, values in found.items()}


def incidence_curve(time: FloatArray, event: IntArray, at: FloatArray) -> dict[str, Any]:
    """Cumulative incidence of the event and of competing deaths at `at`."""
    return {
        "n": int(time.size),
        **plain(analyses.incidences(Followed(time, event), at)),
    }


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
