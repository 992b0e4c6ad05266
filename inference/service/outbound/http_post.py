"""One POST to one address: bounded in time and size, verified, without redirects."""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, NameResolutionError, NewConnectionError
from urllib3.util.retry import Retry

from pathoprog.errors import ConfigError
from pathoprog.inference.service.outbound.outbound_config import WebhookSettings

MOST_ANSWER_BYTES = 64 << 10
"""Of an answer's body, which says nothing that we need; more is not read."""
NOT_IN_TIME = "no answer in time"


@dataclass(frozen=True)
class Address:
    """Where a webhook goes.

    Attributes:
        secure: https.
        host: name or number.
        port: of the host.
        target: path and query.
    """

    secure: bool
    host: str
    port: int
    target: str


@dataclass(frozen=True)
class Answer:
    """What came of a POST.

    Attributes:
        status: HTTP status, 0 where there was no answer.
        problem: why there was no answer, without address or path; else empty.
        retry_after_s: how long the receiver asks to wait, bounded by the settings; 0 where it does not.
    """

    status: int
    problem: str = ""
    retry_after_s: float = 0.0


def address_of(settings: WebhookSettings) -> Address:
    """Where a webhook goes.

    Raises:
        ConfigError: no http(s) address, a password in it, or http to another machine without leave.
    """
    try:
        parts = urlsplit(settings.url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"webhook {settings.name}: url is no address ({error})") from error
    plain = settings.url.isascii() and settings.url.isprintable() and " " not in settings.url
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise ConfigError(f"webhook {settings.name}: url must be https://host/…, in plain letters and without spaces")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"webhook {settings.name}: url holds a name or password; the receiver checks the signature")
    secure = parts.scheme == "https"
    if not secure and not settings.plain_http and not _is_this_machine(host):
        raise ConfigError(
            f"webhook {settings.name}: url is http to another machine; use https, or set plain_http: true if the "
            "network between is trusted"
        )
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return Address(secure, host, port or (443 if secure else 80), target)


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Poster:
    """Posts to one address, over a connection of its own each time.

    A connection and not a pool is used, since nothing is then redirected, tried again or taken through a proxy that
    the environment names.

    Args:
        settings: of the webhook.

    Raises:
        ConfigError: see `address_of`; or the certificates cannot be read.
    """

    def __init__(self, settings: WebhookSettings):
        self._settings = settings
        self._address = address_of(settings)
        self._context = _context(settings) if self._address.secure else None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once; never raises for what the network or the receiver does."""
        connection = self._connection()
        limit = _TimeLimit(self._settings.total_timeout_s)
        try:
            return self._answer(connection, limit, body, headers)
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            return Answer(0, NOT_IN_TIME if limit.over else _problem(error))
        finally:
            limit.end()
            connection.close()

    def _connection(self) -> HTTPConnection:
        host, port, timeout = self._address.host, self._address.port, self._settings.connect_timeout_s
        if self._context is None:
            return HTTPConnection(host, port, timeout=timeout)
        return HTTPSConnection(host, port, timeout=timeout, ssl_context=self._context)

    def _answer(
        self, connection: HTTPConnection, limit: "_TimeLimit", body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        connection.connect()
        limit.hold(connection.sock)
        connection.timeout = self._settings.read_timeout_s
        connection.request("POST", self._address.target, body, headers, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as response:
            if limit.over:  # what was cut looks like an end: its headers are not whole
                return Answer(0, NOT_IN_TIME)
            asked = _retry_after_s(response.headers.get("Retry-After"), self._settings.most_retry_after_s)
            with suppress(HTTPError, http.client.HTTPException, OSError, ValueError):  # its status is said already
                response.read(MOST_ANSWER_BYTES, decode_content=False)
            return Answer(response.status, retry_after_s=asked)


class _TimeLimit:
    """Ends a delivery that takes too long, whatever it waits for: each byte of a slow answer is in time by itself."""

    def __init__(self, seconds: float):
        self.over = False
        self._sock: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def hold(self, sock: socket.socket) -> None:
        """What to cut: the connection itself gives it up to the answer."""
        self._sock = sock
        if self.over:
            self._cut()

    def end(self) -> None:
        """Cut nothing from now on."""
        self._timer.cancel()
        self._timer.join()
        self._sock = None

    def _cut(self) -> None:
        self.over = True
        if self._sock is not None:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # closing it would not wake the thread that reads


def _context(settings: WebhookSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"webhook {settings.name}: {settings.ca_file}: no certificates in PEM ({error})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _retry_after_s(header: str | None, most_s: float) -> float:
    """Seconds that the receiver asks for, given as a number or as a date; 0 where it is neither."""
    if header is None:
        return 0.0
    try:
        return min(float(Retry(retry_after_max=86400).parse_retry_after(header)), most_s)
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _problem(error: Exception) -> str:
    """What went wrong, in words without the address, which may hold what is not for a log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "no TLS connection"
    if isinstance(error, NameResolutionError):
        return "the name of its host is not known"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return "no connection in time"
    if isinstance(error, TimeoutError):
        return NOT_IN_TIME
    if isinstance(error, ConnectionError):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.HTTPException | ValueError):
        return "the answer is no HTTP"
    return "no connection"
