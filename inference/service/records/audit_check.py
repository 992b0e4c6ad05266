"""Is an audit log whole: every line of all its files against the one before it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathoprog.inference.service.records.audit_lines import (
    BEGIN,
    PART,
    Action,
    Head,
    fault_of,
    parsed_head,
    parsed_line,
)
from pathoprog.inference.service.records.audit_parts import LogPart, closed_part, parts_now

MOST_NAMED = 3


@dataclass(frozen=True)
class AuditReport:
    """What `verify` found.

    Attributes:
        lines: whole lines from the start that follow from one another, over all files.
        head: the last of them; None if there is none.
        broken_line: the first line that does not fit, counted from 1 over all files; 0 if all do.
        reason: what is wrong with it, "" if nothing.
        torn: numbers of the lines that say that an unfinished line was taken off before them.
        files: how many files the log has.
        broken_file: name of the file that is missing, was cut or holds the broken line; "" if none.
        line_in_file: number of the broken line in that file, from 1; 0 if it is the file that is missing or cut.
    """

    lines: int
    head: Head | None
    broken_line: int
    reason: str
    torn: tuple[int, ...]
    files: int = 1
    broken_file: str = ""
    line_in_file: int = 0

    @property
    def whole(self) -> bool:
        """Whether every line is as it was written, as far as can be seen from what was given."""
        return not self.reason

    @property
    def fault(self) -> str:
        """Where it is broken, and what is wrong there; empty if it is whole."""
        if not self.reason:
            return ""
        inside = f" line {self.line_in_file}" if self.line_in_file else ""
        several = self.broken_file and (self.files > 1 or not inside)
        where = f" ({self.broken_file}{inside})" if several else ""
        return f"line {self.broken_line}{where}: {self.reason}"


def verify(path: Path, known_head: str = "") -> AuditReport:
    """Check every line of a log against the one before it; who appends meanwhile is not held up, and not looked at.

    Args:
        path: of the file that grows, ``audit.jsonl``, or of a copy; the closed files lie beside it.
        known_head: noted before, as `Head` is written: with it a log that was cut, or made anew, shows too.

    Raises:
        AuditError: there is no such file, it cannot be read, or `known_head` is none.
    """
    known = parsed_head(known_head) if known_head else None
    with parts_now(path) as parts:
        chain = _Chain(path, known)
        for part in parts:
            chain.take(part)
            if chain.reason:
                break
        files = len(parts)
    before, reason = chain.before, chain.reason
    if not reason and before == BEGIN:
        reason = "there is no line"
    if not reason and known and known.seq > before.seq:
        reason = f"it is missing: the log was cut, since the head that was noted is line {known.seq}"
    return AuditReport(
        lines=before.seq,
        head=None if before == BEGIN else before,
        broken_line=before.seq + 1 if reason else 0,
        reason=reason,
        torn=tuple(chain.torn),
        files=files,
        broken_file=chain.broken_file,
        line_in_file=chain.line_in_file,
    )


@dataclass
class _Chain:
    """The lines as far as they follow, and the first fault."""

    path: Path
    known: Head | None
    before: Head = BEGIN
    taken: int = 0  # files
    torn: list[int] = field(default_factory=list)
    reason: str = ""
    broken_file: str = ""
    line_in_file: int = 0

    def take(self, part: LogPart) -> None:
        """Go on with the next file."""
        if part.number and self._lacks(part.number):
            return
        number = 0
        for number, line in enumerate(part.lines(), 1):
            entry = parsed_line(line[:-1])
            if number == 1 and self._begins_wrong(part, entry):
                return
            if fault := _fault(entry, self.before, self.known, number):
                self._broken(fault, part.path.name, number)
                return
            assert entry is not None
            self.before = Head(entry["seq"], entry["hash"])
            if entry["action"] == Action.TORN:
                self.torn.append(self.before.seq)
        if part.unfinished:
            fault = "it is unfinished: a crash, a full disk, or it was cut"
            if not part.number:
                fault += "; the service's next line will put that on record"
            self._broken(fault, part.path.name, number + 1)
        self.taken += 1

    def _begins_wrong(self, part: LogPart, entry: dict[str, Any] | None) -> bool:
        """Whether a file's first line says that something before it is missing."""
        if entry is None or entry["action"] != Action.LOG_CONTINUED:
            if entry is not None and self.taken and entry["action"] != Action.LOG_STARTED:
                self._broken("its first line was taken out", part.path.name, 1)
            return bool(self.reason)
        number = entry["detail"].get(PART)
        if not isinstance(number, int) or part.number not in (0, number):
            self._broken("it does not begin the file that it stands in", part.path.name, 1)
            return True
        if self._lacks(number):
            return True
        if self.taken and entry["seq"] > self.before.seq + 1:
            cut = closed_part(self.path, self.taken).name
            first, last = self.before.seq + 1, entry["seq"] - 1
            self._broken(f"lines {first} to {last} are missing: the end of {cut} was cut", cut, 0)
        return bool(self.reason)

    def _lacks(self, number: int) -> bool:
        """Whether files before the one of this number are missing."""
        first = self.taken + 1
        missing = [closed_part(self.path, one).name for one in range(first, min(number, first + MOST_NAMED + 1))]
        if missing:
            named = ", ".join(missing[:MOST_NAMED]) + (" …" if len(missing) > MOST_NAMED else "")
            self._broken(f"{named}: missing; put it beside {self.path.name} again", missing[0], 0)
        return bool(missing)

    def _broken(self, reason: str, file: str, line: int) -> None:
        self.reason, self.broken_file, self.line_in_file = reason, file, line


