"""Before tiles are cut: roles, outcomes, labels, events to judge by, files that are there, room on the disk."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from made_sheet import GOOD, HEADER, MAPPING
from made_slides import texture, write_pyramid
from made_store import made_many, made_settings, made_store

from pathoprog import cli
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.cohort_files import absent_files
from pathoprog.errors import CohortError, InputError
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import TileStream
from pathoprog.tiles.config import TileSpec
from pathoprog.training import tiles, train_ensemble
from pathoprog.training import train as train_module
from pathoprog.training.config import TilesConfig
from pathoprog.training.data import disk_space as room
from pathoprog.training.data import slide_writer, tile_store
from pathoprog.training.data.checks import check_comparable, check_tables
from pathoprog.training.data.data_config import DataSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


def changed(data, folder, cohort=lambda table: table, outcomes=lambda table: table):
    for name, change in (("cohort", cohort), ("outcomes", outcomes)):
        change(pd.read_csv(getattr(data, name))).to_csv(folder / f"{name}.csv", index=False)
    return replace(data, cohort=str(folder / "cohort.csv"), outcomes=str(folder / "outcomes.csv"))


def no_event_in_tuning(table):
    table.loc[table["patient_id"] >= "P016", "event"] = 0
    return table


def event_only_at_the_end(table):
    table = no_event_in_tuning(table)
    table.loc[table["patient_id"] == "P031", ["followup_days", "event"]] = [9999, 1]
    return table


def nobody_poor(table):
    table.loc[table["patient_id"] < "P016", "event"] = 0
    return table


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"cohort": lambda t: t[t["role"] == "training"]}, CohortError, "no row has the role tuning"),
        ({"cohort": lambda t: t.assign(role="external")}, CohortError, r"role training \(there are external\)"),
        ({"outcomes": lambda t: t[t["patient_id"] != "P020"]}, CohortError, r"no outcome for 1 patients.*P020"),
        ({"outcomes": no_event_in_tuning}, InputError, "16 patients of tuning, 0 of them with the event"),
        ({"outcomes": event_only_at_the_end}, InputError, "1 of them with the event, and no two can be compared"),
        ({"outcomes": nobody_poor}, InputError, "8 patients with good and 0 with poor distinct outcome"),
    ],
)
@pytest.mark.parametrize("command", ["train", "train_ensemble"])
def test_tables_that_would_fail_later_are_refused_before_any_work(
    data, tmp_path, change, error, said, command, monkeypatch
):
    def work(*_):
        raise AssertionError("work was begun")

    monkeypatch.setattr(train_module, "make_ready", work)
    settings = made_settings(changed(data, tmp_path, **change), tmp_path / "run")
    run = train_module.run if command == "train" else lambda one: train_ensemble.run(made_many(one, 1))
    with pytest.raises(error, match=said):
        run(settings)
    assert not (tmp_path / "run").exists()


def test_what_can_be_judged_is_let_through(data):
    assert len(check_tables(made_settings(data, "unused"))) == 32
    check_comparable(np.array([5.0, 5.0]), np.array([1, 0]))
    check_comparable(np.array([5.0, 6.0]), np.array([1, 1]))
    for times, events in (([5.0, 5.0], [1, 1]), ([5.0, 4.0], [1, 0]), ([5.0], [1]), ([5.0, 6.0], [0, 0])):
        with pytest.raises(InputError, match="no two can be compared"):
            check_comparable(np.array(times), np.array(events))


def slides(folder, n, absent=()):
    """A cohort of n slides, those of the numbers `absent` not there."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["patient_id,slide_id,slide_path,cohort,role"]
    outcomes = ["patient_id,followup_days,event"]
    for number in range(n):
        role = "training" if number < n // 2 else "tuning"
        rows.append(f"P{number},S{number},S{number}.tif,north,{role}")
        outcomes.append(f"P{number},{500 if number % 2 else 2500},{number % 2}")
        if number not in absent:
            write_pyramid(folder / f"S{number}.tif", texture(400, 400, seed=number, margin=20))
    (folder / "cohort.csv").write_text("\n".join(rows))
    (folder / "outcomes.csv").write_text("\n".join(outcomes))
    return DataSettings(
        str(folder / "cohort.csv"),
        str(folder / "outcomes.csv"),
        store=str(folder / "store"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, 32),
        tiles_40x=TileSpec("40x", 0.25, 32, max_per_slide=8),
        stream=StreamSettings(workers=1),
    )


def test_a_cohort_whose_paths_are_wrong_is_refused_and_a_few_are_named(tmp_path, capsys):
    for absent in (range(12), (0, 3)):
        data = slides(tmp_path / f"{len(absent)}", 12, absent)
        for run, settings in (
            (tiles.run, TilesConfig(data=data)),
            (train_module.run, made_settings(data, tmp_path / "run")),
        ):
            with pytest.raises(
                InputError, match=rf"{len(absent)} of 12 slides .*S0: slide_path .*S0\.tif.*max_missing"
            ):
                run(settings)
        assert not (tmp_path / f"{len(absent)}" / "store").exists()
    data.max_missing = 0.2
    assert tiles.run(TilesConfig(data=data)) == 1
    assert "2 of 12 slides have files that are not there: S0" in capsys.readouterr().err
    assert len(tile_store.read([f"S{number}" for number in range(12)], data, "10x")) == 10


def test_slides_that_cannot_be_read_count_too(tmp_path):
    data = slides(tmp_path, 12)
    for number in (1, 2):
        (tmp_path / f"S{number}.tif").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"2 of 12 slides cannot be used \(S1: .*; S2: .*\); that is 17%"):
        train_module.run(made_settings(data, tmp_path / "run"))


