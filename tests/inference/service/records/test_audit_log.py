"""The audit log: known bytes, every kind of tampering found, crashes told, several processes in one chain."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pathoprog.inference.service.records import audit_log
from pathoprog.inference.service.records.audit_check import verify
from pathoprog.inference.service.records.audit_lines import (
    Action,
    AuditError,
    BrokenLogError,
    Head,
    line_of,
    parsed_head,
)
from pathoprog.inference.service.records.audit_log import AuditLog, head

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
LINES = 9


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "state" / "audit.jsonl", lambda: NOON)


def filled(path: Path, lines: int = LINES) -> list[bytes]:
    """A log of this many lines; their bytes, each with its end."""
    log = AuditLog(path, lambda: NOON)
    for n in range(lines - 1):
        log.append("ada", "viewer", Action.RESULT_VIEWED, f"S{n:020x}", page=n)
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def lines(log):
    return filled(log.path)


def test_a_line_is_known_bytes_and_its_hash_that_of_any_sha256_program(log, monkeypatch):
    monkeypatch.setattr(audit_log.secrets, "token_hex", lambda count: "ab" * count)
    last = log.append("ada", "admin", Action.RELEASE, "colon-2", reason="as agreed on 1 December", slides=12)
    first, second = log.path.read_text().splitlines()
    begun = (
        '{"action":"log_started","at":"2026-12-01T12:00:00+00:00","detail":{},"prev":"' + "0" * 64 + '","role":"",'
        '"seq":1,"subject":"' + "ab" * 16 + '","who":"audit log"}'
    )
    own = hashlib.sha256(begun.encode()).hexdigest()
    assert own == "7737aad5259127b436005a061cef8852071551ab60705ca9d04b55c0499bb890"
    assert first == begun.replace('"prev"', f'"hash":"{own}","prev"')
    said = (
        '{"action":"release","at":"2026-12-01T12:00:00+00:00","detail":{"reason":"as agreed on 1 December",'
        '"slides":12},"prev":"' + own + '","role":"admin","seq":2,"subject":"colon-2","who":"ada"}'
    )
    assert last == Head(2, hashlib.sha256(said.encode()).hexdigest()) == head(log.path)
    assert last.hash == "1049e72fc969731fd27073b5d2a747ded6761322d3a10e06d48581f69a8d56ff"
    assert second == said.replace('"prev"', f'"hash":"{last.hash}","prev"')
    assert str(last) == f"2:{last.hash}" and parsed_head(str(last)) == last
    assert log.path.stat().st_mode & 0o777 == 0o600 and log.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_whole_log_says_its_lines_and_its_head(log, lines):
    report = verify(log.path)
    assert (report.whole, report.lines, report.broken_line, report.reason, report.torn) == (True, LINES, 0, "", ())
    assert report.head == head(log.path) and report.head.seq == LINES
    assert verify(log.path, str(report.head)).whole
    middle = json.loads(lines[4])
    assert verify(log.path, f"5:{middle['hash']}").whole


def test_two_logs_have_no_line_in_common(tmp_path):
    assert not set(filled(tmp_path / "a")) & set(filled(tmp_path / "b"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("whole") / "audit.jsonl")


@given(data=st.data())
def test_any_changed_byte_is_found_in_its_line(tmp_path_factory, whole, data):
    path = tmp_path_factory.getbasetemp() / "changed.jsonl"
    number = data.draw(st.integers(1, LINES))
    line = bytearray(whole[number - 1])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))
    path.write_bytes(b"".join([*whole[: number - 1], bytes(line), *whole[number:]]))
    report = verify(path)
    assert not report.whole and report.broken_line == number and report.lines == number - 1


def tampered(lines: list[bytes], how: str) -> tuple[list[bytes], int]:
    """Lines after a change that keeps each line whole, and the line that must be named."""
    if how == "removed":
        return [*lines[:3], *lines[4:]], 4
    if how == "first removed":
        return lines[1:], 1
    if how == "inserted again":
        return [*lines[:4], lines[2], *lines[4:]], 5
    if how == "exchanged":
        return [*lines[:2], lines[3], lines[2], *lines[4:]], 3
    if how == "empty line":
        return [*lines[:5], b"\n", *lines[5:]], 6
    if how == "white space":
        return [*lines[:5], lines[5].replace(b'","', b'", "', 1), *lines[6:]], 6
    if how == "written anew":  # with a hash of its own, as who can compute one would
        entry = json.loads(lines[5])
        del entry["hash"]
        return [*lines[:5], line_of(entry | {"who": "eve"})[0], *lines[6:]], 7
    assert how == "begun twice"
    entry = json.loads(lines[0]) | {"seq": 4, "prev": json.loads(lines[2])["hash"]}
    del entry["hash"]
    return [*lines[:3], line_of(entry)[0]], 4


@pytest.mark.parametrize(
    "how",
    ["removed", "first removed", "inserted again", "exchanged", "empty line", "white space", "written anew",
     "begun twice"],
)  # fmt: skip
def test_lines_removed_inserted_moved_or_rewritten_are_found(log, lines, how):
    changed, named = tampered(lines, how)
    log.path.write_bytes(b"".join(changed))
    report = verify(log.path)
    assert not report.whole and (report.broken_line, report.lines) == (named, named - 1), report.reason


def test_a_log_that_was_cut_shows_with_a_head_that_was_noted(log, lines):
    known = str(head(log.path))
    for left in range(1, LINES):
        log.path.write_bytes(b"".join(lines[:left]))
        assert verify(log.path).whole, "a chain alone cannot show it"
        report = verify(log.path, known)
        assert not report.whole and report.broken_line == left + 1 and "was cut" in report.reason
    log.path.write_bytes(b"")
    report = verify(log.path)
    assert not report.whole and report.reason == "there is no line" and report.head is None


def test_a_log_made_anew_shows_with_a_head_that_was_noted(log, lines):
    known = str(head(log.path))
    log.path.unlink()
    filled(log.path, LINES + 3)
    report = verify(log.path, known)
    assert not report.whole and report.broken_line == LINES and "made anew" in report.reason


@pytest.mark.parametrize("text", ["", "x", "0:" + "0" * 64, "1:" + "0" * 63, "-1:" + "0" * 64, "1:" + "G" * 64, "1"])
def test_what_is_no_head_is_refused(text):
    with pytest.raises(AuditError, match="no head of an audit log"):
        parsed_head(text)


def test_a_torn_line_is_told_before_and_after_the_next_one_wherever_it_was_torn(log, lines):
    kept = b"".join(lines[:-1])
    for cut in range(1, len(lines[-1])):
        torn = lines[-1][:cut]
        log.path.write_bytes(kept + torn)
        report = verify(log.path)
        assert not report.whole and report.broken_line == LINES and "unfinished" in report.reason
        with pytest.raises(BrokenLogError, match="unfinished"):
            head(log.path)
        last = log.append("ada", "viewer", Action.LOGOUT, "")
        report = verify(log.path, str(last))
        assert report.whole and report.torn == (LINES,) and report.lines == LINES + 1
        told = json.loads(log.path.read_bytes().splitlines()[-2])
        assert told["action"] == "torn" and told["detail"] == {
            "bytes": cut, "sha256": hashlib.sha256(torn).hexdigest(),
        }  # fmt: skip
        assert log.path.read_bytes().startswith(kept)


def test_a_first_line_that_was_torn_is_begun_again(log):
    first = filled(log.path)[0]
    for cut in (1, 5, 30, len(first) - 1):
        log.path.write_bytes(first[:cut])
        log.append("ada", "viewer", Action.LOGIN, "")
        report = verify(log.path)
        assert report.whole and report.lines == 2


@pytest.mark.parametrize("content", [b"a letter", b"\x00" * 500, b"x" * 100_000])
def test_a_file_that_is_no_log_is_left_as_it_is(log, content):
    log.path.parent.mkdir()
    log.path.write_bytes(content)
    log.path.chmod(0o600)
    with pytest.raises(BrokenLogError):
        log.append("ada", "viewer", Action.LOGIN, "")
    assert log.path.read_bytes() == content
    assert not verify(log.path).whole


def test_nothing_is_added_to_a_last_line_that_was_changed(log, lines):
    changed = b"".join([*lines[:-1], lines[-1].replace(b"ada", b"eve")])
    for tail in (b"", b'{"act'):
        log.path.write_bytes(changed + tail)
        with pytest.raises(BrokenLogError, match=r"last line was changed.*audit verify"):
            log.append("ada", "viewer", Action.LOGIN, "")
        assert log.path.read_bytes() == changed + tail
    log.path.write_bytes(changed)
    with pytest.raises(BrokenLogError):
        head(log.path)


def test_a_full_disk_leaves_the_log_whole_and_the_next_line_follows(log, lines, monkeypatch):
    before = log.path.read_bytes()
    write = os.write
    for room in (0, 1, 100):
        left = [room]

        def fills(handle: int, data: bytes, left: list[int] = left) -> int:
            if left[0] == 0:
                raise OSError(28, "No space left on device")
            taken, left[0] = left[0], 0
            return write(handle, data[:taken])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fills)
            with pytest.raises(AuditError, match=r"cannot be written \(No space left on device\)"):
                log.append("ada", "viewer", Action.LOGIN, "")
        assert log.path.read_bytes() == before
    log.append("ada", "viewer", Action.LOGIN, "")
    assert verify(log.path).whole and verify(log.path).torn == ()


def test_a_line_that_is_not_on_the_disk_is_no_line(log, lines, monkeypatch):
    before = log.path.read_bytes()

    def fails(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(AuditError, match="Input/output error"):
        log.append("ada", "viewer", Action.LOGIN, "")
    assert log.path.read_bytes() == before


def test_a_disk_that_can_neither_write_nor_cut_leaves_what_the_next_append_tells(log, lines, monkeypatch):
    write = os.write

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def half(handle: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", fails)
        return write(handle, data[:50])

    monkeypatch.setattr(os, "write", half)
    monkeypatch.setattr(os, "ftruncate", fails)
    with pytest.raises(AuditError):
        log.append("ada", "viewer", Action.LOGIN, "")
    monkeypatch.undo()
    log.append("ada", "viewer", Action.LOGIN, "")
    report = verify(log.path)
    assert report.whole and report.torn == (LINES + 1,)


PROGRAM = """
import sys
from pathlib import Path
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]))
sys.stdin.read(1)
for n in range(200):
    log.append(sys.argv[2], "viewer", Action.RESULT_VIEWED, f"S{n}")
