"""The service's log: JSON lines for their owner alone, rotated; a path or a case's number does not get in."""

import errno
import json
import os
import sqlite3
import threading
from datetime import UTC, datetime

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.service.outbound.log_lines import LogLevel, ServiceLog, why
from pathoprog.inference.service.outbound.outbound_config import LogSettings

CASE = "B23-12345 Nordmann Kari"


def noon():
    return datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    made = ServiceLog(tmp_path / "service.log", LogSettings(), now=noon)
    yield made
    made.close()


def lines(log):
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def test_a_record_is_one_json_line(log):
    log.write(LogLevel.INFO, "a slide\nis done", submission="s-é", seq=7)
    log.write(LogLevel.ERROR, "gone")
    assert lines(log) == [
        {"at": "2026-12-01T12:00:00.000+00:00", "level": "info", "what": r"a slide\x0ais done", "submission": "s-é",
         "seq": 7},
        {"at": "2026-12-01T12:00:00.000+00:00", "level": "error", "what": "gone"},
    ]  # fmt: skip


def test_it_is_its_owner_s_alone_even_if_it_was_not(tmp_path):
    path = tmp_path / "service.log"
    path.touch(mode=0o644)
    path.chmod(0o644)
    log = ServiceLog(path, LogSettings())
    log.write(LogLevel.INFO, "started")
    log.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_case_number_gets_in(log):
    """Errors name files, and files are named by cases: their words are `why`'s."""
    path = f"/scans/{CASE}/{CASE}.svs"
    errors = [
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), path),
        OSError(f"{path}: odd"),
        InputError(f"{path}: truncated"),
        ValueError(CASE),
        KeyError(path),
        sqlite3.OperationalError("database or disk is full"),
    ]
    for error in errors:
        log.write(LogLevel.WARNING, f"a slide cannot be read ({why(error)})", submission="s-1")
    text = log.path.read_text()
    assert not any(word in text for word in (*CASE.split(), "scans", ".svs"))
    assert "No such file or directory" in text and "database or disk is full" in text and "InputError" in text


def test_an_absolute_path_is_taken_out(log):
    log.write(LogLevel.INFO, "cannot open /scans/B23-12345.svs and C:\\scans\\B23-12345.svs")
    assert lines(log)[0]["what"] == "cannot open … and …"


def test_a_field_that_there_is_not_is_a_defect(log):
    for field in ("path", "slide_id", "patient_id"):
        with pytest.raises(AssertionError, match="no field"):
            log.write(LogLevel.INFO, "read", **{field: "S1"})


def test_it_is_rotated_by_size_and_old_files_go(tmp_path):
    log = ServiceLog(tmp_path / "service.log", LogSettings(most_mib=0.01, kept_files=3))
    for n in range(1000):
        log.write(LogLevel.INFO, "x" * 200, n=n)
    log.close()
    names = ["service.log", "service.log.1", "service.log.2", "service.log.3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    numbers = []
    for name in reversed(names):
        file = tmp_path / name
        assert file.stat().st_mode & 0o777 == 0o600 and file.stat().st_size < 0.01 * (1 << 20) + 400
        numbers += [json.loads(line)["n"] for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 1000)), "nothing is lost between the files"


def test_a_restart_adds_to_the_file_and_rotates_a_full_one(tmp_path):
    for n in range(3):
        log = ServiceLog(tmp_path / "service.log", LogSettings())
        log.write(LogLevel.INFO, "started", n=n)
        log.close()
    assert [one["n"] for one in lines(log)] == [0, 1, 2]
    (tmp_path / "service.log").write_text("x" * (1 << 20) + "\n")
    log = ServiceLog(tmp_path / "service.log", LogSettings(most_mib=1.0))
    log.write(LogLevel.INFO, "started", n=3)
    log.close()
    assert [one["n"] for one in lines(log)] == [3]


def test_a_full_disk_loses_lines_and_says_how_many(log, monkeypatch, capsys):
    write = os.write

    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    log.write(LogLevel.INFO, "before")
    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        log.write(LogLevel.INFO, "lost")
    monkeypatch.setattr(os, "write", write)
    log.write(LogLevel.INFO, "after")
    assert [one["what"] for one in lines(log)] == ["before", "records before this could not be written", "after"]
    assert lines(log)[1]["n"] == 3
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_a_link_in_its_place_is_not_followed(tmp_path, capsys):
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / "service.log").symlink_to(other)
    log = ServiceLog(tmp_path / "service.log", LogSettings())
    log.write(LogLevel.INFO, "started")
    log.close()
    assert other.read_text() == "kept" and "cannot be written" in capsys.readouterr().err


def test_threads_write_whole_lines(log):
    def work(worker):
        for n in range(100):
            log.write(LogLevel.INFO, "y" * 300, worker=worker, n=n)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lines(log)
    assert len(found) == 800
    for worker in range(8):
        assert [one["n"] for one in found if one["worker"] == worker] == list(range(100))
