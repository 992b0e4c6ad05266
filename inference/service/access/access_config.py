"""Settings of who may do what: tokens, browser sessions, lock-out, limits, the named proxy (light)."""

from dataclasses import dataclass

from pathoprog.inference.service.access.roles import Role
from pathoprog.settings import setting

TOKENS_FILE = "tokens.json"
"""Name of the tokens' file in the state folder: the service and `pathoprog token` find it there."""


@dataclass
class AccessSettings:
    """The service's settings of access; no secret is among them."""

    session_idle_minutes: float = setting(
        30.0, "minutes after which a browser's session ends if nothing was asked in it", low=1.0, high=1440.0
    )
    session_hours: float = setting(12.0, "hours after which a browser's session ends in any case", low=0.1, high=168.0)
    sessions_per_token: int = setting(
        5,
        "browser sessions that one token may have open; a further one ends the one unused for longest",
        low=1,
        high=100,
    )
    sessions_in_all: int = setting(
        1000, "browser sessions open in all; a further one ends the one unused for longest", low=1, high=100_000
    )
    lockout_failures: int = setting(
        5, "wrong tokens from one address, or for one token, after which it is locked out", low=1, high=1000
    )
    lockout_seconds: float = setting(
        300.0, "seconds of a lock-out; before it, waits grow from 1 s twofold up to this", low=1.0, high=86400.0
    )
    requests_per_minute: float = setting(
        600.0, "requests per minute of one token or name, and without a valid one of one address", low=1.0, high=1e6
    )
    requests_at_once: int = setting(
        120, "requests that may come at once before requests_per_minute holds", low=1, high=100_000
    )
    proxy_addresses: list[str] = setting(
        [], "addresses or networks of the reverse proxy; only from them are forwarded addresses and names taken"
    )
    identity_header: str = setting(
        "", "header in which the proxy names who it has logged in, for example X-Remote-User (empty: none)"
    )
    identity_roles: dict[str, str] = setting({}, "role of each name that the identity header may hold, as name: role")


@dataclass
class TokenConfig:
    """`pathoprog token`."""

    action: list[str] = setting([], "what to do: add NAME, list, or revoke NAME", kind="names")
    state: str = setting("", "folder of the service's state", kind="path", required=True)
    role: str = setting(Role.VIEWER.value, "role of the new token", choices=tuple(role.value for role in Role))
    days: int = setting(90, "days until the new token expires", low=1, high=3650)
