"""One store, several specs: tiles cut in another way lie beside these, and no candidate ever reads a mixture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from made_slides import texture, write_pyramid
from made_store import made_settings, made_store

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import InputError
from pathoprog.stream.config import StreamSettings
from pathoprog.tiles.config import TileSpec
from pathoprog.training.data import tile_store
from pathoprog.training.data.bags import read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.train import train


@pytest.fixture
def data(tmp_path):
    rows = ["patient_id,slide_id,slide_path,cohort,role"]
    for number in range(3):
        write_pyramid(tmp_path / f"S{number}.tif", texture(500, 500, seed=number, margin=20))
        rows.append(f"P{number},S{number},S{number}.tif,north,training")
    (tmp_path / "cohort.csv").write_text("\n".join(rows))
    return DataSettings(
        str(tmp_path / "cohort.csv"),
        store=str(tmp_path / "store"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, 32),
        tiles_40x=TileSpec("40x", 0.25, 32, max_per_slide=20),
        stream=StreamSettings(workers=1),
    )


def read(data, resolution="40x"):
    return tile_store.read(["S0", "S1", "S2"], data, resolution)


@pytest.mark.parametrize(
    "change",
    [
        {"tiles_40x": TileSpec("40x", 0.25, 48, max_per_slide=20)},
        {"tiles_40x": TileSpec("40x", 0.25, 32, max_per_slide=7)},
        {"tiles_40x": TileSpec("40x", 0.25, 32, max_per_slide=20, min_coverage=0.9)},
        {"tiles_40x": TileSpec("40x", 0.26, 32, max_per_slide=20)},
    ],
)
def test_a_second_cut_leaves_the_first_and_cuts_only_what_differs(data, change, capsys):
    cohort, other = read_cohort(data.cohort), replace(data, **change)
    assert tile_store.build(cohort, data) == 0
    before = {name: (slide.tiles[...], slide.places) for name, slide in read(data).items()}
    tens = {path: path.stat().st_mtime_ns for path in tile_store.cut_folder(data, "10x").iterdir()}
    with pytest.raises(InputError, match=r"run `pathoprog tiles` first \(it holds tiles of other settings, 32px-"):
        read_patients(settings_of(other), "training")
    assert tile_store.build(cohort, other) == 0
    assert len(before) == 3
    for name, slide in read(data).items():
        assert np.array_equal(slide.tiles[...], before[name][0]) and slide.places == before[name][1]
    assert {slide.tiles.shape[1] for slide in read(other).values()} == {other.tiles_40x.size_px}
    assert {slide.places for slide in read(other).values()}.isdisjoint({places for _, places in before.values()})
    assert {path: path.stat().st_mtime_ns for path in tens} == tens, "10x is the same, and was not cut again"
    for one in (data, other):
        capsys.readouterr()
        assert tile_store.build(cohort, one) == 0
        assert "3 slides there, 0 to cut" in capsys.readouterr().out


def settings_of(data):
    (outcomes := pd.DataFrame({"patient_id": ["P0", "P1", "P2"], "followup_days": 500, "event": 1}))
    path = data.cohort.replace("cohort.csv", "outcomes.csv")
    outcomes.to_csv(path, index=False)
    settings = made_settings(replace(data, outcomes=path), "unused")
    settings.resolution = "40x"
    return settings


def test_a_slide_that_is_cut_again_on_the_way_stops_the_candidate_that_reads_it(data):
    cohort = read_cohort(data.cohort)
    tile_store.build(cohort, data)
    stored = read(data)
    write_pyramid(data.store.replace("store", "S1.tif"), texture(500, 500, seed=9, margin=20))
    assert tile_store.build(cohort, data) == 0
    stored["S0"].tiles[[0]]
    with pytest.raises(InputError, match=r"S1\.npy: has changed since it was first read; give the command again"):
        stored["S1"].tiles[[0]]


def test_tiles_of_a_slide_that_changed_and_cannot_be_read_are_not_taken_for_it(data, capsys):
    cohort = read_cohort(data.cohort)
    tile_store.build(cohort, data)
    Path(data.store.replace("store", "S1.tif")).write_bytes(b"half a copy")
    assert tile_store.build(cohort, data) == 1
    assert "S1: " in capsys.readouterr().err and sorted(read(data)) == ["S0", "S2"]


def test_what_does_not_fit_the_spec_is_refused(data):
    tile_store.build(read_cohort(data.cohort), data)
    path = tile_store.cut_folder(data, "40x") / "S1.npy"
    np.save(path, np.zeros((20, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match=r"S1\.npy: holds \[20, 16, 16, 3\], not 20 tiles of 32 px; delete it"):
        tile_store.read(["S1"], data, "40x")
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match=r"S1\.json: damaged"):
        tile_store.read(["S1"], data, "40x")
    assert "S1" not in read(data) and len(read(data)) > 0, "it stops no other"


def test_tiles_of_the_earlier_layout_are_not_read_and_that_is_said(data, capsys):
    old = tile_store.cut_folder(data, "10x").parent
    old.mkdir(parents=True)
    np.save(old / "S0.npy", np.zeros((2, 32, 32, 3), np.uint8))
    assert tile_store.build(read_cohort(data.cohort), data) == 0
    assert "an earlier version's and are not read; delete them" in capsys.readouterr().err
    assert len(read(data, "10x")) == 3


def test_a_candidate_says_on_which_tiles_it_learned(tmp_path):
    data = made_store(tmp_path / "data")
    one = train(made_settings(data, tmp_path / "one", steps=1), lambda _: None)
    moved = tile_store.cut_folder(data, "10x") / "P003-A.json"
    moved.write_text(moved.read_text().replace("[0, 32, 64", "[1, 32, 64"))
    two = train(made_settings(data, tmp_path / "two", steps=1), lambda _: None)
    for name in ("n_patients", "n_slides", "n_tiles", "n_events"):
        assert getattr(one.cohorts["training"], name) == getattr(two.cohorts["training"], name)
    assert one.cohorts["training"].sha256 != two.cohorts["training"].sha256
    assert one.cohorts["tuning"] == two.cohorts["tuning"] and one.recipe == two.recipe
