"""Whether the cohort has what the plan's further analyses need, before any outcome is opened."""

from collections.abc import Collection

import pandas as pd

from pathoprog.ensemble.stage_groups import COLUMNS
from pathoprog.errors import InputError
from pathoprog.survival.arrays import level_names
from pathoprog.validation.covariates import NO_COVARIATES
from pathoprog.validation.plan import AnalysisPlan, PlannedTreatment

INSIDE = {"risk_group": (*(name for name in COLUMNS if name != "risk_class"), "stage")}
"""Covariates that are a part of what is judged (METHOD section 4): it cannot add to what it holds."""


def used_covariates(plan: AnalysisPlan) -> tuple[str, ...]:
    """Every covariate of the plan's models."""
    adjust = plan.treatment.adjust if plan.treatment else ()
    return tuple(dict.fromkeys((*plan.covariates, *plan.added_value, *adjust)))


def check_asked(table: pd.DataFrame, plan: AnalysisPlan, inside: Collection[str] = ()) -> None:
    """The columns that further analyses of the plan need are there, before any outcome is opened.

    Args:
        table: the cohort, one row a slide.
        plan: the analysis plan.
        inside: covariates that the bundle's own model holds (`ensemble.clinical`).

    Raises:
        InputError: a column that is absent, an id, an outcome or a score; added value over a covariate that is inside.
    """
    for name in plan.sites:
        if name in NO_COVARIATES:
            raise InputError(f"the plan's sites: {name} is an id, an outcome or a score, and names no site")
        if name not in table:
            there = ", ".join(one for one in table.columns if one not in NO_COVARIATES)
            raise InputError(f"the plan's sites name a column that the cohort lacks: {name}; there are {there}")
    for name in plan.added_value:
        if name not in table:
            raise InputError(f"the plan's added_value names a column that the cohort lacks: {name}")
        if name in inside:
            raise InputError(
                f"the plan's added_value: {name} is inside the bundle, whose Cox model over its number and covariates"
                " was fitted with it: what it adds to itself cannot be asked; leave it out, or score with a bundle of"
                " the same members that was locked without covariates"
            )
        if same := next((one for one in inside if one in table and _tells_the_same(table, name, one)), ""):
            raise InputError(
                f"the plan's added_value: {name} holds the same as {same}, which is inside the bundle (its Cox model"
                " over its number and covariates): what it adds to itself cannot be asked; leave it out"
            )
        if name in INSIDE.get(plan.added_value_of, ()):
            raise InputError(
                f"the plan's added_value: {name} is a part of {plan.added_value_of}, which is fitted on it and cannot "
                "add to it; judge risk_class over it, or leave it out"
            )
    if plan.treatment is not None:
        two_values(table, plan.treatment)


def _tells_the_same(table: pd.DataFrame, name: str, other: str) -> bool:
    """Whether each value of one column stands for one of the other, wherever both are known: another spelling."""
    pairs = table.drop_duplicates("patient_id")[[name, other]].astype(str)
    pairs = pairs[(pairs != "").all(axis=1) & (pairs != "nan").all(axis=1)].drop_duplicates()
    return len(pairs) > 1 and not pairs[name].duplicated().any() and not pairs[other].duplicated().any()


def two_values(table: pd.DataFrame, planned: PlannedTreatment) -> str:
    """The value of those with the treatment.

    Raises:
        InputError: no such column, not two values, or none of them is the control.
    """
    if planned.column not in table or planned.column in NO_COVARIATES:
        raise InputError(f"the plan's treatment names a column that the cohort lacks: {planned.column}")
    levels = sorted(set(level_names(table[planned.column]).tolist()) - {""})
    if len(levels) != 2 or planned.control not in levels:
        raise InputError(
            f"the plan's treatment: {planned.column} must have two values, one of them {planned.control!r}; it has "
            f"{', '.join(map(repr, levels[:6]))}"
        )
    return next(str(level) for level in levels if level != planned.control)
