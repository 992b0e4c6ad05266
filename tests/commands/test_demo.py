"""The whole main job on the CPU at small numbers: every step real, from drawing slides to the report."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pathoprog.commands.demo import run, steps, supersede
from pathoprog.commands.demo_config import DemoConfig
from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.system.files import write_json

SMALL = (
    "candidates=5",
    "track.tracking=none",
    "simulate=development_patients=40,external_patients=24,test_patients=4,field_um=420",
    "train=fit.steps=2,fit.patients_per_step=4,fit.tiles_per_patient=4,fit.evaluate_every=2,fit.recalibrate=1",
)


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pathoprog.cli", "demo", "out=demo", *SMALL]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run here")
    finished = demo(folder)
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    return folder, finished


@pytest.mark.slow  # `make demo` is the same at full size, and goes before
@pytest.mark.timeout(900)
def test_the_whole_way_runs_and_says_where_to_look(made):
    folder, finished = made
    for place in ("validation/report.html", "ensemble", "research use only"):
        assert place.lower() in finished.stdout.lower()
    assert [path.name for path in folder.iterdir()] == ["demo"]  # nothing is written elsewhere
    manifest = verify(folder / "demo" / "ensemble")
    assert [member.resolution for member in manifest.members].count("10x") == 5
    assert len(manifest.members) == 10


@pytest.mark.slow
def test_every_slide_and_patient_is_accounted_for(made):
    demo_folder = made[0] / "demo"
    rows = list(csv.DictReader((demo_folder / "scores" / "results.csv").read_text().splitlines()))
    cohort = list(csv.DictReader((demo_folder / "cohort" / "cohort.csv").read_text().splitlines()))
    assert {row["slide_id"] for row in rows} == {row["slide_id"] for row in cohort}
    assert {row["status"] for row in rows} == {"scored"}
    patients = list(csv.DictReader((demo_folder / "scores" / "patients.csv").read_text().splitlines()))
    assert {(row["patient_id"], row["role"]) for row in patients} == {
        (row["patient_id"], row["role"]) for row in cohort
    }
    for row in rows:
        folder = demo_folder / "scores" / "slides" / row["slide_id"]
        for name in ("result.json", "tiles.parquet", "tiles.geojson", "heatmap.png"):
            assert (folder / name).is_file()
        result = json.loads((folder / "result.json").read_text())
        assert len(result["scores"]["10x"]["members"]) == len(result["scores"]["40x"]["members"]) == 5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_made_again_it_reuses_all_and_gives_the_same_bytes(made):
    folder = made[0] / "demo"
    watched = [
        *folder.glob("ensemble/**/*.*"),
        *folder.glob("scores/slides/*/result.json"),
        *folder.glob("tiles/*/*.npy"),
    ]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}
    again = demo(made[0])
    assert again.returncode == 0, again.stderr[-3000:]
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}


def test_a_bundle_of_other_candidates_is_moved_aside(tmp_path):
    from made_bundle import made_bundle

    bundle = made_bundle(tmp_path / "ensemble")
    name = ensemble_id(bundle)[:12]
    write_json(tmp_path / "candidates" / "10x-seed1" / "candidate.json", {"seed": 1})
    supersede(bundle, tmp_path / "candidates")
    assert not bundle.exists() and (tmp_path / f"ensemble.superseded-{name}").is_dir()
    made_bundle(bundle)
    supersede(bundle, tmp_path / "candidates")
    assert bundle.is_dir()  # the same candidates: it stays
    (tmp_path / "ensemble.candidates.json").write_text("{ cut")
    with pytest.raises(PathoprogError, match=f"superseded-{name} exists already: move it away"):
        supersede(bundle, tmp_path / "candidates")
    assert bundle.is_dir()


@pytest.mark.parametrize(
    "files",
    [
        {"run.json": '{"fingerprint": "271d"}', "candidate.json": "{}"},  # as earlier versions wrote it
        {"candidate.json": "{}"},
        {"last.safetensors": ""},
        {"run.json": '{"fingerprint": "2'},
    ],
)
def test_candidates_of_an_earlier_version_are_told_of_before_any_step(tmp_path, monkeypatch, files):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("no step is to run"))
    folder = tmp_path / "candidates" / "10x-seed1"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(
        InputError, match=r"candidates: .*earlier version.*\(10x-seed1\).*move that folder away, or give"
    ):
        run(DemoConfig(out=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["candidates"]
    with pytest.raises(pytest.fail.Exception, match="no step"):  # they are to be replaced: the steps begin
        run(DemoConfig(out=str(tmp_path), train=["restart=true"]))


def test_a_step_that_refuses_names_the_folder_that_is_in_its_way(tmp_path, monkeypatch):
    codes = {"train_ensemble": 2}

    def ended(command, **_):
        return subprocess.CompletedProcess(command, codes.get(command[3], 0))

    monkeypatch.setattr("subprocess.run", ended)
    with pytest.raises(
        PathoprogError, match=r"step 3 \(train_ensemble\) ended with exit code 2; what is done is kept$"
    ):
        run(DemoConfig(out=str(tmp_path)))
    (tmp_path / "candidates").mkdir()
    with pytest.raises(PathoprogError, match=r"move .*candidates away, or give another out=…$"):
        run(DemoConfig(out=str(tmp_path)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"candidates": 4}, r"^candidates=4: fewer than members=5, .* give members=4 too"),
        ({"candidates": 2, "members": 3}, r"^candidates=2: fewer than members=3"),
        ({"train": ["candidates=9"]}, r"^train: candidates=9: give candidates=… to the demo itself"),
        ({"train": ["fit.steps=2", "+members=2"]}, r"^train: \+members=2: give members=…"),
    ],
)
def test_numbers_that_no_lock_can_be_made_of_are_refused_before_any_step(tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        run(DemoConfig(out=str(tmp_path / "demo"), **settings))
    assert not (tmp_path / "demo").exists()


def test_as_many_members_are_locked_as_are_trained_for(tmp_path):
    commands = {command[0]: command for _, command in steps(DemoConfig(candidates=3, members=2))}
    assert {"candidates=3", "members=2"} <= set(commands["train_ensemble"]) and "members=2" in commands["ensemble"]
    from made_bundle import made_bundle

    bundle = made_bundle(tmp_path / "ensemble")
    supersede(bundle, tmp_path / "candidates", 5)
    made_bundle(bundle)
    supersede(bundle, tmp_path / "candidates")
    assert bundle.is_dir(), "five are the default"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pilot_of_two_candidates_with_a_treatment_runs_to_the_report(tmp_path):
    """Few patients: 28 of training and tuning, 24 external ones, half of them treated."""
    few = (
        "simulate=[treatment=benefit_in_poor,development_patients=40,external_patients=24,test_patients=4,field_um=420]"
    )
    command = [sys.executable, "-m", "pathoprog.cli", "demo", "out=demo", "candidates=2", "members=2", *SMALL[1:2], few]
    done = subprocess.run([*command, SMALL[3]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifest = verify(tmp_path / "demo" / "ensemble")
    assert len(manifest.members) == 4 and manifest.shape.caution.startswith("not METHOD's ensemble")
    statistics = json.loads((tmp_path / "demo" / "validation" / "statistics.json").read_text())
    assert "treatment" in json.dumps(statistics)


def test_the_steps_are_commands_that_exist():
    from pathoprog.cli import COMMANDS

    assert [command[0] for _, command in steps(DemoConfig())] == [
        "simulate",
        "tiles",
        "train_ensemble",
        "ensemble",
        "score",
        "validate",
    ]
    assert {command[0] for _, command in steps(DemoConfig())} <= COMMANDS.keys()
