"""How many outcomes have changed since an earlier opening, known without keeping them: salted hashes of the rows."""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pathoprog.cohort_tables.sheets import plain, read_sheet_file
from pathoprog.errors import InputError
from pathoprog.system.files import atomic_write, read_json, write_json
from pathoprog.text.wording import count

FOLDER = "outcome_rows"
SALT = "salt"


@dataclass(frozen=True)
class RowDifference:
    """How one outcome table differs from an earlier one.

    Attributes:
        equal: patients whose outcome is the same.
        changed: patients whose outcome is another one.
        added: patients that were not there before.
        removed: patients that are gone.
        known: False where nothing but the file's hash is known of the earlier table.
    """

    equal: int
    changed: int
    added: int
    removed: int
    known: bool

    @property
    def before(self) -> int:
        """Patients of the earlier table."""
        return self.equal + self.changed + self.removed

    @property
    def after(self) -> int:
        """Patients of the later table."""
        return self.equal + self.changed + self.added

    @property
    def text(self) -> str:
        """In words."""
        if not self.known:
            return "in whose rows is not on record"
        if not (self.changed or self.added or self.removed):
            return "in its bytes alone: every patient has the same follow-up and event"
        parts = [(self.changed, "have another outcome"), (self.added, "were added"), (self.removed, "are gone")]
        said = ", ".join(f"{n} {what}" for n, what in parts if n)
        return f"of {count(self.before, 'patient')} {said}"


def rows_of(path: Path) -> dict[str, str]:
    """The outcome of each patient as one text, as the table has it; empty where it cannot be read as a table at all.

    Raises:
        InputError: no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; it should hold the outcomes")
    try:
        table = read_sheet_file(path).frame.map(plain)
        days = pd.to_numeric(table["followup_days"], errors="coerce").astype(float).map(repr)
        event = pd.to_numeric(table["event"], errors="coerce").astype(float).map(repr)
        outcome = days + ";" + event
        for name in sorted(set(table.columns) - {"followup_days", "event"}):
            if name.endswith(("_days", "_event")):  # of a further endpoint
                outcome += f";{name}=" + pd.to_numeric(table[name], errors="coerce").astype(float).map(repr)
        return dict(zip(table["patient_id"], outcome, strict=True))
    except (InputError, ValueError, KeyError, TypeError):  # what is wrong with it is said when it is opened
        return {}


def keep_rows(state: Path, outcomes_sha256: str, rows: dict[str, str]) -> None:
    """Keep the rows' hashes in the state folder.

    Raises:
        OSError: it cannot be written.
    """
    path = state / FOLDER / f"{outcomes_sha256}.json"
    if path.is_file():
        return
    salt_file = state / SALT
    if not salt_file.is_file():
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(salt_file) as stream:
            stream.write(secrets.token_bytes(32))
        salt_file.chmod(0o600)
    write_json(path, _hashed(salt_file.read_bytes(), rows))
    path.chmod(0o600)


def difference(state: Path, outcomes_sha256: str, rows: dict[str, str]) -> RowDifference:
    """How `rows` differ from an earlier table whose hash is given."""
    try:
        before = read_json(state / FOLDER / f"{outcomes_sha256}.json")
        after = _hashed((state / SALT).read_bytes(), rows)
        both = before.keys() & after.keys()
    except (OSError, ValueError, AttributeError):
        return RowDifference(0, 0, 0, 0, known=False)
    equal = sum(before[patient] == after[patient] for patient in both)
    return RowDifference(equal, len(both) - equal, len(after) - len(both), len(before) - len(both), known=True)


def _hashed(salt: bytes, rows: dict[str, str]) -> dict[str, str]:
    def short(text: str) -> str:
        return hashlib.blake2b(text.encode("utf-8"), key=salt, digest_size=12).hexdigest()

    return {short(patient): short(f"{patient}\0{outcome}") for patient, outcome in rows.items()}
