"""What a training will take, said before it begins: steps, hours, memory, and room for its checkpoints.

Where a run may be long, a few steps are measured first, by a process that runs where candidates will (`probe`); what
will not fit is refused unless `force=true`. The room for tiles is estimated where they are cut (`data.disk_space`).
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.errors import InputError
from pathoprog.settings import as_dict
from pathoprog.system.console import say, warn
from pathoprog.system.files import read_json, write_json
from pathoprog.training.config import CandidateSettings, TrainConfig
from pathoprog.training.data.disk_space import free_bytes, gigabytes
from pathoprog.training.data.tile_store import spec_of
from pathoprog.training.estimate.workload import Workload, trained_values, workload
from pathoprog.training.launchers import Launcher
from pathoprog.training.member.fit import LAST

LONG = 1e10
"""Pixels (or numbers of features) of all steps of all candidates from which a run may be long: at the three tiles of
448 px a second that MobileNetV2 takes on a CPU core (docs/training.md), some five core hours."""
PROBE_MODULE = "pathoprog.training.estimate.probe"
FOLDER, ESTIMATE = "estimate", "estimate.json"
POLL_S, SHARE_S = 0.1, 60.0
COPIES_OF_LAST = 4
"""Times the weights that `last.safetensors` holds: these, their average, and two of AdamW's."""
REMEDY = (
    "raise fit.accumulate, give fit.checkpoint_activations=true, lower fit.patients_per_step or fit.tiles_per_patient,"
    " or lower workers=…"
)


@dataclass(frozen=True)
class TrainingEstimate:
    """What one kind of candidate takes; bytes of memory are those of one device's process.

    Attributes:
        resolution: of the candidates.
        candidates: how many there are of this kind.
        at_once: candidates of all kinds that run at the same time.
        steps: of each.
        tiles_per_step: of each.
        hours: of one candidate; judging is left out where `judging_known` is False.
        judging_known: whether it is known on how many tiles networks are judged.
        memory: bytes at the largest; NaN where not even a part of a step fits.
        memory_total: bytes of the device, or of the machine.
        memory_free: bytes of it that were free.
        shared: whether the candidates that run at once share that memory.
        files: bytes of one candidate's checkpoints.
    """

    resolution: str
    candidates: int
    at_once: int
    steps: int
    tiles_per_step: int
    hours: float
    judging_known: bool
    memory: float
    memory_total: int
    memory_free: int
    shared: bool
    files: int

    @property
    def memory_at_once(self) -> float:
        """Bytes of one device's memory that are taken at once."""
        return self.memory * (min(self.at_once, self.candidates) if self.shared else 1)


def check_estimate(
    settings: CandidateSettings,
    candidates: Sequence[TrainConfig],
    engine_of: Callable[[], AbstractContextManager[Launcher]],
    rows: pd.DataFrame,
) -> list[TrainingEstimate]:
    """Say what a training will take, where it may be long, and refuse what will not fit.

    Args:
        settings: of the command.
        candidates: all that will be trained; those that have begun before are not measured again.
        engine_of: gives where they will run; not asked where nothing is measured.
        rows: of the cohort table that training reads.

    Returns:
        One estimate for each kind of candidate; none where nothing was measured.

    Raises:
        InputError: memory or disk will not suffice, as far as can be estimated, and `force` is false.
    """
    kinds = kinds_of(candidates)
    begun = any((Path(one.out) / LAST).is_file() for one in candidates)
    short = sum(len(same) * trained_values(same[0]) for same in kinds) < LONG
    if settings.estimate == "never" or (settings.estimate == "auto" and (short or begun)):
        return []
    say(f"    estimate: a few steps are measured first ({len(kinds)} kind{'s'[: len(kinds) > 1]} of candidate) …")
    found = []
    with engine_of() as engine:
        for same in kinds:
            measured = measured_by(engine, same[0], Path(settings.out) / FOLDER)
            if measured is not None:
                found.append(estimate(same[0], len(same), engine.slots(), workload(same[0], rows), measured))
    if found:
        write_json(Path(settings.out) / ESTIMATE, [asdict(one) for one in found])
        tell(found, settings)
    return found


def kinds_of(candidates: Sequence[TrainConfig]) -> list[list[TrainConfig]]:
    """Candidates that take the same time and memory: all that differ in seed, fold and folder alone."""
    found: dict[str, list[TrainConfig]] = {}
    for one in candidates:
        values = as_dict(one)
        kept = {name: values[name] for name in ("resolution", "network", "augment", "fit", "start")}
        kept |= {"source": one.data.source, "side": spec_of(one.data, one.resolution).size_px}
        found.setdefault(json.dumps(kept, sort_keys=True), []).append(one)
    return list(found.values())


def measured_by(engine: Launcher, settings: TrainConfig, folder: Path) -> dict[str, Any] | None:
    """What a few steps took where a candidate would run; None, with a warning, where that could not be measured."""
    folder.mkdir(parents=True, exist_ok=True)
    request, answer, log = (folder / f"{settings.resolution}.{end}" for end in ("request.json", "json", "log"))
    for old in (answer, log):
        old.unlink(missing_ok=True)
    device = engine.take(0)
    values = as_dict(settings)
    values["device"] = device
    write_json(request, values)
    process = engine.start(PROBE_MODULE, [str(request), str(answer)], log, settings.fit.threads, device)
    try:
        while (code := process.poll()) is None:
            time.sleep(POLL_S)
    finally:
        if process.poll() is None:
            process.kill()
        engine.free(device)
    end = time.monotonic() + SHARE_S  # a shared folder may take a while to show what another node wrote
    while code == 0 and not answer.is_file() and time.monotonic() < end:
        time.sleep(POLL_S)
    if code == 0 and answer.is_file():
        found: dict[str, Any] = read_json(answer)
        return found
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    reason = said[-1] if said else f"it ended with {code}"
    warn(f"what {settings.resolution} will take could not be measured ({reason}); training begins without an estimate")
    return None


