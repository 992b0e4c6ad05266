"""The stream under the policy network: what the outliner is shown, what comes of its answer, of crashes, refusals."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import shapely
from made_damage import HALF_LOST, with_changed_tiles
from made_slides import texture, write_pyramid

from pathoprog.errors import SlideError
from pathoprog.regions.annotations import polygons, write_outline
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.slides import open_slide
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, SlideOpened, StreamSettings, TileStream
from pathoprog.tiles.grid import standard_spec

SPECS = [standard_spec("10x", 64), standard_spec("40x", 64)]
VIEW = OutlineSettings(window_px=64, overlap_px=16)
ANSWER = polygons(shapely.box(256, 256, 768, 768))


class Drawer:
    """An outliner that keeps what it is shown and always answers the same."""

    def __init__(self, answer=ANSWER):
        self.answer, self.shown, self.windows, self.forgotten = answer, {}, {}, []

    def begin(self, slide_id, facts, windows):
        self.windows[slide_id] = windows
        self.shown[slide_id] = np.zeros((windows.height, windows.width, 3), np.uint8)

    def add(self, slide_id, start, pixels):
        windows = self.windows[slide_id]
        for offset, window in enumerate(pixels):
            x, y = windows.x[start + offset], windows.y[start + offset]
            self.shown[slide_id][y : y + 64, x : x + 64] = window

    def end(self, slide_id):
        return self.answer

    def forget(self, slide_id):
        self.forgotten.append(slide_id)


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    return str(write_pyramid(tmp_path_factory.mktemp("network") / "slide.tif", texture(1600, 1100, margin=100)))


@pytest.fixture(scope="module")
def stream():
    with TileStream(StreamSettings(workers=2, batch_tiles=3, timeout_s=60)) as opened:
        yield opened


def job(slide_id, path, overview=VIEW, **more):
    return SlideJob(slide_id, path, SPECS, tumour_policy="network", overview=overview, **more)


def ends(events):
    opened, last = {}, {}
    for event in events:
        if isinstance(event, SlideOpened):
            opened[event.slide_id] = event
        elif isinstance(event, SlideDone | SlideFailed):
            last[event.slide_id] = event
    return opened, last


def test_the_outliner_is_shown_the_whole_view_and_tiles_lie_in_its_answer(stream, slide_path):
    drawer = Drawer()
    opened, last = ends(stream.read([job(f"s{i}", slide_path) for i in range(3)], drawer))
    assert len(opened) == 3 and all(isinstance(event, SlideDone) for event in last.values())
    with open_slide(slide_path) as slide:
        view = slide.overview(4.0)
    for name, event in opened.items():
        assert np.array_equal(drawer.shown[name][: view.shape[0], : view.shape[1]], view)
        assert event.region_source == "network" and event.outline.equals(ANSWER)
        assert len(event.grids["40x"]) == 64 and event.tumour_area_um2 == pytest.approx(128**2)


def test_a_coarse_view_from_damaged_tiles_is_shown_to_nobody(stream, slide_path, tmp_path):
    path = with_changed_tiles(Path(slide_path), tmp_path / "half.tif", HALF_LOST["zeroed"], {2: [0]})
    drawer = Drawer()
    _, last = ends(stream.read([job("s", str(path))], drawer))
    assert isinstance(last["s"], SlideFailed) and "damaged data" in str(last["s"].error)


def test_an_empty_answer_gives_no_tiles_and_no_other_region(stream, slide_path):
    opened, last = ends(stream.read([job("s", slide_path)], Drawer(shapely.MultiPolygon())))
    assert [len(grid) for grid in opened["s"].grids.values()] == [0, 0]
    assert opened["s"].outline.is_empty and isinstance(last["s"], SlideDone)


def test_a_corrected_outline_is_taken_and_the_outliner_not_asked(stream, slide_path, tmp_path):
    write_outline(tmp_path / "o.geojson", shapely.box(300, 300, 556, 556))
    drawer = Drawer()
    opened, _ = ends(stream.read([job("s", slide_path, outline_path=str(tmp_path / "o.geojson"))], drawer))
    assert opened["s"].region_source == "corrected" and drawer.shown == {}
    assert opened["s"].tumour_area_um2 == pytest.approx(64**2)


@pytest.mark.parametrize("step", ["begin", "add", "end"])
def test_an_outliner_that_refuses_a_slide_fails_it_alone(stream, slide_path, step):
    class Refuser(Drawer):
        pass

    def refuse(self, slide_id, *more):
        if slide_id == "bad":
            raise SlideError("bad: does not fit", "device_memory")
        return getattr(Drawer, step)(self, slide_id, *more)

    setattr(Refuser, step, refuse)
    drawer = Refuser()
    jobs = [job("bad", slide_path), job("good", slide_path), job("next", slide_path)]
    opened, last = ends(stream.read(jobs, drawer))
    assert set(opened) == {"good", "next"} and drawer.forgotten == ["bad"]
    assert last["bad"].error.code == "device_memory" and last["bad"].stage == "outline"
    assert isinstance(last["good"], SlideDone) and isinstance(last["next"], SlideDone)


@pytest.mark.parametrize(("step", "times"), [("add", 1), ("end", 1), ("add", 2)])
def test_a_reader_that_dies_while_it_shows_the_view_is_replaced(slide_path, step, times):
    struck = set()

    class Killer(Drawer):
        def strike(self, slide_id, *more):
            for pid in set(stream.pids) - struck:
                if len(struck) < times:
                    struck.add(pid)
                    os.kill(pid, signal.SIGKILL)
            return getattr(Drawer, step)(self, slide_id, *more)

    setattr(Killer, step, Killer.strike)
    # More windows than slots: at its first window the reader still waits for a slot, it cannot have sent them all.
    view = OutlineSettings(window_px=64, overlap_px=48)
    with TileStream(StreamSettings(workers=1, batch_tiles=1)) as stream:
        opened, last = ends(stream.read([job("s", slide_path, overview=view)], Killer()))
    assert len(struck) == times
    if times == 1:
        assert opened["s"].outline.equals(ANSWER) and isinstance(last["s"], SlideDone)
    else:
        assert not opened and last["s"].error.code == "crashed"
