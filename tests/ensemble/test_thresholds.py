"""Thresholds: the log-rank of every cut agrees with lifelines, and the rule finds a planted cut."""

import tracemalloc

import numpy as np
import pytest
from lifelines.statistics import logrank_test

from pathoprog.ensemble import thresholds
from pathoprog.ensemble.thresholds import candidate_cuts, fit_threshold, logrank_of_cuts
from pathoprog.errors import InputError


@pytest.fixture
def patients():
    rng = np.random.default_rng(3)
    n = 300
    score = rng.uniform(size=n)
    time = np.round(rng.exponential(np.where(score >= 0.6, 1.0, 4.0)) * 4) / 4 + 0.25  # ties
    event = (rng.uniform(size=n) < 0.7).astype(int)
    return score, time, event, np.where(rng.uniform(size=n) < 0.5, "a", "b")


def test_logrank_of_each_cut_agrees_with_lifelines(patients):
    score, time, event, _ = patients
    cuts = np.array([0.3, 0.5, 0.8])
    got = logrank_of_cuts(score, time, event == 1, np.full(len(score), "a"), cuts)
    for cut, statistic in zip(cuts, got, strict=True):
        above = score >= cut
        wanted = logrank_test(time[above], time[~above], event[above], event[~above]).test_statistic
        assert statistic == pytest.approx(wanted, rel=1e-9)


def test_the_rule_finds_a_planted_cut_and_keeps_the_shares(patients):
    score, time, event, strata = patients
    found = fit_threshold(score, time, event, strata, 0.15, bootstrap=30)
    assert found.value == pytest.approx(0.6, abs=0.03)
    assert found.lower <= found.value <= found.upper
    assert found.share_above == pytest.approx(np.mean(score >= found.value))
    high = fit_threshold(score, time, event, strata, 0.45, bootstrap=0)
    assert 0.45 <= high.share_above <= 0.55 and high.lower == high.value == high.upper


def test_one_stratum_or_two_differ_only_by_stratification(patients):
    score, time, event, strata = patients
    cuts = np.array([0.5])
    split = logrank_of_cuts(score, time, event == 1, strata, cuts)
    whole = logrank_of_cuts(score, time, event == 1, np.full(len(score), "a"), cuts)
    assert split[0] != whole[0] and split[0] == pytest.approx(whole[0], rel=0.2)


def test_ties_in_score_stay_on_one_side():
    assert candidate_cuts(np.array([0.1, 0.1, 0.9, 0.9]), 0.15).tolist() == [0.5]


def test_what_cannot_be_fitted_is_refused(patients):
    score, time, event, strata = patients
    with pytest.raises(InputError, match="has the event"):
        fit_threshold(score, time, 0 * event, strata)
    with pytest.raises(InputError, match="too alike"):
        fit_threshold(np.full(len(score), 0.5), time, event, strata)


@pytest.mark.parametrize("cells", [1, 700, 20_000])
def test_cuts_taken_in_parts_give_the_same_bits(patients, monkeypatch, cells):
    score, time, event, strata = patients
    for n_cuts in (1, 2, 3, 4, 5, 7, 200):
        cuts = np.linspace(0.2, 0.8, n_cuts)
        given = score, time, event == 1, strata, cuts
        monkeypatch.setattr(thresholds, "MOST_CELLS", 1 << 40)
        whole, fitted = logrank_of_cuts(*given), fit_threshold(score, time, event, strata, bootstrap=5)
        monkeypatch.setattr(thresholds, "MOST_CELLS", cells)
        assert logrank_of_cuts(*given).tobytes() == whole.tobytes()
    assert fit_threshold(score, time, event, strata, bootstrap=5) == fitted


def test_memory_does_not_grow_with_patients_times_cuts(monkeypatch):
    monkeypatch.setattr(thresholds, "MOST_CELLS", 20_000)
    rng = np.random.default_rng(1)
    n = 1500
    score, time = rng.uniform(size=n), rng.exponential(size=n)
    cuts = candidate_cuts(score, 0.15)
    tracemalloc.start()
    try:
        logrank_of_cuts(score, time, rng.uniform(size=n) < 0.5, np.full(n, "a"), cuts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n * len(cuts) * 8 / 2, "half of one table of all patients and cuts, of which there were several"
