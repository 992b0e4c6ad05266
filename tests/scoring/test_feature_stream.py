"""Features of other tools as events of the stream: what scoring is told of each slide, and of each that fails."""

import h5py
import numpy as np
import pytest
from made_foreign import write_clam, write_stamp, write_stamp_whole, write_trident

from pathoprog.networks.features import read_features, write_features
from pathoprog.scoring.feature_stream import feature_events
from pathoprog.stream.events import SlideDone, SlideFailed, SlideJob, SlideOpened, TileBatch
from pathoprog.tiles.config import TileSpec

VALUES = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
SPECS = [TileSpec("10x", 1.0), TileSpec("40x", 0.25)]
BATCH = {"10x": 3, "40x": 100}


def files(write, folder, name="S1", values=VALUES):
    return {spec.resolution: write(folder / spec.resolution, name, values) for spec in SPECS}


def events_of(paths, makers):
    jobs = [None, SlideJob("S1", "", SPECS, features={name: str(path) for name, path in paths.items()})]
    return list(feature_events(jobs, makers, BATCH))


def makers_of(paths):
    return {name: read_features(path).maker for name, path in paths.items()}


@pytest.mark.parametrize(("write", "unit"), [(write_trident, "px"), (write_clam, "px"), (write_stamp, "um")])
def test_a_slide_s_tiles_come_in_batches(tmp_path, write, unit):
    paths = files(write, tmp_path, "S1.svs" if write is write_stamp else "S1")
    first, *batches, last = events_of(paths, makers_of(paths))
    assert isinstance(first, SlideOpened) and isinstance(last, SlideDone)
    assert all(isinstance(batch, TileBatch) for batch in batches)
    sizes = [(batch.resolution, batch.start, len(batch.tiles)) for batch in batches]
    assert sizes == [("10x", 0, 3), ("10x", 3, 3), ("10x", 6, 1), ("40x", 0, 7)]
    assert np.allclose(np.concatenate([batch.tiles for batch in batches[:3]]), VALUES, atol=2e-3)
    assert first.features.unit == unit and len(first.sha256) == 64 and not first.refused
    assert max(first.thumbnail.shape[:2]) == 640 and len(first.grids["10x"]) == 7
    assert first.grids["10x"].width0 == (512.0 if write is write_trident else 256.0)


def test_slides_of_the_same_values_have_one_hash_and_others_another(tmp_path):
    one, two = files(write_trident, tmp_path, "S1"), files(write_trident, tmp_path, "S2")
    other = files(write_trident, tmp_path, "S3", VALUES + 1)
    hashes = [events_of(paths, makers_of(paths))[0].sha256 for paths in (one, two, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_vector_of_a_slide_has_no_place(tmp_path):
    paths = files(write_stamp_whole, tmp_path, values=VALUES[0])
    first, *batches, _ = events_of(paths, makers_of(paths))
    assert first.features.unit == "" and [batch.tiles.shape for batch in batches] == [(1, 4), (1, 4)]


def nothing(paths):
    paths["40x"] = write_clam(paths["40x"].parents[1], "S1", VALUES[:0])


def absent(paths):
    del paths["40x"]


def gone(paths):
    paths["40x"].unlink()


def ours(paths):
    path = paths["40x"].with_suffix(".safetensors")
    write_features(path, VALUES, np.arange(7), np.arange(7), {"encoder": {}, "spec": {}})
    paths["40x"] = path


def wider(paths):
    paths["40x"] = write_clam(paths["40x"].parents[1], "S1", np.ones((7, 5), np.float32))


def with_nan(paths):
    with h5py.File(paths["40x"], "a") as file:
        file["features"][6, 3] = np.nan


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (absent, "no features at 40x: the members take those of CLAM"),
        (gone, "S1.h5: not an h5 file"),
        (ours, "features of `pathoprog features`; the members take those of CLAM"),
        (wider, "they differ in d (5 and 4)"),
        (with_nan, "hold NaN"),
    ],
)
def test_what_cannot_be_scored_fails_by_itself_without_naming_a_folder(tmp_path, harm, said):
    paths = files(write_clam, tmp_path)
    makers = makers_of(paths)
    harm(paths)
    (event,) = events_of(paths, makers)
    assert isinstance(event, SlideFailed) and said in str(event.error) and str(tmp_path) not in str(event.error)


def test_no_tile_is_the_reason_why_there_is_no_grid(tmp_path):
    paths = files(write_clam, tmp_path)
    makers = makers_of(paths)
    nothing(paths)
    first, *batches, last = events_of(paths, makers)
    assert first.refused == {"40x": "no 40x score: no tile in its features"} and list(first.grids) == ["10x"]
    assert {batch.resolution for batch in batches} == {"10x"} and isinstance(last, SlideDone)
