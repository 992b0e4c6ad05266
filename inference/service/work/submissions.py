"""A submission: one slide asked for on one route, what is done for it by each bundle, and its states."""

from dataclasses import dataclass, field

RECEIVED, WAITING, RUNNING = "received", "waiting", "running"
DONE, NOT_REPORTABLE, FAILED = "done", "not_reportable", "failed"
CANCELLED, WITHDRAWN, SUPERSEDED = "cancelled", "withdrawn", "superseded"
OPEN = (RECEIVED, WAITING, RUNNING)
"""Received: its files are being looked at (or copied); waiting: for a worker."""
ENDED = (DONE, NOT_REPORTABLE, FAILED, CANCELLED, WITHDRAWN, SUPERSEDED)
STATES = (*OPEN, *ENDED)


@dataclass(frozen=True, slots=True)
class Work:
    """What one bundle does for a submission.

    Attributes:
        bundle: its name in the settings.
        config: hash of the scoring configuration that the ledger knows the job by.
        state: one of `STATES`.
        reason: why it waits again, is not reportable, failed or was called off.
        result_key: of the result, once there is one.
    """

    bundle: str
    config: str
    state: str = RECEIVED
    reason: str = ""
    result_key: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """One slide asked for on one route.

    Attributes:
        seq: number in the order of submission.
        id: opaque; what clients know it by.
        route: its name.
        slide_id: of the slide, a pseudonym where the route asks for it.
        patient_id: likewise.
        priority: one of `PRIORITIES`.
        by: name of the principal, or ``watch``.
        submitted_at: UTC, ISO, seconds.
        changed_at: of its last change of state.
        ended_at: when it was first done, failed or called off.
        works: by bundle, the champion's first.
    """

    seq: int
    id: str
    route: str
    slide_id: str
    patient_id: str
    priority: str
    by: str
    submitted_at: str
    changed_at: str
    works: tuple[Work, ...]
    ended_at: str = ""

    @property
    def state(self) -> str:
        """That of the champion's work."""
        return self.works[0].state

    @property
    def reason(self) -> str:
        """That of the champion's work."""
        return self.works[0].reason

    def work_of(self, bundle: str) -> Work | None:
        """What a bundle does for it."""
        return next((work for work in self.works if work.bundle == bundle), None)


@dataclass(frozen=True, slots=True)
class NewSubmission:
    """What is asked for, before the files were looked at.

    `file` is what the slide's file is called (`PathNames`: its path only where the route's ids are as given); `source`
    is the signature of the files where a watched folder saw them, `files` all of them, called likewise; `traits` is
    what is known of the slide's eligibility.
    """

    route: str
    file: str
    slide_id: str
    patient_id: str
    priority: str
    by: str
    source: str = ""
    files: tuple[str, ...] = ()
    traits: dict[str, str] = field(default_factory=dict)
