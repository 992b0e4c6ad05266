"""A damaged file of one slide never stops the others: it is named, listed, counted, and took no part."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from made_slides import texture, write_pyramid
from made_store import made_settings, made_store
from safetensors.numpy import save_file

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import InputError
from pathoprog.networks.features import write_features
from pathoprog.stream.config import StreamSettings
from pathoprog.training import train as train_module
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data import feature_store, tile_store
from pathoprog.training.data.bags import make_ready, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.learners import facts_of_parts, read_parts, who_was_used
from pathoprog.training.data.left_out import LEFT_OUT, some_failed
from pathoprog.training.lock.development import add_development
from pathoprog.training.lock.tuning_slides import StoredTiles

D = 4
DAMAGE = ("cut short", "empty", "wrong d", "NaN", "no features")


def features_of(folder: Path) -> TrainConfig:
    """Settings of a training on features of ours, 32 slides at two resolutions."""
    data = made_store(folder)
    rng = np.random.default_rng(1)
    for resolution in ("10x", "40x"):
        for number in range(32):
            write(folder / "features" / resolution / f"P{number:03d}-A.safetensors", rng.normal(size=(6, D)), number)
    data.source, data.features, data.store, data.max_missing = "features", str(folder / "features"), "", 0.25
    settings = made_settings(data, folder / "run")
    settings.network.encoder, settings.network.width, settings.network.feature_dim = "none", 1.0, D
    return settings


def write(path: Path, values: np.ndarray, number: int) -> None:
    facts = {"slide_id": path.stem, "slide_sha256": f"{number:064d}", "width0": 9, "reason": "", "quality": {}}
    places = np.arange(len(values))
    write_features(path, values.astype(np.float16), places, places, facts)


def spoil(path: Path, how: str, number: int) -> None:
    """Damage one file of ours."""
    whole = path.read_bytes()
    if how == "cut short":
        path.write_bytes(whole[:-5])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "wrong d":
        write(path, np.ones((6, D + 1)), number)
    elif how == "NaN":
        head = 8 + int.from_bytes(whole[:8], "little")
        start = head + json.loads(whole[8:head])["features"]["data_offsets"][0]
        path.write_bytes(whole[:start] + np.full(6 * D, np.nan, np.float16).tobytes() + whole[start + 12 * D :])
    else:
        save_file({"something": np.ones(3, np.float32)}, path)


def test_damaged_features_are_left_out_named_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = features_of(tmp_path)
    folder = tmp_path / "features" / "40x"
    for number, how in enumerate(DAMAGE):
        spoil(folder / f"P{number:03d}-A.safetensors", how, number)
    spoil(folder / "P020-A.safetensors", "cut short", 20)  # of tuning
    write(folder / "P021-A.safetensors", np.zeros((0, D)), 21)  # no tile: no fault, as `features` writes it
    rows = read_cohort(settings.data.cohort)
    train_module.prepare_data(settings, rows)
    said = capsys.readouterr().err
    assert "6 of 32 slides cannot be used (P000-A: " in said and str(tmp_path / "run" / LEFT_OUT) in said
    with (tmp_path / "run" / LEFT_OUT).open() as stream:
        listed = {row["slide_id"]: row for row in csv.DictReader(stream)}
    assert list(listed) == ["P000-A", "P001-A", "P002-A", "P003-A", "P004-A", "P020-A"]
    assert {row["state"] for row in listed.values()} == {"failed"} and some_failed(tmp_path / "run")
    assert "d=5, but network.feature_dim=4" in listed["P002-A"]["reason"]
    assert "NaN or infinity" in listed["P003-A"]["reason"]
    assert [row["role"] for row in listed.values()] == ["training"] * 5 + ["tuning"]
    assert len(read_patients(settings, "training")) == 16, "at 10x all are whole"
    settings.resolution = "40x"
    parts = read_parts(settings)
    assert [len(part) for part in parts] == [11, 14]
    facts = facts_of_parts(settings, *parts)
    assert (facts["training"].n_patients, facts["training"].n_slides) == (11, 11)
    settings.resolution = "10x"
    used = who_was_used(settings, [*read_parts(settings), *parts])
    assert used.left_out == {"training": (5, 16), "tuning": (2, 16)} and len(used.patient_ids) == 32
    tiles = StoredTiles(settings, StreamSettings())
    assert tiles.key("P020-A") is None and tiles.key("P022-A") is not None
    assert tiles.n_tiles([f"P{number:03d}-A" for number in range(16, 32)]) == 14 * 12 + 6
    files: dict[str, Path | str] = {}
    add_development(EnsembleConfig(), settings, files)
    for number in range(len(DAMAGE)):
        (folder / f"P{number:03d}-A.safetensors").unlink()
        write(folder / f"P{number:03d}-A.safetensors", np.ones((6, D)), number)
    write(folder / "P020-A.safetensors", np.ones((6, D)), 20)
    train_module.prepare_data(settings, rows)
    assert not (tmp_path / "run" / LEFT_OUT).exists(), "mended, the list is gone"


def test_too_many_damaged_features_stop_before_any_work(tmp_path: Path) -> None:
    settings = features_of(tmp_path)
    settings.data.max_missing = 0.05
    for number in (1, 2):
        spoil(tmp_path / "features" / "10x" / f"P{number:03d}-A.safetensors", "empty", number)
    with pytest.raises(InputError, match=r"2 of 32 slides cannot be used \(P001-A: .*that is 6%.*data\.max_missing"):
        train_module.run(settings)
    assert not (tmp_path / "run").exists()
    for path in (tmp_path / "features" / "10x").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"header too small.*and 15 more like it"):
        read_patients(settings, "training")


def test_damaged_h5_of_another_tool_are_left_out(tmp_path: Path) -> None:
    settings = features_of(tmp_path)
    folder = tmp_path / "other"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for number in range(32):
        with h5py.File(folder / f"P{number:03d}-A.h5", "w") as file:
            n = 0 if number == 7 else 6
            values = rng.normal(size=(n, D + (number == 2)))
            file.create_dataset("features", data=values.astype(np.float32), chunks=(1, values.shape[1]) if n else None)
            file["coords"] = np.arange(2 * n).reshape(n, 2)
            if number == 3:
                file["features"][2, 1] = np.nan
    whole = (folder / "P000-A.h5").read_bytes()
    (folder / "P000-A.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "P001-A.h5").write_bytes(b"")
    (folder / "P004-A.h5").write_bytes(whole[:400] + rng.bytes(len(whole) - 400))
    with h5py.File(folder / "P005-A.h5", "w") as file:
        file["coords"] = np.zeros((6, 2))
    settings.data.features_10x = str(folder)
    settings.data.resolutions = ["10x"]
    found = make_ready(pd.read_csv(settings.data.cohort), settings.data, dims={"10x": D})
    assert list(found) == [f"P{number:03d}-A" for number in range(6)], found
    assert all(one.failed for one in found.values())
    assert len(read_patients(settings, "training")) == 16 - 6 - 1
    maker = feature_store.maker_of([f"P{number:03d}-A" for number in range(16)], settings.data, "10x", D)
    assert maker is not None and maker.d == D


@pytest.mark.parametrize("seed", range(3))
def test_whatever_bytes_a_file_holds_it_is_a_fault_and_no_crash(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = tmp_path / "a.safetensors", tmp_path / "a.h5"
    write(ours, rng.normal(size=(6, D)), 1)
    with h5py.File(theirs, "w") as file:
        file.create_dataset("features", data=rng.normal(size=(6, D)).astype(np.float32), compression="gzip")
        file["coords"] = np.arange(12).reshape(6, 2)
    for path in (ours, theirs):
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for number in range(60):
            spoilt = whole.copy()
            where = rng.integers(0, len(whole), 1 + number % 8)
            spoilt[where] = rng.integers(0, 256, len(where))
            path.write_bytes(spoilt[: len(whole) - (rng.integers(0, len(whole)) if number % 3 == 0 else 0)].tobytes())
            assert isinstance(feature_store.fault(path, D), str)
        path.write_bytes(whole.tobytes())
        assert feature_store.fault(path, D) == ""


def test_a_damaged_file_of_the_tile_store_is_cut_again_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["patient_id,slide_id,slide_path,cohort,role"]
    for number in range(4):
        rows.append(f"P{number},S{number},S{number}.tif,north,training")
        write_pyramid(tmp_path / f"S{number}.tif", texture(400, 400, seed=number, margin=20))
    (tmp_path / "cohort.csv").write_text("\n".join(rows))
    data = DataSettings(str(tmp_path / "cohort.csv"), store=str(tmp_path / "store"), tumour_policy="tissue")
    data.resolutions = ["10x"]
    data.tiles_10x.size_px = 32
    data.stream.workers = 1
    cohort = read_cohort(data.cohort)
    assert not make_ready(cohort, data)
    whole = tile_store.read(["S0", "S1", "S2", "S3"], data, "10x")
    place = tile_store.cut_folder(data, "10x")
    kept = {name: (place / f"{name}.npy").read_bytes() for name in ("S0", "S1")}
    (place / "S0.npy").write_bytes(kept["S0"][:-7])
    (place / "S1.npy").write_bytes(b"")
    (place / "S2.json").write_text("[]")
    assert list(tile_store.read(whole, data, "10x")) == ["S3"], "the others are read"
    assert not tile_store.is_stored(data, "S0") and tile_store.slide_facts("S1", data, "10x") is None
    (tmp_path / "S1.tif").rename(tmp_path / "away.tif")
    capsys.readouterr()
    found = make_ready(cohort, data)
    said = capsys.readouterr()
    assert list(found) == ["S1"] and found["S1"].failed and "2 slides there" not in said.out
    assert "S0.npy: is cut short" in said.err and "S1.npy" in said.err
    again = tile_store.read(whole, data, "10x")
    assert list(again) == ["S0", "S2", "S3"] and (place / "S0.npy").read_bytes() == kept["S0"]


def test_a_training_that_left_slides_out_ends_with_exit_code_1(tmp_path: Path) -> None:
    settings = features_of(tmp_path)
    settings.fit.steps = settings.fit.evaluate_every = 2
    assert train_module.run(settings) == 0
    spoil(tmp_path / "features" / "10x" / "P003-A.safetensors", "NaN", 3)
    settings.out = str(tmp_path / "again")
    assert train_module.run(settings) == 1
