"""The ledger of work: which slide is whose, what was tried, what is done. SQLite on a local disk; the truth.

At-least-once work, exactly one result: a job is leased with the number of its attempt, and only that attempt may commit
(a fencing token). Leases run by a monotonic clock, so that the wall clock may jump. It says where slides lie
(a service's not: `ServiceLedger`), and is readable by its owner alone.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pathoprog.errors import InputError, PathoprogError
from pathoprog.inference.engine.ledger_tables import RUN, SCHEMA, TABLES, job_of
from pathoprog.inference.engine.process_identity import boot_id, is_alive, this_process
from pathoprog.inference.slides.jobs import DONE, FAILED, LEASED, PARKED, WAITING, Job, NewJob

LEASE_S = 60.0
TRANSIENT_TRIES = 3
"""Tries of one slide where the cause may pass; then it is failed until it is requeued."""
PAUSES_S = (2.0, 8.0)
"""Pause before the second and the third try."""
WORKER_DEATHS = 2
"""A slide in whose hands so many workers died is failed."""
AT_ONCE = 500
"""Jobs that are held at once while all of a run are looked at."""


class WriteError(PathoprogError):
    """Results or the ledger cannot be written; what was written before is whole."""


@contextmanager
def transaction_of(connection: sqlite3.Connection, failure: str) -> Iterator[None]:
    """Read and write with nobody in between, or change nothing.

    Args:
        connection: that commits nothing by itself.
        failure: what to say where the disk is full or fails; ``{}`` is SQLite's word for it.

    Raises:
        WriteError: the disk is full or fails.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        with suppress(sqlite3.Error):  # a full disk may have rolled it back already
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise WriteError(failure.replace("{}", str(error))) from error
        raise


