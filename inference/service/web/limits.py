"""What one client may take of the server: time for a request's head and body, and the size of it."""

import asyncio
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pathoprog.inference.service.config import RequestLimits
from pathoprog.inference.service.web.problems import problem

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer that does not set its own."""


OUTLINE_PATH = re.compile(r"/v1/submissions/[^/]+/outline")
"""Where a body may be larger than elsewhere: outlines have many corners."""


class _TooLargeError(Exception):
    """The body is larger than allowed."""


class LimitedRequests:
    """Middleware: bounds a request's body in size and time, and gives every answer the headers that keep it safe."""

    def __init__(self, app: ASGIApp, limits: RequestLimits):
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kib = self._limits.outline_kib if OUTLINE_PATH.fullmatch(scope["path"]) else self._limits.body_kib
        most = kib << 10
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > most:
            await self._refuse(413, "Too large", f"this request may hold {kib} KiB", scope, receive, send)
            return
        got, whole = 0, False
        started = False

        async def bounded() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            message = await asyncio.wait_for(receive(), self._limits.body_s)
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > most:
                raise _TooLargeError
            return message

        async def safe(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in SECURITY.items()
                        if name.encode() not in there
                    ),
                ]
            await send(message)

        try:
            await self._app(scope, bounded, safe)
        except _TooLargeError:
            if not started:
                detail = f"this request may hold {kib} KiB"
                await self._refuse(413, "Too large", detail, scope, receive, send)
        except TimeoutError:
            if started or whole:
                raise
            detail = f"the request's body did not come within {self._limits.body_s:g} s"
            await self._refuse(408, "Too slow", detail, scope, receive, send)

    async def _refuse(self, status: int, title: str, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
        await problem(status, title, detail, {"Connection": "close", **SECURITY})(scope, receive, send)


def timed_protocol(header_s: float) -> type[H11Protocol]:
    """The server's protocol, that ends a connection whose request's head does not come within so many seconds.

    From the connection's start, or from a further request's first byte; between two requests the server's own limit of
    idle connections holds.
    """

    class TimedProtocol(H11Protocol):
        """See `timed_protocol`."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """See asyncio."""
            super().connection_made(transport)
            self._timer = self.loop.call_later(header_s, self._too_slow)

        def data_received(self, data: bytes) -> None:
            """See asyncio."""
            if self._timer is None and not self._answering:
                self._timer = self.loop.call_later(header_s, self._too_slow)
            super().data_received(data)
            if self._answering:
                self._stop_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            """See asyncio."""
            self._stop_timer()
            super().connection_lost(exc)

        @property
        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_slow(self) -> None:
            self._timer = None
            if not self._answering and not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol
