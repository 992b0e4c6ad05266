"""The queue as the page shows it: failures first, filtered, with who has seen what."""

from asyncio import to_thread
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from pathoprog.inference.service.access.principal import Principal, forbidden
from pathoprog.inference.service.config import PRIORITIES
from pathoprog.inference.service.page.audit_reader import SEEN
from pathoprog.inference.service.page.page_answers import SeenAnswer, SeenBody, Worklist, WorklistRow
from pathoprog.inference.service.page.page_data import (
    SEEABLE,
    PageData,
    PageServed,
    mark_of,
    sighting_answers,
    sightings,
)
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import Given, OpaqueId, State, sees, submission_answer, veiled_state
from pathoprog.inference.service.web.problems import documented, with_body
from pathoprog.inference.service.web.service import Reading, Served, Service, Viewing
from pathoprog.inference.service.web.submission_routes import known, rows_of_page
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
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
    Submission,
)

router = APIRouter(prefix="/v1", tags=["page"])
KNOWN = documented(401, 403, 422, 429, 503)
ORDER = (FAILED, RUNNING, WAITING, RECEIVED, NOT_REPORTABLE, DONE, WITHDRAWN, CANCELLED, SUPERSEDED)
"""In which states stand in the queue: first what somebody must look at."""


@router.get("/worklist", responses=KNOWN)
async def worklist(
    who: Viewing,
    service: Served,
    data: PageServed,
    state: Annotated[list[State] | None, Query(description="only these states")] = None,
    route: Annotated[Given | None, Query()] = None,
    text: Annotated[str, Query(max_length=200, description="part of a slide's, patient's or submission's id")] = "",
    hours: Annotated[int, Query(ge=0, le=100_000, description="ended so lately, or open; 0: all")] = 0,
    unseen: Annotated[bool, Query(description="only ended ones that nobody has opened on the page")] = False,
    skip: Annotated[int, Query(ge=0, le=10_000_000, description="rows before the page")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 100,
) -> Worklist:
    """Submissions that are open, or ended lately."""
    since = _since(hours)
    fits = partial(_fits, route=route, text=text.casefold(), since=since)
    return await to_thread(_worklist, service, data, who, fits, state, unseen, skip, rows_of_page(service, limit))


def _since(hours: int) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds") if hours else ""


def _fits(one: Submission, route: str | None, text: str, since: str) -> bool:
    if route not in (None, one.route) or (one.state not in OPEN and one.ended_at < since):
        return False
    return not text or any(text in part.casefold() for part in (one.slide_id, one.patient_id, one.id))


def _worklist(
    service: Service,
    data: PageData,
    who: Principal,
    fits: "partial[bool]",
    states: list[State] | None,
    unseen: bool,
    skip: int,
    limit: int,
) -> Worklist:
    data.audit.refresh()
    snapshot = service.snapshot
    recent = snapshot.recent()
    last_event = recent[-1].seq if recent else 0  # before looking: what changes meanwhile is told again
    counts: Counter[str] = Counter()
    chosen: list[tuple[tuple[int, int, int], Submission]] = []
    n_unseen = 0
    for one in snapshot.newest(0):
        if not fits(one):
            continue
        champion = snapshot.bundles.get(one.works[0].bundle)
        shown = veiled_state(one.state, champion, who)
        counts[shown] += 1
        nobody = _is_unseen(service, data, one, who)
        n_unseen += nobody
        if (states is None or shown in states) and (nobody or not unseen):
            chosen.append((_place(one, shown), one))
    chosen.sort(key=lambda found: found[0])
    waiting = sorted((one for one in snapshot.open() if one.state != RUNNING), key=_turn)
    ahead = {one.id: place for place, one in enumerate(waiting)}
    rows = [
        WorklistRow(
            submission=submission_answer(one, snapshot, who),
            seen=sighting_answers(sightings(service, data, one, one.works[0], who)),
            ahead=ahead.get(one.id, -1),
        )
        for _, one in chosen[skip : skip + limit]
    ]
    return Worklist(rows=rows, total=len(chosen), counts=dict(counts), unseen=n_unseen, last_event=last_event)


def _is_unseen(service: Service, data: PageData, one: Submission, who: Principal) -> bool:
    """Whether it has ended, may be seen by who asks, and was opened by nobody."""
    work = one.works[0]
    if work.state not in SEEABLE or not sees(who, service.snapshot.bundles.get(work.bundle)):
        return False
    return not sightings(service, data, one, work, who)


def _place(one: Submission, shown: str) -> tuple[int, int, int]:
    """What waits in the order in which it is taken; all else newest first."""
    urgent, seq = _turn(one)
    return (ORDER.index(shown), urgent, seq) if shown in (WAITING, RECEIVED) else (ORDER.index(shown), 0, -seq)


def _turn(one: Submission) -> tuple[int, int]:
    return PRIORITIES.index(one.priority), one.seq


@router.post("/submissions/{submission}/seen", responses=with_body(401, 403, 404, 409, 422, 429, 503))
async def see(submission: OpaqueId, body: SeenBody, who: Reading, service: Served, data: PageServed) -> SeenAnswer:
    """Put on record that a person has opened a result; the page does so when it shows one."""
    found = known(service, submission)
    work = found.work_of(body.bundle or found.works[0].bundle)
    if work is None:
        raise AbsentError("the bundle does not score this submission")
    bundle = service.snapshot.bundles.get(work.bundle)
    if not sees(who, bundle):
        raise forbidden("its result is withheld until an admin releases it")
    if work.state not in SEEABLE:
        raise ConflictError(f"there is nothing to see: it is {work.state}")
    await to_thread(data.audit.refresh)
    if not any(one.who == who.name for one in sightings(service, data, found, work, who)):
        detail = {
            "submission": found.id,
            "bundle": work.bundle,
            "mark": mark_of(found, work),
            "shadow": bundle is None or not bundle.released_at,
            SEEN: True,
        }
        await service.record(who, Action.RESULT_VIEWED, found.slide_id, **detail)
        await to_thread(data.audit.refresh)
    return SeenAnswer(seen=sighting_answers(sightings(service, data, found, work, who)))
