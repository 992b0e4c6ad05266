"""The trials of a sweep on disk: what each came to, how many were looked at, the table. No torch.

``sweep.json`` lies in the sweep's folder, above its trials' folders. A trial stays in it though a later call names it
no longer: it was looked at, and the lock counts it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathoprog.command_line.config_file import CONFIG
from pathoprog.errors import InputError
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import bounded_name, read_json, sha256_value, write_json, write_text
from pathoprog.system.records import Record, RecordError, plain, record_of
from pathoprog.text.wording import count
from pathoprog.training.member.candidate import ENSEMBLE_RUN, OUT_OF_FOLD_SCORES

SWEEP, TABLE, BEST = "sweep.json", "trials.csv", "best.yaml"
MOST_NAME = 120
DONE, FAILED, RUNNING = "done", "failed", "running"


@dataclass(frozen=True, kw_only=True)
class TrialResult(Record):
    """What a trial came to.

    Attributes:
        name: of the trial and of its folder.
        values: of the swept keys, as they are written on the command line.
        state: done, failed, or running: begun by a call that has not ended.
        c: Harrell's c by resolution, and ``both`` or what else the command has, on the same patients for all trials.
        objective: what trials are ranked by, higher = better; NaN if it failed.
        reason: why it failed.
        judged: hash of the patients that judged it; '' where they cannot differ.
    """

    name: str
    values: Mapping[str, str]
    state: str
    c: Mapping[str, float] = field(default_factory=dict)
    objective: float = math.nan
    reason: str = ""
    judged: str = ""


@dataclass(frozen=True, kw_only=True)
class SweepRecord(Record):
    """What lies in ``sweep.json``.

    Attributes:
        command: that was run.
        kind: multirun or search.
        objective: what trials are ranked by.
        mark: hash of what all trials share: patients, outcomes, folds.
        looked_at_before: trials that the settings themselves were chosen among before.
        trials: in the order in which they were first looked at.
        run_id: of the sweep's run in MLflow.
    """

    command: str
    kind: str
    objective: str
    mark: str
    looked_at_before: int
    trials: tuple[TrialResult, ...] = ()
    run_id: str = ""

    @property
    def looked_at(self) -> int:
        """Trials that were judged on the tuning patients or tried to be, those before this sweep included."""
        return self.looked_at_before + len(self.trials)

    @property
    def best(self) -> TrialResult | None:
        """The trial with the highest objective, the first of equal ones; None if none is done."""
        done = [trial for trial in self.trials if trial.state == DONE and math.isfinite(trial.objective)]
        return max(done, key=lambda trial: trial.objective, default=None)

    @property
    def keys(self) -> list[str]:
        """The swept keys."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.values))


def trial_name(values: Mapping[str, str]) -> str:
    """The folder of a point of a sweep: its values, so that a wider sweep finds it again."""
    text = ",".join(f"{key}={value}" for key, value in values.items())
    plain_name = re.sub(r"[^\w.,=+-]", "_", text)
    return bounded_name(plain_name if plain_name == text else f"{plain_name}-{sha256_value(text)[:8]}", MOST_NAME)


def read_sweep(folder: Path) -> SweepRecord | None:
    """The record of the sweep in a folder; None where there is none.

    Raises:
        InputError: it is damaged or by another version.
    """
    path = folder / SWEEP
    if not path.is_file():
        return None
    try:
        return record_of(SweepRecord, read_json(path), nan=True)
    except (ValueError, RecordError) as error:
        raise InputError(f"{path}: damaged or by another version ({error}); give another out=…") from error


def write_sweep(folder: Path, record: SweepRecord) -> None:
    """Write the record, and the table of its trials, the best first."""
    write_json(folder / SWEEP, plain(record))
    write_text(folder / TABLE, csv_text(table_of(record)))


def table_of(record: SweepRecord) -> list[dict[str, Any]]:
    """Rows of the table: rank, trial, state, each key's value, the objective, c by resolution, why it failed."""
    parts = list(dict.fromkeys(name for trial in record.trials for name in trial.c))
    ranked = sorted(record.trials, key=lambda trial: -trial.objective if math.isfinite(trial.objective) else math.inf)
    rows = []
    for number, trial in enumerate(ranked, 1):
        rows.append(
            {
                "rank": number if math.isfinite(trial.objective) else "",
                "trial": trial.name,
                "state": trial.state,
                **{key: trial.values.get(key, "") for key in record.keys},
                "c": trial.objective if math.isfinite(trial.objective) else "",
                **{f"c_{name}": trial.c.get(name, "") for name in parts},
                "reason": trial.reason,
            }
        )
    return rows


def merged(before: Sequence[TrialResult], now: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """Earlier trials with those of this call: one that was tried again takes its new result and keeps its place."""
    found = {trial.name: trial for trial in before}
    found.update({trial.name: trial for trial in now})
    return tuple(found.values())


def with_looked_at(text: str, looked_at: int) -> str:
    """A run's `config.yaml` that says how many trials its settings were chosen among."""
    return re.sub(r"(?m)^looked_at: \d+$", f"looked_at: {looked_at}", text)


def looked_at_line(looked_at: int) -> str:
    """How many trials were looked at, as the figure, the command and the model card say it."""
    return f"{count(looked_at, 'trial')} looked at on the same patients, whose c flatters the best"


def tell_trials(folder: Path, record: SweepRecord) -> None:
    """Let each trial's own files say how many were looked at, so that a trial tells it wherever it is copied to."""
    for trial in record.trials:
        config, trained = (folder / trial.name / name for name in (CONFIG, ENSEMBLE_RUN))
        if config.is_file():
            text = config.read_text(encoding="utf-8")
            if (told := with_looked_at(text, record.looked_at)) != text:
                write_text(config, told)
        if trained.is_file():
            found = read_json(trained)
            if found["settings"]["looked_at"] != record.looked_at:
                found["settings"]["looked_at"] = record.looked_at
                write_json(trained, found)


def no_candidates(folder: Path) -> str:
    """Why a folder in which training is not finished holds no candidates to lock, and what to give in its place."""
    record = read_sweep(folder)
    if (folder / OUT_OF_FOLD_SCORES).is_file():
        return (
            "holds a cross-validation, whose networks are those of folds; train it on all patients, and lock that:"
            f" pathoprog cross_validate experiment={folder / CONFIG} refit=true out=…"
        )
    if record is None:
        return f"no finished `pathoprog train_ensemble` there ({ENSEMBLE_RUN} is missing)"
    best = record.best
    if best is None:
        return f"holds a {record.kind} of which no trial is done; give its command again"
    if record.command != "train_ensemble":
        return (
            f"holds a {record.kind} of {record.command}, whose networks are those of folds; train the best on all"
            f" patients, and lock that: pathoprog {record.command} experiment={folder / BEST} refit=true out=…"
        )
    return f"holds a {record.kind} of {count(len(record.trials), 'trial')}; the best is candidates={folder / best.name}"


def trials_looked_at(candidates: Path, declared: int) -> int:
    """Trials that the settings of these candidates were chosen among.

    Args:
        candidates: output folder of `pathoprog train_ensemble`; a trial's own, if it is one of a sweep.
        declared: what the settings themselves say (`looked_at`).
    """
    record = read_sweep(candidates.resolve().parent)
    inside = record is not None and candidates.resolve().name in {trial.name for trial in record.trials}
    return max(declared, record.looked_at) if record is not None and inside else declared
