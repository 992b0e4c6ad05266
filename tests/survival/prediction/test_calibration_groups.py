"""Calibration says nothing of a time to which nobody was followed, in any group and altogether."""

import numpy as np
import pytest

from pathoprog.report.calibration import calibration_figure
from pathoprog.report.style import FADED
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.summary import calibration_parts


@pytest.mark.parametrize("competing", [False, True])
def test_a_group_not_followed_so_long_has_no_observed_risk(competing: bool):
    rng = np.random.default_rng(1)
    risk = np.repeat([0.2, 0.6], 40)
    time, event = rng.uniform(1, 8, 80), rng.choice([0, 1, 2], 80)
    time[40:] = np.minimum(time[40:], 3.0)  # the worse half, to 3 only
    found = calibration(time, event, risk, 5.0, competing, n_groups=2)
    better, worse = (row for _, row in found.groups.iterrows())
    assert np.isfinite(better["observed"]) and np.isnan(worse["observed"]) and np.isnan(worse["upper"])
    assert np.isfinite(found.ratio.value)
    beyond = calibration(time, event, risk, 9.0, competing, n_groups=2)
    assert np.isnan(beyond.observed.value) and np.isnan(beyond.ratio.value)
    assert np.isnan([beyond.ici, beyond.e50, beyond.e90]).all() and np.isnan(beyond.curve).all()


def test_where_the_last_of_a_group_had_the_event_its_fate_is_known():
    time, event = np.array([1.0, 2.0, 3.0, 9.0, 9.0, 9.0]), np.array([1, 1, 1, 0, 0, 1])
    found = calibration(time, event, np.array([0.8, 0.8, 0.8, 0.2, 0.2, 0.2]), 5.0, n_groups=2)
    assert found.groups["observed"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("competing", [False, True])
def test_the_figure_says_by_what_the_observed_risk_is_told(competing: bool):
    rng = np.random.default_rng(1)
    risk = rng.uniform(0.05, 0.6, 100)
    found = calibration(rng.uniform(1, 8, 100), rng.choice([0, 1, 2], 100), risk, 4.0, competing, n_groups=4)
    numbers, curve = calibration_parts(found, risk)
    figure = calibration_figure({"calibration": numbers, "calibration_curve": curve}, "4 years")
    name = "Aalen-Johansen" if competing else "Kaplan-Meier"
    assert figure.axes[0].get_ylabel() == f"Observed risk ({name})"


def test_groups_with_few_at_risk_at_the_horizon_are_faded_and_so_is_the_curve_beyond_the_others():
    rng = np.random.default_rng(1)
    risk = np.sort(rng.uniform(0.05, 0.6, 100))
    time = np.where(np.arange(100) < 75, 8.0, rng.uniform(1, 3.9, 100))  # the last quarter is not followed to 4
    time[-1] = 5.0
    found = calibration(time, rng.choice([0, 1], 100), risk, 4.0, n_groups=4)
    assert found.groups["at_risk"].tolist() == [25, 25, 25, 1]
    numbers, curve = calibration_parts(found, risk)
    lines = calibration_figure({"calibration": numbers, "calibration_curve": curve}, "4 years").axes[0].lines
    dots = [line for line in lines if line.get_marker() == "o"]
    assert [dot.get_alpha() for dot in dots] == [1.0, 1.0, 1.0, FADED]
    (solid,) = [line for line in lines if line.get_label() == "smooth curve, 95% band"]
    drawn = np.isfinite(solid.get_ydata())
    assert np.array_equal(drawn, solid.get_xdata() <= found.groups["high"][2])
    assert 0 < drawn.sum() < drawn.size