class Ledger:
    """The ledger of one result folder. One process writes through one object; several processes may share the file.

    `connection` is for whoever copies the file; changes go through the methods.

    Args:
        path: of the SQLite file, on a local disk.
        clock: seconds that never run backwards while the machine is up.
        boot: names the clock's epoch.
        owner: names this process; leases of an owner that is gone are free at once.

    Raises:
        InputError: the file is of another version, or no ledger.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        boot: str = "",
        owner: str = "",
    ):
        self.path, self.clock = path, clock
        self.boot = boot or boot_id()
        self.owner = owner or this_process()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be used as a ledger ({error.strerror or error}); ledger=FILE puts it elsewhere, on a "
                "local disk"
            ) from error
        self.connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        try:
            self.connection.execute("PRAGMA journal_mode=DELETE")  # not WAL: SQLite before 3.51.3 can corrupt there
            self.connection.execute("PRAGMA synchronous=EXTRA")
            self.connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten
            self.connection.execute("PRAGMA temp_store=MEMORY")  # the list of a run's slides needs no file of its own
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise InputError(f"{path}: a ledger of version {version}, this version reads {SCHEMA}")
            self.connection.executescript(TABLES)
            self.connection.execute(RUN)
            self.connection.execute(f"PRAGMA user_version={SCHEMA}")
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise InputError(f"{path}: cannot be used as a ledger ({error})") from error

    def close(self) -> None:
        """Close the file; leases stay."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Read and write with nobody in between.

        Raises:
            WriteError: the disk is full or fails.
        """
        with transaction_of(self.connection, f"{self.path}: {{}}; the same command goes on later"):
            yield

    def standing(
        self, jobs: Iterable[NewJob], config: str, requeue: bool, holds: Callable[[Job], bool]
    ) -> dict[str, str]:
        """The jobs that stay as they are, each with its state: the slide is unchanged, and its result, if any, whole.

        Args:
            jobs: the slides as they are now.
            config: hash of all that is the same for them.
            requeue: failed slides are to be tried again.
            holds: whether the result of a done job is still whole.
        """
        query = "SELECT * FROM jobs WHERE config = ? AND slide_id IN (SELECT value FROM json_each(?))"
        result: dict[str, str] = {}
        waiting = iter(jobs)
        while some := list(islice(waiting, AT_ONCE)):
            asked = (config, json.dumps([new.slide_id for new in some]))
            known = {row["slide_id"]: job_of(row) for row in self.connection.execute(query, asked).fetchall()}
            for new in some:
                old = known.get(new.slide_id)
                if old is None or old.source != new.source or not new.source or old.request != new.request:
                    continue
                if holds(old) if old.state == DONE else not (old.state == FAILED and requeue):
                    result[new.slide_id] = old.state
        return result

    def enrol(self, jobs: Iterable[NewJob], config: str, standing: Container[str]) -> None:
        """Take a run's slides in, in the order to take them; those that do not stand as they are wait for a worker.

        A recent file waits until it has stood still for a while. `lease` serves the run's slides only.
        """
        with self.transaction():
            self.connection.execute("DELETE FROM run WHERE config = ?", (config,))
            for place, new in enumerate(jobs):
                self._admit(new, config, place, anew=new.slide_id not in standing)

    def admit(self, new: NewJob, config: str, place: int, anew: bool) -> None:
        """Take one more slide into a run that is under way.

        Args:
            new: the slide.
            config: of the run.
            place: in the queue; lower ones are taken first, equal ones in any order.
            anew: it waits for a worker, whatever was done with it before; else its job stays as it is.
        """
        with self.transaction():
            self._admit(new, config, place, anew)

    def _admit(self, new: NewJob, config: str, place: int, anew: bool) -> None:
        self.connection.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", (config, new.slide_id, place))
        if not anew:
            return
        not_before = self.clock() + new.delay_s
        values = (new.path, new.source, json.dumps(new.request, sort_keys=True), WAITING, not_before, self.boot)
        self.connection.execute(
            "INSERT INTO jobs (path, source, request, state, not_before, boot, updated_at, slide_id, config)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (slide_id, config) DO UPDATE SET"
            " path = excluded.path, source = excluded.source, request = excluded.request,"
            " state = excluded.state, not_before = excluded.not_before, boot = excluded.boot,"
            " attempt = attempt + 1, tries = 0, deaths = 0, result_key = '', reason = ''",
            (*values, _now(), new.slide_id, config),
        )

    def move(self, slide_id: str, config: str, place: int) -> None:
        """Give a slide of the run another place in the queue."""
        with self.transaction():
            self.connection.execute(
                "UPDATE run SET place = ? WHERE config = ? AND slide_id = ?", (place, config, slide_id)
            )

    def leave(self, slide_id: str, config: str) -> None:
        """Take a slide that is done out of the run; its job stays."""
        self.connection.execute("DELETE FROM run WHERE config = ? AND slide_id = ?", (config, slide_id))

    def forget_slide(self, slide_id: str) -> None:
        """Take a slide out, with all that was done with it; what is overwritten cannot be read from the file again."""
        with self.transaction():
            for table in ("run", "results", "jobs"):
                self.connection.execute(f"DELETE FROM {table} WHERE slide_id = ?", (slide_id,))  # noqa: S608 - names of ours

    def call_off(self, slide_id: str, config: str) -> bool:
        """Take a slide that waits out of the run and out of the ledger; False if it does not wait."""
        with self.transaction():
            gone = self.connection.execute(
                "DELETE FROM jobs WHERE slide_id = ? AND config = ? AND state IN (?, ?)",
                (slide_id, config, WAITING, PARKED),
            ).rowcount
            if gone:
                self.connection.execute("DELETE FROM run WHERE config = ? AND slide_id = ?", (config, slide_id))
        return bool(gone)

    def unfinished(self, config: str) -> int:
        """How many of the run's jobs are neither done nor failed, whoever works on them."""
        query = "SELECT count(*) FROM run JOIN jobs USING (config, slide_id) WHERE config = ? AND state NOT IN (?, ?)"
        return int(self.connection.execute(query, (config, DONE, FAILED)).fetchone()[0])

    def lease(self, config: str, n: int, alone: bool) -> list[Job]:
        """Lease up to `n` of the run's jobs that wait, or whose lease has run out.

        Args:
            config: of the run.
            n: how many at most.
            alone: the worker has nothing else in hand. A slide with whom a worker died is given only then, and
                nothing beside it: if it kills again, it is known who did it.
        """
        now = self.clock()
        with self.transaction():
            waiting = self.connection.execute(
                "SELECT jobs.* FROM run JOIN jobs USING (config, slide_id)"
                " WHERE config = ? AND state = ? AND (boot != ? OR not_before <= ?) ORDER BY deaths, place LIMIT ?",
                (config, WAITING, self.boot, now, n),
            ).fetchall()
            leased = self.connection.execute(
                "SELECT jobs.* FROM run JOIN jobs USING (config, slide_id) WHERE config = ? AND state = ?",
                (config, LEASED),
            ).fetchall()
            free = waiting + [row for row in leased if self._has_run_out(row, now)]
            calm = [row for row in free if not row["deaths"]]
            chosen = calm[:n] if calm else free[:1] if alone else []
            for row in chosen:
                self.connection.execute(
                    "UPDATE jobs SET state = ?, attempt = attempt + 1, owner = ?, boot = ?, lease_until = ?,"
                    " result_key = '', updated_at = ? WHERE job_id = ?",
                    (LEASED, self.owner, self.boot, now + LEASE_S, _now(), row["job_id"]),
                )
        return [self.job(row["job_id"]) for row in chosen]

    def _has_run_out(self, row: sqlite3.Row, now: float) -> bool:
        return row["boot"] != self.boot or row["lease_until"] <= now or not is_alive(row["owner"])

    def heartbeat(self) -> None:
        """Extend all leases of this process."""
        with self.transaction():
            self.connection.execute(
                "UPDATE jobs SET lease_until = ? WHERE state = ? AND owner = ? AND boot = ?",
                (self.clock() + LEASE_S, LEASED, self.owner, self.boot),
            )

    def _mine(self, job: Job) -> bool:
        """Whether an attempt still holds its lease; call inside a transaction."""
        row = self.connection.execute(
            "SELECT state, attempt, owner FROM jobs WHERE job_id = ?", (job.job_id,)
        ).fetchone()
        return row is not None and tuple(row) == (LEASED, job.attempt, self.owner)

    def claim(self, job: Job, key: str, share: bool) -> str:
        """Ask to score a slide whose result's key is now known.

        Args:
            job: as leased.
            key: of its result.
            share: whether the result of another slide with this key will do.

        Returns:
            ``score``; ``park``: another slide with the same key is being scored; ``copy``: another one has the result,
            and it is kept here (`result_of`); ``stale``: the lease is lost.
        """
        with self.transaction():
            if not self._mine(job):
                return "stale"
            twin = self.connection.execute(
                "SELECT state FROM jobs WHERE config = ? AND result_key = ? AND slide_id != ? AND (state = ? OR"
                " state = ? AND EXISTS (SELECT 1 FROM results WHERE results.result_key = jobs.result_key))"
                " ORDER BY state LIMIT 1",
                (job.config, key, job.slide_id, LEASED, DONE),
            ).fetchone()
            twin = twin if share else None
            state = PARKED if twin is not None and twin["state"] == LEASED else LEASED
            self.connection.execute(
                "UPDATE jobs SET result_key = ?, state = ? WHERE job_id = ?", (key, state, job.job_id)
            )
        return "score" if twin is None else "park" if state == PARKED else "copy"

    def commit(self, job: Job, state: str, key: str, reason: str, result: str, publish: Callable[[], None]) -> bool:
        """Make an attempt's result the result.

        Args:
            job: as leased.
            state: `DONE` or `FAILED`.
            key: the result's key; empty where the slide was refused before its content was known.
            reason: why it failed, else empty.
            result: result.json to keep for the key; empty for failures and copies.
            publish: puts the files in their place; called with the lease held fast.

        Returns:
            False, with nothing published, where the lease was lost to another attempt.
        """
        with self.transaction():
            if not self._mine(job):
                return False
            publish()
            self.connection.execute(
                "UPDATE jobs SET state = ?, result_key = ?, reason = ?, updated_at = ? WHERE job_id = ?",
                (state, key, reason, _now(), job.job_id),
            )
            if key and result:
                self.connection.execute(
                    "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)",
                    (key, job.slide_id, job.attempt, result, _now()),
                )
            self._unpark(job.config, key)
        return True

    def _unpark(self, config: str, key: str) -> None:
        """Let those that waited for this key wait for a worker again: for a copy, or for a try of their own."""
        if key:
            self.connection.execute(
                "UPDATE jobs SET state = ?, boot = '' WHERE config = ? AND result_key = ? AND state = ?",
                (WAITING, config, key, PARKED),
            )

    def postpone(self, job: Job, source: str, seconds: float) -> None:
        """Put a job back whose file is still changing; this counts as no try."""
        with self.transaction():
            if self._mine(job):
                self.connection.execute(
                    "UPDATE jobs SET state = ?, source = ?, not_before = ?, boot = ?, owner = '' WHERE job_id = ?",
                    (WAITING, source, self.clock() + seconds, self.boot, job.job_id),
                )

    def retry(self, job: Job, reason: str, source: str = "", died: bool = False) -> bool:
        """Put a job back after an error that may pass.

        Args:
            job: as leased.
            reason: what happened.
            source: of the files as they are now, where they have changed.
            died: a worker died with it.

        Returns:
            True if it waits for another try or is no longer this process's; False if it has had them all: then commit
            it as failed.
        """
        with self.transaction():
            if not self._mine(job):
                return True
            tries, deaths = job.tries + (not died), job.deaths + died
            if tries >= TRANSIENT_TRIES or deaths >= WORKER_DEATHS:
                return False
            not_before = self.clock() + (PAUSES_S[min(tries, len(PAUSES_S)) - 1] if tries and not died else 0.0)
            self.connection.execute(
                "UPDATE jobs SET state = ?, source = ?, tries = ?, deaths = ?, not_before = ?, boot = ?, owner = '',"
                " reason = ?, updated_at = ? WHERE job_id = ?",
                (WAITING, source or job.source, tries, deaths, not_before, self.boot, reason, _now(), job.job_id),
            )
            row = self.connection.execute("SELECT result_key FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
            self._unpark(job.config, row["result_key"])
        return True

    def release(self, config: str = "") -> None:
        """Give back all leases of this process, or those of one configuration, for an orderly stop."""
        with self.transaction():
            mine = (LEASED, self.owner, config, config)
            keys = self.connection.execute(
                "SELECT config, result_key FROM jobs WHERE state = ? AND owner = ? AND (config = ? OR ? = '')", mine
            ).fetchall()
            self.connection.execute(
                "UPDATE jobs SET state = ?, owner = '', boot = ''"
                " WHERE state = ? AND owner = ? AND (config = ? OR ? = '')",
                (WAITING, *mine),
            )
            for row in keys:
                self._unpark(row["config"], row["result_key"])

    def state_of(self, slide_id: str, config: str) -> Job | None:
        """A slide's job as it is now, or None."""
        row = self.connection.execute(
            "SELECT * FROM jobs WHERE slide_id = ? AND config = ?", (slide_id, config)
        ).fetchone()
        return job_of(row) if row is not None else None

    def free_parked(self, config: str) -> None:
        """Let parked jobs wait for a worker again whose twin is no longer being scored (its process was killed)."""
        with self.transaction():
            self.connection.execute(
                "UPDATE jobs SET state = ?, boot = '' WHERE config = ? AND state = ? AND result_key NOT IN"
                " (SELECT result_key FROM jobs WHERE config = ? AND state = ?)",
                (WAITING, config, PARKED, config, LEASED),
            )

    def live_attempts(self) -> set[tuple[int, int]]:
        """(job_id, attempt) of every lease that holds, of all processes."""
        now = self.clock()
        rows = self.connection.execute("SELECT * FROM jobs WHERE state = ?", (LEASED,)).fetchall()
        return {(row["job_id"], row["attempt"]) for row in rows if not self._has_run_out(row, now)}

    def job(self, job_id: int) -> Job:
        """One job as it is now."""
        return job_of(self.connection.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone())

    def failures(self, config: str) -> dict[str, str]:
        """Why the failed slides of a configuration failed, by id."""
        query = "SELECT slide_id, reason FROM jobs WHERE config = ? AND state = ?"
        return dict(self.connection.execute(query, (config, FAILED)).fetchall())

    def result_of(self, key: str) -> str:
        """The committed result.json of a key; empty where there is none, or no text."""
        query = "SELECT CAST(result AS BLOB) AS result FROM results WHERE result_key = ?"
        row = self.connection.execute(query, (key,)).fetchone()
        try:
            return bytes(row["result"]).decode("utf-8") if row is not None else ""
        except UnicodeDecodeError:
            return ""

    def forget_result(self, key: str) -> None:
        """Keep the result of a key no longer, since it cannot be read: the next slide with this key is scored."""
        with self.transaction():
            self.connection.execute("DELETE FROM results WHERE result_key = ?", (key,))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
