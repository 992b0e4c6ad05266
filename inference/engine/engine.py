"""The engine: leases slides to worker processes, watches over them, and commits their results, each once.

One parent process, which alone opens the ledger; workers come and go (`pathoprog.inference.engine.worker`).
"""

import contextlib
import errno
import os
import shutil
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pathoprog.errors import InputError
from pathoprog.inference.engine.exchange import Assignment, Start, run_record
from pathoprog.inference.engine.ledger import LEASE_S, Ledger, WriteError
from pathoprog.inference.engine.listener import EngineListener
from pathoprog.inference.engine.scoring_plan import ScoringTask
from pathoprog.inference.engine.transport import POLL_S, Transport, WorkerLink
from pathoprog.inference.slides.jobs import DONE, FAILED, Job
from pathoprog.scoring.results import (
    discard_staged,
    publish_slide,
    remove_leftovers,
    result_record,
    stage_slide,
)
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_result import SlideResult, SlideRun, read_result_text, result_text
from pathoprog.slide_report.content import slide_content
from pathoprog.slide_report.slide_folder import page_files
from pathoprog.stream.slide_stream import GRACE_S
from pathoprog.system.console import say, warn
from pathoprog.system.fault_points import point
from pathoprog.system.file_names import folder_name
from pathoprog.system.records import RecordError

MAY_PASS = ("missing", "io", "hung", "changed", "device_memory")
"""Codes of failures that are tried again; so is any failure of a file that is gone or has changed meanwhile.

Not ``crashed``, since the readers tried it twice (OPERATIONS: then it waits for a person), nor ``memory``: the limit is
a setting, and the slide will not shrink.
"""

CHANGING = "changing"
"""The code of a slide that is not touched, since it is still being copied: it waits, and that is no try."""

SILENCE_S = 120.0
"""A worker that says nothing for so long, beside the time that its readers may take, hangs: with slides in hand, or
not even ready.
"""

START_TRIES = 3
"""So often in a row a worker may end before it is ready; then the others, if there are any, go on without it."""

ITS_OWN_FOLDER = (
    errno.EACCES, errno.EPERM, errno.EBUSY, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR,
    errno.ENAMETOOLONG,
)  # fmt: skip
"""Errors that say of one slide's folder that it cannot be replaced; the folder above was just written to."""


class _InTheWayError(Exception):
    """Something lies where a slide's result belongs, and cannot be moved away."""


@dataclass(eq=False)
class _Worker:
    """A worker and what it has in hand: job_id -> job and assignment."""

    line: WorkerLink
    start: Start
    tries: int = 1  # starts in a row, this one included
    device: str = ""  # known once it is ready
    in_hand: dict[int, tuple[Job, Assignment]] = field(default_factory=dict)
    heard: float = field(default_factory=time.monotonic)
    overdue: float = 0.0  # since when it is seen to be silent for too long; 0: it is not

    def is_silent(self, limit_s: float) -> bool:
        """Whether it says nothing, though it should; seen twice, since whoever looks may have been stopped as well."""
        now = time.monotonic()
        if not (self.in_hand or not self.device) or now - self.heard <= limit_s:
            self.overdue = 0.0
            return False
        self.overdue = self.overdue or now
        return now - self.overdue > GRACE_S


