"""c-indices by hand and by brute force over all pairs."""

import math

import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import harrell_c, uno_c


def brute(time: np.ndarray, event: np.ndarray, score: np.ndarray) -> tuple[float, int, int, int]:
    concordant = discordant = tied = 0
    for i in range(time.size):
        for j in range(time.size):
            later = time[j] > time[i] or (time[j] == time[i] and event[j] != 1)
            if i != j and event[i] == 1 and later:
                concordant += score[i] > score[j]
                discordant += score[i] < score[j]
                tied += score[i] == score[j]
    return (concordant + tied / 2) / (concordant + discordant + tied), concordant, discordant, tied


def test_by_hand() -> None:
    # pairs: (1,2) right, (1,3) right, (1,4) wrong, (3,4) tied; 2 is censored first
    c = harrell_c([1, 2, 3, 4], [1, 0, 1, 0], [5, 1, 7, 7])
    assert (c.concordant, c.discordant, c.tied_score) == (1, 2, 1)
    assert c.value == pytest.approx(1.5 / 4)


@pytest.mark.parametrize("seed", range(6))
def test_brute_force_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 61 + seed
    time, event = random.integers(0, 12, n).astype(float), random.integers(0, 3, n)
    score = random.integers(0, [3, 40][seed % 2], n).astype(float)
    c = harrell_c(time, event, score)
    assert (c.value, c.concordant, c.discordant, c.tied_score) == pytest.approx(brute(time, event, score))
    opposite = harrell_c(time, event, -score)
    assert opposite.value == pytest.approx(1 - c.value) and opposite.se == pytest.approx(c.se)


def test_standard_error_is_the_jackknife_of_each_patients_weight() -> None:
    random = np.random.default_rng(8)
    n = 40
    time, event, score = (
        random.integers(1, 9, n).astype(float),
        random.integers(0, 2, n),
        random.normal(size=n).round(1),
    )

    def weighted(weight: np.ndarray) -> float:
        later = (time[None] > time[:, None]) | ((time[None] == time[:, None]) & (event[None] == 0))
        pairs = np.outer(weight, weight) * (later & (event[:, None] == 1))
        right = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
        return float((pairs * right).sum() / pairs.sum())

    slopes = [(weighted(1 + 1e-6 * row) - weighted(1 - 1e-6 * row)) / 2e-6 for row in np.eye(n)]
    assert harrell_c(time, event, score).se == pytest.approx(float(np.sqrt(np.square(slopes).sum())), rel=1e-6)


def test_uno_weights_by_hand() -> None:
    # censored at 2 with 3 then at risk: G = 2/3 from there on, so the event at 3 weighs 9/4
    c = uno_c([1, 2, 3, 4], [1, 0, 1, 0], [5, 1, 7, 8])
    assert c.value == pytest.approx((1 + 0) / (3 + 9 / 4))
    assert uno_c([1, 2, 3, 4], [1, 0, 1, 0], [5, 1, 7, 8], tau=2).value == pytest.approx(1 / 3)


def test_competing_deaths_as_controls_outlive_every_event() -> None:
    time, event, score = [1, 2, 3], [2, 1, 0], [0, 5, 9]
    assert harrell_c(time, event, score).value == 0
    assert harrell_c(time, event, score, competing_as_control=True).value == 0.5


def test_nothing_comparable_and_wrong_scores() -> None:
    assert math.isnan(harrell_c([1, 2], [0, 0], [1, 2]).value)
    with pytest.raises(InputError, match="finite numbers"):
        harrell_c([1, 2], [1, 0], [1, np.nan])
