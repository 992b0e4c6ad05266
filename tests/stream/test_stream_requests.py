"""Single tiles of many slides: right pixels in any order, whatever the number of readers; who fails is named."""

import os
import signal
import time
from concurrent.futures import Future

import numpy as np
import pytest
from made_slides import texture, write_pyramid, write_sparse
from shared_data import shared_data

from pathoprog.errors import SlideError
from pathoprog.quality.hollow import in_tissue
from pathoprog.slides import open_slide
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.identity import stamp
from pathoprog.stream.events import Places
from pathoprog.stream.reader import KEPT_SLIDES
from pathoprog.stream.requests import PlacedTiles, TileRequests
from pathoprog.stream.slide_stream import SlideFailed, SlideJob, SlideOpened, StreamSettings, TileBatch, TileStream
from pathoprog.tiles.grid import standard_spec

SPEC = standard_spec("40x", 64)


def placed(requests: TileRequests, name: str, path, side: int = 8) -> PlacedTiles:
    """A grid of side x side tiles, from the slide's corner."""
    y0, x0 = (part.ravel() * SPEC.size_px for part in np.mgrid[0:side, 0:side])
    places = Places(SPEC, x0, y0, np.ones(side**2, bool), stamp(path))
    return PlacedTiles(name, str(path), SlideSettings(), places, requests)


def wait(promise: "Future[np.ndarray]") -> np.ndarray:
    return promise.result(60)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("requests")
    return [write_pyramid(folder / f"{n}.tif", texture(640, 640, seed=n)) for n in range(KEPT_SLIDES + 3)]


@pytest.mark.parametrize("workers", [1, 3])
def test_tiles_are_the_slides_pixels_in_the_order_asked_for(paths, workers):
    rng = np.random.default_rng(1)
    settings = StreamSettings(workers=workers, batch_tiles=4)
    with TileRequests(settings) as requests:
        slides = [placed(requests, f"S{n}", path) for n, path in enumerate(paths)]
        assert slides[0].shape == (64, 64, 64, 3) and len(slides[0]) == 64
        asked = []
        for _ in range(3):  # more slides than stay open, each more than once
            for slide in slides:
                index = rng.integers(0, 64, 9)  # neither in order nor without repeats
                asked.append((slide, index, slide.ask(index)))
        for slide, index, promise in reversed(asked):
            tiles = wait(promise)
            assert tiles.shape == (9, 64, 64, 3)
            with open_slide(slide.path) as opened:
                for tile, i in zip(tiles, index, strict=True):
                    x0, y0 = float(slide.places.x0[i]), float(slide.places.y0[i])
                    assert np.array_equal(tile, opened.read_at_mpp(x0, y0, SPEC.mpp, (64, 64)))
        time.sleep(0.1)
        assert wait(slides[0].ask(np.array([3]))).shape[0] == 1, "it goes on after a pause"


@pytest.mark.parametrize(
    "name",
    [
        "aperio_CMU-1-Small-Region.svs",
        "ome_OS-1-detail_HE.ome.tif",
        pytest.param("dicom_camelyon_jpeg_multiframe.dcm", marks=pytest.mark.slow),
    ],
)
def test_real_files_give_the_tiles_that_the_stream_gives(name):
    path = str(shared_data(f"wsi/{name}"))
    settings = SlideSettings(allow_upsampling=True)
    specs = [standard_spec(resolution, 96, min_coverage=0.0, max_per_slide=60) for resolution in ("10x", "40x")]
    whole: dict[str, list[np.ndarray]] = {}
    with TileStream(StreamSettings(workers=1, batch_tiles=16)) as stream:
        for event in stream.read([SlideJob("S", path, specs, settings)]):
            assert not isinstance(event, SlideFailed), event
            if isinstance(event, SlideOpened):
                opened = event
            elif isinstance(event, TileBatch):
                whole.setdefault(event.resolution, []).append(event.tiles.copy())
    assert whole
    with TileRequests(StreamSettings(workers=2, batch_tiles=5)) as requests:
        for resolution, parts in whole.items():
            tiles, grid = np.concatenate(parts), opened.grids[resolution]
            places = Places(grid.spec, grid.x0, grid.y0, in_tissue(opened.tissue, grid), stamp(path))
            index = np.random.default_rng(0).permutation(len(tiles))[:20]
            found = wait(PlacedTiles("S", path, settings, places, requests).ask(index))
            assert len(found) > 0 and np.array_equal(found, tiles[index])