def test_tiles_that_are_stored_need_no_slide(tmp_path, capsys):
    data = slides(tmp_path, 4)
    assert tiles.run(TilesConfig(data=data)) == 0
    before = tile_store.read([f"S{number}" for number in range(4)], data, "40x")
    for path in tmp_path.glob("*.tif"):
        path.rename(path.with_suffix(".away"))
    assert tiles.run(TilesConfig(data=data)) == 0
    assert "4 slides are not where the cohort table says; their stored tiles" in capsys.readouterr().err
    after = tile_store.read([f"S{number}" for number in range(4)], data, "40x")
    assert {name: one.places for name, one in after.items()} == {name: one.places for name, one in before.items()}


def test_outlines_that_are_missing_are_named_before_the_cut(tmp_path):
    data = replace(slides(tmp_path, 4), tumour_policy="outline")
    with pytest.raises(InputError, match="4 of 4 slides have no outline_path, first S0"):
        tiles.run(TilesConfig(data=data))
    table = pd.read_csv(data.cohort)
    table.assign(outline_path=[f"{name}.geojson" for name in table["slide_id"]]).to_csv(data.cohort, index=False)
    with pytest.raises(InputError, match=r"4 of 4 slides .*S0: outline_path .*S0\.geojson"):
        tiles.run(TilesConfig(data=data))
    assert len(absent_files(read_cohort(data.cohort))) == 4


def test_a_run_s_folder_that_cannot_be_made_is_refused_before_any_work(data, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out=.*file/run: cannot be written to \(Not a directory\); give another"):
        train_module.run(made_settings(data, tmp_path / "file" / "run"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match=r"cannot be written to \(Permission denied\)"):
        room.make_out(tmp_path)


def test_the_remedy_names_the_resolution_that_takes_the_room(monkeypatch):
    monkeypatch.setattr(room, "estimate", lambda *_: (5e9, 0.0, 1))
    monkeypatch.setattr(room, "free_bytes", lambda _: 1000)
    for names in (["10x"], ["20x", "10x"], ["10x", "40x"]):
        data = DataSettings(store="store", tumour_policy="tissue", resolutions=names)
        job = tile_store.slide_job({"slide_id": "S", "slide_path": "S.tif"}, data, tile_store.specs(data))
        with pytest.raises(InputError, match=rf"a smaller data\.tiles_{max(names)}\.max_per_slide; force=true"):
            room.check_room([job], data, None)


def test_the_room_that_a_store_needs_is_estimated_and_refused_where_it_is_not_there(tmp_path, capsys, monkeypatch):
    data = slides(tmp_path, 14)
    table = read_cohort(data.cohort)
    jobs = [tile_store.slide_job(row, data, tile_store.specs(data)) for row in table.to_dict("records")]
    with TileStream(data.stream) as stream:
        mean, error, n = room.estimate(jobs, stream)
    assert n == room.SAMPLE
    monkeypatch.setattr(room, "free_bytes", lambda _: 1000)
    with pytest.raises(
        InputError, match=r"not enough room: about [\d.]+ [kM]B for the tiles of 14 slides \(from 12 of"
    ):
        tile_store.build(table, data)
    assert not (tmp_path / "store").exists()
    monkeypatch.undo()
    assert tile_store.build(table, data) == 0
    assert "for the tiles of 14 slides (from 12 of them)" in capsys.readouterr().out
    few = tmp_path / "few"
    assert tile_store.build(read_cohort(slides(few, 2).cohort), replace(data, store=str(few / "store"))) == 0
    assert "for the tiles of 2 slides (from all of them)" in capsys.readouterr().out
    size = sum(path.stat().st_size - 128 for path in (tmp_path / "store").rglob("*.npy"))
    assert abs(mean - size) <= max(3 * error, 0.02 * size) and size > 1000
    assert tile_store.build(table, data) == 0 and "free" not in capsys.readouterr().out, "nothing is left to cut"


def test_a_disk_that_fills_on_the_way_is_told_in_a_sentence_and_the_rest_is_kept(tmp_path, monkeypatch):
    data = slides(tmp_path, 4)
    table, calls = read_cohort(data.cohort), []

    def full(path):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(slide_writer, "allocate", full)
    with pytest.raises(InputError, match="the disk is full; make room, and give the same command again"):
        tile_store.build(table, data)
    assert not list((tmp_path / "store").rglob("*.tmp"))
    monkeypatch.undo()
    assert tile_store.build(table, data) == 0
    assert len(tile_store.read([f"S{number}" for number in range(4)], data, "40x")) == 4


def test_the_cohort_command_says_which_files_are_not_there(tmp_path, capsys):
    (tmp_path / "sheet.csv").write_text("\n".join([HEADER, *GOOD]) + "\n")
    (tmp_path / "map.yaml").write_text(MAPPING)
    call = ["cohort", str(tmp_path / "sheet.csv"), f"mapping={tmp_path / 'map.yaml'}", f"out={tmp_path / 'out'}"]
    assert cli.main(call) == 0
    said = capsys.readouterr().err
    assert "3 of 3 slides have files that are not there: a1: slide_path" in said and "slides=FOLDER" in said
    missing = pd.read_csv(tmp_path / "out" / "missing_files.csv")
    assert missing["slide_id"].tolist() == read_cohort(tmp_path / "out" / "cohort.csv")["slide_id"].tolist()
    for path in missing["path"]:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(path.encode())  # equal files would be one scan under several ids
    assert cli.main(call) == 0
    assert "not there" not in capsys.readouterr().err
    assert (tmp_path / "out" / "missing_files.csv").read_text() == "slide_id,column,path\n"
