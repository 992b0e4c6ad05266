"""What lies in out=: refused, gone on with or replaced, never lost without a word; and nothing names what is gone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch")
import torch
from made_store import made_many, made_settings, made_store

from pathoprog.errors import DivergedError, InputError
from pathoprog.system.files import sha256_file, write_json
from pathoprog.training import train_ensemble
from pathoprog.training.member import checkpoint, gradients
from pathoprog.training.member import fit as fit_module
from pathoprog.training.member.candidate import CANDIDATE, read_candidate
from pathoprog.training.member.fit import LAST, set_learning_rate
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.member.run_folder import FAILED, check_same
from pathoprog.training.train import run, train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "finished"
    train(made_settings(data, out), nothing)
    return out


@pytest.fixture
def out(finished, tmp_path):
    """A copy of a finished candidate."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def nothing(_: int) -> None:
    return None


def held(out: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in out.iterdir()}


def named_files(out: Path) -> set[str]:
    best = checkpoint.read(out / LAST)[1]["best"]
    return {item["file"] for item in best} | {item["file"].replace(".safetensors", ".json") for item in best}


@pytest.mark.parametrize("command", ["train", "run", "ensemble"])
def test_another_setting_is_refused_and_named_and_nothing_is_touched(data, out, command):
    before = held(out)
    other = made_settings(data, out, lr=1e-3)
    with pytest.raises(
        InputError, match=r"finished candidate of other settings \(fit\.lr=0\.001, there 0\.003\).*restart"
    ):
        if command == "ensemble":
            out.rename(out.parent / "10x-seed1")
            other.out = str(out.parent)
            out = out.parent / "10x-seed1"
            train_ensemble.run(made_many(other, 1))
        else:
            (run if command == "run" else lambda settings: train(settings, nothing))(other)
    assert held(out) == before


def test_how_it_is_watched_may_change_and_a_finished_run_is_left_alone(data, out):
    before = held(out)
    train(made_settings(data, out, log_every=3, checkpoint_every=1, prefetch=0), nothing)
    assert held(out) == before


def test_restart_replaces_another_run_and_leaves_the_same_one(data, finished, out):
    train(replace(made_settings(data, out), restart=True), nothing)
    assert held(out) == held(finished)
    train(replace(made_settings(data, out, lr=1e-3), restart=True), nothing)
    assert sha256_file(out / LAST) != sha256_file(finished / LAST)
    assert len(read_metrics(out)) == len(read_metrics(finished)), "no line of the run before"


def test_other_patients_are_refused_with_what_differs(data, out, tmp_path):
    outcomes = pd.read_csv(data.outcomes)
    outcomes.loc[outcomes["patient_id"] == "P003", "followup_days"] += 1
    outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
    before = held(out)
    other = replace(data, outcomes=str(tmp_path / "outcomes.csv"))
    with pytest.raises(InputError, match=r"on other patients.*training: as many of each, but not the same"):
        train(made_settings(other, out), nothing)
    cohort = pd.read_csv(data.cohort)
    cohort[cohort["patient_id"] != "P001"].to_csv(tmp_path / "cohort.csv", index=False)
    with pytest.raises(InputError, match=r"training: patients 16 there, 15 now"):
        train(made_settings(replace(data, cohort=str(tmp_path / "cohort.csv")), out), nothing)
    assert held(out) == before


def test_more_steps_go_on_from_the_last_checkpoint(data, finished, out, tmp_path):
    longer = made_settings(data, out, steps=12)
    candidate = train(longer, nothing)
    assert candidate.steps == 12 and checkpoint.read(out / LAST)[1]["seams"] == [8]
    lines = read_metrics(out)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line for line in lines if line["step"] <= 8] == read_metrics(finished)
    rates = {line["step"]: line["lr"] for line in lines if "lr" in line}
    train(made_settings(data, tmp_path / "whole", steps=12), nothing)
    whole = {line["step"]: line["lr"] for line in read_metrics(tmp_path / "whole") if "lr" in line}
    assert rates[8] == pytest.approx(min(rates.values()), abs=2e-4), "the shorter run's had fallen"
    assert rates[9] == pytest.approx(whole[9] / 2), "warmed up anew over two steps"
    assert {step: rates[step] for step in (10, 11, 12)} == {step: whole[step] for step in (10, 11, 12)}
    for item in candidate.best:
        assert (out / item.file).is_file()
    with pytest.raises(InputError, match=r"of 12 steps, more than fit\.steps=8"):
        train(made_settings(data, out), nothing)


def test_killed_while_going_on_it_comes_to_the_same(data, finished, tmp_path):
    ends = []
    for name, stop_after in (("whole", 0), ("killed", 9)):
        out = Path(shutil.copytree(finished, tmp_path / name))

        def stop(done: int, stop_after: int = stop_after) -> None:
            if done == stop_after:
                raise KeyboardInterrupt

        if stop_after:
            with pytest.raises(KeyboardInterrupt):
                train(made_settings(data, out, steps=12), stop)
        train(made_settings(data, out, steps=12), nothing)
        ends.append({path.name: sha256_file(path) for path in out.glob("*.safetensors")})
    assert ends[0] == ends[1]


