r"""The audit log: a file that only grows, each line chained to the last by hash, written by several processes.

Each line is canonical JSON: seq (from 1), at (UTC), who, role, action, subject, detail, prev (hash of the line before),
hash (SHA-256 of the line without it). The first one begins the log with a random id.

A line that was begun and not ended, since the machine crashed or the disk was full, is no record: whoever wrote it was
never told that it was. The next append takes it off and puts a line ``torn`` in its place, with its number of bytes and
their hash, so that a later reader knows that something was cut there and when it was found (where the disk has no room
for that line either, the chain stays whole without it). Nothing else is ever taken off.

A chain on one disk cannot show that its end was cut, or that all of it was made anew: for that `head` is kept elsewhere
and given to `verify`.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pathoprog.inference.service.records.audit_lines import (
    BEGIN,
    MOST_LINE_BYTES,
    Action,
    AuditError,
    BrokenLogError,
    Head,
    checked_id,
    fault_of,
    line_of,
    parsed_head,
    parsed_line,
    plain_detail,
)
from pathoprog.system.files import sync_folder

AUDIT_FILE = "audit.jsonl"
"""Its name in the state folder."""
LOG_ID_BYTES = 16
_BEGINS = b'{"action":"log_started",'


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class AuditReport:
    """What `verify` found.

    Attributes:
        lines: whole lines from the start that follow from one another.
        head: the last of them; None if there is none.
        broken_line: the first line that does not fit, from 1; 0 if all do.
        reason: what is wrong with it, "" if nothing.
        torn: numbers of the lines that say that an unfinished line was taken off before them.
    """

    lines: int
    head: Head | None
    broken_line: int
    reason: str
    torn: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether every line is as it was written, as far as can be seen from what was given."""
        return not self.reason


