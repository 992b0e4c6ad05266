"""The analyses of one population, each a list of rows with full precision. What cannot be estimated says why."""

import math
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.errors import InputError
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.survival import cox, followup_time, harrell_c, kaplan_meier, logrank, number_at_risk
from pathoprog.validation.populations import Population

Row = dict[str, Any]


def curve_years(population: Population) -> list[float]:
    """Times of tables and axes, years: every year, or every second one where follow-up exceeds nine years."""
    longest = float(population.patients["years"].max())
    step = 1 if longest <= 9 else 2
    return [float(year) for year in range(0, max(math.floor(longest), 1) + 1, step)]


def survival_table(population: Population) -> list[Row]:
    """Kaplan-Meier survival and numbers at risk of each class at whole years; competing deaths censored (net).

    Survival is NaN after the class's last follow-up.
    """
    years = curve_years(population)
    rows: list[Row] = []
    for name in population.classes:
        own = population.patients[population.patients["risk_class"] == name]
        curve = kaplan_meier(own["followup_days"], own["event"]).at(np.array(years) * YEAR_DAYS).identified()
        at_risk = number_at_risk(own["followup_days"], own["event"], np.array(years) * YEAR_DAYS)
        rows += [
            {
                "risk_class": name,
                "year": year,
                "n_risk": int(at_risk.n_risk[i]),
                "events_until_next": int(at_risk.n_event[i]),
                "survival": float(curve.survival[i]),
                "lower": float(curve.lower[i]),
                "upper": float(curve.upper[i]),
            }
            for i, year in enumerate(years)
        ]
    return rows


def survival_at(population: Population, name: str, years: float) -> Row:
    """Survival of one class at one time, with its interval; NaN beyond the class's follow-up."""
    own = population.patients[population.patients["risk_class"] == name]
    empty = {"survival": math.nan, "lower": math.nan, "upper": math.nan}
    if own.empty:
        return empty
    values = kaplan_meier(own["followup_days"], own["event"]).at([years * YEAR_DAYS]).identified()
    return {key: float(getattr(values, key)[0]) for key in empty}


def follow_up(population: Population) -> Row:
    """Follow-up by reverse Kaplan-Meier with its interval, years."""
    data = population.patients
    median, lower, upper = followup_time(data["years"], data["event"])
    return {"median": median, "lower": lower, "upper": upper}


def logrank_test(population: Population, column: str = "risk_class") -> Row:
    """Log-rank test over the groups of a column, stratified by cohort where pooled."""
    data = population.patients
    strata = data[population.strata] if population.strata else None
    try:
        test = logrank(data["followup_days"], data["event"], data[column], strata)
    except InputError as error:
        return {"statistic": math.nan, "df": 0, "p": math.nan, "note": str(error)}
    return {"statistic": test.statistic, "df": test.df, "p": test.p_value, "note": ""}


def hazard_ratios(population: Population, column: str, reference: str, more: tuple[str, ...] = ()) -> list[Row]:
    """Cox hazard ratios (Efron ties) of a column's levels against the reference, stratified by cohort where pooled.

    Args:
        population: the patients.
        column: of the groups.
        reference: its reference level.
        more: further covariates; patients in whom one is missing are left out (complete cases).
    """
    try:
        fit = cox(
            population.patients,
            "followup_days",
            "event",
            [column, *more],
            reference={column: reference},
            strata=population.strata,
        )
    except InputError as error:
        return [{"term": column, "level": "", "reference": reference, "note": str(error)}]
    keep = ["term", "level", "reference", "n", "events", "coef", "se", "hr", "lower", "upper", "p", "note"]
    return [{str(key): value for key, value in row.items()} for row in fit.terms[keep].to_dict("records")]


def contrast(population: Population, worse: str, better: str) -> Row:
    """One class against another: hazard ratio and two-group log-rank test, the third class left aside."""
    data = population.patients
    two = Population(
        population.role, population.cohort, data[data["risk_class"].isin((worse, better))], population.pooled
    )
    ratio = next(
        (row for row in hazard_ratios(population, "risk_class", better) if row.get("level") == worse),
        {"note": f"no patient is {worse} or {better}"},
    )
    test = logrank_test(two)
    return {
        "worse": worse,
        "better": better,
        **{key: ratio.get(key, math.nan) for key in ("hr", "lower", "upper", "p")},
        "logrank_statistic": test["statistic"],
        "logrank_p": test["p"],
        "note": ratio.get("note", "") or test["note"],
    }


