"""Sweeps and searches from the command line, on a made store: one table, one figure, the best given back as a file."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
from made_store import made_store

from pathoprog import cli
from pathoprog.errors import ConfigError
from pathoprog.settings import as_dict
from pathoprog.system.files import read_json, sha256_file
from pathoprog.training.search.run import check_sweep, record_for
from pathoprog.training.search.trials import read_sweep, trials_looked_at

Capture = pytest.CaptureFixture[str]
MINE = """\
# a stranger's experiment, outside the package
defaults: [base]
data: {{cohort: {folder}/cohort.csv, outcomes: {folder}/outcomes.csv}}
fit: {{steps: 4, evaluate_every: 2}}
"""
BASE = """\
data:
  store: {store}
  tumour_policy: tissue
  tiles_10x: {{size_px: 32}}
  tiles_40x: {{size_px: 32}}
network: {{width: 0.35, instance_dim: 8}}
fit: {{patients_per_step: 4, tiles_per_patient: 2, warmup_steps: 1, ema_decay: 0.5, checkpoint_every: 2, log_every: 1}}
track: {{tracking: none}}
device: cpu
candidates: 1
"""


def made(tmp_path: Path, patients: int = 16) -> Path:
    data = made_store(tmp_path / "data", patients)
    folder = tmp_path / "my (own) experiments"
    folder.mkdir()
    (folder / "base.yaml").write_text(BASE.format(store=data.store))
    (folder / "mine.yaml").write_text(MINE.format(folder=tmp_path / "data"))
    return folder / "mine.yaml"


def members(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_a_stranger_s_file_swept_over_rates_and_poolings(tmp_path: Path) -> None:
    mine, out = made(tmp_path), tmp_path / "sweep"
    call = ["train_ensemble", f"experiment={mine}", f"out={out}", "workers=2"]
    sweep = [*call, "--multirun", "fit.lr=3e-3,1e-3", "network.pooling=mean,noisy_and"]
    assert cli.main(sweep) == 0
    found = rows(out)
    assert [row["rank"] for row in found] == ["1", "2", "3", "4"] and {row["state"] for row in found} == {"done"}
    assert {(row["fit.lr"], row["network.pooling"]) for row in found} == {
        (lr, pooling) for lr in ("0.003", "0.001") for pooling in ("mean", "noisy_and")
    }
    c = [float(row["c"]) for row in found]
    assert c == sorted(c, reverse=True)
    assert c[0] == pytest.approx((float(found[0]["c_10x"]) + float(found[0]["c_40x"])) / 2)
    assert (out / "trials.png").stat().st_size > 10_000 and (out / "trials.svg").is_file()
    best = yaml.safe_load((out / "best.yaml").read_text())
    assert best["looked_at"] == 4 and best["network"]["pooling"] == found[0]["network.pooling"]
    trial, again = out / found[0]["trial"], tmp_path / "again"
    assert cli.main(["train_ensemble", f"experiment={out}/best.yaml", f"out={again}"]) == 0
    assert members(again) == members(trial) and len(members(again)) >= 4
    assert trials_looked_at(trial, 0) == 4 and read_json(again / "ensemble_run.json")["settings"]["looked_at"] == 4
    before = members(out)
    assert cli.main([*sweep, "network.pooling=noisy_and,max"]) == 0, "a wider sweep goes on in the same folder"
    assert len(rows(out)) == 6, "a trial that is no longer named still counts"
    assert before.items() <= members(out).items()


def locked(candidates: Path, out: Path, store: str) -> tuple[dict[str, object], str]:
    """The manifest and model card of a lock of two members each."""
    call = ["ensemble", f"candidates={candidates}", f"out={out}", "members=2", "bootstrap=2", "device=cpu"]
    assert cli.main([*call, "track.tracking=mlflow", f"track.tracking_uri={store}"]) == 0
    return read_json(out / "manifest.json"), (out / "model_card.md").read_text()


def children(store: str) -> dict[str, list[tuple[str, str, str]]]:
    """Kind, name and status of the runs of an MLflow store, by the name of the run that they belong to."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    names = {run.info.run_id: run.info.run_name for run in runs} | {None: ""}
    found: dict[str, list[tuple[str, str, str]]] = {}
    for run in runs:
        parent = names[run.data.tags.get("mlflow.parentRunId")]
        found.setdefault(parent, []).append((run.data.tags.get("kind", ""), run.info.run_name, run.info.status))
    return {name: sorted(theirs) for name, theirs in found.items()}


