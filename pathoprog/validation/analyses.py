"""The analyses of one population, each a list of rows with full precision. What cannot be estimated says why."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.by_group import GroupCurves, GroupTests, MedianFollowUp, RankTests
from pathoprog.survival.prediction.concordance import Concordance
from pathoprog.survival.prediction.scores import Discrimination
from pathoprog.survival.question import NotEstimated, Score
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.models import TwoGroups
from pathoprog.validation.populations import Population
from pathoprog.validation.question import (
    groupings_of,
    model_of,
    one_number,
    question_of,
    scores_of,
    true_hazard_of,
)

Row = dict[str, Any]


def curve_years(population: Population) -> list[float]:
    """Times of tables and axes, years: every year, or every second one where follow-up exceeds nine years."""
    longest = float(population.patients["years"].max())
    step = 1 if longest <= 9 else 2
    return [float(year) for year in range(0, max(math.floor(longest), 1) + 1, step)]


def class_curves(population: Population) -> GroupCurves:
    """Kaplan-Meier of each class, with the numbers at risk at `curve_years`; competing deaths censored (net)."""
    found: GroupCurves = ANALYSES["kaplan_meier"].run(
        question_of(population, columns=np.array(curve_years(population)))
    )
    return found


def survival_table(population: Population) -> list[Row]:
    """Kaplan-Meier survival and numbers at risk of each class at whole years; competing deaths censored (net).

    Survival is NaN after the class's last follow-up.
    """
    years = curve_years(population)
    curves = class_curves(population).by_group
    rows: list[Row] = []
    for name in population.classes:
        curve, at_risk = curves[name].curve.at(years).identified(), curves[name].at_risk
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


def survival_at(curves: GroupCurves, name: str, years: float) -> Row:
    """Survival of one class at one time, with its interval; NaN beyond the class's follow-up."""
    empty = {"survival": math.nan, "lower": math.nan, "upper": math.nan}
    if name not in curves.by_group:
        return empty
    values = curves.by_group[name].curve.at([years]).identified()
    return {key: float(getattr(values, key)[0]) for key in empty}


def follow_up(population: Population) -> Row:
    """Follow-up by reverse Kaplan-Meier with its interval, years."""
    found: MedianFollowUp = ANALYSES["followup"].run(question_of(population))
    return vars(found)


def logrank_test(population: Population, column: str = "risk_class") -> Row:
    """Log-rank test over the groups of a column, stratified by cohort where pooled."""
    try:
        found: GroupTests = ANALYSES["logrank"].run(question_of(population, column))
    except InputError as error:
        return {"statistic": math.nan, "df": 0, "p": math.nan, "note": str(error)}
    return logrank_row(found.plain)


def logrank_row(found: RankTests) -> Row:
    """A log-rank test as it stands in statistics.json."""
    test = found.logrank
    return {"statistic": test.statistic, "df": test.df, "p": test.p_value, "note": ""}


def hazard_ratios(population: Population, column: str, reference: str) -> list[Row]:
    """Cox hazard ratios (Efron ties) of a column's levels against the reference, stratified by cohort where pooled.

    Args:
        population: the patients.
        column: of the groups.
        reference: its reference level.
    """
    models = {column: model_of(population, column)}
    question = question_of(population, column, models=models, reference={column: reference})
    fits: dict[str, CoxFit | NotEstimated] = ANALYSES["hazard_ratios"].run(question)
    return ratio_rows(fits[column], column, reference)


def ratio_rows(fit: CoxFit | NotEstimated, column: str, reference: str) -> list[Row]:
    """A model's ratios as they stand in statistics.json, or one row that says why there are none."""
    if isinstance(fit, NotEstimated):
        return [{"term": column, "level": "", "reference": reference, "note": fit.note}]
    keep = ["term", "level", "reference", "n", "events", "coef", "se", "hr", "lower", "upper", "p", "note"]
    return [{str(key): value for key, value in row.items()} for row in fit.terms[keep].to_dict("records")]


