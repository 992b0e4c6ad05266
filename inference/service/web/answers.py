"""What requests hold and what answers hold, as the interface describes them."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.access.roles import Permission
from pathoprog.inference.service.config import PRIORITIES
from pathoprog.inference.service.events import Event, EventKind
from pathoprog.inference.service.work.snapshot import BundleState, Snapshot
from pathoprog.inference.service.work.submissions import DONE, NOT_REPORTABLE, STATES, Submission
from pathoprog.scoring.eligibility import TRAITS

Priority = Literal["urgent", "routine"]
State = Literal[
    "received", "waiting", "running", "done", "not_reportable", "failed", "cancelled", "withdrawn", "superseded"
]
assert get_args(Priority) == PRIORITIES and get_args(State) == STATES
PatientStatus = Literal["waiting", "scored", "not_reportable", "failed"]
PRIORITY: TypeAdapter[Priority] = TypeAdapter(Priority)
STATE: TypeAdapter[State] = TypeAdapter(State)
PATIENT_STATUS: TypeAdapter[PatientStatus] = TypeAdapter(PatientStatus)
"""These make one of the words of a text; any other is a defect."""

PLAIN = r"^[^\x00-\x1f\x7f/\\]+$"
"""No control characters, and nothing that separates folders."""
Given = Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN)]
OpaqueId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class Answered(BaseModel):
    """What every answer says."""

    model_config = ConfigDict(extra="forbid")

    notice: str = RESEARCH_USE_ONLY


class RequestBody(BaseModel):
    """What a request holds: nothing else is taken."""

    model_config = ConfigDict(extra="forbid")


class TraitsBody(RequestBody):
    """What a slide is, where it is known better than the route has it."""

    organ: Given | None = None
    specimen: Given | None = None
    stain: Given | None = None
    neoadjuvant: Given | None = None

    def given(self) -> dict[str, str]:
        """Those that are given."""
        return {trait: value for trait in TRAITS if (value := getattr(self, trait))}


assert tuple(TraitsBody.model_fields) == TRAITS


class NewSubmissionBody(RequestBody):
    """A slide to score."""

    route: Given
    slide: OpaqueId = Field(description="opaque id from the list of slides")
    priority: Priority | None = Field(None, description="without it the route's")
    patient: Given | None = Field(None, description="the patient's id, if the route takes it from the request")
    traits: TraitsBody = TraitsBody()


class PriorityBody(RequestBody):
    """A new priority."""

    priority: Priority


class ReasonBody(RequestBody):
    """Why."""

    reason: Given


class LoginBody(RequestBody):
    """A token's secret, for a browser."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class LookupBody(RequestBody):
    """A case number: in the body, since addresses are kept in logs."""

    case: Given


class Listed(Answered):
    """A page of slides."""

    class Slide(BaseModel):
        """One slide: its name only where ids are given ones."""

        id: str
        root: str
        file_name: str

    slides: list[Slide]
    next: str = Field("", description="give it as `after` for the next page; empty: there is none")


class WorkAnswer(BaseModel):
    """What one bundle does for a submission."""

    bundle: str
    state: State
    reason: str
    shadow: bool


class SubmissionAnswer(Answered):
    """A submission and its state."""

    id: str
    route: str
    slide_id: str
    patient_id: str
    priority: Priority
    state: State
    reason: str
    withheld: bool = Field(description="its bundle is in shadow: the result is not shown to you")
    submitted_by: str
    submitted_at: str
    changed_at: str
    ended_at: str
    works: list[WorkAnswer]
    corrects: str = Field("", description="of a correction, the submission with the slide's first result; else empty")


class Submissions(Answered):
    """A page of submissions, newest first."""

    submissions: list[SubmissionAnswer]
    counts: dict[str, int] = Field(description="submissions of each state, of all pages")
    next: int = Field(0, description="give it as `before` for the next page; 0: there is none")


class ResultAnswer(Answered):
    """A result: `result` and `run` as result.json and run.json have them (docs/files.md).

    Where the bundle holds a model over clinical covariates, `result.clinical.notes` says that its number is not given
    here, and what gives it.
    """

    submission: str
    bundle: str
    patient_id: str
    shadow: bool
    result: dict[str, Any]
    run: dict[str, Any]


class FileAnswer(BaseModel):
    """One file of a result."""

    name: str
    sha256: str


class Files(Answered):
    """The files of a result."""

    files: list[FileAnswer]


class BundleAnswer(BaseModel):
    """A bundle that is served."""

    name: str
    ensemble_id: str
    routes: list[str]
    beside: list[str]
    shadow: bool
    released_at: str
    workers: int
    ready: int
    trouble: bool


class Bundles(Answered):
    """All bundles that are served."""

    bundles: list[BundleAnswer]


class EventAnswer(BaseModel):
    """Something that happened."""

    seq: int
    at: str
    kind: str
    submission: str
    slide_id: str
    data: dict[str, str]


class Me(Answered):
    """Who asks."""

    name: str
    role: str
    may: list[str]
    csrf: str = Field(description="send it as X-CSRF-Token with what changes something, if you came with a cookie")


