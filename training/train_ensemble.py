"""`pathoprog train_ensemble`: all candidates of both resolutions, on this machine's devices or over a Ray cluster.

Each candidate is a process of its own; one that dies is started again and goes on from its checkpoint. The parent
alone talks to MLflow.
"""

import copy
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pathoprog.classes import RESOLUTIONS
from pathoprog.cohort import read_cohort
from pathoprog.console import progress, say, warn
from pathoprog.errors import PathoprogError
from pathoprog.files import read_json, write_json
from pathoprog.settings import as_dict
from pathoprog.training.bags import make_ready
from pathoprog.training.config import TrainConfig, TrainEnsembleConfig, check_data
from pathoprog.training.engines import Engine, Running, devices_of, engine_of, how_ended
from pathoprog.training.finetune import adopt
from pathoprog.training.fit import CANDIDATE, check_fit
from pathoprog.training.slide_source import settle
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import PROGRESS, check_network, read_metrics

POLL_S = 0.2
SHARE_S = 60.0
"""How long a shared folder may take to show what another node wrote."""
CANDIDATE_MODULE = "pathoprog.training.train"
ENSEMBLE_RUN = "ensemble_run.json"


@dataclass
class Task:
    """One candidate to train: its settings, and how often it was started."""

    settings: TrainConfig
    starts: int = 0
    process: Running | None = None
    device: str = ""
    run_id: str = ""
    sent: int = 0

    @property
    def folder(self) -> Path:
        """Where the candidate is written."""
        return Path(self.settings.out)

    @property
    def name(self) -> str:
        """What it is called: its folder's name; a fold's with that of what it is a fold of."""
        split = self.settings.split
        return "/".join(self.folder.parts[-2 if split.folds and split.fold >= 0 else -1 :])

    @property
    def judged(self) -> str:
        """What its c is from."""
        split = self.settings.split
        return "on tuning" if not split.folds else "on the fold held out" if split.fold >= 0 else "out of fold"


def run(settings: TrainEnsembleConfig) -> int:
    """Cut missing tiles, train every candidate, print how each fared on tuning."""
    check_data(settings.data)
    settle(settings)
    tasks = make_tasks(settings)
    settings.network = tasks[0].settings.network  # the parent's, where there is one
    check_fit(settings)
    check_network(settings)
    tracking = Tracking(settings.track)
    cohort = read_cohort(settings.data.cohort, settings.data.overlap)
    failed = make_ready(cohort[cohort["role"].isin(("training", "tuning"))], settings.data)
    if failed:
        warn(f"{failed} slides are missing (named above); training goes on without them")
    parent = tracking.start(f"ensemble {Path(settings.out).name}", settings, kind="ensemble")
    try:
        with engine_of(settings) as engine:
            train_all(tasks, engine, settings.restarts, tracking, parent)
    except BaseException:
        tracking.end(parent, "FAILED")
        raise
    finish(settings, tasks, tracking, parent)
    tracking.end(parent)
    return 0


def finish(settings: TrainEnsembleConfig, tasks: list[Task], tracking: Tracking, parent: str) -> None:
    """Write down what was trained, for `pathoprog ensemble`, and print how it fared."""
    candidates = [read_json(task.folder / CANDIDATE) for task in tasks]
    tracking.datasets(parent, candidates[0]["cohorts"])
    write_json(
        Path(settings.out) / ENSEMBLE_RUN,
        {"candidates": [task.folder.name for task in tasks], "run_id": parent, "settings": as_dict(settings)},
    )
    for resolution in ("10x", "40x"):
        found = [item["best"][0]["c_index"] for item in candidates if item["resolution"] == resolution]
        say(f"    {resolution}: {len(found)} candidates, c {tasks[0].judged} {min(found):.3f} to {max(found):.3f}")


def make_tasks(settings: TrainEnsembleConfig) -> list[Task]:
    """The candidates: seeds x resolutions; each with its parent's network where it is to start from one."""
    plain = {field.name: getattr(settings, field.name) for field in fields(TrainConfig)}
    readers = readers_each(settings)
    tasks = []
    for number in range(settings.candidates):
        for resolution in ("10x", "40x"):
            one = TrainConfig(**copy.deepcopy(plain))
            one.resolution, one.seed = resolution, settings.seed + number
            one.out = str(Path(settings.out) / f"{resolution}-seed{one.seed}")
            one.data.stream.workers = readers
            adopt(one, number)
            tasks.append(Task(one))
    return tasks


