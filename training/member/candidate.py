"""A finished candidate: what its ``candidate.json`` says, its kept checkpoints, and what judged them. No torch.

``candidate.json`` is written last, when a run is done; each kept checkpoint ``step-N.safetensors`` has its verdict
beside it in ``step-N.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pathoprog.ensemble.manifest import CohortFacts
from pathoprog.errors import InputError
from pathoprog.networks.config import NetworkSettings
from pathoprog.system.files import read_json, write_json
from pathoprog.system.records import Record, RecordError, Saved, plain, record_of, saved_of

CANDIDATE, SETTINGS = "candidate.json", "settings.json"
ENSEMBLE_RUN = "ensemble_run.json"
"""What a finished `train_ensemble` leaves above its candidates' folders: their names and settings."""
OUT_OF_FOLD_SCORES = "out_of_fold.csv"
"""What a finished `cross_validate` leaves."""
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class JudgedLoss:
    """The loss of patients whom a network was judged on: its value, its standard error (NaN: none), and of how many."""

    value: float
    se: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """What tuning says of a network.

    On a cohort selected on outcome c ranks candidates, and compares with nothing else.

    Attributes:
        c_index: Harrell's c, in [0, 1]; NaN where no two patients can be compared.
        c_se: its standard error.
        c_lower: of its 95% interval.
        c_upper: of its 95% interval.
        patient_ids: [n].
        risks: [n] of each patient, unbounded, higher = worse.
        loss: the loss of these patients, where it was asked for and is defined; it ranks nothing, and is not kept.
    """

    c_index: float
    c_se: float
    c_lower: float
    c_upper: float
    patient_ids: tuple[str, ...]
    risks: tuple[float, ...]
    loss: JudgedLoss | None = field(default=None, metadata={"kept": False})

    @property
    def by_patient(self) -> dict[str, float]:
        """Each patient's risk."""
        return dict(zip(self.patient_ids, self.risks, strict=True))


@dataclass(frozen=True, kw_only=True)
class Best(Record):
    """A kept checkpoint: its step, Harrell's c by which it was kept, and the name of its file."""

    step: int
    c_index: float
    file: str

    @property
    def verdict_file(self) -> str:
        """Name of the file with its verdict, beside its weights."""
        return str(Path(self.file).with_suffix(".json"))


@dataclass(frozen=True, kw_only=True)
class StartedFrom(Record):
    """The member that a fine-tuned candidate started from: ensemble's id and name, member, hash of its weights."""

    ensemble_id: str
    name: str
    member: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Candidate(Record):
    """A network that was trained to the end, and may be chosen.

    Attributes:
        fingerprint: hash of what the run is, but for its steps.
        recipe: hash of the settings that all candidates of an ensemble share.
        steps: of the training.
        resolution: a name of `pathoprog.slides.resolutions`.
        seed: of the training.
        best: kept checkpoints, the best first; at least one.
        n_training: patients that the loss could use.
        cohorts: who learned and who judged, by role.
        parent: where it was fine-tuned, from what.
        stopped: where it stopped early, at which step; else it has gone all its steps.
        folder: where it lies.
    """

    fingerprint: str
    recipe: str
    steps: int
    resolution: str
    seed: int
    best: tuple[Best, ...]
    n_training: int
    cohorts: Mapping[str, CohortFacts]
    parent: StartedFrom | None = None
    stopped: int | None = None
    folder: Path = field(default=Path(), metadata={"kept": False})

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    @property
    def weights(self) -> Path:
        """Of its best checkpoint."""
        return self.folder / self.best[0].file

    @property
    def tuning_c(self) -> float:
        """Harrell's c of its best checkpoint."""
        return self.best[0].c_index

    @property
    def verdict(self) -> Verdict:
        """What judged its best checkpoint.

        Raises:
            InputError: the file is gone or damaged.
        """
        return read_verdict(self.folder / self.best[0].verdict_file)

    @property
    def network(self) -> Saved[NetworkSettings]:
        """Settings of its network, as a manifest keeps them: without the path of initial weights.

        Raises:
            InputError: the file is gone or damaged.
        """
        path = self.folder / SETTINGS
        try:
            return saved_of(NetworkSettings, {**_read(path)["network"], "weights": ""}, "network")
        except (RecordError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not the settings of a candidate ({error}); train it again") from error

    def of_fold(self, fold: int) -> "Candidate":
        """The same candidate as it was trained without a fold's patients.

        Raises:
            InputError: it is gone.
        """
        folder = self.folder / f"fold{fold}"
        if not (folder / CANDIDATE).is_file():
            raise InputError(f"{folder}: the network of this fold is gone; `pathoprog cross_validate` makes it again")
        return read_candidate(folder)


def write_candidate(candidate: Candidate) -> None:
    """Write ``candidate.json`` into the candidate's folder, whole or not at all."""
    write_json(candidate.folder / CANDIDATE, {"parent": {}, **plain(candidate)})


def read_candidate(folder: Path) -> Candidate:
    """The finished candidate in a folder.

    Raises:
        InputError: none is there, it is by an earlier version, or the file is damaged.
    """
    path = folder / CANDIDATE
    said = _read(path)
    if isinstance(said, dict) and "recipe" not in said:
        raise InputError(f"{path}: by an earlier version, which did not say on what it learned; train again")
    if isinstance(said, dict) and said.get("parent") == {}:
        said = {name: value for name, value in said.items() if name != "parent"}
    candidate = replace(_record(Candidate, said, path), folder=folder)
    if not candidate.best:
        raise InputError(f"{path}: names no checkpoint; delete it, and train again")
    return candidate


def finished(folder: Path) -> Candidate | None:
    """The finished candidate in a folder; None where none is there that can be read."""
    try:
        return read_candidate(folder)
    except InputError:
        return None


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Write what judged a network, whole or not at all."""
    write_json(path, plain(verdict))


def read_verdict(path: Path) -> Verdict:
    """What `write_verdict` wrote.

    Raises:
        InputError: the file is gone or damaged.
    """
    found = _record(Verdict, _read(path), path)
    if len(found.patient_ids) != len(found.risks):
        raise InputError(f"{path}: {len(found.patient_ids)} patients with {len(found.risks)} risks; train again")
    return found


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}; train again") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); delete it, and train again") from error


def _record(kind: type[R], said: Any, path: Path) -> R:
    try:
        return record_of(kind, said, nan=True)
    except RecordError as error:
        raise InputError(f"{path}: damaged or by another version ({error}); delete it, and train again") from error
