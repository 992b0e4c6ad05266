"""Cox regression on a table: hazard ratios against reference levels, with limits, tests and honest notes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc, ndtr, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, checked, groups_of
from pathoprog.survival.curves.rank_tests import HypothesisTest
from pathoprog.survival.regression.design import Design, build_design, complete_rows
from pathoprog.survival.regression.partial_likelihood import Maximum, RiskSets, maximise, risk_sets

TERM_COLUMNS = (
    "term",
    "level",
    "reference",
    "n",
    "events",
    "coef",
    "se",
    "z",
    "p",
    "hr",
    "lower",
    "upper",
    "note",
)


@dataclass(frozen=True)
class CoxFit:
    """A fitted Cox model.

    Attributes:
        terms: one row for each column of the design: ``term, level, reference, n, events`` (of the level; of all for
            numeric ones), ``coef, se, z, p, hr, lower, upper, note``. What cannot be estimated is nan, and `note`
            says why; a hazard ratio without a finite maximum is 0 or infinite.
        n: patients in the fit.
        events: events in the fit.
        n_missing: rows left out for missing values.
        loglik_null: log partial likelihood with all coefficients 0.
        loglik: the same at the maximum.
        likelihood_ratio: test of all coefficients together.
        wald: the same as Wald test, of the finite ones.
        score: the same as score test.
        aic: -2 loglik + 2 df.
        ties: ``efron`` or ``breslow``.
        notes: what a reader must know.
        design: the design of the rows in the fit.
        time: their follow-up (n,).
        event: True for events (n,).
        strata: index of their stratum, or None (n,).
        strata_levels: names of the strata.
        sets: their order for the partial likelihood.
        maximum: coefficients, covariance and the evaluation at the maximum.
        rows: which rows of the table are in the fit.
    """

    terms: pd.DataFrame
    n: int
    events: int
    n_missing: int
    loglik_null: float
    loglik: float
    likelihood_ratio: HypothesisTest
    wald: HypothesisTest
    score: HypothesisTest
    aic: float
    ties: str
    notes: tuple[str, ...]
    design: Design
    time: FloatArray
    event: npt.NDArray[np.bool_]
    strata: IntArray | None
    strata_levels: tuple[str, ...]
    sets: RiskSets
    maximum: Maximum
    rows: npt.NDArray[np.bool_]

    @property
    def coef(self) -> FloatArray:
        """Coefficients (p,), nan where aliased."""
        return self.maximum.beta

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the coefficients (p, p)."""
        return self.maximum.covariance

    @property
    def linear_predictor(self) -> FloatArray:
        """X beta of the patients in the fit, not centred (n,)."""
        # row by row in one order of summation: equal patients get equal bits, which ties in the c-index need
        return np.asarray((self.design.matrix * np.nan_to_num(self.coef)).sum(axis=1))


def cox(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariates: list[str],
    reference: dict[str, str] | None = None,
    strata: str | list[str] | None = None,
    categorical: list[str] | None = None,
    ties: str = "efron",
    level: float = 0.95,
) -> CoxFit:
    """Fit a Cox model by Newton's method.

    Cox, J R Stat Soc B 1972;34:187; ties: Efron, J Am Stat Assoc 1977;72:557. Competing deaths (code 2) are censored:
    hazard ratios are cause-specific. Rows with a missing covariate or stratum are left out and counted.

    Args:
        frame: one row a patient.
        time: column of the follow-up.
        event: column of the event code: 1 the event; 0 and 2 censored.
        covariates: columns; text, categories and booleans get one term for each level but the reference.
        reference: reference level of categorical covariates; numeric ones named here become categorical.
        strata: column, or columns, whose combinations have baselines of their own.
        categorical: numeric columns to take as categories.
        ties: ``efron`` or ``breslow``.
        level: confidence level of the limits.

    Raises:
        InputError: a column is absent or has one value only, a category has too many levels, there are fewer events
            than terms, or codes and times are not sound.
    """
    if ties not in ("efron", "breslow"):
        raise InputError(f"ties={ties!r}: must be efron or breslow")
    blocks = [strata] if isinstance(strata, str) else list(strata or [])
    if not covariates:
        raise InputError("a Cox model needs at least one covariate")
    rows = complete_rows(frame, [*covariates, *blocks])
    complete = frame.loc[rows]
    times, codes = checked(complete[time], complete[event])
    died = codes == EVENT
    if not died.any():
        raise InputError(f"no events among the {len(complete)} complete rows: no hazard ratio can be estimated")
    design = build_design(complete, covariates, reference, categorical)
    if len(design.columns) > died.sum():
        raise InputError(
            f"{len(design.columns)} terms for {int(died.sum())} events: leave covariates out, or group their levels"
        )
    strata_levels, place = _strata(complete, blocks)
    sets = risk_sets(times, died, place, ties)
    maximum = maximise(design.matrix, sets)
    terms, notes = _terms(design, maximum, died, level)
    df = int((~maximum.aliased).sum())
    loglik_null, loglik = maximum.start.loglik, maximum.end.loglik
    kept = np.flatnonzero(~maximum.aliased & ~maximum.infinite)  # an infinite ratio has no Wald test
    beta = maximum.beta[kept]
    spread = maximum.covariance[np.ix_(kept, kept)]
    wald = float(beta @ np.linalg.pinv(spread, hermitian=True) @ beta) if kept.size else 0.0
    n_missing = int((~rows).sum())
    if n_missing:
        notes.insert(0, f"{n_missing} of {len(frame)} rows left out: a covariate is missing (complete cases)")
    return CoxFit(
        terms,
        len(complete),
        int(died.sum()),
        n_missing,
        loglik_null,
        loglik,
        _chi_squared(2 * (loglik - loglik_null), df),
        _chi_squared(wald, int(kept.size)),
        _chi_squared(maximum.score_statistic, df),
        -2 * loglik + 2 * df,
        ties,
        tuple(notes),
        design,
        times,
        died,
        place,
        strata_levels,
        sets,
        maximum,
        rows,
    )


