"""The whole way on features of another tool: trained, locked, scored from the tools' own folders, nothing renamed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
import torch
from made_foreign import write_clam, write_stamp, write_stamp_whole, write_trident
from made_store import made_many, made_settings

from pathoprog import cli
from pathoprog.ensemble.bundle import verify
from pathoprog.ensemble.loading import load_bundle
from pathoprog.ensemble.manifest_checks import encoder_problems
from pathoprog.errors import ConfigError, InputError
from pathoprog.networks.encoder_records import EncoderRecord
from pathoprog.networks.features import read_features, write_features
from pathoprog.scoring.in_process import InProcessScorer
from pathoprog.settings import as_dict
from pathoprog.system.files import write_json
from pathoprog.system.records import record_of
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.tiles.config import PREPROCESSING_VERSION, TileSpec
from pathoprog.training.config import EnsembleConfig, MatchFeaturesConfig
from pathoprog.training.data.bags import make_ready, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.lock import match_features
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks

D, DEVELOPMENT, PATIENTS = 8, 24, 30
SCORE = ["device=cpu", "settle_s=0", "outputs.pdf=false"]


def values_of(number, seed, n=6):
    """Features of a patient, whose first one carries the outcome."""
    rng = np.random.default_rng([number, seed])
    values = rng.normal(size=(n + number % 3, D)).astype(np.float32)
    values[:, 0] += 4 * (number % 2)
    return values


def made_cohort(folder):
    """Slides are called otherwise than their files, by which the tools name features; some files are links."""
    rows, outcomes = [], []
    (folder / "slides").mkdir()
    for number in range(PATIENTS):
        poor, name = number % 2, f"P{number:02d}"
        role = "training" if number < 12 else "tuning" if number < DEVELOPMENT else "external"
        file = f"slides/{name} scan.svs"
        if number % 9 == 0:  # in training, tuning and external
            (folder / file).symlink_to(folder / f"store/{number}c4e1.svs")
        rows.append({"patient_id": name, "slide_id": f"id-{name}", "slide_path": file, "cohort": "c", "role": role})
        outcomes.append({"patient_id": name, "followup_days": 400 + number + 2000 * (1 - poor), "event": poor})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(outcomes).to_csv(folder / "outcomes.csv", index=False)
    return folder


def write_all(tool, folder):
    """Features of everybody at both resolutions, and of a slide that the cohort does not have."""
    for resolution, seed in (("10x", 1), ("40x", 2)):
        place = folder / f"{tool} {resolution}"
        for number in range(PATIENTS + 1):
            name, values = f"P{number:02d} scan", values_of(number, seed)
            if tool == "trident":
                write_trident(place, name, values, magnification=int(resolution[:-1]))
            elif tool == "clam":
                write_clam(place, name, values, pickled=False)
            elif tool == "stamp":
                write_stamp(place, f"site{number % 2}/{name}.svs", values)
            else:
                write_stamp_whole(place, name, values[0])
    return folder


def folders(tool, folder):
    return {f"features_{name}": str(folder / f"{tool} {name}") for name in ("10x", "40x")}


def trained_on(tool, folder, pooling="gated_attention"):
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        source="features",
        **folders(tool, folder),
    )
    runs = folder / f"runs {tool}"
    settings = made_many(made_settings(data, runs, steps=12, evaluate_every=12, lr=2e-2), 5)
    settings.network = replace(settings.network, encoder="none", width=1.0, feature_dim=D, pooling=pooling)
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    names = [task.folder.name for task in tasks]
    write_json(runs / ENSEMBLE_RUN, {"candidates": names, "run_id": "", "settings": as_dict(settings)})
    return runs


def lock(runs, out, **changes):
    track = TrackingSettings(tracking="none")
    assert choose.run(EnsembleConfig(str(runs), str(out), bootstrap=0, track=track, **changes)) == 0
    return out


def score(bundle, tool, folder, out, *more):
    given = [f"{key}={value}" for key, value in folders(tool, folder).items()]
    return cli.main(["score", f"ensemble={bundle}", f"out={out}", *given, *SCORE, *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cohort, TRIDENT's features of it, ten candidates and the locked bundle."""
    folder = made_cohort(tmp_path_factory.mktemp("other features"))
    write_all("trident", folder)
    return folder, lock(trained_on("trident", folder), folder / "bundle")


