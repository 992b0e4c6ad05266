"""Every analysis that `survival` and `validate` do: its name in a plan, its title in reports, and what computes it.

What both commands do is computed by the one function that stands here; each writes the figures in the form of its own
files (`pathoprog.survival.summary`, `pathoprog.validation`). A new analysis is a function and a line of `ANALYSES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pathoprog.survival.arrays import FloatArray, IntArray
from pathoprog.survival.curves.competing import IncidenceValues, cumulative_incidence, gray_test
from pathoprog.survival.curves.product_limit import followup_time, kaplan_meier
from pathoprog.survival.curves.rank_tests import logrank
from pathoprog.survival.curves.restricted_mean import MeanDifference, RestrictedMean, difference, restricted_mean
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.prediction.horizon import (
    CompleteCases,
    HorizonValues,
    WeightedValues,
    values_by_curves,
    values_by_weights,
    values_of_complete_cases,
)
from pathoprog.survival.regression.baseline import predict_survival
from pathoprog.survival.regression.cox_model import cox
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.survival.regression.imputation import imputed_cox
from pathoprog.survival.regression.subgroups import subgroup_analysis
from pathoprog.survival.resampling.permutation import permuted_c
from pathoprog.survival.resampling.statistics import bootstrap_intervals
from pathoprog.survival.sample_size import validation_size


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
    """One analysis.

    Attributes:
        name: as a plan calls it.
        title: as reports call it.
        run: the function that computes it, or its figures for one group.
        key: under which `survival` writes it into statistics.json, empty where that command does not do it.
        plannable: whether `validate` does it, so that a plan may name it.
    """

    name: str
    title: str
    run: Callable[..., Any]
    key: str = ""
    plannable: bool = True


ANALYSES = {
    one.name: one
    for one in (
        Analysis(
            "kaplan_meier",
            "Kaplan-Meier curves of the three classes, with the number at risk",
            kaplan_meier,
            "kaplan_meier",
        ),
        Analysis("logrank", "log-rank test over the three classes", logrank, "tests"),
        Analysis("hazard_ratios", "Cox hazard ratios against good", cox, "cox"),
        Analysis("c_index", "Harrell's c of the one number", harrell_c, "concordance"),
        Analysis("c_classes", "Harrell's c of the three classes", harrell_c),
        Analysis("c_resolutions", "Harrell's c of each resolution's score", harrell_c),
        Analysis("c_members", "Harrell's c of each single member", harrell_c),
        Analysis("groupings", "poor against the rest, and good against the rest", cox),
        Analysis(
            "horizon_values",
            "sensitivity, specificity and predictive values at the horizons",
            horizon_values,
            "horizon_values",
        ),
        Analysis("competing_deaths", "cumulative incidence with competing deaths", incidences, "competing"),
        Analysis("adjusted", "hazard ratios adjusted for the plan's covariates", imputed_cox, "imputation"),
        Analysis(
            "subgroups",
            "hazard ratios by the plan's subgroups, with interaction tests",
            subgroup_analysis,
            "subgroups",
        ),
        Analysis("calibration", "calibration of the stated absolute-risk model", calibration, "prediction"),
        Analysis("stage_groups", "the stage-combined risk groups", kaplan_meier),
        Analysis("permutation", "the locked scores against permuted outcomes", permuted_c),
        Analysis("true_hazard", "comparison with the simulation's true hazard", harrell_c),
        Analysis("follow_up", "follow-up by reverse Kaplan-Meier", followup_time, "followup", False),
        Analysis("restricted_means", "restricted mean survival", restricted_means, "rmst", False),
        Analysis("fine_gray", "subdistribution hazard ratios", fine_gray, "fine_gray", False),
        Analysis("gray", "Gray's test of equal cumulative incidence", gray_test, "competing", False),
        Analysis(
            "predicted_survival", "survival of one pattern of covariates", predict_survival, "predicted_survival", False
        ),
        Analysis("sample_size", "size of a further validation", validation_size, "sample_size", False),
        Analysis("bootstrap", "bootstrap intervals", bootstrap_intervals, "bootstrap", False),
    )
}
"""By name. A plan names those that are `plannable`; the rest belong to another analysis, or to `survival` alone."""