def _strata(frame: pd.DataFrame, blocks: list[str]) -> tuple[tuple[str, ...], IntArray | None]:
    if not blocks:
        return (), None
    label = np.array(["" for _ in range(len(frame))], dtype=object)
    for name in blocks:
        levels, place = groups_of(frame[name], len(frame))
        label = label + np.array([f"{', ' if label[0] else ''}{name}={level}" for level in levels], dtype=object)[place]
    names, index = groups_of(label, len(frame))
    return tuple(names), index


def _chi_squared(statistic: float, df: int) -> HypothesisTest:
    return HypothesisTest(statistic, df, float(chdtrc(df, statistic)) if df else float("nan"))


def _terms(
    design: Design, maximum: Maximum, died: npt.NDArray[np.bool_], level: float
) -> tuple[pd.DataFrame, list[str]]:
    """The table of terms, and notes on what could not be estimated."""
    z_limit = float(ndtri((1 + level) / 2))
    notes: list[str] = []
    rows: list[tuple[Any, ...]] = []
    for index, column in enumerate(design.columns):
        coef = float(maximum.beta[index])
        variance = float(maximum.covariance[index, index])
        se = float(np.sqrt(variance)) if variance > 0 else float("nan")
        mine = design.matrix[:, index] != 0 if column.level else np.ones(died.size, dtype=bool)
        n, events = int(mine.sum()), int(died[mine].sum())
        note = ""
        if maximum.aliased[index]:
            constant = bool((design.matrix[:, index] == design.matrix[0, index]).all())
            note = f"not estimable: {'it has one value only' if constant else 'determined by the other terms'}"
        elif maximum.infinite[index]:
            note = _why_infinite(design, index, died)
            coef, se = float(np.copysign(np.inf, coef)), float("nan")
        if note:
            notes.append(f"{column.name}: {note}")
        z = coef / se if np.isfinite(coef) else float("nan")
        with np.errstate(over="ignore"):  # a tiny unit makes a huge ratio
            ratios = np.exp([coef, coef - z_limit * se, coef + z_limit * se]).tolist()
        rows.append(
            (
                column.term,
                column.level,
                column.reference,
                n,
                events,
                coef,
                se,
                z,
                float(2 * ndtr(-abs(z))),
                *ratios,
                note,
            )
        )
    return pd.DataFrame(rows, columns=list(TERM_COLUMNS)), notes


def _why_infinite(design: Design, index: int, died: npt.NDArray[np.bool_]) -> str:
    column = design.columns[index]
    if column.level:
        if not died[design.matrix[:, index] != 0].any():
            return "no events at this level, so no finite hazard ratio; see the log-rank test"
        mine = [i for i, other in enumerate(design.columns) if other.term == column.term]
        if not died[(design.matrix[:, mine] == 0).all(axis=1)].any():
            return f"no events at the reference level {column.reference!r}; choose another reference"
    return "no finite hazard ratio: the covariates separate the events from the rest"
