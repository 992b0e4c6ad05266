"""Subgroups: one hazard ratio in each, and the interaction test that says whether they differ."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from pathoprog.cohort_tables.columns import check_levels
from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, groups_of, level_names
from pathoprog.survival.curves.rank_tests import HypothesisTest
from pathoprog.survival.regression.cox_model import CoxFit, cox
from pathoprog.survival.regression.design import complete_rows, is_categorical


@dataclass(frozen=True)
class Subgroups:
    """Hazard ratios of one covariate by the levels of another.

    Attributes:
        by: the covariate that makes the subgroups.
        rows: ``by, subgroup, n, events`` (of all its rows), ``level, reference``, rows and events of these two
            (``n_level, events_level, n_reference, events_reference``), ``hr, lower, upper, p, note``.
        interaction: likelihood ratio test in all patients of the interaction with the subgroups as they are shown
            (levels, halves): the only test that compares subgroups.
        n: patients in it.
        note: why there is no test, or which subgroups are not in it; else empty.
    """

    by: str
    rows: pd.DataFrame
    interaction: HypothesisTest
    n: int
    note: str


def interaction_test(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariate: str,
    by: str,
    adjust: list[str] | None = None,
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
    strata: str | None = None,
    entry: str = "",
    weight: str = "",
    patient: str = "",
) -> tuple[HypothesisTest, int]:
    """Likelihood ratio test of covariate x by in a Cox model with both main effects.

    Numeric covariates enter as they are, categorical ones by their levels. Products without patients are aliased and
    take no degree of freedom. Where the variance is robust (`cox`), it is the Wald test of the products.

    Returns:
        The test and the number of complete rows.
    """
    others = list(adjust or [])
    blocks = [strata] if strata else []
    observed = [name for name in (entry, weight, patient) if name]
    rows = complete_rows(frame, [covariate, by, *others, *blocks])
    table = frame.loc[rows].copy()
    chosen, forced = dict(reference or {}), list(categorical or [])
    main = cox(
        table,
        time,
        event,
        [covariate, by, *others],
        chosen,
        strata,
        forced,
        entry=entry,
        weight=weight,
        patient=patient,
    )
    wide = table[[time, event, *blocks, *observed]].copy()
    names = []
    for index in range(len(main.design.columns)):
        name = f"x{index}"
        wide[name] = main.design.matrix[:, index]
        names.append(name)
    first = [i for i, column in enumerate(main.design.columns) if column.term == covariate]
    second = [i for i, column in enumerate(main.design.columns) if column.term == by]
    products = []
    for i in first:
        for j in second:
            name = f"x{i}_{j}"
            values = main.design.matrix[:, i] * main.design.matrix[:, j]
            wide[name] = values
            products.append(name)
    full = cox(wide, time, event, [*names, *products], None, strata, entry=entry, weight=weight, patient=patient)
    if full.cluster is not None:
        return full.wald_of(list(range(len(names), len(names) + len(products)))), main.n
    df = int((~full.maximum.aliased).sum() - (~main.maximum.aliased).sum())
    statistic = max(2 * (full.loglik - main.loglik), 0.0)
    return HypothesisTest(statistic, df, float(chdtrc(df, statistic)) if df else float("nan")), main.n


def subgroup_analysis(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariate: str,
    by: str,
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
    strata: str | None = None,
    entry: str = "",
    weight: str = "",
    patient: str = "",
) -> Subgroups:
    """Hazard ratios of `covariate` within each level of `by`, and the interaction test.

    Without p-values to compare between subgroups: Wang et al., N Engl J Med 2007;357:2189.

    Args:
        frame: one row a patient.
        time: column of the follow-up.
        event: column of the event code.
        covariate: whose hazard ratio is shown.
        by: categorical covariate, or a number with at most ten values; other numbers are split at their median.
        reference: reference levels.
        categorical: numeric columns to take as categories.
        strata: column whose levels have baselines of their own, in subgroups and test; None where it is `by`.
        entry: as in `cox`, as `weight` and `patient`.
        weight: column of case weights.
        patient: column of the patient.
    """
    if covariate == by:
        raise InputError(f"subgroups of {covariate!r} by itself")
    table = frame.loc[complete_rows(frame, [covariate, by])]
    label, order = _subgroup_labels(table[by], by in (categorical or []) or by in (reference or {}))
    names, place = groups_of(label, len(table), order)
    how = {"entry": entry, "weight": weight, "patient": patient}
    check_levels(f"subgroups of {by}", len(names), len(table))
    shown = table.assign(**{by: pd.Categorical(np.array(names)[place], names)})  # the test is of what the rows show
    rows = []
    for index, name in enumerate(names):
        inside = table.loc[place == index]
        rows += _within(inside, time, event, covariate, by, name, reference, categorical, strata, how)
    test, n, note = HypothesisTest(float("nan"), 0, float("nan")), len(table), ""
    # Without an event a subgroup has no hazard ratio to compare: in the model its own baseline falls to nothing, and
    # its product would take a degree of freedom for no information.
    eventful = [index for index in range(len(names)) if ((table[event] == EVENT) & (place == index)).any()]
    if len(eventful) < len(names):
        silent = [name for index, name in enumerate(names) if index not in eventful]
        note = f"no event in {by} {', '.join(silent)}: not in the test of interaction"
        shown = shown.loc[np.isin(place, eventful)]
    try:
        if len(eventful) < min(2, len(names)):
            raise InputError(f"fewer than two subgroups of {by} have an event: nothing to compare")
        chosen = {name: level for name, level in (reference or {}).items() if name != by}
        test, n = interaction_test(
            shown, time, event, covariate, by, None, chosen, categorical, strata, entry, weight, patient
        )
    except InputError as error:
        note = str(error)
    return Subgroups(by, pd.DataFrame(rows), test, n, note)


def _subgroup_labels(values: "pd.Series[Any]", forced: bool) -> tuple["pd.Series[Any]", list[str] | None]:
    """Labels of the subgroups, and their order where it is not the natural one; numbers are split at their median."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values, [str(level) for level in level_names(values.cat.categories)]
    if is_categorical(values, forced) or values.nunique() <= 10:
        return values, None
    middle = float(values.median())
    halves = [f"up to {middle:g}", f"above {middle:g}"]
    return pd.Series(np.where(values <= middle, *halves), index=values.index), halves


