"""Folds: nobody in two, sites together, outcomes spread evenly, the same again from the same seed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.errors import CohortError, InputError
from pathoprog.training.config import SplitSettings
from pathoprog.training.data.folds import assign_folds, connected, read_folds
from pathoprog.training.data.learners import read_parts


@settings(deadline=None)
@given(
    strata=st.lists(st.sampled_from(["good", "poor", "event 0"]), min_size=8, max_size=60),
    folds=st.integers(2, 8),
    seed=st.integers(0, 99),
)
def test_patients_alone_are_spread_evenly_by_outcome(strata: list[str], folds: int, seed: int) -> None:
    outcome = {f"P{number:02d}": stratum for number, stratum in enumerate(strata)}
    groups = [[name] for name in outcome]
    found = assign_folds(groups, outcome, folds, seed)
    assert found == assign_folds(groups, outcome, folds, seed)
    assert set(found) == set(outcome)
    for stratum in set(strata):
        counts = Counter(fold for name, fold in found.items() if outcome[name] == stratum)
        each = [counts[fold] for fold in range(folds)]
        assert max(each) - min(each) <= 1
    sizes = Counter(found.values())
    assert max(sizes[fold] for fold in range(folds)) - min(sizes[fold] for fold in range(folds)) <= len(set(strata))


@settings(deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 29), st.sampled_from("abcdefghij")), min_size=30, max_size=80),
    folds=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_no_site_and_no_patient_is_in_two_folds(places: list[tuple[int, str]], folds: int, seed: int) -> None:
    pairs = [(f"P{patient:02d}", site) for patient, site in places]
    patients = sorted({patient for patient, _ in pairs})
    groups = connected(patients, pairs)
    assert sorted(name for group in groups for name in group) == patients
    strata = dict.fromkeys(patients, "event 1")
    if len(groups) < folds:
        with pytest.raises(InputError, match="groups of patients"):
            assign_folds(groups, strata, folds, seed)
        return
    found = assign_folds(groups, strata, folds, seed)
    folds_of_site: dict[str, set[int]] = {}
    for patient, site in pairs:
        folds_of_site.setdefault(site, set()).add(found[patient])
    assert all(len(there) == 1 for there in folds_of_site.values())


def test_a_patient_at_two_sites_joins_them() -> None:
    pairs = [("A", "x"), ("B", "x"), ("B", "y"), ("C", "y"), ("D", "z")]
    assert connected(["A", "B", "C", "D"], pairs) == [["A", "B", "C"], ["D"]]


def test_sites_of_unequal_size_still_share_events() -> None:
    rng = np.random.default_rng(3)
    sizes = [40, 30, 20, 20, 10, 10, 10, 5, 5]
    groups = [[f"{site}-{n}" for n in range(size)] for site, size in enumerate(sizes)]
    strata = {name: str(rng.choice(["poor", "good"], p=[0.3, 0.7])) for group in groups for name in group}
    found = assign_folds(groups, strata, 3, 1)
    poor = Counter(fold for name, fold in found.items() if strata[name] == "poor")
    assert max(Counter(found.values()).values()) <= 60 and max(poor.values()) <= 1.6 * min(poor.values())


def test_another_seed_deals_otherwise() -> None:
    strata = {f"P{number:02d}": "good" for number in range(30)}
    groups = [[name] for name in strata]
    assert assign_folds(groups, strata, 5, 1) != assign_folds(groups, strata, 5, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


def test_both_resolutions_and_all_candidates_share_the_folds(data, tmp_path):
    run = made_settings(data, tmp_path)
    run.split = SplitSettings(folds=4)
    folds = read_folds(run)
    assert len(folds) == 32 and set(Counter(folds.values()).values()) == {8}
    assert read_folds(replace(run, resolution="40x", seed=9)) == folds
    held_out = []
    for fold in range(4):
        run.split.fold = fold
        learning, judging = read_parts(run)
        assert {patient.patient_id for patient in judging} == {name for name, k in folds.items() if k == fold}
        assert not {patient.patient_id for patient in learning} & {patient.patient_id for patient in judging}
        assert Counter(patient.event for patient in judging) == {0: 4, 1: 4}
        held_out += judging
    assert len(held_out) == 32


def test_sites_come_from_the_column_that_is_named(data, tmp_path):
    run = made_settings(data, tmp_path)
    run.split = SplitSettings(folds=2, together="scan_site")
    folds, cohort = read_folds(run), pd.read_csv(data.cohort)
    for _, rows in cohort.groupby("scan_site"):
        assert len({folds[name] for name in rows["patient_id"]}) == 1
    run.split.folds = 3
    with pytest.raises(InputError, match="only 2 groups"):
        read_folds(run)
    run.split.together = "hospital"
    with pytest.raises(CohortError, match="no such column"):
        read_folds(run)
    cohort.loc[3, "scan_site"] = None
    cohort.to_csv(tmp_path / "cohort.csv", index=False)
    holes = made_settings(replace(data, cohort=str(tmp_path / "cohort.csv")), Path("unused"))
    holes.split = SplitSettings(folds=2, together="scan_site")
    with pytest.raises(CohortError, match="empty for 1 slides"):
        read_folds(holes)
