"""The service's application in this process, on two made bundles and results written by hand, without any worker."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import uvicorn
from made_desk import Asked, Silent
from made_service import Answer, MadeService
from PIL import Image

from pathoprog.ensemble.shape import METHOD_SHAPE
from pathoprog.inference.service.access.gate import Gate
from pathoprog.inference.service.access.lockout import Lockout
from pathoprog.inference.service.access.rate_limits import RateLimits
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.sessions import Sessions
from pathoprog.inference.service.access.tokens import TokenStore
from pathoprog.inference.service.catalogue import Catalogue
from pathoprog.inference.service.config import BundleSettings, RootSettings, RouteSettings, ServiceSettings
from pathoprog.inference.service.intake.intake_config import PatientRule
from pathoprog.inference.service.names import Names
from pathoprog.inference.service.records.audit_log import AuditLog
from pathoprog.inference.service.viewing.slide_viewing import SlideViewing
from pathoprog.inference.service.web.app import make_app
from pathoprog.inference.service.web.service import Service
from pathoprog.inference.service.work.desk import Desk
from pathoprog.inference.service.work.lane import Lane, plan_lane
from pathoprog.inference.service.work.orders import Orders
from pathoprog.inference.service.work.patients import PatientJoiner
from pathoprog.inference.service.work.preparing import Prepared
from pathoprog.inference.service.work.snapshot import Health, Snapshot
from pathoprog.inference.service.work.state_files import open_databases
from pathoprog.inference.service.work.submissions import NewSubmission
from pathoprog.inference.slides import jobs
from pathoprog.inference.slides.looks import Look
from pathoprog.regions.tissue import RegionMask
from pathoprog.scoring.results import Context, publish_slide, result_record, stage_slide
from pathoprog.scoring.slide_outcomes import ResolutionScore, SlideScore
from pathoprog.scoring.slide_result import SlideRun
from pathoprog.slide_report.slide_folder import slide_files
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.slide_stream import SlideOpened
from pathoprog.tiles.grid import TileGrid, standard_spec

N_TILES = 12
SIDE_PX = 1200
LONG = "a-very-long-identifier-" * 5
NOW = "2026-12-01T22:00:00+00:00"


class MadeConductor:
    """One thread that does what it is asked, as the conductor's does."""

    def __init__(self):
        self._thread = ThreadPoolExecutor(max_workers=1)

    def ask(self, what):
        return self._thread.submit(what)

    def stop(self):
        self._thread.shutdown()


