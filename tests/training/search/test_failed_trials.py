"""Trials that fail for real: the others run on, the table says why, the best is a sound one. And two sweeps at once."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
from house import ROOT
from made_store import made_features

from pathoprog import cli
from pathoprog.system.files import read_json
from pathoprog.training import held_folder
from pathoprog.training.held_folder import LOCK

Capture = pytest.CaptureFixture[str]
EXPERIMENT = """\
data: {{cohort: {folder}/cohort.csv, outcomes: {folder}/outcomes.csv, source: features, features: {folder}/features,
  resolutions: [10x], tumour_policy: tissue}}
network: {{encoder: none, feature_dim: 4, instance_dim: 8, head: risk}}
fit: {{steps: 30, evaluate_every: 15, patients_per_step: 4, tiles_per_patient: 2, warmup_steps: 1, ema_decay: 0.5,
  checkpoint_every: 15, log_every: 5, loss: cox, head_lr: 100, weight_decay: 1, clip_norm: 1.0e+9}}
track: {{tracking: none}}
device: cpu
candidates: 1
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """An experiment on features whose training diverges at `fit.lr=1`."""
    made_features(tmp_path / "data")
    path = tmp_path / "mine.yaml"
    path.write_text(EXPERIMENT.format(folder=tmp_path / "data"))
    return path


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "trials.csv").open() as stream:
        return {row["trial"]: row for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_trials_that_cannot_be_trained_or_diverge_are_named_and_the_others_run_on(
    mine: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "sweep"
    call = ["train_ensemble", "-m", f"experiment={mine}", f"out={out}", "workers=2", "fit.lr=1e-3,1"]
    assert cli.main([*call, "network.pooling=mean,transmil"]) == 1
    found = rows(out)
    states = {name: row["state"] for name, row in found.items()}
    assert [name for name, state in states.items() if state == "done"] == ["fit.lr=0.001,network.pooling=mean"]
    assert list(states.values()) == ["done", "failed", "failed", "failed"], "the sound ones stand first"
    assert "at step" in (why := found["fit.lr=1,network.pooling=mean"]["reason"]) and "lower fit.lr=1 " in why
    for lr in ("0.001", "1"):
        row = found[f"fit.lr={lr},network.pooling=transmil"]
        assert (row["rank"], row["c"]) == ("", "") and "learns from whole bags" in row["reason"]
    best = (out / "best.yaml").read_text()
    assert "pooling: mean" in best and "lr: 0.001" in best and "looked_at: 4" in best
    sound = out / "fit.lr=0.001,network.pooling=mean" / "10x-seed1"
    stamp = (sound / "candidate.json").stat().st_mtime_ns
    capsys.readouterr()
    assert cli.main([*call, "network.pooling=mean,transmil"]) == 1, "the same call again"
    assert "left out: " in capsys.readouterr().err, "what diverged is not tried again"
    assert (sound / "candidate.json").stat().st_mtime_ns == stamp and rows(out) == found
    assert cli.main([*call[:-1], "fit.lr=1,0.9", "network.pooling=transmil"]) == 2, "where none can be trained"
    assert rows(out) == found


@pytest.mark.slow
def test_a_trial_whose_input_is_mended_is_trained_by_the_same_command(mine: Path, tmp_path: Path) -> None:
    out, away = tmp_path / "sweep", tmp_path / "data" / "features" / "10x" / "P003-A.safetensors"
    held_back = away.rename(tmp_path / "away")
    call = ["train_ensemble", "-m", f"experiment={mine}", f"out={out}", "fit.lr=1e-3", "data.max_missing=0,0.25"]
    assert cli.main(call) == 1
    found = rows(out)
    assert "P003-A: no features at 10x" in (row := found["data.max_missing=0"])["reason"] and row["state"] == "failed"
    assert found["data.max_missing=0.25"]["state"] == "done"
    held_back.rename(away)
    assert cli.main([*call[:-1], "data.max_missing=0,0.5"]) == 0
    assert {name: row["state"] for name, row in rows(out).items()} == dict.fromkeys(
        ("data.max_missing=0", "data.max_missing=0.25", "data.max_missing=0.5"), "done"
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train_ensemble", "cross_validate"])
def test_a_search_goes_on_beyond_trials_that_fail(command: str, mine: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "search"
    call = [
        command,
        "--search",
        f"experiment={mine}",
        f"out={out}",
        "fit.lr=1e-3,1e-2,1",
        "network.pooling=mean,transmil",
    ]
    folds = ["split.folds=2"] if command == "cross_validate" else []
    assert cli.main([*call, *folds, "search.trials=8", "search.startup=8", "fit.steps=24"]) == 1
    found = rows(out).values()
    assert {row["state"] for row in found} == {"done", "failed"}
    for row in found:
        sound = row["network.pooling"] == "mean" and row["fit.lr"] != "1"
        assert (row["state"] == "done") == sound and bool(row["reason"]) != sound and (row["c"] != "") == sound
    assert "pooling: mean" in (out / "best.yaml").read_text()


def begun(call: list[str], lock: Path) -> subprocess.Popen[bytes]:
    """A process of a command, once it holds its folder."""
    process = subprocess.Popen([sys.executable, "-m", "pathoprog.cli", *call], cwd=ROOT, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (lock.is_file() and lock.read_text()):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_two_at_once_in_one_folder(
    mine: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_folder, "PATIENCE_S", 0.2)
    out, member = tmp_path / "sweep", tmp_path / "member.yaml"
    member.write_text(mine.read_text().replace("candidates: 1", ""))
    call = ["train_ensemble", "-m", f"experiment={mine}", f"out={out}", "fit.lr=1e-3,1e-2"]
    long = ["fit.steps=200000", "fit.evaluate_every=100000"]
    first = begun([*call, *long], out / LOCK)
    try:
        trial = out / "fit.lr=0.001"
        others = {
            "the same sweep": call,
            "a search": ["train_ensemble", "--search", *call[2:-1], "fit.lr=interval(1e-4,1e-2)", "search.trials=2"],
            "a task of an array": [*call, "search.only=0"],
            "its folder as an ensemble's": ["train_ensemble", *call[2:-1]],
            "a trial's folder as an ensemble's": ["train_ensemble", call[2], f"out={trial}"],
            "a member": ["train", f"experiment={member}", f"out={trial / '10x-seed1'}", "resolution=10x"],
        }
        for what, one in others.items():
            assert cli.main(one) == 2, what
            said = capsys.readouterr().err
            assert f"process {first.pid} on " in said and "train_ensemble --multirun" in said, what
        assert first.poll() is None
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert cli.main([*call, "restart=true"]) == 0, "one that was killed holds nothing"
    assert {row["state"] for row in rows(out).values()} == {"done"}


@pytest.mark.slow
def test_tasks_of_an_array_train_side_by_side_and_the_last_call_ranks_them(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    call = ["train_ensemble", "-m", f"experiment={mine}", f"out={out}", "fit.lr=1e-3,1e-2"]
    tasks = [begun([*call, f"search.only={number}"], out / LOCK) for number in range(2)]
    assert [task.wait(timeout=300) for task in tasks] == [0, 0]
    assert not (out / "trials.csv").exists() and (out / LOCK).read_text() == ""
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("candidate.json")}
    assert len(stamps) == 2
    assert cli.main(call) == 0
    assert {row["state"] for row in rows(out).values()} == {"done"}
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("candidate.json")}
    assert all(read_json(path)["settings"]["looked_at"] == 2 for path in out.rglob("ensemble_run.json"))