def contrast(population: Population, worse: str, better: str) -> Row:
    """One class against another: hazard ratio and log-rank test of the same patients, the third class left aside."""
    data = population.patients
    own = data[data["risk_class"].isin((worse, better))].reset_index(drop=True)
    two = replace(population, patients=own)
    absent = [{"note": f"no patient is {worse} or {better}"}]
    rows = hazard_ratios(two, "risk_class", better) if set(own["risk_class"]) == {worse, better} else absent
    ratio = next((row for row in rows if row.get("level") == worse), rows[0])
    test = logrank_test(two)
    return {
        "worse": worse,
        "better": better,
        "n": len(own),
        "events": two.events,
        **{key: ratio.get(key, math.nan) for key in ("hr", "lower", "upper", "p")},
        "logrank_statistic": test["statistic"],
        "logrank_p": test["p"],
        "note": ratio.get("note", "") or test["note"],
    }


def groupings(population: Population) -> list[Row]:
    """All ways to make two groups of the classes: *uncertain* is never dropped."""
    asked = groupings_of(population)
    found: dict[str, TwoGroups] = ANALYSES["groupings"].run(question_of(population, groupings=asked))
    rows = []
    for grouping in asked:
        two = found[grouping.name]
        ratio = ratio_rows(two.model, "grouping", grouping.rest)[0]
        rows.append(
            {
                "grouping": grouping.name,
                "n_worse": two.n_positive,
                "n_better": two.n_rest,
                **{key: ratio.get(key, math.nan) for key in ("hr", "lower", "upper", "p")},
                "logrank_p": two.logrank.p_value,
                "note": ratio.get("note", ""),
            }
        )
    return rows


CONCORDANCES = ("c_index", "c_classes", "c_resolutions", "c_members")
"""The analyses that are a concordance of scores known here."""


def concordances(
    population: Population, members: pd.DataFrame | None, analyses: tuple[str, ...] = CONCORDANCES
) -> list[Row]:
    """Harrell's c of the one number, the classes, each resolution where there are two, and each single member.

    Competing deaths count as censored at death: such a patient is a control for events before it.

    Args:
        population: the patients.
        members: ``patient_id, role, resolution, member, score``, or None where not known.
        analyses: of which the rows are.
    """
    named = scores_of(population, members)
    question = question_of(population, scores=tuple(score for _, _, score in named))
    rows = []
    for analysis in analyses:
        found: dict[str, Discrimination | Concordance | NotEstimated] = ANALYSES[analysis].run(question)
        rows += [
            _c_row(population, label, resolution, score, found[score.name])
            for label, resolution, score in named
            if score.analysis == analysis
        ]
    return rows


def _c_row(
    population: Population,
    label: str,
    resolution: str,
    score: Score,
    found: Discrimination | Concordance | NotEstimated,
) -> Row:
    if isinstance(found, NotEstimated):
        raise InputError(f"{label}: {found.note}")
    c = found.harrell if isinstance(found, Discrimination) else found
    there = np.isfinite(score.values)
    return {
        "score": label,
        "analysis": score.analysis,
        "resolution": resolution,
        "n": int(there.sum()),
        "events": int((population.patients["event"][there] == 1).sum()),
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
    scores = {"true hazard": true_hazard_of(population, truth), "ensemble": one_number(population)}
    question = question_of(population, scores=tuple(scores.values()))
    best, reached = (
        _c_row(population, label, "", score, ANALYSES[score.analysis].run(question)[score.name])
        for label, score in scores.items()
    )
    way = (reached["c"] - 0.5) / (best["c"] - 0.5) if best["c"] > 0.5 else math.nan
    return [{**best, "share_of_way": 1.0}, {**reached, "share_of_way": way}]


def class_counts(population: Population) -> dict[str, int]:
    """Number of patients in each class."""
    return {name: int((population.patients["risk_class"] == name).sum()) for name in population.possible_classes}
