"""The files of one audit log: the one that grows, and the closed ones before it.

``audit.jsonl`` grows. Once it has a size it is closed: it gets the name ``audit.part000001.jsonl`` and is never written
again, and the next ``audit.jsonl`` begins with a line ``log_continued`` that is chained to its last one. Between these
two steps there is no ``audit.jsonl``; whoever appends next begins it.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pathoprog.inference.service.records.audit_lines import (
    MOST_LINE_BYTES,
    AuditError,
    BrokenLogError,
    Head,
    parsed_line,
)


def closed_part(path: Path, number: int) -> Path:
    """What the so-many-th file of a log, from 1, is called once it is closed."""
    return path.with_name(f"{path.stem}.part{number:06d}{path.suffix}")


def closed_parts(path: Path) -> dict[int, Path]:
    """The closed files of a log by number, in their order.

    Raises:
        OSError: the folder cannot be read.
    """
    pattern = re.compile(rf"{re.escape(path.stem)}\.part([0-9]{{6,}}){re.escape(path.suffix)}")
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return {}
    found = {int(match[1]): path.with_name(name) for name in names if (match := pattern.fullmatch(name))}
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class LogPart:
    """One file of a log, as it was at one moment.

    Attributes:
        path: of the file.
        number: from 1; 0 for the one that grows, whose first line says it.
        end: bytes of its whole lines; what is appended later lies beyond.
        unfinished: a line was begun after them.
        stream: the file, open, where it grows: it may be closed under another name meanwhile.
    """

    path: Path
    number: int
    end: int
    unfinished: bool
    stream: BinaryIO | None = None

    def lines(self) -> Iterator[bytes]:
        """Its lines with their ends, from the first; one that is too long comes in pieces without.

        Raises:
            AuditError: it cannot be read.
        """
        with _reading(self.path), self.opened() as stream:
            stream.seek(0)
            left = self.end
            while left and (line := stream.readline(min(left, MOST_LINE_BYTES + 1))):
                left -= len(line)
                yield line

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file, to read."""
        if self.stream is not None:
            yield self.stream
            return
        with self.path.open("rb") as stream:
            yield stream


@contextlib.contextmanager
def parts_now(path: Path) -> Iterator[list[LogPart]]:
    """All files of a log as they are at one moment, in their order; appending goes on while they are read.

    The log is locked only for the moment: closed files do not change, and of the one that grows what is whole does not.

    Args:
        path: of the file that grows, or a copy of it; it may be absent where closed ones are there.

    Raises:
        AuditError: there is no such log, or it cannot be read; `path` is one of its closed files.
    """
    if closed := re.fullmatch(r"(.+)\.part[0-9]{6,}", path.stem):
        whole = path.with_name(f"{closed[1]}{path.suffix}")
        raise AuditError(f"{path}: one closed file of a log; give {whole.name}, and all its files are looked at")
    with contextlib.ExitStack() as opened:
        with _reading(path):
            parts = _parts(path, opened)
        yield parts


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuditError(f"{path}: the audit log cannot be read ({error.strerror or error})") from error


def _parts(path: Path, opened: contextlib.ExitStack) -> list[LogPart]:
    while True:
        try:
            stream = opened.enter_context(path.open("rb"))
        except FileNotFoundError:
            closed = _closed(path)
            if path.exists():
                continue  # it was begun meanwhile
            if not closed:
                raise
            return closed
        with contextlib.suppress(OSError):  # a medium without locks: nobody writes there
            fcntl.flock(stream, fcntl.LOCK_SH)
        if same_file(stream.fileno(), path):
            parts = [*_closed(path), _part(path, 0, stream, keep=True)]
            with contextlib.suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_UN)
            return parts


def _closed(path: Path) -> list[LogPart]:
    parts = []
    for number, closed in closed_parts(path).items():
        with closed.open("rb") as stream:
            parts.append(_part(closed, number, stream, keep=False))
    return parts


def _part(path: Path, number: int, stream: BinaryIO, keep: bool) -> LogPart:
    size = os.fstat(stream.fileno()).st_size
    start = max(size - 2 * MOST_LINE_BYTES, 0)
    end = bytes_at(stream.fileno(), start, size - start).rfind(b"\n")
    whole = start + end + 1 if end >= 0 or not start else size  # else no line's end is near: reading will find it
    return LogPart(path, number, whole, whole < size, stream if keep else None)


def same_file(handle: int, path: Path) -> bool:
    """Whether a path still names the file that was opened."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def last_line(path: Path, handle: int, size: int) -> tuple[int, bytes | None]:
    """Where the last finished line of a file ends, and the line without its end; 0 and None if there is none.

    Raises:
        BrokenLogError: more than a line that was begun stands behind it.
    """
    start = max(size - 2 * MOST_LINE_BYTES, 0)
    data = bytes_at(handle, start, size - start)
    end = data.rfind(b"\n")
    if len(data) - (end + 1) > MOST_LINE_BYTES:
        raise changed(path)
    return (start + end + 1, data[data.rfind(b"\n", 0, end) + 1 : end]) if end >= 0 else (0, None)


def last_head(part: LogPart) -> Head | None:
    """The head of a part's last whole line; None if it has none.

    Raises:
        AuditError: that line was changed, or the file cannot be read.
    """
    with _reading(part.path), part.opened() as stream:
        _, line = last_line(part.path, stream.fileno(), part.end)
    return None if line is None else head_of(part.path, line)


def head_of(path: Path, line: bytes) -> Head:
    """The head of a last line.

    Raises:
        BrokenLogError: it was changed.
    """
    entry = parsed_line(line)
    if entry is None:
        raise changed(path)
    return Head(entry["seq"], entry["hash"])


def bytes_at(handle: int, start: int, count: int) -> bytes:
    """So many bytes of an open file, fewer at its end."""
    data = b""
    while len(data) < count and (more := os.pread(handle, count - len(data), start + len(data))):
        data += more
    return data


def changed(path: Path) -> BrokenLogError:
    """What to say of a last line that is not as it was written."""
    return BrokenLogError(
        f"{path}: the last line was changed, and nothing is added to it; `pathoprog audit verify` says which lines are "
        "whole: restore the log, or move it away (all its files) and a new one begins"
    )
