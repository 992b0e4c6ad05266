"""A further site's interval: worked out by draws, its limits, and that it covers where Higgins' does not."""

import numpy as np
import pytest
from scipy.stats import chi2

from pathoprog.errors import InputError
from pathoprog.survival.sites.known_coverage import SIMULATED, nearest
from pathoprog.survival.sites.random_effects import further_site, random_effects

Y = np.array([0.9, 0.2, 1.4, 0.6, 0.1, 1.1])
SE = np.array([0.2, 0.25, 0.3, 0.2, 0.25, 0.35])


def test_the_interval_is_that_of_draws() -> None:
    """Q has a chi-squared distribution: drawn, solved for tau2, and the further value drawn about that tau2's mean."""
    rng = np.random.default_rng(1)
    tau2 = np.linspace(0, 12, 60_001)
    weight = 1 / (SE**2 + tau2[:, None])
    mean = weight @ Y / weight.sum(axis=1)
    q = (weight * (Y - mean[:, None]) ** 2).sum(axis=1)
    drawn = chi2.rvs(Y.size - 1, size=200_000, random_state=rng)
    place = np.searchsorted(-q, -drawn).clip(max=tau2.size - 1)
    values = mean[place] + rng.standard_normal(drawn.size) * np.sqrt(1 / weight.sum(axis=1) + tau2)[place]
    assert further_site(Y, SE) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)


def test_it_is_wider_than_higgins_and_moves_with_the_estimates() -> None:
    low, high = further_site(Y, SE)
    pool = random_effects(Y, SE)
    assert low < pool.prediction_lower and pool.prediction_upper < high
    assert further_site(Y + 3, SE) == pytest.approx((low + 3, high + 3), abs=1e-6)
    assert further_site(10 * Y, 10 * SE) == pytest.approx((10 * low, 10 * high), rel=1e-5)
    narrow = further_site(Y, SE, level=0.5)
    assert low < narrow[0] < narrow[1] < high
    alike = further_site(np.full(6, 0.7), SE)  # no spread seen at all: the normal interval of a common value
    half = 1.959964 / np.sqrt((1 / SE**2).sum())
    assert alike == pytest.approx((0.7 - half, 0.7 + half), abs=1e-6)
    with pytest.raises(InputError, match="nothing to pool"):
        further_site([0.5], [0.1])


def test_few_sites_are_covered_where_higgins_interval_is_not() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = 0, 0
    for _ in range(400):
        se = rng.uniform(0.12, 0.25, 5)
        y, value = rng.normal(0, np.hypot(0.25, se)), 0.25 * rng.standard_normal()
        low, high = further_site(y, se)
        pool = random_effects(y, se, "DL", knapp_hartung=False)
        ours += low <= value <= high
        theirs += pool.prediction_lower <= value <= pool.prediction_upper
    assert ours / 400 > 0.93 > 0.9 > theirs / 400


def test_the_simulated_tables_most_like_these() -> None:
    assert (nearest(6, 13.0).sites, nearest(6, 13.0).events) == (5, 24)
    assert (nearest(100, 300.0).sites, nearest(100, 300.0).patients) == (20, 200)
    for one in SIMULATED:  # Higgins' fails nearly everywhere, ours nowhere by much
        assert 0.91 < one.further < 0.99 and 0.93 < one.mean_knapp_hartung < 0.97 and one.higgins < 0.93
