"""Receivers of webhooks: how each stands, what it refused, and that being sent again."""

from typing import Annotated

from fastapi import APIRouter, Query

from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import Given
from pathoprog.inference.service.web.problems import documented, with_body
from pathoprog.inference.service.web.service import Redelivering, Served
from pathoprog.inference.service.web.submission_routes import rows_of_page
from pathoprog.inference.service.web.webhook_answers import (
    SendAgainBody,
    SendingAgain,
    Undelivered,
    UndeliveredAnswer,
    WebhookAnswer,
    Webhooks,
)
from pathoprog.inference.service.work.desk import AbsentError

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
KNOWN = documented(401, 403, 422, 429, 503)
ONE = documented(401, 403, 404, 422, 429, 503)


@router.get("", responses=KNOWN)
async def webhooks(who: Redelivering, service: Served) -> Webhooks:
    """The receivers: what waits for each, and how much of it was refused."""
    letters = [one.webhook for one in service.vigil.undelivered()]
    return Webhooks(
        webhooks=[
            WebhookAnswer(
                name=one.name,
                waiting=one.waiting,
                problem=one.problem,
                undelivered=letters.count(one.name),
                sending_again=one.again,
            )
            for one in service.vigil.webhooks()
        ]
    )


@router.get("/{name}/undelivered", responses=ONE)
async def undelivered(
    name: Given,
    who: Redelivering,
    service: Served,
    after: Annotated[int, Query(ge=0, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 100,
) -> Undelivered:
    """What a receiver refused and has not got since, the oldest event first."""
    letters = service.vigil.undelivered(name)
    if not letters and name not in {one.name for one in service.vigil.webhooks()}:
        raise AbsentError(f"no webhook '{name}'")
    rest = [one for one in letters if one.seq > after]
    page = rest[: rows_of_page(service, limit)]
    rows = [
        UndeliveredAnswer(
            delivery=one.delivery, seq=one.seq, kind=one.kind, at=one.at, tries=one.tries, status=one.status
        )
        for one in page
    ]
    return Undelivered(undelivered=rows, next=page[-1].seq if len(rest) > len(page) else 0)


@router.post("/{name}/undelivered/send", status_code=202, responses=with_body(401, 403, 404, 422, 429, 503))
async def send_again(name: Given, body: SendAgainBody, who: Redelivering, service: Served) -> SendingAgain:
    """Send one, or all, again: in the order of events, each under its delivery's id, when nothing newer waits.

    What is refused once more stays undelivered.
    """
    await service.record(who, Action.REDELIVER, name, delivery=body.delivery or "all")
    return SendingAgain(deliveries=service.vigil.send_again(name, body.delivery or ""))
