"""The lock holds, and the log of openings cannot be rewritten unseen."""

from pathlib import Path

import pytest

from pathoprog.errors import LockError
from pathoprog.files import read_json, write_json
from pathoprog.validation.lock import PARTS, code_version, lock, open_outcomes, read_log

HASHES = {part: part[0] * 64 for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_a_change_of_any_part_is_refused_and_named(tmp_path: Path, part: str):
    path = tmp_path / "lock.json"
    first = lock(path, HASHES)
    assert lock(path, HASHES) == first
    with pytest.raises(LockError, match=r"changed since the lock: .*amend=") as caught:
        lock(path, HASHES | {part: "f" * 64})
    assert PARTS[part] in str(caught.value)
    assert read_json(path) == first


def test_an_amendment_keeps_what_it_replaces(tmp_path: Path):
    path = tmp_path / "lock.json"
    first = lock(path, HASHES)
    second = lock(path, HASHES | {"plan": "f" * 64}, amend="a typing error in the plan")
    assert second["sha256"] != first["sha256"]
    assert second["amendments"] == [
        {"replaces": first["sha256"], "changed": [PARTS["plan"]], "reason": "a typing error in the plan"}
    ]
    third = lock(path, HASHES, amend="back again")
    assert [entry["replaces"] for entry in third["amendments"]] == [first["sha256"], second["sha256"]]


def test_an_edited_lock_is_found(tmp_path: Path):
    path = tmp_path / "lock.json"
    write_json(path, lock(path, HASHES) | {"hashes": HASHES | {"bundle": "0" * 64}})
    with pytest.raises(LockError, match="the lock was edited"):
        lock(path, HASHES | {"bundle": "0" * 64})


def test_each_opening_is_a_line_chained_to_the_one_before(tmp_path: Path):
    log, outcomes = tmp_path / "log" / "openings.jsonl", tmp_path / "outcomes.csv"
    outcomes.write_text("patient_id\n")
    assert [open_outcomes(log, str(outcomes), "a" * 64) for _ in range(3)] == [1, 2, 3]
    lines = log.read_text().splitlines()
    assert [entry["opening"] for entry in read_log(log)] == [1, 2, 3]
    for broken in (
        lines[1:],
        [lines[0], lines[2]],
        [lines[0].replace('"opening": 1', '"opening": 9'), *lines[1:]],
        ["x"],
    ):
        log.write_text("\n".join(broken) + "\n")
        with pytest.raises(LockError, match="append-only"):
            open_outcomes(log, str(outcomes), "a" * 64)


def test_the_code_has_a_version_and_a_hash():
    version = code_version()
    assert set(version) == {"version", "sha256"}
    assert len(version["sha256"]) == 64
