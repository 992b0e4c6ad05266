"""A candidate's folder: whose run it holds, and whether these settings may go on in it, replace it, or not touch it.

``run.json`` says what the run is: the hash of its settings, of the patients and tiles that it learns from, and how many
steps it is to have, and in which folder it was begun. ``failed.json`` is there if it diverged.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pathoprog.ensemble.manifest import CohortFacts
from pathoprog.errors import DivergedError, InputError
from pathoprog.settings import as_dict, flat
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.system.files import read_json, sha256_value, write_json
from pathoprog.system.records import plain
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.by_resolution import OF_NETWORK, own
from pathoprog.training.data.tile_store import spec_of
from pathoprog.training.member.candidate import CANDIDATE, SETTINGS, Candidate, finished
from pathoprog.training.member.finetune import parent_of
from pathoprog.training.member.fit import CARRIED_ON, LAST, fingerprint, settings_of_weights
from pathoprog.training.member.learning_curve import CURVE
from pathoprog.training.member.metrics import METRICS
from pathoprog.training.tracking import RECORD

RUN, FAILED = "run.json", "failed.json"

SHOWN = 4
SAME_AGAIN = "the same settings come to the same again (restart=true tries it all the same)"
REMEDY = "give another out=…, or restart=true to delete it and train anew"


class OtherRunError(InputError):
    """A folder holds another run than the one that is to be in it."""


def recipe(settings: TrainConfig) -> str:
    """Hash of the settings that one ensemble shares: all but seed, resolution, the parent's member, and steps.

    Where resolutions differ (`by_resolution`), what each has is part of it in place of the candidate's own.
    """
    shared = settings_of_weights(settings)
    for name in ("seed", "resolution"):
        del shared[name]
    if any(own(settings, name) for name in RESOLUTIONS):
        shared["data"] = {key: value for key, value in shared["data"].items() if not key.startswith("tiles_")}
        shared["data"] |= {f"tiles_{name}": as_dict(spec_of(settings.data, name)) for name in RESOLUTIONS}
        shared["network"] = {key: value for key, value in shared["network"].items() if key not in OF_NETWORK}
        shared["at"] = {name: own(settings, name) for name in RESOLUTIONS}
    if (parent := parent_of(settings)) is not None:
        shared["start"] = parent.ensemble_id
        del shared["network"]  # the member's own
    return sha256_value(shared)


def mark_of(settings: TrainConfig, cohorts: Mapping[str, CohortFacts]) -> str:
    """Hash of what a run is, but for its steps."""
    return sha256_value({"settings": fingerprint(settings), "cohorts": plain(cohorts)})


def check_folder(settings: TrainConfig, cohorts: Mapping[str, CohortFacts] | None = None) -> bool:
    """Whether the folder holds a run that is to be replaced.

    Args:
        settings: of the run that is to be in it.
        cohorts: facts of who learns and who judges; None where they are not known yet.

    Raises:
        OtherRunError: it holds a run of other settings or data, and `restart` is false.
        DivergedError: it holds this run, which came to nothing, and `restart` is false.
    """
    other = _other(settings, cohorts)
    if other and not settings.restart:
        raise OtherRunError(f"{settings.out}: {other}; {REMEDY}")
    failure = read_failure(settings)
    if failure and not settings.restart:
        raise DivergedError(f"{failure}; {SAME_AGAIN}")
    return bool(other or failure)


def read_failure(settings: TrainConfig) -> str:
    """Why this very run came to nothing before; empty if it did not."""
    path = Path(settings.out) / FAILED
    found = read_json(path) if path.is_file() else {}
    if (found.get("settings"), found.get("steps")) != (fingerprint(settings), settings.fit.steps):
        return ""
    return str(found["reason"])


def write_failure(settings: TrainConfig, reason: str) -> None:
    """Note that the run in this folder diverged."""
    entry = {"settings": fingerprint(settings), "steps": settings.fit.steps, "reason": reason}
    write_json(Path(settings.out) / FAILED, entry)


def as_trained(settings: TrainConfig, candidate: Path) -> TrainConfig:
    """A copy of a run's settings, read from its files, whose paths are found from the folder that one is in now.

    A relative path that is not there is that of the folder in which the run was started, if it is there. What it names
    is known by hash to whoever goes on with the run.

    Args:
        settings: of the run.
        candidate: its folder, or that of one of its candidates.
    """
    path = candidate / RUN
    begun_in = str(read_json(path).get("folder", "")) if path.is_file() else ""
    copied = copy.deepcopy(settings)
    if begun_in:  # runs of earlier versions do not say
        _find_paths(copied, Path(begun_in))
    return copied


def _find_paths(settings: Any, folder: Path) -> None:
    def found(path: str) -> str:
        return str(folder / path) if path and not Path(path).exists() and (folder / path).exists() else path

    for field in fields(settings):
        value, kind = getattr(settings, field.name), field.metadata.get("kind")
        if is_dataclass(value):
            _find_paths(value, folder)
        elif kind in ("path", "paths"):
            setattr(settings, field.name, found(value) if kind == "path" else [found(one) for one in value])


def is_done(settings: TrainConfig, cohorts: Mapping[str, CohortFacts]) -> bool:
    """Whether the folder holds the finished candidate of these settings and data."""
    found = finished(Path(settings.out))
    return found is not None and found.fingerprint == mark_of(settings, cohorts) and found.steps == settings.fit.steps


def begin(settings: TrainConfig, cohorts: Mapping[str, CohortFacts]) -> None:
    """Make the folder this run's: what it is, is written down before anything else.

    Raises:
        InputError, DivergedError: see `check_folder`.
    """
    out = Path(settings.out)
    if check_folder(settings, cohorts):
        clear(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RUN, _entry(settings, cohorts))
    write_json(out / SETTINGS, as_dict(settings))
    (out / CANDIDATE).unlink(missing_ok=True)


def check_same(candidates: Sequence[Candidate]) -> None:
    """Refuse candidates that do not belong into one ensemble.

    Args:
        candidates: of one or more resolutions.

    Raises:
        InputError: settings that differ, or, at one resolution, patients, outcomes, slides or tiles.
    """
    first: dict[str, Candidate] = {}
    for one in candidates:
        other = first.setdefault("all", one)
        if (one.recipe, one.steps) != (other.recipe, other.steps):
            raise InputError(
                f"{one.folder} and {other.folder}: candidates of different settings (see settings.json in each); one"
                " ensemble is of one recipe: train them in folders of their own"
            )
        other = first.setdefault(one.resolution, one)
        if _data(one) != _data(other):
            raise InputError(
                f"{one.folder} and {other.folder}: candidates on different patients, outcomes, slides or tiles"
                f" ({_counts(plain(other.cohorts), one.cohorts, other.name, one.name)}); give"
                " `pathoprog train_ensemble` again with restart=true, which trains those anew that differ"
            )


def _data(candidate: Candidate) -> dict[str, CohortFacts]:
    """A candidate's cohorts; what judged it out of fold is each seed's own."""
    return {role: replace(facts, verdict_sha256=None) for role, facts in candidate.cohorts.items()}


def clear(out: Path) -> None:
    """Delete a run. What names other files goes first: killed at any point, nothing left names a file that is gone."""
    first = [out / name for name in (CANDIDATE, LAST)]
    last = [out / name for name in (METRICS, FAILED, RECORD, RUN)]
    for path in (*first, *out.glob("step-*"), *out.glob(f"{CURVE}.*"), *last):
        path.unlink(missing_ok=True)


def _entry(settings: TrainConfig, cohorts: Mapping[str, CohortFacts]) -> dict[str, Any]:
    return {
        "fingerprint": mark_of(settings, cohorts),
        "settings": fingerprint(settings),
        "cohorts": plain(cohorts),
        "steps": settings.fit.steps,
        "folder": str(Path.cwd()),
    }


def _other(settings: TrainConfig, cohorts: Mapping[str, CohortFacts] | None) -> str:
    """In what the folder's run is another than these settings', in words; empty where it is none, or the same."""
    out = Path(settings.out)
    if not (out / RUN).is_file():
        there = [name for name in (CANDIDATE, LAST) if (out / name).is_file()]
        return f"holds {there[0]} without {RUN}, so that nothing says of which settings" if there else ""
    found = read_json(out / RUN)
    what = "a finished candidate" if (out / CANDIDATE).is_file() else "a run"
    if found.get("settings") != fingerprint(settings):
        return f"holds {what} of other settings ({_differences(settings)})"
    if cohorts is not None and found["fingerprint"] != mark_of(settings, cohorts):
        return f"holds {what} on other patients, outcomes, slides or tiles ({_counts(found['cohorts'], cohorts)})"
    before, steps = int(found["steps"]), settings.fit.steps
    if steps < before:
        return f"holds {what} of {before} steps, more than fit.steps={steps}"
    if steps > before and not _finished(out, before):
        return (
            f"holds an unfinished run of {before} steps; finish it with fit.steps={before}, then fit.steps={steps} goes"
            " on from it; or"
        )
    return ""


def _finished(out: Path, steps: int) -> bool:
    found = finished(out)
    return found is not None and found.steps == steps


def _differences(settings: TrainConfig) -> str:
    path = Path(settings.out) / SETTINGS
    before = {"fit.gpus": 1, **flat(read_json(path))} if path.is_file() else {}  # those of earlier versions had one
    now = flat(as_dict(settings))
    relevant = {
        *flat(settings_of_weights(settings)),
        "start.bundle",
        "start.member",
        "split.folds",
        "data.store_format",
        "fit.gpus",
    }
    names = [
        name
        for name in now
        if before.get(name) != now[name] and name in relevant and name not in {f"fit.{item}" for item in CARRIED_ON}
    ]
    if not names:
        return "by an earlier version, or from another parent"
    shown = [f"{name}={now[name]}, there {before.get(name, 'unknown')}" for name in names[:SHOWN]]
    return "; ".join(shown) + (f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _counts(
    before: Mapping[str, Any], now: Mapping[str, CohortFacts], there_name: str = "there", now_name: str = "now"
) -> str:
    """In what the cohorts `now` are others than those `before`, which a file gave."""
    parts = []
    for role, facts in now.items():
        there, here = before.get(role, {}), plain(facts)
        if there.get("sha256") == facts.sha256:
            continue
        names = [name for name in ("n_patients", "n_slides", "n_tiles", "n_events") if there.get(name) != here[name]]
        counts = ", ".join(f"{name[2:]} {there.get(name)} {there_name}, {here[name]} {now_name}" for name in names)
        parts.append(f"{role}: {counts or 'as many of each, but not the same'}")
    return "; ".join(parts) or "judged by other scores"
