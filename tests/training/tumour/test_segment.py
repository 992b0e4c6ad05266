"""`pathoprog segment`: what it learns, that it goes on where it stopped, and what it writes for other slides."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from made_tumour import MPP, SETTINGS, disc, train, write_slide

from pathoprog import cli
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import BundleError, ConfigError, InputError
from pathoprog.networks.tumour import load
from pathoprog.regions.annotations import read_outline, write_outline
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.regions.tumour_map import area_um2, dice, outline_of
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.system.files import read_json, sha256_file, write_json
from pathoprog.system.records import Saved
from pathoprog.training.tumour.config import SegmentConfig
from pathoprog.training.tumour.fit import change, draw, outline_of_view, places_of
from pathoprog.training.tumour.segment import read_record
from pathoprog.training.tumour.view_store import TISSUE, TUMOUR, View, drawn
from pathoprog.training.tumour.view_store import read as read_views


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["slide_id"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def applied(tumour, tmp_path_factory):
    out = tmp_path_factory.mktemp("applied")
    call = ["segment", "mode=apply", f"trained={tumour.trained}", f"cohort={tumour.cohort}", f"out={out}"]
    assert cli.main([*call, "roles=[external]", "stream.workers=1", "device=cpu"]) == 0
    return out


def test_the_network_finds_tumours_of_slides_that_it_never_saw(tumour, applied):
    record = read_json(tumour.trained / "tumour.json")
    assert record["tuning_dice"] > 0.85 and record["cohorts"]["training"]["n_slides"] == 4
    assert "research use only" in record["research_use_only"].lower()
    rows = table(applied / "tumour.csv")
    assert list(rows) == ["T6", "T7", "T8"]
    for name in ("T6", "T7"):
        given = read_outline(tumour.cohort.parent / "outlines" / f"{name}.geojson")
        found = read_outline(applied / "outlines" / f"{name}.geojson")
        assert float(rows[name]["dice"]) == pytest.approx(dice(found, given))
        assert dice(found, given) > 0.85
        assert float(rows[name]["tumour_area_um2"]) == pytest.approx(found.area * MPP**2, rel=1e-6)
    assert rows["T8"]["dice"] == "" and float(rows["T8"]["tumour_area_um2"]) == 0
    assert json.loads((applied / "outlines" / "T8.geojson").read_text())["features"] == []


def test_the_outlines_are_a_cohort_for_tiles(applied):
    cohort = read_cohort(applied / "cohort.csv")
    assert cohort["slide_id"].tolist() == ["T6", "T7"], "a slide without tumour has no outline to lay tiles in"
    assert all(path.startswith(str(applied.resolve())) for path in cohort["outline_path"])


@pytest.mark.slow
def test_training_that_was_stopped_goes_on_to_the_same_weights(tumour, tmp_path, monkeypatch):
    from pathoprog.training.tumour import segment

    real = segment.fit

    def stopped(settings, training, tuning, mark, log, tick):
        def stop(done):
            tick(done)
            if done == 30:
                raise KeyboardInterrupt

        return real(settings, training, tuning, mark, log, stop)

    monkeypatch.setattr(segment, "fit", stopped)
    assert train(tumour.cohort, tmp_path / "out") == 130
    assert not (tmp_path / "out" / "tumour.json").exists()
    monkeypatch.undo()
    assert train(tumour.cohort, tmp_path / "out") == 0
    for name in ("tumour.safetensors", "tumour.json", "metrics.jsonl"):
        assert sha256_file(tmp_path / "out" / name) == sha256_file(tumour.trained / name), name


def test_a_finished_run_is_left_as_it_is_and_another_is_refused(tumour, tmp_path, capsys):
    before = (tumour.trained / "tumour.safetensors").stat().st_mtime_ns
    assert train(tumour.cohort, tumour.trained) == 0
    assert "trained before" in capsys.readouterr().out
    assert (tumour.trained / "tumour.safetensors").stat().st_mtime_ns == before
    record = (tumour.trained / "tumour.json").read_bytes()
    assert train(tumour.cohort, tumour.trained, "seed=2") == 2
    assert "of other settings or slides" in capsys.readouterr().err
    assert (tumour.trained / "tumour.json").read_bytes() == record, "a refused call changes nothing"


def test_wrong_calls(tumour, tmp_path, capsys):
    out = f"out={tmp_path / 'out'}"
    no_outline = tmp_path / "cohort.csv"
    write_slide(tmp_path / "N.tif", 1)
    no_outline.write_text("patient_id,slide_id,slide_path,cohort,role\nP,N,N.tif,North,training\n")
    calls = {
        "trained is missing": [f"cohort={tumour.cohort}", "mode=apply"],
        "no finished tumour network": [f"cohort={tumour.cohort}", "mode=apply", f"trained={tmp_path}"],
        "outline_path": [f"cohort={no_outline}", *SETTINGS],
        "multiple of 32": [f"cohort={tumour.cohort}", *SETTINGS, "outline.window_px=100"],
        "augment.crop": [f"cohort={tumour.cohort}", *SETTINGS, "augment.crop=0.5"],
    }
    for said, call in calls.items():
        assert cli.main(["segment", out, *call]) == 2
        assert said in capsys.readouterr().err


def test_damaged_weights_are_refused(tumour, tmp_path):
    record = read_record(tumour.trained, "trained")
    weights = tmp_path / "tumour.safetensors"
    weights.write_bytes(b"not weights")
    with pytest.raises(BundleError, match="cannot be loaded"):
        load(weights, record, torch.device("cpu"))
    with pytest.raises(BundleError, match="cannot be loaded"):
        other = replace(record, network=Saved(replace(record.network.settings, decoder=8)))
        load(tumour.trained / "tumour.safetensors", other, torch.device("cpu"))
    with pytest.raises(BundleError, match="no_such_setting"):
        other = replace(record, outline=replace(record.outline, unknown={"no_such_setting": 1}))
        load(tumour.trained / "tumour.safetensors", other, torch.device("cpu"))
    shutil.copytree(tumour.trained, tmp_path / "damaged")
    said = read_json(tmp_path / "damaged" / "tumour.json")
    write_json(tmp_path / "damaged" / "tumour.json", {**said, "tuning_dice": "much"})
    with pytest.raises(InputError, match=r'tumour\.json: damaged \(tuning_dice: "much", must be a finite number'):
        read_record(tmp_path / "damaged", "trained")


def test_an_encoder_that_is_not_there_is_named(tumour, tmp_path, capsys):
    assert train(tumour.cohort, tmp_path / "out", "network.encoder=no_such") == 2
    assert "no_such" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        from pathoprog.networks.tumour import make_tumour_network
        from pathoprog.regions.tumour_config import TumourNetworkSettings

        make_tumour_network(TumourNetworkSettings(encoder="tu-no_such"))


def test_an_outline_is_drawn_where_it_lies():
    facts = SlideFacts("x", "made", "made", 4000, 4000, (Level(4000, 4000, 1.0),), 0.25, 0.26, 40.0, ())
    ring = disc((2000, 1500), 900).difference(disc((2000, 1500), 400))
    area = shapely.MultiPolygon([ring, disc((2000, 1500), 200)])  # an island in the hole
    mask = drawn(area, (260, 250), 4.0, facts)
    assert mask.sum() * 16 == pytest.approx(area_um2(area, facts), rel=0.02)
    y, x = np.nonzero(mask)
    assert (x.mean() + 0.5) * 4 / 0.25 == pytest.approx(2000, abs=10)
    assert (y.mean() + 0.5) * 4 / 0.26 == pytest.approx(1500, abs=10)


def test_windows_give_the_outline_of_the_whole(tumour):
    cohort = read_cohort(tumour.cohort)
    network = load(tumour.trained / "tumour.safetensors", read_record(tumour.trained, "trained"), torch.device("cpu"))
    for view in read_views(cohort[cohort["role"] == "tuning"], next((tumour.trained / "views").iterdir())):
        height, width = view.pixels.shape[:2]
        assert min(height, width) > network.outline.window_px
        whole = np.full((1, 96, 96, 3), 255, np.uint8)
        whole[0, :height, :width] = view.pixels[..., :3]
        found = network.probabilities(whole)[0, :height, :width]
        halved = found.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        assert dice(outline_of(halved, 8.0, view.facts, network.outline), outline_of_view(network, view)) > 0.97


def test_windows_and_labels_turn_together(tumour):
    cohort = read_cohort(tumour.cohort)
    views = read_views(cohort[cohort["role"] == "training"], next((tumour.trained / "views").iterdir()))
    assert isinstance(views[0], View) and len(views) == 4
    settings = SegmentConfig(outline=OutlineSettings(window_px=64), seed=5)
    settings.augment.zoom, settings.augment.stain, settings.augment.brightness = 0.2, 0.0, 0.0
    pixels, labels = draw(views, [places_of(view) for view in views], settings, step=3)
    again, _ = draw(views, [places_of(view) for view in views], settings, step=3)
    assert np.array_equal(pixels, again) and {TISSUE, TUMOUR} <= set(np.unique(labels))
    changed, truth = change(
        torch.from_numpy(pixels), torch.from_numpy(labels), settings, torch.Generator().manual_seed(1)
    )
    purple = changed[..., 1] < 110  # the made tumour's green, between its 60 and the tissue's 150
    agree = (purple == truth).float().mean(dim=(1, 2))
    assert float(agree.min()) > 0.95
    assert not torch.equal(changed, torch.from_numpy(pixels).float())


def test_a_given_outline_that_cannot_be_read_fails_its_slide_alone(tumour, tmp_path, capsys):
    folder = tmp_path / "cohort"
    folder.mkdir()
    rows = ["patient_id,slide_id,slide_path,outline_path,cohort,role"]
    for number, role in enumerate(("training", "training", "tuning")):
        write_slide(folder / f"{number}.tif", number, (640, 640), 300)
        write_outline(folder / f"{number}.geojson", disc((640, 640), 300))
        rows.append(f"P{number},{number},{number}.tif,{number}.geojson,North,{role}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    assert train(folder / "cohort.csv", tmp_path / "first", "fit.steps=2") == 0
    (tmp_path / "out").mkdir()
    (tmp_path / "first" / "views").rename(tmp_path / "out" / "views")
    (folder / "1.geojson").write_text("{}")
    assert train(folder / "cohort.csv", tmp_path / "out", "fit.steps=2") == 1
    assert "warning: 1: " in capsys.readouterr().err
    assert read_json(tmp_path / "out" / "tumour.json")["cohorts"]["training"]["n_slides"] == 1, (
        "nor is its older view taken"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of MLflow and of what it stands on
def test_mlflow_holds_the_run_its_curve_and_no_slide(tumour, tmp_path):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    more = [
        "track.tracking=mlflow",
        f"track.tracking_uri={uri}",
        "fit.steps=4",
        "fit.evaluate_every=2",
        "fit.log_every=1",
    ]
    assert train(tumour.cohort, tmp_path / "out", *more) == 0
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("pathoprog").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["network.encoder"] == "tu-mobilenetv3_small_050"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "tuning_dice")] == [2, 4]
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 4
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {"training", "tuning"}
    assert b".tif" not in (tmp_path / "mlflow.db").read_bytes(), "no slide is named there"