def heads_on(bundle, files):
    """Each head's score of one bag of the values of some files, by resolution."""
    found = {}
    for resolution, heads in load_bundle(bundle).members.items():
        values = torch.from_numpy(np.asarray(read_features(files[resolution]).values)).float()
        with torch.inference_mode():
            found[resolution] = {
                head.name: float(head.network.bag_scores(head.network.instances(values), [len(values)], head.score_map))
                for head in heads
            }
    return found


def test_the_bundle_says_whose_features_its_members_take(made, capsys):
    folder, bundle = made
    manifest = verify(bundle)
    assert manifest.encoders is None and manifest.tumour_policy == "tissue"
    maker = manifest.other_features["40x"]
    assert (maker.tool, maker.model, maker.d, maker.mpp) == ("TRIDENT", "uni_v1", D, 0.25)
    assert manifest.tile_specs["10x"].mpp == 1.0 and manifest.tile_specs["40x"].size_px == 256
    card = (bundle / "model_card.md").read_text()
    assert "features at 10x of another tool: TRIDENT, uni_v1, d=8, tiles of 256 px at 1 um/px" in card
    assert "The features are another tool's" in card and str(folder) not in (bundle / "manifest.json").read_text()
    assert cli.main(["verify", str(bundle)]) == 0
    assert "features at 40x of another tool: TRIDENT, uni_v1" in capsys.readouterr().out


@pytest.mark.slow
def test_tuning_at_the_lock_has_the_scores_of_scoring(made, tmp_path):
    folder, bundle = made
    cohort = [f"cohort={folder / 'cohort.csv'}", "roles=[tuning]"]
    assert score(bundle, "trident", folder, tmp_path / "out", *cohort) == 0
    found, locked = (
        pd.read_csv(path, dtype=str).sort_values("patient_id").to_dict("records")
        for path in (tmp_path / "out" / "patients.csv", f"{bundle}.tuning.csv")
    )
    assert [str(row) for row in found] == [str(row) for row in locked]  # NaN is a word here
    assert len(found) == 12 and len({row["score_10x"] for row in found}) == 12
    results = pd.read_csv(tmp_path / "out" / "results.csv")
    assert results["quality"].str.contains("development slide: tuning").all()
    assert results["slide_sha256"].str.len().eq(64).all() and results["slide_sha256"].is_unique


@pytest.mark.slow
def test_external_features_are_scored_as_the_heads_score_them(made, tmp_path, capsys):
    folder, bundle = made
    cohort = [f"cohort={folder / 'cohort.csv'}", "roles=[external]"]
    assert score(bundle, "trident", folder, tmp_path / "out", *cohort) == 0
    said = capsys.readouterr().out
    assert "features of 1 slide that the cohort does not have are left: P30 scan" in said
    found = pd.read_csv(tmp_path / "out" / "patients.csv")
    assert found["status"].eq("scored").all() and len(found) == 6
    poor = found["patient_id"].str[1:].astype(int) % 2 == 1
    assert found.loc[poor, "one_number"].min() > found.loc[~poor, "one_number"].max(), "the planted signal"
    result = json.loads((tmp_path / "out/slides/id-P24/result.json").read_text())
    files = {
        name: folder / f"trident {name}" / f"{name}_256px_0px_overlap/features_uni_v1/P24 scan.h5"
        for name in ("10x", "40x")
    }
    for resolution, wanted in heads_on(bundle, files).items():
        assert result["scores"][resolution]["members"] == pytest.approx(wanted, abs=1e-6)
    assert result["slide"] is None and result["features"]["unit"] == "px"
    assert "quality not checked: features of another tool, no slide was read" in result["quality"]
    assert str(folder) not in json.dumps(result)
    place = tmp_path / "out/slides/id-P24"
    tiles = pd.read_parquet(place / "tiles.parquet")
    first = tiles[tiles["resolution"] == "40x"]
    assert first["x0"].tolist()[:4] == [0, 256, 512, 768] and first["width0"].eq(256).all()
    assert (place / "heatmap.png").stat().st_size > 1000 and (place / "tiles.geojson").is_file()
    page = (place / "report.html").read_text()
    assert "TRIDENT, uni_v1, d=8" in page and "no slide was read" in page


