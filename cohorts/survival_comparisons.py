"""The parts of `pathoprog survival` that compare: sites, models, treatment by group, ratios over time, endpoints."""

from typing import Any

from pathoprog.survival import summary
from pathoprog.survival.analyses import Analysis
from pathoprog.survival.arrays import EVENT
from pathoprog.survival.endpoint_sensitivity import EndpointSensitivity
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.regression.over_time import EffectsOverTime
from pathoprog.survival.regression.treatment import TreatmentByGroup
from pathoprog.survival.resampling.added_value import AddedValue, shortened
from pathoprog.survival.sites.by_site import BySite

Parts = dict[str, Any]


def sites(q: Question, analysis: Analysis) -> Parts:
    """Figures by the sites of each column, and what they have in common."""
    if not q.sites or not (q.event == EVENT).any():
        return {}
    found: dict[str, BySite | NotEstimated] = analysis.run(q)
    return {"sites": summary.plain(found)}


def added_value(q: Question, analysis: Analysis) -> Parts:
    """What the added columns tell beyond the covariates."""
    if not q.added or not (q.event == EVENT).any():
        return {}
    found: AddedValue | NotEstimated = analysis.tried(q)
    return {"added_value": summary.plain(found) if isinstance(found, NotEstimated) else shortened(found)}


def treatment(q: Question, analysis: Analysis) -> Parts:
    """The treatment within each group, and how much it differs between groups."""
    if q.treatment is None or not (q.event == EVENT).any():
        return {}
    found: TreatmentByGroup | NotEstimated = analysis.tried(q)
    return {"treatment": summary.plain(found)}


def time_effects(q: Question, analysis: Analysis) -> Parts:
    """Ratios in pieces of the follow-up and from landmarks on, with differences of restricted means."""
    if not (q.cuts or q.landmarks) or not (q.event == EVENT).any():
        return {}
    found: EffectsOverTime | NotEstimated = analysis.tried(q)
    return {"time_effects": summary.plain(found)}


def endpoints(q: Question, analysis: Analysis) -> Parts:
    """The contrast and c under other endpoints, without some rows, with the middle levels on either side."""
    if not (q.endpoints or q.early or q.borderline) or not (q.event == EVENT).any():
        return {}
    found: EndpointSensitivity | NotEstimated = analysis.tried(q)
    return {"endpoints": summary.plain(found)}
