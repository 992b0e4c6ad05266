"""Cox's partial likelihood over arrays, with Efron's or Breslow's ties: value, score, information, Newton's method.

Letters: n patients, p columns, m events, k distinct (stratum, event time) pairs. Patients are sorted by stratum, then
by time from last to first, so that every risk set is a running sum.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import FloatArray, IntArray
from pathoprog.survival.regression.covered import Cover, covered
from pathoprog.survival.regression.information import finite_inverse, vanished

MAX_STEPS = 100
SMALLEST_PART = 1e-9  # of a Newton step, before it is given up
NOISE = 1e-12  # rounding of the likelihood, relative
FLAT = 1e-13  # a change of the likelihood that is none
ALIAS_TOLERANCE = 1e-10
SILENT = 1e-12  # of a column's second moment over the risk sets, what rounding leaves of a variance that is 0
LOWEST = -600.0  # of a log hazard below the highest: keeps every risk set's sum above 0


@dataclass(frozen=True)
class RiskSets:
    """The order of patients and events that every evaluation shares.

    Attributes:
        order: positions of the patients, sorted by stratum and falling time (n,).
        event: True for events, sorted (n,).
        dead_rows: positions of the events among the sorted patients (m,).
        last: for each event row, the last sorted patient of its risk set (m,).
        tie: for each event row, the number of its tie, k in all (m,).
        tie_start: first event row of each tie (k,).
        fraction: l/d for the l-th of d tied events; all 0 for Breslow's ties (m,).
        first_dead: for each sorted patient, the first event row it is at risk for, counted among events (n,).
        block: stratum of each sorted patient, 0, 1, … (n,).
        starts: where each stratum starts among the sorted patients, and n (b + 1,).
        dead_starts: where each stratum starts among the event rows, and m (b + 1,).
        cover: under delayed entry, which risk sets each sorted patient is in; None where all were there from the start.
        weight: case weight of each sorted patient, or None where all are 1 (n,).
        pull: under case weights, the mean weight of the events tied with each event row, else None (m,).
    """

    order: IntArray
    event: npt.NDArray[np.bool_]
    dead_rows: IntArray
    last: IntArray
    tie: IntArray
    tie_start: IntArray
    fraction: FloatArray
    first_dead: IntArray
    block: IntArray
    starts: IntArray
    dead_starts: IntArray
    cover: Cover | None = None
    weight: FloatArray | None = None
    pull: FloatArray | None = None

    def weighted(self, hazard: FloatArray) -> FloatArray:
        """Times the case weight of the event rows (m,)."""
        return hazard if self.pull is None else hazard * self.pull

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums of values of sorted patients (n, …) over the risk set of each event row (m, …)."""
        if self.cover is None:
            return _running(values, self.starts)[self.last]
        return self.cover.sums(values)[self.tie]


def risk_sets(
    time: FloatArray,
    event: npt.NDArray[np.bool_],
    strata: IntArray | None = None,
    ties: str = "efron",
    entry: FloatArray | None = None,
    weight: FloatArray | None = None,
) -> RiskSets:
    """Sort patients for the partial likelihood; those of one time are at risk for all its events.

    Args:
        time: follow-up (n,).
        event: True for events (n,).
        strata: index of each one's stratum (n,).
        ties: ``efron`` or ``breslow``.
        entry: when each came under observation: at risk is entry < t <= T (n,); None: from the start.
        weight: case weights (n,); None: all 1.
    """
    n = time.size
    blocks = np.zeros(n, dtype=np.int64) if strata is None else strata
    order = np.lexsort((event, -time, blocks))
    t, d, b = time[order], event[order], blocks[order]
    new_block = np.concatenate(([True], np.diff(b) != 0))
    new_time = new_block | np.concatenate(([True], np.diff(t) != 0))
    time_id, block = np.cumsum(new_time) - 1, np.cumsum(new_block) - 1
    time_stop = np.append(np.flatnonzero(new_time)[1:], n)
    starts = np.append(np.flatnonzero(new_block), n)
    dead = np.flatnonzero(d)
    count = np.bincount(time_id[dead], minlength=time_stop.size)  # events at each time
    first = np.cumsum(count) - count
    rank = np.arange(dead.size) - first[time_id[dead]]
    tied = count[count > 0]
    cover = pull = None
    if entry is not None:
        dead_time = t[dead]
        tie_start = np.cumsum(tied) - tied
        cover = covered(t, entry[order], block, dead_time[tie_start], block[dead[tie_start]])
    if weight is not None:
        number = np.repeat(np.arange(tied.size), tied)
        pull = (np.bincount(number, weights=weight[order][dead], minlength=tied.size) / np.maximum(tied, 1))[number]
    return RiskSets(
        order,
        d,
        dead,
        time_stop[time_id[dead]] - 1,
        np.repeat(np.arange(tied.size), tied),
        np.cumsum(tied) - tied,
        rank / count[time_id[dead]] if ties == "efron" else np.zeros(dead.size),
        first[time_id],
        block,
        starts,
        np.concatenate(([0], np.cumsum(d)))[starts],
        cover,
        None if weight is None else weight[order],
        pull,
    )


