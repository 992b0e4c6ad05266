"""The conductor: the one thread that opens the ledger and the store, runs all lanes, and writes the snapshot.

Whoever wants a change asks it (`Conductor.ask`) and gets a future; whoever wants to know reads the snapshot.
"""

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

from pathoprog.errors import PathoprogError
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.engine.transport import POLL_S
from pathoprog.inference.service.config import ServiceSettings
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.work.desk import Desk
from pathoprog.inference.service.work.lane import Lane, LanePlan
from pathoprog.inference.service.work.orders import Orders
from pathoprog.inference.service.work.preparing import Prepared, Preparers
from pathoprog.inference.service.work.snapshot import BundleState, Snapshot
from pathoprog.inference.service.work.state_files import open_databases
from pathoprog.system.console import warn
from pathoprog.text.plain_text import defect_text

Answer = TypeVar("Answer")
AGAIN_S = 10.0
"""Pause after an error of the disk, or of a bundle's workers, before it is tried again."""


class Conductor:
    """See the module.

    Args:
        settings: of the service.
        plans: of its bundles.
        snapshot: written here, read everywhere.
        names: what slides' files are called, and where they lie.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        plans: list[LanePlan],
        snapshot: Snapshot,
        names: PathNames,
    ):
        self.settings, self.plans, self.snapshot, self.names = settings, plans, snapshot, names
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._heard, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="conductor")
        self._stop_at = 0.0  # monotonic; 0: it goes on
        self._late: list[tuple[float, Prepared]] = []  # what could not be written down, and when it is tried again
        self._again_at: dict[str, float] = {}  # lanes that are down, and when they are tried again
        self.started: Future[None] = Future()
        self.ended: Future[None] = Future()
        self.desk: Desk  # both set by the thread
        self.orders: Orders

    def start(self, preparers: Preparers) -> None:
        """Begin, and wait until the ledger is open and the submissions of before are read.

        Args:
            preparers: look at submissions' files, and tell `prepared` of it.

        Raises:
            InputError: the ledger or the service's file cannot be used.
        """
        self._preparers = preparers
        self._thread.start()
        self.started.result()

    def stop(self, seconds: float) -> None:
        """Take nothing new, finish what is in hand for at most so many seconds, end the workers."""
        self.will_stop()
        self._stop_at = time.monotonic() + seconds
        self._call()
        self._thread.join()

    def will_stop(self) -> None:
        """Say so at once: streams of events end, and nothing new is told to be ready."""
        self.snapshot.health = replace(self.snapshot.health, stopping=True)

    def wait(self) -> None:
        """Until it has ended, by itself or by `stop`."""
        wait_for([self.ended])

    @property
    def failed(self) -> bool:
        """Whether it ended by a defect or a fault."""
        return self.ended.done() and self.ended.exception() is not None

    def ask(self, what: Callable[[], Answer]) -> "Future[Answer]":
        """Have something done in the conductor's thread; its errors come with the future."""
        future: Future[Answer] = Future()
        if self.ended.done():
            future.set_exception(PathoprogError("the service has stopped"))
            return future
        self._asked.put((what, future))
        self._call()
        return future

    def prepared(self, prepared: Prepared) -> None:
        """A submission's files were looked at."""
        self.ask(partial(self._admit, prepared))

    def _admit(self, prepared: Prepared) -> None:
        """Hand a submission to its lanes; what cannot be written now is tried again, and a defect ends it alone."""
        try:
            self.desk.admit(prepared)
        except WriteError:
            self._late.append((time.monotonic() + AGAIN_S, prepared))
            raise
        except Exception as error:  # whatever one slide brings about: it is said, and ends that submission alone
            print(defect_text(error), file=sys.stderr, flush=True)
            self.desk.give_up(prepared.asked.submission)

    def _call(self) -> None:
        with contextlib.suppress(OSError):  # it has ended
            os.write(self._wake, b"x")

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            if not self.started.done():
                self.started.set_exception(error)
            else:
                print(defect_text(error), file=sys.stderr, flush=True)
                self._trouble(f"the service's own thread ended ({type(error).__name__})")
                self.ended.set_exception(error)
        finally:
            if not self.ended.done():
                self.ended.set_result(None)
            self._refuse_rest()

    def _work(self) -> None:
        store, ledger = open_databases(Path(self.settings.state), self.names)
        lanes = {plan.name: Lane(plan, ledger, _Ears(self, plan.name)) for plan in self.plans}
        self.desk = Desk(self.settings, store, ledger, lanes, self.snapshot, self._preparers, self.names)
        self.orders = Orders(self.desk)
        try:
            self.desk.open()
            self.started.set_result(None)
            while not self._finished(lanes):
                self._turn(lanes)
        finally:
            for lane in lanes.values():
                lane.end()
            ledger.close()
            store.close()

    def _finished(self, lanes: Mapping[str, Lane]) -> bool:
        if not self._stop_at:
            return False
        engines = [lane.engine for lane in lanes.values() if lane.engine is not None]
        for engine in engines:
            engine.stopping = True
        return time.monotonic() > self._stop_at or not any(engine.busy for engine in engines)

    def _turn(self, lanes: Mapping[str, Lane]) -> None:
        """What was asked for, then one step of each lane, then wait for the first word of anybody."""
        now = time.monotonic()
        due = [prepared for at, prepared in self._late if at <= now]
        self._late = [(at, prepared) for at, prepared in self._late if at > now]
        for prepared in due:
            self.prepared(prepared)
        self._answer()
        for lane in lanes.values():
            self._step(lane)
        self.snapshot.health = replace(self.snapshot.health, alive_at=time.monotonic())
        connections = [one for lane in lanes.values() for one in lane.connections()]
        if self._heard in wait([self._heard, *connections], timeout=POLL_S):
            os.read(self._heard, 4096)

    def _answer(self) -> None:
        while True:
            try:
                what, future = self._asked.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(what())
            except WriteError as error:
                self._trouble(str(error))
                future.set_exception(error)
            except Exception as error:
                if not isinstance(error, PathoprogError):
                    print(defect_text(error), file=sys.stderr, flush=True)
                future.set_exception(error)

    def _refuse_rest(self) -> None:
        while True:
            try:
                _, future = self._asked.get_nowait()
            except queue.Empty:
                return
            future.set_exception(PathoprogError("the service has stopped"))

    def _step(self, lane: Lane) -> None:
        """One step of a lane; one that is down is tried again after a while."""
        try:
            if lane.engine is None:
                if time.monotonic() < self._again_at.get(lane.name, 0.0) or self._stop_at:
                    return
                if lane.name in self._again_at:
                    self.desk.catch_up(lane)
                lane.begin()
                self._lane_state(lane, "")
            assert lane.engine is not None
            ready = lane.engine.n_ready
            lane.engine.step(0)
            if lane.engine.n_ready != ready:
                self._lane_state(lane, "")
            if self.snapshot.health.trouble:
                self._trouble("")
        except PathoprogError as error:
            lane.end()
            self._again_at[lane.name] = time.monotonic() + AGAIN_S
            warn(f"{lane.name}: {error}; tried again in {AGAIN_S:.0f} s")
            self._lane_state(lane, str(error))
            if isinstance(error, WriteError):
                self._trouble(str(error))

    def _trouble(self, text: str) -> None:
        self.snapshot.health = replace(self.snapshot.health, trouble=text)

    def _lane_state(self, lane: Lane, trouble: str) -> None:
        ready = lane.engine.n_ready if lane.engine is not None else 0
        old: BundleState = self.snapshot.bundles[lane.name]
        self.snapshot.bundles[lane.name] = replace(old, ready=ready, workers=len(lane.devices), trouble=trouble)


class _Ears:
    """Listens to one lane's engine."""

    def __init__(self, conductor: Conductor, bundle: str):
        self._conductor, self._bundle = conductor, bundle

    def given(self, slide_id: str) -> None:
        """See `EngineListener`."""
        self._conductor.desk.given(self._bundle, slide_id)

    def put_back(self, slide_id: str, reason: str) -> None:
        """See `EngineListener`."""
        self._conductor.desk.put_back(self._bundle, slide_id, reason)

    def done(self, slide_id: str, state: str) -> None:
        """See `EngineListener`."""
        self._conductor.desk.done(self._bundle, slide_id)

    def tiles(self, n: int) -> None:
        """See `EngineListener`."""
        self._conductor.snapshot.tiles += n

    def worker_died(self) -> None:
        """See `EngineListener`."""
        self._conductor.snapshot.worker_died(time.monotonic())
