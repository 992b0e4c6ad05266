"""The audit log over several files: one chain, wherever in a rotation a process dies; a missing file is named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from pathoprog import cli
from pathoprog.inference.service.records import audit_parts
from pathoprog.inference.service.records.audit_check import newest, verify
from pathoprog.inference.service.records.audit_lines import Action, AuditError, BrokenLogError, line_of
from pathoprog.inference.service.records.audit_log import AuditLog, head
from pathoprog.inference.service.records.audit_parts import closed_part, closed_parts, parts_now
from pathoprog.inference.service.records.backup import restore, verify_backup, write_backup

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
MOST = 2000
LINES = 26


def log_of(path, most=MOST):
    return AuditLog(path, lambda: NOON, most)


def put(log, n):
    return log.append("ada", "viewer", Action.RESULT_VIEWED, f"S{n}", page=n)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory):
    """A log of four files."""
    path = tmp_path_factory.mktemp("rotated") / "audit.jsonl"
    log, n = log_of(path), 0
    while len(closed_parts(path)) < 3:
        n += 1
        put(log, n)
    put(log, n + 1)
    return path.parent


@pytest.fixture
def path(rotated, tmp_path):
    """A copy of it."""
    shutil.copytree(rotated, tmp_path / "state")
    return tmp_path / "state" / "audit.jsonl"


def part(path, number):
    return closed_part(path, number)


def entries(path):
    return [json.loads(line) for file in (*closed_parts(path).values(), path) for line in file.read_text().splitlines()]


def test_the_chain_runs_over_all_files_and_each_names_the_one_before(path):
    report = verify(path)
    found = entries(path)
    assert report.whole and report.files == 4 and report.lines == len(found) == report.head.seq
    assert [entry["seq"] for entry in found] == list(range(1, len(found) + 1))
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "audit.jsonl", "audit.part000001.jsonl", "audit.part000002.jsonl", "audit.part000003.jsonl",
    ]  # fmt: skip
    for number in (1, 2, 3):
        closed = part(path, number)
        assert closed.stat().st_mode & 0o777 == 0o600 and MOST <= closed.stat().st_size < 2 * MOST
        after = part(path, number + 1) if number < 3 else path
        first = json.loads(after.read_text().splitlines()[0])
        last = json.loads(closed.read_text().splitlines()[-1])
        assert (first["action"], first["subject"], first["detail"]) == (
            "log_continued", closed.name, {"part": number + 1},
        )  # fmt: skip
        assert first["prev"] == last["hash"]
    assert head(path) == report.head


def test_a_noted_head_is_found_in_whichever_file_it_lies(path):
    for entry in entries(path):
        assert verify(path, f"{entry['seq']}:{entry['hash']}").whole
        other = verify(path, f"{entry['seq']}:{'0' * 64}")
        assert not other.whole and other.broken_line == entry["seq"] and "made anew" in other.reason
    known = str(head(path))
    path.unlink()
    cut = verify(path, known)
    assert verify(path).whole, "a chain alone cannot show that its end is gone"
    assert not cut.whole and "was cut" in cut.reason


def test_a_log_of_one_file_goes_on_and_a_writer_without_a_size_closes_none(tmp_path):
    path = tmp_path / "audit.jsonl"
    for n in range(LINES):
        put(AuditLog(path, lambda: NOON), n)
    old = path.read_bytes()
    assert len(old) > 2 * MOST and not closed_parts(path)
    put(log_of(path), LINES)
    assert part(path, 1).read_bytes() == old and verify(path).whole
    put(AuditLog(path, lambda: NOON), LINES + 1)  # as a command beside the service
    assert list(closed_parts(path)) == [1] and verify(path).lines == LINES + 4


@pytest.mark.parametrize("missing", [(1,), (2,), (3,), (1, 2), (1, 2, 3), (2, 3)])
def test_a_missing_file_is_found_and_named(path, missing):
    for number in missing:
        part(path, number).unlink()
    report = verify(path)
    assert not report.whole and report.broken_file == part(path, missing[0]).name and report.line_in_file == 0
    assert all(part(path, number).name in report.reason for number in missing) and "missing" in report.reason
    before = [json.loads(line) for n in range(1, missing[0]) for line in part(path, n).read_text().splitlines()]
    assert report.lines == len(before) and report.broken_line == len(before) + 1
    put(log_of(path), 99)  # what is done now is put on record nevertheless
    assert not verify(path).whole


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("how", ["end", "whole", "within a line"])
def test_a_file_that_was_cut_is_found_and_named(path, number, how):
    lines = part(path, number).read_bytes().splitlines(keepends=True)
    kept = {"end": b"".join(lines[:-2]), "whole": b"", "within a line": b"".join(lines)[:-7]}[how]
    part(path, number).write_bytes(kept)
    report = verify(path)
    name = part(path, number).name
    assert not report.whole
    assert report.broken_file == name and "was cut" in report.reason, report
    assert report.line_in_file == (len(lines) if how == "within a line" else 0)


def test_every_other_change_is_found_in_its_file_and_line(path):
    for number in (1, 2, 3):
        for line in range(len(part(path, number).read_bytes().splitlines())):
            whole = part(path, number).read_bytes()
            lines = whole.splitlines(keepends=True)
            lines[line] = lines[line].replace(b"12:00:00", b"12:00:01")
            part(path, number).write_bytes(b"".join(lines))
            report = verify(path)
            assert (report.broken_file, report.line_in_file) == (part(path, number).name, line + 1)
            part(path, number).write_bytes(whole)
    assert verify(path).whole


def test_files_exchanged_doubled_or_begun_wrongly_are_found(path):
    two, three = part(path, 2).read_bytes(), part(path, 3).read_bytes()
    part(path, 2).write_bytes(three)
    part(path, 3).write_bytes(two)
    report = verify(path)
    assert not report.whole and report.broken_file == part(path, 2).name and "does not begin the file" in report.reason
    part(path, 2).write_bytes(two)
    part(path, 3).write_bytes(three)
    shutil.copy(path, part(path, 4))  # a further file that is none of the log's
    assert not verify(path).whole
    part(path, 4).unlink()
    part(path, 2).write_bytes(b"".join(two.splitlines(keepends=True)[1:]))
    report = verify(path)
    assert not report.whole and (report.broken_file, report.line_in_file) == (part(path, 2).name, 1)
    assert "first line was taken out" in report.reason
    part(path, 2).write_bytes(two)
    first = json.loads(path.read_text().splitlines()[0])
    del first["hash"]
    path.write_bytes(line_of(first | {"detail": {"part": 10**15}})[0])
    report = verify(path)
    assert not report.whole and "…" in report.reason and report.broken_file == part(path, 4).name
    path.write_bytes(line_of(first | {"detail": {}})[0])
    assert not verify(path).whole


def test_a_continued_line_elsewhere_than_at_a_file_s_beginning_is_found(tmp_path):
    log = log_of(tmp_path / "audit.jsonl")
    put(log, 1)
    log.append("eve", "admin", Action.LOG_CONTINUED, "audit.part000001.jsonl", part=2)
    report = verify(log.path)
    assert not report.whole and report.broken_line == 3 and "begins once" in report.reason


def test_the_command_says_the_files_and_names_the_broken_one(path, capsys):
    assert cli.main(["audit", "verify", str(path)]) == 0
    lines = verify(path).lines
    assert f"whole, {lines} lines in 4 files" in capsys.readouterr().out
    known = str(head(path))
    assert cli.main(["audit", "verify", str(path), f"head={known}"]) == 0
    capsys.readouterr()
    changed = part(path, 2).read_text().replace('"who":"ada"', '"who":"eve"', 1)
    part(path, 2).write_text(changed)
    assert cli.main(["audit", "verify", str(path)]) == 1
    assert "(audit.part000002.jsonl line 2): it was changed" in capsys.readouterr().out
    part(path, 2).unlink()
    assert cli.main(["audit", "verify", str(path)]) == 1
    assert "(audit.part000002.jsonl): audit.part000002.jsonl: missing; put it beside" in capsys.readouterr().out


PROGRAM = """
import sys
from pathlib import Path
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]), most_bytes=2000)
for n in range(40):
    log.append(sys.argv[2], "viewer", Action.RESULT_VIEWED, f"S{n}")
