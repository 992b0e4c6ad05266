"""Treatment by group: its hazard ratio within each group, the ratio of these ratios, and the absolute benefit."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc, ndtr, ndtri, stdtrit

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, IntArray, groups_of, level_names
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import kaplan_meier, limits_of_difference
from pathoprog.survival.curves.rank_tests import HypothesisTest
from pathoprog.survival.prediction.accuracy import NOTHING, Estimate
from pathoprog.survival.prediction.censoring import followed_to
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.regression.baseline import survival_gained
from pathoprog.survival.regression.cox_model import CoxFit, cox
from pathoprog.survival.regression.design import build_design, complete_rows
from pathoprog.survival.regression.information import quadratic
from pathoprog.survival.table import CODE, TIME
from pathoprog.text.numbers import Z_95

NO_INTERACTION_FROM_ONE_RATIO = (
    "A ratio within one group alone shows no interaction, however small it is and whatever its p-value: whether groups "
    "differ in the effect is what the ratio of the ratios says, with its interval, and the interaction test."
)


@dataclass(frozen=True)
class EffectByGroup:
    """One column's effect within each group, from one model with a main effect of the groups.

    Attributes:
        n: rows in the model.
        events: events.
        within: ``group, n, events, hr, lower, upper, note``; no p-value to be compared between groups.
        ratios: ``group, reference, ratio, lower, upper, p`` of each group's hazard ratio to the reference group's.
        interaction: test that all are equal: likelihood ratio, Wald where the variance is robust.
        adjusted_for: covariates in the model.
        notes: of the model.
    """

    n: int
    events: int
    within: pd.DataFrame
    ratios: pd.DataFrame
    interaction: HypothesisTest
    adjusted_for: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Parts:
    """The two models, with and without interaction, and where each group's effect stands."""

    full: CoxFit
    plain: CoxFit
    effects: list[int]
    levels: list[str]
    place: IntArray
    wide: pd.DataFrame


def effect_by_group(
    frame: pd.DataFrame,
    time: str,
    event: str,
    effect: str,
    group: str,
    levels: list[str] | None = None,
    adjust: list[str] | None = None,
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
    strata: str | None = None,
    ties: str = "efron",
    entry: str = "",
    weight: str = "",
    patient: str = "",
    level: float = 0.95,
) -> EffectByGroup:
    """Cox model of groups, the effect in each, and covariates: hazard ratios within groups and their ratios.

    Ratios of hazard ratios: Altman and Bland, BMJ 2003;326:219, here from one model's covariance.

    Args:
        frame: one row a patient.
        time: column of the follow-up.
        event: column of the event code.
        effect: numeric column (0 and 1 for a treatment; a dose is per unit).
        group: column of the groups.
        levels: their order; the first is the reference of the ratios.
        adjust: covariates.
        reference: reference levels of categorical covariates.
        categorical: numeric covariates to take as categories.
        strata: column whose levels have baselines of their own.
        ties: ``efron`` or ``breslow``.
        entry: as in `cox`, as `weight` and `patient`.
        weight: column of case weights.
        patient: column of the patient.
        level: confidence level.

    Raises:
        InputError: as `cox`, or fewer than two groups.
    """
    how = (ties, entry, weight, patient)
    parts = _fitted(frame, time, event, effect, group, levels, adjust, reference, categorical, strata, how)
    full, z = parts.full, float(ndtri((1 + level) / 2))
    rows, ratios = [], []
    effect_values = parts.wide["effect"].to_numpy(dtype=float)
    for k, (name, column) in enumerate(zip(parts.levels, parts.effects, strict=True)):
        mine = parts.place == k
        term = full.terms.iloc[column]
        note = str(term["note"])
        both = effect_values[mine]
        if np.unique(both).size < 2:
            note = note or "all or none had it"
        rows.append(
            {
                "group": name,
                "n": int(mine.sum()),
                "events": int(full.event[mine].sum()),
                **{key: float(term[key]) for key in ("hr", "lower", "upper")},
                "note": note,
            }
        )
        if k == 0:
            continue
        first = parts.effects[0]
        spread = full.covariance
        variance = float(spread[column, column] + spread[first, first] - 2 * spread[column, first])
        gap = float(full.coef[column] - full.coef[first])
        se = float(np.sqrt(variance)) if variance > 0 else float("nan")
        bad = bool(full.maximum.infinite[[column, first]].any() or full.maximum.aliased[[column, first]].any())
        gap, se = (float("nan"), float("nan")) if bad else (gap, se)
        values = np.exp([gap, gap - z * se, gap + z * se]).tolist()
        ratios.append((name, parts.levels[0], *values, float(2 * ndtr(-abs(gap) / se))))
    if full.cluster is not None:
        test = _equal_effects(full, parts.effects)
    else:
        df = int((~full.maximum.aliased).sum() - (~parts.plain.maximum.aliased).sum())
        statistic = max(2 * (full.loglik - parts.plain.loglik), 0.0)
        test = HypothesisTest(statistic, df, float(chdtrc(df, statistic)) if df else float("nan"))
    table = pd.DataFrame(ratios, columns=["group", "reference", "ratio", "lower", "upper", "p"])
    return EffectByGroup(full.n, full.events, pd.DataFrame(rows), table, test, tuple(adjust or ()), full.notes)