def test_an_unfinished_run_does_not_change_its_steps_on_the_way(data, tmp_path):
    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(made_settings(data, tmp_path / "run"), stop)
    with pytest.raises(InputError, match=r"unfinished run of 8 steps; finish it with fit\.steps=8"):
        train(made_settings(data, tmp_path / "run", steps=12), nothing)
    train(made_settings(data, tmp_path / "run"), nothing)


def test_the_rate_warms_up_again_where_a_run_goes_on(data, tmp_path):
    options = made_settings(data, tmp_path, steps=200, warmup_steps=10, lr=1.0).fit
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = []
    for step in (99, 100, 104, 110, 150):
        set_learning_rate(optimizer, options, step, 100 if step >= 100 else 0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[1] == pytest.approx(rates[0] / 10, rel=0.05) and rates[2] == pytest.approx(rates[0] / 2, rel=0.1)
    assert rates[0] > rates[3] > rates[4] > 0


@pytest.mark.parametrize("when", ["before the state", "after the state"])
def test_killed_at_any_write_the_state_names_only_files_that_are_there(data, tmp_path, monkeypatch, when):
    write, kills = checkpoint.write, []

    def killed(path, tensors, state):
        last = path.name == LAST and state["step"] == 6
        if last and not kills and when == "before the state":
            kills.append(path)
            raise KeyboardInterrupt
        write(path, tensors, state)
        if last and not kills:
            kills.append(path)
            raise KeyboardInterrupt

    monkeypatch.setattr(fit_module.checkpoint, "write", killed)
    # c falls from judgement to judgement or rises: in either case one of two checkpoints is dropped at step 6
    settings = made_settings(data, tmp_path / "run", steps=8, evaluate_every=2, checkpoint_every=2, keep_best=1)
    with pytest.raises(KeyboardInterrupt):
        train(settings, nothing)
    there = {path.name for path in (tmp_path / "run").glob("step-*")}
    assert kills and named_files(tmp_path / "run") <= there
    candidate = train(settings, nothing)
    there = {path.name for path in (tmp_path / "run").glob("step-*")}
    assert named_files(tmp_path / "run") == there and candidate.best[0].file in there


def test_a_checkpoint_that_is_gone_is_named(data, out):
    (out / CANDIDATE).unlink()
    next(out.glob("step-*.safetensors")).unlink()
    with pytest.raises(InputError, match=r"step-00000.\.safetensors or its \.json is gone; give restart=true"):
        train(made_settings(data, out), nothing)
    assert train(replace(made_settings(data, out, lr=1e-3), restart=True), nothing).steps == 8


def test_a_run_that_diverged_is_not_tried_again_unless_it_is_asked_for(data, tmp_path, monkeypatch):
    settings = made_settings(data, tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(gradients, "loss_of", lambda *_: torch.tensor(float("nan"), requires_grad=True))
        with pytest.raises(DivergedError, match="step 0"):
            train(settings, nothing)
    with pytest.raises(DivergedError, match=r"at step 0; lower fit\.lr.*come to the same again \(restart=true"):
        train(settings, nothing)
    assert train(replace(settings, restart=True), nothing).steps == 8
    assert not (tmp_path / "run" / FAILED).exists()


def test_candidates_of_one_ensemble_are_of_one_recipe_and_of_the_same_data(finished, tmp_path):
    one = replace(read_candidate(finished), folder=Path("a"))
    check_same([one, replace(one, folder=Path("b"), seed=2)])
    check_same([one, replace(one, folder=Path("b"), resolution="40x", cohorts={})])
    other = replace(one.cohorts["tuning"], verdict_sha256="0" * 64)
    check_same([one, replace(one, folder=Path("b"), cohorts={**one.cohorts, "tuning": other})])
    tiles = {**one.cohorts, "tuning": replace(one.cohorts["tuning"], n_tiles=90, sha256="0")}
    with pytest.raises(InputError, match=r"b and a: .*tuning: tiles 96 a, 90 b"):
        check_same([one, replace(one, folder=Path("b"), cohorts=tiles)])
    with pytest.raises(InputError, match="b and a: candidates of different settings"):
        check_same([one, replace(one, folder=Path("b"), recipe="0")])


def test_a_run_of_an_earlier_version_is_refused_not_deleted(data, out):
    write_json(out / "run.json", {"fingerprint": "0"})
    write_json(out / CANDIDATE, {"fingerprint": "0", "resolution": "10x"})
    before = held(out)
    with pytest.raises(InputError, match="by an earlier version"):
        train(made_settings(data, out), nothing)
    (out / "run.json").unlink()
    with pytest.raises(InputError, match=r"without run\.json"):
        train(made_settings(data, out), nothing)
    del before["run.json"]
    assert held(out) == before