class MadePage:
    """The application on a port of its own; bundles ``colon`` (champion) and ``next`` (beside it), both in shadow.

    Args:
        folder: for everything it writes.
        bundles: two locked bundles.
        validation: of the first, or None.
    """

    def __init__(self, folder, bundles, validation=None):
        self.folder = Path(folder)
        self.state, self.out = self.folder / "state", self.folder / "out"
        self.state.mkdir(mode=0o700, parents=True)
        self.settings = ServiceSettings(
            state=str(self.state),
            out=str(self.out),
            bundles=[
                BundleSettings(name="colon", folder=str(bundles[0]), validation=str(validation or "")),
                BundleSettings(name="next", folder=str(bundles[1])),
            ],
            roots=[RootSettings(name="scans", folder=str(self.folder))],
            routes=[
                RouteSettings(name="colon", root="scans", bundles=["colon", "next"], patients=PatientRule(ids="given"))
            ],
        )
        self.settings.access.requests_at_once = 100_000
        self.settings.access.requests_per_minute = 1e6
        self.settings.scoring.device = "cpu"
        self.snapshot, self.asked = Snapshot(), Asked()
        self.snapshot.health = Health(alive_at=time.monotonic())
        self.names = Names(self.settings.routes, self.state / "pseudonyms.key", self.state / "pseudonyms.csv")
        self.conductor = MadeConductor()
        self.conductor.names = self.names.paths
        self.conductor.ask(self._open).result()
        tokens = TokenStore(self.state / "tokens.json")
        self.tokens = {role.value: tokens.add(f"the-{role.value}", role, 30, str)[1] for role in Role}
        access = self.settings.access
        gate = Gate(access, tokens, Sessions(access), Lockout(access), RateLimits(access), secure=False)
        self.audit = AuditLog(self.state / "audit.jsonl")
        self.service = Service(
            settings=self.settings,
            snapshot=self.snapshot,
            conductor=self.conductor,
            gate=gate,
            audit=self.audit,
            catalogue=Catalogue(self.settings.roots, b"key", 5.0),
            names=self.names,
            plans={lane.name: plan for lane, plan in zip(self.lanes.values(), self.plans, strict=True)},
            joiner=PatientJoiner(),
            vigil=None,
            forgetting=None,
            viewing=SlideViewing(self.settings.viewing),
            secure=False,
        )

    def _open(self):
        self.store, self.ledger = open_databases(self.state, self.names.paths)
        self.plans = [plan_lane(bundle, self.settings) for bundle in self.settings.bundles]
        self.lanes = {plan.name: Lane(plan, self.ledger, Silent()) for plan in self.plans}
        names = self.names.paths
        self.desk = Desk(self.settings, self.store, self.ledger, self.lanes, self.snapshot, self.asked, names)
        self.conductor.desk, self.conductor.orders = self.desk, Orders(self.desk)
        self.desk.open()

    def start(self):
        """Answer, in a thread of this process."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(make_app(self.service), lifespan="off", log_level="warning", ws="none")
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None
        self._serving = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._serving.start()
        end = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < end and self._serving.is_alive()
            time.sleep(0.01)

    def stop(self):
        self.snapshot.health = replace(self.snapshot.health, stopping=True)
        self._server.should_exit = True
        self._serving.join(30)
        self.service.viewing.stop()
        self.conductor.ask(self.ledger.close).result()
        self.conductor.ask(self.store.close).result()
        self.conductor.stop()

    def ask(self, method, path, body=None, role="admin", **headers) -> Answer:
        """Ask as somebody of a role (``""``: nobody)."""
        return MadeService.ask(self, method, path, body, role, **headers)

    def submit(self, slide_id, patient="", priority="routine"):
        """A submission that waits; its id."""
        new = NewSubmission("colon", f"/scans/{slide_id}.tif", slide_id, patient or slide_id, priority, "me")
        return self.conductor.ask(lambda: self._submit(new)).result()

    def _submit(self, new):
        submission = self.desk.submit(new).submission.id
        asked = next(one for one in reversed(self.asked.waiting) if one.submission == submission)
        self.desk.admit(Prepared(asked, {name: Look(source=f"seen {new.slide_id}") for name in self.lanes}))
        return submission

    def give(self, bundle="colon"):
        """A worker of a bundle takes the next; the job."""
        return self.conductor.ask(lambda: self._give(bundle)).result()

    def _give(self, bundle):
        (job,) = self.ledger.lease(self.lanes[bundle].key, 1, alone=True)
        self.desk.given(bundle, job.slide_id)
        return job

    def score(self, status="scored", risk_class="uncertain", scores=(0.3, 0.8), reason="", code="", bundles=None):
        """The next slide ends alike in all bundles, or in those named; `scores`: of each resolution, None for none."""
        for bundle in bundles or self.lanes:
            job = self.give(bundle)
            self.conductor.ask(
                lambda bundle=bundle, job=job: self._end(bundle, job, status, risk_class, scores, reason, code)
            ).result()

    def _end(self, bundle, job, status, risk_class, scores, reason, code):
        lane, key = self.lanes[bundle], f"{bundle}-{job.slide_id}-{job.attempt}".encode().hex()
        outcome = made_outcome(job.slide_id, status, risk_class, scores, reason, code, lane.plan.shape)
        context = Context(
            slide_id=job.slide_id, patient_id=job.slide_id, cohort="", role="", key="" if status == "failed" else key,
            ensemble_id=lane.plan.ensemble_id, thresholds=dict(lane.plan.thresholds), settings=lane.plan.settings,
            caution=lane.plan.shape.caution,
        )  # fmt: skip
        run = SlideRun(software_version="0", device="cpu", attempt=1, host="h", finished_at=NOW, seconds=1.5)
        files = slide_files(outcome, context, run, pdf=False, curves=lane.plan.curves)
        record = result_record(outcome, context)
        staged = stage_slide(lane.slides_folder, f"{job.slide_id}-{job.attempt}", files, run)
        state = jobs.FAILED if status == "failed" else jobs.DONE
        ended = self.ledger.commit(
            job, state, record.result_key, reason, "", lambda: publish_slide(staged, job.slide_id)
        )
        assert ended
        self.desk.done(bundle, job.slide_id)

    def audited(self):
        """The audit log's lines."""
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]


def made_outcome(slide_id, status, risk_class, scores, reason="", code="", shape=METHOD_SHAPE):
    """What scoring would have found: tiles along the diagonal, their scores rising; None for no score."""
    grids, resolutions = {}, {}
    for resolution, score in zip(shape.resolutions, scores, strict=True):
        if score is None:
            continue
        x0 = np.arange(N_TILES, dtype=np.int64) * 100
        grid = TileGrid(standard_spec(resolution, 32), x0, x0, np.ones(N_TILES, np.float32), 100.0, 100.0, N_TILES)
        grids[resolution] = grid
        n = shape.members[resolution]
        rising = np.linspace(0, 1, N_TILES)[:, None] * np.ones((1, n))
        resolutions[resolution] = ResolutionScore(
            grid=grid,
            members=[f"{resolution}-{place}" for place in range(n)],
            member_scores=[min(max(score + (place - (n - 1) / 2) / 20, 0), 1) for place in range(n)],
            tile_scores=rising,
            attention=None,
            strongest=[],
            instances=[],
        )
    facts = SlideFacts("p", "made", "made", SIDE_PX, SIDE_PX, (Level(SIDE_PX, SIDE_PX, 1.0),), 0.25, 0.25, None, ())
    side = SIDE_PX // 4
    mask = RegionMask(np.ones((4, 4), bool), SIDE_PX / 4, SIDE_PX / 4, 1.0)
    picture = np.asarray(Image.new("RGB", (side, side), (225, 205, 220)))
    opened = SlideOpened(slide_id, facts, grids, {}, picture, 4.0, mask, "tissue", None, 9e4, 9e4, "ab" * 32)
    return SlideScore(
        slide_id, status, risk_class, resolutions=resolutions, opened=None if status == "failed" else opened,
        reason=reason, code=code,
    )  # fmt: skip
