"""Forgetting: a patient's or a slide's ids, files and rows go, and a record stays that says so without saying whom.

The record holds keyed hashes of the ids: with it a restored backup, in which they are again, forgets them again.
"""

import hmac
import json
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pathoprog.errors import InputError
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.service.viewing.outline_files import FOLDER as OUTLINES
from pathoprog.inference.service.viewing.outline_files import forget_outline
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.inference.service.work.snapshot import Snapshot
from pathoprog.inference.service.work.store import Store
from pathoprog.inference.service.work.submissions import OPEN, RUNNING, Submission
from pathoprog.system.file_names import folder_name
from pathoprog.system.files import sync_folder

RECORD = "forgotten.jsonl"


@dataclass(frozen=True)
class Holdings:
    """Where things are kept that a person may ask to be forgotten.

    Attributes:
        store: of submissions.
        ledger: of work.
        snapshot: what is shown.
        slides_folders: of each bundle's results.
        names: has the map of the pseudonyms.
        staging: local copies; None where there are none.
    """

    store: Store
    ledger: Ledger
    snapshot: Snapshot
    slides_folders: Sequence[Path]
    names: PathNames
    staging: StagingCache | None


@dataclass(frozen=True)
class Forgotten:
    """What was taken away: how many submissions and result folders, and the record's hashes."""

    submissions: int
    folders: int
    hashes: tuple[str, ...]


class Forgetting:
    """Takes things away; in the thread that has the store and the ledger open.

    Args:
        holdings: where things are.
        record: the file that says what was forgotten.
        key: of its hashes.
    """

    def __init__(self, holdings: Holdings, record: Path, key: bytes):
        self.holdings, self.record, self._key = holdings, record, key

    def patient(self, patient_id: str) -> Forgotten:
        """Forget a patient, by the id that the service shows.

        Raises:
            AbsentError: no submission is of such a patient.
            ConflictError: a slide is being scored.
            InputError: the record cannot be written; nothing is forgotten then.
        """
        found = self.holdings.snapshot.of_patient(patient_id)
        if not found:
            raise AbsentError("no slide of such a patient")
        return self._forget(found)

    def expire(self, route: str, before: datetime) -> Forgotten:
        """Forget what ended on a route before a time; a patient whose other slides are younger keeps those."""
        old = [
            one
            for one in self.holdings.snapshot.newest(0)
            if one.route == route and one.ended_at and datetime.fromisoformat(one.ended_at) < before
        ]
        return self._forget([one for one in old if not any(work.state in OPEN for work in one.works)])

    def again(self) -> Forgotten:
        """Forget what the record says, after a restore."""
        known = self._recorded()
        found = [one for one in self.holdings.snapshot.newest(0) if self._hash(one.slide_id) in known]
        return self._forget(found, recorded=True)

    def _forget(self, found: Sequence[Submission], recorded: bool = False) -> Forgotten:
        if not found:
            return Forgotten(0, 0, ())
        if any(work.state == RUNNING for one in found for work in one.works):
            raise ConflictError("a slide of it is being scored; forget it when that is done, or stop the service first")
        gone = {one.id for one in found}
        slides = {one.slide_id for one in found if gone.issuperset(self.holdings.store.of_slide(one.slide_id))}
        patients = {
            one.patient_id
            for one in found
            if all(other.id in gone for other in self.holdings.snapshot.of_patient(one.patient_id))
        }
        hashes = tuple(sorted(self._hash(name) for name in slides | patients))
        if not recorded:
            self._put_on_record(hashes)
        folders = self._remove_files(found, slides)
        for slide_id in slides:
            self.holdings.ledger.forget_slide(slide_id)
        files = self.holdings.store.forget(found)
        for one in found:
            self.holdings.snapshot.remove(one)
        self.holdings.names.pseudonyms.forget(slides | patients | files)
        return Forgotten(len(found), folders, hashes)

    def _remove_files(self, found: Sequence[Submission], slides: Collection[str]) -> int:
        n = 0
        for folder in self.holdings.slides_folders:
            for slide_id in slides:
                place = folder / folder_name(slide_id)
                if place.is_dir():
                    shutil.rmtree(place)
                    n += 1
        for slide_id in slides:
            forget_outline(self.holdings.store.path.parent / OUTLINES, slide_id)
        if self.holdings.staging is not None:
            for one in found:
                self.holdings.staging.remove(self.holdings.store.slide_file(one).file)
        return n

    def _hash(self, name: str) -> str:
        return hmac.digest(self._key, f"forgotten\0{name}".encode(), "sha256").hex()

    def _recorded(self) -> set[str]:
        """Hashes of all that was forgotten.

        Raises:
            InputError: the record cannot be read.
        """
        try:
            lines = self.record.read_text(encoding="utf-8").splitlines()
            return {one for line in lines for one in json.loads(line)["hashes"]}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.record}: the record of what was forgotten cannot be read ({error})") from error

    def _put_on_record(self, hashes: Sequence[str]) -> None:
        """First the record, then the deed: a stop between them is made good by `again`."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "hashes": list(hashes)}) + "\n"
        try:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(self.record.parent)
        except OSError as error:
            raise InputError(
                f"{self.record}: the record of what is forgotten cannot be written ({error.strerror or error}); "
                "nothing was forgotten"
            ) from error
