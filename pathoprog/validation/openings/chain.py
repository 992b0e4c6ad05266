"""An append-only log whose lines are chained by hash: a line that is changed or taken out shows."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from pathoprog.errors import LockError
from pathoprog.system.files import sha256_value

START = "0" * 64


def read_log(log: Path) -> list[dict[str, Any]]:
    """Lines of the log, each checked against the one before it; none where there is no such file.

    Raises:
        LockError: a line is no JSON, was changed, or one before it was taken out.
    """
    return _checked(log, log.read_text(encoding="utf-8") if log.is_file() else "")


def append(log: Path, entry: dict[str, Any]) -> None:
    """Add one line, which carries the hash of the line before it; it is on the disk when this returns.

    Raises:
        LockError: a line that is there was changed or taken out.
        OSError: it cannot be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+", encoding="utf-8") as stream, _alone(stream):
        stream.seek(0)
        lines = _checked(log, stream.read())
        chained = {**entry, "previous": lines[-1]["line_sha256"] if lines else START}
        chained["line_sha256"] = sha256_value(chained)
        stream.write(json.dumps(chained, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _checked(log: Path, text: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    previous = START
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            entry = json.loads(line)
            own = entry.pop("line_sha256")
            whole = entry["previous"] == previous and sha256_value(entry) == own
        except (ValueError, KeyError, AttributeError):
            whole = False
        if not whole:
            raise LockError(
                f"{log}: line {number} was changed, or a line before it taken out: the log is append-only. Restore it; "
                "or move it away, and the report will say that it is missing"
            )
        previous = own
        lines.append({**entry, "line_sha256": own})
    return lines


@contextmanager
def _alone(stream: TextIO) -> Iterator[None]:
    """Keep other processes from adding a line at the same time, where the folder takes locks."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX)
    except OSError:  # a share without locks
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(stream, fcntl.LOCK_UN)
