"""Freeze, lock, open: nothing is chosen after the outcomes were seen, and every look at them is on record.

The lock is a hash over the analysis plan, the bundle, the code, the cohort, the scores and the exclusions. The log is
append-only: every line carries the hash of the line before it, so that a line taken out or changed shows. A local log
proves little to others; the lock's hash, deposited publicly before the opening, proves much.
"""

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import pathoprog
from pathoprog.errors import LockError
from pathoprog.files import read_json, sha256_file, sha256_value, write_json

PARTS = {
    "plan": "the analysis plan",
    "bundle": "the bundle (weights, thresholds, tiles)",
    "code": "the code",
    "cohort": "the cohort table",
    "scores": "the patients' scores",
    "exclusions": "the exclusions",
}
START = "0" * 64


@cache
def code_version() -> dict[str, str]:
    """The software's version and the hash of the source files that a validation runs through, as at the first call."""
    root = Path(pathoprog.__file__).parent
    files = sorted(
        path
        for pattern in ("*.py", "survival/**/*.py", "report/**/*", "cohorts/**/*.py")
        for path in root.glob(pattern)
        if path.is_file() and path.suffix in (".py", ".j2", ".css")
    )
    digest = sha256_value({path.relative_to(root).as_posix(): sha256_file(path) for path in files})
    return {"version": pathoprog.__version__, "sha256": digest}


def frozen_texts(
    patients: pd.DataFrame, members: pd.DataFrame | None, exclusions: pd.DataFrame
) -> dict[str, dict[str, str]]:
    """The scores and the exclusions as they are now, as CSV texts by file name.

    Args:
        patients: scores and classes.
        members: scores of the single members, where known.
        exclusions: slides and patients that are left out.

    Returns:
        Part (``scores``, ``exclusions``) -> file name -> text.
    """
    scores = {"patients.csv": patients} | ({} if members is None else {"members.csv": members})
    parts = {"scores": scores, "exclusions": {"exclusions.csv": exclusions}}
    return {
        part: {name: table.to_csv(index=False, lineterminator="\n") for name, table in tables.items()}
        for part, tables in parts.items()
    }


def lock(path: Path, hashes: dict[str, str], amend: str = "") -> dict[str, Any]:
    """Make the lock, or find it unchanged.

    Args:
        path: where the lock lies or will lie.
        hashes: SHA-256 of every one of `PARTS`.
        amend: why something locked has changed; makes a new lock that keeps the old one's hash and this reason.

    Returns:
        The lock: ``hashes``, ``sha256`` over them, and ``amendments`` (each with the hash it replaced and its reason).

    Raises:
        LockError: names what has changed since the lock.
    """
    assert hashes.keys() == PARTS.keys()
    fresh: dict[str, Any] = {"hashes": hashes, "sha256": sha256_value(hashes), "amendments": []}
    if path.is_file():
        before = read_json(path)
        if sha256_value(before["hashes"]) != before["sha256"]:
            raise LockError(f"{path}: the lock was edited: its hash is not that of its parts")
        changed = [text for part, text in PARTS.items() if before["hashes"].get(part) != hashes[part]]
        if not changed:
            return dict(before)
        if not amend:
            raise LockError(
                f"{path}: changed since the lock: {', '.join(changed)}. Restore it; or validate in another folder and "
                "report both; or say why with amend='…', which the report then shows"
            )
        amendment = {"replaces": before["sha256"], "changed": changed, "reason": amend}
        fresh["amendments"] = [*before["amendments"], amendment]
    write_json(path, fresh)
    return fresh


def open_outcomes(log: Path, outcomes: str, lock_sha256: str) -> int:
    """Put one opening of the outcomes on record, before they are read.

    Args:
        log: the append-only log, one JSON object per line.
        outcomes: path of the outcome table.
        lock_sha256: the lock under which they are opened.

    Returns:
        How many openings there are now, this one included.

    Raises:
        LockError: a line of the log was changed or taken out.
    """
    lines = read_log(log)
    entry = {
        "opening": len(lines) + 1,
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": _user(),
        "host": socket.gethostname(),
        "lock": lock_sha256,
        "outcomes_sha256": sha256_file(outcomes),
        "previous": lines[-1]["line_sha256"] if lines else START,
    }
    entry["line_sha256"] = sha256_value(entry)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return len(lines) + 1


def read_log(log: Path) -> list[dict[str, Any]]:
    """Lines of the log, each checked against the one before it.

    Raises:
        LockError: a line is no JSON, was changed, or one before it was taken out.
    """
    lines: list[dict[str, Any]] = []
    previous = START
    for number, text in enumerate(log.read_text(encoding="utf-8").splitlines() if log.is_file() else [], start=1):
        try:
            entry = json.loads(text)
            own = entry.pop("line_sha256")
            whole = entry["previous"] == previous and sha256_value(entry) == own
        except (ValueError, KeyError, AttributeError):
            whole = False
        if not whole:
            raise LockError(f"{log}: line {number} was changed, or a line before it taken out: the log is append-only")
        previous = own
        lines.append({**entry, "line_sha256": own})
    return lines


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
