"""Patients as bags of tiles or features, and the draw of a step's bags: a function of seed and step alone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.errors import CohortError, InputError
from pathoprog.stream.requests import PlacedTiles, TileRequests
from pathoprog.system.file_array import FileArray
from pathoprog.system.h5_array import H5Array
from pathoprog.training.config import TrainConfig
from pathoprog.training.data import feature_store, slide_source, tile_store
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.jpeg_tiles import JpegTiles
from pathoprog.training.data.left_out import LeftOut


@dataclass
class Patient:
    """One patient in one role: all tiles of all slides, one behind the other, and the outcome.

    `label` is good, poor or empty (no distinct outcome). `event` is 1 for the event of the endpoint, else 0.
    """

    patient_id: str
    slides: list[tile_store.StoredSlide]
    followup_days: float
    event: int
    label: str
    site: str
    cohort: str

    @property
    def n_tiles(self) -> int:
        """Number of stored tiles."""
        return sum(len(slide.tiles) for slide in self.slides)

    def ask(self, index: NDArray[np.int64]) -> Callable[[], NDArray[Any]]:
        """Have tiles read, where slides' readers do it; the call that is returned gives them as `gather` does."""
        starts = np.cumsum([0, *(len(slide.tiles) for slide in self.slides)])
        which = np.searchsorted(starts, index, side="right") - 1
        tiles = [slide.tiles for slide in self.slides]
        parts = []
        for number in np.unique(which):
            here = which == number
            parts.append((here, _asked(tiles[number], index[here] - starts[number])))

        def fetch() -> NDArray[Any]:
            result = np.empty((len(index), *tiles[0].shape[1:]), np.result_type(*(part.dtype for part in tiles)))
            for here, part in parts:
                result[here] = part()
            return result

        return fetch

    def gather(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Tiles uint8 [len(index), s, s, 3], or features [len(index), d], by their number within the patient."""
        return self.ask(index)()


def _asked(
    tiles: NDArray[Any] | FileArray | JpegTiles | H5Array | PlacedTiles, index: NDArray[np.int64]
) -> Callable[[], NDArray[Any]]:
    """Tiles of a slide by number: an array's are read when they are fetched, a slide's from now on."""
    if isinstance(tiles, PlacedTiles):
        return tiles.ask(index).result
    return lambda: tiles[index]


def read_patients(settings: TrainConfig, role: str, requests: TileRequests | None = None) -> list[Patient]:
    """Patients of one role with tiles or features at the candidate's resolution, ordered by id.

    Args:
        settings: of the candidate.
        role: of the patients.
        requests: who reads tiles from slides, where they come from there; None where none will be asked for.

    Raises:
        CohortError: patients without an outcome.
        InputError: no patient is left, or features that do not fit (see `feature_store.read`).
    """
    data = settings.data
    cohort = read_cohort(data.cohort, data.overlap)
    cohort = cohort[cohort["role"] == role]
    if cohort.empty:
        raise CohortError(f"{data.cohort}: no row has the role {role}")
    if not data.outcomes:
        raise InputError("data.outcomes is missing: give data.outcomes=… (outcomes.csv)")
    outcomes = read_outcomes(data.outcomes)
    labels = dict(zip(outcomes["patient_id"], distinct_outcome(outcomes, settings.labels), strict=True))
    by_patient = {row["patient_id"]: row for row in outcomes.to_dict("records")}
    missing = sorted(set(cohort["patient_id"]) - set(by_patient))
    if missing:
        raise CohortError(f"{data.outcomes}: no outcome for {len(missing)} patients of {role}, first {missing[:3]}")
    if data.source == "features":
        dim = settings.network.feature_dim
        stored = feature_store.read(cohort["slide_id"], data, settings.resolution, dim)
        where = f"{feature_store.features_folder(data, settings.resolution)}: no features"
        remedy = "`pathoprog features` makes them"
    elif data.source == "slides":
        stored = slide_source.read(cohort, data, settings.resolution, requests)
        where, remedy = "the slides: no tiles", "see data.tumour_policy and the reasons in the grids' `refused`"
    else:
        stored = tile_store.read(cohort["slide_id"], data, settings.resolution)
        where, remedy = (
            f"{data.store}: no tiles",
            f"run `pathoprog tiles` first{_other_cuts(data, settings.resolution)}",
        )
    if not stored:
        raise InputError(f"{where} of {role} at {settings.resolution}; {remedy}")
    patients = []
    for patient_id, rows in cohort.groupby("patient_id", sort=True):
        slides = [stored[slide_id] for slide_id in sorted(rows["slide_id"]) if slide_id in stored]
        if slides:
            outcome = by_patient[patient_id]
            patients.append(
                Patient(
                    str(patient_id),
                    slides,
                    float(outcome["followup_days"]),
                    int(outcome["event"] == 1),
                    str(labels[patient_id]),
                    _site(rows),
                    str(rows["cohort"].iloc[0]),
                )
            )
    return patients


def _other_cuts(data: DataSettings, resolution: str) -> str:
    """What the store holds in place of the tiles that the settings ask for, in words."""
    wanted = tile_store.cut_folder(data, resolution)
    others = sorted(path.name for path in wanted.parent.glob("*px-*") if path != wanted)
    if not others:
        return ""
    return (
        f" (it holds tiles of other settings, {', '.join(others)}, not {wanted.name}: other data.tiles_{resolution}.*,"
        " data.slides.*, data.store_format or data.tumour_policy)"
    )


def _site(rows: pd.DataFrame) -> str:
    for column in ("scan_site", "prep_site", "cohort"):
        if column in rows and str(rows[column].iloc[0]):
            return str(rows[column].iloc[0])
    return ""


@dataclass(frozen=True)
class Share:
    """What one of several processes takes of a step's bags: the part `number` of `of` equal ones."""

    number: int = 0
    of: int = 1

    def part(self, n: int) -> slice:
        """Which of n things, a multiple of `of`."""
        return slice(self.number * n // self.of, (self.number + 1) * n // self.of)


WHOLE_STEP = Share()


@dataclass
class BagBatch:
    """One step's bags: `patients` of all of them, b by number, and the tiles of those that this process takes.

    `tiles` are uint8 [n, s, s, 3] or features [n, d] of the m patients in `Share.part(b)`, one behind the other, and
    `sizes` [m] how many are each patient's.
    """

    patients: list[int]
    tiles: NDArray[Any]
    sizes: list[int]


def make_ready(
    cohort: pd.DataFrame, data: DataSettings, force: bool = False, dims: Mapping[str, int] | None = None
) -> dict[str, LeftOut]:
    """Cut the tiles that the store lacks, lay those that stay in their slides, or look for features.

    Args:
        cohort: rows of the cohort table that training will read.
        data: where everything is.
        force: cut though the disk seems to have no room.
        dims: of features, d that the network takes, by resolution; None: any.

    Returns:
        By slide id, those that training must go without.

    Raises:
        InputError: where tiles stay in the slides, one that cannot be read.
    """
    if data.source == "features":
        return feature_store.missing(cohort["slide_id"], data, dims or {})
    if data.source == "slides":
        slide_source.lay(cohort, data)
        return {}
    reasons = dict[str, str]()
    tile_store.build(cohort, data, force, reasons)
    return {name: LeftOut(reason) for name, reason in reasons.items()}


class Mapper(Protocol):
    """What `map` is, or a pool's `map`: calls a function for each item, and gives the results in the items' order."""

    def __call__(
        self, function: Callable[[Callable[[], NDArray[Any]]], NDArray[Any]], items: list[Callable[[], NDArray[Any]]], /
    ) -> Iterable[NDArray[Any]]:
        """Results in the order of the items."""


Fetch = Callable[[Mapper], BagBatch]
"""Waits for a step's tiles, patient by patient as the mapper runs them, and puts them together."""


def _call(fetch: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    return fetch()


class Sampler:
    """Draws a step's patients and tiles, evenly over the groups that `balance` names (see `FitSettings`).

    With `tiles_per_patient=0` each bag holds all tiles of its patient, once.

    The draw depends on seed and step alone, so a resumed run, any number of readers and any number of processes that
    share a step's bags (`share`: what this one reads of them) see the same batches.
    """

    def __init__(
        self,
        patients: list[Patient],
        balance: str,
        patients_per_step: int,
        tiles_per_patient: int,
        seed: int,
        share: Share = WHOLE_STEP,
    ):
        self.patients, self.share = patients, share
        self.patients_per_step = patients_per_step
        self.tiles_per_patient = tiles_per_patient
        self.seed = seed
        groups: dict[tuple[str, ...], list[int]] = {}
        for index, patient in enumerate(patients):
            values = {
                "class": patient.label or f"event {patient.event}",
                "cohort": patient.cohort,
                "site": patient.site,
            }
            key = tuple(values[part] for part in balance.split("_") if part != "none")
            groups.setdefault(key, []).append(index)
        self.groups = [np.array(groups[key]) for key in sorted(groups)]

    def choose(self, step: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Patients (by number) and their tiles (by number within the patient) of one step."""
        rng = np.random.default_rng([self.seed, step])
        share, rest = divmod(self.patients_per_step, len(self.groups))
        extra = set(rng.permutation(len(self.groups))[:rest].tolist())
        chosen: list[int] = []
        for number, group in enumerate(self.groups):
            wanted = share + (number in extra)
            rounds = [rng.permutation(group) for _ in range(-(-wanted // len(group)))]
            chosen += np.concatenate(rounds)[:wanted].tolist() if rounds else []
        order = rng.permutation(len(chosen))
        result = []
        for index in (chosen[i] for i in order):
            n = self.patients[index].n_tiles
            if self.tiles_per_patient == 0:
                result.append((index, np.arange(n)))
                continue
            tiles = rng.permutation(n)[: self.tiles_per_patient]
            if n < self.tiles_per_patient:  # small tumours: every tile, some of them more than once
                tiles = np.concatenate([tiles, rng.integers(0, n, self.tiles_per_patient - n)])
            result.append((index, tiles))
        return result

    def ask(self, step: int) -> Fetch:
        """Have one step's tiles read, as far as they are this process's; see `Patient.ask`."""
        chosen = self.choose(step)
        mine = chosen[self.share.part(len(chosen))]
        asked = [self.patients[index].ask(np.sort(tiles)) for index, tiles in mine]

        def fetch(run: Mapper) -> BagBatch:
            tiles = list(run(_call, asked))
            return BagBatch([index for index, _ in chosen], np.concatenate(tiles), [len(part) for part in tiles])

        return fetch

    def batch(self, step: int) -> BagBatch:
        """Read one step's tiles, as `ask` does."""
        return self.ask(step)(map)