def _within(
    inside: pd.DataFrame,
    time: str,
    event: str,
    covariate: str,
    by: str,
    name: str,
    reference: dict[str, str] | None,
    categorical: list[str] | None,
    strata: str | None,
    how: dict[str, str],
) -> list[dict[str, object]]:
    head = {"by": by, "subgroup": name, "n": len(inside), "events": int((inside[event] == EVENT).sum())}
    counts = dict.fromkeys(("n_level", "events_level", "n_reference", "events_reference"), 0)
    nothing = {"level": "", "reference": "", **counts, "hr": np.nan, "lower": np.nan, "upper": np.nan, "p": np.nan}
    try:
        fit: CoxFit = cox(
            inside,
            time,
            event,
            [covariate],
            reference,
            strata,
            categorical,
            entry=how["entry"],
            weight=how["weight"],
            patient=how["patient"],
        )
    except InputError as error:
        return [{**head, **nothing, "note": str(error)}]
    label, died = level_names(inside[covariate]), (inside[event] == EVENT).to_numpy()
    found = []
    for row in fit.terms.to_dict("records"):
        sides: dict[str, object] = {"level": row["level"], "reference": row["reference"]}
        for side in ("level", "reference"):  # a number has no levels: all rows stand on one side
            mine = label == row[side] if row["level"] else np.full(len(label), side == "level")
            sides |= {f"n_{side}": int(mine.sum()), f"events_{side}": int((mine & died).sum())}
        found.append({**head, **sides, **{key: row[key] for key in ("hr", "lower", "upper", "p", "note")}})
    return found
