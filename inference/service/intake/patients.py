"""Whose a watched slide is: by a table, by a pattern of its name, or by itself; under pseudonyms where asked for."""

import csv
import io
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.errors import ConfigError, InputError
from pathoprog.inference.service.intake.intake_config import PatientRule
from pathoprog.inference.service.intake.name_pattern import BLOCK, PATIENT, checked_pattern
from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap, Row
from pathoprog.inference.slides.pseudonyms import pseudonym, read_key
from pathoprog.scoring.eligibility import TRAITS
from pathoprog.slides.identity import slide_id_of
from pathoprog.system.csv_files import unquoted
from pathoprog.system.files import MOST_NAME_BYTES, file_stamp
from pathoprog.text.plain_text import spelling

FILE, SLIDE, PATIENT_ID, BLOCK_ID = "file", "slide_id", "patient_id", "block_id"
MOST_TABLE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class PatientOf:
    """Whose a slide is, under the names that may be shown.

    Attributes:
        slide_id: of the slide; a pseudonym where the rule says so, as `patient_id`.
        patient_id: the slide's own id where each slide is its own patient.
        block_id: as the table or the pattern has it; "" where ids are pseudonyms: it is often a case number.
        traits: what the table says of its eligibility, by trait.
        given_id: what `slide_id` stands for; not to be shown. "" where ids are as given.
        given_patient_id: the same of `patient_id`.
    """

    slide_id: str
    patient_id: str
    block_id: str = ""
    traits: Mapping[str, str] = field(default_factory=dict)
    given_id: str = field(default="", repr=False)
    given_patient_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Waits:
    """It is not known yet whose a slide is: ask again. `reason` holds no name."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A slide that can never be taken as it is called. `reason` holds no name."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the table."""

    slide_id: str
    patient_id: str
    block_id: str
    traits: Mapping[str, str]