@dataclass(frozen=True)
class Evaluation:
    """The log partial likelihood at one beta, its score (p,), information (p, p), and what they were made of.

    Attributes:
        loglik: log partial likelihood.
        score: gradient (p,).
        information: minus the Hessian (p, p).
        hazard: Efron's (or Breslow's) share of the baseline hazard of each event row, times exp(shift) (m,); under case
            weights the mean weight of the tied events stands in its numerator, as in R.
        means: weighted covariate mean of each event row's risk set (m, p).
        weight: exp(x beta - shift) of each sorted patient, times its case weight (n,).
        shift: the highest x beta of each one's stratum (n,).
        compensator: expected events of each sorted patient (n,).
    """

    loglik: float
    score: FloatArray
    information: FloatArray
    hazard: FloatArray
    means: FloatArray
    weight: FloatArray
    shift: FloatArray
    compensator: FloatArray


def evaluate(x: FloatArray, sets: RiskSets, beta: FloatArray) -> Evaluation:
    """Evaluate the partial likelihood.

    Efron, J Am Stat Assoc 1977;72:557; Breslow, Biometrics 1974;30:89. The information is X'diag(w c)X - M'M with the
    compensator w c of each patient and the risk sets' means M, so no (n, p, p) array is ever made.

    Args:
        x: covariates of the sorted patients, centred (n, p).
        sets: their order.
        beta: coefficients (p,).
    """
    eta = x @ beta
    shift = np.maximum.reduceat(eta, sets.starts[:-1])[sets.block]  # each stratum's highest: its sums keep their digits
    weight = np.exp(np.maximum(eta - shift, LOWEST))
    if sets.weight is not None:
        weight = weight * sets.weight
    wx = weight[:, None] * x
    f = sets.fraction
    dead_w, dead_wx = weight[sets.dead_rows], wx[sets.dead_rows]
    denominator = sets.sums(weight) - f * tie_sums(dead_w, sets)
    sums = sets.sums(wx) - f[:, None] * tie_sums(dead_wx, sets)
    hazard = 1 / denominator
    means = sums * hazard[:, None]
    if sets.weight is None or sets.pull is None:
        compensator = weight * exposed(hazard, sets)
        loglik = float((eta - shift)[sets.dead_rows].sum() - np.log(denominator).sum())
        score = x.T @ (sets.event - compensator)
        information = x.T @ (compensator[:, None] * x) - means.T @ means
    else:
        hazard = sets.weighted(hazard)
        compensator = weight * exposed(hazard, sets)
        own = sets.weight[sets.dead_rows]
        loglik = float(own @ (eta - shift)[sets.dead_rows] - sets.pull @ np.log(denominator))
        score = x.T @ (sets.event * sets.weight - compensator)
        information = x.T @ (compensator[:, None] * x) - means.T @ (sets.pull[:, None] * means)
    return Evaluation(loglik, score, information, hazard, means, weight, shift, compensator)


def _running(values: FloatArray, starts: IntArray) -> FloatArray:
    """Running sums, anew in each stratum: no differences, so small sums keep their digits beside large ones."""
    sums = np.empty_like(values)
    for start, stop in pairwise(starts):
        np.cumsum(values[start:stop], axis=0, out=sums[start:stop])
    return sums


def tie_sums(values: FloatArray, sets: RiskSets) -> FloatArray:
    """Sum over the events tied with each event row."""
    if not sets.tie.size:
        return values
    return np.asarray(np.add.reduceat(values, sets.tie_start, axis=0)[sets.tie])


