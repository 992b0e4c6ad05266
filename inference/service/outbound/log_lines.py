"""The service's log: one JSON record a line, for its owner alone, closed at a size; it names no file and no person."""

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pathoprog.inference.service.outbound.outbound_config import LogSettings
from pathoprog.text.plain_text import printable, without_paths

LOG_NAME = "service.log"
LOG_FIELDS = frozenset({"submission", "route", "lane", "worker", "webhook", "alarm", "seq", "status", "n"})
"""What a record may say beside its words. A slide is named by its submission alone, so that `forget` need not rewrite
the log."""
MOST_CHARACTERS = 2000


class LogLevel(StrEnum):
    """How much a record matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def why(error: BaseException) -> str:
    """An error in words that may stand in the log: its own text often names a file, and a file's name may be a case."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, sqlite3.Error) and error.args:
        return str(error.args[0])
    return type(error).__name__


def utc_now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


class ServiceLog:
    """Writes the log. Several threads may use one.

    A record that cannot be written (the disk is full) is counted and said in the next that can: the service goes on.

    Args:
        path: of the file; closed ones are called ``<name>.1`` (the youngest) and so on.
        settings: sizes.
        now: the time, UTC.
    """

    def __init__(self, path: Path, settings: LogSettings, now: Callable[[], datetime] = utc_now):
        self.path = path
        self._most_bytes, self._kept, self._now = int(settings.most_mib * (1 << 20)), settings.kept_files, now
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._lost = 0

    def write(self, level: LogLevel, what: str, **ids: str | int) -> None:
        """Write one record.

        Args:
            level: how much it matters.
            what: in words; absolute paths in it are taken out, but put none in: `why` gives an error's words.
            ids: of `LOG_FIELDS`.
        """
        assert ids.keys() <= LOG_FIELDS, f"the log has no field {sorted(ids.keys() - LOG_FIELDS)}"
        with self._lock:
            try:
                self._rotate_if_full()
                if self._lost:
                    self._put(self._record(LogLevel.ERROR, "records before this could not be written", n=self._lost))
                    self._lost = 0
                self._put(self._record(level, what, **ids))
            except OSError as error:
                if not self._lost:
                    print(f"warning: the log cannot be written ({why(error)})", file=sys.stderr, flush=True)
                self._lost += 1

    def close(self) -> None:
        """Close the file; another record opens it again."""
        with self._lock:
            self._shut()

    def _record(self, level: LogLevel, what: str, **ids: str | int) -> bytes:
        texts = {key: printable(value) if isinstance(value, str) else value for key, value in ids.items()}
        words = printable(without_paths(what))[:MOST_CHARACTERS]
        at = self._now().isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "level": level, "what": words, **texts}, ensure_ascii=False).encode() + b"\n"

    def _put(self, line: bytes) -> None:
        if self._handle is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self._handle = os.open(self.path, flags, 0o600)
            os.fchmod(self._handle, 0o600)  # one that was there may be open to others
        if os.write(self._handle, line) < len(line):  # the rest of a line that was cut would spoil the next
            os.write(self._handle, b"\n")
            raise OSError("the disk took a part of a record")

    def _rotate_if_full(self) -> None:
        if self._handle is None and not self.path.exists():
            return
        size = self.path.stat().st_size if self._handle is None else os.fstat(self._handle).st_size
        if size < self._most_bytes:
            return
        self._shut()
        for number in range(self._kept - 1, 0, -1):
            younger = self._closed(number)
            if younger.exists():
                younger.replace(self._closed(number + 1))
        self.path.replace(self._closed(1))

    def _closed(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _shut(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