def trained_on_all(out: Path, said: str, tracked: list[str]) -> Path:
    """The folder of a cross-validation's best trial, trained on all patients as `ensemble` said that it should be."""
    assert f"cross_validate experiment={out / 'best.yaml'} refit=true" in said
    whole = out.with_name("whole")
    given = ["cross_validate", f"experiment={out / 'best.yaml'}", f"out={whole}", "refit=true", "workers=2"]
    assert cli.main([*given, *tracked]) == 0
    return whole


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", ["train_ensemble", "cross_validate"])
def test_from_a_sweep_to_a_lock_that_counts_its_trials(command: str, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("mlflow")
    mine, out, store = made(tmp_path, 20), tmp_path / "sweep", f"sqlite:///{tmp_path / 'runs.db'}"
    tracked = ["track.tracking=mlflow", f"track.tracking_uri={store}"]
    call = [command, f"experiment={mine}", f"out={out}", "workers=2", "candidates=2", "members=2", *tracked]
    folds = ["split.folds=2"] if command == "cross_validate" else []
    assert cli.main([*call, *folds, "--multirun", "network.pooling=mean,max"]) == 0
    best = read_sweep(out).best.name
    runs = children(store)
    assert runs[""] == [("multirun", "multirun sweep", "FINISHED")]
    assert [(kind, status) for kind, _, status in runs["multirun sweep"]] == [("trial", "FINISHED")] * 2
    for _, name, _ in runs["multirun sweep"]:
        assert {(kind, status) for kind, _, status in runs[name]} == {("candidate", "FINISHED")}
        assert len(runs[name]) == (8 if folds else 4)
    assert cli.main(["ensemble", f"candidates={out}", f"out={tmp_path / 'none'}"]) == 2
    said = capsys.readouterr().err
    if folds:
        whole = trained_on_all(out, said, tracked)
        bundles = [locked(whole, tmp_path / "bundle", store)]
    else:
        assert f"the best is candidates={out / best}" in said
        elsewhere = tmp_path / "elsewhere" / "moved"
        shutil.copytree(out / best, elsewhere)
        bundles = [locked(out / best, tmp_path / "bundle", store), locked(elsewhere, tmp_path / "moved", store)]
    for manifest, card in bundles:
        assert manifest["training"]["looked_at"] == 2
        assert "2 trials looked at on the same patients" in card


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    mine = made(tmp_path)
    ranges = ["fit.lr=tag(log,interval(1e-4,1e-2))", "network.pooling=mean,max", "--search", "search.startup=2"]

    def search(out: str, trials: int) -> list[dict[str, str]]:
        given = ["train_ensemble", f"experiment={mine}", f"out={tmp_path / out}", "workers=2", *ranges]
        assert cli.main([*given, f"search.trials={trials}"]) == 0
        return rows(tmp_path / out)

    search("stopped", 1)
    assert search("stopped", 3) == search("undisturbed", 3)
    assert (tmp_path / "stopped" / "search.journal").is_file() and (tmp_path / "stopped" / "best.yaml").is_file()


def sweep_of(tmp_path: Path, *arguments: str, command: str = "train_ensemble"):
    flags, rest = cli.take_flags(["--multirun", *arguments, f"out={tmp_path / 'out'}"])
    return cli.sweep_of(command, flags, rest)


def test_points_are_hydra_s(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "seed=range(1,3)", "fit.lr=choice(1e-3,1e-2)", "network.weights=choice(a (1),b)")
    assert [tuple(point.values()) for point in sweep.points()][:3] == [
        ("1", "0.001", "a (1)"),
        ("1", "0.001", "b"),
        ("1", "0.01", "a (1)"),
    ]
    assert len(list(sweep.points())) == 8
    settings = sweep.compose({"seed": "2", "fit.lr": "0.01", "network.weights": "b"})
    assert (settings.seed, settings.fit.lr, settings.network.weights) == (2, 0.01, "b")
    assert sweep.base.seed == 1 and "search" in as_dict(sweep.base)
    lists = sweep_of(tmp_path, "fit.interval_years=[1,2],[1]", "seed=1,2", "seed=3")
    assert [axis.key for axis in lists.axes] == ["fit.interval_years"] and lists.base.seed == 3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("fit.lr=interval(1e-4,1e-2)", r"^fit\.lr: an interval has no end of values"),
        ("fit.lr=1e-3", r"^--multirun: no key has several values"),
        ("fit.lrr=1,2", r"^fit\.lrr: no such setting|^--multirun: no key"),
        ("fit.lr=glob(*)", r"^fit\.lr=glob\(\*\): glob is not taken"),
        ("data.cohort=choice(a,b)", r"^data\.cohort: cannot be swept; trials are compared on the same patients"),
        ("workers=1,2", r"^workers: cannot be swept"),
        ("fit.lr=-1,2", r"^fit\.lr=-1: must be above 0"),
        ("+nope=1,2", r"^nope: no such setting"),
        ("~seed=1,2", r"^~seed=1,2: a setting cannot be deleted; leave it out"),
        ("track.tracking=none,mlflow", r"^track\.tracking: cannot be swept; it is the sweep's own"),
    ],
)
def test_what_cannot_be_swept_is_refused(argument: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        check_sweep(sweep_of(tmp_path, argument))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("fit.steps=interval(1.2,1.8)", r"^fit\.steps=.*: no whole number lies in the interval"),
        ("fit.weight_decay=tag(log,interval(0,1))", r"^fit\.weight_decay=.*: on a logarithmic scale"),
        ("fit.lr=interval(0.5,5)", r"^fit\.lr=5: must be above 0 and at most 1"),
    ],
)
def test_an_interval_that_cannot_be_searched_is_refused(argument: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    flags, rest = cli.take_flags(["--search", argument, f"out={tmp_path / 'out'}"])
    with pytest.raises(ConfigError, match=message):
        cli.sweep_of("train_ensemble", flags, rest)


def test_a_value_given_twice_is_one_trial(tmp_path: Path, capsys: Capture) -> None:
    """Two trials of one folder would be trained side by side."""
    sweep = sweep_of(tmp_path, "seed=1,1,2", "network.weights=choice(a,a)", "network.pooling='mean','max'")
    assert len(list(sweep.points())) == 4
    assert cli.main(["train_ensemble", "-m", "seed=3,4", "--cfg", "job"]) == 0
    assert "\nseed: 3\n" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_refused_before_any_trial(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    given = ["train_ensemble", "-m", "seed=1,2", f"out={tmp_path / 'file' / 'sweep'}"]
    assert cli.main([*given, f"track.tracking_uri=sqlite:///{tmp_path / 'runs.db'}"]) == 2
    assert "cannot be written to (Not a directory)" in capsys.readouterr().err
    assert not (tmp_path / "runs.db").exists()


def test_other_commands_cannot_be_swept(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["score", "--multirun", "out=a,b"]) == 2
    assert "score cannot be swept; train_ensemble and cross_validate can" in capsys.readouterr().err


def test_a_folder_of_no_sweep_has_no_record(tmp_path: Path) -> None:
    assert read_sweep(tmp_path) is None and trials_looked_at(tmp_path / "candidates", 3) == 3
    assert record_for(sweep_of(tmp_path, "fit.lr=1e-3,1e-2", "looked_at=5"), None).looked_at == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", ["train_ensemble", "cross_validate"])
def test_from_a_search_to_a_lock_that_counts_its_trials(command: str, tmp_path: Path, capsys: Capture) -> None:
    """A failed trial counts too; what `ensemble` says of the search's folder is what locks its best."""
    pytest.importorskip("mlflow")
    pytest.importorskip("optuna")
    mine, out, store = made(tmp_path, 20), tmp_path / "search", f"sqlite:///{tmp_path / 'runs.db'}"
    tracked = ["track.tracking=mlflow", f"track.tracking_uri={store}"]
    call = [command, "--search", f"experiment={mine}", f"out={out}", "workers=2", "candidates=2", "members=2", *tracked]
    folds = ["split.folds=2"] if command == "cross_validate" else []
    asked = ["network.pooling=mean,max,transmil", "search.trials=6", "search.startup=6", "looked_at=3"]
    assert cli.main([*call, *folds, *asked]) == 1, "transmil cannot learn from tiles"
    record = read_sweep(out)
    assert {(one.values["network.pooling"], one.state) for one in record.trials} == {
        ("mean", "done"),
        ("max", "done"),
        ("transmil", "failed"),
    }
    assert record.best.values["network.pooling"] in ("mean", "max")
    looked_at = 3 + len(record.trials)
    capsys.readouterr()
    assert cli.main(["ensemble", f"candidates={out}", f"out={tmp_path / 'none'}"]) == 2
    said = capsys.readouterr().err
    if folds:
        whole = trained_on_all(out, said, tracked)
    else:
        whole = out / record.best.name
        assert said.rstrip().endswith(f"the best is candidates={whole}")
    manifest, card = locked(whole, tmp_path / "bundle", store)
    assert manifest["training"]["looked_at"] == looked_at
    assert f"{looked_at} trials looked at on the same patients" in card
    assert manifest["members"][0]["network"]["pooling"] == record.best.values["network.pooling"]
