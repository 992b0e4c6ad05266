"""A gate with clocks that a test turns, tokens of made names, and what a browser would send."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.access.gate import Gate, LoggedIn
from pathoprog.inference.service.access.lockout import Lockout
from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.access.rate_limits import RateLimits
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.sessions import Sessions, cookie_name
from pathoprog.inference.service.access.tokens import Token, TokenStore

NOON = 1_796_126_400.0
"""2026-12-01 12:00 UTC."""
WRONG = f"pp_00000000_{'A' * 43}"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 0.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class MadeGate:
    """A gate and all that it stands on; `clock` is the monotonic one, `wall` that of tokens."""

    gate: Gate
    tokens: TokenStore
    sessions: Sessions
    lockout: Lockout
    limits: RateLimits
    clock: Clock
    wall: Clock
    secure: bool

    def token(self, name: str = "ada", role: Role = Role.VIEWER, days: int = 90) -> tuple[Token, str]:
        return self.tokens.add(name, role, days, record=str)

    def ask(self, headers: Any = (), session: LoggedIn | None = None, host: str = "10.0.0.9", method: str = "GET",
            url: str = "") -> Principal:  # fmt: skip
        cookies = {cookie_name(self.secure): session.session.session_id} if session else {}
        return self.gate.authenticate(dict(headers), cookies, host, method, url)

    def bearer(self, secret: str, host: str = "10.0.0.9") -> Principal:
        return self.ask({"Authorization": f"Bearer {secret}"}, host=host)


def made_gate(folder: Path, secure: bool = False, **settings: Any) -> MadeGate:
    """A gate over `folder`/tokens.json with these settings."""
    given = AccessSettings(**settings)
    clock, wall = Clock(1000.0), Clock(NOON)
    tokens = TokenStore(folder / "tokens.json", wall)
    sessions, lockout, limits = Sessions(given, clock), Lockout(given, clock), RateLimits(given, clock)
    gate = Gate(given, tokens, sessions, lockout, limits, secure)
    return MadeGate(gate, tokens, sessions, lockout, limits, clock, wall, secure)
