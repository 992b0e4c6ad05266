"""Backups: taken while somebody writes, whole or refused, restored to databases that check themselves as sound."""

import json
import os
import queue
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.service.records.backup import (
    backup_databases,
    reconcile_listing,
    restore,
    verify_backup,
    write_backup,
)
from pathoprog.inference.slides.jobs import DONE, NewJob
from pathoprog.scoring.slide_result import SlideResult, result_text
from pathoprog.system.file_names import folder_name

NAMES = ("ledger.sqlite", "service.sqlite")


def opened(state, name):
    """A database as the service opens it, with a table of pairs that only makes sense if both halves are there."""
    connection = sqlite3.connect(state / name, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("CREATE TABLE IF NOT EXISTS pairs (n INTEGER PRIMARY KEY, half TEXT)")
    return connection


def write_pair(connection, n):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO pairs VALUES (?, ?)", (2 * n, "left" * 100))
    connection.execute("INSERT INTO pairs VALUES (?, ?)", (2 * n + 1, "right" * 100))
    connection.execute("COMMIT")


@pytest.fixture
def state(tmp_path):
    """A state with all kinds of files."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    for name, text in {
        "tokens.json": '{"tokens": []}\n',
        "audit.jsonl": '{"seq":1,"hash":"aa"}\n{"seq":2,"hash":"bb"}\n{"seq":3,"ha',
        "undelivered.jsonl": "{}\n",
        "pseudonyms.key": "k" * 64 + "\n",
        "pseudonyms.csv": "pseudonym,kind,id,path\nS1,slide,B23-12345,/scans/B23-12345.svs\n",
        "service.log": "{}\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (folder / "staging").mkdir()
    (folder / "staging" / "B23-12345.svs").write_bytes(b"slide")
    return folder


@pytest.fixture
def connections(state):
    made = {name: opened(state, name) for name in NAMES}
    for connection in made.values():
        write_pair(connection, 0)
    yield made
    for connection in made.values():
        connection.close()


def noon():
    return datetime(2026, 12, 1, 12, tzinfo=UTC)


def backed_up(state, connections, folder, pseudonyms=False):
    def copy(to: Path) -> None:
        backup_databases(connections, to)

    return write_backup(state, copy, folder, pseudonyms, noon)


def test_a_backup_restores_to_the_same_state(state, connections, tmp_path):
    manifest = backed_up(state, connections, tmp_path / "backup", pseudonyms=True)
    assert verify_backup(tmp_path / "backup") == manifest
    assert manifest.audit_head == "2:bb" and manifest.at == "2026-12-01T12:00:00+00:00"
    assert manifest.databases == NAMES
    restored = tmp_path / "there" / "state"
    assert restore(tmp_path / "backup", restored) == manifest
    assert sorted(path.name for path in restored.iterdir()) == sorted(
        [*NAMES, "tokens.json", "audit.jsonl", "undelivered.jsonl", "pseudonyms.key", "pseudonyms.csv"]
    )
    for name in ("tokens.json", "undelivered.jsonl", "pseudonyms.key", "pseudonyms.csv"):
        assert (restored / name).read_bytes() == (state / name).read_bytes()
    assert (restored / "audit.jsonl").read_text() == '{"seq":1,"hash":"aa"}\n{"seq":2,"hash":"bb"}\n'
    for folder in (tmp_path / "backup", restored):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "state", "there"], "nothing is left over"


def test_key_and_map_are_in_it_only_if_asked(state, connections, tmp_path):
    backed_up(state, connections, tmp_path / "backup")
    for path in (tmp_path / "backup").iterdir():
        assert not path.name.startswith("pseudonyms") and b"B23-12345" not in path.read_bytes()


def test_a_backup_under_load_is_sound_and_holds_only_whole_commits(state, tmp_path):
    """One thread owns the databases, writes and copies; the rest of the backup is made in another."""
    asked: queue.Queue[Path] = queue.Queue()
    copied, stop, busy = threading.Event(), threading.Event(), threading.Event()
    written = []

    def service():
        connections = {name: opened(state, name) for name in NAMES}
        n = 0
        while not stop.is_set():
            for connection in connections.values():
                write_pair(connection, n)
            with (state / "audit.jsonl").open("a") as stream:
                stream.write(json.dumps({"seq": n, "hash": "cc"}) + "\n")
            n += 1
            if n == 20:
                busy.set()
            if not asked.empty():
                backup_databases(connections, asked.get())
                copied.set()
        written.append(n)
        for connection in connections.values():
            connection.close()

    def copy(to):
        asked.put(to)
        assert copied.wait(60)

    (state / "audit.jsonl").write_text("")
    thread = threading.Thread(target=service)
    thread.start()
    try:
        assert busy.wait(60)
        write_backup(state, copy, tmp_path / "backup", False)
    finally:
        stop.set()
        thread.join()
    restored = tmp_path / "restored"
    restore(tmp_path / "backup", restored)
    counts = []
    for name in NAMES:
        database = sqlite3.connect(restored / name)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = dict(database.execute("SELECT n, half FROM pairs").fetchall())
        database.close()
        assert sorted(rows) == list(range(len(rows))) and len(rows) % 2 == 0, "no half of a commit"
        counts.append(len(rows) // 2)
    assert counts[0] == counts[1] and 20 <= counts[0] <= written[0]
    lines = (restored / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= counts[0] - 1, "what the databases hold is on record"


def test_a_ledger_comes_back_as_it_was(tmp_path):
    state = tmp_path / "state"
    ledger = Ledger(state / "ledger.sqlite")
    ledger.enrol([NewJob("S1", "/scans/S1.svs", "source", {}, 0.0)], "config", {})
    backed_up(state, {"ledger.sqlite": ledger.connection}, tmp_path / "backup")
    ledger.close()
    restore(tmp_path / "backup", tmp_path / "restored")
    again = Ledger(tmp_path / "restored" / "ledger.sqlite")
    assert again.job(1).slide_id == "S1"
    again.close()


def test_a_backup_goes_nowhere_where_something_is(state, connections, tmp_path):
    (tmp_path / "backup").mkdir()
    with pytest.raises(InputError, match="is there already"):
        backed_up(state, connections, tmp_path / "backup")


def test_a_backup_that_fails_leaves_nothing(state, connections, tmp_path):
    (state / "audit.jsonl").write_text("no json\n")
    with pytest.raises(InputError, match="not of an audit log"):
        backed_up(state, connections, tmp_path / "backup")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_within_a_transaction_none_is_taken(state, connections, tmp_path):
    connections[NAMES[0]].execute("BEGIN")
    with pytest.raises(AssertionError, match="not committed"):
        backup_databases(connections, tmp_path)
    connections[NAMES[0]].execute("ROLLBACK")


def damaged_byte(folder):
    path = folder / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def missing_file(folder):
    (folder / "tokens.json").unlink()


def added_file(folder):
    (folder / "extra.json").write_text("{}")


def linked_file(folder):
    target = folder.parent / "elsewhere"
    (folder / "tokens.json").rename(target)
    (folder / "tokens.json").symlink_to(target)


def cut_audit(folder):
    path = folder / "audit.jsonl"
    path.write_bytes(path.read_bytes()[:-1])


def broken_manifest(folder):
    (folder / "backup.json").write_text("{")


def foreign_name(folder):
    """A name that would lead out of the folder."""
    manifest = json.loads((folder / "backup.json").read_text())
    manifest["files"]["../outside"] = manifest["files"]["tokens.json"]
    (folder / "backup.json").write_text(json.dumps(manifest))


def later_format(folder):
    manifest = json.loads((folder / "backup.json").read_text())
    (folder / "backup.json").write_text(json.dumps({**manifest, "format": 2}))


def no_manifest(folder):
    (folder / "backup.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged_byte, "not as it was backed up"),
        (missing_file, "tokens.json is missing"),
        (added_file, "extra.json is not of the backup"),
        (linked_file, "not as it was backed up"),
        (cut_audit, "not as it was backed up"),
        (broken_manifest, "no manifest"),
        (foreign_name, "outside is missing"),
        (later_format, "format 2"),
        (no_manifest, "cannot be read"),
    ],
)
def test_a_backup_that_is_not_whole_restores_nothing(state, connections, tmp_path, damage, message):
    backed_up(state, connections, tmp_path / "backup")
    damage(tmp_path / "backup")
    with pytest.raises(InputError, match=message):
        verify_backup(tmp_path / "backup")
    with pytest.raises(InputError, match=message):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored").exists() and not list(tmp_path.glob(".*"))


def test_a_database_that_is_none_is_seen_though_its_hash_fits(state, tmp_path):
    def copy(to):
        (to / "ledger.sqlite").write_bytes(b"SQLite format 3\x00" + os.urandom(5000))

    with pytest.raises(InputError, match="no sound database"):
        write_backup(state, copy, tmp_path / "backup", False)


def test_a_state_that_is_there_is_never_written_over(state, connections, tmp_path):
    backed_up(state, connections, tmp_path / "backup")
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    with pytest.raises(InputError, match="there is a state already"):
        restore(tmp_path / "backup", state)
    assert {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()} == before
    empty = tmp_path / "empty"
    empty.mkdir()
    restore(tmp_path / "backup", empty)
    assert (empty / "ledger.sqlite").is_file()


def result(slide_id, key, status="not_reportable"):
    """A result as far as its key goes."""
    return SlideResult(
        research_use_only="", result_key=key, slide_id=slide_id, class_level="patient", duplicate_of="", status=status,
        risk_class="", borderline=False, reason="", code="", stage="", development_slide="", quality=(), checks=(),
        eligibility=None, ensemble_id="", settings={}, overrides={}, outline_sha256="", outline_who="", outline_when="",
        batches_halved=0, scores={}, slide=None,
    )  # fmt: skip


def put(out, bundle, slide_id, key, status="not_reportable"):
    folder = out / bundle / "slides" / folder_name(slide_id)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(result_text(result(slide_id, key, status)))


def test_results_and_ledger_are_held_against_each_other(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enrol([NewJob(name, f"/s/{name}", "x", {}, 0.0) for name in ("both", "lost", "twin", "a/b")], "config", {})
    for job in ledger.lease("config", 9, alone=True):
        key = "key-both" if job.slide_id == "twin" else f"key-{job.slide_id}"
        assert ledger.commit(job, DONE, key, "", "" if job.slide_id == "twin" else "{}", lambda: None)
    ledger.close()
    out = tmp_path / "out"
    for slide_id, key in {"both": "key-both", "twin": "key-both", "a/b": "key-a/b", "newer": "key-newer"}.items():
        put(out, "colon", slide_id, key)
    put(out, "colon", "failed", "", "failed")
    (out / "colon" / "slides" / ".1-2.staging").mkdir()
    (out / "rectum" / "slides" / "torn").mkdir(parents=True)
    (out / "rectum" / "slides" / "torn" / "result.json").write_text("{")
    before = (tmp_path / "ledger.sqlite").read_bytes()
    found = reconcile_listing(out, tmp_path / "ledger.sqlite")
    assert [(one.bundle, one.slide_id, one.key) for one in found.unknown] == [("colon", "newer", "key-newer")]
    assert [(one.slide_id, one.key) for one in found.missing] == [("lost", "key-lost")]
    assert found.unreadable == ("rectum/slides/torn",)
    assert reconcile_listing(out, tmp_path / "ledger.sqlite", ["config"]) == found
    assert reconcile_listing(out, tmp_path / "ledger.sqlite", ["another"]).missing == ()
    assert (tmp_path / "ledger.sqlite").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.sqlite", "out"], "nothing is made beside it"


def test_a_ledger_that_a_crash_left_within_a_transaction_is_not_read_as_if_it_were_whole(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.connection.execute("PRAGMA cache_size=1")
    ledger.connection.execute("BEGIN")
    many = [(f"S{n}", "x" * 500) for n in range(200)]
    ledger.connection.executemany(
        "INSERT INTO jobs (slide_id, config, path, source, request, state, updated_at, result_key)"
        " VALUES (?, 'c', ?, '', '{}', 'done', '', 'key')",
        many,
    )
    (tmp_path / "crashed").mkdir()
    for name in ("ledger.sqlite", "ledger.sqlite-journal"):  # as they lie on the disk now
        (tmp_path / "crashed" / name).write_bytes((tmp_path / name).read_bytes())
    ledger.connection.execute("ROLLBACK")
    ledger.close()
    before = (tmp_path / "crashed" / "ledger.sqlite").read_bytes()
    with pytest.raises(InputError, match="start and stop that once"):
        reconcile_listing(tmp_path, tmp_path / "crashed" / "ledger.sqlite")
    assert (tmp_path / "crashed" / "ledger.sqlite").read_bytes() == before
    Ledger(tmp_path / "crashed" / "ledger.sqlite").close()
    assert reconcile_listing(tmp_path, tmp_path / "crashed" / "ledger.sqlite").missing == ()


def test_a_ledger_that_is_none_is_said(tmp_path):
    for name in ("none.sqlite", "text.sqlite"):
        if name.startswith("text"):
            (tmp_path / name).write_text("no database, but text of some length")
        with pytest.raises(InputError, match="no ledger that can be read"):
            reconcile_listing(tmp_path, tmp_path / name)
