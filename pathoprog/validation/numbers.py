"""All numbers of a validation, as one nested value: what statistics.json holds and the report prints."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.ensemble.clinical import ClinicalModel
from pathoprog.ensemble.shape import Shape
from pathoprog.ensemble.stage_groups import StageGroups
from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.question import Question
from pathoprog.survival.resampling.permutation import Permutation
from pathoprog.survival.summary import plain
from pathoprog.system.files import finite_or_none
from pathoprog.text.numbers import format_interval, format_p, format_ratio
from pathoprog.text.wording import capital, count, listing
from pathoprog.validation.absolute_risk import absolute_risk
from pathoprog.validation.analyses import (
    CONCORDANCES,
    class_counts,
    class_curves,
    concordances,
    contrast,
    curve_years,
    follow_up,
    groupings,
    hazard_ratios,
    logrank_test,
    survival_at,
    survival_table,
    true_hazard,
)
from pathoprog.validation.clinical_model import LockedClinical, clinical_statistics
from pathoprog.validation.endpoint_sensitivity import endpoint_fields, endpoint_sensitivity
from pathoprog.validation.on_request.added_value import RESAMPLES, over_covariates
from pathoprog.validation.on_request.over_time import contrast_over_time, over_time
from pathoprog.validation.on_request.sites import by_site
from pathoprog.validation.on_request.treatment import by_class, planned_treatment
from pathoprog.validation.plan import TESTS, AnalysisPlan
from pathoprog.validation.populations import STAMPS, Population
from pathoprog.validation.question import (
    groupings_of,
    model_of,
    one_number,
    question_of,
    scores_of,
    true_hazard_of,
)
from pathoprog.validation.secondary_analyses import (
    IMPUTATIONS,
    adjusted,
    competing_deaths,
    horizon_values,
    incidence_rows,
    stage_combined,
    subgroups,
    varied,
)


def all_statistics(
    plan: AnalysisPlan,
    populations: list[Population],
    primary: Population,
    members: pd.DataFrame | None,
    truth: pd.DataFrame | None,
    stage: StageGroups | None,
    permutations: int,
    seed: int,
    clinical: LockedClinical | None = None,
) -> dict[str, Any]:
    """Every analysis of every population; training and tuning carry their stamp with each of their numbers.

    Args:
        plan: the analysis plan.
        populations: of `populations_of`.
        primary: the plan's primary one.
        members: scores of the single members, where known.
        truth: of a simulation, where it is one.
        stage: the bundle's table of stage-combined groups, where it has one.
        permutations: how often outcomes are permuted.
        seed: of the permutations.
        clinical: the bundle's model over clinical covariates, where it has one.
    """
    asked = Asked(plan, primary, populations, members, truth, stage, permutations, seed, clinical)
    statistics: dict[str, Any] = {
        "primary": primary_analysis(plan, primary),
        "populations": {population.key: _population(asked, population) for population in populations},
    }
    for name, analysis in ANALYSES.items():
        if analysis.in_plans and name not in OF_EACH_POPULATION and plan.asks_for(name):
            write = OF_PRIMARY.get(name)
            statistics[name] = write(asked) if write else plain(analysis.tried(whole_question(asked)))
    return statistics


@dataclass(frozen=True)
class Asked:
    """What a validation is asked: the arguments of `all_statistics`."""

    plan: AnalysisPlan
    primary: Population
    populations: list[Population]
    members: pd.DataFrame | None
    truth: pd.DataFrame | None
    stage: StageGroups | None
    permutations: int
    seed: int
    clinical: LockedClinical | None = None


def whole_question(asked: Asked) -> Question:
    """All that can be asked of the primary population, for an analysis without a form of its own here."""
    plan, primary = asked.plan, asked.primary
    scores = [score for _, _, score in scores_of(primary, asked.members)]
    if asked.truth is not None:
        scores.append(true_hazard_of(primary, asked.truth))
    return question_of(
        primary,
        models={"risk_class": model_of(primary, "risk_class")},
        adjusted=model_of(primary, "risk_class", *varied(primary, plan.covariates)),
        subgroups=varied(primary, plan.subgroups),
        reference={"risk_class": primary.classes[0]},
        groupings=groupings_of(primary),
        horizons=plan.horizons_years,
        columns=np.array(curve_years(primary)),
        tau=plan.primary.horizon_years,
        competing=True,
        scores=tuple(scores),
        imputations=IMPUTATIONS,
        permutations=asked.permutations,
        seed=asked.seed,
        sites=tuple(name for name in plan.sites if name in primary.patients),
        contrast=plan.primary.contrast,
        added=("risk_class",) if plan.added_value else (),
        base=varied(primary, plan.added_value),
        bootstrap=RESAMPLES,
        cuts=plan.cuts_years,
        landmarks=plan.landmarks_years,
        treatment=planned_treatment(plan, primary),
        **endpoint_fields(plan, primary),
    )


def check_cohorts(plan: AnalysisPlan, names: list[str]) -> None:
    """The cohorts that the plan names are among the scored external ones; to be called before the outcomes are opened.

    Args:
        plan: the analysis plan.
        names: of the external cohorts of which slides were scored.

    Raises:
        InputError: one is not, or the absolute-risk model would be judged on no patient but those it is fitted on.
    """
    there = ", ".join(names) or "none"
    if not names or (plan.primary.cohort != "external" and plan.primary.cohort not in names):
        raise InputError(
            f"the plan's primary cohort {plan.primary.cohort!r} is not a scored external cohort (there: {there})"
        )
    if not plan.absolute_risk:
        return
    if plan.absolute_risk not in names:
        raise InputError(
            f"the plan's absolute_risk cohort {plan.absolute_risk!r} is not a scored external cohort (there: {there})"
        )
    judged = names if plan.primary.cohort == "external" else [plan.primary.cohort]
    if judged == [plan.absolute_risk]:
        raise InputError(
            f"absolute_risk: {plan.absolute_risk} is the primary cohort itself: a model is not judged on the patients "
            "that it was fitted on; name another external cohort"
        )


def check_classes(plan: AnalysisPlan, shape: Shape) -> None:
    """The ensemble can give both classes of the primary contrast; to be called before the outcomes are opened.

    Raises:
        InputError: it never gives one.
    """
    if absent := [name for name in plan.primary.contrast if name not in shape.classes]:
        worse, better = shape.classes[-1], shape.classes[0]
        raise InputError(
            f"the plan's primary contrast names {absent[0]}, which an ensemble of one resolution"
            f" ({', '.join(shape.resolutions)}) never gives: write primary.contrast: {worse} vs {better}"
        )


def check_clinical(plan: AnalysisPlan, model: ClinicalModel | None) -> None:
    """A plan that names the bundle's clinical model has one; to be called before the outcomes are opened.

    Raises:
        InputError: the bundle has none.
    """
    if "clinical_model" in plan.planned and model is None:
        raise InputError(
            "the plan's planned: clinical_model: the bundle has no Cox model over clinical covariates; take it out, or"
            " lock the same members with covariates=…"
        )


def risk_source(plan: AnalysisPlan, populations: list[Population]) -> Population | None:
    """The cohort on which the plan lets absolute risks be modelled, if it names one.

    Raises:
        InputError: no such cohort.
    """
    if not plan.absolute_risk:
        return None
    for population in populations:
        if population.cohort == plan.absolute_risk and population.role == "external" and not population.pooled:
            return population
    raise InputError(f"the plan's absolute_risk cohort {plan.absolute_risk!r} is not a scored external cohort")


def primary_analysis(plan: AnalysisPlan, population: Population) -> dict[str, Any]:
    """The one contrast of the plan: ratio, test, and survival of both classes at the horizon."""
    worse, better = plan.primary.contrast
    row = contrast(population, worse, better)
    curves = class_curves(population)
    p = row["logrank_p"] if plan.primary.test == "logrank" else row["p"]
    return {
        "population": population.key,
        **{key: row[key] for key in ("worse", "better", "n", "events", "hr", "lower", "upper")},
        **{key: row[key] for key in ("logrank_statistic", "note")},
        "test": plan.primary.test,
        "p": p,
        "horizon_years": plan.primary.horizon_years,
        "survival": {name: survival_at(curves, name, plan.primary.horizon_years) for name in plan.primary.contrast},
        **contrast_over_time(plan, population),
    }


OF_EACH_POPULATION = ("kaplan_meier", "logrank", "hazard_ratios", "groupings", *CONCORDANCES)
"""The analyses that `_population` writes."""


def _population(asked: Asked, population: Population) -> dict[str, Any]:
    data, curves = population.patients, class_curves(population)
    return {
        "role": population.role,
        "cohort": population.cohort,
        "pooled": population.pooled,
        "stamp": STAMPS[population.role],
        "n": len(data),
        "events": population.events,
        "competing_deaths": int((data["event"] == 2).sum()),
        "classes": class_counts(population),
        "follow_up_years": follow_up(population),
        "survival": survival_table(population),
        "survival_at_horizons": [
            {"risk_class": name, "years": years, **survival_at(curves, name, years)}
            for years in asked.plan.horizons_years
            for name in population.classes
        ],
        "contrast": contrast(population, *asked.plan.primary.contrast),
        "incidence_at_horizons": incidence_rows(
            population, "risk_class", population.classes, asked.plan.horizons_years
        ),
        "logrank": logrank_test(population),
        "hazard_ratios": hazard_ratios(population, "risk_class", "good"),
        "groupings": groupings(population),
        "concordance": concordances(population, asked.members),
    }


def permutation_check(population: Population, permutations: int, seed: int) -> dict[str, Any]:
    """The locked one number against permuted outcomes; within cohorts where pooled."""
    question = question_of(population, scores=(one_number(population),), permutations=permutations, seed=seed)
    found: dict[str, Permutation] = ANALYSES["permutation"].run(question)
    (result,) = found.values()
    return {
        "population": population.key,
        "permutations": permutations,
        "observed": result.observed,
        "mean": float(result.permuted.mean()),
        "highest": float(result.permuted.max()),
        "share_below": result.share_below,
        "p": result.p,
        "permuted": [round(float(value), 6) for value in result.permuted],
    }


OF_PRIMARY: dict[str, Callable[[Asked], Any]] = {
    "permutation": lambda asked: permutation_check(asked.primary, asked.permutations, asked.seed),
    "true_hazard": lambda asked: [] if asked.truth is None else true_hazard(asked.primary, asked.truth),
    "horizon_values": lambda asked: horizon_values(asked.primary, asked.plan.horizons_years),
    "competing_deaths": lambda asked: competing_deaths(asked.primary, asked.plan.horizons_years),
    "adjusted": lambda asked: adjusted(
        asked.primary, asked.plan.covariates, asked.plan.primary.horizon_years, asked.seed
    ),
    "subgroups": lambda asked: subgroups(asked.primary, asked.plan.subgroups),
    "stage_groups": lambda asked: stage_combined(asked.primary, asked.stage, asked.plan.horizons_years),
    "sites": lambda asked: by_site(asked.plan, asked.primary, risk_source(asked.plan, asked.populations)),
    "added_value": lambda asked: over_covariates(asked.plan, asked.primary, asked.stage, asked.seed),
    "clinical_model": lambda asked: clinical_statistics(asked.clinical, asked.populations),
    "treatment": lambda asked: by_class(asked.plan, asked.primary),
    "endpoints": lambda asked: endpoint_sensitivity(asked.plan, asked.primary),
    "time_effects": lambda asked: over_time(asked.plan, asked.primary),
    "calibration": lambda asked: absolute_risk(
        asked.primary, risk_source(asked.plan, asked.populations), asked.plan.horizons_years
    ),
}
"""How an analysis of the primary population alone stands in statistics.json."""


def primary_sentence(statistics: dict[str, Any]) -> str:
    """The primary result in one sentence."""
    primary = statistics["primary"]
    ratio = format_ratio(primary["hr"], primary["lower"], primary["upper"])
    return (
        f"{primary['worse'].capitalize()} against {primary['better']}: hazard ratio {ratio}, "
        f"{TESTS[primary['test']]} {format_p(primary['p'])}."
    )


def primary_result(population: Population, statistics: dict[str, Any]) -> dict[str, Any]:
    """The primary result as the register of openings keeps it; NaN becomes None."""
    primary = statistics["primary"]
    kept = {key: primary[key] for key in ("population", "worse", "better", "hr", "lower", "upper", "test", "p")}
    numbers = {"n": len(population.patients), "events": population.events, "sentence": primary_sentence(statistics)}
    result: dict[str, Any] = finite_or_none(kept | numbers)
    return result


def member_medians(concordance: list[dict[str, Any]]) -> dict[str, float]:
    """Median c of the single members of each resolution; empty where they are not known."""
    members = pd.DataFrame([row for row in concordance if row["analysis"] == "c_members"])
    if members.empty:
        return {}
    return {str(name): float(value) for name, value in members.groupby("resolution")["c"].median().items()}


def headline(population: Population, statistics: dict[str, Any]) -> str:
    """What the command prints at its end."""
    concordance = statistics["populations"][population.key]["concordance"]
    c = concordance[0]
    patients, events = count(len(population.patients), "patient"), count(population.events, "event")
    text = (
        f"{capital(population.phrase)}: {patients}, {events}. "
        f"{primary_sentence(statistics)} Harrell's c {format_interval(c['c'], c['lower'], c['upper'], 3)}."
    )
    medians = member_medians(concordance)
    if medians:
        text += f" Median single member {listing([f'{value:.3f} at {name}' for name, value in medians.items()])}."
    if statistics["true_hazard"]:
        best, reached = statistics["true_hazard"]
        text += (
            f" The true hazard reaches {format_interval(best['c'], best['lower'], best['upper'], 3)}: "
            f"{reached['share_of_way']:.0%} of the way from 0.5."
        )
    return text
