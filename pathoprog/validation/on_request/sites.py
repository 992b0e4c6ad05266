"""The primary population by the plan's sites: each site's figures, and their random-effects mean."""

from typing import Any

import numpy as np

from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.question import NotEstimated, PredictedRisk
from pathoprog.survival.sites.by_site import BySite
from pathoprog.survival.summary import plain
from pathoprog.validation.absolute_risk import others, stated_model
from pathoprog.validation.plan import AnalysisPlan
from pathoprog.validation.populations import Population
from pathoprog.validation.question import one_number, question_of


def by_site(plan: AnalysisPlan, population: Population, source: Population | None) -> dict[str, Any]:
    """Hazard ratio of the primary contrast, c of the one number, calibration and shares, by each column of sites.

    Calibration is of the plan's absolute-risk model at the primary horizon, in those on whom it was not fitted.

    Args:
        plan: the analysis plan.
        population: the primary one.
        source: of the absolute-risk model, or None.

    Returns:
        For each column its part, or a note; under ``calibration`` why there is none by site, or empty.
    """
    risks: tuple[PredictedRisk, ...] = ()
    note = "no absolute-risk model is stated in the plan, so that no calibration stands here"
    if source is not None:
        model, years = stated_model(population, source), plan.primary.horizon_years
        judged = others(population, source)
        note = f"no absolute-risk model: {model.note}" if isinstance(model, NotEstimated) else ""
        if not isinstance(model, NotEstimated) and len(judged):
            rows = population.patients["patient_id"].isin(judged["patient_id"]).to_numpy()
            risks = (PredictedRisk(years, np.asarray(rows), model.risk(judged, years), model.competing),)
    present = tuple(name for name in plan.sites if name in population.patients)
    question = question_of(
        population,
        sites=present,
        contrast=plan.primary.contrast,
        reference={"risk_class": plan.primary.contrast[1]},
        scores=(one_number(population),),
        risks=risks,
    )
    found: dict[str, BySite | NotEstimated] = ANALYSES["sites"].run(question) if present else {}
    absent = {name: {"note": f"the cohort has no column {name}"} for name in plan.sites if name not in present}
    columns = plain(found)
    for part in columns.values():
        for one in part.get("measures", {}).values():
            if one["measure"] in ("observed_expected", "calibration_slope"):
                one["what"] += " years"  # the unit of follow-up here
    return {"calibration_note": note, "columns": {**columns, **absent}}
