"""A submission: one slide asked for on one route, what is done for it by each bundle, and its states."""

from collections.abc import Sequence
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
        corrects: of a correction, id of the submission with the slide's first result; empty for all others.
        first_slide_id: of a correction, the id that the slide itself has.
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
    corrects: str = ""
    first_slide_id: str = ""

    @property
    def slide(self) -> str:
        """The id of the slide itself: all its corrections have the same."""
        return self.first_slide_id or self.slide_id

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
class Correction:
    """A corrected outline, for a submission of its own.

    Attributes:
        corrects: id of the submission with the slide's first result.
        first_slide_id: id of the slide itself.
        outline: GeoJSON, level-0 px.
        sha256: of the area that it encloses.
    """

    corrects: str
    first_slide_id: str
    outline: str
    sha256: str


def counting(submissions: Sequence[Submission]) -> list[Submission]:
    """One submission of each slide, the one that counts for its patient.

    That is the slide's last one, or its last correction that came after that and has a result.

    Args:
        submissions: in the order of submission.
    """
    found: dict[str, Submission] = {}
    for one in submissions:
        if not one.corrects or one.state in (DONE, NOT_REPORTABLE):
            found[one.slide] = one
    return list(found.values())


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
