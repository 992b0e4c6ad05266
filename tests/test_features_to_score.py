"""The whole way with a laboratory's own frozen encoder: features, training, lock, verify, score, on made slides."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
import torch
from made_bundle import made_encoder
from made_slides import texture, write_pyramid
from made_store import made_many, made_settings

from pathoprog import cli
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.bundle import read_manifest, verify
from pathoprog.ensemble.loading import load_bundle
from pathoprog.ensemble.manifest_checks import encoder_problems
from pathoprog.errors import BundleError, ConfigError, InputError
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.networks.features import read_features
from pathoprog.settings import as_dict
from pathoprog.stream.config import StreamSettings
from pathoprog.system.files import read_json, sha256_file, write_json
from pathoprog.system.records import plain
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.tiles.config import TileSpec
from pathoprog.training import features
from pathoprog.training.config import EnsembleConfig, FeaturesConfig
from pathoprog.training.data import feature_store, tile_store
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.member.finetune import adopt
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks

SHOWN = {"encoder": "timm/test_resnet", "input_px": 48, "mean": [0.6, 0.5, 0.6], "std": [0.2, 0.25, 0.2]}
SPECS = {"10x": TileSpec("10x", 1.0, 32), "40x": TileSpec("40x", 0.25, 64, max_per_slide=7)}
SCORE = ["stream.workers=1", "stream.batch_tiles=4", "device=cpu", "settle_s=0", "outputs.pdf=false"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    made_encoder(path)
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory, weights):
    """Slides of twelve patients to learn from, two slides of a new one, and all their features."""
    folder = tmp_path_factory.mktemp("slides")
    rows, outcomes = [], []
    for number in range(14):
        name, poor = f"P{number:02d}", number % 2
        write_pyramid(folder / f"{name}.tif", texture(420 + 20 * poor, 400, seed=number), levels=2)
        role = "training" if number < 6 else "tuning" if number < 12 else "external"
        whose = name if number < 12 else "new"
        rows.append({"patient_id": whose, "slide_id": name, "slide_path": f"{name}.tif", "cohort": "c", "role": role})
        outcomes.append({"patient_id": whose, "followup_days": 400 + number + 2000 * (1 - poor), "event": poor})
    outcomes.pop()  # the new patient's second slide
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(outcomes).to_csv(folder / "outcomes.csv", index=False)
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        source="features",
        features=str(folder / "features"),
        tumour_policy="tissue",
        tiles_10x=SPECS["10x"],
        tiles_40x=SPECS["40x"],
        stream=StreamSettings(workers=1, batch_tiles=4),
    )
    assert features.run(FeaturesConfig(**SHOWN, weights=weights, data=data, device="cpu")) == 0
    return data


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Ten candidates after two steps on the features."""
    return trained_by("gated_attention", data, tmp_path_factory.mktemp("runs") / "runs")


def trained_by(pooling, data, folder, **fit):
    # training never looks at tiles or policy: the bundle must take them from the features, not from here
    elsewhere = replace(data, tiles_10x=TileSpec("10x", 1.0), tiles_40x=TileSpec("40x", 0.25), tumour_policy="outline")
    settings = made_many(made_settings(elsewhere, folder, steps=2, evaluate_every=2, **fit), 5)
    settings.network = replace(settings.network, encoder="none", width=1.0, feature_dim=96, pooling=pooling)
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    names = [task.folder.name for task in tasks]
    write_json(folder / ENSEMBLE_RUN, {"candidates": names, "run_id": "", "settings": as_dict(settings)})
    return folder


def lock(trained, out, **changes):
    track = TrackingSettings(tracking="none")
    stream = StreamSettings(workers=1, batch_tiles=4)  # as `SCORE`
    assert choose.run(EnsembleConfig(str(trained), str(out), bootstrap=0, stream=stream, track=track, **changes)) == 0
    return out


def test_tuning_at_the_lock_has_the_scores_of_scoring(whole, data, tmp_path):
    assert cli.main(call(whole, data, tmp_path / "out", role="tuning")) == 0
    found, locked = (
        pd.read_csv(path, dtype=str).sort_values("patient_id").to_dict("records")
        for path in (tmp_path / "out" / "patients.csv", f"{whole}.tuning.csv")
    )
    assert [str(row) for row in found] == [str(row) for row in locked]  # NaN is a word here
    assert len(found) == 6 and len({row["score_10x"] for row in found}) > 1


