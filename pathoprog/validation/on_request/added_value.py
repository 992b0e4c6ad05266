"""What the locked classes add to stage and the standard variables in the primary population."""

from dataclasses import replace
from typing import Any

from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.ensemble.stage_groups import RISK_GROUPS, StageGroups, risk_groups
from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.question import NotEstimated
from pathoprog.survival.resampling.added_value import AddedValue, shortened
from pathoprog.validation.plan import AnalysisPlan
from pathoprog.validation.populations import Population
from pathoprog.validation.question import question_of
from pathoprog.validation.secondary_analyses import not_fitted_on, varied

RESAMPLES = 200
"""Of the bootstrap that takes the optimism off (project default)."""


def over_covariates(plan: AnalysisPlan, population: Population, stage: StageGroups | None, seed: int) -> dict[str, Any]:
    """The plan's `added_value`: a model of covariates against one with the classes, or the stage-combined groups.

    Args:
        plan: the analysis plan.
        population: the primary one.
        stage: the bundle's table of stage-combined groups, or None.
        seed: of the resamples.
    """
    data, judged = population.patients, plan.added_value_of
    if judged == "risk_group":
        if stage is None:
            return {"note": "the bundle holds no table of stage-combined risk groups"}
        own = not_fitted_on(population, stage)
        if own.empty:
            return {"note": "the stage-combined groups were fitted on these very patients"}
        try:
            data = own.assign(risk_group=risk_groups(own, stage))
        except InputError as error:
            return {"note": str(error)}
        data = data[data["risk_group"] != ""]
    part = replace(population, patients=data)
    base = varied(part, plan.added_value)
    if not base:
        return {"note": f"{', '.join(plan.added_value)}: the same for all patients"}
    order = RISK_CLASSES if judged == "risk_class" else RISK_GROUPS
    reference = next(name for name in order if name in set(data[judged]))
    question = question_of(
        part,
        judged,
        added=(judged,),
        base=base,
        reference={judged: reference},
        horizons=(plan.primary.horizon_years,),
        bootstrap=RESAMPLES,
        seed=seed,
    )
    found: AddedValue | NotEstimated = ANALYSES["added_value"].tried(question)
    return {"note": found.note} if isinstance(found, NotEstimated) else shortened(found)
