"""What runs out, hangs, or is made to harm: a full file system, a silent worker, bombs; and files that change."""

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.ensemble.bundle import SIGNATURE, verify
from pathoprog.errors import BundleError
from pathoprog.inference.engine import engine
from pathoprog.inference.engine import transport as crew
from pathoprog.inference.engine.transport import LocalCrew
from pathoprog.slides.identity import is_recent
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, TileStream
from pathoprog.tiles.grid import standard_spec

SIZE = 64


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate("AB"):
        write_pyramid(folder / f"{name}.tif", texture(500, 500, seed=seed, margin=30))
    return folder


def call(bundle, slides, out, *more):
    common = ["stream.workers=1", "device=cpu", "threads=1", "settle_s=0"]
    return ["score", f"slides={slides}", f"ensemble={bundle}", f"out={out}", *common, *more]


def results(out):
    return {path.parent.name: path.read_bytes() for path in sorted(Path(out).glob("slides/*/result.json"))}


@pytest.fixture(scope="module")
def undisturbed(bundle, slides, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert cli.main(call(bundle, slides, out)) == 0
    return results(out)


def can_mount():
    script = ["unshare", "--mount", "--map-root-user", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    return shutil.which("unshare") and subprocess.run(script, capture_output=True, check=False).returncode == 0


class Stillborn(LocalCrew):
    """Its first `left` workers are killed as they start."""

    left = 0

    def start(self):
        line = super().start()
        if type(self).left:
            type(self).left -= 1
            line.process.kill()
        return line


@pytest.mark.parametrize(
    ("left", "workers", "code", "said"),
    [
        pytest.param(2, 1, 0, "started again: DIED", id="again", marks=pytest.mark.slow),
        pytest.param(3, 1, 2, "DIED, 3 times", id="never"),
        pytest.param(5, 2, 0, "going on with 1 of 2 workers: DIED, 3 times", id="one of two", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_dies_as_it_starts_costs_no_slide(
    bundle, slides, undisturbed, tmp_path, monkeypatch, capsys, left, workers, code, said
):
    monkeypatch.setattr(Stillborn, "left", left)
    monkeypatch.setattr(crew, "LocalCrew", Stillborn)
    out = tmp_path / "out"
    assert cli.main(call(bundle, slides, out, f"workers={workers}")) == code
    died = "the worker on cpu died before it was ready (signal SIGKILL)"
    assert said.replace("DIED", died) in capsys.readouterr().err
    with closing(sqlite3.connect(out / "ledger.sqlite")) as ledger:
        assert ledger.execute("SELECT max(deaths), max(tries) FROM jobs").fetchone() == (0, 0)
    if code == 0:
        assert results(out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("kib", [100, 300, 900])
def test_a_full_file_system_stops_the_run_which_goes_on_when_there_is_room(bundle, slides, undisturbed, tmp_path, kib):
    """A file system of its own that is too small for the ledger, for the first slide, for both."""
    if not can_mount():
        pytest.skip("no file system can be mounted here")
    small, copy = tmp_path / "small", tmp_path / "copy"
    small.mkdir()
    run = " ".join(["set +e;", sys.executable, "-m", "pathoprog.cli", *call(bundle, slides, small / "out")])
    script = (
        f"set -e; mount -t tmpfs -o size={kib}k tmpfs {small}; ({run}; echo code $?);"
        f"find {small}/out/slides -mindepth 1 -maxdepth 1 -not -name '.*' -exec ls {{}} + 2>/dev/null || true;"
        f"echo; test ! -e {small}/out/results.csv; mount -o remount,size=64m {small};"
        f"({run}; echo code $?); cp -r {small}/out {copy}"
    )
    whole = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    said = whole.stdout + whole.stderr
    assert whole.returncode == 0 and "Traceback" not in said, said
    before, after = whole.stdout.split("code ", 2)[1:]
    assert before[0] in ("1", "2") and after.startswith("0"), said
    assert "full" in said or "No space left" in said
    assert before.count("result.json") == before.count("run.json"), "what is visible is whole"
    assert results(copy) == undisturbed


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_and_its_slide_tried_again(
    bundle, slides, undisturbed, tmp_path, monkeypatch, capsys
):
    marker = tmp_path / "happened"
    monkeypatch.setenv("PATHOPROG_FAULT", f"after_reading:1:hang:{marker}")
    monkeypatch.setattr(engine, "SILENCE_S", 2.0)
    assert cli.main(call(bundle, slides, tmp_path / "out", "stream.timeout_s=5")) == 0
    assert marker.exists() and "said nothing for 17 s and was ended" in capsys.readouterr().err
    assert results(tmp_path / "out") == undisturbed


@pytest.mark.slow
def test_the_same_name_with_new_content_has_a_result_of_its_own(bundle, slides, undisturbed, tmp_path):
    slide, out = tmp_path / "A.tif", tmp_path / "out"
    found = []
    for name in "ABA":
        shutil.copyfile(slides / f"{name}.tif", slide)
        assert cli.main(call(bundle, slide, out)) == 0
        found.append(json.loads(results(out)["A"]))
    assert found[0]["scores"] != found[1]["scores"] and found[1]["result_key"] != found[0]["result_key"]
    assert results(out)["A"] == undisturbed["A"], "the first content again, the first result again"
    with closing(sqlite3.connect(out / "ledger.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM results").fetchone()[0] == 2


def test_a_file_that_is_said_to_be_ready_need_not_stand_still(tmp_path):
    slide = tmp_path / "A.tif"
    slide.write_bytes(b"x")
    assert is_recent(str(slide), 3600)
    os.utime(slide, (4e9, 4e9))  # by the scanner's clock not yet written
    assert is_recent(str(slide), 3600)
    (tmp_path / "A.tif.ready").touch()
    assert not is_recent(str(slide), 3600)


def claim_size(path, side):
    """A TIFF that says it has `side` pixels a side, and has not."""
    data = bytearray(write_pyramid(path, texture(512, 512)).read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            for name in ("ImageWidth", "ImageLength"):
                tag = page.tags[name]
                kind = "<I" if tag.dtype == tifffile.DATATYPE.LONG else "<H"
                struct.pack_into(kind, data, tag.valueoffset, side if kind == "<I" else 65535)
    path.write_bytes(data)


def compressed_bomb(path, side):
    """A single tile of `side` pixels a side, 1,000 times smaller on disk than in memory."""
    blank = np.zeros((side, side, 3), np.uint8)
    write_pyramid(path, blank, levels=1, tile=side, compression="deflate")


@pytest.mark.parametrize(
    ("bomb", "side"),
    [(claim_size, 2**31 - 1), (claim_size, 40_000_000), pytest.param(compressed_bomb, 12_288, marks=pytest.mark.slow)],
)
def test_a_pixel_bomb_fails_alone_within_the_memory_limit(slides, tmp_path, bomb, side):
    path = tmp_path / "bomb.tif"
    bomb(path, side)
    peak, ends = 0, {}
    specs = [standard_spec("10x", SIZE), standard_spec("40x", SIZE)]
    with TileStream(StreamSettings(workers=1, memory_mib=300, timeout_s=30)) as stream:
        jobs = [SlideJob("bomb", str(path), specs), SlideJob("A", str(slides / "A.tif"), specs)]
        for event in stream.read(jobs):
            peak = max([peak, *(psutil.Process(pid).memory_info().rss >> 20 for pid in stream.pids)])
            if isinstance(event, SlideDone | SlideFailed):
                ends[event.slide_id] = event
    assert isinstance(ends["bomb"], SlideFailed) and isinstance(ends["A"], SlideDone)
    assert ends["bomb"].error.code in ("size", "memory", "crashed", "unreadable", "format"), ends["bomb"].error
    assert peak < 700


def harmed(bundle, folder, harm):
    copy = shutil.copytree(bundle, folder)
    harm(copy, copy / "members" / "10x-0.safetensors")
    return copy


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder, member: os.truncate(member, member.stat().st_size // 2), "altered"),
        (lambda folder, member: (member.unlink(), os.mkfifo(member)), "not a regular file"),
        (lambda folder, member: (member.unlink(), member.symlink_to("/dev/zero")), "is a link"),
        (lambda folder, member: os.mkfifo(folder / "pipe"), "pipe: not in the manifest"),
        (lambda folder, member: (folder / SIGNATURE).symlink_to("/dev/zero"), "signature.sig: is a link"),
        (lambda folder, member: (folder / SIGNATURE).mkdir(), "signature.sig: not a regular file"),
        (lambda folder, member: (folder / "members").rename(folder / "m") and (folder / "members").symlink_to("m"),
         "is a link"),
        (lambda folder, member: os.truncate(folder / "manifest.json", 10**9), "larger than any manifest"),
    ],
)  # fmt: skip
def test_what_is_no_plain_bundle_is_refused_before_it_is_read(bundle, tmp_path, harm, message):
    with pytest.raises(BundleError, match=message):
        verify(harmed(bundle, tmp_path / "copy", harm))
