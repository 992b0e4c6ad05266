"""Many candidates: one after another, side by side or by Ray, whatever dies on the way: the same members."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")
from made_store import made_many, made_settings, made_store

from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.system.files import sha256_file
from pathoprog.system.ray_config import RaySettings
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training import train_ensemble
from pathoprog.training.launchers import LocalEngine, RayEngine, engine_of, local_devices
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import make_tasks, train_all

NO_TRACKING = TrackingSettings(tracking="none")


class Ears(Tracking):
    """Hears the metrics of running candidates instead of logging them."""

    def __init__(self, heard):
        super().__init__(NO_TRACKING)
        self.heard = heard

    def metrics(self, run_id, lines):
        if lines:
            self.heard(run_id)

    def start(self, name, *_, **__):
        return name

    def end(self, *_, **__):
        return None


def members(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def processes_of(folder: Path) -> list[psutil.Process]:
    """Those that train a candidate of this folder, wherever they hang."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "pathoprog.training.train" in command and command[-1].startswith(str(folder)):
            found.append(process)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def one_after_another(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    for task in make_tasks(made_many(made_settings(data, out, steps=6, evaluate_every=3), 1)):
        train(task.settings, lambda _: None)
    found = members(out)
    assert len(found) == 6  # of each resolution the last and the two best
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize(("engine", "victim"), [("local", "candidate"), ("ray", "candidate"), ("ray", "slot")])
def test_side_by_side_gives_the_members_of_one_after_another_even_if_one_is_killed(
    data, one_after_another, tmp_path, engine, victim
):
    settings = made_many(made_settings(data, tmp_path, steps=6, evaluate_every=3), 1, workers=2, engine=engine)
    tasks = make_tasks(settings)
    killed = []

    def kill(name):
        found = [process for process in processes_of(tmp_path / tasks[0].folder.name) if not killed]
        if name == tasks[0].folder.name and found:
            killed.append(found[0].pid)  # the slot is Ray's process that waits for the candidate
            os.kill(found[0].pid if victim == "candidate" else found[0].ppid(), signal.SIGKILL)

    with engine_of(settings) as workers:
        assert isinstance(workers, RayEngine if engine == "ray" else LocalEngine)
        train_all(tasks, workers, 2, Ears(kill), "parent")
    assert killed and [task.starts for task in tasks] == [2, 1]
    assert members(tmp_path) == one_after_another


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_candidate_that_cannot_run_is_named_and_not_tried_again(data, tmp_path, engine):
    settings = made_many(made_settings(data, tmp_path / "runs", steps=2), 1, workers=1, engine=engine)
    tasks = make_tasks(settings)
    tasks[0].settings.network.encoder = "no_such_encoder"
    began = time.monotonic()
    with pytest.raises(PathoprogError, match="no_such_encoder"), engine_of(settings) as workers:
        train_all(tasks, workers, 2, Tracking(NO_TRACKING), "")
    assert tasks[0].starts == 1 and time.monotonic() - began < 120
    assert not processes_of(tmp_path)


def test_ray_deals_out_the_devices_itself(data, tmp_path):
    settings = made_many(made_settings(data, tmp_path), 1, engine="ray")
    settings.device = "cuda:1"
    with pytest.raises(ConfigError, match="device=auto"), engine_of(settings):
        pass
    away = replace(settings, device="cpu", ray=RaySettings("head"))
    with pytest.raises(ConfigError, match="HOST:PORT"), engine_of(away):
        pass


class SmallCluster:
    """What `RayEngine` asks of a cluster."""

    def __init__(self, *nodes):
        self.found = [{"CPU": cpus, "GPU": gpus} for cpus, gpus in nodes]

    def nodes(self):
        return self.found


def test_slots_follow_the_cluster_as_it_is_now():
    cluster = SmallCluster((8, 2))
    gpus = RayEngine(cluster, "auto", threads=1, most=0)
    assert gpus.take(1) == "cuda:0" and gpus.take(2) == ""
    cluster.found = [{"CPU": 8, "GPU": 3}]
    assert gpus.take(2) == "cuda:0"
    cpus = RayEngine(cluster, "cpu", threads=4, most=0)
    assert cpus.take(1) == "cpu" and cpus.take(2) == ""
    assert RayEngine(cluster, "cpu", threads=1, most=2).take(2) == ""
    with pytest.raises(ConfigError, match="8 CPUs"):
        RayEngine(cluster, "cpu", threads=9, most=0)


def test_a_candidate_on_several_gpus_takes_as_many_of_one_node():
    cluster = SmallCluster((8, 4), (8, 3), (1, 4))
    pairs = RayEngine(cluster, "auto", threads=1, most=0, together=2)
    assert (pairs.gpus, pairs.cpus) == (2, 2)
    assert pairs.take(2) == "cuda:0" and pairs.take(3) == "", "two on the first node, one on the second, no CPUs left"
    with pytest.raises(ConfigError, match=r"fit\.gpus=8: a candidate needs 8 CPUs and 8 GPUs of one node, .* 4 GPUs"):
        RayEngine(cluster, "auto", threads=1, most=0, together=8)
    with pytest.raises(ConfigError, match=r"fit\.gpus=2: the Ray cluster has no GPU; .* device=cpu"):
        RayEngine(SmallCluster((8, 0)), "auto", threads=1, most=0, together=2)
    on_cpus = RayEngine(cluster, "cpu", threads=2, most=0, together=2)
    assert (on_cpus.gpus, on_cpus.cpus) == (0, 4) and on_cpus.take(3) == "cpu" and on_cpus.take(4) == ""


def test_local_slots_are_given_back(monkeypatch):
    monkeypatch.setattr("pathoprog.training.launchers.cores", lambda: 6)
    assert local_devices("cpu", 0, 2) == ["cpu"] * 3 and local_devices("cpu", 2, 1) == ["cpu"] * 2
    with pytest.raises(ConfigError, match="cuda:99"):  # before any candidate starts
        local_devices("cuda:99", 2, 1)
    engine = LocalEngine(["cuda:0", "cuda:1"])
    assert [engine.take(0), engine.take(1), engine.take(2)] == ["cuda:0", "cuda:1", ""]
    engine.free("cuda:1")
    assert engine.take(1) == "cuda:1"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of MLflow and of what it stands on
def test_mlflow_holds_parent_children_metrics_and_no_patient(tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    data = made_store(tmp_path / "data")
    settings = made_many(made_settings(data, tmp_path / "runs", steps=4, evaluate_every=2), 1)
    settings.track = TrackingSettings("mlflow", f"sqlite:///{tmp_path}/ml flow.db", "test")
    assert train_ensemble.run(settings) == 0
    client = MlflowClient(settings.track.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(parents) == 1 and len(children) == 2
    assert all(run.info.status == "FINISHED" and "tuning_c" in run.data.metrics for run in children)
    assert [metric.step for metric in client.get_metric_history(children[0].info.run_id, "loss")] == [1, 2, 3, 4]
    names = {item.path for item in client.list_artifacts(children[0].info.run_id)}
    assert names == {"log.txt", "settings.json", "metrics.jsonl", "learning_curve.png", "learning_curve.svg"}
    assert {item.dataset.name for item in parents[0].inputs.dataset_inputs} == {"training", "tuning"}
    dump = (tmp_path / "ml flow.db").read_bytes()
    assert not any(f"P{number:03d}".encode() in dump for number in range(32))
