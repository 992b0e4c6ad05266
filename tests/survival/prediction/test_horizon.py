"""Values at a horizon and restricted means, by hand and against R."""

import made_survival as small
import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.survival.curves.restricted_mean import difference, restricted_mean
from pathoprog.survival.prediction.horizon import values_by_curves, values_by_weights, values_of_complete_cases

TIME, EVENT = [1, 2, 3, 4, 5, 6], [1, 1, 0, 1, 0, 1]
POSITIVE = [True, False, True, True, False, False]


def test_without_censoring_all_estimators_count() -> None:
    event = [1] * 6
    curves, weights = values_by_curves(TIME, event, POSITIVE, 3.5), values_by_weights(TIME, event, POSITIVE, 3.5)
    plain = values_of_complete_cases(TIME, event, POSITIVE, 3.5)
    assert (plain.true_positive, plain.false_positive, plain.false_negative, plain.true_negative) == (2, 1, 1, 2)
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert getattr(curves, name).value == pytest.approx(2 / 3)
        assert getattr(weights, name) == pytest.approx(2 / 3)
        assert getattr(plain, name) == pytest.approx(2 / 3)


def test_curves_and_bayes_by_hand() -> None:
    found = values_by_curves(TIME, EVENT, POSITIVE, 4.5)
    # positive: dies at 1 of 3, lost at 3, dies at 4 of 1; negative: dies at 2 of 3
    assert found.ppv.value == 1 and found.npv.value == pytest.approx(2 / 3)
    assert found.prevalence == pytest.approx((1 + 1 / 3) / 2) and found.sensitivity.value == pytest.approx(3 / 4)
    assert found.specificity.value == 1


def test_limits_of_sensitivity_match_the_bootstrap() -> None:
    random = np.random.default_rng(3)
    n = 600
    positive = random.random(n) < 0.3
    death, lost = random.exponential(size=n) / np.where(positive, 2, 0.5), random.uniform(0, 3, n)
    time, event = np.minimum(death, lost), (death <= lost).astype(int)
    found = values_by_curves(time, event, positive, 1.0)
    drawn = []
    for _ in range(400):
        index = random.integers(0, n, n)
        value = values_by_curves(time[index], event[index], positive[index], 1.0)
        drawn.append([value.sensitivity.value, value.specificity.value, value.ppv.value])
    spread = np.std(drawn, axis=0)
    expected = [found.sensitivity.se, found.specificity.se, found.ppv.se]
    np.testing.assert_allclose(spread, expected, rtol=0.12)


def test_competing_deaths_lower_the_ppv() -> None:
    time, event, positive = [1, 2, 3, 4], [2, 1, 1, 0], [True, True, False, False]
    assert values_by_curves(time, event, positive, 2.5).ppv.value == 1  # net: the first is only lost
    assert values_by_curves(time, event, positive, 2.5, competing=True).ppv.value == 0.5
    assert values_by_weights(time, event, positive, 2.5, competing=True).ppv == 0.5
    assert values_of_complete_cases(time, event, positive, 2.5, competing=True).false_positive == 1
    with pytest.raises(InputError, match="one class"):
        values_by_curves(time, event, [True] * 4, 2.5)


def test_a_class_not_followed_so_long_is_marked() -> None:
    assert values_by_curves(TIME, EVENT, POSITIVE, 5).beyond
    assert values_by_curves(TIME, EVENT, POSITIVE, 5).ppv.value == 1  # all of the class have died: known for ever
    assert not values_by_curves(TIME, EVENT, POSITIVE, 4).beyond


def test_nothing_is_said_after_the_last_follow_up() -> None:
    event = [1, 1, 0, 0, 0, 0]
    for found in (values_by_curves(TIME, event, POSITIVE, 7), values_by_weights(TIME, event, POSITIVE, 7)):
        values = [getattr(found, name) for name in ("sensitivity", "specificity", "ppv", "npv")]
        assert np.isnan([getattr(value, "value", value) for value in values]).all()
    plain = values_of_complete_cases(TIME, event, POSITIVE, 7)
    assert plain.n == 2 and np.isnan([plain.ppv, plain.npv, plain.accuracy]).all()
    one = values_by_curves(TIME, event, POSITIVE, 5)  # the positive class was followed to 4 only
    assert np.isnan([one.ppv.value, one.sensitivity.value]).all() and one.npv.value == pytest.approx(2 / 3)


def test_restricted_mean_is_that_of_r() -> None:
    mean = restricted_mean(small.SINGLE["time"], small.SINGLE["event"], 12)
    assert (mean.value, mean.se) == pytest.approx(small.RESTRICTED_MEAN, rel=1e-12)
    assert restricted_mean([1, 2, 3, 4], [1, 1, 1, 1], 10).value == pytest.approx(2.5)
    assert restricted_mean([1, 2], [1, 0], 3).beyond and not restricted_mean([1, 2], [1, 1], 3).beyond
    with pytest.raises(InputError, match="above 0"):
        restricted_mean([1], [1], 0)


def test_difference_of_means() -> None:
    first, second = (restricted_mean(TIME, event, 5) for event in (EVENT, [1] * 6))
    gap = difference(first, second)
    assert gap.value == first.value - second.value and gap.se == pytest.approx(np.hypot(first.se, second.se))
    assert gap.lower < gap.value < gap.upper and 0 < gap.p_value < 1
