"""Choice, thresholds and lock on small candidates; many runs as processes."""

import csv
import os
import signal
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.bundle import read_manifest, verify
from pathoprog.ensemble import load_bundle
from pathoprog.errors import InputError, LockError, PathoprogError
from pathoprog.files import read_json, sha256_file, write_json
from pathoprog.settings import as_dict
from pathoprog.training import choose, train_ensemble
from pathoprog.training.config import EnsembleConfig, TrackingSettings, TrainConfig, TrainEnsembleConfig
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks, train_all

NO_TRACKING = TrackingSettings(tracking="none")


def many(settings: TrainConfig, candidates: int) -> TrainEnsembleConfig:
    plain = {field.name: getattr(settings, field.name) for field in fields(TrainConfig)}
    return TrainEnsembleConfig(**plain, candidates=candidates, workers=2)


@pytest.fixture(scope="module")
def candidates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candidates")
    data = made_store(folder / "data", patients=20)
    settings = many(made_settings(data, folder / "runs", steps=2, evaluate_every=2, recalibrate=1), 6)
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
        chosen = {row["candidate"] for row in ranked if row["chosen"] == "True"}
        assert chosen == {member["name"] for member in manifest["members"] if member["resolution"] == resolution}
        assert len(chosen) == 5 and ranked[-1]["chosen"] == "False"
        cut = manifest["thresholds"][resolution]
        assert cut["lower"] <= cut["value"] <= cut["upper"] and 0.15 <= cut["share_above"] <= 0.85
    assert load_bundle(tmp_path / "bundle").specs["10x"].size_px == 32
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    assert "research use only" in card.lower() and "median" in card and "site1" in card
    assert not any(f"P{n:03d}" in path.read_text() for n in range(40) for path in (tmp_path / "bundle").glob("*.*"))
    assert "threshold" in capsys.readouterr().out


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


def test_too_few_candidates_are_refused(candidates, tmp_path):
    record = read_json(candidates / ENSEMBLE_RUN)
    runs = [(candidates / name, read_json(candidates / name / "candidate.json")) for name in record["candidates"]]
    with pytest.raises(InputError, match="4 candidates at 10x"):
        choose.rank([run for run in runs if run[1]["resolution"] == "10x"][:4], "10x")
    with pytest.raises(InputError, match="train_ensemble"):
        choose.run(EnsembleConfig(str(tmp_path), str(tmp_path / "bundle")))


def test_other_heads_get_a_map_from_tuning(tmp_path):
    data = made_store(tmp_path / "data")
    settings = made_settings(data, tmp_path / "run", loss="cox", balance="none", steps=2, evaluate_every=2)
    settings.network.head = "risk"
    chosen = choose.choose(tmp_path / "run", train(settings, lambda _: None))
    risks = np.array(chosen.verdict["risks"])
    assert chosen.score_map == pytest.approx((risks.mean(), risks.std()))
    assert (
        (np.argsort(chosen.scores) == np.argsort(risks)).all() and chosen.scores.min() > 0 and chosen.scores.max() < 1
    )


@pytest.mark.slow
def test_workers_give_the_members_of_one_after_another_even_if_one_is_killed(tmp_path):
    data = made_store(tmp_path / "data")
    alone = many(made_settings(data, tmp_path / "alone", steps=6, evaluate_every=3), 1)
    for task in make_tasks(alone):
        train(task.settings, lambda _: None)
    together = replace(alone, out=str(tmp_path / "together"))
    tasks = make_tasks(together)
    killed = []

    class Killer(Tracking):
        """Kills the first candidate once, when its first metrics have come."""

        def metrics(self, run_id, lines):
            process = tasks[0].process
            if lines and not killed and process is not None:
                killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)

        def start(self, *_, **__):
            return "a run"

        def end(self, *_, **__):
            return None

    train_all(tasks, ["cpu", "cpu"], 2, Killer(NO_TRACKING), "")
    assert killed and tasks[0].starts == 2
    for resolution in ("10x", "40x"):
        for path in sorted((tmp_path / "alone" / f"{resolution}-seed1").glob("*.safetensors")):
            assert sha256_file(path) == sha256_file(tmp_path / "together" / f"{resolution}-seed1" / path.name)


@pytest.mark.slow
def test_a_candidate_that_cannot_run_is_named_and_not_tried_again(tmp_path):
    data = made_store(tmp_path / "data")
    settings = many(made_settings(data, tmp_path / "runs", steps=2), 1)
    tasks = make_tasks(settings)
    tasks[0].settings.network.encoder = "no_such_encoder"
    began = time.monotonic()
    with pytest.raises(PathoprogError, match="no_such_encoder"):
        train_all(tasks, ["cpu"], 2, Tracking(NO_TRACKING), "")
    assert tasks[0].starts == 1 and time.monotonic() - began < 120


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of MLflow and of what it stands on
def test_mlflow_holds_parent_children_metrics_and_no_patient(tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    data = made_store(tmp_path / "data")
    settings = many(made_settings(data, tmp_path / "runs", steps=4, evaluate_every=2), 1)
    settings.track = TrackingSettings("mlflow", f"sqlite:///{tmp_path}/ml flow.db", "test")
    monkey = train_ensemble.tile_store.build
    train_ensemble.tile_store.build = lambda *_: 0  # the store is made, there are no slides
    try:
        assert train_ensemble.run(settings) == 0
    finally:
        train_ensemble.tile_store.build = monkey
    client = MlflowClient(settings.track.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(parents) == 1 and len(children) == 2
    assert all(run.info.status == "FINISHED" and "tuning_c" in run.data.metrics for run in children)
    assert [metric.step for metric in client.get_metric_history(children[0].info.run_id, "loss")] == [1, 2, 3, 4]
    assert {item.dataset.name for item in parents[0].inputs.dataset_inputs} == {"training", "tuning"}
    dump = (tmp_path / "ml flow.db").read_bytes()
    assert not any(f"P{number:03d}".encode() in dump for number in range(32))


def test_manifest_says_what_made_it(candidates, tmp_path):
    choose.run(EnsembleConfig(str(candidates), str(tmp_path / "bundle"), bootstrap=0, track=NO_TRACKING))
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest["cohorts"]["training"]["n_patients"] == 20
    assert len(manifest["cohorts"]["tuning"]["sha256"]) == 64
    assert manifest["training"]["fit"]["steps"] == 2 and manifest["code_version"].startswith("0.")
    text = Path(tmp_path / "bundle" / "manifest.json").read_text()
    assert str(tmp_path) not in text
