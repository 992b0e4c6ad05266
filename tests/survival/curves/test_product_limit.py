"""Kaplan-Meier curves, quantiles and tables at risk: hand-worked answers."""

import math

import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import followup_time, kaplan_meier, number_at_risk

TIME = [1, 2, 2, 3, 4, 5]
EVENT = [1, 1, 0, 0, 1, 0]


def test_curve_by_hand() -> None:
    km = kaplan_meier(TIME, EVENT)
    # 5/6 at 1; times 4/5 at 2; times 1/2 at 4
    np.testing.assert_allclose(km.survival, [5 / 6, 4 / 6, 4 / 6, 2 / 6, 2 / 6], rtol=1e-15)
    assert km.n_risk.tolist() == [6, 5, 3, 2, 1]
    assert km.n_event.tolist() == [1, 1, 0, 1, 0]
    assert km.n_censor.tolist() == [0, 1, 1, 0, 1]
    greenwood = math.sqrt(1 / (6 * 5) + 1 / (5 * 4))
    assert km.std_err[1] == pytest.approx(4 / 6 * greenwood, rel=1e-14)
    z = 1.959963984540054
    spread = z * greenwood / math.log(4 / 6)
    assert km.lower[1] == pytest.approx((4 / 6) ** math.exp(-spread), rel=1e-13)
    assert km.upper[1] == pytest.approx((4 / 6) ** math.exp(spread), rel=1e-13)


def test_steps_are_right_continuous_and_carried_on() -> None:
    read = kaplan_meier(TIME, EVENT).at([0, 0.999, 1, 3.9, 4, 9])
    np.testing.assert_allclose(read.survival, [1, 1, 5 / 6, 4 / 6, 2 / 6, 2 / 6])
    assert read.beyond.tolist() == [False, False, False, False, False, True]


def test_quantiles_take_the_middle_of_a_flat_stretch() -> None:
    assert kaplan_meier([1, 2, 3, 4], [1, 1, 1, 1]).quantile(0.5)[0] == 2.5
    assert kaplan_meier([1, 2, 3, 4, 5], [1, 1, 1, 1, 1]).quantile(0.5)[0] == 3
    assert math.isnan(kaplan_meier([1, 2, 3], [1, 0, 0]).quantile(0.5)[0])


def test_competing_deaths_and_rounding() -> None:
    third = np.array([0.1 + 0.2, 0.3])  # one time, but for the last bit
    assert third[0] != third[1]
    assert kaplan_meier(third, [1, 1]).time.size == 1
    assert kaplan_meier([1, 2], [2, 1]).survival.tolist() == [1, 0]


def test_table_at_risk_counts_from_t_on() -> None:
    table = number_at_risk(TIME, EVENT, [0, 2, 4, 6])
    assert table.n_risk.tolist() == [6, 5, 2, 0]
    assert table.n_event.tolist() == [1, 1, 1, 0]  # in [t, next t)
    assert table.cum_events.tolist() == [0, 2, 3, 3]  # up to and including t
    assert table.cum_censored.tolist() == [0, 0, 2, 3]  # before t


def test_follow_up_is_reverse_kaplan_meier() -> None:
    # censorings at 2, 3, 5 are the events: 1 - 1/5, times 1 - 1/3, times 0
    assert followup_time(TIME, EVENT)[0] == 5


@pytest.mark.parametrize(
    ("time", "event", "words"),
    [
        ([], [], "empty"),
        ([1, -1], [1, 0], "negative"),
        ([1, np.nan], [1, 0], "missing"),
        ([1, 2], [1, 3], "none of 0"),
        ([1, 2], [1], "one length"),
    ],
)
def test_wrong_input_is_named(time: list[float], event: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        kaplan_meier(time, event)