class PatientReader:
    """Answers whose a slide is.

    Args:
        rule: where from.
        key_file: secret key of the pseudonyms, made if it is not there; needed only where ids are pseudonyms.
        pseudonyms: the map back, one for all rules of a service; the same.
        clock: seconds, only ever forward.

    Raises:
        ConfigError: the table or the pattern is not what it must be, or both are given; the key or the map cannot be
            used.
    """

    def __init__(
        self,
        rule: PatientRule,
        key_file: Path | None = None,
        pseudonyms: PseudonymMap | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.rule, self.clock = rule, clock
        if rule.table and rule.pattern:
            raise ConfigError("table and pattern: give one of them, not both")
        self._pattern = checked_pattern(rule.pattern) if rule.pattern else None
        self._lock = threading.Lock()
        self._table: dict[str, _Entry] = {}
        self._stamp: list[int] = []
        self._seen: tuple[list[int], float] = ([], 0.0)  # another stamp than that of the table read, and since when
        self._why = ""  # the table cannot be read now
        if rule.table:
            stamp = file_stamp(rule.table)
            try:
                self._table, self._stamp = _read_table(Path(rule.table)), stamp
            except InputError as error:
                raise ConfigError(str(error)) from error
        self._key, self._map = b"", None
        if rule.ids == "pseudonym":
            if key_file is None or pseudonyms is None:
                raise ConfigError("ids=pseudonym takes a key and a map")
            self._key, self._map = read_key(key_file), pseudonyms

    def of(self, path: str) -> PatientOf | Waits | Refused:
        """Whose a slide is.

        Args:
            path: of the slide as the watch gives it: its name is the file's, or of a DICOM slide its folder's.

        Raises:
            ConfigError: the map of pseudonyms cannot be written.
        """
        name = Path(path).name
        if len(name.encode(errors="surrogateescape")) > MOST_NAME_BYTES:
            return Refused(f"its name is longer than {MOST_NAME_BYTES} bytes")
        slide_id = slide_id_of(name)
        if self._pattern is not None:
            hit = self._pattern.fullmatch(slide_id)
            patient = (hit[PATIENT] or "").strip() if hit else ""
            if hit and patient:
                groups = hit.groupdict()
                return self._named(_Entry(slide_id, patient, (groups.get(BLOCK) or "").strip(), {}), path)
            return self._unknown(slide_id, path, "its file name does not match the pattern of the patient rule")
        if self.rule.table:
            with self._lock:
                restless = self._look_at_table()
                found = self._table.get(spelling(name)) or self._table.get(spelling(slide_id))
            if found:
                return self._named(found, path)
            if self._why:
                return Waits(self._why)
            if restless:
                return Waits("it is not in the patient table, which is being changed")
            return self._unknown(slide_id, path, "it is not in the patient table")
        return self._named(_Entry(slide_id, "", "", {}), path)

    def _unknown(self, slide_id: str, path: str, why: str) -> PatientOf | Waits | Refused:
        if self.rule.unknown_patient == "own":
            return self._named(_Entry(slide_id, "", "", {}), path)
        return Refused(why) if self.rule.unknown_patient == "fail" else Waits(why)

    def _named(self, entry: _Entry, path: str) -> PatientOf:
        """An entry under the names that may be shown; without a patient the slide is its own."""
        if self._map is None:
            return PatientOf(entry.slide_id, entry.patient_id or entry.slide_id, entry.block_id, entry.traits)
        slide = pseudonym(self._key, "slide", entry.slide_id)
        rows: list[Row] = [(slide, "slide", entry.slide_id, path)]
        patient = slide
        if entry.patient_id:
            patient = pseudonym(self._key, "patient", entry.patient_id)
            rows.append((patient, "patient", entry.patient_id, ""))
        self._map.add(rows)
        return PatientOf(slide, patient, "", entry.traits, entry.slide_id, entry.patient_id or entry.slide_id)

    def _look_at_table(self) -> bool:
        """Read the table again once it has changed and stands still; whether it is still changing."""
        stamp = file_stamp(self.rule.table)
        if stamp == self._stamp:
            self._seen, self._why = ([], 0.0), ""
            return False
        now = self.clock()
        if stamp != self._seen[0] or now < self._seen[1]:
            self._seen = stamp, now
        if now - self._seen[1] < self.rule.settle_s:
            return True
        try:
            self._table, self._stamp, self._why = _read_table(Path(self.rule.table)), stamp, ""
        except InputError as error:
            self._why = f"the patient table cannot be used: {str(error).removeprefix(f'{self.rule.table}: ')}"
            return True
        return False


def _read_table(path: Path) -> dict[str, _Entry]:
    """The table's rows by the spelling of the file's name or the slide's id.

    Raises:
        InputError: it cannot be read, or is not what it must be.
    """
    try:
        if path.stat().st_size > MOST_TABLE_BYTES:
            raise InputError(f"{path}: larger than {MOST_TABLE_BYTES >> 20} MiB")
        text = path.read_bytes().decode("utf-8-sig")
        rows = [[unquoted(cell).strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]
    except OSError as error:
        raise InputError(f"{path}: this table cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this table is not in UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path}: no sound CSV table ({error})") from error
    header = rows[0] if rows else []
    by = FILE if FILE in header else SLIDE
    missing = [name for name in (by, PATIENT_ID) if name not in header]
    if missing or len(set(header)) < len(header):
        alone = "; its cells are not parted by commas" if len(header) == 1 and ";" in header[0] else ""
        raise InputError(f"{path}: must have each of the columns {FILE} (or {SLIDE}) and {PATIENT_ID} once{alone}")
    found: dict[str, _Entry] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise InputError(f"{path}: row {number}: {len(row)} cells, the header has {len(header)}")
        cells = dict(zip(header, row, strict=True))
        if not cells[by] or not cells[PATIENT_ID]:
            raise InputError(f"{path}: row {number}: {by} and {PATIENT_ID} must not be empty")
        slide_id = cells.get(SLIDE, "") or slide_id_of(cells[by])
        traits = {name: cells[name] for name in TRAITS if name in header}
        entry = _Entry(slide_id, cells[PATIENT_ID], cells.get(BLOCK_ID, ""), traits)
        if found.setdefault(spelling(cells[by]), entry) is not entry:
            raise InputError(f"{path}: row {number}: this {by} stands in an earlier row too")
    return found
