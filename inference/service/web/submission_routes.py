"""Slides to choose from, submissions and what may be done with them."""

import hashlib
from asyncio import to_thread
from collections import Counter
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.access.roles import Permission
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import (
    Given,
    Listed,
    NewSubmissionBody,
    OpaqueId,
    PriorityBody,
    ReasonBody,
    State,
    SubmissionAnswer,
    Submissions,
    submission_answer,
    veiled_state,
)
from pathoprog.inference.service.web.problems import documented, with_body
from pathoprog.inference.service.web.service import (
    Cancelling,
    Prioritising,
    Releasing,
    Requeueing,
    Served,
    Service,
    Submitting,
    Viewing,
)
from pathoprog.inference.service.work.asked_slides import traits_of
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.inference.service.work.store import Request as SentRequest
from pathoprog.inference.service.work.store_tables import REQUEST_BODY, REQUEST_KEY
from pathoprog.inference.service.work.submissions import NewSubmission, Submission

router = APIRouter(prefix="/v1", tags=["submissions"])
KNOWN = documented(401, 403, 422, 429, 503)
ONE = documented(401, 403, 404, 409, 422, 429, 503)
TAKES_BODY = with_body(401, 403, 404, 409, 422, 429, 503)


@router.get("/roots", responses=documented(401, 403, 429, 503))
async def roots(who: Viewing, service: Served) -> dict[str, list[str]]:
    """The folders that slides may come from, and the routes over each, by name."""
    return {
        name: [route.name for route in service.settings.routes if route.root == name]
        for name in service.catalogue.names()
    }


@router.get("/slides", responses=ONE)
def slides(
    who: Submitting,
    service: Served,
    root: Annotated[Given, Query(description="name of the root")],
    after: Annotated[OpaqueId | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 200,
) -> Listed:
    """The slides of a root, under opaque ids. Names are shown only where every route over the root gives them away."""
    if root not in service.catalogue.names():
        raise AbsentError(f"no root '{root}'")
    named = all(route.patients.ids == "given" for route in service.settings.routes if route.root == root)
    found = service.catalogue.listed(root)
    rest = [one for one in found if after is None or one.id > after]
    page = rest[: rows_of_page(service, limit)]
    rows = [Listed.Slide(id=one.id, root=root, file_name=one.file_name if named else "") for one in page]
    return Listed(slides=rows, next=page[-1].id if len(rest) > len(page) else "")


@router.post(
    "/submissions",
    status_code=201,
    responses={**TAKES_BODY, 200: {"model": SubmissionAnswer, "description": "It was there before; nothing was added"}},
)
async def submit(
    body: NewSubmissionBody,
    who: Submitting,
    service: Served,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$", description="send it again with the same request"
        ),
    ] = None,
) -> SubmissionAnswer:
    """Have a slide scored. The same slide on the same route, while it is not done, is the same submission."""
    route = service.route(body.route)
    traits = body.traits.given()
    if traits:
        who.demand(Permission.OVERRIDE)
    listed = await to_thread(service.catalogue.slide, body.slide)
    if listed is None or listed.root != route.root:
        raise AbsentError("no such slide in the route's root")
    named = await to_thread(service.names.of_submitted, route, listed.path, body.patient or "")
    (file,) = await to_thread(service.names.paths.kept, route.name, (listed.path,))
    new = NewSubmission(
        route=route.name,
        file=file,
        slide_id=named.slide_id,
        patient_id=named.patient_id,
        priority=body.priority or route.priority,
        by=who.name,
        traits=traits_of(route, {**named.traits, **traits}),
    )
    request = None
    if idempotency_key is not None:
        hashed = service.names.paths.hashed  # both may hold a case number, and short ones can be tried
        sent = hashed(REQUEST_BODY, hashlib.sha256(body.model_dump_json().encode()).hexdigest())
        request = SentRequest(who.name, hashed(REQUEST_KEY, idempotency_key), sent)
    if traits:
        said = ", ".join(f"{trait} is {value}" for trait, value in traits.items())
        await service.record(who, Action.OVERRIDE, named.slide_id, traits=said)
    await service.record(who, Action.SUBMISSION, named.slide_id, route=route.name)
    accepted = await service.change(partial(service.conductor.desk.submit, new, request))
    response.status_code = 201 if accepted.created else 200
    response.headers["Location"] = f"/v1/submissions/{accepted.submission.id}"
    return submission_answer(accepted.submission, service.snapshot, who)