@pytest.mark.slow
def test_without_a_table_each_file_is_a_slide_and_the_same_call_goes_on(made, tmp_path, capsys):
    folder, bundle = made
    assert score(bundle, "trident", folder, tmp_path / "out") == 0
    assert len(pd.read_csv(tmp_path / "out" / "results.csv")) == PATIENTS + 1
    first = (tmp_path / "out/patients.csv").read_bytes()
    capsys.readouterr()
    assert score(bundle, "trident", folder, tmp_path / "out") == 0
    assert "31 done before and unchanged" in capsys.readouterr().out
    assert (tmp_path / "out/patients.csv").read_bytes() == first


@pytest.mark.slow
def test_one_bad_file_never_stops_the_others(made, tmp_path):
    folder, bundle = made
    for resolution in ("10x", "40x"):
        shutil.copytree(folder / f"trident {resolution}", tmp_path / f"trident {resolution}")
    place = tmp_path / "trident 10x/10x_256px_0px_overlap/features_uni_v1"
    for harmed, harm in {
        "P00": lambda file: file["features"].__setitem__((0, 0), np.nan),
        "P01": lambda file: file.__delitem__("coords"),
        "P02": lambda file: file["features"].attrs.__setitem__("encoder", "conch_v15"),
    }.items():
        with h5py.File(place / f"{harmed} scan.h5", "a") as file:
            harm(file)
    write_trident(tmp_path / "trident 10x", "P03 scan", np.zeros((3, D + 1)), magnification=10)
    write_trident(tmp_path / "trident 10x", "P04 scan", np.zeros((0, D)), magnification=10)
    (place / "P05 scan.h5").write_bytes((place / "P05 scan.h5").read_bytes()[:900])
    (place / "P06 scan.h5").unlink()
    assert score(bundle, "trident", tmp_path, tmp_path / "out") == 1
    found = pd.read_csv(tmp_path / "out/results.csv", keep_default_na=False).set_index("slide_id")
    reasons, status = found["reason"], found["status"]
    assert "hold NaN" in reasons["P00 scan"] and "no dataset coords" in reasons["P01 scan"]
    assert "model (conch_v15 and uni_v1)" in reasons["P02 scan"] and "d (9 and 8)" in reasons["P03 scan"]
    assert status["P04 scan"] == "not_reportable" and "no tile in its features" in reasons["P04 scan"]
    assert "not an h5 file" in reasons["P05 scan"] and "no features at 10x" in reasons["P06 scan"]
    assert status.eq("failed").sum() == 6 and status.eq("scored").sum() == PATIENTS + 1 - 7
    assert not found["reason"].str.contains(str(tmp_path)).any()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["slides=made.svs"], "give either slides=… or features=…"),
        (["tiles.max_per_slide=3"], "tiles.max_per_slide: features come with their tiles"),
        (["features_10x="], "features_10x is missing: features is not given"),
    ],
)
def test_calls_that_make_no_sense_are_refused(made, tmp_path, capsys, more, said):
    folder, bundle = made
    given = {f"{key}={value}" for key, value in folders("trident", folder).items()}
    given -= {one for one in given if one.partition("=")[0] == more[0].partition("=")[0]}
    call = ["score", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *given, *(one for one in more if one[-1] != "=")]
    assert cli.main(call) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_slides_are_refused_by_a_bundle_on_another_tool_s_features(made, tmp_path, capsys):
    _, bundle = made
    (tmp_path / "a.svs").write_bytes(b"x")
    assert cli.main(["score", str(tmp_path / "a.svs"), f"ensemble={bundle}", f"out={tmp_path / 'out'}"]) == 2
    assert "take features of another tool (10x: TRIDENT, uni_v1" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="take features of another tool, which nothing here makes of a slide"):
        InProcessScorer(bundle)


