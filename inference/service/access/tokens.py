"""Tokens: one for each named person or system, kept by hash in one private file that may change while it is used.

A secret is 256 random bits, so that a fast hash keeps it: there are no likely guesses that a slow hash (as for
passwords) would make dear, and each request costs one SHA-256.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.inference.service.access.roles import Role
from pathoprog.system.files import canonical_json, write_text

SECRET_BYTES = 32
ID_BYTES = 4
_ID = re.compile(r"[0-9a-f]{8}")
_SECRET = re.compile(r"pp_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
SECRET_BEGINS = re.compile(r"pp_[0-9a-f]{8}_")
"""How a secret is known wherever it does not belong."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_NOBODY = "0" * 64
FORMAT = 1


class TokenError(PathoprogError):
    """A secret opens nothing, or what it opened has ended.

    Attributes:
        guessed: True where no token has this secret; False where its holder showed an expired or revoked one.
        token_id: of the token meant, where there is one of that id, else "".
    """

    def __init__(self, message: str, guessed: bool, token_id: str = ""):
        super().__init__(message)
        self.guessed, self.token_id = guessed, token_id


@dataclass(frozen=True)
class Token:
    """What is kept of one token.

    Attributes:
        token_id: eight hexadecimal digits; not secret.
        name: of the person or system.
        role: what it may do.
        sha256: of the secret, hexadecimal.
        made_at: UTC, ISO 8601.
        expires_at: UTC, ISO 8601.
        revoked_at: UTC, ISO 8601; "" if it was not.
    """

    token_id: str
    name: str
    role: Role
    sha256: str = field(repr=False)
    made_at: str
    expires_at: str
    revoked_at: str = ""


