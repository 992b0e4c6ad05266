"""Models of a question: hazard ratios, groupings, adjusted ratios, subgroups, Fine-Gray, one patient's survival."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import level_names
from pathoprog.survival.curves.rank_tests import RankTest, logrank
from pathoprog.survival.question import Model, NotEstimated, Question
from pathoprog.survival.regression.baseline import Predicted, predict_survival
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.fine_gray import FineGrayFit, fine_gray
from pathoprog.survival.regression.imputation import ImputedCox, imputed_cox
from pathoprog.survival.regression.proportional import proportional_hazards
from pathoprog.survival.regression.subgroups import Subgroups, subgroup_analysis
from pathoprog.survival.table import CODE, TIME

GROUPING = "grouping"
"""Column of a grouping in its model's table, which takes no other covariate."""


def hazard_ratios(q: Question) -> dict[str, CoxFit | NotEstimated]:
    """The Cox models by name."""
    return {name: q.tried(model) for name, model in q.models.items()}


def main_model(q: Question) -> CoxFit | None:
    """The model whose predictions are judged: the multivariable one, else the first; None if it cannot be fitted."""
    model = q.models.get("multivariable") or next(iter(q.models.values()), None)
    found = q.tried(model) if model else None
    return found if isinstance(found, CoxFit) else None


@dataclass(frozen=True)
class TwoGroups:
    """A grouping's hazard ratio and log-rank test, and the number of patients on both sides."""

    n_positive: int
    n_rest: int
    model: CoxFit | NotEstimated
    logrank: RankTest


def two_groups(q: Question) -> dict[str, TwoGroups]:
    """Each grouping of the levels as one ratio and one test, stratified by cohort where cohorts are together."""
    found, of = {}, q.grouped
    for grouping in q.groupings:
        mark = np.isin(q.label, grouping.levels)
        label = np.where(mark, grouping.positive, grouping.rest)
        frame = q.frame.loc[q.known].assign(**{GROUPING: label})
        both = replace(q, frame=frame, group=GROUPING, levels=(), reference={GROUPING: grouping.rest})
        cohorts = level_names(frame[q.within]) if q.within else None
        found[grouping.name] = TwoGroups(
            int(mark.sum()),
            int((~mark).sum()),
            both.tried(Model((GROUPING,), (q.within,) if q.within else ())),
            logrank(of.time, of.event, label, cohorts, 0.0, None, of.entry, of.weight, of.patient),
        )
    return found


@dataclass(frozen=True)
class AdjustedRatios:
    """The adjusted model.

    Attributes:
        complete_cases: of the patients without missing values.
        proportional: its test of proportional hazards; no rows where it could not be fitted.
        imputed: over imputed tables; None where none are asked for.
    """

    complete_cases: CoxFit | NotEstimated
    proportional: pd.DataFrame
    imputed: ImputedCox | NotEstimated | None


def adjusted_ratios(q: Question) -> AdjustedRatios:
    """Hazard ratios of the group adjusted for all covariates; both ways to take missing values."""
    if q.adjusted is None:
        raise InputError("no adjusted model is asked for")
    model = q.adjusted
    fit = q.tried(model)
    imputed: ImputedCox | NotEstimated | None = None
    if q.imputations:
        names, reference = list(model.covariates), q.reference_of(model.covariates)
        forced = [*q.categorical, *(name for name in reference if name not in q.categorical)]
        strata = list(model.strata) or None
        try:
            for column, what in ((q.entry, "delayed entry"), (q.weight, "case weights"), (q.patient, "several rows")):
                if column:
                    raise InputError(f"multiple imputation takes no {what} ({column})")
            imputed = imputed_cox(q.frame, TIME, CODE, names, reference, strata, forced, q.imputations, q.seed)
        except InputError as error:
            imputed = NotEstimated(str(error))
    return AdjustedRatios(fit, proportional_hazards(fit) if isinstance(fit, CoxFit) else pd.DataFrame(), imputed)


def in_subgroups(q: Question) -> dict[str, Subgroups | NotEstimated]:
    """Hazard ratios of the group within each column's subgroups, with the test of interaction."""
    found: dict[str, Subgroups | NotEstimated] = {}
    for by in q.subgroups:
        strata = None if by == q.within else q.within or None
        try:
            found[by] = subgroup_analysis(
                q.frame,
                TIME,
                CODE,
                q.group,
                by,
                dict(q.reference),
                list(q.categorical),
                strata,
                q.entry,
                q.weight,
                q.patient,
            )
        except InputError as error:
            found[by] = NotEstimated(str(error))
    return found


def subdistribution(q: Question) -> dict[str, FineGrayFit | NotEstimated]:
    """Fine-Gray models by name, of those models that have no strata."""
    found: dict[str, FineGrayFit | NotEstimated] = {}
    for name, model in q.models.items():
        if model.strata:
            continue
        reference = q.reference_of(model.covariates)
        try:
            found[name] = fine_gray(q.frame, TIME, CODE, list(model.covariates), reference, list(q.categorical))
        except InputError as error:
            found[name] = NotEstimated(str(error))
    return found


@dataclass(frozen=True)
class PatternSurvival:
    """Survival of one covariate pattern at the horizons by a model of `terms`; NaN after the last follow-up."""

    terms: tuple[str, ...]
    last_followup: float
    survival: Predicted


def pattern_survival(q: Question) -> PatternSurvival:
    """Survival that the main model predicts for the question's pattern.

    Raises:
        InputError: no model, or one that predicts nothing for it (`predict_survival`).
    """
    fit = main_model(q)
    if fit is None:
        raise InputError("no Cox model could be fitted")
    found = predict_survival(fit, q.pattern, list(q.horizons))
    last = float(fit.time.max())
    late = np.array(q.horizons) > last
    names = ("survival", "std_err", "lower", "upper")
    hidden = replace(found, **{name: np.where(late, np.nan, getattr(found, name)) for name in names})
    return PatternSurvival(tuple(fit.design.terms), last, hidden)
