"""`pathoprog train_ensemble`: all candidates of every resolution, on this machine's devices or over a Ray cluster.

Each candidate is a process of its own; one that dies is started again and goes on from its checkpoint; one that fails
is named, and the others go on while enough of each resolution can finish. The parent alone talks to MLflow.
"""

import copy
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pathoprog.command_line.config_file import CONFIG, config_text
from pathoprog.ensemble.shape import MEMBERS_PER_RESOLUTION
from pathoprog.errors import DivergedError, PathoprogError
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import in_order
from pathoprog.system.console import progress, say, warn
from pathoprog.system.files import read_json, write_json, write_text
from pathoprog.system.machine.cores import cores
from pathoprog.system.records import plain
from pathoprog.system.tracking_config import check_tracking
from pathoprog.text.wording import count
from pathoprog.training.config import CandidateSettings, TrainConfig, TrainEnsembleConfig
from pathoprog.training.data.by_resolution import at, check_each, data_of_each_source, differ
from pathoprog.training.data.checks import check_tables
from pathoprog.training.data.learners import facts_of_parts, read_parts
from pathoprog.training.data.left_out import some_failed
from pathoprog.training.data.slide_source import settle
from pathoprog.training.estimate.estimate import check_estimate
from pathoprog.training.held_folder import holds_its_folder
from pathoprog.training.launchers import Launcher, Running, engine_of, how_ended, local_devices, settle_devices
from pathoprog.training.member.candidate import CANDIDATE, ENSEMBLE_RUN, read_candidate
from pathoprog.training.member.finetune import adopt
from pathoprog.training.member.fit import fingerprint
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.learning_curve import LOG, log_candidate
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.member.run_folder import SAME_AGAIN, check_folder, check_same, clear, read_failure, recipe
from pathoprog.training.tracking import RECORD, Tracking
from pathoprog.training.train import PROGRESS, check_network, check_parts, ids_of, prepare_data, stopped_early

POLL_S = 0.2
SHARE_S = 60.0
"""How long a shared folder may take to show what another node wrote."""
CANDIDATE_MODULE = "pathoprog.training.train"


@dataclass
class CandidateTask:
    """One candidate to train: its settings, how often it was started, and why it failed, if it did.

    One of a sweep has its trial's name, and that trial's run as its `parent`.
    """

    settings: TrainConfig
    starts: int = 0
    process: Running | None = None
    device: str = ""
    run_id: str = ""
    sent: int = 0
    failed: str = ""
    trial: str = ""
    parent: str = ""

    @property
    def folder(self) -> Path:
        """Where the candidate is written."""
        return Path(self.settings.out)

    @property
    def name(self) -> str:
        """What it is called: its folder's name; a fold's with that of what it is a fold of."""
        split = self.settings.split
        name = "/".join(self.folder.parts[-2 if split.folds and split.fold >= 0 else -1 :])
        return f"{self.trial}/{name}" if self.trial else name

    @property
    def judged(self) -> str:
        """What its c is from."""
        split = self.settings.split
        return "on tuning" if not split.folds else "on the fold held out" if split.fold >= 0 else "out of fold"


def ready(settings: TrainEnsembleConfig, tracking: Tracking | None = None) -> tuple[list[CandidateTask], Tracking]:
    """Check everything that can be checked, cut missing tiles, clear what is to be replaced.

    Args:
        settings: of the training; what follows from the machine or the parent is filled in.
        tracking: of a sweep, whose trial this is; None: made from the settings, and the work is estimated first.

    Returns:
        The candidates to train, and what to log them to.
    """
    check_each(settings)
    settle(settings)
    settle_devices(settings)
    tasks = make_tasks(settings)
    if not differ(settings):
        settings.network = tasks[0].settings.network  # the parent's, where there is one
    for one in of_each_resolution(settings, tasks):
        check_fit(one)
        check_network(one)
    check_folders(tasks)
    check_tracking(settings.track)
    rows = check_tables(settings)
    one_of_many = tracking is not None
    tracking = tracking or Tracking(settings.track)
    tracking.private |= ids_of(rows)
    if not one_of_many:
        check_estimate(settings, [task.settings for task in tasks], lambda: engine_of(settings), rows)
    prepare_data(settings, rows)
    make_way(settings, tasks)
    return tasks, tracking


@holds_its_folder("train_ensemble")
def run(settings: TrainEnsembleConfig) -> int:
    """Check, cut missing tiles, train every candidate, print how each fared on tuning; 1 if some, or slides, failed."""
    as_given = config_text("train_ensemble", settings)
    tasks, tracking = ready(settings)
    out = Path(settings.out)
    write_text(out / CONFIG, as_given)
    mark = recipe(tasks[0].settings)
    parent = tracking.start(f"ensemble {out.name}", settings, folder=out, mark=mark, kind="ensemble")
    with tracking.until_end(parent):
        with engine_of(settings) as engine:
            failed = train_all(tasks, engine, settings.restarts, tracking, parent, needed=settings.members)
        finish(settings, tasks, tracking, parent)
    return 1 if failed or some_failed(out) else 0


