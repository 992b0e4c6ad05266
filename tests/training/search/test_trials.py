"""The record of a sweep, its table and figure; a search that is stopped and goes on; without any training."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pathoprog import cli
from pathoprog.errors import InputError
from pathoprog.system.files import read_json, write_json
from pathoprog.training.search.trial_runs import Trial
from pathoprog.training.search.trials import (
    SweepRecord,
    TrialResult,
    merged,
    no_candidates,
    read_sweep,
    tell_trials,
    trial_name,
    trials_looked_at,
    with_looked_at,
    write_sweep,
)
from pathoprog.training.search.trials_figure import draw_trials


def done(name: str, lr: str, pooling: str, c: float) -> TrialResult:
    values = {"fit.lr": lr, "network.pooling": pooling}
    return TrialResult(name=name, values=values, state="done", c={"10x": c, "40x": c}, objective=c)


@pytest.fixture
def record() -> SweepRecord:
    failed = TrialResult(name="c", values={"fit.lr": "0.1"}, state="failed", reason="diverged")
    trials = (done("a", "0.001", "mean", 0.6), done("b", "0.1", "max", 0.7), failed, done("d", "0.01", "max", 0.7))
    return SweepRecord(
        command="train_ensemble", kind="multirun", objective="all", mark="m", looked_at_before=2, trials=trials
    )


def test_every_trial_is_kept_ranked_and_counted(record: SweepRecord, tmp_path: Path) -> None:
    write_sweep(tmp_path, record)
    again = read_sweep(tmp_path)
    assert again is not None and again.looked_at == 6 and again.best is not None and again.best.name == "b"
    assert [trial.name for trial in again.trials] == ["a", "b", "c", "d"] and math.isnan(again.trials[2].objective)
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0] == "rank,trial,state,fit.lr,network.pooling,c,c_10x,c_40x,reason"
    assert [line.split(",")[:2] for line in lines[1:]] == [["1", "b"], ["2", "d"], ["3", "a"], ["", "c"]]
    assert trials_looked_at(tmp_path / "a", 0) == 6 and trials_looked_at(tmp_path / "a", 9) == 9
    assert trials_looked_at(tmp_path / "other", 0) == 0, "a folder beside the trials that is none"
    newer = merged(record.trials, [done("c", "0.1", "mean", 0.5), done("e", "1", "max", 0.4)])
    assert [trial.name for trial in newer] == ["a", "b", "c", "d", "e"] and newer[2].state == "done"
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match="damaged or by another version"):
        read_sweep(tmp_path)


def test_a_trial_tells_the_count_wherever_it_goes(record: SweepRecord, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("seed: 1\nlooked_at: 0\n")
    write_json(tmp_path / "a" / "ensemble_run.json", {"candidates": [], "settings": {"looked_at": 0, "seed": 1}})
    tell_trials(tmp_path, record)
    assert read_json(tmp_path / "a" / "ensemble_run.json")["settings"] == {"looked_at": 6, "seed": 1}
    assert {(tmp_path / name / "config.yaml").read_text() for name in ("a", "b")} == {"seed: 1\nlooked_at: 6\n"}


def test_a_folder_that_holds_no_candidates_says_what_does(record: SweepRecord, tmp_path: Path) -> None:
    assert "no finished `pathoprog train_ensemble`" in no_candidates(tmp_path)
    write_sweep(tmp_path, record)
    assert no_candidates(tmp_path) == f"holds a multirun of 4 trials; the best is candidates={tmp_path / 'b'}"
    write_sweep(tmp_path, replace(record, trials=record.trials[2:3]))
    assert "no trial is done" in no_candidates(tmp_path)
    write_sweep(tmp_path, replace(record, command="cross_validate", kind="search"))
    assert f"cross_validate experiment={tmp_path / 'best.yaml'} refit=true" in no_candidates(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "out_of_fold.csv").touch()
    assert f"cross_validate experiment={tmp_path / 'b' / 'config.yaml'} refit=true" in no_candidates(tmp_path / "b")


def test_the_figure_shows_numbers_and_words(record: SweepRecord, tmp_path: Path) -> None:
    files = draw_trials(record, tmp_path / "trials")
    assert {path.name for path in files} == {"trials.png", "trials.svg"}
    assert all(path.stat().st_size > 5_000 for path in files)


def test_a_trial_s_folder_is_named_for_its_values() -> None:
    assert trial_name({"fit.lr": "0.001", "network.pooling": "mean"}) == "fit.lr=0.001,network.pooling=mean"
    odd = [trial_name({"network.weights": name}) for name in ("a/b", "a b", "x" * 300)]
    assert len(set(odd)) == 3 and not any("/" in name or " " in name or len(name) > 120 for name in odd)
    assert with_looked_at("a: 1\nlooked_at: 0\nb:\n  looked_at: 0\n", 7) == "a: 1\nlooked_at: 7\nb:\n  looked_at: 0\n"


def test_a_stopped_search_comes_to_the_trials_of_an_undisturbed_one(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from pathoprog.training.search.optuna_search import search

    class Stopped(BaseException):
        """As if the process were killed."""

    def searched(out: str, trials: int, stop_at: int = -1) -> list[dict[str, str]]:
        words = ["--search", f"out={tmp_path / out}", f"search.trials={trials}", "search.startup=3", "looked_at=0"]
        words += ["fit.lr=tag(log,interval(1e-5,1e-1))", "fit.warmup_steps=interval(0,50)", "network.pooling=mean,max"]
        flags, rest = cli.take_flags(words)
        seen = list[dict[str, str]]()

        def judged(asked: list[Trial]) -> list[TrialResult]:
            results = []
            for trial in asked:
                if int(trial.name[-4:]) == stop_at:
                    raise Stopped
                values = dict(trial.values)
                assert 1e-5 <= trial.settings.fit.lr <= 1e-1 and trial.settings.out.endswith(trial.name)
                seen.append(values)
                if len(seen) == 2:
                    results.append(TrialResult(name=trial.name, values=values, state="failed", reason="made up"))
                else:
                    c = 0.9 - abs(math.log10(float(values["fit.lr"])) + 3) / 10
                    results.append(done(trial.name, values["fit.lr"], values["network.pooling"], c))
            return results

        search(cli.sweep_of("train_ensemble", flags, rest), tmp_path / out, judged)
        return seen

    whole = searched("whole", 8)
    assert len(whole) == 8 and len({value["network.pooling"] for value in whole}) == 2
    with pytest.raises(Stopped):
        searched("stopped", 8, stop_at=5)
    assert searched("stopped", 8) == whole[5:]
    assert searched("stopped", 8) == [], "a finished search asks for nothing more"
    with pytest.raises(InputError, match="holds a search over other values"):
        flags, rest = cli.take_flags(["--search", f"out={tmp_path / 'whole'}", "fit.lr=interval(1e-3,1e-2)"])
        search(cli.sweep_of("train_ensemble", flags, rest), tmp_path / "whole", lambda _: [])