def test_training_names_what_does_not_fit(made, tmp_path, capsys):
    folder, _ = made
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        source="features",
        **folders("trident", folder),
    )
    cohort = pd.read_csv(folder / "cohort.csv")
    capsys.readouterr()
    assert not make_ready(cohort, data)
    assert "features of 1 slide that the cohort does not have are not read: P30 scan" in capsys.readouterr().out
    settings = made_settings(data, tmp_path)
    settings.network = replace(settings.network, encoder="none", width=1.0, feature_dim=D)
    assert [len(patient.slides) for patient in read_patients(settings, "training")] == [1] * 12
    shutil.copytree(folder / "trident 10x", tmp_path / "trident 10x")
    settings.data = replace(data, features_10x=str(tmp_path / "trident 10x"))
    write_trident(tmp_path / "trident 10x", "P03 scan", values_of(3, 1)[:, :-1], magnification=10)
    odd = make_ready(cohort, settings.data, dims={"10x": D, "40x": D})
    assert list(odd) == ["id-P03"] and odd["id-P03"].failed
    assert "P03 scan.h5: d=7, but network.feature_dim=8" in odd["id-P03"].reason
    assert len(read_patients(settings, "training")) == 11, "the others learn"
    rows = pd.read_csv(folder / "cohort.csv")
    rows.loc[1, "slide_path"] = "elsewhere/P00 scan.svs"
    rows.to_csv(tmp_path / "cohort.csv", index=False)
    settings.data = replace(data, cohort=str(tmp_path / "cohort.csv"))
    with pytest.raises(InputError, match="would be the features of both id-P00 and id-P01"):
        read_patients(settings, "training")


def test_features_of_ours_at_one_resolution_and_of_another_tool_at_the_other_are_not_locked(made, tmp_path):
    folder, _ = made
    trained = made_settings(
        DataSettings(cohort=str(folder / "cohort.csv"), source="features", **folders("trident", folder)), tmp_path
    )
    with pytest.raises(ConfigError, match="encoder_weights: the features are another tool's"):
        choose.makers_of(EnsembleConfig(str(tmp_path), str(tmp_path), encoder_weights=["w.safetensors"]), trained)
    with pytest.raises(ConfigError, match="tumour: features of another tool lie where that tool laid its tiles"):
        choose.makers_of(EnsembleConfig(str(tmp_path), str(tmp_path), tumour="tumour"), trained)
    trained.data.features_10x, trained.data.features = "", str(tmp_path)
    with pytest.raises(InputError, match="features at 40x are of another tool, and what members at 10x take is not"):
        choose.makers_of(EnsembleConfig(str(tmp_path), str(tmp_path)), trained)


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["clam", "stamp", "stamp slides"])
def test_the_other_tools_go_the_whole_way(tool, tmp_path):
    """CLAM's tiles, STAMP's in um, and one vector a slide: a bag of one, without a map."""
    folder = write_all(tool, made_cohort(tmp_path))
    bundle = lock(trained_on(tool, folder), folder / "bundle")
    assert score(bundle, tool, folder, tmp_path / "out", f"cohort={folder / 'cohort.csv'}", "roles=[external]") == 0
    found = pd.read_csv(tmp_path / "out" / "patients.csv")
    poor = found["patient_id"].str[1:].astype(int) % 2 == 1
    assert found["status"].eq("scored").all()
    assert found.loc[poor, "one_number"].mean() > found.loc[~poor, "one_number"].mean() + 0.1
    place = Path(tmp_path / "out/slides/id-P25")
    whole = tool == "stamp slides"
    assert (place / "tiles.parquet").is_file() == (place / "heatmap.png").is_file() == (not whole)
    assert (place / "tiles.geojson").is_file() == (tool == "clam")
    result = json.loads((place / "result.json").read_text())
    assert result["features"]["unit"] == {"clam": "px", "stamp": "um", "stamp slides": ""}[tool]
    assert result["scores"]["10x"]["n_tiles"] == (1 if whole else 7)


