"""Choice, thresholds and lock on small candidates."""

import csv
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from made_store import made_many, made_settings, made_store

from pathoprog.ensemble.bundle import read_manifest, verify
from pathoprog.ensemble.choice import choose_members
from pathoprog.ensemble.loading import load_bundle
from pathoprog.errors import ConfigError, InputError, LockError
from pathoprog.networks.engines.tile_networks import AGREES
from pathoprog.settings import as_dict
from pathoprog.system.files import read_json, sha256_file, write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.lock.tuning_risks import FOLDER as KEPT_SCORES
from pathoprog.training.member.candidate import read_candidate
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks

NO_TRACKING = TrackingSettings(tracking="none")


@pytest.fixture(scope="module")
def candidates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candidates")
    data = made_store(folder / "data", patients=20)
    settings = made_many(made_settings(data, folder / "runs", steps=2, evaluate_every=2, recalibrate=1), 6)
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    names = [task.folder.name for task in tasks]
    write_json(folder / "runs" / ENSEMBLE_RUN, {"candidates": names, "run_id": "", "settings": as_dict(settings)})
    return folder / "runs"


def test_the_best_five_of_each_resolution_are_locked(candidates, tmp_path, capsys):
    settings = EnsembleConfig(str(candidates), str(tmp_path / "bundle"), bootstrap=20, track=NO_TRACKING)
    assert choose.run(settings) == 0
    manifest = verify(tmp_path / "bundle")
    rows = list(csv.DictReader((tmp_path / "bundle" / "choice.csv").read_text().splitlines()))
    for resolution in ("10x", "40x"):
        ranked = [row for row in rows if row["resolution"] == resolution]
        c = [float(row["tuning_c"]) for row in ranked]
        assert c == sorted(c, reverse=True) and len(ranked) == 6
        for row in ranked:
            verdict = read_json(candidates / row["candidate"] / f"step-{int(row['step']):06d}.json")
            half = min(1.0, verdict["c_index"] + 1.96 * verdict["c_se"]) - float(row["tuning_c"])
            assert float(row["tuning_c_upper"]) - float(row["tuning_c"]) == pytest.approx(half, abs=1e-4)
            assert 0.0 <= float(row["tuning_c_lower"]) <= float(row["tuning_c"])
        assert [row["scored_c"] != "" for row in ranked] == [row["chosen"] == "True" for row in ranked]
        chosen = {row["candidate"] for row in ranked if row["chosen"] == "True"}
        assert chosen == {member.name for member in manifest.members_at(resolution)}
        assert len(chosen) == 5 and ranked[-1]["chosen"] == "False"
        cut = manifest.thresholds[resolution]
        assert cut.lower <= cut.value <= cut.upper and 0.15 <= cut.share_above <= 0.85
    assert manifest.format == 3 and manifest.precision == "fp32"
    basis = manifest.tuning_scores
    assert (basis.n_patients, basis.n_tiles, basis.left_out) == (20, {"10x": 120, "40x": 120}, {})
    scored = list(csv.DictReader((tmp_path / "bundle.tuning.csv").read_text().splitlines()))
    for resolution, cut in manifest.thresholds.items():
        above = [float(row[f"score_{resolution}"]) >= cut.value for row in scored]
        assert len(above) == 20 and np.mean(above) == cut.share_above
    assert load_bundle(tmp_path / "bundle").specs["10x"].size_px == 32
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    assert "research use only" in card.lower() and "median" in card and "site1" in card
    assert not any(f"P{n:03d}" in path.read_text() for n in range(40) for path in (tmp_path / "bundle").glob("*.*"))
    assert "threshold" in capsys.readouterr().out
    figure = (tmp_path / "bundle.choice.svg").read_text()
    assert figure.count("seed ") == 12 and "For research use only" in figure and "5 chosen (filled) of 6" in figure
    assert (tmp_path / "bundle.choice.png").stat().st_size > 20_000


def test_equal_work_gives_an_equal_ensemble_and_a_lock_stays(candidates, tmp_path):
    settings = EnsembleConfig(str(candidates), str(tmp_path / "bundle"), bootstrap=5, track=NO_TRACKING)
    choose.run(settings)
    first = sha256_file(tmp_path / "bundle" / "manifest.json")
    choose.run(settings)
    choose.run(replace(settings, out=str(tmp_path / "other")))
    assert (
        first == sha256_file(tmp_path / "bundle" / "manifest.json") == sha256_file(tmp_path / "other" / "manifest.json")
    )
    with pytest.raises(LockError, match="superseded"):
        choose.run(replace(settings, aggregation="max"))