def _fitted(
    frame: pd.DataFrame,
    time: str,
    event: str,
    effect: str,
    group: str,
    levels: list[str] | None,
    adjust: list[str] | None,
    reference: dict[str, str] | None,
    categorical: list[str] | None,
    strata: str | None,
    how: tuple[str, str, str, str],
) -> _Parts:
    ties, entry, weight, patient = how
    extra = [name for name in (strata, entry, weight, patient) if name]
    rows = complete_rows(frame, [effect, group, *(adjust or []), *extra])
    data = frame.loc[rows]
    if not len(data):
        raise InputError(f"no row has {effect}, {group} and all covariates")
    names, place = groups_of(data[group], len(data), levels)
    if len(names) < 2:
        raise InputError(f"{group}: one level only ({names[0]!r}), nothing to compare")
    wide = data[[time, event, *extra]].copy()
    wide["effect"] = data[effect].to_numpy(dtype=float)
    mains, products = [], []
    for k, name in enumerate(names):
        mine = (place == k).astype(float)
        if k:
            wide[f"group {name}"] = mine
            mains.append(f"group {name}")
        wide[f"effect in {name}"] = wide["effect"] * mine
        products.append(f"effect in {name}")
    covariates = []
    if adjust:
        design = build_design(data, adjust, reference, categorical)
        for k, column in enumerate(design.columns):
            wide[f"covariate {column.name}"] = design.matrix[:, k]
            covariates.append(f"covariate {column.name}")
    options: dict[str, Any] = {"ties": ties, "entry": entry, "weight": weight, "patient": patient}
    full = cox(wide, time, event, [*mains, *products, *covariates], None, strata, **options)
    plain = cox(wide, time, event, [*mains, "effect", *covariates], None, strata, **options)
    first = len(mains)
    return _Parts(full, plain, list(range(first, first + len(names))), names, place, wide)


def _equal_effects(fit: CoxFit, effects: list[int]) -> HypothesisTest:
    """Wald test that these coefficients are equal; those without a finite estimate are left out."""
    kept = [k for k in effects if not fit.maximum.aliased[k] and not fit.maximum.infinite[k]]
    if len(kept) < 2:
        return HypothesisTest(float("nan"), 0, float("nan"))
    contrast = np.zeros((len(kept) - 1, len(fit.coef)))
    contrast[:, kept[0]] = -1
    contrast[np.arange(len(kept) - 1), kept[1:]] = 1
    gap = contrast @ np.nan_to_num(fit.coef)
    spread = contrast @ np.nan_to_num(fit.covariance) @ contrast.T
    statistic = quadratic(gap, spread) if fit.cluster is None or fit.patients >= len(kept) else float("nan")
    return HypothesisTest(statistic, len(kept) - 1, float(chdtrc(len(kept) - 1, statistic)))