def readers_each(settings: TrainEnsembleConfig) -> int:
    """Reader processes of each candidate: as given, or the cores shared out among those that train at once."""
    given = settings.data.stream.workers
    if given or settings.data.source != "slides":
        return given
    slots = len(devices_of(settings.device, settings.workers, settings.fit.threads))
    tasks = len(RESOLUTIONS) * settings.candidates * max(1, settings.split.folds)
    return max(1, len(os.sched_getaffinity(0)) // min(slots, tasks))


def train_all(tasks: list[Task], engine: Engine, restarts: int, tracking: Tracking, parent: str) -> None:
    """Run the tasks, as many at once as the engine has slots.

    Raises:
        PathoprogError: a candidate failed; the others' work is kept, and the same command goes on.
    """
    waiting, running = list(tasks), list[Task]()
    steps = tasks[0].settings.fit.steps
    with progress("training", steps * len(tasks), "steps") as counter:
        try:
            while waiting or running:
                while waiting and (device := engine.take(len(running))):
                    running.append(start(waiting.pop(0), engine, device, tracking, parent))
                time.sleep(POLL_S)
                for task in list(running):
                    assert task.process is not None
                    send_metrics(task, tracking)
                    code = task.process.poll()
                    if code is None:
                        continue
                    running.remove(task)
                    engine.free(task.device)
                    if code == 0:
                        say(f"    {outcome(task)}")
                        tracking.end(task.run_id)
                    else:
                        tracking.end(task.run_id, "FAILED")
                        again(task, code, restarts)
                        waiting.insert(0, task)
                done = sum(steps_done(task) for task in tasks)
                if done > counter.done:
                    finished = len(tasks) - len(waiting) - len(running)
                    counter.advance(done - counter.done, f"{finished}/{len(tasks)} candidates, {len(running)} at work")
        finally:
            for task in running:
                assert task.process is not None
                task.process.kill()
            while any(task.process is not None and task.process.poll() is None for task in running):
                time.sleep(POLL_S)


def start(task: Task, engine: Engine, device: str, tracking: Tracking, parent: str) -> Task:
    """Start a candidate's process on a slot."""
    task.settings.device = task.device = device
    task.folder.mkdir(parents=True, exist_ok=True)
    request = task.folder / "request.json"
    write_json(request, as_dict(task.settings))
    log = task.folder / "log.txt"
    task.process = engine.start(CANDIDATE_MODULE, [str(request)], log, task.settings.fit.threads, device)
    task.starts += 1
    task.sent = 0
    task.run_id = tracking.start(task.name, task.settings, parent, kind="candidate", attempt=str(task.starts))
    return task


def outcome(task: Task) -> str:
    """What a finished candidate came to, in a line.

    Raises:
        PathoprogError: its result does not appear.
    """
    end = time.monotonic() + SHARE_S
    while not (task.folder / CANDIDATE).is_file():
        if time.monotonic() > end:
            raise PathoprogError(f"{task.folder / CANDIDATE}: was written, but does not appear in the shared folder")
        time.sleep(POLL_S)
    best = read_json(task.folder / CANDIDATE)["best"][0]
    return f"{task.name}: c {task.judged} {best['c_index']:.3f} at step {best['step']}"


def again(task: Task, code: int, restarts: int) -> None:
    """Decide on a candidate that ended with an error: a crash is tried again, a refusal (exit code 2) is not."""
    assert task.process is not None
    log = task.folder / "log.txt"
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    end = "\n  ".join(text.splitlines()[-5:])
    how = how_ended(task.process, code)
    if code == 2 or task.starts > restarts:
        raise PathoprogError(f"candidate {task.name} ended with {how} after {task.starts} starts:\n  {end}")
    warn(f"candidate {task.name} ended with {how}; started again from its last checkpoint")


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
