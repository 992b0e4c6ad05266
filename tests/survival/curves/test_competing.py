"""Competing deaths: cumulative incidence, Gray's test and Fine-Gray against cmprsk."""

import math

import made_survival as small
import numpy as np
import pytest

from pathoprog.survival import kaplan_meier
from pathoprog.survival.curves.competing import cumulative_incidence, gray_test
from pathoprog.survival.regression.fine_gray import fine_gray


@pytest.mark.parametrize("group", ["a", "b", "c"])
def test_cumulative_incidence_is_that_of_cuminc(group: str) -> None:
    mine = small.FRAME[small.FRAME["group"] == group]
    read = cumulative_incidence(mine["time"], mine["event"]).at(small.HORIZONS)
    np.testing.assert_allclose(read.value, small.INCIDENCE[group], rtol=1e-12)
    np.testing.assert_allclose(read.std_err**2, small.INCIDENCE_VARIANCE[group], rtol=1e-12)
    assert (read.lower <= read.value).all() and (read.value <= read.upper).all()


def test_statsmodels_agrees() -> None:
    from statsmodels.duration.api import CumIncidenceRight

    other = CumIncidenceRight(np.array(small.TIME, dtype=float), np.array(small.EVENT))
    ours = cumulative_incidence(small.TIME, small.EVENT).at(other.times)
    np.testing.assert_allclose(ours.value, other.cinc[0], rtol=1e-12)


def test_both_incidences_and_survival_add_up_to_one() -> None:
    first, second = (cumulative_incidence(small.TIME, small.EVENT, cause) for cause in (1, 2))
    any_death = kaplan_meier(small.TIME, np.array(small.EVENT) > 0)
    np.testing.assert_allclose(first.value + second.value + any_death.survival, 1, rtol=1e-14)


def test_without_competing_deaths_it_is_kaplan_meier() -> None:
    found = cumulative_incidence(small.SINGLE["time"], small.SINGLE["event"])
    km = kaplan_meier(small.SINGLE["time"], small.SINGLE["event"])
    np.testing.assert_allclose(found.value, 1 - km.survival, rtol=1e-13, atol=1e-15)


def test_gray_is_that_of_cuminc() -> None:
    swapped = np.array([0, 2, 1])[small.EVENT]
    for event, expected in ((small.EVENT, small.GRAY[0]), (swapped, small.GRAY[1])):
        test = gray_test(small.TIME, event, small.GROUP)
        assert test.statistic == pytest.approx(expected, rel=1e-11) and test.df == 2
    assert gray_test(small.TIME, small.EVENT, small.GROUP, ["c", "a", "b"]).statistic == pytest.approx(small.GRAY[0])
    assert math.isnan(gray_test([1, 2], [1, 2], ["a", "a"]).p_value)


def test_fine_gray_is_that_of_crr() -> None:
    fit = fine_gray(small.FRAME, "time", "event", ["x", "b"])
    np.testing.assert_allclose(fit.terms["coef"], small.FINE_GRAY["coef"], rtol=1e-10)
    np.testing.assert_allclose(fit.terms["se"], small.FINE_GRAY["se"], rtol=1e-10)
    assert fit.loglik == pytest.approx(small.FINE_GRAY_LOGLIK, rel=1e-12)
    assert (fit.events, fit.competing) == (10, 6)


def test_fine_gray_depends_on_the_order_of_times_only() -> None:
    """Unlike crr, whose weights go wrong where somebody has time 0."""
    moved = small.FRAME.assign(time=np.exp(small.FRAME["time"] / 5) - np.exp(0.2))
    assert moved["time"].min() == 0
    fit = fine_gray(moved, "time", "event", ["x", "b"])
    np.testing.assert_allclose(fit.terms["coef"], small.FINE_GRAY["coef"], rtol=1e-9)


def test_fine_gray_says_what_it_cannot_estimate() -> None:
    gone = (small.FRAME["group"] == "b") & (small.FRAME["event"] == 1)
    frame = small.FRAME.assign(event=np.where(gone, 0, small.EVENT))
    row = fine_gray(frame, "time", "event", ["group", "x"]).terms.set_index("level").loc["b"]
    assert row["coef"] == -math.inf and row["note"]
    twice = fine_gray(small.FRAME.assign(y=small.FRAME["x"] * 2), "time", "event", ["x", "y"]).terms
    assert math.isnan(twice["coef"][1]) and "determined" in twice["note"][1]
