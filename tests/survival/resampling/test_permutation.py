"""Permuted outcomes: the fast c is Harrell's c, and chance is found to be chance."""

import numpy as np
import pytest

from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.resampling.permutation import permuted_c


@pytest.mark.parametrize("seed", range(4))
def test_observed_is_harrells_c_with_ties(seed: int):
    rng = np.random.default_rng(seed)
    time, event, score = rng.integers(1, 12, 60), rng.integers(0, 3, 60), rng.integers(0, 6, 60) / 10
    result = permuted_c(time, event, score, permutations=3)
    assert result.observed == pytest.approx(harrell_c(time, event, score).value, abs=1e-12)


def test_a_strong_score_lies_above_all_permutations_and_noise_does_not():
    rng = np.random.default_rng(0)
    score = rng.normal(size=200)
    time = rng.exponential(np.exp(-1.5 * score))
    event = (rng.random(200) < 0.5).astype(int)
    strong = permuted_c(time, event, score, permutations=500)
    assert strong.share_below == 1.0
    assert strong.p == pytest.approx(1 / 501)
    assert strong.permuted.mean() == pytest.approx(0.5, abs=0.01)
    noise = permuted_c(time, event, rng.normal(size=200), permutations=500)
    assert 0.02 < noise.p < 0.98


def test_strata_keep_their_own_outcomes():
    score = np.array([0.1, 0.2, 0.8, 0.9])
    time, event = np.array([9.0, 9.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    within = permuted_c(time, event, score, permutations=50, strata=["a", "a", "b", "b"])
    assert (within.permuted == within.observed).all()
    assert permuted_c(time, event, score, permutations=50).permuted.min() == 0.0


def test_no_event_gives_no_number():
    assert np.isnan(permuted_c([1.0, 2.0], [0, 0], [0.1, 0.2], permutations=2).observed)
