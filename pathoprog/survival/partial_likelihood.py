"""Cox's partial likelihood over arrays, with Efron's or Breslow's ties: value, score, information, Newton's method.

Letters: n patients, p columns, m events, k distinct (stratum, event time) pairs. Patients are sorted by stratum, then
by time from last to first, so that every risk set is a running sum.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import FloatArray, IntArray

MAX_STEPS = 60
ALIAS_TOLERANCE = 1e-10


@dataclass(frozen=True)
class RiskSets:
    """The order of patients and events that every evaluation shares.

    Attributes:
        order: positions of the patients, sorted by stratum and falling time (n,).
        event: True for events, sorted (n,).
        end: for each event row, one past the last sorted patient of its risk set (m,).
        begin: for each event row, the first sorted patient of its stratum (m,).
        dead_begin: for each event row, the first of the events tied with it, counted among events (m,).
        dead_end: one past the last of them (m,).
        fraction: l/d for the l-th of d tied events; all 0 for Breslow's ties (m,).
        first_at_risk: for each patient, the number of event rows before its risk begins, as `_exposure` uses it (n,).
        last_at_risk: one past the last event row it is at risk for, counted in the sorted order (n,).
        dead_rows: positions of the events among the sorted patients (m,).
    """

    order: IntArray
    event: npt.NDArray[np.bool_]
    end: IntArray
    begin: IntArray
    dead_begin: IntArray
    dead_end: IntArray
    fraction: FloatArray
    first_at_risk: IntArray
    last_at_risk: IntArray
    dead_rows: IntArray


def risk_sets(
    time: FloatArray, event: npt.NDArray[np.bool_], strata: IntArray | None = None, ties: str = "efron"
) -> RiskSets:
    """Sort patients for the partial likelihood; within a time, events come last (they are at risk with all others)."""
    n = time.size
    blocks = np.zeros(n, dtype=np.int64) if strata is None else strata
    order = np.lexsort((event, -time, blocks))
    t, d, b = time[order], event[order], blocks[order]
    new_time = np.concatenate(([True], (np.diff(t) != 0) | (np.diff(b) != 0)))
    time_id = np.cumsum(new_time) - 1
    time_end = np.append(np.flatnonzero(new_time)[1:], n)
    block_start = np.maximum.accumulate(np.where(np.concatenate(([True], np.diff(b) != 0)), np.arange(n), 0))
    block_end_of = np.append(np.flatnonzero(np.concatenate(([True], np.diff(b) != 0)))[1:], n)
    dead = np.flatnonzero(d)
    group = time_id[dead]
    count = np.bincount(group, minlength=time_end.size)
    stop = np.cumsum(count)
    start = stop - count
    rank = np.arange(dead.size) - start[group]
    fraction = rank / count[group] if ties == "efron" else np.zeros(dead.size)
    block_id = np.cumsum(np.concatenate(([True], np.diff(b) != 0))) - 1
    events_until = np.concatenate(([0], np.cumsum(d)))
    return RiskSets(
        order,
        d,
        time_end[group],
        block_start[dead],
        start[group],
        stop[group],
        fraction,
        start[time_id],
        events_until[block_end_of[block_id]],
        dead,
    )


@dataclass(frozen=True)
class Evaluation:
    """The log partial likelihood at one beta, its score (p,), information (p, p), and what they were made of.

    Attributes:
        loglik: log partial likelihood.
        score: gradient (p,).
        information: minus the Hessian (p, p).
        hazard: Efron's (or Breslow's) share of the baseline hazard of each event row (m,).
        means: weighted covariate mean of each event row's risk set (m, p).
        weight: exp(x beta) of each sorted patient (n,).
        compensator: expected events of each sorted patient (n,).
    """

    loglik: float
    score: FloatArray
    information: FloatArray
    hazard: FloatArray
    means: FloatArray
    weight: FloatArray
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
    shift = float(eta.max()) if eta.size else 0.0
    weight = np.exp(eta - shift)
    wx = weight[:, None] * x
    dead_w, dead_wx = weight[sets.dead_rows], wx[sets.dead_rows]
    f = sets.fraction
    denominator = _between(weight, sets.begin, sets.end) - f * _between(dead_w, sets.dead_begin, sets.dead_end)
    sums = _between(wx, sets.begin, sets.end) - f[:, None] * _between(dead_wx, sets.dead_begin, sets.dead_end)
    hazard = 1 / denominator
    means = sums * hazard[:, None]
    compensator = weight * _exposure(hazard, sets)
    loglik = float((eta[sets.dead_rows] - shift).sum() - np.log(denominator).sum())
    score = x.T @ (sets.event - compensator)
    information = x.T @ (compensator[:, None] * x) - means.T @ means
    return Evaluation(loglik, score, information, hazard * np.exp(-shift), means, weight * np.exp(shift), compensator)


def _between(values: FloatArray, begin: IntArray, end: IntArray) -> FloatArray:
    """Sums of the rows from `begin` up to `end`."""
    total = np.concatenate((np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)))
    return np.asarray(total[end] - total[begin])


def _exposure(hazard: FloatArray, sets: RiskSets) -> FloatArray:
    """Hazard that each sorted patient was exposed to, from the event rows' shares (n,); ties count by fraction."""
    exposure = _between(hazard, sets.first_at_risk, sets.last_at_risk)
    exposure[sets.dead_rows] -= _between(sets.fraction * hazard, sets.dead_begin, sets.dead_end)
    return exposure


