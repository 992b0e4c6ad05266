"""Folds of cross-validation: patients, and on request whole sites, stay together; outcomes are spread evenly."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.errors import CohortError, InputError
from pathoprog.training.config import CandidateSettings

NONE_HELD_OUT = -1


def read_folds(settings: CandidateSettings) -> dict[str, int]:
    """Fold of each patient for development, from the cohort's and the outcomes' tables alone: one for all resolutions.

    Raises:
        CohortError: `split.together` is no column of the cohort, or empty for a patient; patients without an outcome.
        InputError: see `assign_folds`.
    """
    data, split = settings.data, settings.split
    cohort = read_cohort(data.cohort, data.overlap)
    cohort = cohort[cohort["role"].isin(DEVELOPMENT_ROLES)]
    outcomes = read_outcomes(data.outcomes)
    labels = distinct_outcome(outcomes, settings.labels)
    strata = {
        str(row["patient_id"]): str(label) or f"event {int(row['event'] == 1)}"
        for row, label in zip(outcomes.to_dict("records"), labels, strict=True)
    }
    patients = sorted(set(cohort["patient_id"].astype(str)))
    missing = [name for name in patients if name not in strata]
    if missing:
        raise CohortError(f"{data.outcomes}: no outcome for {len(missing)} patients, first {missing[:3]}")
    groups = connected(patients, _sites(cohort, split.together) if split.together else [])
    return assign_folds(groups, strata, split.folds, split.seed)


def _sites(cohort: pd.DataFrame, column: str) -> list[tuple[str, str]]:
    """Patient and site of each slide."""
    if column not in cohort:
        raise CohortError(f"split.together={column}: the cohort has no such column; it has {', '.join(cohort.columns)}")
    values = cohort[column].astype("string").fillna("")
    if (values == "").any():
        first = cohort["patient_id"][values == ""].iloc[0]
        raise CohortError(f"split.together={column}: empty for {(values == '').sum()} slides, first of patient {first}")
    return list(zip(cohort["patient_id"].astype(str), values.astype(str), strict=True))


def connected(patients: Sequence[str], places: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Groups of patients that share a place, be it by way of a patient who was at two; ordered by their first id.

    Args:
        patients: all of them.
        places: pairs of patient and place.
    """
    parent = {("patient", name): ("patient", name) for name in patients}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for patient, place in places:
        parent.setdefault(("place", place), ("place", place))
        parent[root(("patient", patient))] = root(("place", place))
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(patients):
        groups.setdefault(root(("patient", name)), []).append(name)
    return list(groups.values())


def assign_folds(groups: Sequence[Sequence[str]], strata: dict[str, str], folds: int, seed: int) -> dict[str, int]:
    """Deal groups of patients out to folds, so that each fold gets its share of every stratum.

    The largest groups come first, equal ones in an order drawn from the seed; each goes to the fold that has least of
    what it brings. Single patients are so spread that the folds' counts of a stratum differ by at most one.

    Args:
        groups: patients that must stay together.
        strata: outcome of each patient.
        folds: k, at least 2.
        seed: of the order.

    Returns:
        Fold of each patient, 0 to k - 1.

    Raises:
        InputError: fewer groups than folds.
    """
    if len(groups) < folds:
        raise InputError(
            f"split.folds={folds}: there are only {len(groups)} groups of patients that stay together;"
            " lower split.folds, or give another split.together"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    queue = sorted((groups[index] for index in order), key=len, reverse=True)
    total = Counter(strata[name] for group in groups for name in group)
    counts = [Counter[str]() for _ in range(folds)]
    found: dict[str, int] = {}
    for group in queue:
        brings = Counter(strata[name] for name in group)

        def burden(fold: int, brings: Counter[str] = brings) -> tuple[float, int, int]:
            there = counts[fold]
            load = sum(n * (2 * there[stratum] + n) / total[stratum] for stratum, n in brings.items())
            return round(load, 9), there.total(), fold

        fold = min(range(folds), key=burden)
        counts[fold] += brings
        found |= dict.fromkeys(group, fold)
    return found
