"""MLflow's runs of training: one for each ensemble and candidate however often it goes on, ended as they ended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("mlflow")
from made_store import made_many, made_settings, made_store

from pathoprog import cli
from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.settings import as_dict
from pathoprog.system.files import write_json
from pathoprog.system.revision import git_commit
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.member import learning_curve
from pathoprog.training.run_process import HOST, PID, STARTED, is_over, process_tags
from pathoprog.training.tracking import Tracking, without
from pathoprog.training.train_ensemble import make_tasks, train_all

pytestmark = pytest.mark.filterwarnings("ignore")  # those of MLflow and of what it stands on


@pytest.fixture
def store(tmp_path):
    return TrackingSettings("mlflow", f"sqlite:///{tmp_path}/store/mlflow.db", "test")


def runs_of(store, **tags):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store.tracking_uri)
    found = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    return client, [run for run in found if all(run.data.tags.get(key) == value for key, value in tags.items())]


FILES = ("./mlruns", "mlruns", "{folder}/mlruns", "file://{folder}/mlruns", "FILE:./mlruns")
OTHERS = ("train_ensemble", "segment", "ensemble", "cross_validate")


@pytest.mark.parametrize(("command", "uri"), [("train", uri) for uri in FILES] + [(name, FILES[0]) for name in OTHERS])
def test_a_store_of_files_is_refused_in_one_line_before_any_work(tmp_path, uri, command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = made_store(tmp_path / "data", patients=10)
    keys = {
        "segment": [f"cohort={data.cohort}", f"out={tmp_path / 'out'}"],
        "ensemble": [f"candidates={tmp_path}", f"out={tmp_path / 'out'}"],
    }
    given = [f"data.cohort={data.cohort}", f"data.outcomes={data.outcomes}", f"data.store={tmp_path / 'new'}"]
    given = keys.get(command, [*given, f"out={tmp_path / 'out'}", "network.width=0.35"])
    assert cli.main([command, *given, f"track.tracking_uri={uri.format(folder=tmp_path)}"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "MLflow no longer keeps runs in a folder of files; give sqlite:///" in said
    assert not any((tmp_path / name).exists() for name in ("mlruns", "out", "new"))


@pytest.mark.parametrize("uri", ["sqlite:////proc/nowhere/mlflow.db", "nosuch://somewhere"])
def test_a_store_that_cannot_be_used_is_told_in_one_line(uri):
    with pytest.raises(ConfigError, match=r"^track\.tracking_uri=.*: MLflow cannot use this store \(") as raised:
        Tracking(TrackingSettings("mlflow", uri, "test"))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_going_on_goes_on_in_the_same_run_and_logs_no_step_twice(tmp_path, store):
    settings = made_settings(made_store(tmp_path / "data"), tmp_path / "run")
    out = tmp_path / "run"
    out.mkdir()
    lines = [{"step": step, "loss": 1.0 / step, "time": 1.7e9 + step} for step in range(1, 7)]
    first = Tracking(store)
    run = first.start("one", settings, folder=out, mark="a", kind="candidate")
    first.metrics(run, lines[:4])  # and killed: the run stays as it is
    again = Tracking(store)
    assert again.start("one", settings, folder=out, mark="a", attempt="2") == run
    again.metrics(run, lines[2:3] + lines[3:])
    again.end(run)
    client, found = runs_of(store)
    assert [item.info.run_id for item in found] == [run] and found[0].info.status == "FINISHED"
    history = client.get_metric_history(run, "loss")
    assert [(item.step, item.timestamp) for item in history] == [(n, int(1000 * (1.7e9 + n))) for n in range(1, 7)]
    tags = found[0].data.tags
    assert tags["attempt"] == "2" and tags["software_version"] and tags["mlflow.source.type"] == "LOCAL"
    assert tags.get("mlflow.source.git.commit", "") == git_commit()
    assert again.start("one", settings, folder=out, mark="b") != run, "of other settings it is another run"
    other = TrackingSettings("mlflow", f"sqlite:///{tmp_path}/other.db", "test")
    assert Tracking(other).start("one", settings, folder=out, mark="b") != run


class Stuck:
    """A process that runs until it is killed."""

    def __init__(self, code=None):
        self.code = code

    def poll(self):
        return self.code

    def kill(self):
        self.code = -9


@pytest.mark.slow
def test_a_killed_sibling_is_killed_and_what_is_known_of_it_is_kept(tmp_path, store):
    data = made_store(tmp_path / "data")
    tasks = make_tasks(made_many(made_settings(data, tmp_path / "runs"), 1))

    class Engine:
        started = 0

        def take(self, running):
            return "cpu" if running < 2 else ""

        def start(self, module, arguments, log, threads, device):
            Engine.started += 1
            lines = [{"step": n, "loss": 1.0 / n, "time": 1.7e9} for n in (1, 2)]
            lines += [{"step": 2, "tuning_c": 0.6, "tuning_c_lower": 0.5, "tuning_c_upper": 0.7, "time": 1.7e9}]
            (log.parent / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            write_json(log.parent / "settings.json", as_dict(tasks[0].settings))
            log.write_text("P003-A: of P003, not of P0031, is odd\n10x-seed1: slide P004-A cannot be read\n")
            return Stuck(2 if Engine.started == 2 else None)

        def free(self, device):
            pass

    tracking = Tracking(store)
    tracking.private = {"P003", "P003-A", "P004", "P004-A"}
    with pytest.raises(PathoprogError, match="0 of 1 candidates can still finish at 40x"):
        train_all(tasks, Engine(), 2, tracking, "")
    client, found = runs_of(store, kind="candidate")
    assert {run.data.tags["mlflow.runName"]: run.info.status for run in found} == {
        "10x-seed1": "KILLED", "40x-seed1": "FAILED"
    }  # fmt: skip
    for run in found:
        names = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert names == {"log.txt", "settings.json", "metrics.jsonl", "learning_curve.png", "learning_curve.svg"}
        text = Path(client.download_artifacts(run.info.run_id, "log.txt", str(tmp_path))).read_text()
        assert text.startswith("[id]: of [id], not of P0031, is odd")
        assert run.data.metrics["loss"] == 0.5 and run.data.metrics["tuning_c"] == 0.6
        assert [item.timestamp for item in client.get_metric_history(run.info.run_id, "loss")] == [int(1.7e12)] * 2
    held = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"P004" not in held and b"P003" not in held.replace(b"P0031", b"")


@pytest.mark.slow
def test_a_store_that_fails_on_the_way_ends_nothing_and_gets_its_metrics_later(tmp_path, store, monkeypatch, capsys):
    tracking = Tracking(store)
    run = tracking.start("one", made_settings(made_store(tmp_path / "data"), tmp_path / "run"))
    whole = tracking.client.log_batch

    def broken(*_, **__):
        raise OSError("the database is gone")

    monkeypatch.setattr(tracking.client, "log_batch", broken)
    tracking.metrics(run, [{"step": 1, "loss": 0.5}])
    tracking.metrics(run, [{"step": 2, "loss": 0.4}])
    assert capsys.readouterr().err.count("the database is gone") == 1
    monkeypatch.setattr(tracking.client, "log_batch", whole)
    tracking.end(run)
    client, found = runs_of(store)
    assert [item.step for item in client.get_metric_history(run, "loss")] == [1, 2]
    assert found[0].info.status == "FINISHED"
    now = client.get_metric_history(run, "loss")[0].timestamp
    assert now > 1.6e12, "without a time of its own a line is of now"
    with pytest.raises(KeyboardInterrupt), tracking.until_end(run):
        raise KeyboardInterrupt
    assert runs_of(store)[1][0].info.status == "KILLED"


def test_ids_are_taken_out_of_a_text_whole():
    assert without("P1 P10 (P1-A) x/P1.tif aP1 P1b", {"P1", "P1-A"}) == "[id] P10 ([id]) x/[id].tif aP1 P1b"
    assert without("nothing", set()) == "nothing"


def test_the_curve_is_drawn_before_the_first_judgement_too(tmp_path):
    assert all(path.stat().st_size for path in learning_curve.draw_curve([{"step": 1, "loss": 0.7}], tmp_path / "a"))


STARTS = """
import sys, time
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.tracking import Tracking
tracking = Tracking(TrackingSettings("mlflow", sys.argv[1], "test"))
parent = tracking.start("ensemble", {}, kind="parent")
tracking.start("member", {}, parent, kind="child")
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_runs_of_a_killed_process_end_with_the_next_command(store):
    """SIGKILL leaves no time to end them; runs of a process that lives, or of another machine, are left alone."""
    Tracking(store)
    processes = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", STARTS, store.tracking_uri], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == b"started\n"
        killed = processes[0]
        killed.kill()
        killed.wait()
        client, before = runs_of(store)
        assert [run.info.status for run in before] == ["RUNNING"] * 4
        elsewhere = client.create_run(
            before[0].info.experiment_id, tags={**before[0].data.tags, HOST: "elsewhere", PID: str(killed.pid)}
        )
        older = client.create_run(before[0].info.experiment_id)
        Tracking(store)
        _, after = runs_of(store)
        statuses = {run.info.run_id: run.info.status for run in after}
        assert statuses.pop(elsewhere.info.run_id) == statuses.pop(older.info.run_id) == "RUNNING"
        for run in before:
            wanted = "KILLED" if run.data.tags[PID] == str(killed.pid) else "RUNNING"
            assert statuses[run.info.run_id] == wanted
        assert sorted(statuses.values()) == ["KILLED", "KILLED", "RUNNING", "RUNNING"]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_a_number_that_was_given_to_another_process():
    tags = process_tags()
    assert not is_over(tags)
    assert is_over({**tags, STARTED: "1000.0"})
    assert not is_over({**tags, HOST: "elsewhere", PID: "1"}) and not is_over({})
