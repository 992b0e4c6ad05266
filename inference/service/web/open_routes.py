"""What is answered before anybody is known: health, readiness, log-in; and who one is."""

import asyncio

from fastapi import APIRouter, Request, Response

from pathoprog.inference.service.access.principal import AccessError, Principal
from pathoprog.inference.service.access.roles import Permission
from pathoprog.inference.service.access.sessions import cookie_header
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import HealthAnswer, LoginBody, Me
from pathoprog.inference.service.web.problems import AGAIN, documented, problem, with_body
from pathoprog.inference.service.web.service import Asking, Served
from pathoprog.inference.service.web.vitals import is_alive, readiness

router = APIRouter()


@router.get("/health", responses=documented(503), tags=["service"])
async def health(service: Served) -> HealthAnswer:
    """Whether the process lives: for whoever starts it again if it does not."""
    if not is_alive(service.snapshot):
        return problem(503, "Not alive", "the service's own thread does not answer")  # type: ignore[return-value]
    return HealthAnswer(status="ok")


@router.get("/ready", responses=documented(503), tags=["service"])
async def ready(service: Served) -> HealthAnswer:
    """Whether it takes slides and scores them: for whoever sends some."""
    status = readiness(service.snapshot)
    if status != "ok":
        return problem(503, "Not ready", f"the service is {status}", AGAIN)  # type: ignore[return-value]
    return HealthAnswer(status="ok")


@router.post("/v1/session", responses=with_body(401, 422, 429, 503), tags=["access"])
async def log_in(body: LoginBody, request: Request, response: Response, service: Served) -> Me:
    """Log a browser in with a token: it gets a cookie, and the CSRF token that goes with it."""
    host = request.client.host if request.client is not None else ""
    try:
        logged_in = service.gate.log_in(body.token, request.headers, host)
    except AccessError as error:
        if error.status == 401:  # the address alone: what was tried may be somebody's secret
            address = service.gate.client_address(request.headers, host)
            await asyncio.to_thread(
                service.audit.append, "nobody", "none", Action.LOGIN_FAILED, "session", address=address
            )
        raise
    await service.record(logged_in.principal, Action.LOGIN, "session")
    response.headers["Set-Cookie"] = cookie_header(logged_in.session.session_id, service.secure)
    return _me(logged_in.principal, logged_in.session.csrf)


@router.delete("/v1/session", status_code=204, responses=documented(401, 403, 429, 503), tags=["access"])
async def log_out(request: Request, who: Asking, service: Served) -> Response:
    """End a browser's session."""
    await service.record(who, Action.LOGOUT, "session")
    service.gate.log_out(request.cookies)
    return Response(status_code=204)


@router.get("/v1/me", responses=documented(401, 403, 429, 503), tags=["access"])
async def me(request: Request, who: Asking, service: Served) -> Me:
    """Who asks, and what it may do."""
    return _me(who, service.gate.csrf_of(who, request.cookies))


def _me(who: Principal, csrf: str) -> Me:
    may = [permission.value for permission in Permission if who.may(permission)]
    return Me(name=who.name, role=who.role.value, may=may, csrf=csrf)
