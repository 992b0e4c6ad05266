"""The analyses of a validation by name and title, and what `survival` and `validate` compute alike.

What both commands take from several estimators is put together by one function here; each writes the figures in the
form of its own files (`pathoprog.survival.summary`, `pathoprog.validation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pathoprog.survival.arrays import FloatArray, IntArray
from pathoprog.survival.curves.competing import IncidenceValues, cumulative_incidence
from pathoprog.survival.curves.restricted_mean import MeanDifference, RestrictedMean, difference, restricted_mean
from pathoprog.survival.prediction.horizon import (
    CompleteCases,
    HorizonValues,
    WeightedValues,
    values_by_curves,
    values_by_weights,
    values_of_complete_cases,
)


@dataclass(frozen=True)
class Followed:
    """Patients of one group: `time` (n,) in any unit; `event` (n,) 0 censored, 1 the event, 2 a competing death."""

    time: FloatArray
    event: IntArray


Groups = Mapping[str, Followed]
"""Level of the group -> its patients, in the levels' order."""


def horizon_values(
    patients: Followed, positive: npt.NDArray[Any], horizon: float, competing: bool
) -> dict[str, HorizonValues | WeightedValues | CompleteCases]:
    """Sensitivity, specificity, PPV and NPV at a horizon by every estimator.

    Kaplan-Meier (net values) is primary; inverse censoring weights are a check; complete cases are a note only, since
    they mislead late. Where deaths compete, by Aalen-Johansen too.

    Args:
        patients: of both classes.
        positive: True for the class said to have the event (n,).
        horizon: in the unit of the follow-up.
        competing: True: also with competing deaths as such.

    Raises:
        InputError: all patients are in one class.
    """
    given = (patients.time, patients.event, positive, horizon)
    found: dict[str, HorizonValues | WeightedValues | CompleteCases] = {
        "kaplan_meier": values_by_curves(*given),
        "inverse_weights": values_by_weights(*given),
        "complete_cases": values_of_complete_cases(*given),
    }
    if competing:
        found["aalen_johansen"] = values_by_curves(*given, competing=True)
        found["inverse_weights_competing"] = values_by_weights(*given, competing=True)
    return found


def incidences(patients: Followed, at: FloatArray) -> dict[str, IncidenceValues]:
    """Cumulative incidence at `at` of the ``event`` and of the ``competing`` death."""
    return {
        cause: cumulative_incidence(patients.time, patients.event, code).identified_at(at)
        for cause, code in (("event", 1), ("competing", 2))
    }


def restricted_means(
    groups: Groups, tau: float, reference: str
) -> tuple[dict[str, RestrictedMean], dict[str, MeanDifference]]:
    """Restricted mean net survival of each group to `tau`, and its difference from the reference, if that is there."""
    means = {level: restricted_mean(own.time, own.event, tau).identified() for level, own in groups.items()}
    gaps = {
        level: difference(mean, means[reference])
        for level, mean in means.items()
        if reference in means and level != reference
    }
    return means, gaps


@dataclass(frozen=True)
class Analysis:
    """One analysis of a validation: its `name` in a plan, and its `title` in reports."""

    name: str
    title: str


ANALYSES = {
    one.name: one
    for one in (
        Analysis("kaplan_meier", "Kaplan-Meier curves of the three classes, with the number at risk"),
        Analysis("logrank", "log-rank test over the three classes"),
        Analysis("hazard_ratios", "Cox hazard ratios against good"),
        Analysis("c_index", "Harrell's c of the one number"),
        Analysis("c_classes", "Harrell's c of the three classes"),
        Analysis("c_resolutions", "Harrell's c of each resolution's score"),
        Analysis("c_members", "Harrell's c of each single member"),
        Analysis("groupings", "poor against the rest, and good against the rest"),
        Analysis("horizon_values", "sensitivity, specificity and predictive values at the horizons"),
        Analysis("competing_deaths", "cumulative incidence with competing deaths"),
        Analysis("adjusted", "hazard ratios adjusted for the plan's covariates"),
        Analysis("subgroups", "hazard ratios by the plan's subgroups, with interaction tests"),
        Analysis("calibration", "calibration of the stated absolute-risk model"),
        Analysis("stage_groups", "the stage-combined risk groups"),
        Analysis("permutation", "the locked scores against permuted outcomes"),
        Analysis("true_hazard", "comparison with the simulation's true hazard"),
    )
}
"""By name, in the order of reports: what a plan may name."""
