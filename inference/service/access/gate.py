"""The gate: from a request's headers, cookies and address to who asks, or an error that turns it away."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.access.lockout import Lockout, address_key
from pathoprog.inference.service.access.principal import AccessError, Principal, forbidden, too_many, unknown
from pathoprog.inference.service.access.proxy import NamedProxy
from pathoprog.inference.service.access.rate_limits import RateLimits
from pathoprog.inference.service.access.sessions import OpenedSession, Sessions, cookie_name
from pathoprog.inference.service.access.tokens import SECRET_BEGINS, Token, TokenError, TokenStore

CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class LoggedIn:
    """A browser that has just logged in.

    Attributes:
        principal: who it is.
        session: its cookie's value and its CSRF token.
    """

    principal: Principal
    session: OpenedSession = field(repr=False)


class Gate:
    """Every request passes it first. What is tried in a lock-out's wait is not looked at.

    Three ways lead in, tried in this order: a bearer token; a name in the identity header of the named proxy; a
    browser session's cookie. The last two go with what a browser sends by itself, so that a method that changes
    something needs the CSRF token too. An expired or revoked token, and a cookie whose session has ended, are turned
    away and not counted as failures: their holders guess nothing, and one machine with an old token must not lock out
    all behind its address.

    A wrong secret counts against its address, and against the token whose id it names. While an address is locked out,
    no token is taken from it. While a token is, wrong secrets for it must wait wherever they come from; the right one
    is taken from any other address, since else anybody who has seen a token's id could lock its holder out.

    Args:
        settings: the proxy and its names.
        tokens: the tokens.
        sessions: the open browser sessions.
        lockout: failures.
        limits: requests, by principal, and of those turned away by address.
        secure: whether browsers reach the service over TLS (`sessions.needs_secure_cookie`).

    Raises:
        ConfigError: see `NamedProxy`.
    """

    def __init__(
        self,
        settings: AccessSettings,
        tokens: TokenStore,
        sessions: Sessions,
        lockout: Lockout,
        limits: RateLimits,
        secure: bool,
    ):
        self._proxy = NamedProxy(settings)
        self._tokens, self._sessions = tokens, sessions
        self._lockout, self._limits = lockout, limits
        self._cookie = cookie_name(secure)

    def authenticate(
        self,
        headers: Mapping[str, str],
        cookies: Mapping[str, str],
        client_host: str,
        method: str,
        url: str = "",
        counted: bool = True,
    ) -> Principal:
        """Who asks.

        Args:
            headers: of the request; `items()` may give a name more than once.
            cookies: of the request.
            client_host: the address that the connection comes from; "" if it has none.
            method: of HTTP.
            url: path and query, as sent: searched for a token that does not belong there.
            counted: False for parts of a slide's picture, of which one look takes hundreds: they have a bound of their
                own. Whoever is turned away is counted in any case.

        Raises:
            AccessError: 401, 403, 429 or 503.
        """
        given = _by_name(headers)
        address = address_key(self._proxy.client(client_host, given))
        try:
            principal = self._who(given, cookies, client_host, address, url)
            if principal.how != "token" and method.upper() not in SAFE_METHODS:
                self._check_csrf(given, self._bound_to(principal, cookies))
        except AccessError as error:
            wait = self._limits.take(f"address {address}")
            if wait and error.status != 429:
                raise too_many(wait, "requests from this address") from error
            raise
        if counted and (wait := self._limits.take(f"{principal.how} {principal.name}")):
            raise too_many(wait, "requests of this name")
        return principal

    def log_in(self, secret: str, headers: Mapping[str, str], client_host: str) -> LoggedIn:
        """Open a browser session with a token's secret.

        Args:
            secret: as the person gave it.
            headers: of the request.
            client_host: the address that the connection comes from.

        Raises:
            AccessError: 401, 429 or 503.
        """
        address = address_key(self._proxy.client(client_host, _by_name(headers)))
        if wait := self._limits.take(f"address {address}"):
            raise too_many(wait, "requests from this address")
        token = self._holder(secret.strip(), address)
        self._lockout.succeeded(f"address {address}")
        return LoggedIn(_principal(token, "session"), self._sessions.open(token))

    def log_out(self, cookies: Mapping[str, str]) -> None:
        """End the browser session that a cookie names; nothing happens if there is none."""
        self._sessions.close(cookies.get(self._cookie, ""))

    def csrf_of(self, principal: Principal, cookies: Mapping[str, str]) -> str:
        """The CSRF token that a page of `principal` must send; "" for one with a bearer token, who needs none."""
        return "" if principal.how == "token" else self._sessions.csrf(self._bound_to(principal, cookies))

    def client_address(self, headers: Mapping[str, str], client_host: str) -> str:
        """The address of who asks, behind the named proxy too."""
        return self._proxy.client(client_host, _by_name(headers))

    def _who(
        self, headers: dict[str, list[str]], cookies: Mapping[str, str], peer: str, address: str, url: str
    ) -> Principal:
        if SECRET_BEGINS.search(unquote(url)):
            raise unknown(
                "a token is never taken from a URL, which logs and histories keep: have it revoked, and send the new "
                "one as `Authorization: Bearer …`"
            )
        named = self._proxy.principal(peer, headers)  # first, so that a forged header is refused whatever comes with it
        bearer = headers.get("authorization", [])
        if bearer:
            match = _BEARER.fullmatch(bearer[0].strip()) if len(bearer) == 1 else None
            if match is None:
                raise unknown("send the token once, as `Authorization: Bearer …`")
            return _principal(self._holder(match[1], address), "token")
        if named is not None:
            return named
        session_id = cookies.get(self._cookie, "")
        if not session_id:
            raise unknown("send a token as `Authorization: Bearer …`, or log in")
        try:
            token = self._sessions.holder(session_id, self._tokens)
        except ConfigError as error:
            raise _unchecked() from error
        if token is None:
            raise unknown("the session has ended; log in again")
        return _principal(token, "session")

    def _holder(self, secret: str, address: str) -> Token:
        by_address = f"address {address}"
        if wait := self._lockout.wait_s(by_address):
            raise too_many(wait, "wrong tokens came from this address")
        try:
            return self._tokens.holder(secret)
        except TokenError as error:
            if not error.guessed:
                raise unknown(f"{error}; an admin makes a new one") from None
            by_token = f"token {error.token_id}"
            wait = self._lockout.wait_s(by_token) if error.token_id else 0.0
            self._lockout.failed([by_address, *([by_token] if error.token_id and not wait else [])])
            if wait:
                raise too_many(wait, "wrong secrets came for this token") from None
            raise unknown("no such token") from None
        except ConfigError as error:
            raise _unchecked() from error

    def _bound_to(self, principal: Principal, cookies: Mapping[str, str]) -> str:
        """What the CSRF token is bound to: the session, or the name that the proxy gave (no session id has a space)."""
        return f"proxy {principal.name}" if principal.how == "proxy" else cookies.get(self._cookie, "")

    def _check_csrf(self, headers: dict[str, list[str]], bound_to: str) -> None:
        given = headers.get(CSRF_HEADER, [])
        right = self._sessions.csrf(bound_to)
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(errors="replace"), right.encode()):
            raise forbidden(
                "what changes something needs the session's CSRF token in X-CSRF-Token; load the page again"
            )


def _by_name(headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Headers by name in lower case; one that comes twice has two values."""
    found: dict[str, list[str]] = {}
    for name, value in headers.items():
        found.setdefault(name.lower(), []).append(value)
    return found


def _principal(token: Token, how: str) -> Principal:
    return Principal(token.name, token.role, token.token_id, how)


def _unchecked() -> AccessError:
    return AccessError(
        503, "Tokens cannot be checked", "the service cannot read its file of tokens; its log says why", retry_after=60
    )
