"""Errors as problem+json (RFC 9457): what is wrong, and what to do; never a path, a name or a line of code."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from pathoprog.errors import PathoprogError
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.service.access.principal import AccessError
from pathoprog.inference.service.records.audit_lines import AuditError
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.system.console import warn
from pathoprog.text.plain_text import printable, without_paths

MEDIA_TYPE = "application/problem+json"
AGAIN = {"Retry-After": "10"}
MOST_WRONG = 20
"""Faults of one request that are named."""


class Problem(BaseModel):
    """What is wrong with a request, as RFC 9457 has it."""

    model_config = ConfigDict(extra="forbid")

    title: str
    status: int
    detail: str
    faults: list[str] = []


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an endpoint may answer with, for the description of the interface."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for status in statuses
    }


def with_body(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`documented`, of an endpoint that takes a body, which may be malformed, slow or too large."""
    return documented(400, *statuses, 408, 413)


def problem(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, faults: Sequence[str] = ()
) -> Response:
    """The answer that tells of one."""
    body = Problem(title=title, status=status, detail=printable(detail), faults=list(faults))
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


async def _access(_: Request, error: AccessError) -> Response:
    return problem(error.status, error.title, error.detail, error.headers())


async def _absent(_: Request, error: AbsentError) -> Response:
    return problem(404, "Not found", str(error))


async def _conflict(_: Request, error: ConflictError) -> Response:
    return problem(409, "Conflict", str(error))


async def _unwritable(_: Request, error: PathoprogError) -> Response:
    warn(str(error))
    detail = (
        "what was asked for could not be written down and was not done; the service's log says why, try again later"
    )
    return problem(503, "Cannot write", detail, AGAIN)


async def _unavailable(_: Request, error: PathoprogError) -> Response:
    return problem(503, "Not now", without_paths(str(error)), AGAIN)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    faults = [
        f"{'.'.join(str(part) for part in one['loc'])}: {printable(str(one['msg']))}"
        for one in error.errors()[:MOST_WRONG]
    ]
    return problem(422, "Invalid request", "the request does not fit the description of the interface", faults=faults)


async def _http(request: Request, error: HTTPException) -> Response:
    title = HTTPStatus(error.status_code).phrase
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "retry-after"}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_of(request)))
    return problem(error.status_code, title, str(error.detail or title), headers)


def _methods_of(request: Request) -> set[str]:
    """All methods that the asked path takes; the framework knows those of the first fitting route alone."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _defect(_: Request, error: Exception) -> Response:
    detail = "a defect of this program: its log has it; report it"
    return problem(500, "Internal error", f"{detail} ({type(error).__name__})")


def handle_problems(app: FastAPI) -> None:
    """Have every error answered as a problem."""
    handlers: dict[Any, Handler] = {
        AccessError: _access,
        AbsentError: _absent,
        ConflictError: _conflict,
        WriteError: _unwritable,
        AuditError: _unwritable,
        PathoprogError: _unavailable,
        RequestValidationError: _invalid,
        HTTPException: _http,
        Exception: _defect,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
