"""Backup of the service's state while it works, the check of one, and the way back.

A backup holds a copy of each database, the records that only grow up to their last whole line, the tokens, and, where
asked, the key and the map of the pseudonyms; ``backup.json`` has the hash of each. Result folders are not in it: they
are files that never change, for the laboratory's own backup; `reconcile_listing` says what of them and of a restored
ledger does not belong together.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pathoprog import __version__
from pathoprog.errors import InputError
from pathoprog.inference.service.records.audit_lines import AuditError
from pathoprog.inference.service.records.audit_parts import closed_parts, parts_now
from pathoprog.inference.slides.jobs import DONE
from pathoprog.scoring.slide_result import read_result_text
from pathoprog.system.file_names import folder_name
from pathoprog.system.files import atomic_write, canonical_json, sha256_file, sync_folder
from pathoprog.system.records import RecordError, plain, record_of

MANIFEST = "backup.json"
FORMAT = 1
AUDIT_LOG = "audit.jsonl"
KEPT_FILES = ("tokens.json", "slide_ids.key")
"""Files of the state that are copied as they are where they are there; each is always whole."""
GROWING = "*.jsonl"
"""Files of the state that only grow, copied up to their last whole line: undelivered events, what was forgotten. Those
of the audit log, which has several, are copied as they are at one moment."""
PSEUDONYMS = ("pseudonyms.key", "pseudonyms.csv")
"""With these who has the backup knows whose slides they are."""


@dataclass(frozen=True)
class BackupFile:
    """One file of a backup.

    Attributes:
        bytes: its size.
        sha256: of its bytes, hexadecimal.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class BackupManifest:
    """What a backup holds.

    Attributes:
        format: `FORMAT`.
        software_version: of the program that wrote it.
        at: UTC, ISO 8601.
        audit_head: ``seq:hash`` of the audit log's last line in it; empty where there is none.
        databases: names of those files that are databases.
        files: all files but the manifest itself, by name.
    """

    format: int
    software_version: str
    at: str
    audit_head: str
    databases: tuple[str, ...]
    files: Mapping[str, BackupFile]


@dataclass(frozen=True)
class StrayResult:
    """A result that the ledger or the files have, and the other has not.

    Attributes:
        bundle: folder of the bundle's results below the results' folder; empty where only the ledger knows it.
        slide_id: as the result or the ledger says.
        key: of the result.
    """

    bundle: str
    slide_id: str
    key: str


@dataclass(frozen=True)
class Reconciliation:
    """What of a ledger and of result folders does not belong together.

    Attributes:
        unknown: results on the disk whose key the ledger does not know: scored after the backup. They are kept, and
            found again when their slide is submitted.
        missing: results that the ledger calls done and the disk does not have: restored, or scored again.
        unreadable: folders below the results' folder whose result.json cannot be read.
    """

    unknown: tuple[StrayResult, ...]
    missing: tuple[StrayResult, ...]
    unreadable: tuple[str, ...]


def utc_time() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def backup_databases(connections: Mapping[str, sqlite3.Connection], folder: Path) -> None:
    """Copy databases that are in use, by the one thread that uses them and between two of its transactions.

    Each copy is what was committed. All are of one moment, since nobody else writes. It copies and does nothing else,
    since the service waits meanwhile: `write_backup` checks the copies in another thread.

    Args:
        connections: by the file's name in the state.
        folder: is there; the copies are for their owner alone.

    Raises:
        InputError: a copy cannot be written.
    """
    for name, connection in connections.items():
        path = folder / name
        assert not connection.in_transaction, f"{name}: a backup within a transaction would hold what is not committed"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with contextlib.closing(sqlite3.connect(path)) as copy:
                connection.backup(copy)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: the backup of a database cannot be written ({error})") from error


