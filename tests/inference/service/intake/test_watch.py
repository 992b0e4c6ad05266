"""The process that looks: it goes on after it was killed, and a share that hangs hangs no caller."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from house import ROOT
from watching import put

from pathoprog.errors import ConfigError
from pathoprog.inference.service.intake.intake_config import WatchSettings
from pathoprog.inference.service.intake.watch import FolderWatch
from pathoprog.inference.service.intake.watch_records import SHARE_LOST, SHARE_RETURNED


def settings(folder, **more):
    return WatchSettings(folder=str(folder), route="colon", settle_s=0, **more)


def test_rounds_in_the_other_process(tmp_path):
    put(tmp_path / "a.svs")
    put(tmp_path / "=cmd.svs")
    with FolderWatch(settings(tmp_path), {}) as watch:
        seen = watch.round()
        assert [slide.path for slide in seen.ready] == [str(tmp_path / "a.svs")] and len(seen.faults) == 1
        assert seen.seconds > 0 and seen.n_files == 2
        again = watch.round()
        assert not again.ready and not again.faults
        known = dict(watch.taken)
    with FolderWatch(settings(tmp_path), known) as watch:
        assert not watch.round().ready


def test_the_clock_given_decides_what_stands_still(tmp_path):
    put(tmp_path / "a.svs")
    now = [0.0]
    rule = WatchSettings(folder=str(tmp_path), route="colon", settle_s=3600)
    with FolderWatch(rule, {}, clock=lambda: now[0]) as watch:
        assert not watch.round().ready
        now[0] = 1800
        assert not watch.round().ready
        now[0] = 3700
        assert len(watch.round().ready) == 1


@pytest.mark.parametrize("inodes", [True, False])
def test_inodes_count_unless_the_settings_say_otherwise(tmp_path, inodes):
    for name in ("a.svs", "b.svs", "c.svs"):
        put(tmp_path / name)
    with FolderWatch(settings(tmp_path, inodes=inodes), {}) as watch:
        assert len(watch.round().ready) == 3
        shutil.copy2(tmp_path / "a.svs", tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "a.svs")
        assert [slide.path for slide in watch.round().changed] == [str(tmp_path / "a.svs")] * inodes


def test_a_killed_process_forgets_nothing_and_says_nothing_twice(tmp_path):
    put(tmp_path / "a.svs")
    put(tmp_path / "=cmd.svs")
    with FolderWatch(settings(tmp_path), {}) as watch:
        watch.round()
        os.kill(watch.pid, signal.SIGKILL)
        time.sleep(0.1)
        put(tmp_path / "b.svs")
        found = [watch.round() for _ in range(2)]
    assert [slide.path for seen in found for slide in seen.ready] == [str(tmp_path / "b.svs")]
    assert not [fault for seen in found for fault in seen.faults]
    assert not [event for seen in found for event in seen.events], "the folder was there all the time"


def test_a_share_that_hangs_is_lost_and_found_again_and_the_caller_goes_on(tmp_path, monkeypatch):
    put(tmp_path / "a.svs")
    monkeypatch.setenv("PATHOPROG_FAULT", f"watch:2:hang:{tmp_path.parent / 'marker'}")
    with FolderWatch(settings(tmp_path, silence_s=1.0), {}) as watch:
        assert len(watch.round().ready) == 1
        began = time.monotonic()
        assert watch.start() is None
        assert watch.poll() is None, "asking does not wait: who waited would have found the share lost"
        lost = watch.round()
        assert lost.lost and [event.kind for event in lost.events] == [SHARE_LOST]
        assert time.monotonic() - began < 20
        back = watch.round()
        assert [event.kind for event in back.events] == [SHARE_RETURNED]
        assert not (back.ready or back.changed or back.gone or back.lost)


def test_a_folder_that_is_not_there_is_lost_until_it_is(tmp_path):
    with FolderWatch(settings(tmp_path / "later"), {}) as watch:
        assert [event.kind for event in watch.round().events] == [SHARE_LOST]
        assert watch.round().events == ()
        put(tmp_path / "later" / "a.svs")
        seen = watch.round()
        assert [event.kind for event in seen.events] == [SHARE_RETURNED] and len(seen.ready) == 1


def test_a_defect_is_told_without_names(tmp_path, capfd):
    put(tmp_path / "Nordmann.svs")
    watch = FolderWatch(settings(tmp_path), {})
    with watch:
        watch.slides = "Nordmann"  # no settings: the process that looks fails on it at the first link
        (tmp_path / "link.svs").symlink_to(tmp_path / "Nordmann.svs")
        seen = watch.round()
    assert seen.lost and "failed: AttributeError in finding.py line" in seen.events[0].reason
    captured = capfd.readouterr()
    assert "Nordmann" not in captured.out + captured.err + seen.events[0].reason


def test_the_process_that_looks_ends_with_its_parent(tmp_path):
    program = (
        "import sys, time\n"
        "from pathoprog.inference.service.intake.intake_config import WatchSettings\n"
        "from pathoprog.inference.service.intake.watch import FolderWatch\n"
        "watch = FolderWatch(WatchSettings(folder=sys.argv[1], route='r'), {})\n"
        "watch.round()\n"
        "print(watch.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    until = time.monotonic() + 20
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:  # who started us may not have collected it
            assert time.monotonic() < until
            time.sleep(0.05)


def test_no_child_is_started_beside_one_that_hangs_in_the_system(tmp_path, monkeypatch):
    """A process in such a call does not end when it is killed: here one that only looks so."""
    put(tmp_path / "a.svs")
    with FolderWatch(settings(tmp_path), {}) as watch:
        watch.round()

        class Hanging:
            returncode = None

            def poll(self):
                return None

        watch._child.end()
        watch._child._stuck = Hanging()
        assert watch.round().lost and watch.pid is None
        watch._child._stuck = None
        assert not watch.round().lost


def test_a_folder_is_given_by_its_whole_path():
    with pytest.raises(ConfigError, match="whole path"):
        FolderWatch(settings("incoming"), {})


def test_the_process_that_looks_loads_no_slide_library(tmp_path):
    program = (
        "import sys; import pathoprog.inference.service.intake.watch\n"
        "print([name for name in ('torch', 'openslide', 'tifffile', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