class PatientSlideAnswer(BaseModel):
    """A slide of a patient."""

    submission: str
    slide_id: str
    state: State
    status: str
    risk_class: str


class PatientAnswer(Answered):
    """A patient: the slides, and what they come to by the bundle's rule."""

    patient_id: str
    bundle: str
    shadow: bool
    role: str
    status: PatientStatus = Field(description="waiting: a slide has not ended, so that there is no verdict yet")
    risk_class: str
    borderline: bool
    scores: dict[str, float]
    rule: str
    reason: str = Field(description="what is waited for, which slides were left out, or why there is no class")
    clinical: str = Field(
        description="that the bundle holds a model over clinical covariates, whose number is not given here, and what"
        " gives it; empty where it holds none"
    )
    slides: list[PatientSlideAnswer]


class LookupAnswer(Answered):
    """What a case number leads to."""

    slide_ids: list[str]
    patient_ids: list[str]
    submissions: list[SubmissionAnswer]


class AuditAnswer(Answered):
    """Whether the audit log is whole, and its last line."""

    whole: bool
    lines: int
    head: str
    fault: str


class AuditLineAnswer(BaseModel):
    """One line of the audit log."""

    seq: int
    at: str
    who: str
    role: str
    action: str
    subject: str
    detail: dict[str, str | int | float | bool | None]


class AuditLines(Answered):
    """A page of the audit log, newest first."""

    lines: list[AuditLineAnswer]
    fault: str = Field("", description="why it goes no further back where it should")
    next: int = Field(0, description="give it as `before` for the next page; 0: there is none")


class BackupAnswer(Answered):
    """A backup: its folder's name, and what is in it."""

    name: str
    files: list[str]
    audit_head: str


class ForgetBody(RequestBody):
    """Whom to forget, by the id that the service shows."""

    patient: Given


class ForgottenAnswer(Answered):
    """What was taken away."""

    submissions: int
    folders: int


class HealthAnswer(Answered):
    """Whether the service lives."""

    status: Literal["ok", "starting", "stopping", "trouble"]


def sees(who: Principal, bundle: BundleState | None) -> bool:
    """Whether somebody may see a bundle's results; of one that is no longer served only those who see shadow do."""
    return who.may(Permission.SEE_SHADOW) or (bundle is not None and bool(bundle.released_at))


def submission_answer(submission: Submission, snapshot: Snapshot, who: Principal) -> SubmissionAnswer:
    """A submission as somebody may see it: of a bundle in shadow that it is done, and not what came of it."""
    champion = snapshot.bundles.get(submission.works[0].bundle)
    open_to = sees(who, champion)
    ended = submission.state in (DONE, NOT_REPORTABLE)
    return SubmissionAnswer(
        id=submission.id,
        route=submission.route,
        slide_id=submission.slide_id,
        patient_id=submission.patient_id,
        priority=PRIORITY.validate_python(submission.priority),
        state=veiled_state(submission.state, champion, who),
        reason=submission.reason if open_to or not ended else "",
        withheld=not open_to,
        submitted_by=submission.by,
        submitted_at=submission.submitted_at,
        changed_at=submission.changed_at,
        ended_at=submission.ended_at,
        corrects=submission.corrects,
        works=[
            WorkAnswer(
                bundle=work.bundle,
                state=STATE.validate_python(work.state),
                reason=work.reason,
                shadow=not bundle.released_at if bundle is not None else True,
            )
            for work in submission.works
            if sees(who, bundle := snapshot.bundles.get(work.bundle))
        ],
    )


def veiled_state(state: str, bundle: BundleState | None, who: Principal) -> State:
    """A state as somebody may see it: of a bundle in shadow only that a slide is done, and not how."""
    return STATE.validate_python(DONE if state == NOT_REPORTABLE and not sees(who, bundle) else state)


def bundle_answer(state: BundleState) -> BundleAnswer:
    """A bundle as it is."""
    return BundleAnswer(
        name=state.name,
        ensemble_id=state.ensemble_id,
        routes=list(state.routes),
        beside=list(state.beside),
        shadow=not state.released_at,
        released_at=state.released_at,
        workers=state.workers,
        ready=state.ready,
        trouble=bool(state.trouble),
    )


def event_answer(event: Event, snapshot: Snapshot, who: Principal) -> EventAnswer | None:
    """An event as somebody may see it; None: not at all."""
    submission = snapshot.get(event.submission) if event.submission else None
    kind, data = event.kind, dict(event.data)
    if submission is not None and not sees(who, snapshot.bundles.get(submission.works[0].bundle)):
        if kind == EventKind.NOT_REPORTABLE:
            kind = EventKind.DONE
        data = {name: value for name, value in data.items() if name in ("route", "priority")}
    if submission is None and not who.may(Permission.SEE_METRICS) and kind in (EventKind.ALARM, EventKind.WATCH):
        return None
    return EventAnswer(
        seq=event.seq, at=event.at, kind=kind, submission=event.submission, slide_id=event.slide_id, data=data
    )
