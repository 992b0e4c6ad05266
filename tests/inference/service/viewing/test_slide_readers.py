"""The readers: known pixels through a real process; a crash, a hang, a full queue, a changed file end alone."""

import io
import os
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from made_slides import texture, write_pyramid
from PIL import Image

from pathoprog.errors import PathoprogError, SlideError
from pathoprog.inference.service.viewing import slide_readers
from pathoprog.inference.service.viewing.reader_child import SlidePlace
from pathoprog.inference.service.viewing.slide_readers import CrowdedError, ReaderLostError, SlideReaders
from pathoprog.inference.service.viewing.viewing_config import ViewingSettings
from pathoprog.inference.service.work.service_ledger import SOURCE
from pathoprog.inference.slides.pseudonyms import pseudonym
from pathoprog.slides.identity import source_sha256
from pathoprog.slides.opening import open_slide

LONG_S = 60.0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A slide of 1500 x 1100 px with three levels, and one of the same without um/px."""
    folder = tmp_path_factory.mktemp("shown")
    write_pyramid(folder / "A.tif", texture(1500, 1100, seed=4, margin=100))
    write_pyramid(folder / "no_scale.tif", texture(300, 200, seed=5), mpp=None, levels=1)
    return folder


@pytest.fixture(scope="module")
def readers():
    """One reader process, for those tests that leave it whole."""
    one = SlideReaders(ViewingSettings(readers=1, slides_open=2))
    yield one
    one.stop()


def place(path: Path, **changes) -> SlidePlace:
    given = {"source": source_sha256(str(path)), "roots": (str(path.parent),)}
    return SlidePlace(str(path), **{**given, **changes})


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)


def test_a_tile_shows_what_the_slide_reader_gives_there(made, readers):
    at = place(made / "A.tif")
    picture = readers.picture(at, "me").result(LONG_S)
    assert (picture.pyramid.width, picture.pyramid.height, picture.min_level) == (1500, 1100, 0)
    assert picture.mpp_x == pytest.approx(0.25) and picture.pyramid.max_level == 11
    with open_slide(made / "A.tif") as slide:
        own = slide.read_region(512, 256, 0, (256, 256)).astype(int)
        coarse = slide.read_region(0, 0, 2, (375, 275)).astype(int)
    tile = pixels(readers.tile(at, (11, 2, 1), "me").result(LONG_S))
    assert tile.shape == (256, 256, 3)
    assert np.abs(tile - own).mean() < 1.5 and np.abs((tile - own).mean(axis=(0, 1))).max() < 0.5, "its colours too"
    shown = pixels(readers.tile(at, (9, 0, 0), "me").result(LONG_S))
    assert np.abs(shown - coarse[:256, :256]).mean() < 1.5
    region = pixels(readers.region(at, (1400, 1000, 400, 400), 64, "me").result(LONG_S))
    assert region.shape == (64, 64, 3), "what lies beyond the slide is left out"


def test_a_tile_that_was_shown_comes_from_memory(made, readers):
    at = place(made / "A.tif")
    first = readers.tile(at, (11, 0, 0), "me").result(LONG_S)
    (pid,) = readers.pids
    os.kill(pid, 19)  # SIGSTOP: nothing can be read now
    try:
        again = readers.tile(at, (11, 0, 0), "somebody else")
        assert again.done() and again.result() == first
    finally:
        os.kill(pid, 18)


def test_what_is_not_there_is_refused(made, readers):
    at = place(made / "A.tif")
    for tile in ((12, 0, 0), (11, 6, 0), (11, 0, 5)):
        with pytest.raises(SlideError, match="no such tile"):
            readers.tile(at, tile, "me").result(LONG_S)
    with pytest.raises(SlideError, match="lies on the slide"):
        readers.region(at, (1500, 0, 10, 10), 64, "me").result(LONG_S)
    gone = made / "gone.tif"
    with pytest.raises(SlideError) as caught:
        readers.picture(SlidePlace(str(gone), "", (str(made),)), "me").result(LONG_S)
    assert caught.value.code == "missing" and str(made) not in str(caught.value)
    with pytest.raises(SlideError) as caught:
        readers.picture(place(made / "A.tif", roots=("/nowhere",)), "me").result(LONG_S)
    assert caught.value.code == "outside"


def test_a_slide_without_a_scale_can_be_looked_at(made, readers):
    picture = readers.picture(place(made / "no_scale.tif"), "me").result(LONG_S)
    assert picture.mpp_x is None and picture.pyramid.width == 300


def test_a_file_without_coarse_levels_is_shown_from_near_alone(tmp_path):
    path = write_pyramid(tmp_path / "single.tif", texture(3000, 2000, seed=8), levels=1)
    one = SlideReaders(ViewingSettings(readers=1, source_mpx=1))
    try:
        picture = one.picture(place(path), "me").result(LONG_S)
        pyramid = picture.pyramid
        assert picture.min_level == pyramid.max_level - 1 and pyramid.tiles(picture.min_level) == (6, 4)
        one.tile(place(path), (picture.min_level, 5, 3), "me").result(LONG_S)
        with pytest.raises(SlideError, match="no such tile"):
            one.tile(place(path), (picture.min_level - 1, 0, 0), "me").result(LONG_S)
        with pytest.raises(SlideError, match="too large"):
            one.region(place(path), (0, 0, 3000, 2000), 256, "me").result(LONG_S)
    finally:
        one.stop()


def test_a_file_that_changed_since_it_was_scored_is_refused(made, readers, tmp_path):
    path = write_pyramid(tmp_path / "B.tif", texture(600, 500, seed=6))
    at = place(path)
    readers.tile(at, (10, 0, 0), "me").result(LONG_S)
    write_pyramid(path, texture(600, 500, seed=7))
    os.utime(path, ns=(1, 1))
    with pytest.raises(SlideError, match="changed since it was scored") as caught:
        readers.picture(at, "me").result(LONG_S)
    assert caught.value.code == "changed"
    with pytest.raises(SlideError, match="changed since"):
        readers.tile(at, (10, 1, 0), "me").result(LONG_S)
    key = b"secret"
    hidden = place(path, source=pseudonym(key, SOURCE, source_sha256(str(path))), key=key)
    readers.tile(hidden, (10, 0, 0), "me").result(LONG_S)
    os.utime(path, ns=(2, 2))
    with pytest.raises(SlideError, match="changed since"):
        readers.picture(hidden, "me").result(LONG_S)


def test_readers_run_below_scoring(made, readers):
    readers.picture(place(made / "A.tif"), "me").result(LONG_S)
    (pid,) = readers.pids
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert str(1024 << 20) in next(line for line in limits.splitlines() if line.startswith("Max data size"))


@pytest.mark.parametrize(("fault", "said"), [("kill", "ended"), ("hang", "not read within")])
def test_a_reader_that_crashes_or_hangs_is_replaced(made, tmp_path, monkeypatch, fault, said):
    monkeypatch.setenv("PATHOPROG_FAULT", f"view_tile:1:{fault}:{tmp_path / 'marker'}")
    one = SlideReaders(ViewingSettings(readers=1, timeout_s=2.0))
    try:
        at = place(made / "A.tif")
        one.picture(at, "me").result(LONG_S)
        (before,) = one.pids
        with pytest.raises(ReaderLostError, match=said):
            one.tile(at, (11, 0, 0), "me").result(LONG_S)
        assert one.tile(at, (11, 0, 0), "me").result(LONG_S).startswith(b"\xff\xd8"), "another reader"
        assert before not in one.pids
    finally:
        one.stop()


class StubChild:
    """Answers when it is let; what it was asked is kept. `lost`: it dies with each question."""

    def __init__(self):
        self.go, self.asked, self.lost, self.runs, self.pid = threading.Event(), [], False, True, None

    def __call__(self, module, silence_s):
        return self

    def ask(self, *question):
        self.asked.append(question)

    def answer(self, wait_s):
        if self.lost:
            raise slide_readers.NoAnswerError("ended", silent=False)
        return (True, b"picture") if self.go.wait(wait_s) else (False, None)

    def end(self):
        pass


@pytest.fixture
def stub(monkeypatch):
    one = StubChild()
    monkeypatch.setattr(slide_readers, "AskedChild", one)
    readers = SlideReaders(ViewingSettings(readers=1, waiting=4))
    yield one, readers
    readers.stop()


def until(true):
    end = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


SLIDE = SlidePlace("S", "", ())


def test_a_full_queue_turns_away_and_one_name_cannot_fill_it(stub):
    child, readers = stub
    first = readers.tile(SLIDE, (1, 0, 0), "ann")
    until(lambda: child.asked)
    waiting = [readers.tile(SLIDE, (1, 0, column), "ann") for column in (1, 2)]
    with pytest.raises(CrowdedError) as caught:
        readers.tile(SLIDE, (1, 0, 3), "ann")
    assert caught.value.own
    waiting += [readers.tile(SLIDE, (1, 1, 0), "ben"), readers.tile(SLIDE, (1, 2, 0), "eve")]
    with pytest.raises(CrowdedError) as caught:
        readers.tile(SLIDE, (1, 3, 0), "joe")
    assert not caught.value.own
    child.go.set()
    assert [one.result(LONG_S) for one in (first, *waiting)] == [b"picture"] * 5


def test_what_nobody_waits_for_is_not_read_and_what_two_want_is_read_once(stub):
    child, readers = stub
    first = readers.tile(SLIDE, (1, 0, 0), "ann")
    until(lambda: child.asked)
    dropped = readers.tile(SLIDE, (1, 0, 1), "ann")
    shared = [readers.tile(SLIDE, (1, 0, 2), name) for name in ("ann", "ben")]
    readers.let_go(dropped)
    readers.let_go(shared[0])
    child.go.set()
    assert first.result(LONG_S) == shared[1].result(LONG_S) == b"picture"
    last = readers.tile(SLIDE, (1, 0, 3), "ann")
    last.result(LONG_S)
    assert [question[2:] for question in child.asked] == [(1, 0, 0), (1, 0, 2), (1, 0, 3)]
    assert not dropped.done()


def test_room_in_the_queue_comes_back_when_clients_go(stub):
    child, readers = stub
    readers.tile(SLIDE, (1, 0, 0), "ann")
    until(lambda: child.asked)
    waiting = [readers.tile(SLIDE, (1, 0, column), "ann") for column in (1, 2)]
    for one in waiting:
        readers.let_go(one)
    again = readers.tile(SLIDE, (1, 0, 3), "ann")
    child.go.set()
    assert again.result(LONG_S) == b"picture"


def test_a_slide_that_ends_reader_after_reader_is_left_alone(stub):
    child, readers = stub
    child.lost = True
    for _ in range(slide_readers.CRASHES):
        with pytest.raises(ReaderLostError):
            readers.tile(SLIDE, (1, 0, 0), "ann").result(LONG_S)
    with pytest.raises(SlideError, match="left alone"):
        readers.tile(SLIDE, (1, 0, 0), "ann").result(LONG_S)
    child.lost = False
    child.go.set()
    other = SlidePlace("other", "", ())
    assert readers.tile(other, (1, 0, 0), "ann").result(LONG_S) == b"picture"


def test_readers_that_nobody_asks_end_and_keep_nothing(stub, monkeypatch):
    child, readers = stub
    monkeypatch.setattr(slide_readers, "IDLE_S", 0.05)
    child.go.set()
    ended = []
    child.end = lambda: ended.append(1)
    readers.tile(SLIDE, (1, 0, 0), "ann").result(LONG_S)
    until(lambda: ended and not len(readers.cache))
    assert readers.tile(SLIDE, (1, 0, 0), "ann").result(LONG_S) == b"picture"


def test_a_stop_answers_whoever_waits(stub):
    child, readers = stub
    first = readers.tile(SLIDE, (1, 0, 0), "ann")
    until(lambda: child.asked)
    second = readers.tile(SLIDE, (1, 0, 1), "ann")
    readers.stop()
    for one in (first, second):
        with pytest.raises((PathoprogError, CancelledError)):
            one.result(LONG_S)
    with pytest.raises(PathoprogError, match="stopping"):
        readers.tile(SLIDE, (1, 0, 2), "ann")
