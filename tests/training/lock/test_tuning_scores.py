"""Tuning at the lock is scored as slides are scored: bit for bit, by each rule, from the store and from the slides."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
import torch
from made_slides import texture, write_pyramid
from made_store import made_many, made_settings, made_store
from safetensors.torch import save_file

from pathoprog import cli
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.bundle import verify
from pathoprog.errors import InputError
from pathoprog.networks.tumour import make_tumour_network, record
from pathoprog.regions.tumour_config import OutlineSettings, TumourNetworkSettings
from pathoprog.settings import as_dict
from pathoprog.stream.config import StreamSettings
from pathoprog.system.files import read_json, write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.data import slide_source, tile_store
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.lock import tuning_risks
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks
from pathoprog.training.tumour.segment import RECORD, WEIGHTS

pytestmark = pytest.mark.slow
SCORE = ["roles=[tuning]", "stream.workers=1", "device=cpu", "settle_s=0", "outputs.pdf=false"]


def write_run(settings):
    """Train all candidates here, and write what `pathoprog ensemble` reads."""
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    names = [task.folder.name for task in tasks]
    written = {"candidates": names, "run_id": "", "settings": as_dict(settings)}
    write_json(tasks[0].folder.parent / ENSEMBLE_RUN, written)
    return tasks[0].folder.parent


def lock(run, out, **changes):
    """Lock with few resamples; returns the manifest."""
    settings = EnsembleConfig(str(run), str(out), bootstrap=5, track=TrackingSettings(tracking="none"))
    assert choose.run(replace(settings, stream=StreamSettings(workers=1), **changes)) == 0
    return verify(out)


def rows_of(path):
    with path.open(newline="") as stream:
        return sorted(csv.DictReader(stream), key=lambda row: row["patient_id"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six patients to learn from, ten for tuning: most with two slides, one slide twice, one too coarse for 40x."""
    folder = tmp_path_factory.mktemp("slides")
    rows, outcomes = [], []

    def add(patient, slide, role, twin="", **slide_settings):
        path, seed = folder / f"{slide}.tif", len(rows)
        if twin:
            shutil.copyfile(folder / twin, path)
        else:
            write_pyramid(path, texture(420 + 20 * (seed % 2), 400, seed=seed), levels=2, **slide_settings)
        rows.append({"patient_id": patient, "slide_id": slide, "slide_path": path.name, "cohort": "c", "role": role})

    for number in range(16):
        name, poor = f"P{number:02d}", number % 2
        role = "training" if number < 6 else "tuning"
        add(name, f"{name}-B", role)
        if 6 <= number < 14:
            add(name, f"{name}-A", role)
        outcomes.append({"patient_id": name, "followup_days": 400 + number + 2000 * (1 - poor), "event": poor})
    add("P14", "P14-twice", "tuning", "P14-B.tif")
    add("P13", "P13-coarse", "tuning", mpp=0.5)
    add("P16", "P16-coarse", "tuning", mpp=0.5)
    outcomes.append({"patient_id": "P16", "followup_days": 2900, "event": 0})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(outcomes).to_csv(folder / "outcomes.csv", index=False)
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        store=str(folder / "store"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, 32),
        tiles_40x=TileSpec("40x", 0.25, 64, max_per_slide=30),
        stream=StreamSettings(workers=1),
    )
    assert tile_store.build(read_cohort(data.cohort), data) == 0
    return data