def write_backup(
    state: Path,
    copy_databases: Callable[[Path], None],
    folder: Path,
    pseudonyms: bool,
    now: Callable[[], datetime] = utc_time,
) -> BackupManifest:
    """Back the state of a running service up; from any thread.

    The databases come first: the audit log of the backup then has at least what they have.

    Args:
        state: the service's state.
        copy_databases: lets the thread that owns the databases call `backup_databases` with the folder it is given,
            and waits for it.
        folder: appears whole or not at all; it must not be there yet.
        pseudonyms: copy their key and map too.
        now: the time, UTC.

    Raises:
        InputError: the folder is there, or something cannot be read or written.
    """
    if os.path.lexists(folder):
        raise InputError(f"{folder}: is there already; a backup goes to a new folder")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # of a backup that was killed
        partial.mkdir(mode=0o700)
        copy_databases(partial)
        databases = tuple(sorted(path.name for path in partial.iterdir()))
        for name in databases:
            _check_database(partial / name)
            _sync(partial / name)
        audit = state / AUDIT_LOG
        its_files = {audit, *closed_parts(audit).values()}
        for source in sorted({*state.glob(GROWING)} - its_files):
            _copy_whole_lines(source, partial / source.name)
        if any(path.exists() for path in its_files):
            _copy_audit_log(audit, partial)
        for name in (*KEPT_FILES, *(PSEUDONYMS if pseudonyms else ())):
            if (state / name).is_file():
                _copy(state / name, partial / name)
        files = {path.name: BackupFile(path.stat().st_size, sha256_file(path)) for path in sorted(partial.iterdir())}
        manifest = BackupManifest(
            format=FORMAT,
            software_version=__version__,
            at=now().isoformat(timespec="seconds"),
            audit_head=_last_head(partial / AUDIT_LOG),
            databases=databases,
            files=files,
        )
        with atomic_write(partial / MANIFEST, private=True) as stream:
            stream.write(canonical_json(plain(manifest)).encode("utf-8"))
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise InputError(f"{folder}: the backup cannot be written ({error.strerror or error})") from error
    except AuditError as error:
        raise InputError(str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def verify_backup(folder: Path) -> BackupManifest:
    """Check that a backup is whole: each file by its hash, each database by its own check, nothing beside them.

    Raises:
        InputError: no backup, of another version, or something of it is missing, changed or too much.
    """
    path = folder / MANIFEST
    try:
        manifest = record_of(BackupManifest, json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give the folder of a backup") from error
    except (RecordError, ValueError) as error:
        raise InputError(f"{path}: no manifest of a backup ({error})") from error
    if manifest.format != FORMAT:
        raise InputError(f"{path}: a backup of format {manifest.format}, this version reads {FORMAT}")
    there = {each.name for each in folder.iterdir() if each.name != MANIFEST}
    if missing := sorted(manifest.files.keys() - there):
        raise InputError(f"{folder}: {', '.join(missing)} is missing; take another backup")
    if extra := sorted(there - manifest.files.keys()):
        raise InputError(f"{folder}: {', '.join(extra)} is not of the backup; take it away")
    for name, known in manifest.files.items():
        _check_file(folder / name, known)
    for name in manifest.databases:
        _check_database(folder / name)
    if manifest.audit_head and _last_head(folder / AUDIT_LOG) != manifest.audit_head:
        raise InputError(f"{folder / AUDIT_LOG}: does not end with the head that the backup names")
    return manifest


def restore(folder: Path, state: Path) -> BackupManifest:
    """Make a backup the state of a service that does not run; the state appears whole or not at all.

    What was forgotten since the backup is in it again: replay the records of it before the service starts.

    Args:
        folder: of the backup.
        state: must not be there, or be an empty folder.

    Raises:
        InputError: there is a state already, or the backup is not whole, or the state cannot be written.
    """
    if state.is_symlink() or (state.exists() and not (state.is_dir() and not any(state.iterdir()))):
        raise InputError(f"{state}: there is a state already; move it away, and nothing of it is lost")
    manifest = verify_backup(folder)
    partial = state.with_name(f".{state.name}.partial")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        for name, known in manifest.files.items():
            _copy(folder / name, partial / name)
            _check_file(partial / name, known)
        sync_folder(partial)
        partial.rename(state)
        sync_folder(state.parent)
    except OSError as error:
        raise InputError(f"{state}: cannot be restored ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def reconcile_listing(out: Path, ledger: Path, configs: Collection[str] | None = None) -> Reconciliation:
    """What of a restored ledger and of the result folders does not belong together.

    Args:
        out: holds ``<bundle>/slides/<slide>/result.json``.
        ledger: its file, which no service has open; it is only read.
        configs: hashes of the configurations in force; None: all, and what was scored again under another one since
            counts as missing under the first.

    Raises:
        InputError: the ledger cannot be read.
    """
    try:
        with contextlib.closing(_read_only(ledger)) as database:
            known = {str(key) for (key,) in database.execute("SELECT result_key FROM results")}
            query = "SELECT slide_id, result_key, config FROM jobs WHERE state = ? AND result_key != ''"
            done = {
                (str(slide_id), str(key))
                for slide_id, key, config in database.execute(query, (DONE,))
                if configs is None or config in configs
            }
    except sqlite3.Error as error:
        raise InputError(
            f"{ledger}: no ledger that can be read ({error}); if its service was killed, start and stop that once"
        ) from error
    unknown, unreadable, there = [], [], set()
    for bundle, folder in _result_folders(out):
        try:
            result = read_result_text((folder / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            unreadable.append(f"{bundle}/slides/{folder.name}")
            continue
        there.add((folder.name, result.result_key))
        if result.result_key and result.result_key not in known:
            unknown.append(StrayResult(bundle, result.slide_id, result.result_key))
    missing = [StrayResult("", *each) for each in sorted(done) if (folder_name(each[0]), each[1]) not in there]
    return Reconciliation(tuple(unknown), tuple(missing), tuple(unreadable))


def _result_folders(out: Path) -> Iterator[tuple[str, Path]]:
    """Each bundle's name and its slides' folders; those of attempts that were not finished begin with a dot."""
    for slides in sorted(out.glob("*/slides")):
        for folder in sorted(slides.iterdir()):
            if folder.is_dir() and not folder.name.startswith("."):
                yield slides.parent.name, folder


def _read_only(path: Path) -> sqlite3.Connection:
    """A database, opened so that it is not changed; one that a crash left within a transaction then cannot be read."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _check_database(path: Path) -> None:
    try:
        with contextlib.closing(_read_only(path)) as database:
            found = [str(row[0]) for row in database.execute("PRAGMA integrity_check")]
    except sqlite3.Error as error:
        raise InputError(f"{path}: no sound database ({error})") from error
    if found != ["ok"]:
        raise InputError(f"{path}: no sound database ({found[0]})")


def _check_file(path: Path, known: BackupFile) -> None:
    try:
        sound = path.is_file() and not path.is_symlink()
        sound = sound and path.stat().st_size == known.bytes and sha256_file(path) == known.sha256
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not sound:
        raise InputError(f"{path}: is not as it was backed up; take another backup")


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _copy(source: Path, target: Path) -> None:
    """Copy a file, for its owner alone, synced."""
    with source.open("rb") as read, atomic_write(target, private=True) as written:
        shutil.copyfileobj(read, written)


def _copy_whole_lines(source: Path, target: Path) -> None:
    """Copy a file that grows, up to its last whole line; who appends holds a lock on it, as the audit log does."""
    with source.open("rb") as read, atomic_write(target, private=True) as written:
        fcntl.flock(read, fcntl.LOCK_SH)
        for line in read:
            if line.endswith(b"\n"):
                written.write(line)


def _copy_audit_log(source: Path, folder: Path) -> None:
    """Copy all files of the audit log as they are at one moment, up to the last whole line."""
    with parts_now(source) as parts:
        for part in parts:
            with atomic_write(folder / part.path.name, private=True) as written:
                written.writelines(part.lines())


def _last_head(path: Path) -> str:
    """``seq:hash`` of an audit log's last line; empty for an empty log, or none.

    Raises:
        InputError: it is no line of an audit log, or cannot be read.
    """
    last = b""
    try:
        for file in (path, *reversed(closed_parts(path).values())):
            if not last and file.exists():  # empty where it was only just begun
                last = _last_line(file)
        if not last:
            return ""
        entry = json.loads(last)
        return f"{int(entry['seq'])}:{entry['hash']}"
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: the last line is not of an audit log; `pathoprog audit verify` says more") from error


def _last_line(path: Path) -> bytes:
    last = b""
    with path.open("rb") as stream:
        for line in stream:
            last = line
    return last
