"""Random-effects meta-analysis of site estimates, with the prediction interval of a further site."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc, chdtri, ndtr, ndtri, stdtr, stdtrit

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray

METHODS = ("REML", "DL")
STOP = 1e-5  # a Fisher step of tau2, below which REML is done: metafor's own default
MAX_STEPS = 100


@dataclass(frozen=True)
class RandomEffects:
    """Several sites' estimates pooled, all on one scale (log hazard ratio, logit of c).

    Attributes:
        method: how the variance between sites was estimated: ``REML`` or ``DL`` (DerSimonian and Laird).
        knapp_hartung: True: standard error of Knapp and Hartung and limits of Student's t with k - 1 degrees.
        k: sites.
        estimate: the mean over the distribution of sites.
        se: its standard error.
        lower: lower confidence limit.
        upper: upper confidence limit.
        p: two-sided p-value of the estimate against 0.
        tau2: variance between sites.
        i2: share of the total variance that lies between sites, percent.
        q: Cochran's Q, weights of fixed effects.
        q_df: its degrees of freedom.
        q_p: its p-value.
        prediction_lower: lower limit of the interval in which the true value of a further site lies.
        prediction_upper: upper limit.
    """

    method: str
    knapp_hartung: bool
    k: int
    estimate: float
    se: float
    lower: float
    upper: float
    p: float
    tau2: float
    i2: float
    q: float
    q_df: int
    q_p: float
    prediction_lower: float
    prediction_upper: float


def random_effects(
    estimate: Any, se: Any, method: str = "REML", knapp_hartung: bool = True, level: float = 0.95, stop: float = STOP
) -> RandomEffects:
    """Pool k estimates whose true values vary between sites.

    DerSimonian and Laird, Control Clin Trials 1986;7:177; restricted maximum likelihood by Fisher scoring: Viechtbauer,
    J Educ Behav Stat 2005;30:261; Knapp and Hartung, Stat Med 2003;22:2693; I2 by the typical variance: Higgins and
    Thompson, Stat Med 2002;21:1539; prediction interval: Higgins, Thompson and Spiegelhalter, J R Stat Soc A
    2009;172:137, with the quantile of the confidence interval (k - 1 degrees under Knapp and Hartung). All as R's
    metafor 3.8-1 gives them: REML starts at Hedges' estimate and stops where a step is below `stop`, since its default
    is 1e-5 too; a smaller `stop` gives further digits of the maximum.

    Args:
        estimate: of each site, on a scale on which it is about normal (k,).
        se: its standard error (k,).
        method: ``REML`` or ``DL``.
        knapp_hartung: see `RandomEffects`; False: normal limits.
        level: confidence level, of the prediction interval too.
        stop: change of tau2 at which REML is done.

    Raises:
        InputError: fewer than two sites, an estimate that is not finite, or REML that does not settle.
    """
    if method not in METHODS:
        raise InputError(f"method={method!r}: must be one of {', '.join(METHODS)}")
    y, v = _checked(estimate, se)
    df = y.size - 1
    fixed = 1 / v
    q = float(fixed @ (y - fixed @ y / fixed.sum()) ** 2)
    spread = float(fixed.sum() - (fixed**2).sum() / fixed.sum())
    tau2 = max(0.0, (q - df) / spread) if method == "DL" else _reml(y, v, stop)
    weight = 1 / (v + tau2)
    mean = float(weight @ y / weight.sum())
    error = float(np.sqrt(1 / weight.sum()))
    if knapp_hartung:
        error *= float(np.sqrt(weight @ (y - mean) ** 2 / df))
    limit = float(stdtrit(df, (1 + level) / 2) if knapp_hartung else ndtri((1 + level) / 2))
    ratio = -abs(mean) / error if error > 0 else (0.0 if mean == 0 else float("-inf"))
    wide = limit * float(np.sqrt(error**2 + tau2))
    return RandomEffects(
        method,
        knapp_hartung,
        int(y.size),
        mean,
        error,
        mean - limit * error,
        mean + limit * error,
        float(2 * (stdtr(df, ratio) if knapp_hartung else ndtr(ratio))),
        tau2,
        100 * tau2 / (tau2 + df / spread),
        q,
        df,
        float(chdtrc(df, q)),
        mean - wide,
        mean + wide,
    )


def _checked(estimate: Any, se: Any) -> tuple[FloatArray, FloatArray]:
    """Estimates and their variances (k,).

    Raises:
        InputError: fewer than two, of two lengths, or not finite.
    """
    y, s = np.asarray(estimate, dtype=float), np.asarray(se, dtype=float)
    if y.ndim != 1 or y.shape != s.shape:
        raise InputError(f"estimates {y.shape} and standard errors {s.shape} must be two lists of one length")
    if y.size < 2:
        raise InputError(f"{y.size} site with an estimate: nothing to pool; random effects need two or more")
    if not (np.isfinite(y) & np.isfinite(s) & (s > 0)).all():
        raise InputError("an estimate or standard error is not finite, or 0: such a site is listed, not pooled")
    return y, s**2


POINTS, HALVINGS = 400, 60
"""Of the distribution of the variance between sites, and of the steps to each."""


def further_site(estimate: Any, se: Any, level: float = 0.95) -> tuple[float, float]:
    """Interval of a further site's true value that takes the variance between sites as little known as it is.

    Q(tau2), the weighted sum of squares about the mean, has a chi-squared distribution with k - 1 degrees at the true
    tau2; solved for tau2 it gives the generalised (fiducial) distribution of tau2 (Iyer, Wang and Mathew, J Am Stat
    Assoc 2004;99:1060). The further value is a mixture over it of normal distributions about each tau2's mean. The
    interval of Higgins, Thompson and Spiegelhalter takes one estimate of tau2, which is often 0, and covers a further
    site too seldom.

    Args:
        estimate: of each site (k,).
        se: its standard error (k,).
        level: of the interval.

    Raises:
        InputError: as `random_effects`.
    """
    y, v = _checked(estimate, se)
    chance = (np.arange(POINTS) + 0.5) / POINTS
    wanted = chdtri(y.size - 1, chance)  # upper tail: from small tau2 to large
    tau2 = _solved(y, v, wanted)
    weight = 1 / (v + tau2[:, None])  # [point, site]
    total = weight.sum(axis=1)
    mean, spread = weight @ y / total, np.sqrt(1 / total + tau2)

    def limit(share: float) -> float:
        low, high = float((mean - 50 * spread).min()), float((mean + 50 * spread).max())
        return float(brentq(lambda x: float(ndtr((x - mean) / spread).mean()) - share, low, high, xtol=1e-10))

    return limit((1 - level) / 2), limit((1 + level) / 2)


def _solved(y: FloatArray, v: FloatArray, wanted: FloatArray) -> FloatArray:
    """The variances between sites at which Q has the wanted values (m,), by halving; 0 where Q is lower everywhere."""

    def q(tau2: FloatArray) -> FloatArray:
        w = 1 / (v + tau2[:, None])  # [point, site]
        mean = w @ y / w.sum(axis=1)
        return np.asarray((w * (y - mean[:, None]) ** 2).sum(axis=1))

    low, high = np.zeros(wanted.size), np.full(wanted.size, float(v.max() + y.var()))
    while (beyond := q(high) > wanted).any():
        high = np.where(beyond, 8 * high, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        up = q(middle) > wanted
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.where(q(np.zeros(wanted.size)) > wanted, low, 0.0)


def _reml(y: FloatArray, v: FloatArray, stop: float) -> float:
    """Variance between sites by restricted maximum likelihood; 0 where the likelihood is highest there."""
    tau2 = max(0.0, float(y.var(ddof=1) - v.mean()))  # Hedges
    for _ in range(MAX_STEPS):
        w = 1 / (v + tau2)
        total, squared = w.sum(), (w**2).sum()
        residual = w * (y - w @ y / total)
        trace = total - squared / total
        trace2 = squared - 2 * (w**3).sum() / total + (squared / total) ** 2
        step = float((residual @ residual - trace) / trace2)
        while tau2 + step < 0:
            step /= 2
        tau2 += step
        if abs(step) <= stop:
            settled = tau2 <= stop or _restricted(y, v, tau2) >= _restricted(y, v, 0.0)
            return tau2 if settled else 0.0  # a local maximum below that at 0
    raise InputError(f"the variance between sites did not settle in {MAX_STEPS} steps of REML; use method=DL")


def _restricted(y: FloatArray, v: FloatArray, tau2: float) -> float:
    """Restricted log likelihood, up to a constant."""
    w = 1 / (v + tau2)
    return float(np.log(w).sum() - np.log(w.sum()) - w @ (y - w @ y / w.sum()) ** 2) / 2


def leave_one_out(estimate: Any, se: Any, method: str = "REML", knapp_hartung: bool = True) -> list[RandomEffects]:
    """The pool without each site in turn (k,); fewer than three sites leave nothing to pool.

    Raises:
        InputError: as `random_effects`.
    """
    y, s = np.asarray(estimate, dtype=float), np.asarray(se, dtype=float)
    return [random_effects(np.delete(y, i), np.delete(s, i), method, knapp_hartung) for i in range(y.size)]
