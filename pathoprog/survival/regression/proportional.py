"""Test of proportional hazards: the score test for coefficients that change with a transform of time."""

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, summed
from pathoprog.survival.curves.product_limit import kaplan_meier
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.partial_likelihood import score_residuals, weighted_information

TRANSFORMS = ("km", "identity", "log", "rank")


def proportional_hazards(fit: CoxFit, transform: str = "km", by_term: bool = True) -> pd.DataFrame:
    """Score test of a Cox model's coefficients against beta + theta g(t).

    Grambsch and Therneau, Biometrika 1994;81:515, in the exact form of R's `cox.zph` since survival 3.0: the score
    test of theta = 0 in the model with x and x g(t), the information taken at the fitted beta. Where the fit's variance
    is robust, so is the test's: the efficient scores of theta, summed by patient, in place of the information (Lin and
    Wei, J Am Stat Assoc 1989;84:1074); R's `cox.zph` takes such rows as independent.

    Args:
        fit: the model.
        transform: g(t): ``km`` 1 - S(t-), ``identity`` t, ``log`` log t, ``rank`` the rank of t among all follow-ups.
        by_term: one test for each covariate with all its levels; False: one for each column.

    Returns:
        Columns ``term, level, statistic, df, p``; the last row is ``GLOBAL``. Columns without a finite estimate are
        left out.

    Raises:
        InputError: the transform is unknown, or log is asked for with an event at time 0.
    """
    sets, at = fit.sets, fit.maximum.end
    z, columns = fit.maximum.z, fit.maximum.kept
    event_time = fit.time[sets.order][sets.dead_rows]
    g = _transform(fit, event_time, transform)
    g = g - g.mean()
    finite = np.flatnonzero(~fit.maximum.infinite[columns]).astype(np.int64)
    if sets.weight is None or sets.pull is None:
        u = g @ (z[sets.dead_rows] - at.means)
    else:
        u = (g * sets.weight[sets.dead_rows]) @ z[sets.dead_rows] - (g * sets.pull) @ at.means
    inverse = fit.maximum.inverse
    crossed = weighted_information(z, sets, at, g)
    squared = weighted_information(z, sets, at, g**2)
    scores = None
    if fit.cluster is not None:
        efficient = score_residuals(z, sets, at, g) - score_residuals(z, sets, at) @ inverse @ crossed
        scores = summed(efficient, fit.cluster[sets.order])
    names = [fit.design.columns[index] for index in columns]
    rows = []
    if by_term:
        for term in fit.design.terms:
            mine = [int(k) for k in finite if names[k].term == term]
            rows.append((term, "", *_test(inverse, crossed, squared, u, scores, mine)))
    else:
        for k in finite:
            rows.append((names[k].term, names[k].level, *_test(inverse, crossed, squared, u, scores, [int(k)])))
    rows.append(("GLOBAL", "", *_test(inverse, crossed, squared, u, scores, [int(k) for k in finite])))
    return pd.DataFrame(rows, columns=["term", "level", "statistic", "df", "p"])


def _test(
    inverse: FloatArray,
    crossed: FloatArray,
    squared: FloatArray,
    u: FloatArray,
    scores: FloatArray | None,
    tested: list[int],
) -> tuple[float, int, float]:
    if not tested:
        return float("nan"), 0, float("nan")
    mine = np.array(tested, dtype=np.int64)
    if scores is not None:
        spread = scores[:, mine].T @ scores[:, mine]
        statistic = float(u[tested] @ np.linalg.lstsq(spread, u[tested], rcond=None)[0])
        return statistic, len(tested), float(chdtrc(len(tested), statistic))
    b = crossed[:, mine]
    c = squared[np.ix_(mine, mine)]
    schur = c - b.T @ inverse @ b
    statistic = float(u[tested] @ np.linalg.lstsq(schur, u[tested], rcond=None)[0])
    return statistic, len(tested), float(chdtrc(len(tested), statistic))


def _transform(fit: CoxFit, event_time: FloatArray, transform: str) -> FloatArray:
    if transform == "identity":
        return event_time
    if transform == "log":
        if (event_time <= 0).any():
            raise InputError("transform=log: an event at time 0 has no logarithm; use km, rank or identity")
        return np.asarray(np.log(event_time))
    if transform == "rank":
        from scipy.stats import rankdata

        # among all follow-up times, censored ones too
        return np.asarray(rankdata(fit.time)[fit.sets.order][fit.sets.dead_rows])
    if transform == "km":
        km = kaplan_meier(fit.time, fit.event, entry=fit.entry)  # R takes no weights here
        before = np.concatenate(([1.0], km.survival[:-1]))
        return np.asarray(1 - before[np.searchsorted(km.time, event_time)])
    raise InputError(f"transform={transform!r}: must be one of {', '.join(TRANSFORMS)}")
