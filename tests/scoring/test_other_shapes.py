"""A bundle of two members at 20x: what scoring says, and how its rows look."""

import numpy as np
import pytest
import torch
from made_bundle import made_bundle

from pathoprog.ensemble.loading import load_bundle
from pathoprog.ensemble.shape import METHOD_SHAPE
from pathoprog.regions.tissue import RegionMask
from pathoprog.scoring.patients import PATIENT_COLUMNS, member_rows, patient_columns, patient_row, patient_slide
from pathoprog.scoring.patients import score_patients as joined
from pathoprog.scoring.results import RESULT_COLUMNS, Context, result_columns, result_record, slide_row
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_result import SlideRun, read_result_text, result_text
from pathoprog.scoring.slide_scores import score_stream
from pathoprog.settings import as_dict
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.slide_stream import SlideDone, SlideOpened, TileBatch
from pathoprog.system.records import RecordError
from pathoprog.tiles.grid import TileGrid, standard_spec

SIZE = 32


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    made = made_bundle(tmp_path_factory.mktemp("twenty") / "bundle", SIZE, members={"20x": 2}, aggregation="mean")
    return Scorer(load_bundle(made), torch.device("cpu"))


def outcome_of(scorer, name, seed):
    n, spec = 4, standard_spec("20x", SIZE)
    places = np.arange(n, dtype=np.int64) * 64
    grid = TileGrid(spec, places, np.zeros(n, np.int64), np.ones(n, np.float32), 64.0, 64.0, n)
    facts = SlideFacts("x", "made", "made", 900, 900, (Level(900, 900, 1.0),), 0.25, 0.25, 40.0, ())
    mask = RegionMask(np.ones((4, 4), bool), 225.0, 225.0, 8.0)
    opened = SlideOpened(
        name, facts, {"20x": grid}, {}, np.zeros((9, 9, 3), np.uint8), 100.0, mask, "tissue", None, 1e4, 1e4, "0" * 64
    )
    tiles = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    (outcome,) = score_stream([opened, TileBatch(name, "20x", 0, tiles), SlideDone(name, 1.0)], scorer)
    return outcome


def context_of(scorer, name, patient):
    manifest = scorer.bundle.manifest
    settings = {"tile_specs": [as_dict(spec) for spec in scorer.bundle.specs.values()]}
    caution = manifest.shape.caution
    return Context(name, patient, "", "external", "k", "e", manifest.cuts, settings, caution=caution)


def test_a_slide_has_one_score_and_one_of_two_classes(scorer):
    outcome = outcome_of(scorer, "A", 1)
    assert outcome.status == "scored" and list(outcome.resolutions) == ["20x"]
    score = outcome.resolutions["20x"]
    assert score.members == ["20x-0", "20x-1"] and score.tile_scores.shape == (4, 2)
    assert outcome.risk_class == ("poor" if score.score >= 0.5 else "good")
    for value, said in ((0.49, ("good", False)), (0.5, ("poor", True)), (0.51, ("poor", False))):
        assert scorer.classify({"20x": value}) == said


def test_its_rows_are_of_its_resolution_and_say_what_it_is(scorer):
    shape, slides = scorer.bundle.manifest.shape, []
    for name, seed in (("A", 1), ("B", 2)):
        context = context_of(scorer, name, "P")
        result = result_record(outcome_of(scorer, name, seed), context)
        assert read_result_text(result_text(result)) == result and result.resolutions == ("20x",)
        run = SlideRun(software_version="0", device="cpu", attempt=1, host="h", finished_at="2026", seconds=1.0)
        row = slide_row(result, run, context)
        assert tuple(row) == result_columns(["20x"]) and float(row["score_20x"]) == result.scores["20x"].score
        assert row["n_tiles_20x"] == 4 and row["quality"].split(";")[-1] == shape.caution
        slides.append(patient_slide(context, result))
    (patient,) = joined(slides, "mean", lambda: scorer, lambda name: {})
    row = patient_row(patient, scorer.bundle.thresholds, shape=shape)
    assert tuple(row) == patient_columns(shape) and row["caution"] == shape.caution
    assert float(row["one_number"]) == float(row["score_20x"]) - 0.5 and row["risk_class"] in ("good", "poor")
    assert {one["resolution"] for one in member_rows(patient)} == {"20x"}


def test_a_scored_result_without_its_resolution_is_refused(scorer):
    text = result_text(result_record(outcome_of(scorer, "A", 1), context_of(scorer, "A", "P")))
    with pytest.raises(RecordError, match=r"^scores: lacks 20x$"):
        read_result_text(text.replace('"20x": {', '"10x": {', 1))


def test_methods_columns_are_as_they_were():
    assert result_columns() == RESULT_COLUMNS and patient_columns(METHOD_SHAPE) == PATIENT_COLUMNS
    assert [name for name in RESULT_COLUMNS if "0x" in name] == ["score_10x", "score_40x", "n_tiles_10x", "n_tiles_40x"]
    assert "caution" not in PATIENT_COLUMNS
