"""Training straight from slides: the members of the tile store, bit for bit; a bad slide stops it, and is named."""

import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from made_damage import HALF_LOST, with_changed_tiles
from made_slides import texture, write_pyramid
from made_store import made_many, made_settings

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import ConfigError, InputError
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.requests import TileRequests
from pathoprog.system.files import read_json, sha256_file
from pathoprog.tiles.config import TileSpec
from pathoprog.training import control, cross_validate, tiles, train_ensemble
from pathoprog.training.config import ControlConfig, CrossValidateConfig, TilesConfig
from pathoprog.training.config import TrainConfig as Settings
from pathoprog.training.data import slide_source, tile_store
from pathoprog.training.data.bags import BagBatch, Sampler, make_ready, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.prefetch import Prefetch, in_turn
from pathoprog.training.train import run, train

SIZE_PX = 32


@dataclass
class Made:
    """A cohort of slides whose tiles lie in a store too, and the run from that store."""

    data: DataSettings
    out: Path


def settings_of(data: DataSettings, out: Path, **fit: object) -> Settings:
    return made_settings(replace(data), out, **{"steps": 4, "evaluate_every": 2, "recalibrate": 2, **fit})


def from_slides(data: DataSettings, out: Path, workers: int = 2, **fit: object) -> Settings:
    settings = settings_of(data, out, **fit)
    settings.data.source, settings.data.store = "slides", ""
    settings.data.stream = StreamSettings(workers=workers, batch_tiles=4, buffer_mib=1)
    return settings


def members(out: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in [*out.glob("*.safetensors"), out / "candidate.json"]}


def nothing(_: int) -> None:
    return None


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    rows, outcomes = [], []
    for number in range(8):
        name = f"P{number}"
        for block in "AB"[: 1 + number % 2]:  # some patients have two slides
            slide = folder / f"{name}{block}.tif"
            picture = texture(420 + 40 * number, 400, seed=number, margin=40)
            # as Aperio's are, as others', and past what the fast path reads
            write_pyramid(slide, picture, compression="deflate" if number == 5 else "jpeg", levels=1 + number % 3)
            role = "training" if number < 5 else "tuning"
            rows.append([name, f"{name} {block}", str(slide), block, "north", role])
        outcomes.append([name, 400 + 9 * number if number % 2 else 2300, number % 2])
    columns = ["patient_id", "slide_id", "slide_path", "block_id", "cohort", "role"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "cohort.csv", index=False)
    columns = ["patient_id", "followup_days", "event"]
    pd.DataFrame(outcomes, columns=columns).to_csv(folder / "outcomes.csv", index=False)
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        store=str(folder / "store"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, SIZE_PX),
        tiles_40x=TileSpec("40x", 0.25, SIZE_PX, max_per_slide=30),
        stream=StreamSettings(workers=2),
    )
    assert run(settings_of(data, folder / "stored")) == 0
    return Made(data, folder / "stored")


def test_the_member_is_that_of_the_store_bit_for_bit(made, tmp_path):
    assert run(from_slides(made.data, tmp_path / "run")) == 0
    assert len(members(made.out)) == 4  # the last, the two best, what they are
    assert members(tmp_path / "run") == members(made.out)
    assert not list((tmp_path / "run").rglob("*.npy"))
    for name in ("P1 A", "P7 B"):
        wanted = tile_store.read_look(name, made.data)
        assert wanted is not None and wanted[1] > 0, "the look of the slides is kept for the bundle's quality"
        kept = replace(made.data, source="slides", store=str(tmp_path / "run"))
        assert tile_store.read_look(name, kept) == wanted


