"""Progress is plain lines in a log and a bar on a terminal."""

import io
import sys

import pytest

from pathoprog.system import console


class Terminal(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_a_log_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("scoring", 3, "slides") as bar:
        bar.advance()
        bar.advance(2, note="S3 failed")
    out = capsys.readouterr().out
    assert out == "    scoring: 3/3 slides, 0 s  S3 failed\n"


def test_a_slow_step_shows_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress("scoring", 10, "slides") as bar:
        for _ in range(4):
            now[0] += 6.0
            bar.advance()
    assert capsys.readouterr().out.splitlines() == [
        "    scoring: 2/10 slides, 12 s, 48 s left",
        "    scoring: 4/10 slides, 24 s, 36 s left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("scoring", 2, "slides") as bar:
        bar.advance(note="S1 done")
        bar.advance()
        bar.show()
    assert "scoring" in terminal.getvalue() and "2/2" in terminal.getvalue() and "S1 done" in terminal.getvalue()


def test_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("done")
    console.warn("no GPU")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("done\n", "warning: no GPU\n")


def test_a_log_that_cannot_hold_a_name_gets_it_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    console.say("Prøve 病: scored")
    assert written.getvalue() == "Prøve \\u75c5: scored\n".encode("latin-1")
