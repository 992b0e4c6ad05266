"""The stream: order, pixels, and what becomes of crashes, hangs and bad files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from made_damage import HALF_LOST, with_changed_tiles
from made_mirax import write_mirax
from made_slides import texture, write_giant, write_pyramid, write_sparse
from shared_data import shared_data

from pathoprog.regions.annotations import write_outline
from pathoprog.slides import open_slide
from pathoprog.slides.config import BACKENDS, SlideSettings
from pathoprog.slides.identity import content_sha256
from pathoprog.stream.reader import SLOTS
from pathoprog.stream.slide_stream import (
    SlideDone,
    SlideFailed,
    SlideJob,
    SlideOpened,
    StreamSettings,
    TileBatch,
    TileStream,
)
from pathoprog.tiles.grid import standard_spec

SPECS = [standard_spec("10x", 64), standard_spec("40x", 64)]


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    return str(write_pyramid(tmp_path_factory.mktemp("stream") / "slide Ø (1).tif", texture(1100, 900, margin=100)))


@pytest.fixture(scope="module")
def stream():
    with TileStream(StreamSettings(workers=2, batch_tiles=16, timeout_s=60)) as opened:
        yield opened


def collect(events):
    """Events by slide: opened, tiles by resolution (copied), end."""
    slides = {}
    for event in events:
        entry = slides.setdefault(event.slide_id, {"tiles": {}})
        if isinstance(event, SlideOpened):
            assert "opened" not in entry
            entry["opened"] = event
        elif isinstance(event, TileBatch):
            parts = entry["tiles"].setdefault(event.resolution, [])
            assert event.start == sum(map(len, parts)), "batches come in order"
            parts.append(event.tiles.copy())
        else:
            entry["end"] = event
    for entry in slides.values():
        entry["tiles"] = {name: np.concatenate(parts) for name, parts in entry["tiles"].items()}
    return slides


def test_tiles_are_the_slide_s_pixels_and_readers_live_on(stream, slide_path):
    slides = collect(stream.read([SlideJob(f"s{i}", slide_path, SPECS) for i in range(5)]))
    pids = stream.pids
    assert len(slides) == 5
    with open_slide(slide_path) as slide:
        for entry in slides.values():
            opened = entry["opened"]
            assert isinstance(entry["end"], SlideDone)
            assert opened.facts == slide.facts
            assert opened.sha256 == content_sha256(slide_path)
            assert opened.thumbnail.shape == (450, 550, 3)
            for spec in SPECS:
                grid, tiles = opened.grids[spec.resolution], entry["tiles"][spec.resolution]
                assert len(grid) == len(tiles) > 0
                for i in (0, len(grid) // 2, len(grid) - 1):
                    expected = slide.read_at_mpp(float(grid.x0[i]), float(grid.y0[i]), spec.mpp, (64, 64))
                    assert np.array_equal(tiles[i], expected)
    collect(stream.read([SlideJob("again", slide_path, SPECS)]))
    assert stream.pids == pids


def test_a_copy_s_hash_is_of_the_names_that_count(stream, tmp_path):
    path = str(write_mirax(tmp_path / "copy.mrxs", texture(512, 512)))
    names = {"/Slidedat.ini": "/as it was called.ini"}
    found = collect(stream.read([SlideJob("s", path, SPECS), SlideJob("t", path, SPECS, names=names)]))
    assert found["s"]["opened"].sha256 == content_sha256(path)
    assert found["t"]["opened"].sha256 == content_sha256(path, names=names) != content_sha256(path)


def test_bad_slides_fail_alone_with_their_reason(stream, slide_path, tmp_path):
    no_mpp = write_pyramid(tmp_path / "no_mpp.tif", texture(300, 300), mpp=None)
    truncated = tmp_path / "truncated.tif"
    truncated.write_bytes(Path(slide_path).read_bytes()[:20_000])
    bad = {"missing": "/nowhere.svs", "mpp_missing": str(no_mpp), "unreadable": str(truncated)}
    jobs = [SlideJob(code, path, SPECS) for code, path in bad.items()]
    jobs.insert(1, SlideJob("good", slide_path, SPECS))
    slides = collect(stream.read(jobs))
    assert isinstance(slides["good"]["end"], SlideDone)
    for code in bad:
        assert isinstance(slides[code]["end"], SlideFailed)
        assert slides[code]["end"].error.code == code
    assert slides["mpp_missing"]["end"].error.not_reportable
    assert not slides["missing"]["end"].error.not_reportable


def test_hollow_slide_fails_and_is_never_scored(stream, tmp_path):
    picture = texture(2048, 1536, margin=256)
    hollow = write_sparse(tmp_path / "hollow.tif", picture, {(2, 3)})
    legal = write_sparse(tmp_path / "legal.tif", picture, {(0, i) for i in range(1, 8)})
    slides = collect(stream.read([SlideJob("hollow", str(hollow), SPECS), SlideJob("legal", str(legal), SPECS)]))
    assert slides["hollow"]["end"].error.code == "hollow"
    assert slides["hollow"]["tiles"] == {}
    assert isinstance(slides["legal"]["end"], SlideDone)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("level", [0, 2])
def test_a_slide_with_half_lost_tiles_fails_at_the_level_that_is_read(stream, slide_path, tmp_path, backend, level):
    path = with_changed_tiles(Path(slide_path), tmp_path / "half.tif", HALF_LOST["ended early"], {level: None})
    settings = SlideSettings(backend=backend)
    jobs = [SlideJob("half", str(path), SPECS, settings), SlideJob("good", slide_path, SPECS, settings)]
    slides = collect(stream.read(jobs))
    assert isinstance(slides["good"]["end"], SlideDone)
    end = slides["half"]["end"]
    assert isinstance(end, SlideFailed) and end.error.code == "unreadable"
    assert f"damaged data {'of the tile ' if backend != 'tiffslide' else ''}at level {level}" in str(end.error)


@pytest.mark.parametrize("level", [0, 2])
def test_slides_that_fail_one_after_the_other_do_not_bring_a_reader_to_a_standstill(slide_path, tmp_path, level):
    path = with_changed_tiles(Path(slide_path), tmp_path / "half.tif", HALF_LOST["ended early"], {level: None})
    jobs = [SlideJob(f"half{i}", str(path), SPECS) for i in range(2 * SLOTS)]
    with TileStream(StreamSettings(workers=1, batch_tiles=16, timeout_s=60)) as stream:
        slides = collect(stream.read([*jobs[:1], SlideJob("good", slide_path, SPECS)]))
        pids = stream.pids
        slides |= collect(stream.read([*jobs[1:], SlideJob("last", slide_path, SPECS)]))
        assert stream.pids == pids  # nobody had to end the reader
    for job in jobs:
        assert slides[job.slide_id]["end"].error.code == "unreadable"
    assert isinstance(slides["good"]["end"], SlideDone) and isinstance(slides["last"]["end"], SlideDone)


def test_coarse_slide_has_its_10x_grid_and_says_why_no_40x(stream):
    path = str(shared_data("wsi/aperio_CMU-1-Small-Region.svs"))
    jobs = [SlideJob("as_is", path, SPECS), SlideJob("forced", path, SPECS, SlideSettings(allow_upsampling=True))]
    slides = collect(stream.read(jobs))
    assert list(slides["as_is"]["opened"].grids) == ["10x"]
    assert "0.499 um/px" in slides["as_is"]["opened"].refused["40x"]
    assert len(slides["forced"]["tiles"]["40x"]) > 4 * len(slides["forced"]["tiles"]["10x"])


def test_outline_policy(stream, slide_path, tmp_path):
    import shapely

    write_outline(tmp_path / "o.geojson", shapely.box(256, 256, 768, 768))
    jobs = [
        SlideJob("with", slide_path, SPECS, tumour_policy="outline", outline_path=str(tmp_path / "o.geojson")),
        SlideJob("without", slide_path, SPECS, tumour_policy="outline"),
    ]
    slides = collect(stream.read(jobs))
    opened = slides["with"]["opened"]
    assert (opened.region_source, len(opened.grids["40x"])) == ("outline", 64)
    assert opened.tumour_area_um2 == pytest.approx(128 * 128)
    assert opened.tissue_area_um2 > opened.tumour_area_um2
    assert slides["without"]["end"].error.code == "outline_missing"  # never tissue instead


def strike(stream, events, blow, times):
    """Hit the reader of slide `victim` at its second batch, `times` times; returns the collected events."""
    struck = set()

    def through():
        for event in events:
            yield event
            if isinstance(event, TileBatch) and event.slide_id == "victim" and event.start > 0:
                (reader,) = (r for r in stream._readers if any(t.job.slide_id == "victim" for t in r.tasks))
                if len(struck) < times and reader.process.pid not in struck:
                    struck.add(reader.process.pid)
                    os.kill(reader.process.pid, blow)

    return collect(through())


@pytest.fixture(scope="module")
def undisturbed(stream, slide_path):
    return collect(stream.read([SlideJob("victim", slide_path, SPECS)]))["victim"]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["crash", "hang"])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_crash_or_hang_fails_that_slide_only_and_is_tried_again_once(slide_path, undisturbed, blow, times):
    timeout_s = 4 if blow == signal.SIGSTOP else 60
    with TileStream(StreamSettings(workers=2, batch_tiles=4, buffer_mib=1, timeout_s=timeout_s)) as stream:
        jobs = [SlideJob(name, slide_path, SPECS) for name in ("a", "victim", "b", "c")]
        slides = strike(stream, stream.read(jobs), blow, times)
    for name in "abc":
        assert isinstance(slides[name]["end"], SlideDone)
    victim = slides["victim"]
    if times == 1:
        assert isinstance(victim["end"], SlideDone)
        for name, tiles in undisturbed["tiles"].items():
            assert np.array_equal(victim["tiles"][name], tiles), "resumed without gap or repeat"
    else:
        assert isinstance(victim["end"], SlideFailed)
        assert victim["end"].error.code == ("crashed" if blow == signal.SIGKILL else "hung")
        assert victim["end"].stage == "tiles"


def test_memory_limit_fails_the_slide_and_not_the_reader(slide_path, tmp_path):
    flat = np.full((4096, 4096, 3), (200, 120, 170), np.uint8)
    big = write_pyramid(tmp_path / "big.tif", flat, mpp=0.25, levels=1)
    spec = standard_spec("10x", 1024, min_coverage=0)
    with TileStream(StreamSettings(workers=1, memory_mib=250)) as stream:
        jobs = [SlideJob("big", str(big), [spec]), SlideJob("small", slide_path, SPECS)]
        slides = collect(stream.read(jobs))
    assert isinstance(slides["big"]["end"], SlideFailed)
    assert slides["big"]["end"].error.code in ("memory", "crashed")
    assert isinstance(slides["small"]["end"], SlideDone)


def peak_mib(pid):
    """Largest resident memory of a process so far, shared memory included."""
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


@pytest.mark.slow
def test_a_slide_of_200000_px_a_side_stays_under_4_gib(tmp_path):
    giant = write_giant(tmp_path / "giant.tif", 200_000)
    specs = [standard_spec("10x", max_per_slide=50), standard_spec("40x", max_per_slide=100)]
    with TileStream(StreamSettings(workers=1)) as stream:
        entry = collect(stream.read([SlideJob("giant", str(giant), specs)]))["giant"]
        (pid,) = stream.pids
        peak = peak_mib(pid)
    assert isinstance(entry["end"], SlideDone)
    assert entry["opened"].grids["40x"].n_candidates > 100_000
    assert peak < 4096
    assert peak < 2048, "far from the limit"


def test_memory_does_not_grow_with_the_slide(tmp_path):
    """The same number of tiles of a slide 25 times as large needs hardly more memory."""
    peaks = []
    for side in (8_000, 40_000):
        path = write_giant(tmp_path / f"{side}.tif", side, margin_tiles=8)
        with TileStream(StreamSettings(workers=1, batch_tiles=16, buffer_mib=32)) as stream:
            jobs = [SlideJob("s", str(path), [standard_spec("40x", max_per_slide=64)])]
            assert isinstance(collect(stream.read(jobs))["s"]["end"], SlideDone)
            peaks.append(peak_mib(stream.pids[0]))
    assert peaks[1] < peaks[0] + 150


def test_jobs_are_drawn_as_needed_and_leaving_early_is_fine(slide_path):
    drawn = []

    def source():
        for i in range(100):
            drawn.append(i)
            yield SlideJob(f"s{i}", slide_path, SPECS)

    with TileStream(StreamSettings(workers=1)) as stream:
        for event in stream.read(source()):
            if isinstance(event, SlideDone):
                break
        assert len(drawn) <= 4
        assert isinstance(collect(stream.read([SlideJob("x", slide_path, SPECS)]))["x"]["end"], SlideDone)


def test_reader_imports_no_torch():
    code = (
        "import sys, pathoprog.stream.reader; print(sorted({'torch', 'hydra', 'mlflow', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_hash_of_a_folder_covers_all_files(tmp_path):
    folder = tmp_path / "slide"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    (folder / "b").write_bytes(b"2")
    whole = content_sha256(folder)
    (folder / "b").write_bytes(b"3")
    assert content_sha256(folder) != whole
    mirax = tmp_path / "slide.mrxs"
    mirax.write_bytes(b"x")
    with_folder = content_sha256(mirax)
    (folder / "a").write_bytes(b"9")
    assert content_sha256(mirax) != with_folder


def test_a_consumer_that_takes_its_time_costs_no_reader(slide_path, caplog):
    """What the readers have said waits for us; their watchdog is for those that say nothing."""
    with TileStream(StreamSettings(workers=2, batch_tiles=4, buffer_mib=1, timeout_s=4)) as stream:
        pids: set[int] = set()
        ends = []
        waits = 2
        for event in stream.read([SlideJob(name, slide_path, SPECS) for name in "ABC"]):
            pids |= set(stream.pids)
            if isinstance(event, TileBatch) and waits and len(stream.pids) == 2:
                waits -= 1
                time.sleep(6)
            if isinstance(event, SlideDone | SlideFailed):
                ends.append(event)
    assert not waits and all(isinstance(event, SlideDone) for event in ends) and len(ends) == 3
    assert len(pids) == 2 and "made no progress" not in caplog.text
