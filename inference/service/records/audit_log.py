r"""The audit log: a file that only grows, each line chained to the last by hash, written by several processes.

Each line is canonical JSON: seq (from 1), at (UTC), who, role, action, subject, detail, prev (hash of the line before),
hash (SHA-256 of the line without it). The first one begins the log with a random id.

A line that was begun and not ended, since the machine crashed or the disk was full, is no record: whoever wrote it was
never told that it was. The next append takes it off and puts a line ``torn`` in its place, with its number of bytes and
their hash, so that a later reader knows that something was cut there and when it was found (where the disk has no room
for that line either, the chain stays whole without it). Nothing else is ever taken off.

A log that is to be kept for years is closed at a size, and goes on in the next file (`audit_parts`): the chain runs
over all of them, and none is ever taken away.

A chain on one disk cannot show that its end was cut, or that all of it was made anew: for that `head` is kept elsewhere
and given to `audit_check.verify`.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pathoprog.inference.service.records.audit_lines import (
    BEGIN,
    MOST_LINE_BYTES,
    PART,
    Action,
    AuditError,
    BrokenLogError,
    Head,
    checked_id,
    line_of,
    parsed_line,
    plain_detail,
)
from pathoprog.inference.service.records.audit_parts import (
    bytes_at,
    changed,
    closed_part,
    closed_parts,
    head_of,
    last_head,
    last_line,
    parts_now,
    same_file,
)
from pathoprog.system.fault_points import point
from pathoprog.system.files import sync_folder

AUDIT_FILE = "audit.jsonl"
"""Its name in the state folder."""
LOG_ID_BYTES = 16
_BEGINS = (b'{"action":"log_started",', b'{"action":"log_continued",')


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """The log of one service; each append opens and locks the file, so that any process and thread may append.

    Args:
        path: of the file; made with mode 0600, in a folder of mode 0700, by the first line.
        now: the time that lines carry.
        most_bytes: size at which the file is closed and the next begins; 0: this writer closes none (a command beside
            the service does not know the service's settings).
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = _utc_now, most_bytes: int = 0):
        self.path = path
        self._now, self._most_bytes = now, most_bytes

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
            while True:
                with self._alone() as handle:
                    before = self._ready(handle, at)
                    if not self._close_if_full(handle, before):
                        return self._put(handle, what, before)
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
                if same_file(handle, self.path):  # else another was put there while this one was waited for
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
            first = self._begin(handle, own)
            sync_folder(self.path.parent)
            return first
        end, last = last_line(self.path, handle, size)
        before = BEGIN if last is None else head_of(self.path, last)
        if end == size:
            return before
        torn = bytes_at(handle, end, size - end)
        if last is None and not any(torn.startswith(begins[: len(torn)]) for begins in _BEGINS):
            raise BrokenLogError(f"{self.path}: not an audit log; move it away, and a new one begins")
        os.ftruncate(handle, end)
        if last is None:  # nothing but an unfinished first line
            return self._ready(handle, at)
        detail = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
        return self._put(handle, {**own, "action": Action.TORN.value, "subject": "", "detail": detail}, before)

    def _begin(self, handle: int, own: dict[str, Any]) -> Head:
        """Write the first line of the log, or of the file that goes on from the closed ones."""
        closed = closed_parts(self.path)
        if not closed:
            begin = {"action": Action.LOG_STARTED.value, "subject": secrets.token_hex(LOG_ID_BYTES), "detail": {}}
            return self._put(handle, {**own, **begin}, BEGIN)
        point("rotate")
        number, path = max(closed.items())
        with path.open("rb") as stream:
            end, last = last_line(path, stream.fileno(), size := os.fstat(stream.fileno()).st_size)
        if last is None or end != size:
            raise changed(path)
        begin = {"action": Action.LOG_CONTINUED.value, "subject": path.name, "detail": {PART: number + 1}}
        first = self._put(handle, {**own, **begin}, head_of(path, last))
        point("rotate")
        return first

    def _close_if_full(self, handle: int, before: Head) -> bool:
        """Whether the file was full, and is closed now; whoever opens the log next begins the next one.

        Where its closed name is taken by another file it goes on growing: `audit_check.verify` names that one.
        """
        if not self._most_bytes or os.fstat(handle).st_size < self._most_bytes:
            return False
        first = parsed_line(bytes_at(handle, 0, MOST_LINE_BYTES).partition(b"\n")[0])
        if first is None or first["seq"] == before.seq:
            return False
        number = first["detail"].get(PART, 1) if first["action"] == Action.LOG_CONTINUED else 1
        if not isinstance(number, int) or os.path.lexists(closed := closed_part(self.path, number)):
            return False
        point("rotate")
        self.path.rename(closed)
        point("rotate")
        sync_folder(self.path.parent)
        return True

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
    with parts_now(path) as parts:
        if not parts[-1].unfinished:
            for part in reversed(parts):  # the last one is empty where it was only just begun
                if (found := last_head(part)) is not None:
                    return found
    raise BrokenLogError(f"{path}: the last line is unfinished; the service's next line will put that on record")
