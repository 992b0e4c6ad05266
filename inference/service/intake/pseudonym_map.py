"""The private map from pseudonyms back to ids, for a service that adds one row at a time.

The file is that of `inference.slides.pseudonyms`: the same columns, read by the same readers, mode 0600. A row is one
line, appended by one write and synced. What a kill or a power cut may leave is an unfinished last line: it is cut off
when the map is opened, and its row added again when its slide comes again, since a name follows from key and id.
"""

import csv
import fcntl
import io
import os
import threading
from collections.abc import Collection
from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.inference.slides.pseudonyms import COLUMNS
from pathoprog.system.csv_files import csv_text, unquoted
from pathoprog.system.files import sync_folder, write_text

Row = tuple[str, str, str, str]
"""Pseudonym, kind (``slide``, ``patient``, ``file``), id, path; see `COLUMNS`."""


class PseudonymMap:
    """The map, open for more rows. Safe in threads, and beside a process that writes the file anew.

    Args:
        file: made if it is not there.

    Raises:
        ConfigError: it cannot be read or made, is no map, or others may read it.
    """

    def __init__(self, file: Path):
        self.file = file
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._seen: tuple[int, int] = (0, 0)  # inode and size when it was last read or written
        with self._lock:
            self._append([])

    @property
    def rows(self) -> dict[str, Row]:
        """All rows by pseudonym; a copy."""
        with self._lock:
            return dict(self._rows)

    def get(self, name: str) -> Row | None:
        """The row of a pseudonym."""
        with self._lock:
            return self._rows.get(name)

    def add(self, rows: list[Row]) -> None:
        """Add the rows whose pseudonyms are not there yet; when it returns they are on the disk.

        Raises:
            ConfigError: it cannot be written.
        """
        with self._lock:
            missing = [row for row in dict.fromkeys(rows) if row[0] not in self._rows]
            if missing:
                self._append(missing)

    def forget(self, names: Collection[str]) -> None:
        """Take rows out by their pseudonyms; the file is written anew.

        Raises:
            ConfigError: it cannot be written.
        """
        with self._lock:
            self._append([])  # what another process added stays
            kept = [row for name, row in self._rows.items() if name not in names]
            if len(kept) == len(self._rows):
                return
            try:
                write_text(
                    self.file, csv_text([dict(zip(COLUMNS, row, strict=True)) for row in kept], COLUMNS), private=True
                )
                status = self.file.stat()
            except OSError as error:
                raise ConfigError(
                    f"{self.file}: the map of pseudonyms cannot be written ({error.strerror or error})"
                ) from error
            self._rows = {row[0]: row for row in kept}
            self._seen = status.st_ino, status.st_size

    def _append(self, missing: list[Row]) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self.file.exists()
            handle = self._locked()
            try:
                status = os.fstat(handle)
                if status.st_mode & 0o077:
                    raise ConfigError(f"{self.file}: others may read the map of pseudonyms; `chmod 600` it")
                text = ""
                if (status.st_ino, status.st_size) != self._seen:
                    known = self._read_again(handle)
                    # Rows that another program's writing has lost are written again.
                    missing = [*(row for name, row in self._rows.items() if name not in known), *missing]
                    missing = [row for row in dict.fromkeys(missing) if row[0] not in known]
                    self._rows = known
                    text = "" if known or os.fstat(handle).st_size else csv_text([], COLUMNS)
                text += _lines(missing)
                if text:
                    _write_all(handle, text.encode("utf-8"))
                    os.fsync(handle)
                self._rows.update({row[0]: row for row in missing})
                status = os.fstat(handle)
                self._seen = status.st_ino, status.st_size
            finally:
                os.close(handle)
            if is_new:
                sync_folder(self.file.parent)
        except OSError as error:
            raise ConfigError(
                f"{self.file}: the map of pseudonyms cannot be read or written ({error.strerror or error})"
            ) from error

    def _locked(self) -> int:
        """The file, open and locked, and none that was replaced meanwhile."""
        while True:
            handle = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if self.file.stat().st_ino == os.fstat(handle).st_ino:
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _read_again(self, handle: int) -> dict[str, Row]:
        """The rows of the file, whose unfinished last line is cut off."""
        data = os.pread(handle, os.fstat(handle).st_size, 0)
        whole = data.rpartition(b"\n")[0]
        whole += b"\n" if b"\n" in data else b""
        if len(whole) < len(data):
            os.ftruncate(handle, len(whole))
        try:
            rows = list(csv.reader(io.StringIO(whole.decode("utf-8-sig"), newline=""), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._no_map() from error
        if (rows and tuple(rows[0]) != COLUMNS) or any(len(row) != len(COLUMNS) for row in rows):
            raise self._no_map()
        found = [tuple(unquoted(cell) for cell in row) for row in rows[1:]]
        return {row[0]: (row[0], row[1], row[2], row[3]) for row in found}

    def _no_map(self) -> ConfigError:
        return ConfigError(f"{self.file}: not a map of pseudonyms; move it away")


def _lines(rows: list[Row]) -> str:
    """The rows' lines, without a header."""
    if not rows:
        return ""
    return csv_text([dict(zip(COLUMNS, row, strict=True)) for row in rows], COLUMNS).partition("\n")[2]


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
