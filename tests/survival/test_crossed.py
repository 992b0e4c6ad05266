"""Recipes compared over patients and seeds: figures by hand, and what each source of chance adds to the interval."""

import numpy as np
import pytest
from scipy.stats import t

from pathoprog.errors import InputError
from pathoprog.survival import harrell_c
from pathoprog.survival.prediction.concordance import pair_influence
from pathoprog.survival.prediction.differences import concordance_difference
from pathoprog.survival.resampling.crossed import crossed_concordance

TIME, EVENT, FOLD = [1.0, 2, 3, 1, 2, 3], [1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]


def made(n: int, seed: int = 1):
    random = np.random.default_rng(seed)
    hidden = random.normal(size=n)
    time, lost = random.exponential(size=n) / np.exp(hidden), random.uniform(0.1, 3, n)
    return random, hidden, np.minimum(time, lost), (time <= lost).astype(int), np.arange(n) % 5


def test_only_pairs_within_a_fold_count_and_seeds_are_averaged():
    # fold 0: A-B, A-C right, B-C wrong; fold 1: D-E right, D-F wrong: 3 of 5. The second seed turns all around: 2 of 5.
    first = [0.9, 0.5, 0.6, 60.0, 50.0, 70.0]
    ties = [0.0] * 6
    found = crossed_concordance(TIME, EVENT, FOLD, [[first, [-x for x in first]], [ties, ties]], samples=50)
    assert found.by_seed == pytest.approx(np.array([[0.6, 0.4], [0.5, 0.5]])) and found.n_pairs == 5
    assert [one.value for one in found.c] == pytest.approx([0.5, 0.5])
    assert found.c[1].se == 0 and found.differences[1][1].value == 0
    assert found.differences[0][1].value == pytest.approx(-found.differences[1][0].value)


def test_it_is_harrell_s_c_within_strata_and_of_one_seed_has_the_paired_standard_error():
    random, hidden, time, event, fold = made(400)
    one, other = hidden + random.normal(size=400), hidden + 0.5 * random.normal(size=400)
    found = crossed_concordance(time, event, fold, [[one], [other]], samples=1000)
    for k, score in enumerate((one, other)):
        c = harrell_c(time, event, score, strata=fold)
        assert found.c[k].value == pytest.approx(c.value, abs=1e-12)
        assert found.c[k].se == pytest.approx(c.se, rel=0.12)
    paired = concordance_difference(time, event, one, other, strata=fold)
    assert found.differences[1][0].value == pytest.approx(paired.value, abs=1e-12)
    assert found.differences[1][0].se == pytest.approx(paired.se, rel=0.12)


def test_recipes_that_differ_by_nothing_differ_by_nothing_whoever_is_drawn():
    random, hidden, time, event, fold = made(100)
    scores = hidden + random.normal(size=(3, 100))
    same = crossed_concordance(time, event, fold, [scores, 2 * scores + 1], samples=100).differences[1][0]
    assert (same.value, same.se, same.lower, same.upper) == (0, 0, 0, 0)


def test_seeds_that_vary_widen_the_interval_by_their_own_variance():
    """Seeds that differ by much more than patients do: the variance is that of a mean of three, without the (S-1)/S."""
    random, hidden, time, event, fold = made(2000)
    noise = (0.2, 1.0, 4.0)
    scores = np.array([[hidden + amount * random.normal(size=2000) for amount in noise]])
    found = crossed_concordance(time, event, fold, scores, samples=1500)
    of_seeds = found.by_seed[0].std(ddof=1) / np.sqrt(3)
    assert of_seeds > 0.04, "there is something to see"
    assert found.c[0].se == pytest.approx(of_seeds, rel=0.12)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="by recipe, seed and patient"):
        crossed_concordance(TIME, EVENT, FOLD, [[[1.0] * 5]])
    with pytest.raises(InputError, match="no two patients of one fold"):
        crossed_concordance(TIME, [0] * 6, FOLD, [[[1.0] * 6]])


def test_few_seeds_widen_the_limits_by_student_s_quantile():
    """Seeds that differ by far more than patients do: the limits are those of a t test of their figures."""
    random, hidden, time, event, fold = made(2000)
    scores = np.array([[hidden + amount * random.normal(size=2000) for amount in (0.2, 1.0, 4.0)]])
    found = crossed_concordance(time, event, fold, scores, samples=400)
    half = t.ppf(0.975, 2) * found.by_seed[0].std(ddof=1) / np.sqrt(3)
    assert found.c[0].upper == pytest.approx(min(found.c[0].value + half, 1.0), abs=0.01)
    assert found.c[0].lower == pytest.approx(found.c[0].value - half, abs=0.01)


def test_what_patients_and_seeds_share_is_counted_once():
    """V(P) + V(S) - V(PS) with each part by the patients' influences instead of resamples."""
    random, hidden, time, event, fold = made(400)
    amounts = (0.3, 0.7, 1.5)
    scores = np.array([hidden + amount * random.normal(size=400) for amount in amounts])
    found = crossed_concordance(time, event, fold, scores[None], samples=1500).c[0]
    each = [pair_influence(time, event, score, strata=fold) for score in scores]
    influence, values = np.array([one.influence for one in each]), np.array([one.value for one in each])
    of_patients = float((influence.mean(axis=0) ** 2).sum())
    shared = float(((influence - influence.mean(axis=0)) ** 2).sum()) / 6
    of_seeds = values.var(ddof=1) / 3 - shared
    assert of_seeds > shared > 0, "there is something to see"
    half = np.sqrt(1.96**2 * of_patients + t.ppf(0.975, 2) ** 2 * of_seeds)
    assert found.se == pytest.approx(np.sqrt(of_patients + of_seeds), rel=0.05)
    assert (found.lower, found.upper) == pytest.approx((found.value - half, found.value + half), abs=0.005)