@pytest.mark.slow
def test_scores_that_were_kept_say_what_computed_them_whoever_reads_them(candidates, tmp_path, monkeypatch):
    shutil.copytree(candidates, tmp_path / "runs", ignore=shutil.ignore_patterns(KEPT_SCORES))
    settings = EnsembleConfig(str(tmp_path / "runs"), str(tmp_path / "bundle"), bootstrap=0, track=NO_TRACKING)
    with monkeypatch.context() as strict:
        strict.setitem(AGREES, "fp32", -1.0)  # no engine but torch will do
        choose.run(settings)
    manifest = (tmp_path / "bundle" / "manifest.json").read_bytes()
    choose.run(settings)  # the kept scores again: the same lock
    assert (tmp_path / "bundle" / "manifest.json").read_bytes() == manifest
    basis = read_manifest(tmp_path / "bundle").tuning_scores
    assert set(basis.runtime.values()) == {f"torch {version('torch')}"}


def test_outcomes_that_changed_since_the_training_are_refused(candidates, tmp_path):
    outcomes = Path(read_json(candidates / ENSEMBLE_RUN)["settings"]["data"]["outcomes"])
    whole = outcomes.read_text()
    settings = EnsembleConfig(str(candidates), str(tmp_path / "bundle"), bootstrap=0, track=NO_TRACKING)
    try:
        outcomes.write_text(whole.replace("P025,650,1", "P025,651,1"))
        assert outcomes.read_text() != whole
        with pytest.raises(
            InputError, match=r"tiles or patients of tuning at 10x are not those .* or their outcomes have changed"
        ):
            choose.run(settings)
    finally:
        outcomes.write_text(whole)
    assert not (tmp_path / "bundle").exists() and choose.run(settings) == 0


def test_too_few_candidates_are_refused(candidates, tmp_path):
    record = read_json(candidates / ENSEMBLE_RUN)
    runs = [read_candidate(candidates / name) for name in record["candidates"]]
    with pytest.raises(InputError, match="4 candidates at 10x"):
        choose_members([run for run in runs if run.resolution == "10x"][:4], "10x")
    with pytest.raises(InputError, match="train_ensemble"):
        choose.run(EnsembleConfig(str(tmp_path), str(tmp_path / "bundle")))


def test_manifest_says_what_made_it(candidates, tmp_path):
    choose.run(EnsembleConfig(str(candidates), str(tmp_path / "bundle"), bootstrap=0, track=NO_TRACKING))
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest.cohorts["training"].n_patients == 20
    assert len(manifest.cohorts["tuning"].sha256) == 64
    assert manifest.training["fit"]["steps"] == 2 and manifest.code_version.startswith("0.")
    text = Path(tmp_path / "bundle" / "manifest.json").read_text()
    assert str(tmp_path) not in text


def test_a_tumour_network_is_locked_with_the_members(candidates, tumour, tmp_path):
    settings = EnsembleConfig(str(candidates), str(tmp_path / "bundle"), bootstrap=0, track=NO_TRACKING)
    settings = replace(settings, tumour=str(tumour.trained))
    choose.run(settings)
    manifest = verify(tmp_path / "bundle")
    assert manifest.files["tumour.safetensors"] == sha256_file(tumour.trained / "tumour.safetensors")
    assert manifest.tumour_policy == "tissue", "as the tiles of training were laid, unless it is told otherwise"
    assert "Tumour network" in (tmp_path / "bundle" / "model_card.md").read_text()
    # under the network's policy scoring reads other tiles than training did: from the slides, and these have none
    with pytest.raises(InputError, match=r"20 of 20 tuning slides cannot be scored, first P020-A: .* the same command"):
        choose.run(replace(settings, out=str(tmp_path / "none"), tumour_policy="network"))
    for wrong, said in ((str(tmp_path), "no finished tumour network"), ("", "needs tumour=FOLDER")):
        with pytest.raises(ConfigError, match=said):
            choose.run(replace(settings, out=str(tmp_path / "none"), tumour=wrong, tumour_policy="network"))
    assert not (tmp_path / "none").exists()
