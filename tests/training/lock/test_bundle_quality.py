"""What a bundle keeps of the slides it learned from."""

import json

import pandas as pd
from made_spoilt import GOOD, looked_at, made_good

from pathoprog.ensemble.manifest import Manifest
from pathoprog.quality.checks import QualityRules, read_rules
from pathoprog.quality.config import MadeForSettings, QualitySettings
from pathoprog.stream.config import StreamSettings
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data import tile_store
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.lock.quality_reference import add_quality

EMPTY = Manifest(members=(), thresholds={}, tile_specs={}, aggregation="bag", tumour_policy="outline", files={})


def cohort(folder, n):
    """A cohort table of `n` slides, all the same drawing in files of their own; tuning every third, two sites."""
    made_good(folder)
    rows = []
    for number in range(n):
        path = folder / f"T{number}.tif"
        path.write_bytes((folder / "slides" / f"{GOOD}.tif").read_bytes() + bytes(number))  # one scan is one slide
        rows.append(
            {
                "patient_id": f"P{number}",
                "slide_id": f"T{number}",
                "slide_path": path.name,
                "outline_path": f"outlines/{GOOD}.geojson",
                "cohort": "North",
                "role": ("training", "training", "tuning")[number % 3],
                "prep_site": f"lab_{number % 2}",
                "organ": "colorectum",
                "specimen": "resection",
                "stain": "H&E",
                "neoadjuvant": "" if number == 0 else "no",
            }
        )
    rows.append(
        {**rows[0], "patient_id": "E", "slide_id": "E", "slide_path": "E.tif", "role": "external", "organ": "x"}
    )
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)


def settings(folder):
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        store=str(folder / "store"),
        tiles_10x=TileSpec("10x", 1.0, 64),
        tiles_40x=TileSpec("40x", 0.25, 64, max_per_slide=4),
        stream=StreamSettings(workers=1),
    )
    return TrainConfig(out=str(folder / "run"), data=data)


def test_cutting_tiles_measures_slides_and_the_bundle_keeps_their_spread(tmp_path, capsys):
    cohort(tmp_path, 3)
    trained = settings(tmp_path)
    from pathoprog.cohort_tables.cohort import read_cohort

    table = read_cohort(tmp_path / "cohort.csv")
    assert tile_store.build(table[table["role"] != "external"], trained.data) == 0
    look, area = tile_store.read_look("T1", trained.data)
    assert look == looked_at(tmp_path, GOOD) and area > 1e4
    assert tile_store.read_look("E", trained.data) is None

    store = tile_store.cut_folder(trained.data, "10x")
    info = store / "T1.json"
    before = json.loads(info.read_text())
    info.write_text(json.dumps({**before, "quality_version": "0"}))
    assert tile_store.read_look("T1", trained.data) is None, "of other checks"
    tile_store.build(table[table["role"] != "external"], trained.data)
    assert "2 slides there, 1 to cut" in capsys.readouterr().out
    assert json.loads(info.read_text()) == before

    # forty slides that differ a little
    cohort(tmp_path, 40)
    for number in range(40):
        values = json.loads(json.dumps(before))
        values["look"]["colour"] = [value * (1 + 0.002 * (number - 20)) for value in values["look"]["colour"]]
        values["look"]["sharpness"] = [value - 0.01 * (number % 7) for value in values["look"]["sharpness"]]
        (store / f"T{number}.json").write_text(json.dumps(values))
    files = {}
    manifest = add_quality(EnsembleConfig(made_for=MadeForSettings(stain=["H&E", "HES"])), trained, EMPTY, files)
    assert manifest.made_for == {
        "organ": ("colorectum",), "specimen": ("resection",), "stain": ("H&E", "HES"), "neoadjuvant": ("no",)
    }  # fmt: skip
    (tmp_path / "quality.json").write_text(files["quality.json"])
    rules = read_rules(tmp_path, QualitySettings(), "outline")
    assert rules.reference is not None and (rules.reference.n_slides, rules.reference.n_sites) == (40, 2)
    assert rules.reference.distance(look) < rules.limits["distance"][0] < rules.limits["distance"][1]
    assert rules.limits["tumour_area"][0] == 4 * rules.limits["tumour_area"][1] > 0


def test_slides_that_were_not_measured_make_no_reference_and_that_is_said(tmp_path, capsys):
    cohort(tmp_path, 3)
    files = {}
    manifest = add_quality(EnsembleConfig(), settings(tmp_path), EMPTY, files)
    assert "0 of 3 slides" in capsys.readouterr().out and manifest.made_for["organ"] == ("colorectum",)
    (tmp_path / "quality.json").write_text(files["quality.json"])
    rules = read_rules(tmp_path, QualitySettings(), "outline")
    assert rules.reference is None and rules.limits == QualityRules().limits