ENCODER = {"encoder": "timm/test_resnet", "width": 1.0, "encoder_options": "", "input_px": 0, "mean": [0.5] * 3,
           "std": [0.2] * 3, "weights_sha256": "ab" * 32}  # fmt: skip


def write_own(folder, other, shift=0.0, slides=20):
    """Features as `pathoprog features` writes them, of the values of another tool's files."""
    for resolution in ("10x", "40x"):
        files = sorted((other / f"trident {resolution}").rglob("features_*/*.h5"))[:slides]
        for path in files:
            found = read_features(path)
            facts = {"encoder": ENCODER, "dtype": "fp32", "precision": "fp32", "d": D, "region": "tissue",
                     "spec": as_dict(TileSpec(resolution, 0.5, 256)), "preprocessing": PREPROCESSING_VERSION,
                     "slide_sha256": "0" * 64}  # fmt: skip
            values = np.asarray(found.values) + np.float32(shift)
            write_features(folder / resolution / f"{path.stem}.safetensors", values, found.x0, found.y0, facts)
    return str(folder)


def links(folder, other):
    folder.mkdir()
    for name in ("10x", "40x"):
        (folder / name).symlink_to(other / f"trident {name}")
    return str(folder)


def test_own_features_score_only_after_a_stored_check_that_both_give_equal_scores(made, tmp_path, capsys):
    folder, bundle = made
    own, other = write_own(tmp_path / "own", folder), links(tmp_path / "other", folder)
    settings = MatchFeaturesConfig(str(bundle), own, other, str(tmp_path / "both"), device="cpu")
    assert match_features.run(settings) == 0
    assert "20 slides: scores differ by at most 0 at 10x, 0 at 40x; other classes: 0" in capsys.readouterr().out
    manifest = verify(tmp_path / "both")
    assert manifest.same_scores.n_slides == 20 and set(manifest.holds) == {"other_features", "same_scores"}
    assert manifest.encoders["10x"].weights_sha256 == "ab" * 32 and manifest.tile_specs["10x"].mpp == 0.5
    assert "after a check on 20 slides that had both" in (tmp_path / "both/model_card.md").read_text()
    (tmp_path / "a.svs").write_bytes(b"x")
    call = ["score", f"ensemble={tmp_path / 'both'}", f"out={tmp_path / 'out'}"]
    assert cli.main([*call, str(tmp_path / "a.svs")]) == 2
    assert "encoder_weights is missing" in capsys.readouterr().err, "slides are taken now"
    assert cli.main([*call, f"features={other}", "dry_run=true"]) == 0, "and features too"
    assert "31 to score" in capsys.readouterr().out

    other_values = write_own(tmp_path / "others", folder, shift=0.05)
    with pytest.raises(InputError, match=r"do not give the scores of the other tool's within 0\.001 on 20 slides"):
        match_features.run(replace(settings, own=other_values, out=str(tmp_path / "none")))
    few = write_own(tmp_path / "few", folder, slides=3)
    with pytest.raises(InputError, match="3 slides have features of both kinds at 10x and 40x; 20 are needed"):
        match_features.run(replace(settings, own=few, out=str(tmp_path / "none")))
    with pytest.raises(InputError, match="was checked before"):
        match_features.run(replace(settings, bundle=str(tmp_path / "both"), out=str(tmp_path / "none")))
    assert not (tmp_path / "none").exists() and (tmp_path / "none.match.csv").is_file()


def test_an_encoder_beside_another_tool_s_features_needs_the_check(made):
    _, bundle = made
    manifest = verify(bundle)
    record = record_of(EncoderRecord, {**ENCODER, "dtype": "fp32", "precision": "fp32", "d": D})
    found = encoder_problems(replace(manifest, encoders={"10x": record, "40x": record}))
    assert found == ["encoders beside features of another tool: only after a check that both give equal scores"]