"""


def test_two_processes_at_once_write_one_chain(log):
    line = [sys.executable, "-c", PROGRAM, str(log.path)]
    both = [subprocess.Popen([*line, name], stdin=subprocess.PIPE) for name in ("a", "b")]
    for process in both:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(120) for process in both] == [0, 0]
    report = verify(log.path)
    assert report.whole and report.lines == 401 and report.torn == ()
    entries = [json.loads(line) for line in log.path.read_text().splitlines()]
    for name in "ab":
        assert [entry["subject"] for entry in entries if entry["who"] == name] == [f"S{n}" for n in range(200)]


def test_a_process_killed_while_it_writes_breaks_nothing(log):
    line = [sys.executable, "-c", PROGRAM.replace("200", "100000"), str(log.path)]
    for name in ("a", "b", "c"):
        with subprocess.Popen([*line, name], stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.close()
            while not (log.path.exists() and f'"who":"{name}"'.encode() in log.path.read_bytes()):
                assert process.poll() is None
            process.kill()
        last = log.append("service", "", Action.SERVICE_STARTED, "")
        assert verify(log.path, str(last)).whole


def test_threads_write_one_chain(log):
    def work(name: str) -> None:
        for n in range(50):
            log.append(name, "viewer", Action.RESULT_VIEWED, f"S{n}")

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(log.path).whole and verify(log.path).lines == 201


def test_a_log_moved_away_while_it_is_waited_for_is_not_written_to(log, lines, monkeypatch):
    import fcntl

    real, moved = fcntl.flock, log.path.with_name("moved.jsonl")

    def moving(handle: int, how: int) -> None:
        if not moved.exists():
            log.path.rename(moved)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", moving)
    log.append("ada", "viewer", Action.LOGIN, "")
    assert moved.read_bytes() == b"".join(lines) and verify(log.path).lines == 2


@pytest.mark.parametrize("bad", ["a/b", "\\\\server\\share", "a\nb", "a\x1b[2J", "\u202eabc", "x" * 301, "\udcff"])
def test_what_is_no_id_is_refused_as_subject_and_as_who(log, bad):
    for who, role, subject in (("ada", "viewer", bad), (bad, "viewer", "S1"), ("ada", bad, "S1")):
        with pytest.raises(AuditError, match=r"not put on record: .* is no id") as caught:
            log.append(who, role, Action.RESULT_VIEWED, subject)
        assert "/" not in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert not log.path.exists()


def test_details_are_numbers_and_short_texts_without_paths(log):
    log.append("ada", "admin", Action.RELEASE, "b", reason="see /data/H26-004711/S1.svs\nnow", n=1, share=0.5, on=True,
               none=None, long="y" * 5000)  # fmt: skip
    detail = json.loads(log.path.read_text().splitlines()[1])["detail"]
    assert detail["reason"] == "see …\\x0anow" and len(detail["long"]) == 1000
    assert (detail["n"], detail["share"], detail["on"], detail["none"]) == (1, 0.5, True, None)
    for message, value in {"x is a list": ["a"], "x is a bytes": b"a", "not put on record": float("nan")}.items():
        with pytest.raises(AuditError, match=message):
            log.append("ada", "admin", Action.RELEASE, "b", x=value)
    with pytest.raises(AuditError, match="a line has 16384 at most"):
        log.append("ada", "admin", Action.RELEASE, "b", **{f"k{n}": "å" * 900 for n in range(9)})
    assert verify(log.path).lines == 2


@example({"who": "eve", "role": "admin", "self": 1})
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200) | st.integers() | st.booleans(), max_size=5))
def test_any_detail_is_one_line_of_a_whole_chain(tmp_path_factory, detail):
    path = tmp_path_factory.getbasetemp() / "details.jsonl"
    AuditLog(path).append("ada", "viewer", Action.OVERRIDE, "S1", **detail)
    report = verify(path)
    assert report.whole and report.lines == path.read_bytes().count(b"\n")


def test_a_log_that_others_may_change_or_that_is_not_there_is_refused(log, lines):
    log.path.chmod(0o620)
    with pytest.raises(AuditError, match=r"others may change the audit log; `chmod 600`"):
        log.append("ada", "viewer", Action.LOGIN, "")
    for call in (verify, head):
        with pytest.raises(AuditError, match="cannot be read"):
            call(log.path.with_name("none.jsonl"))
    with pytest.raises(AuditError, match="cannot be written"):
        AuditLog(log.path / "below" / "audit.jsonl").append("ada", "viewer", Action.LOGIN, "")
