"""A run's folder is one process's at a time: who is refused, by whom, and that a killed one holds nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch")
from house import ROOT

from pathoprog import cli
from pathoprog.errors import InputError
from pathoprog.training import held_folder
from pathoprog.training.held_folder import LOCK, held, held_to_read, place_held
from pathoprog.training.run_process import HOST, process_tags

HOLDER = """
import sys
from pathoprog.training.held_folder import held
with held(sys.argv[1], "a sweep", shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_folder, "PATIENCE_S", 0.1)


@contextmanager
def holding(folder: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """A process of its own that holds a folder."""
    call = [sys.executable, "-c", HOLDER, str(folder), how]
    with subprocess.Popen(call, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_is_refused_with_who_is_at_work_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "sweep"
    with holding(out) as first:
        pattern = (
            rf"sweep: process {first.pid} on \S+ \(a sweep, since 20.* UTC\) is at work there.* until it has ended"
        )
        with pytest.raises(InputError, match=pattern), held(out, "train_ensemble"):
            pass
        with pytest.raises(InputError, match=rf"process {first.pid} "), held(out, "a task", shared=True):
            pass
        inside = out / "lr=1" / "10x-seed1"
        with (
            pytest.raises(InputError, match=rf"10x-seed1: process {first.pid} .* at work in {out}"),
            held(inside, "train"),
        ):
            pass
        with held(tmp_path / "runs" / "other", "train"):
            pass
        assert not (out / "lr=1").exists() and not (tmp_path / "runs" / "other").exists()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with held(out, "train_ensemble"):
        (out / "config.yaml").touch()
        assert '"what": "train_ensemble"' in (out / LOCK).read_text() and str(first.pid) not in (out / LOCK).read_text()
    assert (out / "config.yaml").is_file() and (out / LOCK).read_text() == ""
    refused = tmp_path / "refused"
    refused.mkdir()
    (refused / "theirs").touch()
    with pytest.raises(ValueError), held(refused, "train"):
        raise ValueError
    assert [path.name for path in refused.iterdir()] == ["theirs"], "a call that is refused touches nothing"


def test_tasks_share_a_sweep_s_folder_and_each_has_its_own_trial_s(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    with holding(sweep, "shared") as first, held(sweep, "a task", shared=True), held(sweep / "lr=1", "a task"):
        both = rf"process {first.pid} .*, process {os.getpid()} .* are at work there.* they have ended"
        with pytest.raises(InputError, match=both), held(sweep, "the whole sweep"):
            pass
        with held(sweep / "lr=2", "another task"):
            pass
        with pytest.raises(InputError, match="lr=1: process"), held(sweep / "lr=1", "the same task again"):
            pass
    with held(sweep, "the whole sweep"), held(sweep / "lr=1", "one of its trials"):
        pass
    assert (sweep / LOCK).read_text() == ""


def test_what_is_read_for_long_stands_still_and_a_bundle_s_place_is_one_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bundle = tmp_path / "candidates", tmp_path / "new" / "bundle"
    folder.mkdir()
    refused = pytest.raises(InputError, match="candidates: process")
    with held_to_read(folder, "ensemble"), held_to_read(folder, "ensemble"), refused, held(folder, "train_ensemble"):
        pass
    with held(folder, "train_ensemble"), pytest.raises(InputError, match="process"), held_to_read(folder, "ensemble"):
        pass
    with place_held(bundle, "ensemble"):
        with pytest.raises(InputError, match=r"bundle: process .* at work there"), place_held(bundle, "ensemble"):
            pass
        bundle.mkdir()
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
    with held(folder, "train_ensemble"):
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # another user's folder, or on a disc
        with held_to_read(folder, "ensemble"):
            pass


def test_a_file_system_without_locks_is_kept_by_who_says_that_he_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(held_folder, "_locked", lambda handle, shared: None)
    with held(tmp_path, "sweep"):
        with pytest.raises(InputError, match=rf"process {os.getpid()} "), held(tmp_path, "train_ensemble"):
            pass
        kept = (tmp_path / LOCK).read_text()
    dead = kept.replace(process_tags()["pathoprog.process_started"], "1.00")
    (tmp_path / LOCK).write_text(dead + "no record\n")
    with held(tmp_path, "train_ensemble"):
        pass
    assert "WARNING" not in (said := capsys.readouterr().err) and "no locks" not in said
    (tmp_path / LOCK).write_text(kept.replace(process_tags()[HOST], "node7"))
    with held(tmp_path, "train_ensemble"):
        pass
    assert "knows no locks" in (said := capsys.readouterr().err) and "on node7 (sweep" in said


CALLS = {
    "train": "data.cohort=x data.outcomes=x data.store=x",
    "train_ensemble": "data.cohort=x data.outcomes=x data.store=x",
    "train_ensemble -m": "data.cohort=x data.outcomes=x data.store=x seed=1,2",
    "train_ensemble -m search.only=1": "data.cohort=x data.outcomes=x data.store=x seed=1,2",
    "cross_validate": "data.cohort=x data.outcomes=x data.store=x",
    "cross_validate -m": "data.cohort=x data.outcomes=x data.store=x seed=1,2",
    "compare": "experiments=domore_v1,cox_mil data.cohort=x data.outcomes=x data.store=x",
    "control": "",
    "segment": "cohort=x",
}


@pytest.mark.parametrize("command", CALLS)
def test_every_command_that_trains_holds_its_folder(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with held(out, "somebody"):
        (out / "theirs").touch()
        assert cli.main([*command.split(), *CALLS[command].split(), f"out={out}"]) == 2
        assert f"out: process {os.getpid()} on " in (said := capsys.readouterr().err), said
        assert {path.name for path in out.iterdir()} == {LOCK, "theirs"}


def test_a_folder_that_somebody_removes_meanwhile_is_held_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock file that was opened may be gone when its lock comes: a lock on it would keep nobody out."""
    out, locked = tmp_path / "out", held_folder._locked
    gone = iter([True])

    def late(handle: int, shared: bool) -> bool | None:
        if next(gone, False):
            (out / LOCK).unlink()
            out.rmdir()
        return locked(handle, shared)

    monkeypatch.setattr(held_folder, "_locked", late)
    start = time.monotonic()
    with held(out, "sweep"), pytest.raises(InputError, match="is at work there"), held(out, "train"):
        pass
    assert time.monotonic() - start < 30