@pytest.mark.parametrize("resolution", ["10x", "40x"])
@pytest.mark.parametrize(("workers", "depth"), [(1, 0), (1, 2), (3, 3)])
def test_bags_are_those_of_the_store_whatever_the_number_of_readers(made, tmp_path, resolution, workers, depth):
    stored = settings_of(made.data, tmp_path)
    slides = from_slides(made.data, tmp_path, workers)
    stored.resolution = slides.resolution = resolution
    slide_source.settle(slides)
    cohort = read_cohort(made.data.cohort)
    assert not make_ready(cohort[cohort["role"] == "training"], slides.data)
    with TileRequests(slides.data.stream) as requests:
        drawn = []
        for patients in (read_patients(stored, "training"), read_patients(slides, "training", requests)):
            sampler = Sampler(patients, "class", 4, 7, seed=3)
            with Prefetch(sampler, 0, 5, depth) as batches:
                drawn.append([batches.get(step) for step in range(5)])
            drawn[-1].append([patient.gather(np.arange(patient.n_tiles)[::-1]) for patient in patients])
    assert len(drawn[0][5]) == 5 and all(len(tiles) > 3 for tiles in drawn[0][5])
    for wanted, found in zip(drawn[0][:5], drawn[1][:5], strict=True):
        assert found.patients == wanted.patients and found.tiles.dtype == np.uint8
        assert np.array_equal(found.tiles, wanted.tiles) and wanted.tiles.std() > 1
    for wanted, found in zip(drawn[0][5], drawn[1][5], strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("workers", "then"),
    [pytest.param(1, 3, marks=pytest.mark.slow), (3, 1), pytest.param(2, 0, marks=pytest.mark.slow)],
)
def test_stopped_and_resumed_with_other_readers_or_from_the_store_gives_the_same_bits(made, tmp_path, workers, then):
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    settings = from_slides(made.data, tmp_path / "run", workers)
    slide_source.settle(settings)
    cohort = read_cohort(made.data.cohort)
    make_ready(cohort, settings.data)
    with pytest.raises(KeyboardInterrupt):
        train(settings, stop)
    assert read_json(tmp_path / "run" / "run.json") == read_json(made.out / "run.json")
    laid = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "grids").rglob("*.json")}
    out = tmp_path / "run"
    assert run(from_slides(made.data, out, then) if then else settings_of(made.data, out)) == 0
    assert members(tmp_path / "run") == members(made.out)
    assert {path: path.stat().st_mtime_ns for path in laid} == laid and len(laid) == 2 * len(cohort)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_is_asked_for_than_the_depth_allows(depth):
    asked = []

    class Counting:
        def ask(self, step):
            asked.append(step)
            return lambda run=map: BagBatch([step], np.zeros((1, 1), np.uint8), [1])

    with Prefetch(Counting(), 2, 10, depth) as batches:
        for step in range(2, 10):
            assert batches.get(step).patients == [step]
            assert asked == list(range(2, len(asked) + 2)) and len(asked) <= step - 2 + depth + 1
    assert asked == list(range(2, 10))

    asked.clear()
    for number, found in enumerate(in_turn((partial(Counting().ask, step) for step in range(8)), depth)):
        assert found.patients == [number] and len(asked) == min(8, number + depth + 1)


def spoilt(made: Made, folder: Path) -> tuple[DataSettings, Path]:
    """The same cohort with copies of its slides, and the file of one that is to be spoilt."""
    cohort = pd.read_csv(made.data.cohort)
    for number, path in enumerate(cohort["slide_path"]):
        cohort.loc[number, "slide_path"] = shutil.copy2(path, folder)
    cohort.to_csv(folder / "cohort.csv", index=False)
    return replace(made.data, cohort=str(folder / "cohort.csv")), folder / "P2A.tif"


def test_a_slide_that_cannot_be_opened_stops_before_training_and_is_named(made, tmp_path, capsys):
    data, victim = spoilt(made, tmp_path)
    victim.write_bytes(victim.read_bytes()[:2000])
    (tmp_path / "P7B.tif").unlink()
    with pytest.raises(InputError, match=r"2 of 12 slides cannot be read, first P.*give the same command again"):
        run(from_slides(data, tmp_path / "run"))
    said = capsys.readouterr().err
    assert "P2 A: " in said and "P7 B: " in said and "no such file" in said
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_half_lost_tiles_stop_training_and_enter_no_store(made, tmp_path, capsys):
    data, victim = spoilt(made, tmp_path)
    with_changed_tiles(victim, tmp_path / "half.tif", HALF_LOST["zeroed"], {0: None}).replace(victim)
    with pytest.raises(InputError, match=r"1 of 12 slides cannot be read, first P2 A"):
        run(from_slides(data, tmp_path / "run"))
    assert not (tmp_path / "run" / "candidate.json").exists()
    store = replace(data, store=str(tmp_path / "store"))
    assert tile_store.build(read_cohort(data.cohort), store) == 1
    said = capsys.readouterr().err
    assert said.count("P2 A: ") == 2 and said.count("damaged data of the tile at level 0") == 2
    assert "P2 A" not in tile_store.read(["P0 A", "P2 A"], store, "40x")