class AuditLog:
    """The log of one service; each append opens and locks the file, so that any process and thread may append.

    Args:
        path: of the file; made with mode 0600, in a folder of mode 0700, by the first line.
        now: the time that lines carry.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = _utc_now):
        self.path = path
        self._now = now

    def append(self, who: str, role: str, action: Action, subject: str, /, **detail: Any) -> Head:
        """Put one line on record; it is on the disk when this returns.

        Args:
            who: name of the principal, or of the part of the service that acts by itself.
            role: of the principal; "" if it has none.
            action: what was done.
            subject: to what: an id, never a name of a file or person; "" for nothing.
            detail: numbers, truth values and short texts; absolute paths are taken out of these.

        Returns:
            The line's head.

        Raises:
            AuditError: it cannot be written, `who` or `subject` is no id, or the last line was changed.
        """
        at = self._now().astimezone(UTC).isoformat(timespec="seconds")
        what = {
            "at": at,
            "who": checked_id(who, "who"),
            "role": checked_id(role, "role"),
            "action": action.value,
            "subject": checked_id(subject, "subject"),
            "detail": plain_detail(detail),
        }
        try:
            with self._alone() as handle:
                return self._put(handle, what, self._ready(handle, at))
        except OSError as error:
            raise AuditError(
                f"{self.path}: the audit log cannot be written ({error.strerror or error}); what is not on record is "
                "not done: make room, or make it writable"
            ) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int]:
        """The file, opened to append, and kept from all others."""
        while True:
            handle = self._open()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if _same_file(handle, self.path):  # else another was put there while this one was waited for
                    yield handle
                    return
            finally:
                os.close(handle)

    def _open(self) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        if os.fstat(handle).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.close(handle)
            raise AuditError(f"{self.path}: others may change the audit log; `chmod 600` it")
        return handle

    def _ready(self, handle: int, at: str) -> Head:
        """The last whole line, after what must stand before the next one was written."""
        size = os.fstat(handle).st_size
        own = {"at": at, "who": "audit log", "role": ""}
        if size == 0:
            begin = {"action": Action.LOG_STARTED.value, "subject": secrets.token_hex(LOG_ID_BYTES), "detail": {}}
            first = self._put(handle, {**own, **begin}, BEGIN)
            sync_folder(self.path.parent)
            return first
        end, last = _last_line(self.path, handle, size)
        before = BEGIN if last is None else _head_of(self.path, last)
        if end == size:
            return before
        torn = _bytes_at(handle, end, size - end)
        if last is None and not torn.startswith(_BEGINS[: len(torn)]):
            raise BrokenLogError(f"{self.path}: not an audit log; move it away, and a new one begins")
        os.ftruncate(handle, end)
        if last is None:  # nothing but an unfinished first line
            return self._ready(handle, at)
        detail = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
        return self._put(handle, {**own, "action": Action.TORN.value, "subject": "", "detail": detail}, before)

    def _put(self, handle: int, what: dict[str, Any], before: Head) -> Head:
        line, last = line_of({**what, "seq": before.seq + 1, "prev": before.hash})
        size = os.fstat(handle).st_size
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):  # else the next append takes it off
                os.ftruncate(handle, size)
            raise
        return last


def head(path: Path) -> Head:
    """The last line's number and hash, to be kept elsewhere.

    Raises:
        AuditError: there is no log, it has no whole line, or its last line is unfinished or was changed.
    """
    with _reading(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        end, last = _last_line(path, stream.fileno(), size)
        if last is None or end < size:
            raise BrokenLogError(
                f"{path}: the last line is unfinished; the service's next line will put that on record"
            )
        return _head_of(path, last)


def verify(path: Path, known_head: str = "") -> AuditReport:
    """Check every line of a log against the one before it; nobody appends meanwhile.

    Args:
        path: of the log, or of a copy.
        known_head: noted before, as `Head` is written: with it a log that was cut, or made anew, shows too.

    Raises:
        AuditError: there is no such file, it cannot be read, or `known_head` is none.
    """
    known = parsed_head(known_head) if known_head else None
    before, torn, reason = BEGIN, list[int](), ""
    with _reading(path) as stream:
        while line := stream.readline(MOST_LINE_BYTES + 1):
            entry = parsed_line(line[:-1])
            reason = _fault(line, entry, before, known)
            if entry is None or reason:
                break
            before = Head(entry["seq"], entry["hash"])
            if entry["action"] == Action.TORN:
                torn.append(before.seq)
    if not reason and before == BEGIN:
        reason = "there is no line"
    if not reason and known and known.seq > before.seq:
        reason = f"it is missing: the log was cut, since the head that was noted is line {known.seq}"
    return AuditReport(
        before.seq, None if before == BEGIN else before, before.seq + 1 if reason else 0, reason, tuple(torn)
    )


def _fault(line: bytes, entry: dict[str, Any] | None, before: Head, known: Head | None) -> str:
    if not line.endswith(b"\n") and len(line) <= MOST_LINE_BYTES:
        return "it is unfinished: a crash, a full disk, or it was cut; the service's next line will put that on record"
    if fault := fault_of(entry, before):
        return fault
    if known and entry and entry["seq"] == known.seq and entry["hash"] != known.hash:
        return "it is not the line that was noted as head: the log was made anew up to here"
    return ""


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """A log, opened to read, to which nobody appends meanwhile."""
    try:
        with path.open("rb") as stream:
            with contextlib.suppress(OSError):  # a medium without locks: nobody writes there
                fcntl.flock(stream, fcntl.LOCK_SH)
            yield stream
    except OSError as error:
        raise AuditError(f"{path}: the audit log cannot be read ({error.strerror or error})") from error


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _last_line(path: Path, handle: int, size: int) -> tuple[int, bytes | None]:
    """Where the last finished line of a file ends, and the line without its end; 0 and None if there is none."""
    start = max(size - 2 * MOST_LINE_BYTES, 0)
    data = _bytes_at(handle, start, size - start)
    end = data.rfind(b"\n")
    if len(data) - (end + 1) > MOST_LINE_BYTES:  # more than a line that was begun
        raise _changed(path)
    return (start + end + 1, data[data.rfind(b"\n", 0, end) + 1 : end]) if end >= 0 else (0, None)


def _bytes_at(handle: int, start: int, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := os.pread(handle, count - len(data), start + len(data))):
        data += more
    return data


def _head_of(path: Path, line: bytes) -> Head:
    entry = parsed_line(line)
    if entry is None:
        raise _changed(path)
    return Head(entry["seq"], entry["hash"])


def _changed(path: Path) -> BrokenLogError:
    return BrokenLogError(
        f"{path}: the last line was changed, and nothing is added to it; `pathoprog audit verify` says which lines are "
        "whole: restore the log, or move it away and a new one begins"
    )