def groupings(population: Population) -> list[Row]:
    """Both ways to make two groups of three: *uncertain* is never dropped."""
    rows = []
    for name, worse, others in (("poor against the rest", "poor", ""), ("the rest against good", "", "good")):
        label = "poor" if worse else "not good"
        reference = "not poor" if worse else "good"
        data = population.patients.copy()
        is_worse = data["risk_class"] == worse if worse else data["risk_class"] != others
        data["grouping"] = np.where(is_worse, label, reference)
        both = Population(population.role, population.cohort, data, population.pooled)
        ratio = hazard_ratios(both, "grouping", reference)[0]
        test = logrank_test(both, "grouping")
        rows.append(
            {
                "grouping": name,
                "n_worse": int(is_worse.sum()),
                "n_better": int((~is_worse).sum()),
                **{key: ratio.get(key, math.nan) for key in ("hr", "lower", "upper", "p")},
                "logrank_p": test["p"],
                "note": ratio.get("note", ""),
            }
        )
    return rows


def concordances(population: Population, members: pd.DataFrame | None) -> list[Row]:
    """Harrell's c of the one number, the three classes, each resolution, and each single member.

    Competing deaths count as censored at death: such a patient is a control for events before it.

    Args:
        population: the patients.
        members: ``patient_id, role, resolution, member, score``, or None where not known.
    """
    data = population.patients
    scores: list[tuple[str, str, str, pd.Series]] = [
        ("ensemble", "c_index", "", data["one_number"]),
        ("three classes", "c_classes", "", data["class_order"]),
    ]
    scores += [(f"{name} ensemble", "c_resolutions", name, data[f"score_{name}"]) for name in RESOLUTIONS]
    rows = [_c_row(data, label, analysis, resolution, values) for label, analysis, resolution, values in scores]
    if members is None:
        return rows
    own = members[(members["role"] == population.role) & members["patient_id"].isin(data["patient_id"])]
    for (resolution, member), group in own.groupby(["resolution", "member"], sort=True):
        values = data["patient_id"].map(group.set_index("patient_id")["score"])
        known = values.notna()
        rows.append(_c_row(data[known], str(member), "c_members", str(resolution), values[known]))
    return rows


def _c_row(data: pd.DataFrame, label: str, analysis: str, resolution: str, values: pd.Series) -> Row:
    c = harrell_c(data["followup_days"], data["event"], values)
    return {
        "score": label,
        "analysis": analysis,
        "resolution": resolution,
        "n": len(data),
        "events": int((data["event"] == 1).sum()),
        "c": c.value,
        "se": c.se,
        "lower": c.lower,
        "upper": c.upper,
    }


def true_hazard(population: Population, truth: pd.DataFrame) -> list[Row]:
    """Of a simulation: c of the true hazard, and how far the ensemble gets from 0.5 to it.

    Args:
        population: the patients.
        truth: ``patient_id, log_hazard``.
    """
    data = population.patients
    known = data["patient_id"].map(truth.drop_duplicates("patient_id").set_index("patient_id")["log_hazard"])
    if known.isna().any():
        raise InputError(f"truth: {int(known.isna().sum())} of {len(data)} patients of {population.name} are not in it")
    best = _c_row(data, "true hazard", "true_hazard", "", known)
    reached = _c_row(data, "ensemble", "c_index", "", data["one_number"])
    way = (reached["c"] - 0.5) / (best["c"] - 0.5) if best["c"] > 0.5 else math.nan
    return [{**best, "share_of_way": 1.0}, {**reached, "share_of_way": way}]


def class_counts(population: Population) -> dict[str, int]:
    """Number of patients in each class."""
    return {name: int((population.patients["risk_class"] == name).sum()) for name in RISK_CLASSES}
