"""Cross-validation: the figures by hand, and the way to a bundle without a tuning cohort."""

import csv
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.ensemble.bundle import verify
from pathoprog.errors import ConfigError, InputError
from pathoprog.survival import harrell_c
from pathoprog.system.files import read_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import (
    CandidateSettings,
    CrossValidateConfig,
    EnsembleConfig,
    SplitSettings,
    TrainConfig,
)
from pathoprog.training.cross_validate import page, rows_of, run
from pathoprog.training.data.bags import Patient
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.train import settings_from_dict, train


def crossed(settings: TrainConfig, **changes: Any) -> CrossValidateConfig:
    plain = {field.name: getattr(settings, field.name) for field in fields(CandidateSettings)}
    return CrossValidateConfig(**{**plain, **changes})


def patient(name: str, days: float, event: int) -> Patient:
    return Patient(name, [], days, event, "", "", "")


def test_over_all_folds_only_pairs_within_a_fold_count():
    people = [patient(*row) for row in (("A", 1, 1), ("B", 2, 1), ("C", 3, 0), ("D", 1, 1), ("E", 2, 0), ("F", 3, 0))]
    folds = {"A": 0, "B": 0, "C": 0, "D": 1, "E": 1, "F": 1}
    # fold 0: A-B right, A-C right, B-C wrong: 2 of 3; fold 1: D-E right, D-F wrong: 1 of 2; together 3 of 5.
    # Across folds A (0.9) against E (50) would be wrong, and does not count.
    risks = {"A": 0.9, "B": 0.5, "C": 0.6, "D": 60.0, "E": 50.0, "F": 70.0}
    rows = rows_of("10x", "1", risks, {one.patient_id: one for one in people}, folds)
    assert [row["fold"] for row in rows] == ["0", "1", "all"]
    assert [row["c"] for row in rows] == pytest.approx([2 / 3, 1 / 2, 3 / 5])
    errors = [
        harrell_c([1, 2, 3], [1, 1, 0], [0.9, 0.5, 0.6]).se,
        harrell_c([1, 2, 3], [1, 0, 0], [60, 50, 70]).se,
    ]
    error = np.hypot(3 / 5 * errors[0], 2 / 5 * errors[1])
    assert rows[2]["c_upper"] == pytest.approx(min(1.0, 0.6 + 1.959964 * error))
    assert rows[2]["n_events"] == 3 and rows[2]["n_patients"] == 6


def test_a_fold_without_a_comparable_pair_has_no_c():
    people = {name: patient(name, days, event) for name, days, event in (("A", 1, 1), ("B", 2, 0), ("C", 3, 0))}
    rows = rows_of("10x", "1", {"A": 2.0, "B": 1.0, "C": 1.0}, people, {"A": 0, "B": 0, "C": 1})
    assert [row["c"] for row in rows] == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    text = page(CrossValidateConfig(), rows)
    assert "| 10x | 1 | 1 | 1 | 0 | no two patients can be compared |" in text and "For research use only" in text


def test_refused_before_any_work(tmp_path):
    settings = made_settings(made_store(tmp_path / "data"), tmp_path / "run")
    with pytest.raises(ConfigError, match="at least 2"):
        run(crossed(settings, split=SplitSettings(folds=1)))
    settings.split = SplitSettings(folds=3, fold=-1)
    with pytest.raises(InputError, match="refit=true"):
        train(settings, lambda _: None)


class InThisProcess:
    """Runs a candidate at once, and without another process: the engines have tests of their own."""

    def take(self, running):
        return "" if running else "cpu"

    def start(self, module, arguments, log, threads, device):
        train(settings_from_dict(read_json(arguments[0])), lambda _: None)
        return self

    def poll(self):
        return 0

    def free(self, device):
        return None


@pytest.mark.slow
def test_without_a_tuning_cohort_to_a_locked_bundle(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pathoprog.training.cross_validate.engine_of", lambda _: nullcontext(InThisProcess()))
    monkeypatch.setattr("pathoprog.training.train_ensemble.POLL_S", 0.0)
    data = made_store(tmp_path / "data", patients=10)
    cohort = pd.read_csv(data.cohort)
    cohort["role"] = "training"
    cohort.to_csv(data.cohort, index=False)
    quick = made_settings(data, tmp_path / "cv", steps=2, recalibrate=1, log_every=2)
    settings = crossed(quick, split=SplitSettings(folds=2), candidates=5, refit=True, workers=2)
    assert run(settings) == 0
    said = capsys.readouterr().out
    assert "Cross-validation, 2 folds" in said and "10x-seed5/fold1: c on the fold held out" in said
    assert "10x: 5 candidates, c out of fold" in said

    rows = list(csv.DictReader((tmp_path / "cv" / "cross_validation.csv").read_text().splitlines()))
    assert len(rows) == (2 * 5 + 3) * 3  # each seed and resolution, the means, both together; two folds and all
    assert {row["n_patients"] for row in rows} == {"10", "20"}
    scores = pd.read_csv(tmp_path / "cv" / "out_of_fold.csv")
    assert len(scores) == 20 and scores["fold"].value_counts().tolist() == [10, 10]
    for fold in (0, 1):  # nobody is judged by a network that learned from him
        candidate = read_json(tmp_path / "cv" / "10x-seed1" / f"fold{fold}" / "candidate.json")
        verdict = read_json(tmp_path / "cv" / "10x-seed1" / f"fold{fold}" / "step-000002.json")
        assert candidate["n_training"] == 10 and candidate["best"][0]["step"] == 2
        assert sorted(verdict["patient_ids"]) == sorted(scores["patient_id"][scores["fold"] == fold])
    refit = read_json(tmp_path / "cv" / "10x-seed1" / "candidate.json")
    assert refit["n_training"] == 20 and refit["cohorts"]["tuning"]["out_of_folds"] == 2
    table = {(row["resolution"], row["seed"], row["fold"]): row for row in rows}
    assert 0.0 <= float(table["10x", "1", "all"]["c"]) <= 1.0

    bundle = tmp_path / "bundle"
    no_tracking = TrackingSettings(tracking="none")
    assert choose.run(EnsembleConfig(str(tmp_path / "cv"), str(bundle), bootstrap=5, track=no_tracking)) == 0
    manifest = verify(bundle)
    assert manifest.cohorts["tuning"].out_of_folds == 2
    assert "out of 2 folds" in (bundle / "model_card.md").read_text()
    cut = manifest.thresholds["10x"]
    locked = pd.read_csv(tmp_path / "bundle.tuning.csv").set_index("patient_id")
    assert len(locked) == 20 and locked["score_10x"].min() < cut.value < locked["score_10x"].max()
    assert manifest.tuning_scores.n_tiles == {"10x": 120, "40x": 120}
    # each patient by the networks that did not see him, on all tiles: near to what training judged, all of them too
    judged = scores.set_index("patient_id")["score_10x"]
    assert (locked["score_10x"] - judged[locked.index]).abs().max() < 1e-4
    kept = sorted((tmp_path / "cv" / "tuning_scores").iterdir())
    assert [len(list(folder.iterdir())) for folder in kept] == [10, 10], "one set of networks a fold"
    gone = tmp_path / "cv" / "10x-seed1" / "fold1" / "candidate.json"
    gone.rename(gone.with_suffix(".moved"))
    with pytest.raises(InputError, match=r"fold1: the network of this fold is gone; `pathoprog cross_validate`"):
        choose.run(EnsembleConfig(str(tmp_path / "cv"), str(tmp_path / "no"), bootstrap=5, track=no_tracking))
    gone.with_suffix(".moved").rename(gone)
    assert run(settings) == 0  # again: everything is there already
