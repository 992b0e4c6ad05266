"""The one list of analyses: what `survival` and `validate` compute, and what a validation's plan may name.

Each takes a `Question` and gives its estimators' typed results. Both commands go down this list; each writes a result
in the form of its own files where it has one, and plainly under the analysis' name where it has none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pathoprog.errors import InputError
from pathoprog.survival.curves.by_group import (
    GroupCurves,
    RankTests,
    group_curves,
    group_tests,
    incidences,
    median_followup,
    restricted_means,
)
from pathoprog.survival.curves.parametric import parametric_curves
from pathoprog.survival.endpoint_sensitivity import endpoint_sensitivity
from pathoprog.survival.prediction.risks import accuracies, calibrations
from pathoprog.survival.prediction.scores import (
    Discrimination,
    c_classes,
    c_index,
    c_members,
    c_resolutions,
    c_true_hazard,
    horizon_values,
)
from pathoprog.survival.prediction.two_scores import two_scores
from pathoprog.survival.question import OBSERVED, NotEstimated, Question
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.models import (
    adjusted_ratios,
    hazard_ratios,
    in_subgroups,
    pattern_survival,
    subdistribution,
    two_groups,
)
from pathoprog.survival.regression.over_time import effects_over_time
from pathoprog.survival.regression.treatment import treatment_by_group
from pathoprog.survival.resampling.added_value import added_value
from pathoprog.survival.resampling.statistics import permuted, resampled
from pathoprog.survival.sample_size import sizes
from pathoprog.survival.sites.by_site import by_site


@dataclass(frozen=True)
class JudgedGroups:
    """Groups judged as the classes are: curves, the ratios of each model, log-rank test, and c of their order."""

    curves: GroupCurves
    models: dict[str, CoxFit | NotEstimated]
    logrank: RankTests
    concordance: dict[str, Discrimination | NotEstimated]


def judged_groups(q: Question) -> JudgedGroups:
    """Everything that is told of the classes, of other groups."""
    return JudgedGroups(group_curves(q), hazard_ratios(q), group_tests(q).plain, c_classes(q))


ALL = tuple(OBSERVED)


@dataclass(frozen=True)
class Analysis:
    """One analysis, which refuses what it does not take: none passes delayed entry, weights or rows of a patient over.

    Attributes:
        name: in a plan, and in statistics.json where a command has no other key for it.
        title: in the report of a validation; empty: no plan may name it, and `validate` writes it as a part of others
            at most.
        work: from the question to typed results; an InputError says why there is none.
        in_survival: False: `survival` does not write it.
        takes: which of `OBSERVED` it counts rightly.
    """

    name: str
    title: str
    work: Callable[[Question], Any]
    in_survival: bool = True
    takes: tuple[str, ...] = ()

    @property
    def in_plans(self) -> bool:
        """True where a plan may name it, and `validate` writes it."""
        return bool(self.title)

    def refusal(self, q: Question) -> str:
        """Why it cannot be done with these rows; empty where it can."""
        return q.refusal(self.name, self.takes)

    def run(self, q: Question) -> Any:
        """From the question to typed results.

        Raises:
            InputError: why there are none; a refusal names the analysis.
        """
        reason = self.refusal(q)
        if reason:
            raise InputError(reason)
        return self.work(q)

    def tried(self, q: Question) -> Any:
        """What `run` gives, or `NotEstimated` with the reason."""
        try:
            return self.run(q)
        except InputError as error:
            return NotEstimated(str(error))


ANALYSES = {
    one.name: one
    for one in (
        Analysis(
            "kaplan_meier", "Kaplan-Meier curves of the classes, with the number at risk", group_curves, takes=ALL
        ),
        Analysis("logrank", "log-rank test over the classes", group_tests, takes=ALL),
        Analysis("hazard_ratios", "Cox hazard ratios against good", hazard_ratios, takes=ALL),
        Analysis("c_index", "Harrell's c of the one number", c_index, takes=ALL),
        Analysis("c_classes", "Harrell's c of the classes", c_classes, takes=ALL),
        Analysis(
            "c_resolutions", "Harrell's c of each resolution's score", c_resolutions, in_survival=False, takes=ALL
        ),
        Analysis("c_members", "Harrell's c of each single member", c_members, in_survival=False, takes=ALL),
        Analysis(
            "groupings", "poor against the rest, and good against the rest", two_groups, in_survival=False, takes=ALL
        ),
        Analysis("horizon_values", "sensitivity, specificity and predictive values at the horizons", horizon_values),
        Analysis("competing_deaths", "cumulative incidence with competing deaths", incidences),
        Analysis("adjusted", "hazard ratios adjusted for the plan's covariates", adjusted_ratios, takes=ALL),
        Analysis("subgroups", "hazard ratios by the plan's subgroups, with interaction tests", in_subgroups, takes=ALL),
        # `survival` writes it beside the accuracy of the same risks
        Analysis("calibration", "calibration of the stated absolute-risk model", calibrations, in_survival=False),
        Analysis("stage_groups", "the stage-combined risk groups", judged_groups, in_survival=False, takes=ALL),
        Analysis("permutation", "the locked scores against permuted outcomes", permuted, in_survival=False),
        Analysis(
            "true_hazard", "comparison with the simulation's true hazard", c_true_hazard, in_survival=False, takes=ALL
        ),
        Analysis("sites", "by site: c, hazard ratio, calibration, shares of the classes", by_site, takes=ALL),
        Analysis("added_value", "what the classes add to stage and the standard variables", added_value),
        Analysis(
            "clinical_model",
            "the bundle's Cox model over its number and clinical covariates, beside the number alone",
            two_scores,
            in_survival=False,
        ),
        Analysis("treatment", "the treatment by class, with the ratio of hazard ratios", treatment_by_group),
        Analysis(
            "time_effects",
            "hazard ratios that change with time: pieces, landmarks, restricted means",
            effects_over_time,
        ),
        Analysis(
            "endpoints",
            "other endpoints, without early deaths or borderline classes, an intermediate class with either side",
            endpoint_sensitivity,
            takes=ALL,
        ),
        Analysis("followup", "", median_followup, takes=("entry", "weight")),
        Analysis("parametric", "", parametric_curves, takes=("entry", "weight")),
        Analysis("rmst", "", restricted_means),
        Analysis("fine_gray", "", subdistribution),
        Analysis("predicted_survival", "", pattern_survival, takes=("entry",)),
        Analysis("prediction", "", accuracies),
        Analysis("sample_size", "", sizes),
        Analysis("bootstrap", "", resampled),
    )
}
"""By name, those of plans in the order of reports."""
