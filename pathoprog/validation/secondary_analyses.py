"""Analyses beyond the curves: values at horizons, competing deaths, adjusted ratios, subgroups, calibration."""

from typing import Any

import numpy as np
import pandas as pd

from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.ensemble.stage_groups import RISK_GROUPS, StageGroups, risk_groups
from pathoprog.errors import InputError
from pathoprog.survival import analyses, cox, harrell_c, kaplan_meier
from pathoprog.survival.analyses import Followed
from pathoprog.survival.arrays import FloatArray
from pathoprog.survival.curves.competing import gray_test
from pathoprog.survival.prediction.calibration import Calibration, calibration
from pathoprog.survival.prediction.horizon import CompleteCases, HorizonValues, WeightedValues
from pathoprog.survival.regression.baseline import predict_risk
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.survival.regression.imputation import imputed_cox
from pathoprog.survival.regression.proportional import proportional_hazards
from pathoprog.survival.regression.subgroups import subgroup_analysis
from pathoprog.survival.summary import plain, records
from pathoprog.validation.analyses import hazard_ratios, logrank_test
from pathoprog.validation.populations import Population

Row = dict[str, Any]
GROUPINGS = {"poor against the rest": ("poor",), "the rest against good": ("uncertain", "poor")}
VALUES = ("sensitivity", "specificity", "ppv", "npv")
ESTIMATORS = {
    "kaplan_meier": "Kaplan-Meier",
    "aalen_johansen": "Aalen-Johansen",
    "inverse_weights": "inverse weights",
    "complete_cases": "complete cases",
}
"""In the report's order and words."""
CURVE_POINTS = 200


def _follow_up(patients: pd.DataFrame) -> Followed:
    return Followed(patients["years"].to_numpy(dtype=float), patients["event"].to_numpy(dtype=np.int64))


def horizon_values(population: Population, horizons_years: tuple[float, ...]) -> list[Row]:
    """Sensitivity, specificity, PPV and NPV of both groupings, by every estimator.

    Kaplan-Meier (net values) is primary; Aalen-Johansen lets other deaths compete; inverse censoring weights as a
    check; complete cases only as a note, since they mislead late.
    """
    data, patients = population.patients, _follow_up(population.patients)
    rows: list[Row] = []
    for name, worse in GROUPINGS.items():
        positive = data["risk_class"].isin(worse).to_numpy()
        for years in horizons_years:
            head = {"grouping": name, "years": years}
            try:
                found = analyses.horizon_values(patients, positive, years, competing=True)
            except InputError as error:
                rows.append({**head, "estimator": "", "note": str(error)})
                continue
            rows += [{**head, "estimator": name, **_values_row(found[key])} for key, name in ESTIMATORS.items()]
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


def competing_deaths(population: Population, horizons_years: tuple[float, ...]) -> dict[str, Any]:
    """Cumulative incidence of the event and of other deaths by class, Gray's test, and c with deaths as controls."""
    data = population.patients
    rows: list[Row] = []
    for name in population.classes:
        own = data[data["risk_class"] == name]
        found = analyses.incidences(_follow_up(own), np.array(horizons_years))
        for cause, values in (("event", found["event"]), ("other death", found["competing"])):
            rows += [
                {
                    "risk_class": name,
                    "cause": cause,
                    "years": years,
                    "incidence": float(values.value[i]),
                    "lower": float(values.lower[i]),
                    "upper": float(values.upper[i]),
                    "beyond": bool(values.beyond[i]),
                }
                for i, years in enumerate(horizons_years)
            ]
    try:
        test = plain(gray_test(data["years"], data["event"], data["risk_class"]))
    except InputError as error:
        test = {"statistic": None, "df": 0, "p_value": float("nan"), "note": str(error)}
    controls = harrell_c(data["years"], data["event"], data["one_number"], competing_as_control=True)
    return {"incidence": rows, "gray": test, "c_deaths_as_controls": plain(controls)}


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
    data = population.patients
    known = [name for name in present if data[name].replace("", np.nan).nunique() > 1]
    try:
        fit = cox(data, "years", "event", ["risk_class", *known], {"risk_class": "good"}, population.strata)
        result["complete_cases"] = {"n": fit.n, "events": fit.events, "terms": records(fit.terms)}
        result["proportional_hazards"] = records(proportional_hazards(fit))
        strata = [population.strata] if population.strata else None
        pooled = imputed_cox(data, "years", "event", ["risk_class", *known], {"risk_class": "good"}, strata, seed=seed)
        result["imputed"] = {"n": pooled.n, "imputations": pooled.imputations, "terms": records(pooled.terms)}
    except InputError as error:
        result["note"] = str(error)
    return result


def restricted_means(population: Population, tau_years: float) -> list[Row]:
    """Restricted mean net survival time of each class, and its difference from good, years."""
    data = population.patients
    groups = {name: _follow_up(data[data["risk_class"] == name]) for name in population.classes}
    means, gaps = analyses.restricted_means(groups, tau_years, "good")
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


