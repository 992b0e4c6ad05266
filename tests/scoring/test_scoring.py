"""Slides from the stream's events: scores, and why there are none."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from made_bundle import made_bundle

from pathoprog.ensemble.loading import load_bundle
from pathoprog.errors import SlideError
from pathoprog.regions.tissue import RegionMask
from pathoprog.scoring.arrived_tiles import TilesOnDevice
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_scores import score_stream
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideOpened, TileBatch
from pathoprog.tiles.grid import TileGrid, standard_spec

SIZE = 32


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return Scorer(load_bundle(made_bundle(tmp_path_factory.mktemp("scoring") / "bundle", SIZE)), torch.device("cpu"))


def grid(resolution, n):
    spec = standard_spec(resolution, SIZE)
    side = SIZE * spec.mpp / 0.25
    places = (np.arange(n) * side).astype(np.int64)
    return TileGrid(spec, places, np.zeros(n, np.int64), np.ones(n, np.float32), side, side, n)


def opened(slide_id="S1", n_10x=3, n_40x=5, mpp=0.25, refused=None, warnings=()):
    facts = SlideFacts("x", "made", "made", 900, 900, (Level(900, 900, 1.0),), mpp, mpp, 40.0, warnings)
    grids = {name: grid(name, n) for name, n in (("10x", n_10x), ("40x", n_40x)) if n is not None}
    mask = RegionMask(np.ones((4, 4), bool), 225.0, 225.0, 8.0)
    thumbnail = np.zeros((9, 9, 3), np.uint8)
    return SlideOpened(
        slide_id, facts, grids, refused or {}, thumbnail, 100.0, mask, "tissue", None, 1e4, 1e4, "0" * 64
    )


def pixels(n, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def batches(slide_id, resolution, n, seed, size=2):
    tiles = pixels(n, seed)
    return [TileBatch(slide_id, resolution, start, tiles[start : start + size]) for start in range(0, n, size)]


def slide_events(slide_id="S1", seed=0, **changes):
    event = opened(slide_id, **changes)
    tiles = [
        batch
        for index, (name, grid_) in enumerate(event.grids.items())
        for batch in batches(slide_id, name, len(grid_), seed + index)
    ]
    return [event, *tiles, SlideDone(slide_id, 1.5)]


def only(results):
    (result,) = results
    return result


def test_each_tile_goes_once_to_the_five_networks_of_its_resolution(scorer):
    counted = []
    result = only(score_stream(slide_events(), scorer, on_tiles=counted.append))
    assert result.status == "scored" and result.risk_class in ("good", "uncertain", "poor")
    assert sum(counted) == 8 and result.seconds == 1.5
    for index, (resolution, n) in enumerate((("10x", 3), ("40x", 5))):
        score = result.resolutions[resolution]
        assert score.members == [f"{resolution}-{i}" for i in range(5)]
        instances = scorer.instances(resolution, pixels(n, index))
        expected = scorer.bag_scores(resolution, instances)
        risks = torch.tensor(result.resolutions[resolution].member_risks)
        assert torch.sigmoid(risks).tolist() == pytest.approx(expected, abs=1e-6), "these members' maps change nothing"
        assert score.member_scores == pytest.approx(expected, abs=1e-6)
        assert score.score == pytest.approx(np.mean(expected), abs=1e-6)
        assert score.tile_scores.shape == (n, 5)


def test_interleaved_slides_get_the_scores_they_have_alone(scorer):
    one, other = slide_events("A", seed=1), slide_events("B", seed=7)
    mixed = [event for pair in zip(one, other, strict=True) for event in pair]
    alone = {result.slide_id: result for events in (one, other) for result in score_stream(events, scorer)}
    together = {result.slide_id: result for result in score_stream(mixed, scorer)}
    assert alone.keys() == together.keys() == {"A", "B"}
    for name, result in together.items():
        for resolution in ("10x", "40x"):
            assert result.resolutions[resolution].member_scores == alone[name].resolutions[resolution].member_scores
    assert alone["A"].resolutions["10x"].score != alone["B"].resolutions["10x"].score


def test_without_40x_it_is_not_reportable_and_keeps_its_10x_map(scorer):
    refused = {"40x": "no 40x score: the slide has 0.5 um/px"}
    result = only(score_stream(slide_events(n_40x=None, mpp=0.5, refused=refused), scorer))
    assert (result.status, result.risk_class, result.reason) == ("not_reportable", "", refused["40x"])
    assert list(result.resolutions) == ["10x"] and len(result.resolutions["10x"].tile_scores) == 3


def test_a_slide_without_tiles_is_not_reportable(scorer):
    result = only(score_stream(slide_events(n_10x=0, n_40x=0), scorer))
    assert result.status == "not_reportable" and not result.resolutions
    assert result.reason.count("no tile with at least 50% tissue") == 2


def test_upsampling_and_warnings_are_flagged(scorer):
    result = only(score_stream(slide_events(mpp=0.5, warnings=("the objective contradicts",)), scorer))
    assert result.status == "scored"
    assert result.quality == ["upsampled: not validated", "warning: the objective contradicts"]
    assert only(score_stream(slide_events(mpp=0.27), scorer)).quality == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_failures_never_a_class(scorer, monkeypatch, value):
    real = scorer.scores_of
    monkeypatch.setattr(
        scorer,
        "scores_of",
        lambda resolution, risks: [*real(resolution, risks)[:4], value if resolution == "40x" else 0.1],
    )
    result = only(score_stream(slide_events(), scorer))
    assert (result.status, result.risk_class, result.code) == ("failed", "", "not_finite")
    assert "40x-4" in result.reason and not result.resolutions


def test_a_real_nan_in_the_weights_is_found(tmp_path):
    broken = Scorer(load_bundle(made_bundle(tmp_path / "bundle", SIZE)), torch.device("cpu"))
    broken.bundle.members["10x"][2].network.instance.weight.data.fill_(float("nan"))
    result = only(score_stream(slide_events(), broken))
    assert result.status == "failed" and "10x-2" in result.reason


def test_missing_tiles_never_make_a_score(scorer):
    events = slide_events()
    del events[-2]
    result = only(score_stream(events, scorer))
    assert (result.status, result.code) == ("failed", "incomplete")


def test_a_slide_that_fails_midway_is_one_failed_outcome(scorer):
    events = [*slide_events()[:3], SlideFailed("S1", SlideError("S1: damaged tile"), "tiles"), *slide_events("S2")]
    first, second = score_stream(events, scorer)
    assert (first.status, first.reason, first.stage, first.code) == (
        "failed",
        "S1: damaged tile",
        "tiles",
        "unreadable",
    )
    assert first.opened is not None and second.status == "scored"


def test_a_slide_that_cannot_be_judged_is_not_reportable(scorer):
    error = SlideError("no um/px in the file; give slides.mpp=…", "mpp_missing", not_reportable=True)
    result = only(score_stream([SlideFailed("S1", error, "open")], scorer))
    assert (result.status, result.code) == ("not_reportable", "mpp_missing")


def answer(wanted):
    known = Future()
    known.set_result(wanted)
    return known


def test_unwanted_slides_cost_no_networks(scorer):
    counted = []
    events = [*slide_events("A"), *slide_events("B")]
    results = list(score_stream(events, scorer, lambda slide: answer(slide.slide_id == "B"), counted.append))
    assert [result.slide_id for result in results] == ["B"] and sum(counted) == 8


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("end", ["done", "failed"])
def test_nobody_waits_for_the_answer_but_a_slide_s_end(scorer, wanted, end):
    asked, counted, told = Future(), [], []

    def events():
        first = slide_events("A", seed=3)
        yield from first[:-1]
        assert sum(counted) == 8 and not asked.done() and not told  # all its tiles are on their way by now
        threading.Timer(0.2, asked.set_result, [wanted]).start()
        yield first[-1] if end == "done" else SlideFailed("A", SlideError("gone", "io"), "tiles")
        yield from slide_events("B")

    for result in score_stream(events(), scorer, lambda one: asked if one.slide_id == "A" else None, counted.append):
        assert asked.done()
        told.append(result)
    assert [result.slide_id for result in told] == ["A", "B"][not wanted :]
    if wanted and end == "done":
        alone = only(score_stream(slide_events("A", seed=3), scorer))
        assert {r: s.member_scores for r, s in told[0].resolutions.items()} == {
            r: s.member_scores for r, s in alone.resolutions.items()
        }


def test_what_goes_wrong_with_a_slide_that_was_handed_back_is_nobody_s(scorer):
    broken = [*slide_events("A")[:2], SlideFailed("A", SlideError("gone", "io"), "tiles")]
    assert list(score_stream(broken, scorer, lambda slide: answer(False))) == []


def test_a_device_without_memory_for_one_tile_fails_the_slide_alone(scorer, monkeypatch):
    def nothing_fits(resolution, tiles):
        raise torch.OutOfMemoryError("made for the test")

    monkeypatch.setattr(scorer, "instances", nothing_fits)
    result = only(score_stream(slide_events(), scorer))
    assert (result.status, result.code, result.stage) == ("failed", "device_memory", "scoring")


def test_a_slide_s_result_is_the_same_where_its_tiles_stay_on_the_device(scorer, monkeypatch):
    wanted = only(score_stream(slide_events(n_40x=11), scorer))
    monkeypatch.setattr(scorer, "on_device", lambda tiles: torch.from_numpy(tiles.copy()))
    fetched = []
    fetch = TilesOnDevice.fetch
    monkeypatch.setattr(TilesOnDevice, "fetch", lambda tiles: fetched.append(len(tiles)) or fetch(tiles))

    def events():
        for event in slide_events(n_40x=11):
            assert not fetched, "a batch was waited for before the slide was done"
            yield event

    found = only(score_stream(events(), scorer))
    assert fetched == [3, 11] and found.risk_class == wanted.risk_class
    for resolution, score in found.resolutions.items():
        other = wanted.resolutions[resolution]
        assert score.member_scores == other.member_scores
        assert np.array_equal(score.tile_scores, other.tile_scores)
        assert [number for number, _ in score.strongest] == [number for number, _ in other.strongest]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(score.strongest, other.strongest, strict=True))
