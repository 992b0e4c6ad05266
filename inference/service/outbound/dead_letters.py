"""Events that a receiver refused for good: kept on file and counted, so that none is lost in silence."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
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
        self._counts = Counter(letter.webhook for letter in self.letters())

    def add(self, letter: DeadLetter) -> None:
        """Keep one, synced to the disk.

        Raises:
            OSError: the disk is full or fails.
        """
        with self._lock:
            new = not self.path.exists()
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with os.fdopen(handle, "ab+") as stream:
                if not _ends_whole(stream.fileno()):
                    stream.write(b"\n")
                stream.write(f"{line_json(asdict(letter))}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
            if new:
                sync_folder(self.path.parent)
            self._counts[letter.webhook] += 1

    def letters(self) -> Iterator[DeadLetter]:
        """All of them, the oldest first. One that was put aside again after a crash comes once.

        Raises:
            OSError: the file cannot be read.
        """
        seen: set[str] = set()
        try:
            with self.path.open("rb") as stream:
                for line in stream:
                    letter = _letter(line)
                    if letter is not None and letter.delivery not in seen:
                        seen.add(letter.delivery)
                        yield letter
        except FileNotFoundError:
            return

    def counts(self) -> Mapping[str, int]:
        """How many there are of each webhook."""
        with self._lock:
            return dict(self._counts)


def _ends_whole(handle: int) -> bool:
    """Whether a file is empty or ends with a whole line: a crash may have cut the last one."""
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"


def _letter(line: bytes) -> DeadLetter | None:
    """A line's record; None for one that a crash cut."""
    try:
        return record_of(DeadLetter, json.loads(line))
    except (RecordError, ValueError):
        return None
