"""The primary contrast under other endpoints, without early deaths and borderline classes, *uncertain* either side."""

from typing import Any

from pathoprog.cohort_tables.cohort import endpoint_columns
from pathoprog.cohort_tables.config import YEAR_DAYS, LabelSettings
from pathoprog.cohort_tables.endpoints import endpoint_label
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.endpoint_sensitivity import EndpointSensitivity
from pathoprog.survival.question import FurtherEndpoint, NotEstimated
from pathoprog.survival.summary import plain
from pathoprog.validation.plan import AnalysisPlan
from pathoprog.validation.populations import Population
from pathoprog.validation.question import one_number, question_of

EARLY_DAYS = LabelSettings().poor_from_days
"""Deaths before this day, often of the operation, are no *poor* in training either (METHOD, section 2)."""


def any_death(plan: AnalysisPlan) -> str:
    """What the event or a competing death, whichever comes first, is called."""
    return "overall survival" if "specific" in plan.primary.endpoint else "the event or a competing death"


def endpoint_fields(plan: AnalysisPlan, population: Population) -> dict[str, Any]:
    """The fields of a question that `endpoints` takes beside the contrast and the score.

    An overall survival of the outcome table's own stands in place of the one that the primary endpoint's deaths make.
    """
    further = tuple(
        FurtherEndpoint(endpoint_label(name), *endpoint_columns(name), YEAR_DAYS) for name in plan.endpoints
    )
    own = {endpoint.name for endpoint in further if {endpoint.time, endpoint.event} <= set(population.patients.columns)}
    return {
        "endpoint": plan.primary.endpoint,
        "any_death": "" if any_death(plan) in own else any_death(plan),
        "endpoints": further,
        "early": EARLY_DAYS / YEAR_DAYS,
        "borderline": "borderline" if "borderline" in population.patients else "",
    }


def endpoint_sensitivity(plan: AnalysisPlan, population: Population) -> dict[str, Any]:
    """One table: each row the primary contrast and c of the one number under one other choice."""
    question = question_of(
        population,
        contrast=plan.primary.contrast,
        reference={"risk_class": plan.primary.contrast[1]},
        scores=(one_number(population),),
        **endpoint_fields(plan, population),
    )
    found: EndpointSensitivity | NotEstimated = ANALYSES["endpoints"].tried(question)
    result: dict[str, Any] = {**plain(found), "early_days": EARLY_DAYS}
    return result