@dataclass(frozen=True)
class Benefit:
    """Absolute benefit in one group at one horizon.

    Attributes:
        group: the group.
        horizon: the time.
        n: patients without and with the treatment.
        survival: net survival without and with it, Kaplan-Meier.
        difference: with less without it; above 0 is a benefit.
        incidence: cumulative incidence without less with it, where deaths compete; else nan.
        standardised: net survival with less without it, had all of the group had it or not, by the adjusted model;
            nan where there is none.
        note: why there is no figure; else empty.
    """

    group: str
    horizon: float
    n: tuple[int, int]
    survival: tuple[float, float]
    difference: Estimate
    incidence: Estimate
    standardised: Estimate
    note: str


@dataclass(frozen=True)
class TreatmentByGroup:
    """Everything of a treatment by group.

    Attributes:
        column: of the treatment.
        control: its value without.
        treated: its value with.
        randomised: as declared.
        word: ``effect`` where randomised, else ``association``.
        n_missing: rows without group or treatment.
        unadjusted: ratios without covariates.
        adjusted: with them; None where none are named.
        benefits: by group and horizon.
        note: what a ratio within a group does not show.
    """

    column: str
    control: str
    treated: str
    randomised: bool
    word: str
    n_missing: int
    unadjusted: EffectByGroup | NotEstimated
    adjusted: EffectByGroup | NotEstimated | None
    benefits: list[Benefit]
    note: str = NO_INTERACTION_FROM_ONE_RATIO


def treatment_by_group(q: Question) -> TreatmentByGroup:
    """Hazard ratio of treatment within each group, ratio of ratios, interaction test, absolute benefit at horizons.

    Raises:
        InputError: no treatment is asked for, or its values are none of the two declared.
    """
    if q.treatment is None or not q.group:
        raise InputError("treatment by group takes a treatment and a group")
    asked = q.treatment
    label = level_names(q.frame[asked.column])
    other = sorted(set(label.tolist()) - {"", asked.control, asked.treated})
    if other:
        raise InputError(
            f"{asked.column}: {', '.join(map(repr, other))} is neither {asked.control} nor {asked.treated}"
        )
    there = q.known & (label != "")
    treated = (label == asked.treated).astype(float)
    if not (treated[there] > 0).any() or not (treated[there] == 0).any():
        raise InputError(f"{asked.column}: all patients are {asked.treated if treated[there].any() else asked.control}")
    order = list(q.levels)
    if q.group in q.reference:
        order = [q.reference[q.group], *(level for level in order if level != q.reference[q.group])]
    frame = q.frame.loc[there].assign(**{TREATED: treated[there]}).reset_index(drop=True)
    now = replace(q, frame=frame)

    def effect(adjust: tuple[str, ...]) -> EffectByGroup | NotEstimated:
        try:
            return effect_by_group(
                frame, TIME, CODE, TREATED, q.group, order, list(adjust), q.reference_of(adjust),
                list(q.categorical), q.within or None, q.ties, q.entry, q.weight, q.patient,
            )  # fmt: skip
        except InputError as error:
            return NotEstimated(str(error))

    standardised = _standardised(now, order) if asked.adjust else {}
    benefits = [
        _benefit(now, level, horizon, standardised.get((level, horizon), NOTHING))
        for horizon in q.horizons
        for level in order
    ]
    return TreatmentByGroup(
        asked.column,
        asked.control,
        asked.treated,
        asked.randomised,
        "effect" if asked.randomised else "association",
        int((~there).sum()),
        effect(()),
        effect(asked.adjust) if asked.adjust else None,
        benefits,
    )


TREATED = "\0treated"


