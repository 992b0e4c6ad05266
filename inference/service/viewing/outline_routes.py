"""Routes of outlines: what was said of one, accepting it, and having its slide scored with a corrected one."""

from asyncio import to_thread
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from pathoprog.errors import InputError, SlideError
from pathoprog.inference.service.access.principal import Principal, forbidden
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.viewing.corrections import BY, Corrections, OutlineHistory
from pathoprog.inference.service.viewing.outlines import (
    ADD,
    SUBTRACT,
    CorrectedOutline,
    DrawnArea,
    changed_outline,
    corrected_outline_of,
    given_area,
)
from pathoprog.inference.service.web.answers import (
    Answered,
    Given,
    OpaqueId,
    RequestBody,
    SubmissionAnswer,
    sees,
    submission_answer,
)
from pathoprog.inference.service.web.problems import documented, with_body
from pathoprog.inference.service.web.result_routes import shown
from pathoprog.inference.service.web.service import Correcting, Reading, Served, Service
from pathoprog.inference.service.web.submission_routes import known
from pathoprog.inference.service.work.desk import ConflictError
from pathoprog.inference.service.work.submissions import Submission
from pathoprog.scoring.results import OUTLINE
from pathoprog.scoring.slide_result import SlideRecord

router = APIRouter(prefix="/v1/submissions/{submission}", tags=["outlines"])
ONE = documented(401, 403, 404, 409, 422, 429, 503)
TAKES_BODY = with_body(401, 403, 404, 409, 422, 429, 503)
MOST_AREAS, MOST_CORNERS = 200, 100_000
Operation = Literal["add", "subtract"]
assert get_args(Operation) == (ADD, SUBTRACT)
Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-1e7, le=1e7)]


class DrawnAreaBody(RequestBody):
    """An area that is added to the outline, or cut out of it."""

    operation: Operation
    ring: Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=3, max_length=MOST_CORNERS)] = Field(
        description="corners, level-0 px"
    )


class OutlineBody(RequestBody):
    """What is said of an outline: one of the three."""

    accept: bool = Field(False, description="the outline stands as it is")
    edits: Annotated[list[DrawnAreaBody], Field(max_length=MOST_AREAS)] = Field(
        [], description="areas added to the result's outline and cut out of it, in this order"
    )
    geojson: dict[str, Any] | None = Field(None, description="another outline: GeoJSON as QuPath's, level-0 px")
    reason: Given | None = Field(None, description="why, for the audit log; no names of persons")

    @model_validator(mode="after")
    def _one_of_three(self) -> "OutlineBody":
        if self.accept + bool(self.edits) + (self.geojson is not None) != 1:
            raise ValueError("give accept, edits or geojson, and one of them alone")
        return self


class AcceptedAnswer(BaseModel):
    """Somebody let an outline stand."""

    model_config = ConfigDict(extra="forbid")

    by: str
    at: str


class OutlineAnswer(Answered):
    """What was said of a submission's outline; corrections are submissions of their own, with their own results."""

    submission: str
    corrects: str = Field(description="of a correction, the submission with the slide's first result; else empty")
    accepted: list[AcceptedAnswer]
    corrections: list[SubmissionAnswer]
    can_be_corrected: bool
    why_not: str = Field(description="in words; empty where it can")


@router.get("/outline", responses=ONE)
async def outline(submission: OpaqueId, who: Reading, service: Served) -> OutlineAnswer:
    """What was said of a slide's outline. Of a bundle in shadow those alone are told who may see its results."""
    found = known(service, submission)
    why_not = ""
    try:
        await to_thread(_to_correct, service, found, who)
    except ConflictError as error:
        why_not = str(error)
    history: OutlineHistory = await service.change(partial(_corrections(service).history, submission))
    return _answer(service, found, history, why_not, who)


@router.post(
    "/outline",
    responses={
        **TAKES_BODY,
        200: {"model": OutlineAnswer, "description": "The outline stands, or this correction was there before"},
    },
    status_code=201,
)
async def correct(
    submission: OpaqueId, body: OutlineBody, who: Correcting, service: Served, response: Response
) -> OutlineAnswer:
    """Accept a slide's outline, or have the slide scored again with a corrected one; the first result stays."""
    found = known(service, submission)
    folder, slide = await to_thread(_to_correct, service, found, who)
    corrections = _corrections(service)
    detail: dict[str, str | int] = {"submission": submission, **({"reason": body.reason} if body.reason else {})}
    if body.accept:
        await service.record(who, Action.CORRECTION, found.slide_id, decision="accepted", **detail)
        await service.change(partial(corrections.accept, submission, who.name))
        response.status_code = 200
    else:
        corrected = await to_thread(_corrected, service, found, body, folder, slide, who)
        detail |= {"outline": corrected.sha256, "areas": len(body.edits)}
        await service.record(who, Action.CORRECTION, found.slide_id, decision="corrected", **detail)
        accepted = await service.change(partial(corrections.correct, submission, corrected, who.name))
        response.status_code = 201 if accepted.created else 200
        response.headers["Location"] = f"/v1/submissions/{accepted.submission.id}"
    history = await service.change(partial(corrections.history, submission))
    return _answer(service, known(service, submission), history, "", who)


def _corrections(service: Service) -> Corrections:
    return Corrections(service.conductor.desk)


def _to_correct(service: Service, submission: Submission, who: Principal) -> tuple[Path, SlideRecord]:
    """The folder of a result whose outline can be corrected, and what was found of its slide.

    Raises:
        AbsentError: its files are gone.
        AccessError: 403; it is withheld.
        ConflictError: it cannot be corrected, and why.
    """
    result, _, folder = shown(service, submission, "", who)
    if result.slide is None or result.status == "failed":
        raise ConflictError("the slide could not be read; there is no outline to say anything of")
    if result.slide.region_source == "tissue" or not (folder / OUTLINE).is_file():
        raise ConflictError("this bundle lays its tiles in all tissue: no outline was used")
    return folder, result.slide


def _corrected(
    service: Service, submission: Submission, body: OutlineBody, folder: Path, slide: SlideRecord, who: Principal
) -> CorrectedOutline:
    """The corrected outline, checked.

    Raises:
        ConflictError: it cannot be used, and why.
    """
    try:
        if body.geojson is not None:
            area = given_area(body.geojson, Path(service.settings.state))
        else:
            steps = [DrawnArea(one.operation, one.ring) for one in body.edits]
            area = changed_outline(folder / OUTLINE, steps)
        return corrected_outline_of(area, slide, submission.slide, who.name, datetime.now(UTC))
    except (InputError, SlideError) as error:
        raise ConflictError(str(error)) from None
    except RecursionError:
        raise ConflictError("the GeoJSON is nested too deeply") from None


def _answer(
    service: Service, submission: Submission, history: OutlineHistory, why_not: str, who: Principal
) -> OutlineAnswer:
    name = submission.works[0].bundle
    if not sees(who, service.snapshot.bundles.get(name)):  # it was withheld meanwhile
        raise forbidden(f"the results of bundle '{name}' are withheld until an admin releases them (shadow mode)")
    return OutlineAnswer(
        submission=submission.id,
        corrects=submission.corrects,
        accepted=[AcceptedAnswer(by=event.data.get(BY, ""), at=event.at) for event in history.accepted],
        corrections=[submission_answer(one, service.snapshot, who) for one in history.corrections],
        can_be_corrected=not why_not,
        why_not=why_not,
    )