@pytest.fixture(scope="module")
def whole(trained, weights, tmp_path_factory):
    """A bundle that holds its encoder's weights."""
    return lock(trained, tmp_path_factory.mktemp("whole") / "bundle", encoder_weights=[weights])


@pytest.fixture(scope="module")
def referring(trained, tmp_path_factory):
    """A bundle that names its encoder's weights by their hash alone."""
    return lock(trained, tmp_path_factory.mktemp("referring") / "bundle")


def call(bundle, data, out, *more, role="external"):
    return ["score", f"cohort={data.cohort}", f"roles=[{role}]", f"ensemble={bundle}", f"out={out}", *SCORE, *more]


def members_of(out, slide):
    scores = json.loads((out / "slides" / slide / "result.json").read_text())["scores"]
    return {resolution: entry["members"] for resolution, entry in scores.items()}


def heads_on(bundle, data, slides):
    """Each head's score of the bag of all features that `pathoprog features` stored of some slides."""
    found = {}
    for resolution, heads in bundle.members.items():
        stored = [read_features(features.feature_path(data, resolution, slide)).values for slide in slides]
        values = torch.from_numpy(np.concatenate(stored)).float()
        with torch.inference_mode():
            found[resolution] = {
                head.name: float(head.network.bag_scores(head.network.instances(values), [len(values)], head.score_map))
                for head in heads
            }
    return found


def test_the_lock_takes_encoder_tiles_and_policy_from_the_features(whole, referring, weights, data):
    digest = sha256_file(weights)
    for bundle, place in ((whole, f"encoders/{digest[:12]}.safetensors"), (referring, None)):
        manifest = verify(bundle)
        assert manifest.format == 3 and manifest.tumour_policy == "tissue"
        for resolution, spec in SPECS.items():
            record = manifest.encoders[resolution]
            assert record.file == place
            shown = {name: plain(record)[name] for name in SHOWN}
            assert shown == SHOWN and (record.d, record.dtype, record.precision) == (96, "fp32", "fp16")
            assert record.weights_sha256 == digest and manifest.tile_specs[resolution] == spec
        assert sum(member.network.settings.encoder == "none" for member in manifest.members) == 10
        text = (bundle / "model_card.md").read_text()
        assert "features of the encoder at 10x and 40x: timm/test_resnet, frozen, d=96" in text and digest in text
        assert ("weights in the bundle" in text) == (place is not None) == (bundle / "encoders").is_dir()
        assert "What the frozen encoder learned from is not known" in text
        assert str(weights) not in (bundle / "manifest.json").read_text()


def test_features_keep_the_look_of_their_slides_for_the_bundle_s_checks(trained, whole, data, tmp_path, capsys):
    table = read_cohort(data.cohort)
    cut = replace(data, store=str(tmp_path / "store"))
    assert tile_store.build(table[:1], cut) == 0
    assert feature_store.read_look("P00", data) == tile_store.read_look("P00", cut)
    assert feature_store.read_look("P99", data) is None
    assert json.loads((whole / "quality.json").read_text())["region"] == "tissue"
    capsys.readouterr()
    lock(trained, tmp_path / "bundle")
    assert "12 of 12 slides were measured when their tiles were read" in capsys.readouterr().out


@pytest.mark.slow
def test_scores_are_the_same_wherever_the_encoder_s_weights_lie(whole, referring, weights, data, tmp_path):
    assert cli.main(call(whole, data, tmp_path / "whole")) == 0
    assert cli.main(call(referring, data, tmp_path / "referring", f"encoder_weights={weights}", "threads=2")) == 0
    for slide in ("P12", "P13"):
        assert members_of(tmp_path / "referring", slide) == members_of(tmp_path / "whole", slide)