def test_who_fails_is_named_and_the_others_get_their_tiles(paths, tmp_path):
    changing = write_pyramid(tmp_path / "changing.tif", texture(640, 640))
    broken = tmp_path / "broken.tif"
    broken.write_bytes(paths[0].read_bytes()[:9_000])
    hollow = write_sparse(tmp_path / "hollow.tif", texture(1024, 1024), {(0, 1)})
    with TileRequests(StreamSettings(workers=1)) as requests:
        good = placed(requests, "good", paths[0])
        slides = {
            "gone": placed(requests, "gone", tmp_path / "gone.tif"),
            "broken": placed(requests, "broken", broken),
            "hollow": placed(requests, "hollow", hollow),
            "changing": placed(requests, "changing", changing),
        }
        first = wait(slides["changing"].ask(np.arange(2)))
        os.utime(changing, ns=(1, 1))
        reasons = {
            "gone": r"^gone: .*gone\.tif: no such file",
            "broken": r"^broken: .*broken\.tif",
            "hollow": r"^hollow: .*reads as blank",
            "changing": r"^changing: .*changed since its tiles were laid",
        }
        index = np.array([4, 63])  # of them one is beyond the end of the broken file, one where the hollow one is so
        promises = {name: slide.ask(index) for name, slide in slides.items()}
        for name, promise in promises.items():
            with pytest.raises(SlideError, match=reasons[name]):
                wait(promise)
        assert wait(good.ask(np.arange(2))).shape == first.shape


def test_a_reader_that_dies_is_replaced_once_and_then_names_its_slide(paths):
    with TileRequests(StreamSettings(workers=1, batch_tiles=1, buffer_mib=1)) as requests:
        slide = placed(requests, "victim", paths[0])
        whole = wait(slide.ask(np.arange(64)))
        (reader,) = requests.readers()
        os.kill(reader, signal.SIGSTOP)
        again = slide.ask(np.arange(64))
        time.sleep(0.5)
        os.kill(reader, signal.SIGKILL)
        assert np.array_equal(wait(again), whole) and requests.readers() != [reader]

        promise, dead = slide.ask(np.tile(np.arange(64), 50)), {reader}
        while not promise.done():
            for pid in set(requests.readers()) - dead:
                dead.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        with pytest.raises(SlideError, match=r"^victim: .*0\.tif: the reader ended by signal SIGKILL.*2 times"):
            wait(promise)
        assert np.array_equal(wait(slide.ask(np.arange(64))), whole)


def test_what_ends_the_thread_reaches_those_who_wait(paths, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("out of handles")

    with TileRequests(StreamSettings(workers=1)) as requests:
        slide = placed(requests, "S", paths[0])
        monkeypatch.setattr("pathoprog.stream.slide_stream.wait", fail)
        with pytest.raises(OSError, match="out of handles"):
            wait(slide.ask(np.arange(2)))
        with pytest.raises(OSError, match="out of handles"):
            slide.ask(np.arange(2))


def test_leaving_early_ends_the_readers(paths):
    with TileRequests(StreamSettings(workers=2, batch_tiles=1)) as requests:
        slide = placed(requests, "S", paths[0])
        promises = [slide.ask(np.arange(64)), *(slide.ask(np.tile(np.arange(64), 20)) for _ in range(20))]
        wait(promises[0])
        readers = requests.readers()
        assert len(readers) == 2
    for pid in readers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="sent away"):
        promises[-1].result(5)
    assert TileRequests(StreamSettings()).readers() == [], "without a question no process starts"