"""


@pytest.mark.parametrize("step", range(1, 9), ids=lambda step: f"pass {step}")
def test_a_process_killed_at_any_step_of_a_rotation_leaves_a_log_that_is_whole_and_goes_on(tmp_path, step):
    """Four steps: before the old file's new name, after it, before the new file's first line, after it; twice."""
    path = tmp_path / "state" / "audit.jsonl"
    fault = {"PATHOPROG_FAULT": f"rotate:{step}:kill:{tmp_path / 'happened'}"}
    line = [sys.executable, "-c", PROGRAM, str(path), "ada"]
    died = subprocess.run(line, env={**os.environ, **fault}, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    closed, begun = len(closed_parts(path)), path.exists() and path.stat().st_size > 0
    assert (closed, begun) == ((step + 2) // 4, step % 4 in (0, 1)), "it died where it should"
    report = verify(path)
    assert report.whole and report.torn == () and report.head == head(path)
    last = log_of(path).append("service", "", Action.SERVICE_STARTED, "")
    after = verify(path, str(report.head))
    assert after.whole and after.head == last and last.seq - report.lines in (1, 2)
    done = [entry["subject"] for entry in entries(path) if entry["who"] == "ada"]
    assert done == [f"S{n}" for n in range(len(done))], "nothing that was put on record is lost or there twice"


def test_a_first_line_that_was_cut_by_a_crash_is_begun_again(path):
    lines = path.read_bytes().splitlines(keepends=True)
    for cut in range(len(lines[0])):
        path.write_bytes(lines[0][:cut])
        report = verify(path)
        assert report.whole is (cut == 0) and (cut == 0 or "unfinished" in report.reason)
        if cut:
            with pytest.raises(BrokenLogError, match="unfinished"):
                head(path)
        last = put(log_of(path), 1)
        assert verify(path, str(last)).whole and json.loads(path.read_text().splitlines()[0])["detail"] == {"part": 4}


def test_a_full_disk_at_a_rotation_loses_nothing(path, monkeypatch):
    path.unlink()
    before = verify(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(AuditError, match="No space left"):
            put(log_of(path), 1)
    assert verify(path) == before or verify(path).lines == before.lines
    put(log_of(path), 1)
    assert verify(path).whole and verify(path).lines == before.lines + 2


def test_two_processes_that_close_files_write_one_chain(tmp_path):
    path = tmp_path / "state" / "audit.jsonl"
    both = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(path), name]) for name in ("a", "b")]
    seen = []
    while any(process.poll() is None for process in both):
        if path.exists():
            seen.append(verify(path).reason)  # while they write and close: a log as of one moment
    assert [process.wait(60) for process in both] == [0, 0]
    assert set(seen) <= {"", "there is no line"} or all("unfinished" in one for one in set(seen) - {""}), set(seen)
    report = verify(path)
    assert report.whole and report.files > 3
    for name in "ab":
        assert [one["subject"] for one in entries(path) if one["who"] == name] == [f"S{n}" for n in range(40)]


def test_who_reads_holds_up_nobody_who_appends(path):
    with parts_now(path) as parts:
        appended = threading.Thread(target=put, args=(log_of(path), 1))
        appended.start()
        appended.join(60)
        assert not appended.is_alive()
        assert sum(len(list(one.lines())) for one in parts) == verify(path).lines - 1, "as it was"


def test_closed_files_moved_away_and_back_are_numbered_on(path, tmp_path):
    """Years later: the old files lie on tape, and the log goes on under its own numbers."""
    away = tmp_path / "tape"
    away.mkdir()
    for closed in closed_parts(path).values():
        shutil.move(closed, away)
    log = log_of(path)
    for n in range(LINES):
        put(log, n)
    assert min(closed_parts(path)) == 4 and "audit.part000001.jsonl" in verify(path).reason
    for closed in away.iterdir():
        shutil.move(closed, path.parent)
    assert verify(path).whole


def test_another_file_under_the_next_name_is_never_written_over(path):
    log = log_of(path)
    part(path, 4).write_text("mine\n")
    for n in range(LINES):
        put(log, n)
    assert part(path, 4).read_text() == "mine\n" and part(path, 4).name in verify(path).broken_file
    part(path, 4).unlink()
    assert verify(path).whole


def test_pages_run_back_over_all_files(path):
    known = entries(path)[::-1]
    for limit in (1, 7, 500):
        found, before = [], 0
        while page := newest(path, before, limit).entries:
            found += page
            before = page[-1].seq
            if before == 1:
                break
        assert [(one.seq, one.action, one.detail) for one in found] == [
            (one["seq"], one["action"], one["detail"]) for one in known
        ]
    assert newest(path, 1, 5).entries == () and [one.seq for one in newest(path, 3, 5).entries] == [2, 1]
    part(path, 2).write_text(part(path, 2).read_text().replace('"who":"ada"', '"who":"eve"', 1))
    page = newest(path, 0, 500)
    assert part(path, 2).name in page.fault and page.entries and page.entries[-1].seq > 1
    shutil.rmtree(path.parent)
    with pytest.raises(AuditError, match="cannot be read"):
        newest(path, 0, 5)


def test_a_backup_holds_all_files_of_one_moment_and_restores_them(path, tmp_path, monkeypatch):
    """The log is closed and goes on while it is copied."""
    state, log = path.parent, log_of(path)
    real = audit_parts.LogPart.lines

    def closing(one):
        for n in range(10):
            put(log, n)
        return real(one)

    known = head(path)
    monkeypatch.setattr(audit_parts.LogPart, "lines", closing)
    manifest = write_backup(state, lambda folder: None, tmp_path / "backup", False)
    monkeypatch.undo()
    assert len(closed_parts(path)) > 4 and manifest.audit_head == str(known)
    assert verify_backup(tmp_path / "backup") == manifest
    restore(tmp_path / "backup", tmp_path / "restored")
    copy = tmp_path / "restored" / "audit.jsonl"
    assert verify(copy, str(known)).whole and verify(copy).files == 4 and head(copy) == known
    put(log_of(copy), 1)
    assert verify(copy).whole


def test_a_backup_at_each_step_of_a_rotation_has_the_right_head(path, tmp_path):
    known = []
    for number, content in enumerate((None, b"")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        manifest = write_backup(path.parent, lambda folder: None, tmp_path / str(number), False)
        assert verify_backup(tmp_path / str(number)) == manifest
        known.append(manifest.audit_head)
    assert known == [str(head(path))] * 2


def test_one_closed_file_alone_is_told_from_a_log(path, capsys):
    for action in ("verify", "head"):
        assert cli.main(["audit", action, str(part(path, 2))]) == 2
        assert "one closed file of a log; give audit.jsonl" in capsys.readouterr().err
    shutil.copy(path, path.with_name("audit.20261202.jsonl"))  # somebody's copy is none of its files
    assert verify(path).whole and verify(path).files == 4
