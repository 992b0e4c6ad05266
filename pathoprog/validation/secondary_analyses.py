"""Analyses beyond the curves: values at horizons, competing deaths, adjusted ratios, subgroups, calibration."""

from typing import Any

import numpy as np
import pandas as pd

from pathoprog.ensemble.stage_groups import RISK_GROUPS, StageGroups, risk_groups
from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES, JudgedGroups
from pathoprog.survival.curves.by_group import Incidences, RestrictedMeans
from pathoprog.survival.prediction.horizon import CompleteCases, HorizonValues, WeightedValues
from pathoprog.survival.prediction.scores import AtHorizon, Discrimination
from pathoprog.survival.question import NotEstimated, Score
from pathoprog.survival.regression.imputation import ImputedCox
from pathoprog.survival.regression.models import AdjustedRatios
from pathoprog.survival.regression.subgroups import Subgroups
from pathoprog.survival.summary import plain, records
from pathoprog.validation.analyses import logrank_row, ratio_rows
from pathoprog.validation.populations import Population
from pathoprog.validation.question import groupings_of, model_of, one_number, question_of

Row = dict[str, Any]
VALUES = ("sensitivity", "specificity", "ppv", "npv")
ESTIMATORS = {
    "kaplan_meier": "Kaplan-Meier",
    "aalen_johansen": "Aalen-Johansen",
    "inverse_weights": "inverse weights",
    "complete_cases": "complete cases",
}
"""In the report's order and words."""
IMPUTATIONS = 20


def horizon_values(population: Population, horizons_years: tuple[float, ...]) -> list[Row]:
    """Sensitivity, specificity, PPV and NPV of each grouping, by every estimator."""
    found: list[AtHorizon] = ANALYSES["horizon_values"].run(
        question_of(population, groupings=groupings_of(population), horizons=horizons_years, competing=True)
    )
    rows: list[Row] = []
    for one in found:
        head = {"grouping": one.grouping.name, "years": one.horizon}
        if isinstance(one.values, NotEstimated):
            rows.append({**head, "estimator": "", "note": one.values.note})
            continue
        rows += [{**head, "estimator": name, **_values_row(one.values[key])} for key, name in ESTIMATORS.items()]
    return rows


def _values_row(found: HorizonValues | WeightedValues | CompleteCases) -> Row:
    """The four values, with their limits where the estimator gives some."""
    if not isinstance(found, HorizonValues):
        return {"note": "", **{value: getattr(found, value) for value in VALUES}}
    row: Row = {"note": "beyond the follow-up" if found.beyond else ""}
    for value in VALUES:
        estimate = getattr(found, value)
        row |= {value: estimate.value, f"{value}_lower": estimate.lower, f"{value}_upper": estimate.upper}
    return row


CAUSES = {"event": "event", "competing": "other death"}


def incidence_rows(
    population: Population, column: str, names: list[str], horizons_years: tuple[float, ...]
) -> list[Row]:
    """Cumulative incidence of the event and of other deaths by group at the horizons; none where no deaths compete."""
    if not (population.patients["event"] == 2).any():
        return []
    question = question_of(population, column, horizons=horizons_years, scores=(one_number(population),))
    return _incidences(ANALYSES["competing_deaths"].run(question), column, names, horizons_years)