def _fault(entry: dict[str, Any] | None, before: Head, known: Head | None, number: int) -> str:
    if fault := fault_of(entry, before):
        return fault
    if entry and number > 1 and entry["action"] == Action.LOG_CONTINUED:
        return "a file of the log begins once, with its first line"
    if known and entry and entry["seq"] == known.seq and entry["hash"] != known.hash:
        return "it is not the line that was noted as head: the log was made anew up to here"
    return ""


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log.

    Attributes:
        seq: its number, from 1.
        at: UTC, ISO 8601.
        who: name of the principal, or of the part of the service.
        role: of the principal, or empty.
        action: what was done.
        subject: to what, an id, or empty.
        detail: more by name.
    """

    seq: int
    at: str
    who: str
    role: str
    action: str
    subject: str
    detail: dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class AuditPage:
    """Lines of the log, the newest first, and why it goes no further back where it should, or empty."""

    entries: tuple[AuditEntry, ...]
    fault: str = ""


def newest(path: Path, before: int, limit: int) -> AuditPage:
    """Lines of a log from the newest back, over all its files; `verify` says whether they are as they were written.

    Args:
        path: of the file that grows.
        before: lines with a lower number than this; 0: from the newest.
        limit: so many.

    Raises:
        AuditError: there is no such log, or it cannot be read.
    """
    entries: list[AuditEntry] = []
    with parts_now(path) as parts:
        for part in reversed(parts):
            for line in reversed(_tail(part, before, limit - len(entries))):
                entry = parsed_line(line[:-1])
                if entry is None:
                    name = part.path.name
                    return AuditPage(tuple(entries), f"a line of {name} was changed; what is before it is not shown")
                seq = entry["seq"]
                if (entries and seq != entries[-1].seq - 1) or (before and seq >= before):
                    return AuditPage(tuple(entries), f"{part.path.name}: lines were taken out, put in or moved")
                names = ("at", "who", "role", "action", "subject", "detail")
                entries.append(AuditEntry(seq, **{name: entry[name] for name in names}))
            if len(entries) == limit:
                break
    return AuditPage(tuple(entries))


def _tail(part: LogPart, before: int, limit: int) -> list[bytes]:
    """The last lines of a part below a number, oldest first: numbers have no gaps, so that most need not be parsed."""
    kept: list[bytes] = []
    first = 0
    for number, line in enumerate(part.lines()):
        if not number:
            entry = parsed_line(line[:-1])
            first = entry["seq"] if entry is not None else 1
        if before and first + number >= before:
            break
        kept.append(line)
        if len(kept) > 2 * limit:
            del kept[:-limit]
    return kept[-limit:] if limit else []
