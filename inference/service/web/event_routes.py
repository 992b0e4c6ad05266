"""What changes, as it changes: server-sent events (HTML standard, 9.2), from where a client last was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from pathoprog.inference.service.access.principal import AccessError, Principal
from pathoprog.inference.service.events import Event
from pathoprog.inference.service.web.answers import event_answer
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.service import Served, Service, Viewing, principal_of

router = APIRouter(prefix="/v1", tags=["events"])
BEAT_S = 15.0
"""So often a comment is sent, so that proxies keep the connection, and a client that is gone is noticed."""
AT_ONCE = 500
MOST_WAITING = 1000
"""Events that wait for a slow client; one that falls further behind is cut off and comes again from where it was."""


@router.get(
    "/events",
    responses={
        **documented(401, 403, 422, 429, 503),
        200: {"description": "Events", "content": {"text/event-stream": {}}},
    },
    response_class=Response,
)
async def events(
    request: Request,
    who: Viewing,
    service: Served,
    after: Annotated[
        int | None, Query(ge=0, description="number of the last event that is known; without it: from now on")
    ] = None,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> Response:
    """Events as they happen; the connection stays open."""
    start = last_event_id if last_event_id is not None else after
    stream = _stream(request, service, who, start)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(request: Request, service: Service, who: Principal, start: int | None) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[Event] = asyncio.Queue(MOST_WAITING)
    behind = asyncio.Event()

    def put(event: Event) -> None:
        if waiting.full():
            behind.set()
        else:
            waiting.put_nowait(event)

    def told(event: Event) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(put, event)

    end = service.snapshot.listen(told)
    try:
        last = start if start is not None else 0
        if start is not None:
            async for event in _since(service, start):
                last = event.seq
                if line := _line(event, service, who):
                    yield line
        yield b": connected\n\n"
        while not service.snapshot.health.stopping:
            try:
                event = await asyncio.wait_for(waiting.get(), BEAT_S)
            except TimeoutError:
                if await request.is_disconnected() or not _still(request, who):
                    return
                yield b": beat\n\n"
                continue
            if behind.is_set():
                return
            if event.seq > last:
                last = event.seq
                if line := _line(event, service, who):
                    yield line
    finally:
        end()


async def _since(service: Service, start: int) -> AsyncIterator[Event]:
    """Events after a number: from memory, or from the file if they are older."""
    while True:
        found = service.snapshot.events_after(start)
        if found is None:
            found = await service.change(partial(service.conductor.desk.store.events, start, AT_ONCE))
        if not found:
            return
        for event in found:
            yield event
        start = found[-1].seq


def _still(request: Request, who: Principal) -> bool:
    """Whether whoever listens may still do so: a token that was revoked hears no more."""
    try:
        return principal_of(request).name == who.name
    except AccessError:
        return False


def _line(event: Event, service: Service, who: Principal) -> bytes:
    answer = event_answer(event, service.snapshot, who)
    if answer is None:
        return b""
    return f"id: {answer.seq}\nevent: {answer.kind}\ndata: {answer.model_dump_json()}\n\n".encode()