@router.get("/submissions", responses=KNOWN)
async def submissions(
    who: Viewing,
    service: Served,
    state: Annotated[list[State] | None, Query(description="only these states")] = None,
    route: Annotated[Given | None, Query()] = None,
    slide: Annotated[Given | None, Query(description="only this slide id")] = None,
    patient: Annotated[Given | None, Query(description="only this patient id")] = None,
    before: Annotated[int, Query(ge=0, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 100,
) -> Submissions:
    """Submissions, newest first."""
    limit = rows_of_page(service, limit)
    page: list[SubmissionAnswer] = []
    last = 0
    for one in service.snapshot.newest(before):
        answer = submission_answer(one, service.snapshot, who)
        wanted = (state is None or answer.state in state) and route in (None, one.route)
        if wanted and slide in (None, one.slide_id) and patient in (None, one.patient_id):
            if len(page) == limit:
                return Submissions(submissions=page, counts=_counts(service, who), next=last)
            page.append(answer)
            last = one.seq
    return Submissions(submissions=page, counts=_counts(service, who), next=0)


def rows_of_page(service: Service, asked: int) -> int:
    """How many rows a page has: as many as are asked for, but no more than the settings allow."""
    return min(asked, service.settings.limits.page)


def _counts(service: Service, who: Principal) -> dict[str, int]:
    """Submissions by state; where a bundle in shadow may not be looked into, its two kinds of end are one."""
    counts: Counter[str] = Counter()
    for (route, state), n in service.snapshot.counts().items():
        served = service.routes.get(route)
        bundle = service.snapshot.bundles.get(served.bundles[0]) if served is not None else None
        counts[veiled_state(state, bundle, who)] += n
    return dict(counts)


@router.get("/submissions/{submission}", responses=ONE)
async def one_submission(submission: OpaqueId, who: Viewing, service: Served) -> SubmissionAnswer:
    """One submission."""
    return submission_answer(known(service, submission), service.snapshot, who)


@router.post("/submissions/{submission}/cancel", responses=ONE)
async def cancel(submission: OpaqueId, who: Cancelling, service: Served) -> SubmissionAnswer:
    """Call off what no worker has in hand."""
    await service.record(who, Action.CANCEL, known(service, submission).slide_id, submission=submission)
    return await _changed(service, who, partial(service.conductor.orders.cancel, submission))


@router.post("/submissions/{submission}/requeue", responses=ONE)
async def requeue(submission: OpaqueId, who: Requeueing, service: Served) -> SubmissionAnswer:
    """Try again what failed or was called off."""
    await service.record(who, Action.REQUEUE, known(service, submission).slide_id, submission=submission)
    return await _changed(service, who, partial(service.conductor.orders.requeue, submission))


@router.post("/submissions/{submission}/withdraw", responses=TAKES_BODY)
async def withdraw(submission: OpaqueId, body: ReasonBody, who: Releasing, service: Served) -> SubmissionAnswer:
    """Take a result back."""
    slide_id = known(service, submission).slide_id
    await service.record(who, Action.WITHDRAW, slide_id, submission=submission, reason=body.reason)
    return await _changed(service, who, partial(service.conductor.orders.withdraw, submission, body.reason))


@router.put("/submissions/{submission}/priority", responses=TAKES_BODY)
async def prioritise(submission: OpaqueId, body: PriorityBody, who: Prioritising, service: Served) -> SubmissionAnswer:
    """Take it before or behind others."""
    slide_id = known(service, submission).slide_id
    await service.record(who, Action.PRIORITY, slide_id, submission=submission, priority=body.priority)
    return await _changed(service, who, partial(service.conductor.orders.set_priority, submission, body.priority))


async def _changed(service: Service, who: Principal, what: "partial[Submission]") -> SubmissionAnswer:
    return submission_answer(await service.change(what), service.snapshot, who)


def known(service: Service, submission: str) -> Submission:
    """A submission.

    Raises:
        AbsentError: there is none by this id.
    """
    found = service.snapshot.get(submission)
    if found is None:
        raise AbsentError("no such submission")
    return found
