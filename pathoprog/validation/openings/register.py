"""The register of openings: every look at the outcomes, counted per bundle and outcomes file wherever the report lies.

It lies in three places, and what one has lost the others still know: the register in the user's state folder
(``XDG_STATE_HOME``, else ``~/.local/state``, then ``pathoprog/openings.jsonl``), a log beside the outcomes file, and
the log in the validation's folder. Each is a chain (`pathoprog.validation.openings.chain`). A place that is missing, or
cannot be written, is said in the report.
"""

import contextlib
import getpass
import importlib.metadata
import os
import platform
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pathoprog.errors import InputError
from pathoprog.system.files import sha256_file, sha256_value
from pathoprog.text.wording import count as count_of
from pathoprog.validation.openings.chain import append, read_log
from pathoprog.validation.openings.outcome_rows import RowDifference, difference, keep_rows, rows_of

REGISTER = "openings.jsonl"
BESIDE = ".openings.jsonl"
"""After the name of the outcomes file."""
TURN = "openings.lock"
"""In the state folder, and beside the outcomes: who holds it is the one that opens."""
LIBRARIES = ("numpy", "scipy", "pandas", "lifelines")
"""What computes the results beside this project's own code, whose hash the lock holds."""
SHARED_ROWS = 0.5
"""Two outcome tables with at least this share of equal rows (of the smaller one) are one and the same, changed."""


def now() -> str:
    """The time, as the lock and the register keep it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def state_folder() -> Path:
    """Where the user's programs keep what must outlive them."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "pathoprog"


