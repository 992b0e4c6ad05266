"""Who has opened which result, and who released which bundle: read from the audit log, which alone holds it."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoprog.inference.service.records.audit_lines import Action, AuditError
from pathoprog.inference.service.records.audit_parts import LogPart, parts_now

SEEN = "seen"
"""Key in the detail of the line that says that somebody opened a result on the page."""
_MARKS = (b'"seen":true', f'"action":"{Action.RELEASE.value}"'.encode())
"""A line without either is not parsed: most lines have neither."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody opened a result.

    Attributes:
        who: name of the principal.
        role: of the principal.
        at: UTC, ISO 8601.
        mark: says which result it was, see `mark_of`.
        shadow: whether the bundle was in shadow then.
    """

    who: str
    role: str
    at: str
    mark: str
    shadow: bool


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """Somebody released a bundle, or put it back into shadow."""

    at: str
    who: str
    released: bool


class AuditReader:
    """Reads what was added to the audit log since it last looked, over all its files.

    A file is known by its first line, which no two files have in common: the one that grew is still known once it is
    closed under another name. If a file that was read is not there any more, or is shorter, another log lies in its
    place, and all is read from its start.

    Args:
        path: of the file that grows.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._read: dict[bytes, int] = {}  # a file's first line -> bytes of it that were read
        self._seen: dict[tuple[str, str], list[Sighting]] = {}
        self._releases: dict[str, list[ReleaseLine]] = {}

    def refresh(self) -> None:
        """Read on."""
        with self._lock:
            try:
                with parts_now(self._path) as parts:
                    ends = {first: part.end for part in parts if (first := _first_line(part))}
                    if any(ends.get(first, -1) < end for first, end in self._read.items()):
                        self._begin()
                    for part in parts:
                        self._read_on(part)
            except AuditError:
                if not self._path.exists():
                    self._begin()  # else the service's hourly check says what is wrong with it

    def _read_on(self, part: LogPart) -> None:
        first = _first_line(part)
        if not first:
            return
        at = self._read.get(first, 0)
        with part.opened() as stream:
            stream.seek(at)
            while at < part.end and (line := stream.readline(part.end - at)):
                at += len(line)
                if any(mark in line for mark in _MARKS):
                    self._take(line)
        self._read[first] = at

    def _take(self, line: bytes) -> None:
        try:
            entry: dict[str, Any] = json.loads(line)
            action, detail = entry["action"], entry["detail"]
            who, at = str(entry["who"]), str(entry["at"])
            if action == Action.RELEASE:
                of_bundle = self._releases.setdefault(str(entry["subject"]), [])
                of_bundle.append(ReleaseLine(at, who, not detail["shadow"]))
            elif detail.get(SEEN) is True:
                sighting = Sighting(who, str(entry["role"]), at, str(detail["mark"]), bool(detail["shadow"]))
                self._seen.setdefault((str(detail["submission"]), str(detail["bundle"])), []).append(sighting)
        except (ValueError, KeyError, TypeError):
            return  # `audit verify` says which lines are not whole

    def seen(self, submission: str, bundle: str, mark: str, shadow: bool) -> list[Sighting]:
        """Who has opened a result, each once, the first time; what was opened in shadow is no sighting after it.

        Args:
            submission: its id.
            bundle: whose result.
            mark: of the result that there is now.
            shadow: whether the bundle is in shadow now.
        """
        first: dict[str, Sighting] = {}
        for one in list(self._seen.get((submission, bundle), ())):
            if one.mark == mark and one.shadow == shadow:
                first.setdefault(one.who, one)
        return list(first.values())

    def releases(self, bundle: str) -> list[ReleaseLine]:
        """What was done about a bundle's name, oldest first."""
        return list(self._releases.get(bundle, ()))


def _first_line(part: LogPart) -> bytes:
    """A file's first line; empty if it has no whole one yet."""
    with part.opened() as stream:
        stream.seek(0)
        line = stream.readline(part.end)
    return line if line.endswith(b"\n") else b""
