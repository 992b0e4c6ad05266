"""Faults that happen for real: whatever is killed, full, gone or slow, each slide gets exactly one result."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.inference.engine import worker as worker_module
from pathoprog.inference.engine.exchange import run_record
from pathoprog.inference.engine.ledger import Ledger, WriteError
from pathoprog.inference.slides.jobs import NewJob
from pathoprog.scoring import results

NAMES = ("A", "B", "C")
WORKER = worker_module.__name__  # stands in the command of its process
SAY_WHEN = ("run.json", "report.html", "report.pdf")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(NAMES):
        write_pyramid(folder / f"{name}.tif", texture(500, 500, seed=seed, margin=30))
    return folder


def call(bundle, slides, out, *more):
    common = ["stream.workers=1", "stream.batch_tiles=8", "device=cpu", "threads=1", "settle_s=0"]
    return ["score", f"slides={slides}", f"ensemble={bundle}", f"out={out}", *common, *more]


@pytest.fixture
def start():
    """Starts `pathoprog` processes; none of them outlives the test."""
    processes = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job: inherited

    def begin(arguments, **environment):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "pathoprog.cli", *arguments],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return processes[-1]

    yield begin
    signal.signal(signal.SIGINT, before)
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(bundle, slides, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert cli.main(call(bundle, slides, out)) == 0
    return out


def same_results(out, expected):
    """Every result file has the bytes of the undisturbed run, and nothing else lies there."""
    found = sorted(path.relative_to(out) for path in out.glob("slides/**/*"))
    assert found == sorted(path.relative_to(expected) for path in expected.glob("slides/**/*"))
    for path in found:
        if (out / path).is_file() and path.name not in SAY_WHEN:
            assert (out / path).read_bytes() == (expected / path).read_bytes(), path
    for name in ("patients.csv", "members.csv"):
        assert (out / name).read_bytes() == (expected / name).read_bytes()


def rows(out, query="SELECT slide_id, state, attempt FROM jobs ORDER BY slide_id"):
    with closing(sqlite3.connect(out / "ledger.sqlite", timeout=30)) as db:
        return db.execute(query).fetchall()


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def leased(out):
    if not (out / "ledger.sqlite").is_file():
        return False
    with suppress(sqlite3.OperationalError):  # it has no tables yet
        return any(row[1] == "leased" for row in rows(out))
    return False


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("after_reading", marks=pytest.mark.slow),
        pytest.param("after_member", marks=pytest.mark.slow),
        pytest.param("write", marks=pytest.mark.slow),
    ],
)
def test_a_killed_worker_changes_no_byte(bundle, slides, undisturbed, tmp_path, monkeypatch, point):
    marker = tmp_path / "happened"
    monkeypatch.setenv("PATHOPROG_FAULT", f"{point}:2:kill:{marker}")
    assert cli.main(call(bundle, slides, tmp_path / "out")) == 0
    assert marker.exists()
    same_results(tmp_path / "out", undisturbed)
    assert len(rows(tmp_path / "out", "SELECT * FROM results")) == 3


@pytest.mark.parametrize("point", ["before_rename", pytest.param("before_commit", marks=pytest.mark.slow)])
def test_a_killed_engine_changes_no_byte(start, bundle, slides, undisturbed, tmp_path, point):
    out, marker = tmp_path / "out", tmp_path / "happened"
    first = start(call(bundle, slides, out), PATHOPROG_FAULT=f"{point}:2:kill:{marker}")
    first.communicate(timeout=300)
    assert first.returncode == -signal.SIGKILL and marker.exists()
    assert not (out / "results.csv").exists()
    assert cli.main(call(bundle, slides, out)) == 0
    same_results(out, undisturbed)
    assert len(rows(out, "SELECT * FROM results")) == 3


def test_no_write_that_fails_leaves_a_part_of_a_result(tmp_path, monkeypatch):
    files = {"result.json": b"{}", "heatmap.png": b"x", "tiles.parquet": b"y"}
    for n in range(1, 5):
        passed = []

        def full(name, n=n, passed=passed):
            passed.append(name)
            if passed.count("write") == n:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(results, "point", full)
        with pytest.raises(OSError, match="No space"):
            results.stage_slide(tmp_path / "slides", "1-1", files, run_record("cpu", 1, 0.5))
        assert not list((tmp_path / "slides").iterdir()), f"write {n}"
    monkeypatch.undo()
    results.publish_slide(results.stage_slide(tmp_path / "slides", "1-1", files, run_record("cpu", 1, 0.5)), "A")
    assert sorted(path.name for path in (tmp_path / "slides" / "A").iterdir()) == sorted([*files, "run.json"])


def test_a_ledger_on_a_full_disk_commits_nothing(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    jobs = [NewJob("A", "/a.svs", "source", {})]
    ledger.enrol(jobs, "config", ())
    (job,) = ledger.lease("config", 1, alone=True)
    pages = ledger.connection.execute("PRAGMA page_count").fetchone()[0]
    ledger.connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(WriteError, match="full"):
        ledger.commit(job, "done", "key", "", "x" * 100_000, lambda: None)
    ledger.connection.execute("PRAGMA max_page_count=100000")
    assert ledger.unfinished("config") == 1
    assert ledger.commit(job, "done", "key", "", "x" * 100_000, lambda: None)
    ledger.close()


@pytest.mark.parametrize("n", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    bundle, slides, undisturbed, tmp_path, monkeypatch, capsys, n
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setenv("PATHOPROG_FAULT", f"write:{n}:full:{tmp_path / 'happened'}")
        assert cli.main(call(bundle, slides, out)) == 1
    assert "No space left on device" in capsys.readouterr().out
    assert not (out / "results.csv").exists() and not leased(out)
    whole = {path.name for path in (undisturbed / "slides" / "A").iterdir()}
    assert all({path.name for path in folder.iterdir()} == whole for folder in (out / "slides").iterdir())
    assert cli.main(call(bundle, slides, out)) == 0
    same_results(out, undisturbed)


@pytest.mark.slow
def test_two_services_on_one_ledger_share_the_work(start, bundle, slides, undisturbed, tmp_path):
    out = tmp_path / "out"
    services = [start(call(bundle, slides, out)) for _ in range(2)]
    for service in services:
        text, _ = service.communicate(timeout=300)
        assert service.returncode == 0, text
    same_results(out, undisturbed)
    assert [row[1] for row in rows(out)] == ["done"] * 3
    assert len(rows(out, "SELECT * FROM results")) == 3


@pytest.mark.slow
def test_a_slide_that_kills_its_worker_twice_is_failed_until_it_is_requeued(start, bundle, slides, tmp_path):
    out = tmp_path / "out"
    alone = slides / "A.tif"
    service = start(call(bundle, alone, out))
    killed = set()
    while len(killed) < 2:
        wait_for(lambda: service.poll() is None and leased(out))
        for child in psutil.Process(service.pid).children():
            with suppress(psutil.Error):  # one that has just ended
                worker = any(WORKER in part for part in child.cmdline())
                if worker and child.pid not in killed and child.children():  # its readers are there: it is at work
                    child.kill()
                    killed.add(child.pid)
        time.sleep(0.05)
    text, _ = service.communicate(timeout=300)
    assert service.returncode == 1, text
    assert "SIGKILL" in text and rows(out)[0][1] == "failed"
    assert cli.main(call(bundle, alone, out)) == 1, "it stays failed"
    assert cli.main(call(bundle, alone, out, "requeue=true")) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "engine"), [(signal.SIGTERM, 143, "local"), (signal.SIGINT, 130, "local"), (15, 143, "ray")]
)
def test_a_stopped_run_keeps_what_is_done_and_goes_on(start, bundle, tmp_path, number, code, engine):
    folder, out = tmp_path / "slides", tmp_path / "out"
    folder.mkdir()
    for seed in range(8):
        write_pyramid(folder / f"{seed}.tif", texture(500, 500, seed=seed, margin=30))
    service = start(call(bundle, folder, out, f"engine={engine}"))
    wait_for(lambda: leased(out))
    service.send_signal(number)
    text, _ = service.communicate(timeout=300)
    assert service.returncode == code and "what is done is kept" in text, text
    states = [row[1] for row in rows(out)]
    assert "leased" not in states and "waiting" in states
    if number == signal.SIGTERM:
        assert "done" in states, "what is in hand is finished"
    assert cli.main(call(bundle, folder, out)) == 0
    assert [row[1] for row in rows(out)] == ["done"] * 8


@pytest.mark.slow
def test_a_file_still_being_copied_is_not_touched(bundle, slides, tmp_path):
    folder = tmp_path / "share"
    folder.mkdir()
    content = (slides / "A.tif").read_bytes()
    target = folder / "A.tif"
    target.write_bytes(content[:1000])

    def copy():
        with target.open("ab") as stream:
            step = len(content) // 6
            for begin in range(1000, len(content), step):
                time.sleep(0.5)
                stream.write(content[begin : begin + step])
                stream.flush()

    copying = threading.Thread(target=copy)
    copying.start()
    assert cli.main(call(bundle, folder, tmp_path / "out", "settle_s=2")) == 0
    assert not copying.is_alive()
    state, tries, attempts = rows(tmp_path / "out", "SELECT state, tries, attempt FROM jobs")[0]
    assert (state, tries) == ("done", 0) and attempts > 1


@pytest.mark.slow
def test_a_share_that_vanishes_and_returns_is_tried_again(start, bundle, slides, tmp_path):
    folder, away = tmp_path / "share", tmp_path / "away"
    shutil.copytree(slides, folder)
    for name in NAMES:
        os.utime(folder / f"{name}.tif")  # recent: the run begins by waiting
    batch = start(call(bundle, folder, tmp_path / "out", "settle_s=6"))
    wait_for(lambda: (tmp_path / "out" / "ledger.sqlite").is_file() and len(rows(tmp_path / "out")) == 3, 300)
    folder.rename(away)
    wait_for(lambda: any(tries for (tries,) in rows(tmp_path / "out", "SELECT tries FROM jobs")), 300)
    away.rename(folder)
    text, _ = batch.communicate(timeout=300)
    assert batch.returncode == 0 and "A will be tried again: the file is gone" in text, text


def test_tampering_with_a_bundle_is_refused(bundle, slides, tmp_path, capsys):
    for change in ("weights", "threshold", "missing", "extra", "link"):
        copy = tmp_path / change
        shutil.copytree(bundle, copy)
        member = copy / "members" / "40x-1.safetensors"
        if change == "weights":
            member.write_bytes(member.read_bytes()[:-1] + b"\x01")
        elif change == "threshold":
            manifest = copy / "manifest.json"
            manifest.write_text(manifest.read_text().replace('"value": 0.5', '"value": 5.0'))
        elif change == "missing":
            member.unlink()
        elif change == "extra":
            (copy / "members" / "new.pkl").write_bytes(b"x")
        else:
            member.rename(tmp_path / "elsewhere")
            member.symlink_to(tmp_path / "elsewhere")
        assert cli.main(call(copy, slides, tmp_path / "out")) == 2, change
        assert "refused" in capsys.readouterr().err
    assert not Path(tmp_path / "out").exists()