def subgroups(population: Population, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Hazard ratios of the classes within subgroups, each with its interaction test: the only test among them."""
    data = population.patients
    result: list[dict[str, Any]] = []
    for column in columns:
        if column not in data or data[column].replace("", np.nan).nunique() < 2:
            result.append({"by": column, "rows": [], "note": "absent, or the same for all"})
            continue
        order = [name for name in RISK_CLASSES if name in population.classes]
        strata = None if column == population.strata else population.strata
        reference = {"risk_class": order[0]}
        try:
            found = subgroup_analysis(data, "years", "event", "risk_class", column, reference, strata=strata)
        except InputError as error:
            result.append({"by": column, "rows": [], "note": str(error)})
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
    rows: list[Row] = []
    for name in found:
        own = data[data["risk_group"] == name]
        values = kaplan_meier(own["years"], own["event"]).at(np.array(horizons_years)).identified()
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
        "hazard_ratios": hazard_ratios(grouped, "risk_group", found[0]),
        "logrank": logrank_test(grouped, "risk_group"),
        "concordance": plain(harrell_c(data["years"], data["event"], order)),
        "survival": rows,
    }


def absolute_risk(
    population: Population, source: Population | None, horizons_years: tuple[float, ...]
) -> dict[str, Any]:
    """Calibration of absolute risks, modelled on another cohort that was not selected on outcome.

    The patients on whom the model is fitted are never among those in whom it is judged: of several cohorts together
    the source is left out. Where deaths compete, in either, the risks are those of a Fine-Gray model of the one number
    and what happened is told by Aalen-Johansen (van Geloven et al., BMJ 2022;377:e069249); else of a Cox model, by
    Kaplan-Meier. Beside the absolute risks stand the net ones, Cox and Kaplan-Meier with other deaths censored, and how
    far those are off if they are taken for absolute ones.

    Args:
        population: where the risks are judged.
        source: where the model is fitted (the plan's ``absolute_risk`` cohort), or None.
        horizons_years: of the risks.

    Returns:
        The stated model, in whom it is judged, and per horizon what `pathoprog.report.calibration` draws; ``net`` holds
        the two further comparisons where deaths compete; ``note`` says why there is nothing.

    Raises:
        InputError: the source was selected on outcome, shares its patients with development, or is the population.
    """
    if source is None:
        return {"note": "The plan states no absolute-risk model; a score is no probability, and has no calibration."}
    if source.selected_on_outcome or source.role == "test" or source.key == population.key:
        raise InputError(
            f"absolute_risk: {source.name} cannot give an absolute-risk model for {population.name}; "
            "it must be another external cohort, not selected on outcome"
        )
    fitted_on = source.patients
    data = population.patients
    judged = data[~data["patient_id"].isin(fitted_on["patient_id"])]
    if judged.empty:
        return {"note": f"All patients of {population.phrase} are those of {source.name}, on whom the model is fitted."}
    competing = bool((fitted_on["event"] == 2).any() or (judged["event"] == 2).any())
    try:
        net = cox(fitted_on, "years", "event", ["one_number"])
        absolute = fine_gray(fitted_on, "years", "event", ["one_number"]) if competing else None
    except InputError as error:
        return {"note": f"No absolute-risk model can be fitted on {source.name}: {error}."}
    matrix = judged[["one_number"]].to_numpy(dtype=float)
    parts: list[dict[str, Any]] = []
    for years in horizons_years:
        short = [
            name for name, own in ((source.name, fitted_on), ("who is judged", judged)) if years > own["years"].max()
        ]
        if short:
            parts.append({"years": years, "note": f"{' and '.join(short)}: not followed for {years:g} years"})
            continue
        net_risk = predict_risk(net, matrix, years)
        risk = net_risk if absolute is None else absolute.predict(judged, years)
        try:
            parts.append({"years": years, "note": "", **_calibrated(judged, risk, net_risk, years, competing)})
        except InputError as error:
            parts.append({"years": years, "note": str(error)})
    deaths = f", {int((fitted_on['event'] == 2).sum())} competing deaths" if competing else ""
    kind = "Fine-Gray model of the one number (other deaths compete)" if competing else "Cox model of the one number"
    left_out = len(data) - len(judged)
    return {
        "note": "",
        "model": f"{kind}, fitted on {source.name} ({net.n} patients, {net.events} events{deaths})",
        "competing": competing,
        "source": source.cohort,
        "n_judged": len(judged),
        "n_left_out": left_out,
        "coefficient": float(net.coef[0]) if absolute is None else float(absolute.terms["coef"].iloc[0]),
        "horizons": parts,
    }


def _calibrated(
    judged: pd.DataFrame, risk: FloatArray, net_risk: FloatArray, years: float, competing: bool
) -> dict[str, Any]:
    time, event = judged["years"], judged["event"]
    found = calibration(time, event, risk, years, competing, n_groups=5)
    order = np.argsort(risk)[np.linspace(0, len(risk) - 1, min(CURVE_POINTS, len(risk))).astype(int)]
    result: dict[str, Any] = {
        "calibration": _without_curve(found),
        "calibration_curve": {"predicted": risk[order].tolist(), "observed": found.curve[order].tolist()},
    }
    if competing:
        result["net"] = {
            "net": _without_curve(calibration(time, event, net_risk, years, False, n_groups=5)),
            "net_taken_for_absolute": _without_curve(calibration(time, event, net_risk, years, True, n_groups=5)),
        }
    return result


def _without_curve(found: Calibration) -> dict[str, Any]:
    return {key: value for key, value in plain(found).items() if key != "curve"}
