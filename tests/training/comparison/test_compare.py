"""Experiments compared: refused in words unless judged alike, the table's figures, and the whole way on made tiles."""

import csv
from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog import cli
from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.comparison import compare
from pathoprog.training.comparison.config import CompareConfig
from pathoprog.training.comparison.same_terms import check_same_terms
from pathoprog.training.config import CandidateSettings, CrossValidateConfig, SplitSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("data"))


def crossed(data, out="unused", candidates=2, split=None, **fit):
    one = made_settings(data, out, **{"steps": 2, "evaluate_every": 2, "recalibrate": 1, "training_sample": 0, **fit})
    values = {field.name: getattr(one, field.name) for field in fields(CandidateSettings)}
    return CrossValidateConfig(**{**values, "split": split or SplitSettings(folds=2), "candidates": candidates})


def test_the_same_terms_are_let_through_wherever_the_tables_lie(data, tmp_path):
    copied = tmp_path / "copy.csv"
    copied.write_text(Path(data.cohort).read_text(encoding="utf-8"), encoding="utf-8")
    folds = check_same_terms({"a": crossed(data, lr=1e-3), "b": crossed(replace(data, cohort=str(copied)))})
    assert len(folds) == 32 and set(folds.values()) == {0, 1}


def test_what_differs_is_named(data, tmp_path):
    other = tmp_path / "outcomes.csv"
    text = Path(data.outcomes).read_text(encoding="utf-8")
    other.write_text(text.replace("P000,2300,0", "P000,2301,0"), encoding="utf-8")
    assert other.read_text(encoding="utf-8") != text
    for changed, said in (
        (
            crossed(data, split=SplitSettings(folds=3)),
            r"a and b: .*split\.folds=2 and 3\); give split\.folds=… for all",
        ),
        (crossed(data, split=SplitSettings(folds=2, seed=5)), r"split\.seed=1 and 5"),
        (crossed(data, candidates=3), r"candidates=2 and 3"),
        (crossed(replace(data, outcomes=str(other))), r"another endpoint \(data\.outcomes="),
    ):
        with pytest.raises(ConfigError, match=said):
            check_same_terms({"a": crossed(data), "b": changed})


def test_words_for_the_cross_validations_are_handed_on(tmp_path):
    settings = cli.compose("compare", ["experiments=demo,cox_mil", f"out={tmp_path}", "fit.steps=7", "split.folds=4"])
    assert settings.experiments == ["demo", "cox_mil"] and settings.each == ["fit.steps=7", "split.folds=4"]
    with pytest.raises(ConfigError, match="no_such: no such setting"):
        cli.compose("compare", ["experiments=demo,cox_mil", f"out={tmp_path}", "no_such=1"])
    settings.each += [f"data.{name}={tmp_path / name}" for name in ("cohort", "outcomes", "store")]
    found = compare.composed(settings)
    assert [one.fit.steps for one in found.values()] == [7, 7] and found["cox_mil"].fit.loss == "cox"
    assert [one.split.folds for one in found.values()] == [4, 4] and found["demo"].out == str(tmp_path / "demo")
    for experiments, said in ((["demo"], "two or more"), (["demo", "demo"], "two are called demo")):
        with pytest.raises(ConfigError, match=said):
            compare.composed(replace(settings, experiments=experiments))


def test_figures_are_of_the_seeds_and_patients_that_all_have(data):
    people = {one.patient_id: one for one in compare.read_parts(made_settings(data, "unused"))[0]}
    names = sorted(people)
    folds = {name: k % 2 for k, name in enumerate(names)}
    right = {name: -people[name].followup_days for name in names}
    wrong = {name: -score for name, score in right.items()}
    scores = {
        "a": {1: {"10x": right}, 2: {"10x": right}},
        "b": {1: {"10x": wrong}, 3: {"10x": right}},
    }
    assert compare.shared_resolutions(scores) == ["10x"]
    found = compare.compared(scores, "10x", people, folds, 100, 1)
    assert found.seeds == (1,) and found.n_patients == len(names)
    rows = compare.rows_of(found)
    assert [row["c"] for row in rows] == [1.0, 0.0] and rows[1]["difference"] == -1.0
    assert rows[0]["difference"] == ""
    text = compare.page([found], {"c": "it broke"})
    assert "-1.000 (-1.000 to -1.000)" in text and compare.FEW_SEEDS[1] in text and "c: it broke" in text
    for seeds, said in ((2, "two seeds"), (3, "")):
        more = {name: {seed: {"10x": right} for seed in range(seeds)} for name in ("a", "b")}
        text = compare.page([compare.compared(more, "10x", people, folds, 100, 1)], {})
        assert said in text and ("give candidates" in text) == bool(said)
    with pytest.raises(PathoprogError, match="no seed is done in all"):
        compare.compared({"a": {1: {}}, "b": {2: {}}}, "10x", people, folds, 100, 1)


@pytest.mark.slow
def test_two_learning_rates_on_made_tiles_and_again_without_training(data, tmp_path, monkeypatch, capsys):
    def compose(_, arguments):
        given = dict(argument.split("=", 1) for argument in arguments)
        return crossed(data, given["out"], lr={"fast": 3e-3, "slow": 1e-5}[given["experiment"]])

    monkeypatch.setattr(compare.cli, "compose", compose)
    settings = CompareConfig(["fast", "slow"], str(tmp_path), bootstrap=100, track=TrackingSettings(tracking="none"))
    assert compare.run(settings) == 0
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert [(row["resolution"], row["experiment"], row["seeds"]) for row in rows[:2]] == [
        ("10x", "fast", "1 2"), ("10x", "slow", "1 2"),
    ]  # fmt: skip
    assert len(rows) == 6 and {row["n_patients"] for row in rows} == {"32"}
    first = (tmp_path / "comparison.png").read_bytes()
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert compare.run(settings) == 0, "again: everything is there"
    assert weights == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert (tmp_path / "comparison.png").read_bytes() == first
    assert "| 10x | fast | 2 | 32 (16) |" in capsys.readouterr().out
