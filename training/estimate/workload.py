"""How much a training is to do: steps, and tiles that go through the network in them and in judging."""

from dataclasses import dataclass

import pandas as pd

from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.errors import InputError
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.bags import Patient, read_patients
from pathoprog.training.data.tile_store import spec_of

WHOLE_BAG = 1000
"""Tiles of a patient where all of them are taken and nobody knows yet how many there are."""


@dataclass(frozen=True)
class Workload:
    """What one candidate is to do.

    Attributes:
        steps: of the training.
        tiles_per_step: that go forward and back through the network in each.
        judged_tiles: that go forward alone, in all evaluations; None: not known before tiles are cut.
        evaluations: how often the network is judged.
        values_per_tile: pixels of a tile, or numbers of its features.
    """

    steps: int
    tiles_per_step: int
    judged_tiles: int | None
    evaluations: int
    values_per_tile: int


def trained_values(settings: TrainConfig) -> float:
    """All pixels (or numbers of features) of a candidate's steps: by which a run is long or not. Reads nothing."""
    fit = settings.fit
    return float(fit.steps) * fit.patients_per_step * (fit.tiles_per_patient or WHOLE_BAG) * values_per_tile(settings)


def values_per_tile(settings: TrainConfig) -> int:
    """Pixels of a tile, or numbers of its features."""
    side = spec_of(settings.data, settings.resolution).size_px
    return settings.network.feature_dim if settings.data.source == "features" else side**2


def workload(settings: TrainConfig, rows: pd.DataFrame) -> Workload:
    """What a candidate of these settings is to do.

    Args:
        settings: of the candidate.
        rows: of the cohort table that training reads.
    """
    fit = settings.fit
    learning, judging = _counts(settings, rows)
    per_bag = fit.tiles_per_patient or _mean_tiles(settings, "training") or WHOLE_BAG
    evaluations = -(-fit.steps // fit.evaluate_every)
    per_step = fit.patients_per_step * per_bag
    tiles = fit.evaluate_tiles or _mean_tiles(settings, "tuning")
    shown = judging + min(learning, fit.training_sample)
    judged = None if tiles is None else evaluations * (shown * tiles + fit.recalibrate * per_step)
    return Workload(
        steps=fit.steps,
        tiles_per_step=per_step,
        judged_tiles=judged,
        evaluations=evaluations,
        values_per_tile=values_per_tile(settings),
    )


def _counts(settings: TrainConfig, rows: pd.DataFrame) -> tuple[int, int]:
    """Patients that learn, and patients that judge."""
    by_role = rows.groupby("role")["patient_id"].nunique()
    training, tuning = (int(by_role.get(role, 0)) for role in DEVELOPMENT_ROLES)
    if not settings.split.folds:
        return training, tuning
    everybody = int(rows["patient_id"].nunique())
    return everybody - everybody // settings.split.folds, everybody // settings.split.folds


def _mean_tiles(settings: TrainConfig, role: str) -> int | None:
    """Mean number of tiles of a patient of a role; None where they are not there yet."""
    try:
        patients: list[Patient] = read_patients(settings, role)
    except InputError:
        return None
    return -(-sum(patient.n_tiles for patient in patients) // len(patients))
