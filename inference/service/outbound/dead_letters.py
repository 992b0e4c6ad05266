"""Events that a receiver refused: kept on file and counted until they arrive after all, so that none is just lost."""

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from pathoprog.inference.service.events import line_json
from pathoprog.system.files import sync_folder
from pathoprog.system.records import RecordError, record_of

DEAD_LETTERS = "undelivered.jsonl"
"""Name of the file in the service's state."""


@dataclass(frozen=True)
class DeadLetter:
    """An event that was put aside. Which slide it was about stands in the event alone, which `forget` reaches.

    Attributes:
        at: UTC, ISO 8601.
        webhook: name of the receiver.
        delivery: id of the delivery, as its header said.
        seq: of the event.
        kind: of the event.
        tries: how often it was sent.
        status: HTTP status of the last answer.
    """

    at: str
    webhook: str
    delivery: str
    seq: int
    kind: str
    tries: int
    status: int


class LetterOutcome(StrEnum):
    """What became of a dead letter."""

    DELIVERED = "delivered"
    GONE = "gone"
    """Its event is no longer there: it was forgotten, or a backup from before it was restored."""


@dataclass(frozen=True)
class LetterEnd:
    """That a dead letter is none any more; a line of its own.

    Attributes:
        at: UTC, ISO 8601.
        webhook: name of the receiver.
        delivery: id of the delivery.
        outcome: one of `LetterOutcome`.
    """

    at: str
    webhook: str
    delivery: str
    outcome: str


class DeadLetters:
    """The file of dead letters, one JSON record a line. Several threads may use one.

    Args:
        path: of the file; readable by its owner alone.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._letters: dict[str, DeadLetter] = {}  # by delivery, in the order in which they were put aside
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            record = _record(line)
            if isinstance(record, DeadLetter):
                self._letters.setdefault(record.delivery, record)
            elif record is not None:
                self._letters.pop(record.delivery, None)

    def add(self, letter: DeadLetter) -> None:
        """Keep one, synced to the disk.

        Raises:
            OSError: the disk is full or fails.
        """
        with self._lock:
            self._write(letter)
            self._letters.setdefault(letter.delivery, letter)

    def end(self, letter: DeadLetter, at: str, outcome: LetterOutcome) -> None:
        """Note that one is none any more, synced to the disk.

        Raises:
            OSError: the disk is full or fails; it stays.
        """
        with self._lock:
            self._write(LetterEnd(at, letter.webhook, letter.delivery, str(outcome)))
            self._letters.pop(letter.delivery, None)

    def _write(self, record: DeadLetter | LetterEnd) -> None:
        new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(handle, "ab+") as stream:
            if not _ends_whole(stream.fileno()):
                stream.write(b"\n")
            stream.write(f"{line_json(asdict(record))}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            sync_folder(self.path.parent)

    def letters(self, webhook: str = "") -> list[DeadLetter]:
        """Those of one webhook (without a name of all), the oldest event first. One put aside again comes once."""
        with self._lock:
            found = [one for one in self._letters.values() if webhook in ("", one.webhook)]
        return sorted(found, key=lambda one: one.seq)

    def counts(self) -> Mapping[str, int]:
        """How many there are of each webhook."""
        with self._lock:
            return Counter(one.webhook for one in self._letters.values())


def _ends_whole(handle: int) -> bool:
    """Whether a file is empty or ends with a whole line: a crash may have cut the last one."""
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"


def _record(line: bytes) -> DeadLetter | LetterEnd | None:
    """A line's record; None for one that a crash cut."""
    try:
        value = json.loads(line)
        if isinstance(value, dict) and "outcome" in value:
            return record_of(LetterEnd, value)
        return record_of(DeadLetter, value)
    except (RecordError, ValueError):
        return None
