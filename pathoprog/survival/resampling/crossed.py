"""C within folds of recipes that were trained with the same seeds on the same folds, and their paired differences.

A recipe's figure is the mean over seeds of each seed's c, whose pairs are of patients within one fold: risks of two
networks need not be comparable. Both the patients who judge and the seeds are a sample, crossed. Patients are drawn
anew within folds, for all recipes and seeds alike, so that differences are paired. Of S seeds the resamples give
V(P), the variance of the mean over seeds, and V(PS) = sum over seeds of the variance of a seed's deviation from it, /
(S (S - 1)); the seeds themselves give V(S), their variance / S. The figure's variance is V(P) + V(S) - V(PS): what is
of patients and seeds together stands in both of the first two (Owen 2007, The pigeonhole bootstrap, Ann Appl Stat
1:386, whose percentile intervals count it thrice).

Limits: V(S) - V(PS), at least 0, is known from S - 1 degrees of freedom alone and gets their t quantile, V(P) the
normal one: half-width squared = z2 V(P) + t2 (V(S) - V(PS)) (Banerjee 1960, Sankhya 22:357, who shows that sums of
this kind cover at least as often as they say).

What is left out: the patients who trained. Networks of two folds learned from overlapping patients, and no unbiased
estimate has that (Bengio, Grandvalet 2004, J Mach Learn Res 5:1089).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, checked


@dataclass(frozen=True)
class CrossedFigure:
    """A figure with its standard error and limits."""

    value: float
    se: float
    lower: float
    upper: float


@dataclass(frozen=True)
class CrossedConcordance:
    """Recipes compared.

    Attributes:
        by_seed: c of each recipe and seed [e, s].
        c: of each recipe, the mean over its seeds.
        differences: of each recipe less the one of the same place [e][e]; zero with itself.
        n_pairs: comparable pairs within folds.
    """

    by_seed: FloatArray
    c: tuple[CrossedFigure, ...]
    differences: tuple[tuple[CrossedFigure, ...], ...]
    n_pairs: int


def crossed_concordance(
    time: Any,
    event: Any,
    fold: Any,
    scores: Any,
    samples: int = 2000,
    seed: int = 1,
    level: float = 0.95,
) -> CrossedConcordance:
    """Harrell's c within folds of each recipe, and all paired differences, with intervals over patients and seeds.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        fold: of each patient (n,).
        scores: higher = worse (e, s, n): recipes, seeds, patients, the same in all.
        samples: resamples of the patients.
        seed: of the random numbers.
        level: confidence level.

    With one seed the intervals hold for that seed's networks alone.

    Raises:
        InputError: scores of another shape or not finite; or no two patients of a fold can be compared.
    """
    times, codes = checked(time, event)
    values = np.asarray(scores, float)
    if values.ndim != 3 or values.shape[2] != times.size or not np.isfinite(values).all():
        raise InputError("scores must be finite numbers by recipe, seed and patient (e, s, n)")
    folds = np.asarray(fold)
    parts = [np.flatnonzero(folds == name) for name in np.unique(folds)]
    n_recipes, n_seeds, _ = values.shape
    random = np.random.default_rng(seed)
    # the first row is the sample itself
    drawn = [np.vstack([np.ones(len(part)), random.multinomial(len(part), np.full(len(part), 1 / len(part)), samples)])
             for part in parts]  # fmt: skip
    pairs = np.zeros(samples + 1)
    right = np.zeros((n_recipes, n_seeds, samples + 1))
    for part, weights in zip(parts, drawn, strict=True):
        t, died = times[part], codes[part] == EVENT
        # a patient censored at an event's time outlives it, as in `harrell_c`
        comparable = died[:, None] & ((t[:, None] < t) | ((t[:, None] == t) & ~died))
        pairs += ((weights @ comparable) * weights).sum(1)
        for k in range(n_recipes):
            for j in range(n_seeds):
                own = values[k, j, part]
                won = comparable * (0.5 + 0.5 * np.sign(own[:, None] - own))
                right[k, j] += ((weights @ won) * weights).sum(1)
    if not pairs[0]:
        raise InputError("no two patients of one fold can be compared: an event of one while another is still followed")
    with np.errstate(invalid="ignore", divide="ignore"):
        by_seed = right / pairs  # [e, s, b], nan in a resample without a comparable pair
    c = tuple(_figure(row, level, 0.0) for row in by_seed)
    differences = tuple(tuple(_figure(one - other, level, -1.0) for other in by_seed) for one in by_seed)
    return CrossedConcordance(by_seed[:, :, 0], c, differences, round(float(pairs[0])))


def _figure(by_seed: FloatArray, level: float, lowest: float) -> CrossedFigure:
    """From a figure of each seed in the sample and in b resamples of the patients [s, 1 + b]."""
    s = len(by_seed)
    value, known = float(by_seed[:, 0].mean()), by_seed[:, 1:][:, np.isfinite(by_seed[:, 1:]).all(axis=0)]
    if known.shape[1] < 2:
        return CrossedFigure(value, *(float("nan"),) * 3)
    mean = known.mean(axis=0)
    of_patients, of_seeds, t = float(mean.var(ddof=1)), 0.0, 0.0
    if s > 1:
        shared = float((known - mean).var(axis=1, ddof=1).sum()) / (s * (s - 1))
        of_seeds = max(float(by_seed[:, 0].var(ddof=1)) / s - shared, 0.0)
        t = float(stdtrit(s - 1, (1 + level) / 2))
    half = float(np.sqrt(ndtri((1 + level) / 2) ** 2 * of_patients + t**2 * of_seeds))
    se = float(np.sqrt(of_patients + of_seeds))
    return CrossedFigure(value, se, max(value - half, lowest), min(value + half, 1.0))