def checked_name(name: str, what: str) -> str:
    """A name of a person or system as ids are written.

    Raises:
        ConfigError: it has other characters; `what` says of what it is the name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r}: not {what}; up to 64 letters a-z, digits and . _ @ -, beginning with a letter or digit"
        )
    return name


class TokenStore:
    """The tokens of one service. The file is read again whenever it has changed; several processes may change it.

    A token that was seen expired stays so while this process runs, also if the clock is set back; a new start looks at
    the clock afresh.

    Args:
        path: of the file, 0600; no file means no tokens.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time):
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._tokens: dict[str, Token] = {}
        self._seen_expired: set[str] = set()

    def tokens(self) -> list[Token]:
        """All tokens, the revoked and expired ones too, in the order in which they were made.

        Raises:
            ConfigError: the file is damaged, cannot be read, or others may read it.
        """
        return list(self._current().values())

    def state(self, token: Token) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if token.revoked_at:
            return "revoked"
        with self._lock:
            if self._now() >= datetime.fromisoformat(token.expires_at):
                self._seen_expired.add(token.token_id)
            return "expired" if token.token_id in self._seen_expired else "valid"

    def holder(self, secret: str) -> Token:
        """The token that a secret opens; compared in constant time, also where no token has its id.

        Raises:
            TokenError: none has this secret, or it has expired or was revoked.
            ConfigError: see `tokens`.
        """
        shown = _SECRET.fullmatch(secret)
        token = self._current().get(shown[1]) if shown else None
        given = hashlib.sha256(secret.encode(errors="replace")).hexdigest()
        same = hmac.compare_digest(given, token.sha256 if token else _NOBODY)
        if token is None or not same:
            raise TokenError("no such token", guessed=True, token_id=token.token_id if token else "")
        return self._valid(token)

    def still_valid(self, token_id: str) -> Token:
        """The token of this id, for a session that it opened.

        Raises:
            TokenError: it is gone, has expired or was revoked.
            ConfigError: see `tokens`.
        """
        token = self._current().get(token_id)
        if token is None:
            raise TokenError("this token is gone", guessed=False, token_id=token_id)
        return self._valid(token)

    def _valid(self, token: Token) -> Token:
        state = self.state(token)
        if state == "revoked":
            raise TokenError(f"this token was revoked at {token.revoked_at}", False, token.token_id)
        if state == "expired":
            raise TokenError(f"this token expired at {token.expires_at}", False, token.token_id)
        return token

    def add(self, name: str, role: Role, days: int, record: Callable[[Token], object]) -> tuple[Token, str]:
        """Make a token, once it is on record.

        Args:
            name: of its holder; one valid token a name.
            role: what it may do.
            days: until it expires.
            record: puts it on record; where this raises, no token is made.

        Returns:
            The token, and its secret, which is kept nowhere.

        Raises:
            ConfigError: the name is none, or has a valid token; or see `tokens`.
        """
        checked_name(name, "a name for a token")
        with self._changing() as known:
            if any(token.name == name and self.state(token) == "valid" for token in known.values()):
                raise ConfigError(f"{name}: has a valid token; revoke it first, or give the new one another name")
            token_id = secrets.token_hex(ID_BYTES)
            while token_id in known:
                token_id = secrets.token_hex(ID_BYTES)
            random = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
            secret = f"pp_{token_id}_{random}"
            now = self._now()
            token = Token(
                token_id,
                name,
                role,
                hashlib.sha256(secret.encode()).hexdigest(),
                made_at=_text(now),
                expires_at=_text(now + timedelta(days=days)),
            )
            record(token)
            self._write([*known.values(), token])
        return token, secret

    def revoke(self, name: str, record: Callable[[Token], object]) -> Token:
        """Revoke the valid token of a name. It is revoked before it is put on record: that must not wait for a log.

        Args:
            name: of its holder.
            record: puts it on record; what it raises is raised, and the token is revoked all the same.

        Raises:
            ConfigError: no valid token has this name; or see `tokens`.
        """
        with self._changing() as known:
            valid = [token for token in known.values() if token.name == name and self.state(token) == "valid"]
            if not valid:
                raise ConfigError(f"{name[:80]!r}: no valid token has this name; `pathoprog token list` shows all")
            revoked = replace(valid[0], revoked_at=_text(self._now()))
            self._write([*{**known, revoked.token_id: revoked}.values()])
            record(revoked)
        return revoked

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _current(self) -> dict[str, Token]:
        with self._lock:
            try:
                stamp = _stamp(self.path.stat())
            except FileNotFoundError:
                self._stamp, self._tokens = None, {}
                return {}
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if stamp != self._stamp:
                self._stamp = None  # nobody gets in by what was read before, if this cannot be read
                self._tokens, self._stamp = _read(self.path)
            return self._tokens

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """Keep other processes from changing the file, and give what is in it now."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield dict(self._current())
        finally:
            os.close(handle)

    def _write(self, tokens: list[Token]) -> None:
        kept = [{"id": t.token_id, "name": t.name, "role": t.role.value, "sha256": t.sha256, "made_at": t.made_at,
                 "expires_at": t.expires_at, "revoked_at": t.revoked_at} for t in tokens]  # fmt: skip
        try:
            write_text(self.path, canonical_json({"format": FORMAT, "tokens": kept}), private=True)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror or error})") from error


def _text(when: datetime) -> str:
    return when.isoformat(timespec="seconds")


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_mode


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: the tokens cannot be read or changed ({error.strerror or error})")


def _read(path: Path) -> tuple[dict[str, Token], tuple[int, ...]]:
    """The tokens of a file by id, and the stamp of what was read."""
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path}: the tokens must be in a file")
            if status.st_mode & 0o077:
                raise ConfigError(f"{path}: others may read the tokens; `chmod 600` it")
            data = stream.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        value = json.loads(data)
        if value["format"] != FORMAT:
            raise ConfigError(f"{path}: tokens of format {value['format']!r}, this version reads {FORMAT}")
        tokens = [_token(entry) for entry in value["tokens"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: damaged, and no token in it is taken ({type(error).__name__}); restore it from a backup, or move "
            "it away and make new tokens"
        ) from None
    if len({token.token_id for token in tokens}) < len(tokens):
        raise ConfigError(f"{path}: damaged, and no token in it is taken (one id twice); restore it from a backup")
    return {token.token_id: token for token in tokens}, _stamp(status)


def _token(entry: dict[str, Any]) -> Token:
    """One token of the file; a ValueError, KeyError or TypeError where it is none."""
    if not all(isinstance(value, str) for value in entry.values()):
        raise TypeError
    token = Token(
        entry["id"],
        entry["name"],
        Role(entry["role"]),
        entry["sha256"],
        entry["made_at"],
        entry["expires_at"],
        entry["revoked_at"],
    )
    if not (_ID.fullmatch(token.token_id) and _NAME.fullmatch(token.name) and _HASH.fullmatch(token.sha256)):
        raise ValueError
    for when in (token.made_at, token.expires_at, *filter(None, [token.revoked_at])):
        if datetime.fromisoformat(when).tzinfo is None:
            raise ValueError
    return token