def estimate(
    settings: TrainConfig, candidates: int, at_once: int, work: Workload, measured: dict[str, Any]
) -> TrainingEstimate:
    """Scale what was measured on a few tiles to the whole training.

    Tiles that train cost `seconds_per_tile` each, shared out over `fit.gpus`; those that judge cost
    `seconds_per_judged_tile`; a step costs `seconds_per_step` beside. Reading is left out: it goes on beside.

    Args:
        settings: of the candidates.
        candidates: how many there are.
        at_once: how many of any kind can run at the same time.
        work: what one is to do.
        measured: see `probe.measure`.
    """
    fit = settings.fit
    devices, part = max(1, fit.gpus), max(1.0, work.tiles_per_step / max(1, fit.gpus) / fit.accumulate)
    hours, memory = math.nan, math.nan
    if not measured["out_of_memory"]:
        each = work.tiles_per_step / devices
        seconds = work.steps * (each * measured["seconds_per_tile"] + measured["seconds_per_step"])
        seconds += (work.judged_tiles or 0) / devices * measured["seconds_per_judged_tile"]
        hours = seconds / 3600
        growth = (measured["bytes"] - measured["bytes_fixed"]) * max(1.0, part / measured["tiles"])
        memory = measured["bytes_fixed"] + growth
    on_cpu = measured["device"] == "cpu"
    if on_cpu and not math.isnan(memory):  # batches that are read ahead lie in the same memory, as bytes
        itemsize = 4 if settings.data.source == "features" else 3
        memory += (fit.prefetch + 1) * work.tiles_per_step * work.values_per_tile * itemsize / devices
        memory *= devices
    weights = 4 * int(measured["parameters"])
    return TrainingEstimate(
        resolution=settings.resolution,
        candidates=candidates,
        at_once=at_once,
        steps=work.steps,
        tiles_per_step=work.tiles_per_step,
        hours=hours,
        judging_known=work.judged_tiles is not None,
        memory=memory,
        memory_total=int(measured["bytes_total"]),
        memory_free=int(measured["bytes_free"]),
        shared=on_cpu,
        files=weights * (fit.keep_best + 1 + COPIES_OF_LAST),
    )


def tell(found: Sequence[TrainingEstimate], settings: CandidateSettings) -> None:
    """Print the estimates, and refuse or warn of what will not fit.

    Raises:
        InputError: memory or disk will not suffice, and `force` is false.
    """
    at_once = found[0].at_once
    for one in found:
        judging = "" if one.judging_known else ", judging not counted: tuning's tiles are not there yet"
        took = f"{duration(one.hours)} each" if math.isfinite(one.hours) else "unknown time"
        say(
            f"    {one.resolution}: {one.candidates} × {one.steps:,} steps of {one.tiles_per_step:,} tiles, {took}"
            f"{judging}; memory {gigabytes(one.memory) if math.isfinite(one.memory) else 'more than there is'} of"
            f" {gigabytes(one.memory_total)}"
        )
    rounds = sum(one.candidates * one.hours for one in found) / at_once
    files, free = sum(one.candidates * one.files for one in found), free_bytes(Path(settings.out))
    say(
        f"    in all about {duration(max(rounds, max(one.hours for one in found)))} with {at_once} at once, if reading"
        f" keeps up; checkpoints {gigabytes(files)}, {gigabytes(free)} free"
    )
    _refuse(found, settings, files, free)


def _refuse(found: Sequence[TrainingEstimate], settings: CandidateSettings, files: int, free: int) -> None:
    problems = []
    for one in found:
        where = "this machine" if one.shared else "the device"
        if math.isnan(one.memory):
            problems.append(f"{one.resolution}: not even one part of a step fits into the memory of {where}; {REMEDY}")
        elif one.memory_at_once > one.memory_total > 0:
            problems.append(
                f"{one.resolution}: needs about {gigabytes(one.memory_at_once)} of memory at once, {where} has"
                f" {gigabytes(one.memory_total)}; {REMEDY}"
            )
        elif one.memory_at_once > one.memory_free > 0:
            warn(
                f"{one.resolution}: needs about {gigabytes(one.memory_at_once)} of memory at once; {where} has"
                f" {gigabytes(one.memory_total)}, of which {gigabytes(one.memory_free)} are free now"
            )
    if files > free:
        problems.append(f"{settings.out}: checkpoints will take {gigabytes(files)}; lower fit.keep_best or candidates")
    if not problems:
        return
    said = "; ".join(problems)
    if not settings.force:
        raise InputError(f"{said}; force=true goes on all the same")
    warn(f"{said}; goes on, as force=true says")


def duration(hours: float) -> str:
    """A time in words: minutes, hours or days."""
    if math.isnan(hours):
        return "unknown"
    if hours < 1:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
