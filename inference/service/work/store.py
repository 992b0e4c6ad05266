"""The service's own file: submissions and their states, events, releases, and what was taken from watched folders.

One thread opens it, the conductor's. What work is done stands in the ledger; here stands what was asked for, and by
whom. A change of state and the event that tells of it are one transaction.
"""

import json
import secrets
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pathoprog.errors import InputError
from pathoprog.inference.engine.ledger import transaction_of
from pathoprog.inference.service.events import Event, EventKind
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.work.store_tables import READ, SCHEMA, TABLES, WIPE, hide_paths, upgrade
from pathoprog.inference.service.work.submissions import ENDED, Correction, NewSubmission, Submission, Work
from pathoprog.system.console import warn

ID_BYTES = 9
"""Random bytes of a submission's id: 12 characters."""


@dataclass(frozen=True, slots=True)
class SlideFile:
    """What a submission's slide is called where its path may not stand, and what is known of it; never shown.

    `file` and `files` are found by `PathNames.path`.
    """

    file: str
    source: str
    files: tuple[str, ...]
    traits: dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request that may be sent again: whose it is, and keyed hashes of its Idempotency-Key and its body."""

    principal: str
    key: str
    body_sha256: str


class Store:
    """The file, open in one thread.

    Args:
        path: of the SQLite file, on a local disk.
        names: what slides' files are called in it.

    Raises:
        InputError: the file is of a newer version, or no such file.
        ConfigError: the map of pseudonyms cannot be written.
        WriteError: the disk is full or fails; the file is as it was.
    """

    def __init__(self, path: Path, names: PathNames):
        self.path = path
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be used ({error.strerror or error}); state=… puts it elsewhere"
            ) from error
        self.connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        try:
            self.connection.execute("PRAGMA journal_mode=DELETE")  # as the ledger's, for the same reason
            self.connection.execute("PRAGMA synchronous=EXTRA")
            self.connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in READ:
                self.connection.close()
                raise InputError(f"{path}: of version {version}, this version of the service reads {SCHEMA}")
            with self._transaction():
                if version == 1:
                    upgrade(self.connection, names)
                if version:
                    hide_paths(self.connection, names)
            self.connection.executescript(TABLES)
            self.connection.execute(f"PRAGMA user_version={SCHEMA}")
            self._do_chores()
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise InputError(f"{path}: cannot be used as the service's file ({error})") from error

    def _do_chores(self) -> None:
        """Write the file anew where something was taken out of it; a kill before has it done at the next start."""
        if self.connection.execute("SELECT 1 FROM chores WHERE name = ?", (WIPE,)).fetchone():
            try:
                self.connection.execute("VACUUM")
                self.connection.execute("DELETE FROM chores WHERE name = ?", (WIPE,))
            except sqlite3.OperationalError as error:
                warn(f"{self.path}: cannot be written anew ({error}), which wipes out paths; the next start tries it")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _transaction(self) -> AbstractContextManager[None]:
        return transaction_of(self.connection, f"{self.path}: {{}}")

    def submissions(self) -> list[Submission]:
        """All of them, in the order of submission."""
        works: dict[int, list[Work]] = {}
        for row in self.connection.execute("SELECT * FROM works ORDER BY seq, place"):
            works.setdefault(row["seq"], []).append(_work(row))
        rows = self.connection.execute(
            "SELECT submissions.*, corrects, corrections.slide_id AS first_slide_id FROM submissions"
            " LEFT JOIN corrections ON submission = id ORDER BY seq"
        )
        return [_submission(row, works[row["seq"]]) for row in rows]

    def add(
        self,
        new: NewSubmission,
        works: Sequence[Work],
        request: Request | None,
        taken: str = "",
        correction: Correction | None = None,
    ) -> tuple[Submission, Event]:
        """Keep a new submission, and that it came.

        Args:
            new: what is asked for.
            works: what is to be done for it, the champion's first.
            request: the client's, if it may be sent again.
            taken: the signature of the files, where a watched folder brought it.
            correction: the corrected outline, where it is one.
        """
        now, name = _now(), secrets.token_urlsafe(ID_BYTES)
        with self._transaction():
            found = self.connection.execute(
                "INSERT INTO submissions (id, route, slide_id, patient_id, priority, submitted_by, submitted_at, "
                "changed_at, file, source, files, traits) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(name, new.route, new.slide_id, new.patient_id, new.priority, new.by, now, now),
                    *(new.file, new.source, json.dumps(new.files), json.dumps(new.traits, sort_keys=True)),
                ),
            )
            seq = found.lastrowid
            assert seq is not None
            self.connection.executemany(
                "INSERT INTO works VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (seq, place, work.bundle, work.config, work.state, work.reason, work.result_key)
                    for place, work in enumerate(works)
                ],
            )
            if correction is not None:
                self.connection.execute(
                    "INSERT INTO corrections VALUES (?, ?, ?, ?, ?)",
                    (name, correction.corrects, correction.first_slide_id, correction.outline, correction.sha256),
                )
            if request is not None:
                self._note(request, name)
            if taken:
                self._take(new.route, new.file, taken)
            event = self._event(EventKind.SUBMITTED, name, new.slide_id, {"route": new.route, "priority": new.priority})
        submission = Submission(
            seq=seq, id=name, route=new.route, slide_id=new.slide_id, patient_id=new.patient_id, priority=new.priority,
            by=new.by, submitted_at=now, changed_at=now, works=tuple(works),
            corrects=correction.corrects if correction is not None else "",
            first_slide_id=correction.first_slide_id if correction is not None else "",
        )  # fmt: skip
        return submission, event

    def slide_file(self, submission: Submission) -> SlideFile:
        """What its slide is called."""
        row = self.connection.execute("SELECT * FROM submissions WHERE seq = ?", (submission.seq,)).fetchone()
        return SlideFile(row["file"], row["source"], tuple(json.loads(row["files"])), json.loads(row["traits"]))

    def files(self) -> set[str]:
        """What the files of all submissions are called."""
        return {str(row[0]) for row in self.connection.execute("SELECT DISTINCT file FROM submissions")}

    def slides_of(self, routes: Collection[str]) -> set[str]:
        """The slide ids of routes."""
        query = "SELECT DISTINCT slide_id FROM submissions WHERE route IN (SELECT value FROM json_each(?))"
        return {str(row[0]) for row in self.connection.execute(query, (json.dumps(sorted(routes)),))}

    def last_of(self, route: str, file: str) -> str:
        """The id of the last submission of a file on a route; empty where there is none."""
        query = (
            "SELECT id FROM submissions WHERE route = ? AND file = ?"
            " AND id NOT IN (SELECT submission FROM corrections) ORDER BY seq DESC LIMIT 1"
        )
        row = self.connection.execute(query, (route, file)).fetchone()
        return str(row[0]) if row is not None else ""

    def of_slide(self, slide_id: str) -> list[str]:
        """Submissions of a slide id, oldest first."""
        query = "SELECT id FROM submissions WHERE slide_id = ? ORDER BY seq"
        return [str(row[0]) for row in self.connection.execute(query, (slide_id,))]

    def other_files(self, slide_id: str, file: str) -> list[str]:
        """Submissions of other files that are known by this slide id."""
        query = "SELECT id FROM submissions WHERE slide_id = ? AND file != ?"
        return [str(row[0]) for row in self.connection.execute(query, (slide_id, file))]

    def corrections(self, corrects: str) -> dict[str, str]:
        """Corrections of a submission, oldest first: their ids, each with its outline's hash."""
        query = "SELECT submission, sha256 FROM corrections WHERE corrects = ? ORDER BY rowid"
        return dict(self.connection.execute(query, (corrects,)).fetchall())

    def outline(self, submission: Submission) -> str:
        """The corrected outline that a submission was made for; "" where it is no correction."""
        query = "SELECT outline FROM corrections WHERE submission = ?"
        row = self.connection.execute(query, (submission.id,)).fetchone()
        return str(row[0]) if row is not None else ""

    def told(self, submission: Submission, kind: str) -> list[Event]:
        """Events of one kind about a submission, oldest first."""
        query = "SELECT * FROM events WHERE submission = ? AND kind = ? ORDER BY seq"
        return [_as_event(row) for row in self.connection.execute(query, (submission.id, kind))]

    def set_work(
        self, submission: Submission, work: Work, kind: str = "", data: dict[str, str] | None = None
    ) -> tuple[Submission, Event | None]:
        """Put a work in place of the one of the same bundle, and tell of it if `kind` is given."""
        place = next(place for place, old in enumerate(submission.works) if old.bundle == work.bundle)
        works = (*submission.works[:place], work, *submission.works[place + 1 :])
        now = _now()
        ended = submission.ended_at
        if place == 0:
            ended = (ended or now) if work.state in ENDED else ""
        event = None
        with self._transaction():
            self.connection.execute(
                "UPDATE works SET config = ?, state = ?, reason = ?, result_key = ? WHERE seq = ? AND place = ?",
                (work.config, work.state, work.reason, work.result_key, submission.seq, place),
            )
            self.connection.execute(
                "UPDATE submissions SET changed_at = ?, ended_at = ? WHERE seq = ?", (now, ended, submission.seq)
            )
            if kind:
                event = self._event(kind, submission.id, submission.slide_id, data or {})
        return replace(submission, works=works, changed_at=now, ended_at=ended), event

    def set_priority(self, submission: Submission, priority: str) -> Submission:
        """Give it another priority."""
        now = _now()
        with self._transaction():
            self.connection.execute(
                "UPDATE submissions SET priority = ?, changed_at = ? WHERE seq = ?", (priority, now, submission.seq)
            )
        return replace(submission, priority=priority, changed_at=now)

    def request(self, principal: str, key: str) -> tuple[str, str] | None:
        """The body's hash and the submission of a request that was answered before."""
        row = self.connection.execute(
            "SELECT body_sha256, submission FROM requests WHERE principal = ? AND key = ?", (principal, key)
        ).fetchone()
        return tuple(row) if row is not None else None

    def note_request(self, request: Request, submission_id: str) -> None:
        """Keep what a request was answered with."""
        with self._transaction():
            self._note(request, submission_id)

    def _note(self, request: Request, submission_id: str) -> None:
        values = (request.principal, request.key, request.body_sha256, submission_id, _now())
        self.connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", values)

    def tell(self, kind: str, data: dict[str, str], slide_id: str = "") -> Event:
        """Keep an event that is of no submission."""
        with self._transaction():
            return self._event(kind, "", slide_id, data)

    def events(self, after: int, limit: int) -> list[Event]:
        """Those after a number, in their order."""
        rows = self.connection.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        return [_as_event(row) for row in rows]

    def endings(self, after: int) -> list[Event]:
        """Of each submission the last event that tells of an end, in order; of a release those after `after`."""
        query = (
            "SELECT * FROM events WHERE seq IN (SELECT max(seq) FROM events WHERE submission != ''"
            " AND kind IN ('done', 'not_reportable', 'failed', 'withdrawn', 'cancelled') GROUP BY submission)"
            " OR (kind = 'released' AND seq > ?) ORDER BY seq"
        )
        return [_as_event(row) for row in self.connection.execute(query, (after,))]

    def last_events(self, n: int) -> list[Event]:
        """The last ones, in their order."""
        rows = self.connection.execute("SELECT * FROM events ORDER BY seq DESC LIMIT ?", (n,)).fetchall()
        return [_as_event(row) for row in reversed(rows)]

    def releases(self) -> dict[str, str]:
        """The released bundles by ensemble_id, each with the time of its release."""
        return dict(self.connection.execute("SELECT ensemble_id, released_at FROM releases").fetchall())

    def release(self, ensemble_id: str, by: str, bundle: str) -> Event:
        """Show a bundle's results to everybody from now on."""
        with self._transaction():
            self.connection.execute("INSERT OR REPLACE INTO releases VALUES (?, ?, ?)", (ensemble_id, by, _now()))
            return self._event(EventKind.RELEASED, "", "", {"bundle": bundle, "ensemble_id": ensemble_id})

    def withhold(self, ensemble_id: str, bundle: str) -> Event:
        """Put a bundle back into shadow."""
        with self._transaction():
            self.connection.execute("DELETE FROM releases WHERE ensemble_id = ?", (ensemble_id,))
            return self._event(EventKind.WITHDRAWN, "", "", {"bundle": bundle, "ensemble_id": ensemble_id})

    def cursor(self, name: str) -> int:
        """How far somebody has read the events."""
        row = self.connection.execute("SELECT seq FROM cursors WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row is not None else 0

    def put_cursor(self, name: str, seq: int) -> None:
        """Note how far somebody has read the events."""
        with self._transaction():
            self.connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, seq))

    def taken(self, route: str) -> dict[str, str]:
        """What was taken from a watched folder: what a slide is called -> signature."""
        query = "SELECT file, signature FROM taken WHERE route = ?"
        return dict(self.connection.execute(query, (route,)).fetchall())

    def take(self, route: str, file: str, signature: str) -> None:
        """Note that a slide of a watched folder was taken."""
        with self._transaction():
            self._take(route, file, signature)

    def _take(self, route: str, file: str, signature: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO taken VALUES (?, ?, ?)", (route, file, signature))

    def forget(self, submissions: Sequence[Submission]) -> set[str]:
        """Take submissions out, and all that was told of them; returns what files are called that no other has."""
        gone: dict[str, set[str]] = {}
        with self._transaction():
            for one in submissions:
                file = self.slide_file(one)
                gone.setdefault(file.file, {file.file}).update(file.files)
                for query, value in (
                    ("DELETE FROM works WHERE seq = ?", one.seq),
                    ("DELETE FROM submissions WHERE seq = ?", one.seq),
                    ("DELETE FROM requests WHERE submission = ?", one.id),
                    ("DELETE FROM corrections WHERE submission = ?", one.id),
                    ("DELETE FROM events WHERE submission = ?", one.id),
                    ("DELETE FROM events WHERE slide_id = ?", one.slide_id),
                    ("DELETE FROM taken WHERE file = ?", file.file),
                ):
                    self.connection.execute(query, (value,))
        kept = "SELECT 1 FROM submissions WHERE file = ? LIMIT 1"
        left = (files for file, files in gone.items() if not self.connection.execute(kept, (file,)).fetchone())
        return {file for files in left for file in files}

    def _event(self, kind: str, submission: str, slide_id: str, data: dict[str, str]) -> Event:
        now = _now()
        found = self.connection.execute(
            "INSERT INTO events (at, kind, submission, slide_id, data) VALUES (?, ?, ?, ?, ?)",
            (now, kind, submission, slide_id, json.dumps(data, sort_keys=True)),
        )
        assert found.lastrowid is not None
        return Event(found.lastrowid, now, kind, submission, slide_id, data)


def _work(row: sqlite3.Row) -> Work:
    return Work(row["bundle"], row["config"], row["state"], row["reason"], row["result_key"])


def _submission(row: sqlite3.Row, works: list[Work]) -> Submission:
    names = ("seq", "id", "route", "slide_id", "patient_id", "priority", "submitted_at", "changed_at", "ended_at")
    return Submission(
        **{name: row[name] for name in names},
        by=row["submitted_by"],
        works=tuple(works),
        corrects=row["corrects"] or "",
        first_slide_id=row["first_slide_id"] or "",
    )


def _as_event(row: sqlite3.Row) -> Event:
    names = ("seq", "at", "kind", "submission", "slide_id")
    return Event(**{name: row[name] for name in names}, data=json.loads(row["data"]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