def exposed(hazard: FloatArray, sets: RiskSets) -> FloatArray:
    """Hazard that each sorted patient was exposed to, from the event rows' shares (m, …); ties count by fraction."""
    if sets.cover is not None:
        ties = np.add.reduceat(hazard, sets.tie_start, axis=0) if hazard.size else hazard
        exposure = sets.cover.exposure(ties)
        exposure[sets.dead_rows] -= tie_sums(_times(hazard, sets.fraction), sets)
        return exposure
    backwards = _running(hazard[::-1], (len(hazard) - sets.dead_starts)[::-1])[::-1]
    none_left = sets.first_dead >= sets.dead_starts[1:][sets.block]
    if hazard.ndim > 1:
        beyond = np.concatenate((backwards, np.zeros((1, *hazard.shape[1:]))))
        exposure = np.where(none_left[:, None], 0.0, beyond[sets.first_dead])
    else:
        exposure = np.where(none_left, 0.0, np.append(backwards, 0.0)[sets.first_dead])
    exposure[sets.dead_rows] -= tie_sums(_times(hazard, sets.fraction), sets)
    return exposure


def _times(values: FloatArray, factor: FloatArray) -> FloatArray:
    return np.asarray(factor[:, None] * values if values.ndim > 1 else factor * values)


def score_residuals(x: FloatArray, sets: RiskSets, at: Evaluation, g: FloatArray | None = None) -> FloatArray:
    """Each sorted patient's part in the score, case weight included (n, p); of x g(t) where g is given (m,).

    The martingale integral of x - mean(t), with Efron's ties: Therneau and Grambsch, Modeling Survival Data, 2000,
    section 4.6, and Efron's fractions as R's `residuals.coxph(type = "score")`: tied events share their means evenly.

    Args:
        x: covariates of the sorted patients (n, p).
        sets: their order.
        at: the evaluation at the maximum.
        g: a function of time at each event row, the same for ties (m,).
    """
    count = np.bincount(sets.tie)[sets.tie] if sets.tie.size else np.ones(0)
    one = np.ones(sets.dead_rows.size) if g is None else g
    own = one[:, None] * (x[sets.dead_rows] - tie_sums(at.means, sets) / count[:, None])
    if sets.weight is not None:
        own = own * sets.weight[sets.dead_rows][:, None]
    hazard = at.hazard * one
    drift = at.weight[:, None] * (x * exposed(hazard, sets)[:, None] - exposed(hazard[:, None] * at.means, sets))
    residual = -drift
    residual[sets.dead_rows] += own
    return residual


def weighted_information(x: FloatArray, sets: RiskSets, at: Evaluation, g: FloatArray) -> FloatArray:
    """Sum over event rows of g times the covariance of their risk set (p, p); g = 1 gives `at.information`."""
    exposure = at.weight * exposed(at.hazard * g, sets)
    pull = sets.weighted(g)
    return np.asarray(x.T @ (exposure[:, None] * x) - at.means.T @ (pull[:, None] * at.means))


@dataclass(frozen=True)
class Maximum:
    """Where Newton's method ended.

    Attributes:
        beta: coefficients (p,); nan where a column is aliased; drifting towards infinity where `infinite`.
        covariance: inverse information (p, p), see `finite_inverse`; nan rows where aliased or infinite.
        aliased: columns that earlier ones determine, or that do not vary (p,).
        silent: columns in which those at risk at an event never differ (p,): aliased, too.
        infinite: columns whose likelihood has no maximum (p,).
        z: the columns as they were fitted: kept ones, centred, scaled, patients sorted (n, q).
        kept: their positions among all columns (q,).
        scale: their scale (q,).
        inverse: the inverse information in these columns, directions without a maximum left out (q, q).
        start: the evaluation at beta = 0.
        end: the evaluation at the maximum.
        score_statistic: Rao's score statistic at beta = 0.
        steps: Newton steps taken.
    """

    beta: FloatArray
    covariance: FloatArray
    aliased: npt.NDArray[np.bool_]
    silent: npt.NDArray[np.bool_]
    infinite: npt.NDArray[np.bool_]
    z: FloatArray
    kept: IntArray
    scale: FloatArray
    inverse: FloatArray
    start: Evaluation
    end: Evaluation
    score_statistic: float
    steps: int


