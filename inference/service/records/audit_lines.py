"""One line of the audit log: what it holds, its hash, and the table of what is put on record."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pathoprog.errors import PathoprogError
from pathoprog.text.plain_text import CONTROL, printable, without_paths

MOST_LINE_BYTES = 16_384
MOST_SUBJECT_CHARACTERS = 300
MOST_DETAIL_CHARACTERS = 1000
PART = "part"
"""Key of a `LOG_CONTINUED` line's detail: the number of the file that it begins."""
_KEYS = {"seq", "at", "who", "role", "action", "subject", "detail", "prev", "hash"}
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


class AuditError(PathoprogError):
    """The log cannot be written or read; what was to be recorded is not."""


class BrokenLogError(AuditError):
    """The log's end is not as it was written."""


class Action(StrEnum):
    """What is put on record."""

    LOG_STARTED = "log_started"
    """The first line of a log; its subject is random, so that no two logs have a line in common."""
    LOG_CONTINUED = "log_continued"
    """The first line of a further file of a log: the one before, which it names, was full and is closed."""
    TORN = "torn"
    """The line after this log's last whole one was begun and not ended (a crash, a full disk), and was taken off."""
    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    TOKEN_ADDED = "token_added"  # noqa: S105 - the name of an action
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - the name of an action
    TOKENS_LISTED = "tokens_listed"
    SUBMISSION = "submission"
    REQUEUE = "requeue"
    CANCEL = "cancel"
    PRIORITY = "priority"
    OVERRIDE = "override"
    CORRECTION = "correction"
    """A slide's outline was accepted, or corrected."""
    RESULT_VIEWED = "result_viewed"
    REPORT_VIEWED = "report_viewed"
    SLIDE_VIEWED = "slide_viewed"
    """Parts of the slide itself; one line for each hour in which somebody looks at one."""
    EXPORT = "export"
    RELEASE = "release"
    WITHDRAW = "withdraw"
    LOOKUP = "lookup"
    FORGET = "forget"
    BACKUP = "backup"
    RESTORE = "restore"
    REDELIVER = "redeliver"
    AUDIT_VIEWED = "audit_viewed"


@dataclass(frozen=True)
class Head:
    """The last line of a log: who keeps it elsewhere can tell later that nothing up to it was cut or changed.

    Attributes:
        seq: its number, from 1.
        hash: SHA-256, hexadecimal.
    """

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


BEGIN = Head(0, "0" * 64)
"""What the first line of a chain follows from."""


def parsed_head(text: str) -> Head:
    """A head as `Head` is written.

    Raises:
        AuditError: it is none.
    """
    match = _HEAD.fullmatch(text)
    if match is None:
        raise AuditError(
            f"{printable(text[:100])!r}: no head of an audit log; it is SEQ:HASH, as `audit head` prints it"
        )
    return Head(int(match[1]), match[2])


def line_of(entry: Mapping[str, Any]) -> tuple[bytes, Head]:
    """The bytes of a line, with its end, and its head.

    Args:
        entry: all of the line but its hash.

    Raises:
        AuditError: it is too long, or holds a number that is not finite.
    """
    try:
        digest = _digest(entry)
        line = _text({**entry, "hash": digest}).encode() + b"\n"
    except ValueError as error:
        raise AuditError(f"not put on record: {error}") from error
    if len(line) > MOST_LINE_BYTES:
        raise AuditError(f"not put on record: {len(line)} bytes, a line has {MOST_LINE_BYTES} at most")
    return line, Head(entry["seq"], digest)


def fault_of(entry: Mapping[str, Any] | None, before: Head) -> str:
    """What is wrong with a line; "" if it is whole and follows.

    Args:
        entry: its content, by `parsed_line`.
        before: the line before it; `BEGIN` if it is the first.
    """
    if entry is None:
        return "it was changed"
    if entry["seq"] != before.seq + 1:
        return f"it says that it is line {entry['seq']}: lines were taken out, put in or moved"
    if entry["prev"] != before.hash:
        return "it does not follow from the line before it: one of the two was changed or put in"
    if (entry["action"] == Action.LOG_STARTED) != (before == BEGIN):
        return "a log begins once, with its first line"
    return ""


def parsed_line(line: bytes) -> dict[str, Any] | None:
    """A line's content, if its bytes are what `line_of` writes and its hash is its own; else None."""
    if len(line) > MOST_LINE_BYTES:
        return None
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or set(entry) != _KEYS or not isinstance(entry["seq"], int):
            return None
        own = entry.pop("hash")
        whole = _digest(entry) == own and _text({**entry, "hash": own}).encode() == line
    except (ValueError, RecursionError):
        return None
    return {**entry, "hash": own} if whole else None


def checked_id(text: str, what: str) -> str:
    """A name or id as it may stand in the log.

    Raises:
        AuditError: it is long, or has a path separator or a control character; `what` says what it is.
    """
    if len(text) > MOST_SUBJECT_CHARACTERS or CONTROL.search(text) or "/" in text or "\\" in text:
        shown = printable(text[:40].replace("/", "…").replace("\\", "…"))
        raise AuditError(f"not put on record: {what} {shown!r} is no id (a path, control characters, or too long)")
    return text


def plain_detail(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Details as they may stand in the log: numbers, truth values and short texts without paths.

    Raises:
        AuditError: a value is of another kind.
    """
    plain: dict[str, Any] = {}
    for key, value in detail.items():
        if isinstance(value, str):
            plain[str(key)] = printable(without_paths(value))[:MOST_DETAIL_CHARACTERS]
        elif value is None or isinstance(value, bool | int | float):
            plain[str(key)] = value
        else:
            raise AuditError(f"not put on record: {key} is a {type(value).__name__}, must be a number or text")
    return plain


def _text(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)  # ASCII, so that it is one line


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(entry).encode()).hexdigest()
