"""Browser sessions: opened by a token, known by the hash of a random id, ended by time or with their token."""

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.access.tokens import Token, TokenError, TokenStore

ID_BYTES = 32
ID_CHARACTERS = 43  # of 32 bytes in base64url
COOKIE = "pathoprog"
PREFIX = "__Host-"
"""With it a browser takes the cookie only over TLS, from this host, for all paths, and sends it nowhere else."""


@dataclass(frozen=True)
class OpenedSession:
    """What a browser is given at log-in.

    Attributes:
        session_id: for the cookie; only its hash is kept.
        csrf: for the header of what changes something.
    """

    session_id: str = field(repr=False)
    csrf: str = field(repr=False)


@dataclass
class _KeptSession:
    """What the service keeps of a session; times of the monotonic clock, seconds."""

    token_id: str
    opened: float
    used: float


class Sessions:
    """The open sessions, in memory: a new start of the service ends all.

    Args:
        settings: how long and how many.
        clock: seconds that never run backwards.
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.monotonic):
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _KeptSession] = OrderedDict()  # by hash of the id; the longest unused first
        self._csrf_key = secrets.token_bytes(ID_BYTES)

    def __len__(self) -> int:
        return len(self._kept)

    def open(self, token: Token) -> OpenedSession:
        """Open a session for a token; where there are too many, the one unused for longest ends."""
        session_id = secrets.token_urlsafe(ID_BYTES)
        now = self._clock()
        with self._lock:
            for key in [key for key, kept in self._kept.items() if self._is_over(kept, now)]:
                del self._kept[key]
            own = [key for key, kept in self._kept.items() if kept.token_id == token.token_id]
            for key in own[: max(len(own) - self._settings.sessions_per_token + 1, 0)]:
                del self._kept[key]
            while len(self._kept) >= self._settings.sessions_in_all:
                self._kept.popitem(last=False)
            self._kept[_hash(session_id)] = _KeptSession(token.token_id, now, now)
        return OpenedSession(session_id, self.csrf(session_id))

    def holder(self, session_id: str, tokens: TokenStore) -> Token | None:
        """The token behind a session, which counts as used now; None if there is no such session, or it has ended.

        Raises:
            ConfigError: the file of the tokens cannot be used.
        """
        if len(session_id) != ID_CHARACTERS:
            return None
        key, now = _hash(session_id), self._clock()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or self._is_over(kept, now):
                self._kept.pop(key, None)
                return None
            kept.used = now
            self._kept.move_to_end(key)
        try:
            return tokens.still_valid(kept.token_id)
        except TokenError:
            self.close(session_id)
            return None

    def close(self, session_id: str) -> None:
        """End a session (log-out); nothing happens if there is none."""
        with self._lock:
            self._kept.pop(_hash(session_id), None)

    def csrf(self, bound_to: str) -> str:
        """The CSRF token of a session id, or of a name that a proxy gave: HMAC-SHA-256 under this process's key."""
        return hmac.digest(self._csrf_key, bound_to.encode(errors="replace"), "sha256").hex()

    def _is_over(self, kept: _KeptSession, now: float) -> bool:
        idle = now - kept.used >= 60 * self._settings.session_idle_minutes
        return idle or now - kept.opened >= 3600 * self._settings.session_hours


def _hash(session_id: str) -> str:
    return hashlib.sha256(session_id.encode(errors="replace")).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether an address or ``localhost`` is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def needs_secure_cookie(scheme: str, host: str) -> bool:
    """Whether cookies must be ``Secure``: always, but for plain http on a loopback address.

    Args:
        scheme: ``http`` or ``https``, as browsers reach the service (through its proxy, if it has one).
        host: the address that the service listens on.
    """
    return not (scheme == "http" and is_loopback(host))


def cookie_name(secure: bool) -> str:
    """The name of the session's cookie."""
    return f"{PREFIX if secure else ''}{COOKIE}"


def cookie_header(session_id: str, secure: bool) -> str:
    """The value of ``Set-Cookie`` that gives a browser its session; with no id it takes it away again.

    Without an age the browser forgets it when it is closed; how long the session lives is the service's to say.
    """
    attributes = ["Path=/", "HttpOnly", "SameSite=Strict", *(["Secure"] if secure else [])]
    attributes += [] if session_id else ["Max-Age=0"]
    return "; ".join([f"{cookie_name(secure)}={session_id}", *attributes])
