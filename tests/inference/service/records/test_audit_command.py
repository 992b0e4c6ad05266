"""`pathoprog audit`: exit code 0 whole, 1 broken, 2 wrong call."""

import pytest

from pathoprog import cli
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AuditLog


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "au=dit (1).jsonl"
    for n in range(5):
        AuditLog(path).append("ada", "viewer", Action.RESULT_VIEWED, f"S{n}")
    return path


def test_whole_cut_and_changed(path, capsys):
    assert cli.main(["audit", "head", str(path)]) == 0
    known = capsys.readouterr().out.strip()
    assert known.startswith("6:")
    assert cli.main(["audit", "verify", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path}: whole, 6 lines" in said and f"head: {known}" in said and "noted elsewhere" in said
    assert cli.main(["audit", "verify", str(path), f"head={known}"]) == 0
    assert "noted elsewhere" not in capsys.readouterr().out
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    assert cli.main(["audit", "verify", str(path)]) == 0
    assert cli.main(["audit", "verify", str(path), f"head={known}"]) == 1
    assert "BROKEN at line 5: it is missing: the log was cut" in capsys.readouterr().out
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"ada", b"eve"), *lines[3:]]))
    assert cli.main(["audit", "verify", str(path)]) == 1
    said = capsys.readouterr().out
    assert "BROKEN at line 3: it was changed" in said and "whole lines before it: 2" in said
    path.write_bytes(b"".join(lines)[:-7])
    assert cli.main(["audit", "head", str(path)]) == 1
    assert "unfinished" in capsys.readouterr().out
    AuditLog(path).append("service", "", Action.SERVICE_STARTED, "")
    assert cli.main(["audit", "verify", str(path)]) == 0
    assert "an unfinished line was taken off before line 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify"], "say what to do"),
        (["check", "FILE"], "say what to do"),
        (["verify", "FILE", "FILE"], "say what to do"),
        (["verify", "MISSING"], "cannot be read"),
        (["head", "MISSING"], "cannot be read"),
        (["verify", "FILE", "head=7"], "no head of an audit log"),
        (["head", "FILE", "head=7"], "head=… is for `audit verify`"),
    ],
)
def test_a_wrong_call_is_2(path, capsys, words, message):
    files = {"FILE": str(path), "MISSING": str(path.with_name("none.jsonl"))}
    assert cli.main(["audit", *(files.get(word, word) for word in words)]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.out == ""