def trained_on(data, folder, **network):
    fit = {"loss": "cox", "balance": "none"} if network.get("head") == "risk" else {}
    settings = made_many(
        made_settings(data, folder, steps=2, evaluate_every=2, recalibrate=1, evaluate_tiles=2, lr=0.02, **fit), 5
    )
    settings.network = replace(settings.network, **network)
    return write_run(settings)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Ten candidates after two steps."""
    return trained_on(data, tmp_path_factory.mktemp("runs") / "runs")


@pytest.fixture(scope="module")
def cox_run(data, tmp_path_factory):
    """The same with a head that needs a map, and a pooling that sums in float32."""
    return trained_on(data, tmp_path_factory.mktemp("cox") / "runs", head="risk", pooling="gated_attention")


def scored(data, bundle, out, *more):
    code = cli.main(["score", f"cohort={data.cohort}", f"ensemble={bundle}", f"out={out}", *SCORE, *more])
    return code, rows_of(out / "patients.csv") if code == 0 else []


@pytest.mark.parametrize("kind", ["poor", "cox"])
def test_thresholds_rest_on_what_scoring_says_by_each_rule(kind, run, cox_run, data, tmp_path, capsys):
    thresholds = set()
    for rule in ("bag", "mean", "max"):
        bundle = tmp_path / rule
        manifest = lock(run if kind == "poor" else cox_run, bundle, aggregation=rule)
        assert manifest.aggregation == rule and manifest.precision == "fp32" and manifest.format == 3
        code, found = scored(data, bundle, tmp_path / f"scores-{rule}")
        assert code == 0
        assert found == rows_of(tmp_path / f"{rule}.tuning.csv"), "to the last bit, and to the last word"
        assert {row["patient_id"]: row["n_slides_scored"] for row in found} == {
            **{f"P{number:02d}": "2" for number in range(6, 14)}, "P14": "1", "P15": "1", "P16": "0"
        }  # fmt: skip
        basis = manifest.tuning_scores
        assert (basis.n_patients, basis.n_slides, basis.left_out) == (10, 18, {"not_reportable": 1})
        assert basis.ranked_on_tiles == 2 and basis.n_tiles["40x"] == 18 * 30
        scores = {
            resolution: [float(row[f"score_{resolution}"]) for row in found if row["status"] == "scored"]
            for resolution in ("10x", "40x")
        }
        for resolution, values in scores.items():
            cut = manifest.thresholds[resolution]
            assert cut.share_above == np.mean(np.array(values) >= cut.value)
        thresholds.add(tuple(manifest.cuts.values()))
        for member in manifest.members:
            assert (member.score_map == (0.0, 1.0)) == (kind == "poor")
    assert len(thresholds) == 3, "each rule has thresholds of its own"
    assert "kept from before" in capsys.readouterr().out, "another rule costs no more networks"


def test_the_slides_say_what_the_store_says(run, data, tmp_path):
    stored = lock(run, tmp_path / "stored")
    runs = shutil.copytree(run, tmp_path / "runs", ignore=shutil.ignore_patterns("tuning_scores"))
    written = read_json(runs / ENSEMBLE_RUN)
    written["settings"]["data"] |= {"source": "slides", "store": str(tmp_path / "grids")}
    write_json(runs / ENSEMBLE_RUN, written)
    slides = replace(data, source="slides", store=str(tmp_path / "grids"))
    slide_source.lay(read_cohort(data.cohort), slides)
    read = lock(runs, tmp_path / "read")
    assert (tmp_path / "read.tuning.csv").read_text() == (tmp_path / "stored.tuning.csv").read_text()
    assert read.thresholds == stored.thresholds and read.tuning_scores == stored.tuning_scores

    # a slide that cannot be read any more: nothing is locked, what is scored is kept
    shutil.rmtree(runs / "tuning_scores")
    cohort = tmp_path / "moved"
    cohort.mkdir()
    table = pd.read_csv(data.cohort)
    source = Path(data.cohort).parent
    table["slide_path"] = [str(source / name) for name in table["slide_path"]]
    table.loc[table["slide_id"] == "P09-A", "slide_path"] = str(tmp_path / "gone.tif")
    table.to_csv(cohort / "cohort.csv", index=False)
    written["settings"]["data"]["cohort"] = str(cohort / "cohort.csv")
    write_json(runs / ENSEMBLE_RUN, written)
    with pytest.raises(InputError, match=r"1 of 21 tuning slides cannot be scored, first P09-A: .*the same command"):
        lock(runs, tmp_path / "none")
    assert not (tmp_path / "none").exists() and len(list((runs / "tuning_scores").glob("*/*/risks.json"))) == 20


def test_a_lock_that_was_stopped_goes_on_and_ends_the_same(run, tmp_path, monkeypatch, capsys):
    whole = lock(run, tmp_path / "whole")
    runs = shutil.copytree(run, tmp_path / "runs", ignore=shutil.ignore_patterns("tuning_scores"))
    keep, seen = tuning_risks._keep, []

    def stopped(group, outcome):
        seen.append(outcome.slide_id)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return keep(group, outcome)

    monkeypatch.setattr(tuning_risks, "_keep", stopped)
    with pytest.raises(KeyboardInterrupt):
        lock(runs, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    capsys.readouterr()
    kept = sorted((runs / "tuning_scores").glob("*/*/risks.json"))
    assert len(kept) == 5
    kept[0].write_text(kept[0].read_text()[:-9])  # damaged since: that slide is scored again
    monkeypatch.setattr(
        tuning_risks, "_keep", lambda group, outcome: seen.append(outcome.slide_id) or keep(group, outcome)
    )
    again = lock(runs, tmp_path / "again")
    assert len(seen) == 6 + 21 - 4
    said = capsys.readouterr().out
    assert "17 slides, " in said and "member-tiles) in fp32 on cpu; 4 slides kept from before" in said
    assert "tiles/s" in said
    assert again == whole and (tmp_path / "again.tuning.csv").read_text() == (tmp_path / "whole.tuning.csv").read_text()


def test_under_the_network_s_policy_the_slides_are_read_anew(run, data, tmp_path):
    settings, outline = (
        TumourNetworkSettings("tu-mobilenetv3_small_050", 4),
        OutlineSettings(4.0, 32, 8, 0.5, 100.0, 100.0),
    )
    network = make_tumour_network(settings)
    with torch.no_grad():  # tumour wherever it is shown anything
        network.segmentation_head[0].weight.zero_()
        network.segmentation_head[0].bias.fill_(5.0)
    folder = tmp_path / "tumour"
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    facts = {"step": 1, "tuning_dice": 0.5, "tuning_dice_lowest": 0.5, "cohorts": {"training": {"n_slides": 1}}}
    write_json(folder / RECORD, {**record(settings, outline), **facts})
    manifest = lock(run, tmp_path / "bundle", tumour=str(folder), tumour_policy="network")
    code, found = scored(data, tmp_path / "bundle", tmp_path / "out")
    assert code == 0 and found == rows_of(tmp_path / "bundle.tuning.csv")
    assert manifest.tumour_policy == "network" and manifest.tuning_scores.n_patients == 10


def test_the_bundle_s_precision_and_no_other(run, data, tmp_path, capsys):
    exact, coarse = lock(run, tmp_path / "fp32"), lock(run, tmp_path / "bf16", dtype="bf16")
    assert (exact.precision, coarse.precision) == ("fp32", "bf16")
    assert exact.tuning_scores.sha256 != coarse.tuning_scores.sha256
    capsys.readouterr()
    code, _ = scored(data, tmp_path / "fp32", tmp_path / "no", "dtype=bf16")
    assert code == 2 and not (tmp_path / "no").exists()
    assert "thresholds rest on scores in fp32" in capsys.readouterr().err
    code, found = scored(data, tmp_path / "bf16", tmp_path / "yes")  # dtype=auto takes the bundle's
    assert code == 0 and found == rows_of(tmp_path / "bf16.tuning.csv")
    result = json.loads(next((tmp_path / "yes" / "slides").glob("P06-A/result.json")).read_text())
    assert result["settings"]["dtype"] == "bf16"
    assert cli.main(["verify", str(tmp_path / "bf16")]) == 0
    said = capsys.readouterr().out
    assert "slides are scored in: bf16" in said and "candidates were ranked on at most 2 tiles of a patient" in said


def test_both_c_and_all_tiles(tmp_path):
    data = made_store(tmp_path / "data", patients=14)
    whole = made_settings(data, tmp_path / "runs", steps=2, evaluate_every=2, recalibrate=1, loss="cox", balance="none")
    whole.network.head = "risk"
    whole.fit.evaluate_tiles = 1
    run = write_run(made_many(whole, 6))
    manifest = lock(run, tmp_path / "bundle")
    rows = rows_by_candidate(tmp_path / "bundle" / "choice.csv")
    assert len(rows) == 12 and sum(row["scored_c"] != "" for row in rows.values()) == 10
    for row in rows.values():
        assert (row["scored_c"] != "") == (row["chosen"] == "True") == (row["scored_c_upper"] != "")
    assert any(row["scored_c"] not in ("", row["tuning_c"]) for row in rows.values())
    assert manifest.tuning_scores.n_tiles == {"10x": 14 * 6, "40x": 14 * 6}
    for member in manifest.members:
        kept = [read_json(path)["risks"][member.resolution][member.name]
                for path in (run / "tuning_scores").glob("*/*/risks.json")]  # fmt: skip
        assert member.score_map == pytest.approx([np.mean(kept), np.std(kept)], rel=1e-9)
        assert member.scored_c == float(rows[member.name]["scored_c"])
    text = (tmp_path / "bundle" / "model_card.md").read_text()
    assert "all 84 tiles at 10x and all 84 tiles at 40x, in fp32" in text


def rows_by_candidate(path):
    with path.open(newline="") as stream:
        return {row["candidate"]: row for row in csv.DictReader(stream)}


def test_a_slide_that_training_went_without_leaves_its_patient_out(tmp_path, capsys):
    data = made_store(tmp_path / "data", patients=14)
    for resolution in ("10x", "40x"):
        for path in Path(data.store).rglob(f"{resolution}/**/P020-A.*"):
            path.unlink()
    run = write_run(made_many(made_settings(data, tmp_path / "runs", steps=2, evaluate_every=2, recalibrate=1), 5))
    manifest = lock(run, tmp_path / "bundle")
    assert manifest.tuning_scores.left_out == {"failed": 1} and manifest.tuning_scores.n_patients == 13
    assert "1 tuning slide could not be read before training (first P020-A)" in capsys.readouterr().err
    (row,) = [row for row in rows_of(tmp_path / "bundle.tuning.csv") if row["patient_id"] == "P020"]
    assert row["status"] == "failed" and row["score_10x"] == "" and "training went without it" in row["reason"]


def test_a_bundle_of_an_earlier_version_says_what_to_do(run, data, tmp_path, capsys):
    lock(run, tmp_path / "bundle", aggregation="max")
    manifest = read_json(tmp_path / "bundle" / "manifest.json")
    for name in ("tuning_scores", "precision"):
        del manifest[name]
    write_json(tmp_path / "bundle" / "manifest.json", {**manifest, "format": 1})
    assert cli.main(["verify", str(tmp_path / "bundle")]) == 0
    said = capsys.readouterr().out
    assert "locked by an earlier version" in said and "at most 2 tiles of a patient" in said
    assert "under the rule bag in place of max" in said and "lock the same candidates again" in said
    code, found = scored(data, tmp_path / "bundle", tmp_path / "out", "dtype=bf16")  # it never said that it may not
    assert code == 0 and len(found) == 11 and "locked by an earlier version" in capsys.readouterr().err


def test_a_store_of_jpegs_is_never_behind_the_thresholds(run, data, tmp_path, capsys):
    stored = lock(run, tmp_path / "stored")
    runs = shutil.copytree(run, tmp_path / "runs", ignore=shutil.ignore_patterns("tuning_scores"))
    packed = replace(data, store_format="jpeg", store_quality=20, store=str(tmp_path / "jpegs"))
    assert tile_store.build(read_cohort(data.cohort), packed) == 0
    written = read_json(runs / ENSEMBLE_RUN)
    written["settings"]["data"] |= {"store_format": "jpeg", "store_quality": 20, "store": packed.store}
    write_json(runs / ENSEMBLE_RUN, written)
    capsys.readouterr()
    read = lock(runs, tmp_path / "read")
    assert "the tile store holds JPEGs, so that tuning is scored from the slides" in capsys.readouterr().out
    assert (tmp_path / "read.tuning.csv").read_text() == (tmp_path / "stored.tuning.csv").read_text()
    assert read.thresholds == stored.thresholds
