"""The worker: a process with one device and the networks loaded once; slides in, staged results out.

It never sees the ledger: the engine leases, answers and commits. It ends when the engine does.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pathoprog.ensemble.clinical import clinical_number
from pathoprog.errors import PathoprogError
from pathoprog.inference.engine.exchange import Assignment, Staged, Start, run_record
from pathoprog.scoring.feature_stream import FeatureStream
from pathoprog.scoring.results import PATIENT_LEVEL, stage_slide
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_result import SlideRun
from pathoprog.scoring.slide_scores import judge_eligibility, score_stream
from pathoprog.slide_report.slide_folder import slide_files
from pathoprog.stream.slide_stream import SlideJob, SlideOpened, TileStream
from pathoprog.system.machine.allocator import keep_freed_memory

MOST_WRITES_WAITING = 8


def main(socket_fd: int) -> None:
    """Serve one engine until it closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = Connection(socket_fd)
    try:
        Worker(connection, connection.recv()).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the engine is gone
    except PathoprogError as error:
        connection.send(("refused", str(error)))
    except OSError as error:
        connection.send(("write_error", error.strerror or str(error)))
    except BaseException:  # a defect, or a device that is lost: the log's end goes into the slides' reasons
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # threads may hang in a read; there is nothing left to save


class Worker:
    """See the module.

    Messages to the engine: ``ready, device``; ``opened, job_id, sha256``, to be answered by ``job_id, wanted`` before
    anything else is said of that job; ``tiles, n``;
    ``staged, job_id, Staged``; ``failed, job_id, code, reason, stage, source``; ``says, text``, for the user;
    ``refused, text``; ``write_error, text``.
    """

    def __init__(self, connection: Connection, start: Start):
        keep_freed_memory()
        import torch

        from pathoprog.ensemble.loading import load_bundle
        from pathoprog.networks.engines.choice import Runtime
        from pathoprog.networks.feature_encoder import load_encoders
        from pathoprog.networks.tumour import NetworkOutliner, of_bundle
        from pathoprog.scoring.scorer import Scorer
        from pathoprog.system.machine.device import DTYPES, device_name, resolve_device
        from pathoprog.system.machine.pinned import register_for

        self.connection, self.start = connection, start
        self.sending = threading.Lock()
        device = resolve_device(start.device)
        makers = start.plan.other_features
        settings = start.config.stream
        settings.workers = start.readers
        self.stream: TileStream | FeatureStream
        if makers:
            self.stream = FeatureStream(makers, start.plan.settings["batch_tiles"])
        else:
            self.stream = TileStream(settings, register_for(device, self.tell))
            self.stream.start()  # beside the networks
        torch.set_num_threads(1)  # members compute side by side instead: equal bits whatever the machine
        bundle = load_bundle(start.config.ensemble)
        if bundle.ensemble_id != start.plan.ensemble_id:
            raise PathoprogError(f"{start.config.ensemble}: the bundle was changed while this run began")
        planned, threads, given = start.plan.settings, start.threads, start.config.encoder_weights
        engines = {name: Runtime(**facts["runtime"]) for name, facts in planned.get("encoders", {}).items()}
        records = None if makers else bundle.manifest.encoders
        encoders = load_encoders(bundle.folder, records, given, device, engines, threads, self.tell)
        runtime = Runtime(**planned["runtime"])
        self.scorer = Scorer(
            bundle, device, DTYPES[planned["dtype"]], threads, encoders, runtime, self.tell, compiled=True
        )
        self.scorer.warm()
        self.outliner: NetworkOutliner | None = None
        if start.plan.tumour_policy == "network":
            runtime = Runtime(**planned["outline_runtime"])
            network = of_bundle(bundle.folder, bundle.manifest.tumour, device, runtime, threads, self.tell)
            network.networks.ready(network.outline.window_px, network.outline.window_px)
            self.outliner = NetworkOutliner(network, lambda n: self.send("tiles", 0))  # a sign of life
        self.device, self.torch_version = device_name(device), torch.__version__
        self.runtimes = {name: self.scorer.how(name) for name in bundle.specs}
        self.waiting: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
        self.asked: dict[int, tuple[Assignment, Future[bool]]] = {}
        self.in_hand: dict[str, Assignment] = {}
        self.writing: list[Future[None]] = []
        self.closing = threading.Event()
        self.send("ready", self.device)
        threading.Thread(target=self._receive, daemon=True).start()

    def send(self, *message: Any) -> None:
        """Tell the engine."""
        with self.sending:
            self.connection.send(message)

    def tell(self, text: str) -> None:
        """Say something to the user that takes long, or that must be known."""
        self.send("says", text)

    def _receive(self) -> None:
        try:
            while True:
                kind, value = self.connection.recv()
                if kind == "assign":
                    self.waiting.put(value)
                elif kind == "answer":
                    self._answered(*value)
                else:
                    self.closing.set()
        except (EOFError, OSError):
            os._exit(0)  # the engine is gone; what is not committed will be done again

    def run(self) -> None:
        """Score what comes until told to close."""
        writing = self.writing
        with (
            ThreadPoolExecutor(1, "stager") as stager,
            ThreadPoolExecutor(1, "writer") as writer,
            self.stream as stream,
        ):
            events = stream.read(self._jobs(), self.outliner)
            rules = self.start.plan.rules
            for outcome in score_stream(events, self.scorer, self._wanted, lambda n: self.send("tiles", n), rules):
                # drawing and compressing beside the networks, and beside both the disk
                writing.append(writer.submit(self._finish, outcome, stager))
                while len(writing) > MOST_WRITES_WAITING or (writing and writing[0].done()):
                    writing.pop(0).result()
            for future in writing:
                future.result()

    def _jobs(self) -> Iterator[SlideJob | None]:
        while True:
            try:
                assignment = self.waiting.get_nowait()
            except queue.Empty:
                while self.writing and self.writing[0].done():
                    self.writing.pop(0).result()  # a write that failed ends the worker now, not with the next slide
                if self.closing.is_set():
                    return
                yield None
                continue
            self.in_hand[assignment.task.slide.slide_id] = assignment
            yield self.start.plan.job(assignment.task, self.start.config, assignment.source)

    def _wanted(self, opened: SlideOpened) -> "Future[bool]":
        """Ask the engine, which may know a result of the same content; False hands the slide back to it.

        Its ledger writes to the disk for each answer: meanwhile the networks go on.
        """
        assignment = self.in_hand[opened.slide_id]
        answer: Future[bool] = Future()
        self.asked[assignment.job_id] = assignment, answer
        self.send("opened", assignment.job_id, opened.sha256)
        return answer

    def _answered(self, job_id: int, wanted: bool) -> None:
        """Pass an answer on; a slide that is handed back is out of hand before the engine gives it anew."""
        assignment, answer = self.asked.pop(job_id)
        if not wanted:
            del self.in_hand[assignment.task.slide.slide_id]
        answer.set_result(wanted)

    def _finish(self, outcome: SlideScore, stager: ThreadPoolExecutor) -> None:
        assignment = self.in_hand.pop(outcome.slide_id)
        slide = assignment.task.slide
        outcome.reason = reason = slide.plain(outcome.reason)
        if outcome.status == "failed":
            self.send("failed", assignment.job_id, outcome.code, reason, outcome.stage, outcome.source)
            return
        judge_eligibility(outcome, assignment.task.eligibility, self.start.config.quality.eligibility)
        plan = self.start.plan
        if plan.covariates is not None:
            own = assignment.task.class_level == PATIENT_LEVEL  # of several slides patients.csv has the patient's
            number = outcome.one_number(plan.thresholds) if own else None
            outcome.clinical = clinical_number(plan.covariates, number, slide.covariates)
        context = plan.context(assignment.task, outcome.opened)
        if self.outliner is not None and self.outliner.network.networks.note:
            outcome.quality.append(f"runtime: outline: {self.outliner.network.networks.note}")
        run = run_record(self.device, assignment.attempt, outcome.seconds, self.torch_version, self.runtimes)
        curves, pdf = self.start.plan.curves, self.start.config.outputs.pdf
        try:
            files = slide_files(outcome, context, run, assignment.task.keep_instances, pdf, curves)
        except Exception as error:  # what one slide brings about ends that slide, and not the networks of all
            traceback.print_exc()
            said = f"its page and maps could not be drawn ({type(error).__name__}): a defect of this program, report it"
            self.send("failed", assignment.job_id, "page", said, "page", outcome.source)
            return
        self.writing.append(stager.submit(self._stage, assignment, files, run, context.key))

    def _stage(self, assignment: Assignment, files: dict[str, bytes], run: SlideRun, key: str) -> None:
        folder = stage_slide(Path(self.start.config.out) / "slides", assignment.name, files, run)
        self.send("staged", assignment.job_id, Staged(folder, key, files["result.json"].decode("utf-8")))