class Engine:
    """Works on the ledger until the run's slides are done.

    Args:
        crew: starts workers and hears them.
        starts: one per worker.
        ledger: with the run's slides enrolled.
        tasks: of the run's slides, by id; whoever admits a slide to the ledger has put it there before.
        listener: told what happens.
    """

    def __init__(
        self,
        crew: Transport,
        starts: list[Start],
        ledger: Ledger,
        tasks: dict[str, ScoringTask],
        listener: EngineListener,
    ):
        self.crew, self.starts, self.ledger, self.tasks = crew, starts, ledger, tasks
        self.plan, self.config = starts[0].plan, starts[0].config
        self.slides_folder = Path(self.config.out) / "slides"
        self.listener = listener
        self.stopping = False
        self.workers: list[_Worker] = []
        self._silence_s = 3 * self.config.stream.timeout_s + SILENCE_S  # the readers' own watchdog has its turn first
        self._next_lease = 0.0
        self._next_beat = 0.0

    def run(self) -> bool:
        """Score until nothing is left; returns False if stopped before.

        Raises:
            WriteError: the disk is full or fails.
            PathoprogError: the workers cannot start.
        """
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            self.begin()
            while self.busy or self.ledger.unfinished(self.plan.config):  # the count takes milliseconds
                if self.stopping and not self.busy:
                    return False
                self.step(POLL_S)
        finally:
            signal.signal(signal.SIGTERM, before)
            self.end()
        return True

    def begin(self) -> None:
        """Make files and ledger agree, and start the workers; `step` goes on from there, and `end` must follow."""
        self._reconcile()
        self.workers = [self._start(start) for start in self.starts]

    def step(self, timeout_s: float) -> None:
        """Give out slides, and take what workers say; waits for their first word up to `timeout_s`.

        Raises:
            WriteError: the disk is full or fails.
            PathoprogError: no worker can be started.
        """
        self._beat()
        self._supply()
        self._listen(timeout_s)

    def end(self) -> None:
        """End the workers at once; what they had in hand waits again."""
        for worker in self.workers:
            self._end(worker)
        self.workers = []
        with contextlib.suppress(WriteError):  # leases of a process that is gone are free anyhow
            self.ledger.release(self.plan.config)

    @property
    def busy(self) -> bool:
        """Whether workers have slides in hand."""
        return any(worker.in_hand for worker in self.workers)

    @property
    def n_ready(self) -> int:
        """How many workers have loaded their networks."""
        return sum(bool(worker.device) for worker in self.workers)

    def look_for_work(self) -> None:
        """A slide was admitted: ask the ledger with the next step."""
        self._next_lease = 0.0

    def _start(self, start: Start, tries: int = 1) -> _Worker:
        line = self.crew.start()
        line.send(start)
        return _Worker(line, start, tries)

    def _stop(self, *_: Any) -> None:
        self.stopping = True  # finish what is in hand, take nothing new

    def _reconcile(self) -> None:
        """Make files and ledger agree: what killed attempts left is removed, what waited for them is freed."""
        live = {f"{job_id}-{attempt}" for job_id, attempt in self.ledger.live_attempts()}
        with _writing(self.slides_folder):
            remove_leftovers(self.slides_folder, live)
        self.ledger.free_parked(self.plan.config)

    def _beat(self) -> None:
        if (now := time.monotonic()) >= self._next_beat:
            self._next_beat = now + LEASE_S / 6
            self.ledger.heartbeat()

    def _supply(self) -> None:
        """Give each worker that is ready slides enough that its device does not wait between two of them."""
        if self.stopping or time.monotonic() < self._next_lease:
            return
        for worker in [worker for worker in self.workers if worker.device]:
            suspect = any(job.deaths for job, _ in worker.in_hand.values())
            room = 0 if suspect else worker.start.readers + 4 - len(worker.in_hand)
            jobs = self.ledger.lease(self.plan.config, room, alone=not worker.in_hand) if room > 0 else []
            for job in jobs:
                self._give(worker, job)
            if room > 0 and not jobs:
                self._next_lease = time.monotonic() + POLL_S
                if not self.busy:
                    self.ledger.free_parked(self.plan.config)

    def _give(self, worker: _Worker, job: Job) -> None:
        """Hand a slide over. Its files are looked at by the reader alone: here a share that hangs would stop all."""
        assignment = Assignment(job.job_id, job.attempt, self.tasks[job.slide_id], job.source)
        worker.in_hand[job.job_id] = (job, assignment)
        worker.heard = time.monotonic()
        worker.line.send(("assign", assignment))
        self.listener.given(job.slide_id)

    def _listen(self, timeout_s: float) -> None:
        of_line = {id(worker.line): worker for worker in self.workers}
        for line, message in self.crew.hear([worker.line for worker in self.workers], timeout_s):
            worker = of_line[id(line)]
            if message is None:
                self._replace(worker, "died")
            else:
                worker.heard = time.monotonic()
                self._take(worker, *message)
        for worker in list(self.workers):
            if worker.is_silent(self._silence_s):
                self._replace(worker, f"said nothing for {self._silence_s:.0f} s and was ended")

    def _take(self, worker: _Worker, kind: str, *values: Any) -> None:
        if kind == "ready":
            worker.device = values[0]
        elif kind == "tiles":
            self.listener.tiles(values[0])
        elif kind == "says":
            say(f"    {values[0]}")
        elif kind == "opened":
            self._answer(worker, *values)
        elif kind == "staged":
            (job, _), staged = worker.in_hand.pop(values[0]), values[1]
            self._commit(job, DONE, "", staged.result, staged.folder, staged.key)
        elif kind == "failed":
            job, _ = worker.in_hand.pop(values[0])
            if values[1] == CHANGING:
                self.ledger.postpone(job, values[-1], self.config.settle_s)
                self.listener.put_back(job.slide_id, values[2])
            else:
                self._try_again(job, *values[1:])
        elif kind == "write_error":
            raise _stopped(self.slides_folder, values[0])
        else:
            raise InputError(values[0])

    def _answer(self, worker: _Worker, job_id: int, sha256: str) -> None:
        """Let a slide be scored, unless one with the same key is or was: then its result is this slide's too."""
        job, assignment = worker.in_hand[job_id]
        key = self.plan.key(sha256, assignment.task.outline_sha256, assignment.task.said)
        # A patient's bag over several slides needs each slide's own tiles' values.
        twin = None
        while (answer := self.ledger.claim(job, key, share=not assignment.task.keep_instances)) == "copy":
            if twin := self._kept(job, key):
                break
        worker.line.send(("answer", (job_id, answer == "score")))
        if answer != "score":
            del worker.in_hand[job_id]
        if twin is not None:
            self._copy(job, twin, worker.device)
        elif answer == "park":
            self.listener.put_back(job.slide_id, "its content is being scored as another slide")

    def _kept(self, job: Job, key: str) -> SlideResult | None:
        """The result that the ledger keeps for a key; one that cannot be read is none, and kept no longer."""
        try:
            twin = read_result_text(self.ledger.result_of(key))
            if twin.result_key != key:
                raise RecordError("it is that of another slide")
        except RecordError as error:
            self.ledger.forget_result(key)
            warn(
                f"{job.slide_id} is scored anew: the result of this content that {self.ledger.path} keeps cannot be "
                f"read ({error}); the new one takes its place"
            )
            return None
        return twin

    def _copy(self, job: Job, twin: SlideResult, device: str) -> None:
        level = self.tasks[job.slide_id].class_level
        result = replace(twin, slide_id=job.slide_id, class_level=level, duplicate_of=twin.slide_id)
        outcome = SlideScore(job.slide_id, twin.status)  # its tiles and its map lie with the twin
        self._write(job, DONE, result, outcome, run_record(device, job.attempt, 0.0))

    def _commit(self, job: Job, state: str, reason: str, result: str, folder: Path, key: str) -> None:
        def publish() -> None:
            try:
                publish_slide(folder, job.slide_id)
            except OSError as error:
                if error.errno in ITS_OWN_FOLDER:
                    raise _InTheWayError(error.strerror or str(error)) from error
                raise
            point("before_commit")

        with _writing(self.slides_folder):
            try:
                committed = self.ledger.commit(job, state, key, reason, result, publish)
                if not committed:
                    shutil.rmtree(folder)  # the lease was lost to another attempt, whose result it is
            except _InTheWayError as error:
                shutil.rmtree(folder)
                said = (
                    f"what lies in the place of its result cannot be replaced ({error}): remove "
                    f"slides/{folder_name(job.slide_id)} in the result folder; requeue=true then tries it again"
                )
                warn(f"{job.slide_id} failed: {said}")
                state = FAILED
                committed = self.ledger.commit(job, state, "", f"{reason}; {said}" if reason else said, "", _nothing)
        if committed:
            self.listener.done(job.slide_id, state)

    def _try_again(
        self, job: Job, code: str, reason: str, stage: str, source: str | None = None, died: bool = False
    ) -> None:
        """Put a slide back if the cause may pass and it has not had all its tries; else it is failed.

        `source` is what its files look like now, None where that is not known.
        """
        reason = self.tasks[job.slide_id].slide.plain(reason)
        changed = source is not None and source != job.source
        if (died or code in MAY_PASS or changed) and self.ledger.retry(job, reason, source or "", died):
            warn(f"{job.slide_id} will be tried again: {reason}")
            self.listener.put_back(job.slide_id, reason)
            return
        outcome = SlideScore(job.slide_id, "failed", reason=reason, code=code, stage=stage)
        result = result_record(outcome, self.plan.context(self.tasks[job.slide_id], None))
        warn(f"{job.slide_id} failed: {reason}")
        self._write(job, FAILED, result, outcome, run_record("", job.attempt, 0.0))

    def _write(self, job: Job, state: str, result: SlideResult, outcome: SlideScore, run: SlideRun) -> None:
        """Write and commit a result that needed no networks: a failure, or a copy."""
        page = slide_content(result, run, outcome, curves=self.plan.curves)
        files = {"result.json": result_text(result).encode("utf-8"), **page_files(page, self.config.outputs.pdf)}
        with _writing(self.slides_folder):
            folder = stage_slide(self.slides_folder, f"{job.job_id}-{job.attempt}", files, run)
        self._commit(job, state, result.reason, "", folder, result.result_key)

    def _end(self, worker: _Worker) -> str:
        how = worker.line.end()
        for _, assignment in worker.in_hand.values():
            discard_staged(self.slides_folder, assignment.name)
            how = assignment.task.slide.plain(how)  # it becomes the reason of all of them
        return how

    def _replace(self, worker: _Worker, what: str) -> None:
        """A worker is gone: its slides are tried again one by one, or failed if they had a worker die before.

        Raises:
            InputError: it never was ready, and there is no other.
        """
        how = self._end(worker)
        self.listener.worker_died()
        self.workers.remove(worker)
        for job, _ in worker.in_hand.values():
            reason = f"{job.slide_id}: the worker that scored it {what} ({how})"
            self._try_again(job, "worker_died", reason, "scoring", died=True)
        if worker.device:
            self.workers.append(self._start(worker.start))
            return
        reason = f"the worker on {worker.start.device} {what} before it was ready ({how})"
        if worker.tries < START_TRIES:
            warn(f"it is started again: {reason}")
            self.workers.append(self._start(worker.start, worker.tries + 1))
        elif self.workers:
            warn(f"going on with {len(self.workers)} of {len(self.starts)} workers: {reason}, {worker.tries} times")
        else:
            raise InputError(f"{reason}, {worker.tries} times")


def _nothing() -> None:
    """Publish nothing."""


def _stopped(folder: Path, what: str) -> WriteError:
    """An error of the system while results are written; out of memory is no fault of the folder."""
    if what == os.strerror(errno.ENOMEM):
        return WriteError(
            "out of memory, and not the disk: close other programs, or give fewer workers=… or stream.workers=…; the "
            "same command goes on later"
        )
    return WriteError(f"{folder}: {what}; the same command goes on later")


@contextlib.contextmanager
def _writing(folder: Path) -> Any:
    """Turn an error of the disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise _stopped(folder, error.strerror or str(error)) from error
