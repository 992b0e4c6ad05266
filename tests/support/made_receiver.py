"""A receiver of webhooks on a free port of this machine, which answers as a test says."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and what is answered: `answers` one by one, then `default`; a function writes what it likes."""

    default: "int | Callable[[BaseHTTPRequestHandler], None]" = 200
    answers: list = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/hook"


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b""):
    """What answers with a status, headers and a body."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.receiver.received.append(Received(self.path, dict(self.headers.items()), body))
        reply = self.receiver.answers.pop(0) if self.receiver.answers else self.receiver.default
        with suppress(ConnectionError):  # the sender has gone
            (answer(reply) if isinstance(reply, int) else reply)(self)

    def do_GET(self) -> None:
        self.receiver.received.append(Received(self.path, dict(self.headers.items()), b""))
        answer(200)(self)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what came stands in `received`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: senders that go away are what is tested."""


@contextmanager
def running_receiver(receiver: Receiver, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """The receiver at work, with TLS where there is a context."""
    server = _Server(("localhost", 0), type("Handler", (_Handler,), {"receiver": receiver}))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.scheme = "https"
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
