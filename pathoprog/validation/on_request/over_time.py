"""Whether the primary hazard ratio changes with time, and what needs no proportional hazards."""

import math
from typing import Any

from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.question import NotEstimated
from pathoprog.survival.regression.over_time import EffectsOverTime
from pathoprog.survival.regression.pseudo_mean import AdjustedMeans
from pathoprog.survival.summary import plain
from pathoprog.validation.plan import AnalysisPlan
from pathoprog.validation.populations import Population
from pathoprog.validation.question import model_of, question_of
from pathoprog.validation.secondary_analyses import varied

NOTHING = {"difference": math.nan, "lower": math.nan, "upper": math.nan, "p": math.nan}


def _tried(plan: AnalysisPlan, population: Population, asked: bool) -> EffectsOverTime | NotEstimated:
    question = question_of(
        population,
        reference={"risk_class": plan.primary.contrast[1]},
        adjusted=model_of(population, "risk_class", *varied(population, plan.covariates)),
        tau=plan.primary.horizon_years,
        cuts=plan.cuts_years if asked else (),
        landmarks=plan.landmarks_years if asked else (),
    )
    found: EffectsOverTime | NotEstimated = ANALYSES["time_effects"].tried(question)
    return found


def contrast_over_time(plan: AnalysisPlan, population: Population) -> dict[str, Any]:
    """Proportional hazards of the primary contrast, and its difference of restricted means: the planned fallback."""
    found, worse = _tried(plan, population, asked=False), plan.primary.contrast[0]
    if isinstance(found, NotEstimated):
        nothing = {"statistic": math.nan, "df": 0, "p": math.nan, "note": found.note}
        return {"proportional_hazards": nothing, "rmst": {**NOTHING, "note": found.note}, "rmst_adjusted": None}
    return {
        "proportional_hazards": _row(found.proportional, worse),
        "rmst": _means(found.rmst, worse),
        "rmst_adjusted": None if found.rmst_adjusted is None else _means(found.rmst_adjusted, worse),
    }


def _row(found: Any, worse: str) -> dict[str, Any]:
    if isinstance(found, NotEstimated):
        return {"statistic": math.nan, "df": 0, "p": math.nan, "note": found.note}
    row = next((one for one in found.to_dict("records") if one["level"] == worse), None)
    if row is None:
        return {"statistic": math.nan, "df": 0, "p": math.nan, "note": f"{worse} has no finite hazard ratio"}
    return {"statistic": row["statistic"], "df": int(row["df"]), "p": row["p"], "note": ""}


def _means(found: AdjustedMeans | NotEstimated, worse: str) -> dict[str, Any]:
    if isinstance(found, NotEstimated):
        return {**NOTHING, "note": found.note}
    row = next((one for one in found.rows.to_dict("records") if one["level"] == worse), None)
    if row is None:
        return {**NOTHING, "note": f"no patient is {worse}"}
    kept = {key: row[key] for key in ("difference", "lower", "upper", "p")}
    return {**kept, "n": found.n, "tau_years": found.tau, "adjusted_for": list(found.adjusted_for), "note": ""}


def over_time(plan: AnalysisPlan, population: Population) -> dict[str, Any]:
    """Ratios in the plan's pieces of follow-up and from its landmarks on, years."""
    result: dict[str, Any] = plain(_tried(plan, population, asked=True))
    return result
