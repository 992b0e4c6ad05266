"""The plan's treatment by class in the primary population."""

from dataclasses import replace
from typing import Any

from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.question import NotEstimated, Treatment
from pathoprog.survival.regression.treatment import TreatmentByGroup
from pathoprog.survival.summary import plain
from pathoprog.validation.on_request.asked_columns import two_values
from pathoprog.validation.plan import AnalysisPlan
from pathoprog.validation.populations import Population
from pathoprog.validation.question import question_of
from pathoprog.validation.secondary_analyses import varied


def planned_treatment(plan: AnalysisPlan, population: Population) -> Treatment | None:
    """The plan's treatment with both its values; None where it names none.

    Raises:
        InputError: the population has not both values.
    """
    if plan.treatment is None:
        return None
    planned = plan.treatment
    treated = two_values(population.patients, planned)
    return Treatment(planned.column, planned.control, treated, planned.randomised, varied(population, planned.adjust))


def by_class(plan: AnalysisPlan, population: Population) -> dict[str, Any]:
    """Hazard ratio within each class, ratio of ratios, interaction test, absolute benefit at the horizons.

    Args:
        plan: the analysis plan.
        population: the primary one.
    """
    try:
        treatment = planned_treatment(plan, population)
    except InputError as error:
        return {"note": str(error)}
    question = question_of(
        population,
        treatment=treatment,
        reference={"risk_class": population.classes[0]},
        horizons=plan.horizons_years,
        competing=True,
    )
    ordered = replace(question, levels=tuple(population.classes))  # as tables list the classes
    found: TreatmentByGroup | NotEstimated = ANALYSES["treatment"].tried(ordered)
    result: dict[str, Any] = plain(found)
    return result
