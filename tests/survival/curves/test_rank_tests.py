"""Log-rank tests: hand-worked, stratified as sums, trend with two groups."""

import math

import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import logrank, trend


def test_by_hand() -> None:
    # events at 1 (a of 2 a, 2 b), 2 (b of 1 a, 2 b), 3 (a of 1 a, 1 b); b censored at 4
    test = logrank([1, 2, 3, 4], [1, 1, 1, 0], ["a", "b", "a", "b"])
    expected = 2 / 4 + 1 / 3 + 1 / 2
    variance = 1 / 4 + 2 / 9 + 1 / 4
    assert test.expected[0] == pytest.approx(expected)
    assert test.statistic == pytest.approx((2 - expected) ** 2 / variance)
    assert test.df == 1 and test.observed.tolist() == [2, 1]


def test_strata_add_up() -> None:
    random = np.random.default_rng(1)
    time, event = random.integers(1, 9, 80).astype(float), random.integers(0, 2, 80)
    group, block = random.choice(["a", "b", "c"], 80), random.choice(["x", "y"], 80)
    whole = logrank(time, event, group, block)
    parts = [logrank(time[block == k], event[block == k], group[block == k]) for k in ("x", "y")]
    np.testing.assert_allclose(whole.expected, sum(part.expected for part in parts))
    np.testing.assert_allclose(whole.variance, sum(part.variance for part in parts))


def test_trend_of_two_groups_is_the_logrank_test() -> None:
    time, event, group = [1, 2, 3, 4, 5], [1, 1, 1, 0, 1], [1, 2, 1, 2, 2]
    assert trend(time, event, group).statistic == pytest.approx(logrank(time, event, group).statistic)
    assert trend(time, event, group).z < 0  # group 1 dies first: the hazard falls with the scores


def test_trend_ignores_shift_and_scale_of_scores() -> None:
    random = np.random.default_rng(2)
    time, event, group = random.exponential(size=60), random.integers(0, 2, 60), random.integers(1, 4, 60)
    z = trend(time, event, group, [1, 2, 3]).z
    assert trend(time, event, group, [10, 30, 50]).z == pytest.approx(z)
    with pytest.raises(InputError, match="scores"):
        trend(time, event, group, [1, 2])


def test_nothing_to_compare() -> None:
    assert math.isnan(logrank([1, 2], [1, 0], ["a", "a"]).p_value)
    assert math.isnan(logrank([1, 2], [0, 0], ["a", "b"]).p_value)
    # c is gone before the first event: no degree of freedom for it
    assert logrank([1, 2, 3, 0.5], [1, 1, 0, 0], ["a", "b", "a", "c"]).df == 1
    with pytest.raises(InputError, match="missing"):
        logrank([1, 2], [1, 0], ["a", None])
