"""How well scores and groups tell patients apart: concordance, and values of a positive class at a horizon."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoprog.errors import InputError
from pathoprog.survival.arrays import COMPETING, FloatArray
from pathoprog.survival.prediction.concordance import Concordance, harrell_c, uno_c
from pathoprog.survival.prediction.horizon import (
    CompleteCases,
    HorizonValues,
    WeightedValues,
    values_by_curves,
    values_by_weights,
    values_of_complete_cases,
)
from pathoprog.survival.question import Followed, Grouping, NotEstimated, Question, Score


@dataclass(frozen=True)
class Discrimination:
    """Concordance of a score.

    Attributes:
        n: patients who have it.
        harrell: Harrell's c, competing deaths censored.
        uno: Uno's c, likewise; why there is none under delayed entry or case weights.
        deaths_as_controls: Harrell's c with competing deaths as controls that never have the event; None where there
            are none.
    """

    n: int
    harrell: Concordance
    uno: Concordance | NotEstimated
    deaths_as_controls: Concordance | None


def c_index(q: Question) -> dict[str, Discrimination | NotEstimated]:
    """Concordance of the one score."""
    return {score.name: discrimination(q, score) for score in q.scored("c_index")}


def c_classes(q: Question) -> dict[str, Discrimination | NotEstimated]:
    """Concordance of the groups in their order."""
    return {score.name: discrimination(q, score) for score in q.scored("c_classes")}


def c_resolutions(q: Question) -> dict[str, Concordance | NotEstimated]:
    """Harrell's c of each resolution's score."""
    return {score.name: _harrell(q, score) for score in q.scored("c_resolutions")}


def c_members(q: Question) -> dict[str, Concordance | NotEstimated]:
    """Harrell's c of each single member."""
    return {score.name: _harrell(q, score) for score in q.scored("c_members")}


def c_true_hazard(q: Question) -> dict[str, Concordance | NotEstimated]:
    """Harrell's c of a simulation's true hazard: the best that any score could reach."""
    return {score.name: _harrell(q, score) for score in q.scored("true_hazard")}


def discrimination(q: Question, score: Score) -> Discrimination | NotEstimated:
    """Concordance of a score among those who have it; why there is none where nobody has."""
    given = _with_score(q, score)
    if isinstance(given, NotEstimated):
        return given
    of, values = given
    deaths = bool((of.event == COMPETING).any())
    controls = _harrell_of(of, values, competing_as_control=True) if deaths else None
    uno: Concordance | NotEstimated = NotEstimated("Uno's c takes no delayed entry and no case weights")
    if of.entry is None and of.weight is None:
        uno = uno_c(of.time, of.event, values, patient=of.patient)
    return Discrimination(of.time.size, _harrell_of(of, values), uno, controls)


def _harrell_of(of: Followed, values: FloatArray, competing_as_control: bool = False) -> Concordance:
    return harrell_c(
        of.time,
        of.event,
        values,
        competing_as_control=competing_as_control,
        entry=of.entry,
        weight=of.weight,
        patient=of.patient,
    )


def _harrell(q: Question, score: Score) -> Concordance | NotEstimated:
    given = _with_score(q, score)
    return given if isinstance(given, NotEstimated) else _harrell_of(*given)


def _with_score(q: Question, score: Score) -> tuple[Followed, FloatArray] | NotEstimated:
    """Those who have the score, and their scores."""
    there = np.isfinite(score.values)
    if not there.any():
        return NotEstimated("no numbers in this column")
    return q.all_rows.of(there), score.values[there]


@dataclass(frozen=True)
class AtHorizon:
    """Sensitivity, specificity, PPV and NPV of a grouping at a horizon, by estimator."""

    grouping: Grouping
    horizon: float
    values: dict[str, HorizonValues | WeightedValues | CompleteCases] | NotEstimated


def primary_estimator(competing: bool) -> str:
    """Whose values lead: Aalen-Johansen's where deaths compete (who dies of something else never has the event)."""
    return "aalen_johansen" if competing else "kaplan_meier"


def horizon_values(q: Question) -> list[AtHorizon]:
    """Values of each grouping at each horizon by every estimator, that of `primary_estimator` first.

    Where deaths compete, Kaplan-Meier's values are net. Inverse censoring weights are a check; complete cases are a
    note only, since they mislead late.
    """
    found = []
    for grouping in q.groupings:
        positive = np.isin(q.label, grouping.levels)
        for horizon in q.horizons:
            try:
                found.append(AtHorizon(grouping, horizon, _by_estimator(q, positive, horizon)))
            except InputError as error:  # all patients are in one class
                found.append(AtHorizon(grouping, horizon, NotEstimated(str(error))))
    return found


def _by_estimator(
    q: Question, positive: npt.NDArray[np.bool_], horizon: float
) -> dict[str, HorizonValues | WeightedValues | CompleteCases]:
    given = (q.grouped.time, q.grouped.event, positive, horizon)
    absolute: dict[str, HorizonValues | WeightedValues | CompleteCases] = {}
    if q.competing:
        absolute["aalen_johansen"] = values_by_curves(*given, competing=True)
        absolute["inverse_weights_competing"] = values_by_weights(*given, competing=True)
    return absolute | {
        "kaplan_meier": values_by_curves(*given),
        "inverse_weights": values_by_weights(*given),
        "complete_cases": values_of_complete_cases(*given),
    }