def libraries() -> dict[str, str]:
    """Versions of Python and of what else computes; without those that are not installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@dataclass(frozen=True)
class Study:
    """What is opened, and where.

    Attributes:
        bundle: id under which the scores were made.
        outcomes: the outcome table.
        parts: SHA-256 of what the lock holds, by part.
        locks: the lock, and those that it replaced.
        out: folder of the validation.
        log: the log in it, or the one that the settings name.
        own_log: False where other validations may write to that log too.
    """

    bundle: str
    outcomes: Path
    parts: dict[str, str]
    locks: tuple[str, ...]
    out: Path
    log: Path
    own_log: bool

    @property
    def beside(self) -> Path:
        """The log beside the outcomes."""
        return self.outcomes.with_name(self.outcomes.name + BESIDE)

    @property
    def places(self) -> dict[str, Path]:
        """The three places, by what a report calls them."""
        return {
            "the register in the user's state folder": state_folder() / REGISTER,
            "the log beside the outcomes": self.beside,
            "the log in the validation's folder": self.log,
        }


@dataclass(frozen=True)
class Openings:
    """The openings on record.

    Attributes:
        entries: the openings of these outcomes for this bundle, each as it was recorded, the earliest first; ``result``
            is added where the analysis came to its end.
        count: how many there were; more than `entries` where all places have lost some.
        others: how often the same outcomes were opened for each other ensemble, by its id.
        changed: in what the outcomes differ from those of the last opening; None where they do not.
        notes: what is missing or odd, each a sentence.
        begun: date of the register's first line; empty where there is no register.
    """

    entries: tuple[dict[str, Any], ...]
    count: int
    others: dict[str, int]
    changed: RowDifference | None
    notes: tuple[str, ...]
    begun: str


def look_up(study: Study) -> Openings:
    """What is on record of earlier openings. Nothing is written.

    Raises:
        LockError: one of the logs was changed.
        InputError: no outcome table there.
    """
    rows = rows_of(study.outcomes)
    outcomes_sha256 = sha256_file(study.outcomes)
    found: dict[str, dict[str, Any]] = {}
    results: dict[str, Any] = {}
    others: dict[str, str] = {}
    readings: dict[str, dict[str, Any]] = {}
    known: dict[str, set[str]] = {}
    notes: list[str] = []
    begun = ""
    for name, path in study.places.items():
        lines = _read(name, path, notes)
        own = study.own_log and path == study.log
        if lines and path == state_folder() / REGISTER:
            begun = str(lines[0].get("utc", ""))
        known[name] = set()
        for line in lines:
            if line.get("kind") == "result":
                results[line["id"]] = line["result"]
                continue
            if line.get("kind") == "reading":
                if line["bundle"] == study.bundle and _same_outcomes(
                    line, study, outcomes_sha256, rows, beside=path == study.beside
                ):
                    readings[line["id"]] = line
                continue
            entry = {"id": line["line_sha256"], "bundle": study.bundle if own else "", **line}
            same = own or _same_outcomes(entry, study, outcomes_sha256, rows, beside=path == study.beside)
            if same and entry["bundle"] in (study.bundle, ""):
                known[name].add(entry["id"])
                found.setdefault(entry["id"], entry)
            elif same:
                others[entry["id"]] = entry["bundle"]
    entries = sorted(found.values(), key=lambda entry: (entry["opening"], entry["utc"]))
    count = max([len(entries), *(int(entry["opening"]) for entry in entries)])
    entries = [{**entry, "result": results.get(entry["id"])} for entry in entries]
    changed = None
    if entries and entries[-1]["outcomes_sha256"] != outcomes_sha256:
        changed = difference(state_folder(), entries[-1]["outcomes_sha256"], rows)
    kept = {name for name, entry in found.items() if "kind" in entry}  # older versions knew the folder's log alone
    notes += _missing(study, known, kept)
    notes += [
        f"These outcomes were read on {line['utc'][:10]} by `{line['command']}`, which used those of "
        f"{count_of(line['patients'], 'patient')} of {', '.join(line['cohorts'])}."
        for line in sorted(readings.values(), key=lambda line: str(line["utc"]))
    ]
    if len(kept) < len(found):
        notes.append(f"{count_of(len(found) - len(kept), 'opening')} by an older version, which kept no register.")
    if count > len(entries):
        notes.append(f"Of {count} earlier openings only {len(entries)} are on record.")
    bundles = list(others.values())
    return Openings(
        tuple(entries),
        count,
        {name: bundles.count(name) for name in sorted(set(bundles))},
        changed,
        tuple(notes),
        begun,
    )


def record_opening(study: Study, before: Openings, plan: str, reason: str) -> tuple[dict[str, Any], list[str]]:
    """Put an opening on record in every place that can be written, before the outcomes are shown to anybody.

    Args:
        study: what is opened.
        before: of `look_up`.
        plan: text of the analysis plan.
        reason: why outcomes that have changed are opened all the same, or empty.

    Returns:
        The entry, and a sentence for each place that could not be written.

    Raises:
        LockError: one of the logs was changed.
        InputError: no place at all can be written.
    """
    entry = {
        "kind": "opening",
        "opening": before.count + 1,
        **_common(study),
        "plan": plan,
        "libraries": libraries(),
        "outcomes_changed": before.changed.text if before.changed else "",
        "reason": reason if before.changed else "",
    }
    return entry, _put(study, entry)


def record_reading(study: Study, command: str, cohorts: list[str], patients: int) -> list[str]:
    """Put on record that a command that is no validation used outcomes: later reports name it, and count no opening.

    Args:
        study: what is read.
        command: its name.
        cohorts: whose patients' outcomes it uses.
        patients: how many they are.

    Returns:
        A sentence for each place that could not be written.

    Raises:
        LockError: one of the logs was changed.
        InputError: no place at all can be written.
    """
    entry = {"kind": "reading", **_common(study), "command": command, "cohorts": cohorts, "patients": patients}
    return _put(study, {**entry, "libraries": libraries()})


@contextlib.contextmanager
def turn(study: Study) -> Iterator[None]:
    """Let one process at a time look up, lock and record: two at once would be given the same number.

    Processes of one user meet in the state folder, those of several beside the outcomes; a place that cannot be written
    keeps nobody apart.
    """
    with contextlib.ExitStack() as held:
        for path in (state_folder() / TURN, study.outcomes.with_name(f"{study.outcomes.name}.{TURN}")):
            with contextlib.suppress(OSError, ImportError):  # read-only, a share without locks, or Windows
                import fcntl

                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                stream = held.enter_context(path.open("a"))
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _common(study: Study) -> dict[str, Any]:
    """What each line says of who read what."""
    return {
        "id": secrets.token_hex(16),
        "utc": now(),
        "user": _user(),
        "host": socket.gethostname(),
        "bundle": study.bundle,
        "lock": study.locks[-1],
        "parts": study.parts,
        "outcomes_sha256": sha256_file(study.outcomes),
        "outcomes_place": _place(study.outcomes),
        "out": _place(study.out),
    }


def _put(study: Study, entry: dict[str, Any]) -> list[str]:
    """Write a line to every place that can be written, and keep the rows; a sentence for each place that cannot."""
    notes = _write(study, entry, study.places)
    if len(notes) == len(study.places):
        raise InputError(f"the opening can be put on record nowhere, and is refused: {' '.join(notes)}")
    try:
        keep_rows(state_folder(), entry["outcomes_sha256"], rows_of(study.outcomes))
    except OSError as error:
        notes.append(f"A later change of the outcomes cannot be counted by patients ({error.strerror or error}).")
    return notes


def record_result(study: Study, entry: dict[str, Any], result: dict[str, Any]) -> None:
    """Keep the primary result of an opening beside it: a later report shows it where something has changed since."""
    line = {"kind": "result", "id": entry["id"], "utc": now(), "result": result}
    _write(study, line, {name: path for name, path in study.places.items() if path != study.log})


def _write(study: Study, entry: dict[str, Any], places: dict[str, Path]) -> list[str]:
    notes = []
    for name, path in places.items():
        try:
            if path == state_folder() / REGISTER:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            append(path, entry)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "no text"
            notes.append(f"{name[:1].upper()}{name[1:]} could not be written ({reason}).")
    return notes


def _read(name: str, path: Path, notes: list[str]) -> list[dict[str, Any]]:
    try:
        return read_log(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no text"
        notes.append(f"{name[:1].upper()}{name[1:]} could not be read ({reason}).")
        return []


def _place(path: Path) -> str:
    """A path that can be compared with another one, and not read."""
    return sha256_value(str(path.resolve()))


def _same_outcomes(
    entry: dict[str, Any], study: Study, outcomes_sha256: str, rows: dict[str, str], beside: bool
) -> bool:
    """Whether an opening was of these outcomes, be it that they were changed or copied since.

    They are the same if the file, the lock, the cohort table or the scores are; or if at least half of the smaller
    table's rows are equal. A file at the same place that shares no patient, for other scores, is another one.
    """
    parts = entry.get("parts") or {}
    if entry["outcomes_sha256"] == outcomes_sha256 or entry["lock"] in study.locks:
        return True
    if any(parts.get(part) == study.parts[part] for part in ("cohort", "scores")):
        return True
    found = difference(state_folder(), entry["outcomes_sha256"], rows)
    if found.known and found.equal + found.changed == 0:
        return False
    if beside or entry.get("outcomes_place") == _place(study.outcomes):
        return True
    return found.known and found.equal >= SHARED_ROWS * min(found.before, found.after)


def _missing(study: Study, known: dict[str, set[str]], found: set[str]) -> list[str]:
    notes = []
    for name, path in study.places.items():
        lost = len(found - known.get(name, set()))
        if path == study.log or not lost:
            continue  # the validation's own log need not know of other folders
        what = "lacks" if path.is_file() else "is missing, and with it"
        notes.append(
            f"{name[:1].upper()}{name[1:]} {what} {lost} of the {len(found)} earlier openings: a record was moved, "
            "renewed or removed."
        )
    return notes


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return str(os.getuid())
