"""The desk: what becomes of each submission, from its arrival to its result. Everything here runs in one thread.

The store says what was asked for, the ledger what was done; where the two differ after a fault, the ledger is right,
and `catch_up` brings the store after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pathoprog.errors import InputError
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.service.config import PRIORITIES, RouteSettings, ServiceSettings
from pathoprog.inference.service.events import CODE, RISK_CLASS, ROUTE, SHADOW, STATUS, Event, EventKind
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.viewing.outline_files import outline_of
from pathoprog.inference.service.work.asked_slides import paths_of, slide_of
from pathoprog.inference.service.work.lane import Lane
from pathoprog.inference.service.work.preparing import Prepared, Preparers, ToPrepare
from pathoprog.inference.service.work.snapshot import BundleState, Snapshot
from pathoprog.inference.service.work.store import Request, Store
from pathoprog.inference.service.work.submissions import (
    CANCELLED,
    DONE,
    FAILED,
    NOT_REPORTABLE,
    OPEN,
    RECEIVED,
    RUNNING,
    SUPERSEDED,
    WAITING,
    WITHDRAWN,
    NewSubmission,
    Submission,
    Work,
)
from pathoprog.inference.slides import jobs
from pathoprog.inference.slides.given_outlines import BARRED_OUTLINE
from pathoprog.scoring.results import SLIDE_LEVEL

UNKNOWN_PATH = (
    "where its files lie is not known, since the map of pseudonyms does not have it: put the map of that time back and "
    "requeue it, or submit the slide anew"
)
PLACES = 10**12
"""Places in the queue between one priority and the next."""
GONE = (CANCELLED, WITHDRAWN, SUPERSEDED)
"""States of works that no longer count among a patient's slides."""


class ConflictError(InputError):
    """What is asked for does not go with what is there; nothing was changed."""


class AbsentError(InputError):
    """There is no such thing."""


@dataclass(frozen=True)
class Accepted:
    """A submission, and whether it is new or was there before."""

    submission: Submission
    created: bool


