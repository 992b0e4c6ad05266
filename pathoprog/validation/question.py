"""A population as a question to the list of analyses: years of follow-up, the classes, cohorts as strata if pooled."""

from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import groups_of
from pathoprog.survival.question import Grouping, Model, Question, Score
from pathoprog.survival.table import CODE, TIME
from pathoprog.validation.populations import Population

GROUPINGS = (
    Grouping("poor against the rest", ("poor",), "poor", "not poor"),
    Grouping("the rest against good", ("uncertain", "poor"), "not good", "good"),
)
"""Both ways to make two groups of three: *uncertain* is never dropped."""
GROUPINGS_OF_TWO = (Grouping("poor against good", ("poor",), "poor", "good"),)
"""The two classes of one resolution are two groups already."""


def groupings_of(population: Population) -> tuple[Grouping, ...]:
    """The ways to make two groups of the ensemble's classes."""
    return GROUPINGS if "uncertain" in population.possible_classes else GROUPINGS_OF_TWO


def question_of(population: Population, group: str = "risk_class", **asked: Any) -> Question:
    """The population's patients with what is asked of them.

    The levels stand by their names, not by risk: this order decides the last digit of a test, and was always so.

    Args:
        population: the patients.
        group: column of the groups.
        asked: further fields of `Question`.
    """
    data = population.patients
    frame = data.assign(**{TIME: data["years"], CODE: data["event"]})
    levels = tuple(groups_of(data[group], len(data))[0])
    return Question(frame=frame, group=group, levels=levels, within=population.strata or "", **asked)


def model_of(population: Population, *covariates: str) -> Model:
    """A Cox model, stratified by cohort where cohorts are taken together."""
    return Model(covariates, (population.strata,) if population.strata else ())


def scores_of(population: Population, members: pd.DataFrame | None = None) -> list[tuple[str, str, Score]]:
    """The one number, the classes, each resolution where there are two, and each single member.

    Args:
        population: the patients.
        members: ``patient_id, role, resolution, member, score``, or None where not known.

    Returns:
        For each score its name in tables, its resolution (empty: both), and itself.
    """
    data = population.patients
    found = [
        ("ensemble", "", one_number(population)),
        (population.classes_called, "", Score("classes", "c_classes", data["class_order"].to_numpy(dtype=float))),
    ]
    for name in population.resolutions if len(population.resolutions) > 1 else ():  # of one the number above is its
        values = data[f"score_{name}"].to_numpy(dtype=float)
        found.append((f"{name} ensemble", name, Score(name, "c_resolutions", values)))
    if members is None:
        return found
    own = members[(members["role"] == population.role) & members["patient_id"].isin(data["patient_id"])]
    for (resolution, member), group in own.groupby(["resolution", "member"], sort=True):
        values = data["patient_id"].map(group.set_index("patient_id")["score"]).to_numpy(dtype=float)
        found.append((str(member), str(resolution), Score(f"{resolution} {member}", "c_members", values)))
    return found


def one_number(population: Population) -> Score:
    """The ensemble's one number."""
    return Score("one_number", "c_index", population.patients["one_number"].to_numpy(dtype=float))


def true_hazard_of(population: Population, truth: pd.DataFrame) -> Score:
    """The hazard that a simulation gave each patient.

    Args:
        population: the patients.
        truth: ``patient_id, log_hazard``.

    Raises:
        InputError: patients are not in it.
    """
    data = population.patients
    known = data["patient_id"].map(truth.drop_duplicates("patient_id").set_index("patient_id")["log_hazard"])
    if known.isna().any():
        raise InputError(f"truth: {int(known.isna().sum())} of {len(data)} patients of {population.name} are not in it")
    return Score("true hazard", "true_hazard", np.asarray(known, dtype=float))