def check_folders(tasks: list[CandidateTask]) -> None:
    """Refuse folders that hold other runs, before any work; one that is known to diverge is told of later.

    Raises:
        InputError: see `check_folder`.
    """
    for task in tasks:
        with suppress(DivergedError):
            check_folder(task.settings)


def make_way(settings: TrainEnsembleConfig, tasks: list[CandidateTask]) -> None:
    """With the data at hand: refuse folders of runs on other data, and clear those that are to be replaced.

    Raises:
        InputError: a folder holds a run on other data; or patients that cannot be read, see `read_parts`.
    """
    cleared = 0
    for resolution in in_order(settings.data.resolutions):
        here = [task for task in tasks if task.settings.resolution == resolution]
        learning, judging = read_parts(here[0].settings)
        check_parts(here[0].settings, learning, judging)
        cohorts = facts_of_parts(here[0].settings, learning, judging)
        for task in here:
            with suppress(DivergedError):
                if check_folder(task.settings, cohorts):
                    clear(task.folder)
                    cleared += 1
    if cleared == len(tasks):
        (Path(settings.out) / RECORD).unlink(missing_ok=True)


def finish(settings: TrainEnsembleConfig, tasks: list[CandidateTask], tracking: Tracking, parent: str) -> None:
    """Write down what was trained, for `pathoprog ensemble`, and print how it fared.

    Raises:
        InputError: candidates whose data or settings differ.
    """
    done = [task for task in tasks if not task.failed]
    candidates = [read_candidate(task.folder) for task in done]
    check_same(candidates)
    tracking.datasets(parent, plain(candidates[0].cohorts))
    failed = {task.folder.name: task.failed for task in tasks if task.failed}
    names = [task.folder.name for task in done]
    record = {"candidates": names, "failed": failed, "run_id": parent, "settings": as_dict(settings)}
    write_json(Path(settings.out) / ENSEMBLE_RUN, record)
    for task in tasks:
        if task.failed:
            say(f"    {task.name}: failed, left out ({task.failed})")
    for resolution in in_order(settings.data.resolutions):
        found = [item.tuning_c for item in candidates if item.resolution == resolution]
        where = "/".join(filter(None, (tasks[0].trial, resolution)))
        say(f"    {where}: {count(len(found), 'candidate')}, c {tasks[0].judged} {min(found):.3f} to {max(found):.3f}")


def make_tasks(settings: TrainEnsembleConfig) -> list[CandidateTask]:
    """The candidates: seeds x resolutions; each with its parent's network where it is to start from one."""
    plain = {field.name: getattr(settings, field.name) for field in fields(CandidateSettings)}
    readers = readers_each(settings)
    tasks = []
    for number in range(settings.candidates):
        for resolution in in_order(settings.data.resolutions):
            one = at(TrainConfig(**copy.deepcopy(plain), resolution=resolution), resolution)
            one.seed = settings.seed + number
            one.out = str(Path(settings.out) / f"{resolution}-seed{one.seed}")
            one.data.stream.workers = readers
            adopt(one, number)
            tasks.append(CandidateTask(one))
    return tasks


def of_each_resolution(settings: TrainEnsembleConfig, tasks: list[CandidateTask]) -> Sequence[CandidateSettings]:
    """The settings to check: those of all, or of a candidate of each resolution where these differ."""
    if not differ(settings):
        return [settings]
    return list({task.settings.resolution: task.settings for task in tasks}.values())


