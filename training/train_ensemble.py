"""`pathoprog train_ensemble`: all candidates of both resolutions, over the processors or GPUs that there are.

Each candidate is a process of its own; one that dies is started again and goes on from its checkpoint. The parent
alone talks to MLflow.
"""

import copy
import os
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import torch

from pathoprog.cohort import read_cohort
from pathoprog.console import progress, say, warn
from pathoprog.errors import PathoprogError
from pathoprog.files import read_json, write_json
from pathoprog.settings import as_dict
from pathoprog.training import tile_store
from pathoprog.training.config import TrainConfig, TrainEnsembleConfig, check_data
from pathoprog.training.fit import CANDIDATE, check_fit
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import PROGRESS, read_metrics

POLL_S = 0.2
ENSEMBLE_RUN = "ensemble_run.json"


@dataclass
class Task:
    """One candidate to train: its settings, and how often it was started."""

    settings: TrainConfig
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    slot: int = -1
    run_id: str = ""
    sent: int = 0

    @property
    def folder(self) -> Path:
        """Where the candidate is written."""
        return Path(self.settings.out)


def run(settings: TrainEnsembleConfig) -> int:
    """Cut missing tiles, train every candidate, print how each fared on tuning."""
    check_data(settings.data)
    check_fit(settings)
    tracking = Tracking(settings.track)
    cohort = read_cohort(settings.data.cohort, settings.data.overlap)
    failed = tile_store.build(cohort[cohort["role"].isin(("training", "tuning"))], settings.data)
    if failed:
        warn(f"{failed} slides could not be read; training goes on without them")
    tasks = make_tasks(settings)
    parent = tracking.start(f"ensemble {Path(settings.out).name}", settings)
    try:
        train_all(
            tasks,
            devices_of(settings.device, settings.workers, settings.fit.threads),
            settings.restarts,
            tracking,
            parent,
        )
    except BaseException:
        tracking.end(parent, "FAILED")
        raise
    candidates = [read_json(task.folder / CANDIDATE) for task in tasks]
    tracking.datasets(parent, candidates[0]["cohorts"])
    write_json(
        Path(settings.out) / ENSEMBLE_RUN,
        {"candidates": [task.folder.name for task in tasks], "run_id": parent, "settings": as_dict(settings)},
    )
    tracking.end(parent)
    for resolution in ("10x", "40x"):
        found = [item["best"][0]["c_index"] for item in candidates if item["resolution"] == resolution]
        say(f"    {resolution}: {len(found)} candidates, c on tuning {min(found):.3f} to {max(found):.3f}")
    return 0


def make_tasks(settings: TrainEnsembleConfig) -> list[Task]:
    """The candidates: seeds x resolutions."""
    plain = {field.name: getattr(settings, field.name) for field in fields(TrainConfig)}
    tasks = []
    for number in range(settings.candidates):
        for resolution in ("10x", "40x"):
            one = TrainConfig(**copy.deepcopy(plain))
            one.resolution, one.seed = resolution, settings.seed + number
            one.out = str(Path(settings.out) / f"{resolution}-seed{one.seed}")
            tasks.append(Task(one))
    return tasks


def devices_of(device: str, workers: int, threads: int) -> list[str]:
    """The device of each worker.

    Args:
        device: ``auto`` for every GPU once, or without one the CPU once per `threads` cores; else this one for all.
        workers: how many; 0 = as many as that gives.
        threads: CPU threads of a candidate.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not count):
        found = ["cpu"] * max(1, len(os.sched_getaffinity(0)) // threads)
    else:
        found = [device] if device != "auto" else [f"cuda:{index}" for index in range(count)]
    workers = workers or len(found)
    return [found[index % len(found)] for index in range(workers)]


def train_all(tasks: list[Task], slots: list[str], restarts: int, tracking: Tracking, parent: str) -> None:
    """Run the tasks, `len(slots)` at once, each on its slot's device.

    Raises:
        PathoprogError: a candidate failed; the others' work is kept, and the same command goes on.
    """
    waiting, running = list(tasks), list[Task]()
    free = list(range(len(slots)))
    steps = tasks[0].settings.fit.steps
    with progress("training", steps * len(tasks), "steps") as counter:
        try:
            while waiting or running:
                while waiting and free:
                    task = waiting.pop(0)
                    task.slot = free.pop(0)
                    start(task, slots[task.slot], tracking, parent)
                    running.append(task)
                time.sleep(POLL_S)
                for task in list(running):
                    assert task.process is not None and task.log is not None
                    send_metrics(task, tracking)
                    code = task.process.poll()
                    if code is None:
                        continue
                    running.remove(task)
                    free.append(task.slot)
                    task.log.close()
                    if code == 0:
                        tracking.end(task.run_id)
                    else:
                        tracking.end(task.run_id, "FAILED")
                        again(task, code, restarts)
                        waiting.insert(0, task)
                done = sum(steps_done(task) for task in tasks)
                if done > counter.done:
                    finished = sum((task.folder / CANDIDATE).exists() for task in tasks)
                    counter.advance(done - counter.done, f"{finished}/{len(tasks)} candidates")
        finally:
            for task in running:
                assert task.process is not None
                task.process.terminate()
            for task in running:
                assert task.process is not None
                task.process.wait()


def start(task: Task, device: str, tracking: Tracking, parent: str) -> None:
    """Start a candidate's process."""
    task.settings.device = device
    task.folder.mkdir(parents=True, exist_ok=True)
    request = task.folder / "request.json"
    write_json(request, as_dict(task.settings))
    threads = str(task.settings.fit.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    task.log = (task.folder / "log.txt").open("ab")
    task.process = subprocess.Popen(
        [sys.executable, "-m", "pathoprog.training.train", str(request)],
        stdin=subprocess.DEVNULL,
        stdout=task.log,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    task.starts += 1
    task.sent = 0
    task.run_id = tracking.start(task.folder.name, task.settings, parent, attempt=str(task.starts))


def again(task: Task, code: int, restarts: int) -> None:
    """Decide on a candidate that ended with an error: a crash is tried again, a refusal (exit code 2) is not."""
    text = (task.folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip()
    end = "\n  ".join(text.splitlines()[-5:])
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if code == 2 or task.starts > restarts:
        raise PathoprogError(f"candidate {task.folder.name} ended with {how} after {task.starts} starts:\n  {end}")
    warn(f"candidate {task.folder.name} ended with {how}; started again from its last checkpoint")


def steps_done(task: Task) -> int:
    """Steps of a candidate so far."""
    if (task.folder / CANDIDATE).exists() and task.process is not None and task.process.poll() == 0:
        return task.settings.fit.steps
    try:
        return int(read_json(task.folder / PROGRESS)["step"]) if task.process is not None else 0
    except (OSError, ValueError):
        return 0


def send_metrics(task: Task, tracking: Tracking) -> None:
    """Log what the candidate has written since the last look."""
    if task.run_id:
        lines: list[dict[str, Any]] = read_metrics(task.folder)
        tracking.metrics(task.run_id, lines[task.sent :])
        task.sent = len(lines)