def _benefit(q: Question, group: str, horizon: float, standardised: Estimate) -> Benefit:
    label = level_names(q.frame[q.group])
    treated = q.frame[TREATED].to_numpy(dtype=float) > 0
    sides = [(label == group) & (treated == side) for side in (False, True)]
    counts = (int(sides[0].sum()), int(sides[1].sum()))
    nothing = (float("nan"), float("nan"))
    net = np.where(q.event == EVENT, 1, 0)
    for mine in sides:
        if not mine.any() or not followed_to(q.time[mine], net[mine], horizon):
            why = "nobody here with and without it" if not min(counts) else "not followed to the horizon"
            return Benefit(group, horizon, counts, nothing, NOTHING, NOTHING, standardised, why)
    control, with_it = (kaplan_meier(q.time[mine], net[mine]) for mine in sides)
    read = [control.at(horizon), with_it.at(horizon)]
    survival = (float(read[0].survival[0]), float(read[1].survival[0]))
    spread = [float(np.nan_to_num(one.std_err[0])) for one in read]
    incidence = NOTHING
    if q.competing and (q.event == 2).any():
        both = [cumulative_incidence(q.time[mine], q.event[mine]).at(horizon) for mine in sides]
        gap = float(both[0].value[0] - both[1].value[0])
        incidence = _within(gap, float(np.hypot(both[0].std_err[0], both[1].std_err[0])))
    se, limits = float(np.hypot(spread[0], spread[1])), limits_of_difference(control, with_it, horizon)
    difference = Estimate(survival[1] - survival[0], se, *limits)
    return Benefit(group, horizon, counts, survival, difference, incidence, standardised, "")


def _within(value: float, se: float, z: float = Z_95) -> Estimate:
    return Estimate(value, se, max(value - z * se, -1.0), min(value + z * se, 1.0))


def _standardised(q: Question, order: list[str]) -> dict[tuple[str, float], Estimate]:
    """Survival gained by group and horizon had all been treated, by the adjusted model (`survival_gained`).

    Standard error by the infinitesimal jackknife, each cohort's size taken as given where they are pooled. Limits by t
    of events less terms, and the variance times events / (events - terms): as MacKinnon and White, J Econom
    1985;29:305, for sandwich variances, with events for rows (project default); without it they are too narrow where
    events are few.
    """
    assert q.treatment is not None
    adjust = q.treatment.adjust
    try:
        parts = _fitted(
            q.frame, TIME, CODE, TREATED, q.group, order, list(adjust), q.reference_of(adjust), list(q.categorical),
            q.within or None, (q.ties, "", "", ""),
        )  # fmt: skip
    except InputError:
        return {}
    fit = parts.full
    if fit.maximum.infinite.any():
        return {}
    sides = [fit.design.matrix.copy() for _ in range(2)]
    for side, matrix in enumerate(sides):
        for k, column in enumerate(parts.effects):
            matrix[:, column] = side * (parts.place == k)
    cohort = np.zeros(fit.n, dtype=np.int64) if fit.strata is None else fit.strata
    size = np.bincount(cohort)
    left = fit.events - int((~fit.maximum.aliased).sum())
    wider = float(stdtrit(left, 0.975) * np.sqrt(fit.events / left)) if left > 0 else float("nan")
    found = {}
    for horizon in q.horizons:
        if horizon > float(fit.time.max()):
            continue
        gained = survival_gained(fit, sides[0], sides[1], parts.place, len(parts.levels), horizon)
        for k, level in enumerate(parts.levels):
            if fit.maximum.aliased[parts.effects[k]]:
                continue  # all or none of the group had it
            mean = np.bincount(cohort, weights=gained.influence[:, k]) / size
            away = (gained.influence[:, k] - mean[cohort]) ** 2
            se = float(np.sqrt((away * (size / np.maximum(size - 1, 1))[cohort]).sum()))
            found[level, horizon] = _within(float(gained.value[k]), se, wider)
    return found
