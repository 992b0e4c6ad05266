"""What the page reads from the audit log: sightings and releases, as they are added."""

from pathoprog.inference.service.page.audit_reader import SEEN, AuditReader
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AuditLog


def see(log, who, mark="m", shadow=False, submission="s1"):
    detail = {"submission": submission, "bundle": "colon", "mark": mark, "shadow": shadow, SEEN: True}
    log.append(who, "viewer", Action.RESULT_VIEWED, "S", **detail)


def names(reader, mark="m", shadow=False):
    reader.refresh()
    return [one.who for one in reader.seen("s1", "colon", mark, shadow)]


def test_each_reader_counts_once_and_only_for_the_result_that_there_is(tmp_path):
    log, reader = AuditLog(tmp_path / "audit.jsonl"), AuditReader(tmp_path / "audit.jsonl")
    assert names(reader) == [], "no log yet"
    see(log, "ada")
    log.append("lis", "viewer", Action.RESULT_VIEWED, "S", submission="s1", bundle="colon")
    assert names(reader) == ["ada"], "what a system fetches is seen by nobody"
    see(log, "ada")
    see(log, "bo")
    see(log, "eva", shadow=True)
    see(log, "cy", submission="s2")
    assert names(reader) == ["ada", "bo"]
    assert names(reader, shadow=True) == ["eva"] and names(reader, mark="other") == []


def test_releases_are_told_by_whom(tmp_path):
    log, reader = AuditLog(tmp_path / "audit.jsonl"), AuditReader(tmp_path / "audit.jsonl")
    log.append("root", "admin", Action.RELEASE, "colon", shadow=False)
    log.append("root", "admin", Action.RELEASE, "colon", shadow=True)
    reader.refresh()
    assert [(one.who, one.released) for one in reader.releases("colon")] == [("root", True), ("root", False)]
    assert reader.releases("other") == []


def test_a_line_that_is_being_written_waits_and_a_log_that_was_moved_is_read_anew(tmp_path):
    path = tmp_path / "audit.jsonl"
    log, reader = AuditLog(path), AuditReader(path)
    see(log, "ada")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert names(reader) == []
    path.write_bytes(whole)
    assert names(reader) == ["ada"]
    path.rename(tmp_path / "old.jsonl")
    assert names(reader) == []
    see(log, "bo")
    assert names(reader) == ["bo"]


def test_a_log_that_is_closed_and_goes_on_is_one_log(tmp_path):
    path = tmp_path / "audit.jsonl"
    log, reader = AuditLog(path, most_bytes=1500), AuditReader(path)
    people = [f"p{number}" for number in range(30)]
    for place, who in enumerate(people):
        see(log, who)
        if place % 7 == 0:
            assert names(reader) == people[: place + 1], "while it grows, each line once"
    assert len(list(tmp_path.glob("audit.part*.jsonl"))) > 3
    assert names(reader) == people
    assert names(AuditReader(path)) == people, "and after a start, from all its files"
    reader.refresh()
    assert len(reader._seen["s1", "colon"]) == len(people)


def test_a_line_that_is_not_whole_is_left_to_the_check_of_the_log(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text('{"seen":true}\n{"action":"release","detail":3}\nnothing "seen":true\n')
    assert names(AuditReader(path)) == []