def readers_each(settings: TrainEnsembleConfig) -> int:
    """Reader processes of each candidate: as given, or the cores shared out among those that train at once."""
    given = settings.data.stream.workers
    if given or all(data.source != "slides" for data in data_of_each_source(settings)):
        return given
    slots = len(local_devices(settings.device, settings.workers, settings.fit.threads, settings.fit.gpus))
    tasks = len(settings.data.resolutions) * settings.candidates * max(1, settings.split.folds)
    return max(1, cores() // min(slots, tasks))


def train_all(
    tasks: list[CandidateTask],
    engine: Launcher,
    restarts: int,
    tracking: Tracking,
    parent: str,
    units: list[list[CandidateTask]] | None = None,
    needed: int = MEMBERS_PER_RESOLUTION,
) -> list[CandidateTask]:
    """Run the tasks, as many at once as the engine has slots; a task that fails is left out, and named.

    Args:
        tasks: the candidates.
        engine: what runs them.
        restarts: times that one which died is started again.
        tracking: of their runs.
        parent: the run that theirs belong to.
        units: tasks that are worth something only together, such as a seed's folds; None: each by itself.
        needed: units of each resolution that must be able to finish (at most as many as there are).

    Returns:
        The tasks that failed.

    Raises:
        PathoprogError: too few can still finish; the others' work is kept, and the same command goes on.
    """
    units = units or [[task] for task in tasks]
    for task in tasks:
        task.failed = "" if task.settings.restart else read_failure(task.settings)
        if task.failed:
            warn(f"candidate {task.name} is left out: {task.failed}; {SAME_AGAIN}")
    check_enough(units, needed)
    waiting, running = worth(tasks, units), list[CandidateTask]()
    with progress("training", sum(task.settings.fit.steps for task in tasks), "steps") as counter:
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
                        close(task, tracking, "FINISHED")
                    elif again(task, code, restarts):
                        waiting.insert(0, task)
                    else:
                        close(task, tracking, "FAILED")
                        check_enough(units, needed)
                        waiting = worth(waiting, units)
                        warn(f"candidate {task.name} failed, the others go on: {task.failed}")
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
            for task in running:
                send_metrics(task, tracking)
                close(task, tracking, "KILLED")
    return [task for task in tasks if task.failed]


def worth(tasks: list[CandidateTask], units: list[list[CandidateTask]]) -> list[CandidateTask]:
    """Those of the tasks none of whose unit has failed."""
    lost = {id(task) for unit in units if any(one.failed for one in unit) for task in unit}
    return [task for task in tasks if id(task) not in lost]


def check_enough(units: list[list[CandidateTask]], needed: int) -> None:
    """Refuse to go on where too many have failed.

    Raises:
        PathoprogError: names them with their reasons.
    """
    failed = [task for unit in units for task in unit if task.failed]
    for resolution in in_order({unit[0].settings.resolution for unit in units}):
        here = [unit for unit in units if unit[0].settings.resolution == resolution]
        left = [unit for unit in here if not any(task.failed for task in unit)]
        if len(left) < min(needed, len(here)):
            reasons = "".join(f"\n  {task.name}: {task.failed}" for task in failed)
            raise PathoprogError(
                f"{len(left)} of {len(here)} candidates can still finish at {resolution}, {min(needed, len(here))} are"
                f" needed. What the others have done is kept; raise candidates=… for further seeds, or mend what is"
                f" wrong and give the same command again. Failed:{reasons}"
            )


def close(task: CandidateTask, tracking: Tracking, status: str) -> None:
    """End a candidate's run, with what its folder holds."""
    log_candidate(tracking, task.run_id, read_metrics(task.folder), task.folder)
    tracking.end(task.run_id, status)


def start(task: CandidateTask, engine: Launcher, device: str, tracking: Tracking, parent: str) -> CandidateTask:
    """Start a candidate's process on a slot."""
    task.settings.device = task.device = device
    task.folder.mkdir(parents=True, exist_ok=True)
    request = task.folder / "request.json"
    write_json(request, as_dict(task.settings))
    log = task.folder / LOG
    task.process = engine.start(CANDIDATE_MODULE, [str(request)], log, task.settings.fit.threads, device)
    task.starts += 1
    task.sent = 0
    mark = fingerprint(task.settings)
    task.run_id = tracking.start(
        task.name, task.settings, task.parent or parent, task.folder, mark, kind="candidate", attempt=str(task.starts)
    )
    return task


def outcome(task: CandidateTask) -> str:
    """What a finished candidate came to, in a line.

    Raises:
        PathoprogError: its result does not appear.
    """
    end = time.monotonic() + SHARE_S
    while not (task.folder / CANDIDATE).is_file():
        if time.monotonic() > end:
            raise PathoprogError(f"{task.folder / CANDIDATE}: was written, but does not appear in the shared folder")
        time.sleep(POLL_S)
    candidate = read_candidate(task.folder)
    best, fit = candidate.best[0], task.settings.fit
    ended = f"; {stopped_early(candidate.stopped, fit.steps, fit.patience)}" if candidate.stopped is not None else ""
    return f"{task.name}: c {task.judged} {best.c_index:.3f} at step {best.step}{ended}"


def again(task: CandidateTask, code: int, restarts: int) -> bool:
    """Decide on a candidate that ended with an error: a crash is tried again, a refusal (exit code 2) is not.

    Returns:
        Whether it is to be started again; else `task.failed` says why not.
    """
    assert task.process is not None
    log = task.folder / LOG
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    end = "\n  ".join(text.splitlines()[-5:])
    how = how_ended(code, task.process)
    if code == 2 or task.starts > restarts:
        lines = text.splitlines()
        refused = code == 2 and bool(lines)
        task.failed = (
            lines[-1].removeprefix(f"{task.folder.name}: ")
            if refused
            else f"ended with {how} after {task.starts} starts:\n  {end}"
        )
        return False
    warn(f"candidate {task.name} ended with {how}; started again from its last checkpoint")
    return True


def steps_done(task: CandidateTask) -> int:
    """Steps of a candidate so far."""
    if (task.folder / CANDIDATE).exists() and task.process is not None and task.process.poll() == 0:
        return task.settings.fit.steps
    try:
        return int(read_json(task.folder / PROGRESS)["step"]) if task.process is not None else 0
    except (OSError, ValueError):
        return 0


def send_metrics(task: CandidateTask, tracking: Tracking) -> None:
    """Log what the candidate has written since the last look."""
    if task.run_id:
        lines: list[dict[str, Any]] = read_metrics(task.folder)
        tracking.metrics(task.run_id, lines[task.sent :])
        task.sent = len(lines)