def test_scores_are_those_of_the_heads_on_the_stored_features(whole, weights, data, tmp_path):
    assert cli.main(call(whole, data, tmp_path / "whole")) == 0
    bundle, all_scores = load_bundle(whole), []
    for slide in ("P12", "P13"):
        found = members_of(tmp_path / "whole", slide)
        for resolution, wanted in heads_on(bundle, data, [slide]).items():
            assert found[resolution] == pytest.approx(wanted, abs=1e-6)
            all_scores += wanted.values()
    assert max(all_scores) - min(all_scores) > 1e-3, "the heads say the same of everything"
    members = pd.read_csv(tmp_path / "whole" / "members.csv")  # of the patient: one bag of both slides
    for resolution, wanted in heads_on(bundle, data, ["P12", "P13"]).items():
        rows = members[members["resolution"] == resolution]
        assert dict(zip(rows["member"], rows["score"], strict=True)) == pytest.approx(wanted, abs=1e-6)
    result = json.loads((tmp_path / "whole" / "slides" / "P12" / "result.json").read_text())
    kept = {"weights_sha256": sha256_file(weights), "dtype": "fp32", "precision": "fp16"}
    kept["runtime"] = choose_runtime("auto", "cpu").as_dict()
    assert result["settings"]["encoders"] == dict.fromkeys(SPECS, kept)
    assert result["scores"]["10x"]["runtime"] == str(choose_runtime("auto", "cpu"))
    for name in ("tiles.parquet", "tiles.geojson", "heatmap.png", "report.html"):
        assert (tmp_path / "whole" / "slides" / "P12" / name).is_file()
    with (tmp_path / "whole" / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["scored", "scored"] and all(row["risk_class"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "tiles"), [("transmil", 0), ("dsmil", 3), ("clam_sb", 0)])
def test_other_poolings_go_the_whole_way(pooling, tiles, data, weights, tmp_path):
    """Trained on whole bags or drawn tiles, locked, and scored from the slides as the heads score stored features."""
    folder = trained_by(pooling, data, tmp_path / "runs", tiles_per_patient=tiles)
    bundle = lock(folder, tmp_path / "bundle", encoder_weights=[weights])
    assert {member.network.settings.pooling for member in verify(bundle).members} == {pooling}
    assert f"pooling {pooling}" in (bundle / "model_card.md").read_text()
    assert cli.main(call(bundle, data, tmp_path / "out")) == 0
    loaded = load_bundle(bundle)
    for slide in ("P12", "P13"):
        found = members_of(tmp_path / "out", slide)
        for resolution, wanted in heads_on(loaded, data, [slide]).items():
            assert found[resolution] == pytest.approx(wanted, abs=1e-6)
        tiles_table = pd.read_parquet(tmp_path / "out" / "slides" / slide / "tiles.parquet")
        assert tiles_table.groupby("resolution")["attention"].sum().tolist() == pytest.approx([1, 1], abs=1e-4)
        assert "Attention weight" in (tmp_path / "out" / "slides" / slide / "report.html").read_text()
    members = pd.read_csv(tmp_path / "out" / "members.csv")  # of the patient: both slides, in the order of their ids
    for resolution, wanted in heads_on(loaded, data, ["P12", "P13"]).items():
        rows = members[members["resolution"] == resolution]
        assert dict(zip(rows["member"], rows["score"], strict=True)) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("bundle", "given", "said"),
    [
        ("referring", "", "encoder_weights is missing: the members of"),
        ("referring", "other", "other weights than those whose features the members learned from"),
        ("referring", "absent", "absent.safetensors: no such file"),
        ("whole", "other", "other weights than those whose features"),
        ("harmed", "", "safetensors: altered"),
    ],
)
def test_wrong_missing_and_altered_weights_are_refused_before_any_slide(
    bundle, given, said, request, data, tmp_path, capsys
):
    files = {name: tmp_path / f"{name}.safetensors" for name in ("other", "absent")}
    made_encoder(files["other"], seed=1)
    folder = request.getfixturevalue("whole" if bundle == "harmed" else bundle)
    if bundle == "harmed":
        folder = shutil.copytree(folder, tmp_path / "harmed")
        path = next((folder / "encoders").iterdir())
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    more = [f"encoder_weights={files[given]}"] if given else []
    assert cli.main(call(folder, data, tmp_path / "out", *more)) == 2
    found = capsys.readouterr().err
    assert said in found and (given == "absent" or bundle == "harmed" or "SHA-256" in found)
    assert not (tmp_path / "out").exists()