def test_a_slide_that_breaks_on_the_way_stops_training_and_is_named(made, tmp_path):
    data, victim = spoilt(made, tmp_path)
    whole, settings = victim.read_bytes(), from_slides(data, tmp_path / "run", prefetch=0)

    def spoil(done: int) -> None:
        if done == 2:
            victim.write_bytes(whole[:2000])

    slide_source.settle(settings)
    make_ready(read_cohort(data.cohort), settings.data)
    with pytest.raises(InputError, match=r"^P2 A: .*P2A\.tif.*; training has stopped: mend or replace the file"):
        train(settings, spoil)
    assert not (tmp_path / "run" / "candidate.json").exists()
    victim.write_bytes(whole)
    assert run(from_slides(data, tmp_path / "run")) == 0, "mended, the same command goes on"
    assert members(tmp_path / "run") == members(made.out)


def test_a_slide_without_a_grid_is_no_slide_without_tiles(made, tmp_path):
    settings = from_slides(made.data, tmp_path)
    slide_source.settle(settings)
    with pytest.raises(InputError, match=r"P0 A: no grid of its tiles in .*P0 A\.json"):
        read_patients(settings, "training")


def test_grids_are_laid_again_where_what_they_depend_on_has_changed(made, tmp_path, capsys):
    data, victim = spoilt(made, tmp_path)
    data = replace(data, source="slides", store=str(tmp_path / "kept"))
    cohort = read_cohort(data.cohort)

    def laid() -> str:
        capsys.readouterr()
        assert not make_ready(cohort, data)
        return capsys.readouterr().out

    assert "0 there, 12 to lay" in laid()
    assert "12 there, 0 to lay" in laid()
    write_pyramid(victim, texture(500, 500, seed=99))
    assert "11 there, 1 to lay" in laid()
    data.tiles_10x.min_coverage = 0.8
    assert "0 there, 12 to lay" in laid()


def test_many_candidates_share_grids_and_cores(made, tmp_path, monkeypatch):
    monkeypatch.setattr("pathoprog.training.train_ensemble.cores", lambda: 12)
    settings = made_many(from_slides(made.data, tmp_path, workers=0), 2, workers=3)
    slide_source.settle(settings)
    for task in train_ensemble.make_tasks(settings):
        assert task.settings.data.store == str(tmp_path) and task.settings.data.stream.workers == 4
    settings.data.stream.workers = 5
    assert {task.settings.data.stream.workers for task in train_ensemble.make_tasks(settings)} == {5}


@pytest.mark.slow
def test_train_ensemble_and_cross_validate_give_the_members_of_the_store(made, tmp_path):
    found = {}
    for source in ("store", "slides"):
        one = (from_slides if source == "slides" else settings_of)(made.data, tmp_path / source)
        many = made_many(one, 1, workers=2)
        assert train_ensemble.run(many) == 0
        folded = CrossValidateConfig(**{**vars(many), "out": str(tmp_path / source / "cv")})
        folded.split.folds = 2
        assert cross_validate.run(folded) == 0
        out = tmp_path / source
        found[source] = {str(path.relative_to(out)): sha256_file(path) for path in out.rglob("*.safetensors")}
        found[source]["table"] = (out / "cv" / "cross_validation.csv").read_text()
    assert len(found["store"]) > 12 and found["slides"] == found["store"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "ray"}, r"^data\.stream\.workers=0: with data\.source=slides and engine=ray"),
        ({"size_px": 900}, r"^data\.stream\.buffer_mib=4: .*data\.tiles_40x\.size_px=900 it must be at least 7"),
        ({"encoder": "none"}, r"^data\.source=slides with network\.encoder=none: .*tiles need an encoder"),
    ],
)
def test_what_does_not_go_together_is_named_before_any_work(made, tmp_path, change, message):
    settings = made_many(from_slides(made.data, tmp_path / "run", workers=0), 1)
    settings.data.stream.buffer_mib = 4
    settings.engine = change.get("engine", settings.engine)
    settings.network.encoder = change.get("encoder", settings.network.encoder)
    settings.data.tiles_40x = replace(settings.data.tiles_40x, size_px=change.get("size_px", SIZE_PX))
    with pytest.raises(ConfigError, match=message):
        train_ensemble.run(settings)
    assert not (tmp_path / "run").exists()


def test_who_cuts_tiles_wants_a_store(made):
    data = replace(made.data, source="slides", store="")
    with pytest.raises(ConfigError, match=r"^data\.store is missing"):
        tiles.run(TilesConfig(data=data))
    with pytest.raises(ConfigError, match=r"^data\.source=slides: the control cuts tiles of its own"):
        control.run(ControlConfig(data=data))
