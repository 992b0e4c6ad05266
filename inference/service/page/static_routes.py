"""The page's own files, as they lie in the package: HTML, CSS and JavaScript for anybody; data needs a log-in."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from pathoprog.inference.service.work.desk import AbsentError

router = APIRouter(include_in_schema=False)
STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script or style in a line of HTML, nothing from another host. `data:` images are the viewer's own signs."""


@dataclass(frozen=True)
class StaticFile:
    """A file of the page, in memory; `tag` is a hash by which a browser knows whether it has it already."""

    data: bytes
    media: str
    tag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All of them, by their path below the folder: nothing else is ever served."""
    found = {}
    for path in sorted(STATIC.rglob("*")):
        if path.suffix in MEDIA:
            data = path.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            found[path.relative_to(STATIC).as_posix()] = StaticFile(data, MEDIA[path.suffix], tag)
    return found


@router.get("/")
@router.get("/page")
async def to_page() -> Response:
    """Lead a browser to the page."""
    return RedirectResponse("/page/", 307)


@router.get("/page/")
async def index(request: Request) -> Response:
    """The page."""
    return await static(INDEX, request)


@router.get("/page/static/{name:path}")
async def static(name: str, request: Request) -> Response:
    """One of its files."""
    found = static_files().get(name)
    if found is None:
        raise AbsentError("the page has no such file")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Content-Security-Policy": PAGE_POLICY}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.data, media_type=found.media, headers=headers)
