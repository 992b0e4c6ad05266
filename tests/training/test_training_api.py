"""The researcher's Python API does what the commands do, bit for bit, says nothing, and leaves the caller's things."""

import copy
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from made_store import made_many, made_settings, made_store

from pathoprog.cli import main
from pathoprog.errors import CohortError, ConfigError, InputError, LockError, PathoprogError
from pathoprog.settings import as_dict
from pathoprog.system.files import sha256_file, write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training import api
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.lock.ensemble import run as run_ensemble
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks

QUICK = EnsembleConfig(bootstrap=20, track=TrackingSettings(tracking="none"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return made_store(tmp_path_factory.mktemp("data"), patients=20)


@pytest.fixture(scope="module")
def trained(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five candidates of each resolution, as `pathoprog train_ensemble` leaves them."""
    folder = tmp_path_factory.mktemp("candidates")
    settings = made_many(made_settings(data, folder, steps=2, evaluate_every=2, recalibrate=1), 5)
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    names = [task.folder.name for task in tasks]
    write_json(folder / ENSEMBLE_RUN, {"candidates": names, "run_id": "", "settings": as_dict(settings)})
    return folder


def member_settings(data: Any, out: Path) -> TrainConfig:
    return replace(made_settings(data, out, steps=2, evaluate_every=2, recalibrate=1), track=TrackingSettings("none"))


def test_a_member_is_the_command_s_and_nothing_is_printed_or_left(
    data: Any, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    settings = member_settings(data, tmp_path / "unused")
    before, threads, seed = copy.deepcopy(settings), torch.get_num_threads(), torch.get_rng_state()
    told: list[tuple[str, int, int]] = []
    capfd.readouterr()
    with caplog.at_level(logging.INFO, logger="pathoprog"):
        member = api.train_member(
            settings, tmp_path / "40x-seed2", resolution="40x", seed=2, on_progress=lambda *step: told.append(step)
        )
    assert capfd.readouterr() == ("", "")
    assert settings == before and not (tmp_path / "unused").exists()
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), seed)
    assert told[-1] == ("40x seed 2", 2, 2)
    same = api.read_member(trained / "40x-seed2")
    assert sha256_file(member.weights) == sha256_file(same.weights) and member.tuning_c == same.tuning_c
    assert (member.name, member.resolution, member.seed, member.step) == ("40x-seed2", "40x", 2, 2)
    low, high = member.tuning_c_interval
    assert 0 <= low <= member.tuning_c <= high <= 1
    assert member.metrics["step"].tolist()[-1] == 2 and "tuning_c" in member.metrics
    assert "research use only" in repr(member).lower()
    stamp = member.weights.stat().st_mtime_ns
    again = api.train_member(settings, tmp_path / "40x-seed2", resolution="40x", seed=2)
    assert again.weights.stat().st_mtime_ns == stamp, "a finished member is left as it is"


@pytest.mark.slow
def test_members_given_one_by_one_are_locked_as_the_command_locks_their_folder(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    members = [api.read_member(folder) for folder in sorted(trained.glob("*-seed*"))]
    capfd.readouterr()
    there = set(Path().iterdir())
    locked = api.lock(members, tmp_path / "one", name="mine", settings=QUICK)
    assert capfd.readouterr() == ("", "")
    assert set(Path().iterdir()) == there and (trained / "tuning_scores").is_dir()
    command = replace(QUICK, candidates=str(trained), out=str(tmp_path / "two"), name="mine")
    assert run_ensemble(command) == 0
    hashes = {sha256_file(tmp_path / name / "manifest.json") for name in ("one", "two")}
    assert hashes == {locked.ensemble_id}
    assert api.lock(trained, tmp_path / "two", name="mine", settings=QUICK).ensemble_id == locked.ensemble_id
    assert main(["verify", str(locked.folder)]) == 0
    assert {resolution: len(names) for resolution, names in locked.members.items()} == {"10x": 5, "40x": 5}
    for resolution, (low, high) in locked.threshold_intervals.items():
        assert low <= locked.thresholds[resolution] <= high
    assert sum(locked.class_shares.values()) == pytest.approx(1)
    assert len(locked.choice) == 10 and locked.choice["chosen"].all()
    assert all(path.is_file() for path in locked.figures)
    with pytest.raises(LockError):
        api.lock(members, tmp_path / "one", name="another", settings=QUICK)


def test_a_change_of_directory_changes_nothing(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(trained)
    members = [api.read_member(folder) for folder in sorted(Path().glob("*-seed*"))]
    monkeypatch.chdir(tmp_path)
    assert all(member.folder.is_absolute() and len(member.metrics) for member in members)
    locked = api.lock([*members[:5], *(str(one.folder) for one in members[5:])], "bundle", settings=QUICK)
    assert locked.folder == tmp_path / "bundle" and main(["verify", str(locked.folder)]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_relative_paths_in_settings_are_of_the_folder_that_one_trains_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(project)
    settings = member_settings(made_store(Path("data")), Path("unused"))
    assert not Path(settings.data.cohort).is_absolute()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(CohortError, match=r"^data/cohort\.csv: no such file"):
        api.train_member(settings, "candidates/10x-seed1", seed=1)
    assert list(elsewhere.iterdir()) == []
    monkeypatch.chdir(project)
    members = [
        api.train_member(settings, f"candidates/{one}-seed{seed}", resolution=one, seed=seed)
        for one in ("10x", "40x")
        for seed in (1, 2)
    ]
    quick = replace(QUICK, members=2)
    here = api.lock(members, "bundle", settings=quick)
    for scores in members[0].folder.parent.glob("tuning_scores*"):
        shutil.rmtree(scores)
    monkeypatch.chdir(elsewhere)
    again = [api.read_member(member.folder) for member in members]
    there = api.lock(again, "bundle", settings=quick)
    assert there.folder == elsewhere / "bundle" and there.ensemble_id == here.ensemble_id
    made_store(elsewhere / "data", patients=18)  # other patients by the same relative names
    with pytest.raises(PathoprogError, match="not those of the candidates' training any more"):
        api.lock(again, "other", settings=quick)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda s, out: api.train_member({"a": 1}, out), "settings: must be TrainConfig, not"),
        (lambda s, out: api.train_member(None, out), "settings: must be TrainConfig, not None"),
        (lambda s, out: api.train_member(s, out, seed="one"), "seed='one' .* must be a whole number"),
        (lambda s, out: api.train_member(replace(s, fit=replace(s.fit, steps="5")), out), r"fit\.steps='5' .* whole"),
        (lambda s, out: api.train_member(replace(s, fit=replace(s.fit, steps=2.5)), out), r"fit\.steps=2\.5 .* whole"),
        (lambda s, out: api.train_member(replace(s, fit={"steps": 5}), out), "fit: must be FitSettings, not"),
        (lambda s, out: api.lock(5, out), "members: must be trained members, or a folder of them, not 5"),
        (lambda s, out: api.lock([5], out), "members: must be trained members or their folders, not 5"),
        (lambda s, out: api.lock([], out, settings={"members": 2}), "settings: must be EnsembleConfig, not"),
        (lambda s, out: api.training_settings(["fit.steps=2"]), "arguments: each must be a text"),
    ],
)
def test_wrong_types_are_refused_by_name_before_any_work(data: Any, tmp_path: Path, asked: Any, said: str):
    with pytest.raises(ConfigError, match=said):
        asked(member_settings(data, tmp_path / "unused"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_members_that_make_no_ensemble_are_refused(trained: Path, tmp_path: Path):
    one = api.read_member(trained / "10x-seed1")
    with pytest.raises(InputError, match="members: none were given"):
        api.lock([], tmp_path / "bundle", settings=QUICK)
    with pytest.raises(InputError, match="several are called 10x-seed1"):
        api.lock([one, one], tmp_path / "bundle", settings=QUICK)
    with pytest.raises(InputError, match="no finished `pathoprog train_ensemble`"):
        api.lock(tmp_path, tmp_path / "bundle", settings=QUICK)
    with pytest.raises(InputError, match=r"candidate\.json: no such file"):
        api.read_member(tmp_path)
    with pytest.raises(ConfigError, match=r"min_share=0\.9: must be"):
        api.lock([one], tmp_path / "bundle", settings=replace(QUICK, min_share=0.9))
    assert not (tmp_path / "bundle").exists()


def test_settings_are_those_of_the_command_line(tmp_path: Path):
    settings = api.training_settings("experiment=demo", "fit.steps=7", f"data.cohort={tmp_path}/cohort.csv")
    assert isinstance(settings, TrainConfig)
    assert (settings.fit.steps, settings.network.width) == (7, 0.35)
    assert settings.data.cohort == f"{tmp_path}/cohort.csv"
    with pytest.raises(ConfigError, match=r"fit\.stepz: no such setting"):
        api.training_settings("fit.stepz=7")
    with pytest.raises(ConfigError, match="out is missing"):
        api.train_member(settings)
    with pytest.raises(ConfigError, match=r"fit\.steps=0: must be at least 1"):
        api.train_member(replace(settings, fit=replace(settings.fit, steps=0)), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"resolution='5x': must be one of"):
        api.train_member(settings, tmp_path / "run", resolution="5x")


def test_an_error_leaves_the_terminal_to_others_again(data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from pathoprog.system.console import say

    settings = member_settings(data, tmp_path / "run")
    settings.data.outcomes = str(tmp_path / "none.csv")
    with pytest.raises(CohortError, match=r"none\.csv: no such file"):
        api.train_member(settings)
    say("heard again")
    assert capsys.readouterr().out == "heard again\n"


def test_the_api_is_typed_documented_and_light():
    import subprocess
    import sys

    for name in api.__all__:
        assert getattr(api, name).__doc__, name
    heavy = ("torch", "pandas", "mlflow", "numpy", "matplotlib")
    program = f"import sys, pathoprog.training.api; sys.exit([name for name in {heavy!r} if name in sys.modules] or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