def _incidences(found: Incidences, column: str, names: list[str], horizons_years: tuple[float, ...]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        for cause, words in CAUSES.items():
            values = found.by_group[name][cause].identified_at(np.array(horizons_years))
            rows += [
                {
                    column: name,
                    "cause": words,
                    "years": years,
                    "incidence": float(values.value[i]),
                    "lower": float(values.lower[i]),
                    "upper": float(values.upper[i]),
                    "beyond": bool(values.beyond[i]),
                }
                for i, years in enumerate(horizons_years)
            ]
    return rows


def competing_deaths(population: Population, horizons_years: tuple[float, ...]) -> dict[str, Any]:
    """Cumulative incidence of the event and of other deaths by class, Gray's test, and c with deaths as controls."""
    question = question_of(population, horizons=horizons_years, scores=(one_number(population),))
    found: Incidences = ANALYSES["competing_deaths"].run(question)
    rows = _incidences(found, "risk_class", population.classes, horizons_years)
    (c,) = ANALYSES["c_index"].run(question).values()
    controls = c.deaths_as_controls or c.harrell
    return {"incidence": rows, "gray": plain(found.gray["event"]), "c_deaths_as_controls": plain(controls)}


def adjusted(population: Population, covariates: tuple[str, ...], tau_years: float, seed: int) -> dict[str, Any]:
    """Hazard ratios of the classes adjusted for covariates: complete cases and multiple imputation, both shown.

    With the test of proportional hazards, and as its planned fallback the differences of restricted mean survival time
    against good, which need no proportionality.

    Args:
        population: the patients.
        covariates: columns of the cohort table.
        tau_years: horizon of the restricted means.
        seed: of the imputations.
    """
    present = [name for name in covariates if name in population.patients]
    result: dict[str, Any] = {
        "covariates": present,
        "absent": [name for name in covariates if name not in present],
        "tau_years": tau_years,
        "rmst": restricted_means(population, tau_years),
    }
    question = question_of(
        population,
        adjusted=model_of(population, "risk_class", *varied(population, covariates)),
        reference={"risk_class": "good"},
        imputations=IMPUTATIONS,
        seed=seed,
    )
    found: AdjustedRatios = ANALYSES["adjusted"].run(question)
    fit, pooled = found.complete_cases, found.imputed
    if isinstance(fit, NotEstimated):
        return result | {"note": fit.note}
    result["complete_cases"] = {"n": fit.n, "events": fit.events, "terms": records(fit.terms)}
    result["proportional_hazards"] = records(found.proportional)
    if isinstance(pooled, ImputedCox):
        imputed = {"n": pooled.n, "imputations": pooled.imputations, "terms": records(pooled.terms)}
        return result | {"imputed": imputed}
    return result if pooled is None else result | {"note": pooled.note}


def restricted_means(population: Population, tau_years: float) -> list[Row]:
    """Restricted mean net survival time of each class, and its difference from good, years."""
    found: RestrictedMeans = ANALYSES["rmst"].run(question_of(population, tau=tau_years))
    means = {name: found.by_group[name] for name in population.classes}
    gaps = found.difference if "good" in means else {}
    rows: list[Row] = []
    for name, mean in means.items():
        row = {"risk_class": name, "mean": mean.value, "lower": mean.lower, "upper": mean.upper, "beyond": mean.beyond}
        if name in gaps:
            gap = gaps[name]
            row |= {
                "difference": gap.value,
                "difference_lower": gap.lower,
                "difference_upper": gap.upper,
                "p": gap.p_value,
            }
        rows.append(row)
    return rows


def varied(population: Population, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the columns that are there and not the same for all."""
    data = population.patients
    return tuple(name for name in columns if name in data and data[name].replace("", np.nan).nunique() > 1)


def subgroups(population: Population, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Hazard ratios of the classes within subgroups, each with its interaction test: the only test among them."""
    reference = {"risk_class": population.classes[0]}
    tried: dict[str, Subgroups | NotEstimated] = ANALYSES["subgroups"].run(
        question_of(population, subgroups=varied(population, columns), reference=reference)
    )
    result: list[dict[str, Any]] = []
    for column in columns:
        found = tried.get(column, NotEstimated("absent, or the same for all"))
        if isinstance(found, NotEstimated):
            result.append({"by": column, "rows": [], "note": found.note})
            continue
        rows = [{key: value for key, value in row.items() if key != "p"} for row in records(found.rows)]
        result.append(
            {"by": column, "rows": rows, "interaction": plain(found.interaction), "n": found.n, "note": found.note}
        )
    return result


def not_fitted_on(population: Population, table: StageGroups) -> pd.DataFrame:
    """The patients of those cohorts on which the table of stage-combined groups was not fitted."""
    data = population.patients
    return data[~data["cohort"].isin(table.record["cohorts"])]


def stage_combined(
    population: Population, table: StageGroups | None, horizons_years: tuple[float, ...]
) -> dict[str, Any]:
    """The stage-combined risk groups of the bundle, validated like the classes; missing stage means no group.

    Cohorts that the table was fitted on are left out.

    Args:
        population: the patients.
        table: of the bundle, or None.
        horizons_years: of the survival by group.
    """
    if table is None:
        return {"note": "The bundle holds no table of stage-combined risk groups."}
    judged = not_fitted_on(population, table)
    if judged.empty:
        return {
            "note": f"The table of stage-combined risk groups was fitted on {', '.join(table.record['cohorts'])}, on "
            "these very patients: it can be validated in another cohort alone."
        }
    try:
        data = judged.assign(risk_group=risk_groups(judged, table))
    except InputError as error:
        return {"note": f"{error}."}
    data = data[data["risk_group"] != ""]
    found = [name for name in RISK_GROUPS if name in set(data["risk_group"])]
    if len(found) < 2:
        return {"note": f"Fewer than two risk groups occur; {len(judged) - len(data)} patients have none."}
    grouped = Population(population.role, population.cohort, data, population.pooled)
    order = data["risk_group"].map({name: float(place) for place, name in enumerate(RISK_GROUPS)})
    judgement: JudgedGroups = ANALYSES["stage_groups"].run(
        question_of(
            grouped,
            "risk_group",
            models={"risk_group": model_of(grouped, "risk_group")},
            reference={"risk_group": found[0]},
            scores=(Score("risk_group", "c_classes", np.asarray(order, dtype=np.float64)),),
        )
    )
    concordance = judgement.concordance["risk_group"]
    assert isinstance(concordance, Discrimination), "every patient has a risk group here"
    rows: list[Row] = []
    for name in found:
        values = judgement.curves.by_group[name].curve.at(horizons_years).identified()
        rows += [
            {
                "risk_group": name,
                "years": years,
                "survival": float(values.survival[i]),
                "lower": float(values.lower[i]),
                "upper": float(values.upper[i]),
            }
            for i, years in enumerate(horizons_years)
        ]
    return {
        "note": "",
        "in_sample": table.record["in_sample"],
        "fitted_on": table.record["cohorts"],
        "n": {name: int((data["risk_group"] == name).sum()) for name in RISK_GROUPS},
        "events": {name: int((data["event"][data["risk_group"] == name] == 1).sum()) for name in RISK_GROUPS},
        "n_left_out": len(population.patients) - len(judged),
        "without_group": len(judged) - len(data),
        "hazard_ratios": ratio_rows(judgement.models["risk_group"], "risk_group", found[0]),
        "logrank": logrank_row(judgement.logrank),
        "concordance": plain(concordance.harrell),
        "survival": rows,
        "incidence": incidence_rows(grouped, "risk_group", found, horizons_years),
    }