class Desk:
    """See the module.

    Args:
        settings: of the service.
        store: open.
        ledger: open.
        lanes: by bundle.
        snapshot: written after each change.
        preparers: look at submissions' files; the answer comes by `admit`.
        names: what slides' files are called, and where they lie.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        store: Store,
        ledger: Ledger,
        lanes: Mapping[str, Lane],
        snapshot: Snapshot,
        preparers: Preparers,
        names: PathNames,
    ):
        self.settings, self.store, self.ledger, self.lanes, self.snapshot = settings, store, ledger, lanes, snapshot
        self.routes: dict[str, RouteSettings] = {route.name: route for route in settings.routes}
        self._preparers, self._names = preparers, names
        self._current: dict[tuple[str, str], str] = {}  # (bundle, slide_id) -> submission under way

    def open(self) -> None:
        """Read what was before, and take up what was not done."""
        for submission in self.store.submissions():
            self.snapshot.put(submission)
        self.snapshot.add_events(self.store.last_events(1000))
        released = self.store.releases()
        for name, lane in self.lanes.items():
            self.snapshot.bundles[name] = BundleState(
                name=name,
                ensemble_id=lane.plan.ensemble_id,
                config=lane.key,
                routes=tuple(route.name for route in self.routes.values() if route.bundles[0] == name),
                beside=tuple(route.name for route in self.routes.values() if name in route.bundles[1:]),
                released_at=released.get(lane.plan.ensemble_id, ""),
                workers=len(lane.devices),
            )
        for submission in list(self.snapshot.newest(0))[::-1]:
            if any(work.state in OPEN for work in submission.works):
                self._take_up(submission)

    def _take_up(self, submission: Submission) -> None:
        """Go on with a submission of an earlier run of the service."""
        route = self.routes.get(submission.route)
        for work in submission.works:
            if work.state in OPEN and (route is None or work.bundle not in self.lanes):
                gone = "route" if route is None else "bundle"
                self.put(submission, replace(work, state=CANCELLED, reason=f"its {gone} is no longer served"))
                submission = self.again(submission)
        if any(work.state in OPEN for work in submission.works):
            self.prepare(submission, requeue=False)

    def submit(self, new: NewSubmission, request: Request | None = None, taken: str = "") -> Accepted:
        """Take a slide in.

        Args:
            new: what is asked for.
            request: the client's, if it may be sent again.
            taken: the signature of the files, where a watched folder brought it.

        Raises:
            AbsentError: no such route.
            ConflictError: the Idempotency-Key was used for something else; another file has this slide id.
            WriteError: the disk is full or fails; nothing was taken in.
        """
        route = self.routes.get(new.route)
        if route is None:
            raise AbsentError(f"no route '{new.route}'")
        if request is not None and (known := self.store.request(request.principal, request.key)):
            if known[0] != request.body_sha256:
                raise ConflictError("this Idempotency-Key was used for another request; take a new one")
            return Accepted(self.of(known[1]), created=False)
        earlier = self.snapshot.get(self.store.last_of(new.route, new.file))
        if earlier is not None and earlier.state in OPEN:
            if request is not None:
                self.store.note_request(request, earlier.id)
            if taken:
                self.store.take(new.route, new.file, taken)
                self.prepare(earlier, requeue=False)  # its files are others now
            return Accepted(earlier, created=False)
        if any(self.of(other).state not in GONE for other in self.store.other_files(new.slide_id, new.file)):
            raise ConflictError(f"another file is known as slide '{new.slide_id}': give one of them another name")
        works = [Work(name, self.lanes[name].key) for name in route.bundles]
        submission, event = self.store.add(new, works, request, taken)
        self.show(submission, [event])
        self.prepare(submission, requeue=False)
        return Accepted(submission, created=True)

    def tell(self, slide_id: str, data: dict[str, str]) -> None:
        """Keep what a watched folder has to say: the share is gone, a file cannot be taken."""
        self.snapshot.add_events([self.store.tell("watch", data, slide_id)])

    def alarm(self, data: Mapping[str, str]) -> None:
        """Keep an alarm that is raised or taken back."""
        self.snapshot.add_events([self.store.tell("alarm", dict(data))])

    def audit_head(self, data: Mapping[str, str]) -> None:
        """Keep the audit log's head, for whoever is told of it."""
        self.snapshot.add_events([self.store.tell("audit_head", dict(data))])

    def refuse(self, new: NewSubmission, reason: str, taken: str) -> Submission:
        """Take in a file of a watched folder that cannot be scored, as failed: nothing is silently skipped."""
        works = [Work(name, self.lanes[name].key, FAILED, reason) for name in self.routes[new.route].bundles]
        taken_ids = {self.of(name).slide_id for name in self.store.other_files(new.slide_id, new.file)}
        number, slide_id = 1, new.slide_id
        while slide_id in taken_ids:  # as `score` does: a row of its own, whose id no other has
            number += 1
            slide_id = f"{new.slide_id} ({number})"
            taken_ids |= {self.of(name).slide_id for name in self.store.other_files(slide_id, new.file)}
        new = replace(new, slide_id=slide_id)
        submission, event = self.store.add(new, works, None, taken)
        self.show(submission, [event])
        self.put(submission, works[0], FAILED, {ROUTE: new.route, STATUS: FAILED, CODE: "input", SHADOW: "false"})
        return self.again(submission)

    def prepare(self, submission: Submission, requeue: bool) -> None:
        """Have its files looked at; `requeue`: what failed is tried again."""
        route = self.routes[submission.route]
        file = self.store.slide_file(submission)
        slide = slide_of(submission, file, route, self._names)
        if slide is None:
            self._refused(submission, UNKNOWN_PATH)
            return
        outlines, policies = {}, {}
        for work in submission.works:
            lane = self.lanes.get(work.bundle)
            if lane is None or work.state in GONE:
                continue
            outline, barred = outline_of(self.settings, self.store, submission, lane.config)
            if barred:
                self.put(submission, replace(work, state=FAILED, reason=BARRED_OUTLINE), FAILED)
                submission = self.again(submission)
                continue
            outlines[work.bundle], policies[work.bundle] = outline, lane.plan.tumour_policy
        asked = ToPrepare(
            submission=submission.id,
            slide=slide,
            outlines=outlines,
            policies=policies,
            settle_s=self.settings.scoring.settle_s,
            requeue=requeue,
            file=file.file,
            files=paths_of(file, self._names),
            identity=route.identity,
            staged=route.staged,
        )
        self._preparers.prepare(route.root, asked)

    def admit(self, prepared: Prepared) -> None:
        """Its files were looked at: hand it to its lanes.

        Raises:
            WriteError: the disk is full or fails; it is tried again when the lanes begin anew.
        """
        submission = self.snapshot.get(prepared.asked.submission)
        if submission is None or submission.route not in self.routes:
            return
        if prepared.warning:
            self.tell(submission.slide_id, {ROUTE: submission.route, "what": "identity", "reason": prepared.warning})
        if prepared.refused:
            self._refused(submission, prepared.refused)
            return
        siblings = self._siblings(submission)
        for bundle, look in prepared.looks.items():
            work, lane = submission.work_of(bundle), self.lanes[bundle]
            if work is None or work.state in GONE:
                continue
            slide = replace(prepared.asked.slide, outline_path=prepared.asked.outlines[bundle])
            task = lane.task(slide, look, several=bool(siblings))
            self._current[bundle, submission.slide_id] = submission.id
            state = lane.admit(task, look, self.place(submission), prepared.asked.requeue)
            if state in (jobs.DONE, jobs.FAILED):
                self._finish(submission, lane)
            elif work.state != RUNNING or state == jobs.WAITING:
                self.put(submission, replace(work, config=lane.key, state=WAITING, reason=""))
            submission = self.again(submission)
        self._join(siblings)

    def give_up(self, submission_id: str) -> None:
        """It brought about a defect: it fails alone, and the others go on."""
        submission = self.snapshot.get(submission_id)
        if submission is not None:
            self._refused(submission, "a defect of this program kept it from being taken in; the log has it, report it")

    def _refused(self, submission: Submission, reason: str) -> None:
        """It may not be scored: its open works fail."""
        for work in submission.works:
            if work.state in OPEN:
                champion = submission.works[0].bundle == work.bundle
                data = {ROUTE: submission.route, STATUS: FAILED, CODE: "input", SHADOW: "false"}
                self.put(submission, replace(work, state=FAILED, reason=reason), FAILED if champion else "", data)
                submission = self.again(submission)

    def _siblings(self, submission: Submission) -> list[Submission]:
        """Other slides of the same patient and role."""
        role = self.routes[submission.route].role
        return [
            other
            for other in self.snapshot.of_patient(submission.patient_id)
            if other.slide != submission.slide
            and other.state not in GONE
            and other.route in self.routes
            and self.routes[other.route].role == role
        ]

    def _join(self, siblings: list[Submission]) -> None:
        """A patient has got a further slide: those scored as a patient's only one are done anew at slide level.

        Their class alone is no longer the patient's, and a bag over several slides needs what was not kept of them.
        """
        for other in siblings:
            for work in other.works:
                lane = self.lanes.get(work.bundle)
                job = self.ledger.state_of(other.slide_id, lane.key) if lane is not None else None
                if job is not None and work.state not in GONE and job.request["class_level"] != SLIDE_LEVEL:
                    reason = "a further slide of this patient has come"
                    self.put(other, replace(work, state=RECEIVED, reason=reason, result_key=""))
                    other = self.again(other)
                    self.prepare(other, requeue=True)

    def place(self, submission: Submission) -> int:
        """Its place in the queue."""
        return PRIORITIES.index(submission.priority) * PLACES + submission.seq

    def given(self, bundle: str, slide_id: str) -> None:
        """A worker has it in hand."""
        if found := self._under_way(bundle, slide_id):
            submission, work = found
            self.put(submission, replace(work, state=RUNNING, reason=""), EventKind.STARTED, {ROUTE: submission.route})

    def put_back(self, bundle: str, slide_id: str, reason: str) -> None:
        """It waits again."""
        if found := self._under_way(bundle, slide_id):
            submission, work = found
            self.put(submission, replace(work, state=WAITING, reason=reason))

    def done(self, bundle: str, slide_id: str) -> None:
        """Its result is committed."""
        if found := self._under_way(bundle, slide_id):
            self._finish(found[0], self.lanes[bundle])

    def _under_way(self, bundle: str, slide_id: str) -> tuple[Submission, Work] | None:
        submission = self.snapshot.get(self._current.get((bundle, slide_id), ""))
        work = submission.work_of(bundle) if submission is not None else None
        return (submission, work) if submission is not None and work is not None else None

    def _finish(self, submission: Submission, lane: Lane) -> None:
        """Note what came of it, from the ledger and the result's own file."""
        job = self.ledger.state_of(submission.slide_id, lane.key)
        work = submission.work_of(lane.name)
        assert job is not None and work is not None
        found = lane.result(submission.slide_id)
        status, code, risk_class, reason = FAILED, "", "", job.reason
        if found is not None:
            code = found[0].code or ""
        if job.state == jobs.DONE and found is not None:
            status = DONE if found[0].status == "scored" else NOT_REPORTABLE
            risk_class, reason = found[0].risk_class, found[0].reason
        shadow = not self.snapshot.bundles[lane.name].released_at
        data = {ROUTE: submission.route, STATUS: status, CODE: code, SHADOW: "true" if shadow else "false"}
        if risk_class and not shadow:
            data[RISK_CLASS] = risk_class
        work = replace(work, config=lane.key, state=status, reason=reason, result_key=job.result_key)
        champion = submission.works[0].bundle == lane.name
        self.put(submission, work, status if champion else "", data)
        self._current.pop((lane.name, submission.slide_id), None)
        lane.tasks.pop(submission.slide_id, None)
        self.ledger.leave(submission.slide_id, lane.key)
        if status != FAILED:
            self._supersede(submission, work)

    def _supersede(self, submission: Submission, work: Work) -> None:
        """Earlier results of the slide, of other content or settings, are no longer those that its folder holds."""
        for name in self.store.of_slide(submission.slide_id):
            other = self.of(name)
            old = other.work_of(work.bundle)
            ended = old is not None and old.state in (DONE, NOT_REPORTABLE)
            if old is not None and ended and other.seq < submission.seq and old.result_key != work.result_key:
                reason = f"the slide was scored again as {submission.id}"
                kind = WITHDRAWN if other.works[0].bundle == work.bundle else ""
                self.put(other, replace(old, state=SUPERSEDED, reason=reason), kind, {ROUTE: other.route})

    def catch_up(self, lane: Lane) -> None:
        """Bring the store after the ledger for what a lane had under way when it went down."""
        for (bundle, slide_id), name in list(self._current.items()):
            if bundle != lane.name:
                continue
            job = self.ledger.state_of(slide_id, lane.key)
            submission = self.of(name)
            if job is not None and job.state in (jobs.DONE, jobs.FAILED):
                self._finish(submission, lane)
            elif (work := submission.work_of(bundle)) is not None and work.state == RUNNING:
                self.put(submission, replace(work, state=WAITING, reason=""))
        for submission in self.snapshot.open():  # a full disk may have kept them from being admitted
            if (lane.name, submission.slide_id) not in self._current and submission.work_of(lane.name) is not None:
                self.prepare(submission, requeue=False)

    def call_off(self, submission: Submission, work: Work) -> None:
        """Take a work that waits out of the ledger."""
        self.ledger.call_off(submission.slide_id, work.config)
        self._current.pop((work.bundle, submission.slide_id), None)

    def of(self, submission_id: str) -> Submission:
        """One submission.

        Raises:
            AbsentError: there is none by this id.
        """
        submission = self.snapshot.get(submission_id)
        if submission is None:
            raise AbsentError("no such submission")
        return submission

    def again(self, submission: Submission) -> Submission:
        """A submission as it is now."""
        return self.of(submission.id)

    def put(self, submission: Submission, work: Work, kind: str = "", data: dict[str, str] | None = None) -> None:
        """Put a work in place of the one of the same bundle, and tell of it if `kind` is given."""
        submission, event = self.store.set_work(submission, work, kind, data)
        self.show(submission, [event] if event is not None else [])

    def show(self, submission: Submission, events: list[Event]) -> None:
        """Have everybody see its new state."""
        if not any(work.state in OPEN for work in submission.works):
            self._preparers.let_go(submission.id)
        self.snapshot.put(submission)
        self.snapshot.add_events(events)
