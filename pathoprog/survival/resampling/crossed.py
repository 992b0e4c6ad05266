"""C within folds of recipes that were trained with the same seeds on the same folds, and their paired differences.

A recipe's figure is the mean over seeds of each seed's c, whose pairs are of patients within one fold: risks of two
networks need not be comparable. Both the patients who judge and the seeds are a sample. The bootstrap is crossed over
them: patients are drawn anew within folds, seeds are drawn anew, both independently and for all recipes alike, so that
differences are paired. Source: Owen 2007, The pigeonhole bootstrap, Ann Appl Stat 1:386, which shows it to be mildly
conservative. Of S seeds, S - 1 are drawn, without which their variance would be too small by (S - 1) / S, a third of it
missing at three (Rao and Wu 1988, J Am Stat Assoc 83:231).

What is left out: the patients who trained. Networks of two folds learned from overlapping patients, and no unbiased
estimate has that (Bengio, Grandvalet 2004, J Mach Learn Res 5:1089).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, checked


@dataclass(frozen=True)
class CrossedFigure:
    """A figure with its percentile interval and the standard deviation over the resamples."""

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
    """Harrell's c within folds of each recipe, and all paired differences, with crossed bootstrap intervals.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        fold: of each patient (n,).
        scores: higher = worse (e, s, n): recipes, seeds, patients, the same in all.
        samples: resamples.
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
    m = max(1, n_seeds - 1)
    even = np.full(n_seeds, 1 / n_seeds)
    seeds = np.vstack([even, random.multinomial(m, even, samples) / m])
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
    means = np.einsum("esb,bs->eb", by_seed, seeds)
    c = tuple(_figure(row, level) for row in means)
    differences = tuple(tuple(_figure(one - other, level) for other in means) for one in means)
    return CrossedConcordance(by_seed[:, :, 0], c, differences, round(float(pairs[0])))


def _figure(row: FloatArray, level: float) -> CrossedFigure:
    known = row[1:][np.isfinite(row[1:])]
    if known.size < 2:
        return CrossedFigure(float(row[0]), *(float("nan"),) * 3)
    lower, upper = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return CrossedFigure(float(row[0]), float(known.std(ddof=1)), float(lower), float(upper))