def weighted_information(x: FloatArray, sets: RiskSets, at: Evaluation, g: FloatArray) -> FloatArray:
    """Sum over event rows of g times the covariance of their risk set (p, p); g = 1 gives `at.information`."""
    exposure = at.weight * _exposure(at.hazard * g, sets)
    return np.asarray(x.T @ (exposure[:, None] * x) - at.means.T @ (g[:, None] * at.means))


@dataclass(frozen=True)
class Maximum:
    """Where Newton's method ended.

    Attributes:
        beta: coefficients (p,); nan where a column is aliased; drifting towards infinity where `infinite`.
        covariance: inverse information (p, p); nan rows where aliased.
        aliased: columns that earlier ones determine (p,).
        infinite: columns whose likelihood has no maximum (p,).
        z: the columns as they were fitted: kept ones, centred, scaled, patients sorted (n, q).
        kept: their positions among all columns (q,).
        scale: their scale (q,).
        start: the evaluation at beta = 0.
        end: the evaluation at the maximum.
        score_statistic: Rao's score statistic at beta = 0.
        steps: Newton steps taken.
    """

    beta: FloatArray
    covariance: FloatArray
    aliased: npt.NDArray[np.bool_]
    infinite: npt.NDArray[np.bool_]
    z: FloatArray
    kept: IntArray
    scale: FloatArray
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
    kept = _independent(first.information, usable)
    z = z[:, kept]
    now = start = evaluate(z, sets, np.zeros(kept.size))
    beta = np.zeros(kept.size)
    score_statistic = float(start.score @ _solve(start.information, start.score)) if kept.size else 0.0
    steps = 0
    settled = False
    drift = np.zeros(kept.size)
    while kept.size and steps < MAX_STEPS:
        steps += 1
        drift = step = _solve(now.information, now.score)
        tried = evaluate(z, sets, beta + step)
        halvings = 0
        while not tried.loglik >= now.loglik - 1e-9 * abs(now.loglik) and halvings < 30:
            step, halvings = step / 2, halvings + 1
            tried = evaluate(z, sets, beta + step)
        flat = abs(tried.loglik - now.loglik) <= 1e-13 * max(abs(now.loglik), 1e-300)
        beta, now = beta + step, tried
        small = np.abs(step) <= 1e-10 * np.maximum(np.abs(beta), 1e-3)
        if bool(small.all()) or (flat and settled):
            break
        settled = flat
    # so far out that nothing is left to learn, as where two patients and one event are all there is
    gone = np.diag(now.information) <= 1e-9 * np.diag(start.information)
    infinite = (np.abs(drift) > 1e-4 * np.maximum(np.abs(beta), 1.0)) | gone
    covariance = np.full((p, p), np.nan)
    full = np.full(p, np.nan)
    where = np.ix_(kept, kept)
    if kept.size:
        covariance[where] = _inverse(now.information) / np.outer(scale[kept], scale[kept])
        full[kept] = beta / scale[kept]
    unbounded = np.zeros(p, dtype=bool)
    unbounded[kept] = infinite
    aliased = np.ones(p, dtype=bool)
    aliased[kept] = False
    return Maximum(full, covariance, aliased, unbounded, z, kept, scale[kept], start, now, score_statistic, steps)


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


def _inverse(information: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.inv(information))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(information, hermitian=True))
