"""The ledger of a service: of slides whose paths stand in the map alone it holds no path, and no hash that tells one.

What the files of such a slide look like (`identity.source_sha256`) is hashed of its path among others, so that whoever
has size and time could try paths: here it is a keyed hash. What was hashed stays in memory, for the readers.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.slides.jobs import Job, NewJob
from pathoprog.system.console import warn

HASH_DIGITS = 64
"""Hexadecimal digits of a hash that has no key."""
SOURCE, OUTLINE = "source", "outline_path"
GONE = " "
"""In the place of a path that was taken out, until the file was written anew."""


class ServiceLedger(Ledger):
    """See the module. A job without a path is hidden; others are kept as `score` does.

    Args:
        path: of the SQLite file, on a local disk.
        names: has the key.

    Raises:
        InputError: see `Ledger`.
    """

    def __init__(self, path: Path, names: PathNames):
        super().__init__(path)
        self._names = names
        self._sources: dict[tuple[str, str], str] = {}  # (slide_id, config) -> what its files look like, of hidden jobs

    def hide_known(self, open_slides: Callable[[], Collection[str]]) -> None:
        """Take out what an older version wrote of slides that are to be hidden.

        Args:
            open_slides: gives the ids of the slides whose paths may stand here; asked only if there are any.

        Raises:
            WriteError: the disk is full or fails.
        """
        query = "SELECT job_id, slide_id, source, request FROM jobs WHERE path != '' AND path != ?"
        some = self.connection.execute(f"{query} LIMIT 1", (GONE,)).fetchone()
        kept = open_slides() if some else ()
        hidden = [row for row in self.connection.execute(query, (GONE,)) if row["slide_id"] not in kept]
        if hidden:
            with self.transaction():
                for row in hidden:
                    source, request = self._hidden_source(row["source"]), _hidden_request(json.loads(row["request"]))
                    self.connection.execute(
                        "UPDATE jobs SET path = ?, source = ?, request = ? WHERE job_id = ?",
                        (GONE, source, json.dumps(request, sort_keys=True), row["job_id"]),
                    )
        if self.connection.execute("SELECT 1 FROM jobs WHERE path = ? LIMIT 1", (GONE,)).fetchone():
            try:
                self.connection.execute("VACUUM")  # what was overwritten in one place may have been copied to another
            except sqlite3.OperationalError as error:
                warn(f"{self.path}: cannot be written anew ({error}), which wipes out paths; the next start tries it")
                return
            with self.transaction():
                self.connection.execute("UPDATE jobs SET path = '' WHERE path = ?", (GONE,))

    def standing(
        self, jobs: Iterable[NewJob], config: str, requeue: bool, holds: Callable[[Job], bool]
    ) -> dict[str, str]:
        """See `Ledger`."""
        return super().standing((self._hidden(new) for new in jobs), config, requeue, holds)

    def _admit(self, new: NewJob, config: str, place: int, anew: bool) -> None:
        if not new.path:
            self._sources[new.slide_id, config] = new.source
        super()._admit(self._hidden(new), config, place, anew)

    def lease(self, config: str, n: int, alone: bool) -> list[Job]:
        """See `Ledger`; the jobs say what their files look like."""
        jobs = super().lease(config, n, alone)
        return [replace(job, source=self._sources.get((job.slide_id, config), job.source)) for job in jobs]

    def leave(self, slide_id: str, config: str) -> None:
        """See `Ledger`."""
        super().leave(slide_id, config)
        self._sources.pop((slide_id, config), None)

    def call_off(self, slide_id: str, config: str) -> bool:
        """See `Ledger`."""
        gone = super().call_off(slide_id, config)
        if gone:
            self._sources.pop((slide_id, config), None)
        return gone

    def postpone(self, job: Job, source: str, seconds: float) -> None:
        """See `Ledger`."""
        super().postpone(job, self._noted(job, source), seconds)

    def retry(self, job: Job, reason: str, source: str = "", died: bool = False) -> bool:
        """See `Ledger`."""
        return super().retry(job, reason, self._noted(job, source or job.source), died)

    def _noted(self, job: Job, source: str) -> str:
        """What the file is told of how a slide's files look now."""
        known_by = (job.slide_id, job.config)
        if known_by not in self._sources:
            return source
        self._sources[known_by] = source
        return self._hidden_source(source)

    def _hidden(self, new: NewJob) -> NewJob:
        if new.path:
            return new
        return replace(new, source=self._hidden_source(new.source), request=_hidden_request(new.request))

    def _hidden_source(self, source: str) -> str:
        return self._names.hashed(SOURCE, source) if len(source) == HASH_DIGITS else source


def _hidden_request(request: dict[str, Any]) -> dict[str, Any]:
    """With the outline's name alone, which is the slide's pseudonym, and no folder."""
    return {**request, OUTLINE: Path(request[OUTLINE]).name} if request.get(OUTLINE) else request
