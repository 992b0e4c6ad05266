"""Ratios that change with time: proportional hazards, ratios in pieces of follow-up, landmarks, restricted means."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, level_names
from pathoprog.survival.curves.rank_tests import HypothesisTest, logrank
from pathoprog.survival.question import Model, NotEstimated, Question
from pathoprog.survival.regression.cox_model import CoxFit, cox
from pathoprog.survival.regression.design import build_design, complete_rows
from pathoprog.survival.regression.proportional import proportional_hazards
from pathoprog.survival.regression.pseudo_mean import AdjustedMeans, adjusted_means
from pathoprog.survival.table import CODE, TIME


@dataclass(frozen=True)
class PiecewiseRatios:
    """Hazard ratios in pieces of the follow-up.

    Attributes:
        cuts: where pieces end; an event at a cut belongs to the piece before.
        rows: ``piece, start, stop`` (nan: the end of follow-up), ``level, reference, n`` (followed into it), ``events,
            coef, se, hr, lower, upper, p, note``.
        constant: likelihood ratio test that the ratios are the same in all pieces.
        loglik: of the model.
    """

    cuts: tuple[float, ...]
    rows: pd.DataFrame
    constant: HypothesisTest
    loglik: float


def split_at(
    frame: pd.DataFrame, time: str, event: str, cuts: tuple[float, ...]
) -> tuple[pd.DataFrame, FloatArray, FloatArray]:
    """Each row cut into pieces of follow-up (start, stop]: the rows, where each starts, and the number of its piece.

    The event stays with the last piece; `time` is where a piece ends.

    Raises:
        InputError: cuts that do not rise, or are not above 0.
    """
    if not cuts or any(cut <= 0 for cut in cuts) or list(cuts) != sorted(set(cuts)):
        raise InputError(f"cuts {', '.join(f'{cut:g}' for cut in cuts) or '(none)'} must be above 0 and rise")
    edges = [0.0, *cuts, float("inf")]
    parts = []
    for k, (start, stop) in enumerate(pairwise(edges)):
        here = frame[frame[time] > start] if k else frame
        ends = here[time] <= stop
        piece = here.copy()
        piece[time], piece[event] = here[time].clip(upper=stop), np.where(ends, here[event], 0)
        piece[START], piece[PIECE] = start, k
        parts.append(piece)
    whole = pd.concat(parts, ignore_index=True)
    return whole, whole[START].to_numpy(dtype=float), whole[PIECE].to_numpy(dtype=float)


START, PIECE = "\0start", "\0piece"


def piecewise_ratios(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariate: str,
    cuts: tuple[float, ...],
    adjust: list[str] | None = None,
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
    strata: str | None = None,
    ties: str = "efron",
) -> PiecewiseRatios:
    """Cox model in which the covariate has a ratio of its own in each piece of the follow-up.

    Step functions of time (Therneau, Crowson and Atkinson, Using time dependent covariates, vignette of R's survival):
    rows are cut at `cuts` (`survSplit`), each piece a row under delayed entry. Other covariates have one ratio.

    Args:
        frame: one row a patient.
        time: column of the follow-up.
        event: column of the event code.
        covariate: whose ratio may change.
        cuts: where it may, rising.
        adjust: other covariates.
        reference: reference levels.
        categorical: numeric columns to take as categories.
        strata: column whose levels have baselines of their own.
        ties: ``efron`` or ``breslow``.

    Raises:
        InputError: as `cox`, or cuts that do not rise.
    """
    extra = [strata] if strata else []
    rows = complete_rows(frame, [covariate, *(adjust or []), *extra])
    data = frame.loc[rows].reset_index(drop=True)
    design = build_design(data, [covariate, *(adjust or [])], reference, categorical)
    wide = data[[time, event, *extra]].copy()
    mine: list[int] = []
    others: list[int] = []
    for k, column in enumerate(design.columns):
        wide[f"x{k}"] = design.matrix[:, k]
        (mine if column.term == covariate else others).append(k)
    constant = cox(wide, time, event, [f"x{k}" for k in (*mine, *others)], None, strata, ties=ties)
    cut, _, piece = split_at(wide, time, event, cuts)
    names = []
    for part in range(len(cuts) + 1):
        for k in mine:
            cut[f"x{k} in {part}"] = np.where(piece == part, cut[f"x{k}"], 0.0)
            names.append((part, k, f"x{k} in {part}"))
    fit = cox(
        cut, time, event, [name for *_, name in names] + [f"x{k}" for k in others], None, strata, ties=ties, entry=START
    )
    edges = [0.0, *cuts, float("nan")]
    found = []
    for row, (part, k, _) in enumerate(names):
        term = fit.terms.iloc[row]
        column = design.columns[k]
        inside = cut[PIECE] == part
        events = int((cut.loc[inside, event] == EVENT).sum())
        said = {} if events else {"note": "no event in this piece, so no ratio"}
        found.append(
            {
                "piece": part + 1,
                "start": edges[part],
                "stop": edges[part + 1],
                "level": column.level,
                "reference": column.reference,
                "n": int(inside.sum()),
                "events": events,
                **{key: term[key] for key in ("coef", "se", "hr", "lower", "upper", "p", "note")},
                **said,
            }
        )
    df = int((~fit.maximum.aliased).sum() - (~constant.maximum.aliased).sum())
    statistic = max(2 * (fit.loglik - constant.loglik), 0.0)
    test = HypothesisTest(statistic, df, float(chdtrc(df, statistic)) if df else float("nan"))
    return PiecewiseRatios(tuple(cuts), pd.DataFrame(found), test, fit.loglik)


@dataclass(frozen=True)
class Landmark:
    """Those still followed and event-free at a landmark, from there on.

    Attributes:
        time: the landmark.
        n: patients followed beyond it.
        events: events after it.
        terms: hazard ratios of the group after it, as `CoxFit.terms`; no rows where there are none.
        logrank: log-rank test after it.
        note: why there is no ratio; else empty.
    """

    time: float
    n: int
    events: int
    terms: pd.DataFrame
    logrank: HypothesisTest
    note: str


@dataclass(frozen=True)
class EffectsOverTime:
    """What is told of a ratio that may change with time.

    Attributes:
        proportional: test of proportional hazards of the group's terms, ``level, statistic, df, p`` and ``GLOBAL``; of
            the model that the ratio comes from.
        piecewise: ratios in pieces; None where no cuts are asked for.
        landmarks: from each landmark on.
        rmst: difference of restricted means to `tau`, not adjusted.
        rmst_adjusted: adjusted for the covariates; None where there are none.
    """

    proportional: pd.DataFrame | NotEstimated
    piecewise: PiecewiseRatios | NotEstimated | None
    landmarks: list[Landmark]
    rmst: AdjustedMeans | NotEstimated
    rmst_adjusted: AdjustedMeans | NotEstimated | None


def effects_over_time(q: Question) -> EffectsOverTime:
    """Proportional hazards of the group, its ratio in pieces and from landmarks on, differences of restricted means.

    Landmarks: Anderson, Cain and Gelber, J Clin Oncol 1983;1:710. Models are stratified by cohort where pooled.

    Raises:
        InputError: there are no groups.
    """
    if not q.group or len(q.levels) < 2:
        raise InputError("effects over time are those of two groups or more")
    strata = q.within or None
    fit = q.tried(Model((q.group,), (q.within,) if q.within else ()))
    proportional: pd.DataFrame | NotEstimated = NotEstimated(fit.note) if isinstance(fit, NotEstimated) else _zph(fit)
    piecewise: PiecewiseRatios | NotEstimated | None = None
    reference = q.reference_of((q.group,))
    if q.cuts:
        try:
            piecewise = piecewise_ratios(
                q.frame, TIME, CODE, q.group, q.cuts, None, reference, list(q.categorical), strata, q.ties
            )
        except InputError as error:
            piecewise = NotEstimated(str(error))
    covariates = tuple(name for name in (q.adjusted.covariates if q.adjusted else ()) if name != q.group)
    return EffectsOverTime(
        proportional,
        piecewise,
        [_landmark(q, when, strata) for when in q.landmarks],
        _means(q, (), strata),
        _means(q, covariates, strata) if covariates else None,
    )


def _zph(fit: CoxFit) -> pd.DataFrame:
    return proportional_hazards(fit, by_term=False)


def _means(q: Question, covariates: tuple[str, ...], strata: str | None) -> AdjustedMeans | NotEstimated:
    reference = q.reference_of((q.group, *covariates))
    forced = [name for name in q.categorical if name in covariates]
    try:
        return adjusted_means(q.frame, TIME, CODE, q.group, list(covariates), q.tau, reference, forced, strata)
    except InputError as error:
        return NotEstimated(str(error))


def _landmark(q: Question, when: float, strata: str | None) -> Landmark:
    later = q.frame[(q.frame[TIME] > when) & q.known].reset_index(drop=True)
    after = later.assign(**{TIME: later[TIME] - when})
    events = int((after[CODE] == EVENT).sum()) if len(after) else 0
    none, nothing = HypothesisTest(float("nan"), 0, float("nan")), pd.DataFrame()
    try:
        if not len(after):
            raise InputError("nobody was followed so long")
        blocks = level_names(after[strata]) if strata else None
        test = logrank(after[TIME], after[CODE], after[q.group], blocks)
        fit = cox(after, TIME, CODE, [q.group], q.reference_of((q.group,)), strata, list(q.categorical), q.ties)
    except InputError as error:
        return Landmark(when, len(after), events, nothing, none, str(error))
    return Landmark(when, len(after), events, fit.terms, HypothesisTest(test.statistic, test.df, test.p_value), "")