def maximise(x: FloatArray, sets: RiskSets) -> Maximum:
    """Maximise the partial likelihood by Newton's method with step halving, to the last digits of a double.

    Columns are centred and scaled inside, so units do not matter. A column that earlier ones determine is left out
    (aliased). Where the likelihood only rises towards infinity (no events at a level), the coefficient stops where
    the likelihood no longer changes, and the column is marked infinite.

    Args:
        x: covariates of the n patients, in the patients' own order (n, p).
        sets: from `risk_sets`.
    """
    p = x.shape[1]
    centred = x - x.mean(axis=0)
    scale = np.sqrt((centred**2).mean(axis=0))
    scale[scale <= 1e-12 * np.maximum(np.abs(x).max(axis=0, initial=0.0), 1e-300)] = 0.0
    usable = scale > 0
    z = (centred / np.where(usable, scale, 1.0))[sets.order]
    first = evaluate(z, sets, np.zeros(p))
    silent = np.diag(first.information) <= SILENT * (first.compensator @ z**2)
    kept = _independent(first.information, usable & ~silent)
    z = z[:, kept]
    now = start = evaluate(z, sets, np.zeros(kept.size))
    beta = np.zeros(kept.size)
    score_statistic = float(start.score @ _solve(start.information, start.score)) if kept.size else 0.0
    steps = 0
    settled = partly = False
    drift = np.zeros(kept.size)
    while kept.size and steps < MAX_STEPS:
        steps += 1
        drift = step = _solve(now.information, now.score)
        tried, part = _climb(z, sets, now, beta, step)
        if tried is None:  # rounding of directions without information: climb along the others
            partly = True
            drift = step = finite_inverse(start.information, now.information, True) @ now.score
            tried, part = _climb(z, sets, now, beta, step)
        if tried is None:
            break
        flat = part == 1 and abs(tried.loglik - now.loglik) <= FLAT * (1 + abs(now.loglik))
        beta, now = beta + part * step, tried
        if bool((np.abs(step) <= 1e-10 * np.maximum(np.abs(beta), 1e-3)).all()) or (flat and settled):
            break
        settled = flat
    # so far out that nothing is left to learn, as where two patients and one event are all there is
    gone = np.diag(now.information) <= 1e-9 * np.diag(start.information)
    infinite = (np.abs(drift) > 1e-4 * np.maximum(np.abs(beta), 1.0)) | gone
    if partly:
        infinite |= vanished(start.information, now.information)
    covariance = np.full((p, p), np.nan)
    full = np.full(p, np.nan)
    where = np.ix_(kept, kept)
    inverse = finite_inverse(start.information, now.information, bool(infinite.any()))
    if kept.size:
        covariance[where] = inverse / np.outer(scale[kept], scale[kept])
        covariance[kept[infinite]] = covariance[:, kept[infinite]] = np.nan
        full[kept] = beta / scale[kept]
    unbounded = np.zeros(p, dtype=bool)
    unbounded[kept] = infinite
    aliased = np.ones(p, dtype=bool)
    aliased[kept] = False
    return Maximum(
        full, covariance, aliased, silent, unbounded, z, kept, scale[kept], inverse, start, now, score_statistic, steps
    )


def _climb(
    z: FloatArray, sets: RiskSets, now: Evaluation, beta: FloatArray, step: FloatArray
) -> tuple[Evaluation | None, float]:
    """Where the step, halved as often as needed, does not lower the likelihood (and its part), or None.

    A fall within rounding is none.
    """
    part, least = 1.0, now.loglik - NOISE * (1 + abs(now.loglik))
    while part > SMALLEST_PART:
        tried = evaluate(z, sets, beta + part * step)
        if tried.loglik >= least:
            return tried, part
        part /= 2
    return None, part


def _independent(information: FloatArray, usable: npt.NDArray[np.bool_]) -> IntArray:
    """Columns that no earlier one determines: those with a positive pivot in the Cholesky order (q,)."""
    kept: list[int] = []
    for j in np.flatnonzero(usable):
        pivot = information[j, j]
        if kept:
            cross = information[np.ix_(kept, [int(j)])][:, 0]
            pivot = pivot - cross @ np.linalg.solve(information[np.ix_(kept, kept)], cross)
        if pivot > ALIAS_TOLERANCE * max(information[j, j], 1e-300) and information[j, j] > 0:
            kept.append(int(j))
    return np.array(kept, dtype=np.int64)


def _solve(information: FloatArray, score: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.solve(information, score))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(information, score, rcond=None)[0])
