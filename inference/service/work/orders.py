"""What people order about submissions and bundles: call off, try again, take back, sooner or later, release."""

from dataclasses import replace

from pathoprog.inference.service.events import ROUTE, Event, EventKind
from pathoprog.inference.service.work.desk import AbsentError, ConflictError, Desk
from pathoprog.inference.service.work.snapshot import BundleState
from pathoprog.inference.service.work.submissions import (
    CANCELLED,
    DONE,
    ENDED,
    FAILED,
    NOT_REPORTABLE,
    OPEN,
    RECEIVED,
    WITHDRAWN,
    Submission,
)
from pathoprog.inference.slides import jobs


class Orders:
    """Everything here runs in the conductor's thread, as the desk does."""

    def __init__(self, desk: Desk):
        self.desk = desk

    def cancel(self, submission_id: str) -> Submission:
        """Call off what no worker has in hand.

        Raises:
            AbsentError: no such submission.
            ConflictError: it is being scored, or done.
        """
        submission = self.desk.of(submission_id)
        if submission.state in ENDED:
            raise ConflictError(f"it is {submission.state} and cannot be called off")
        waiting = [work for work in submission.works if work.state in OPEN]
        for work in waiting:
            job = self.desk.ledger.state_of(submission.slide_id, work.config)
            if job is not None and job.state == jobs.LEASED:
                raise ConflictError("it is being scored; when it is done it can be withdrawn")
        for work in waiting:
            self.desk.call_off(submission, work)
            champion = submission.works[0].bundle == work.bundle
            gone = replace(work, state=CANCELLED, reason="called off")
            self.desk.put(submission, gone, EventKind.CANCELLED if champion else "", {ROUTE: submission.route})
            submission = self.desk.again(submission)
        return submission

    def requeue(self, submission_id: str) -> Submission:
        """Try a failed or called-off submission again.

        Raises:
            AbsentError: no such submission, or its route is no longer served.
            ConflictError: it is neither failed nor called off.
        """
        submission = self.desk.of(submission_id)
        if submission.route not in self.desk.routes:
            raise AbsentError(f"the route '{submission.route}' is no longer served")
        tried = [
            work for work in submission.works if work.state in (FAILED, CANCELLED) and work.bundle in self.desk.lanes
        ]
        if not tried:
            raise ConflictError(f"it is {submission.state}; only what failed or was called off is tried again")
        for work in tried:
            self.desk.put(submission, replace(work, state=RECEIVED, reason="", result_key=""))
            submission = self.desk.again(submission)
        self.desk.prepare(submission, requeue=True)
        return submission

    def withdraw(self, submission_id: str, reason: str) -> Submission:
        """Take a result back: it is shown to nobody any more, and whoever was told of it is told so.

        Raises:
            AbsentError: no such submission.
            ConflictError: it has no result.
        """
        submission = self.desk.of(submission_id)
        if submission.state not in (DONE, NOT_REPORTABLE):
            raise ConflictError(f"it is {submission.state} and has no result to withdraw")
        for work in submission.works:
            if work.state in (DONE, NOT_REPORTABLE, *OPEN):
                champion = submission.works[0].bundle == work.bundle
                gone = replace(work, state=WITHDRAWN, reason=reason)
                self.desk.put(submission, gone, EventKind.WITHDRAWN if champion else "", {ROUTE: submission.route})
                submission = self.desk.again(submission)
        return submission

    def set_priority(self, submission_id: str, priority: str) -> Submission:
        """Take it before or behind others.

        Raises:
            AbsentError: no such submission.
            ConflictError: it is done.
        """
        submission = self.desk.of(submission_id)
        if submission.state in ENDED:
            raise ConflictError(f"it is {submission.state}; its place in the queue means nothing")
        submission = self.desk.store.set_priority(submission, priority)
        self.desk.show(submission, [])
        for work in submission.works:
            self.desk.ledger.move(submission.slide_id, work.config, self.desk.place(submission))
        return submission

    def release(self, bundle: str, by: str) -> BundleState:
        """Show a bundle's results to everybody from now on.

        Raises:
            AbsentError: no such bundle.
        """
        state = self._bundle(bundle)
        event = self.desk.store.release(state.ensemble_id, by, bundle)
        return self._shown(replace(state, released_at=event.at), event)

    def withhold(self, bundle: str) -> BundleState:
        """Put a bundle back into shadow.

        Raises:
            AbsentError: no such bundle.
        """
        state = self._bundle(bundle)
        return self._shown(replace(state, released_at=""), self.desk.store.withhold(state.ensemble_id, bundle))

    def _bundle(self, name: str) -> BundleState:
        if name not in self.desk.snapshot.bundles:
            raise AbsentError(f"no bundle '{name}'")
        return self.desk.snapshot.bundles[name]

    def _shown(self, state: BundleState, event: Event) -> BundleState:
        self.desk.snapshot.bundles[state.name] = state
        self.desk.snapshot.add_events([event])
        return state