def test_verify_says_where_the_weights_are_and_checks_those_given(whole, referring, weights, tmp_path, capsys):
    assert cli.main(["verify", str(whole)]) == 0
    assert "encoder at 10x and 40x: timm/test_resnet, frozen, d=96, shown tiles scaled to 48 px; weights in the" in (
        capsys.readouterr().out
    )
    assert cli.main(["verify", str(referring), f"encoder_weights={weights}"]) == 0
    said = capsys.readouterr().out
    assert "not in the bundle: scoring needs encoder_weights=FILE" in said and "by their hash" in said
    made_encoder(tmp_path / "other.safetensors", seed=1)
    assert cli.main(["verify", str(referring), f"encoder_weights={tmp_path / 'other.safetensors'}"]) == 2
    assert "other weights" in capsys.readouterr().err


def harm_hash(manifest):
    manifest["encoders"]["10x"]["weights_sha256"] = "0" * 64


def harm_record(manifest):
    del manifest["encoders"]["40x"]["mean"]


def harm_dtype(manifest):
    manifest["encoders"]["40x"]["dtype"] = "fp8"


def harm_dim(manifest):
    manifest["encoders"]["40x"]["d"] = 95


def drop_encoder(manifest):
    del manifest["encoders"]["10x"]


def drop_encoders(manifest):
    del manifest["encoders"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (harm_hash, "is not the one that the record names"),
        (harm_record, "encoders.40x: lacks mean"),
        (harm_dtype, "encoder at 40x: dtype fp8"),
        (harm_dim, "takes features of d=96, the encoder has d=95"),
        (drop_encoder, "takes features, and there is no encoder for all at 10x"),
        (drop_encoders, "takes features, and there is no encoder for all at 10x"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(whole, harm, said, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "bundle")
    manifest = read_json(folder / "manifest.json")
    harm(manifest)
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(BundleError, match=said):
        verify(folder)


def test_networks_of_one_resolution_are_all_of_one_kind(whole):
    manifest = read_manifest(whole)
    first, *others = manifest.members
    own = replace(first.network, settings=replace(first.network.settings, encoder="mobilenet_v2"))
    assert encoder_problems(replace(manifest, members=(replace(first, network=own), *others))) == [
        f"{first.name}: has an encoder of its own, and there is an encoder for all at 10x"
    ]


def test_weights_of_another_encoder_are_not_locked(trained, tmp_path):
    made_encoder(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(ConfigError, match="other weights than those whose features the members learned from"):
        lock(trained, tmp_path / "bundle", encoder_weights=[str(tmp_path / "other.safetensors")])
    assert not (tmp_path / "bundle").exists()


def test_features_made_anew_since_the_training_are_not_locked(trained, data, tmp_path):
    record = json.loads((trained / ENSEMBLE_RUN).read_text())
    folder = shutil.copytree(data.features, tmp_path / "features")
    record["settings"]["data"]["features"] = str(folder)
    runs = shutil.copytree(trained, tmp_path / "runs")
    write_json(runs / ENSEMBLE_RUN, record)
    path = folder / "10x" / "P07.safetensors"
    path.unlink()
    with pytest.raises(InputError, match="features or patients of tuning at 10x are not those of the candidates'"):
        lock(runs, tmp_path / "bundle")
    shutil.copyfile(folder / "40x" / "P07.safetensors", path)
    with pytest.raises(InputError, match="features that differ in max_per_slide, mpp, resolution, size_px"):
        lock(runs, tmp_path / "bundle")


def test_fine_tuning_starts_from_heads_on_the_same_features_alone(referring, data, weights, tmp_path):
    settings = made_settings(data, tmp_path / "run")
    settings.start.bundle = str(referring)
    adopt(settings)
    assert settings.network.encoder == "none" and settings.network.feature_dim == 96
    settings.data = replace(data, features=str(tmp_path / "features"))
    other = {**SHOWN, "input_px": 32}
    role = ["training"]
    features.run(FeaturesConfig(**other, weights=weights, data=settings.data, device="cpu", roles=role))
    with pytest.raises(
        ConfigError, match=r"features than the ensemble to start from takes at 10x; they differ in input_px$"
    ):
        adopt(settings)
