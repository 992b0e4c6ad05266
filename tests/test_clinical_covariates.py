"""Clinical covariates the whole way, on TRIDENT's features at 20x alone: locked, scored, shown, refused in a plan."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from made_foreign import write_trident
from made_store import made_many, made_settings

from pathoprog import api, cli
from pathoprog.ensemble.bundle import verify
from pathoprog.ensemble.clinical import clinical_number
from pathoprog.errors import InputError
from pathoprog.settings import as_dict
from pathoprog.system.files import write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks
from pathoprog.validation.on_request.asked_columns import check_asked
from pathoprog.validation.plan import parse_plan

D, TRAINING, TUNING, EXTERNAL = 4, 12, 60, 4
SCORE = ["device=cpu", "settle_s=0", "outputs.pdf=false"]


def made_cohort(folder):
    """Patients whose features carry a little of the outcome, and whose age carries some too."""
    rng = np.random.default_rng(7)
    rows, outcomes = [], []
    for number in range(TRAINING + TUNING + EXTERNAL):
        poor, name = number % 2, f"P{number:03d}"
        role = "training" if number < TRAINING else "tuning" if number < TRAINING + TUNING else "external"
        values = rng.normal(size=(5, D)).astype(np.float32)
        values[:, 0] += poor
        write_trident(folder / "trident", name, values)
        age = "" if number in (TRAINING, TRAINING + TUNING) else str(int(rng.normal(64 + 4 * poor, 8)))
        rows.append(
            {"patient_id": name, "slide_id": name, "slide_path": f"{name}.svs", "cohort": "c", "role": role, "age": age}
        )
        days = (500 if poor else 2400) if number < TRAINING else rng.integers(150, 900) + (1 - poor) * 1200
        outcomes.append({"patient_id": name, "followup_days": int(days), "event": poor})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(outcomes).to_csv(folder / "outcomes.csv", index=False)


@pytest.mark.slow
def test_the_whole_way(tmp_path, capsys):
    made_cohort(tmp_path)
    cohort, features = tmp_path / "cohort.csv", tmp_path / "trident"
    data = DataSettings(
        cohort=str(cohort),
        outcomes=str(tmp_path / "outcomes.csv"),
        source="features",
        features_20x=str(features),
        resolutions=["20x"],
    )
    settings = made_many(made_settings(data, tmp_path / "runs", steps=4, evaluate_every=4), 2, members=2)
    settings.network = replace(settings.network, encoder="none", width=1.0, feature_dim=D)
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    names = [task.folder.name for task in tasks]
    write_json(tmp_path / "runs" / ENSEMBLE_RUN, {"candidates": names, "run_id": "", "settings": as_dict(settings)})
    bundle = tmp_path / "bundle"
    track = TrackingSettings(tracking="none")
    chosen = EnsembleConfig(
        str(tmp_path / "runs"), str(bundle), members=2, bootstrap=0, track=track, covariates=["age"]
    )
    capsys.readouterr()
    assert choose.run(chosen) == 0
    said = capsys.readouterr().out
    assert "Cox model over the ensemble's one number and age, fitted on 59 tuning patients (30 events; 1 others" in said
    manifest = verify(bundle)
    model = manifest.covariates
    assert manifest.format == 4 and set(manifest.holds) == {"covariates", "other_features", "other_shape"}
    assert [term.covariate for term in model.terms] == ["one_number", "age"] and model.missing == "withhold"
    assert "## Clinical covariates" in (bundle / "model_card.md").read_text()

    call = ["score", f"ensemble={bundle}", f"features={features}", *SCORE]
    assert cli.main([*call, f"cohort={cohort}", "roles=[external]", f"out={tmp_path / 'out'}"]) == 0
    assert "clinical covariates: Cox model over the ensemble's one number and age" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "out/patients.csv", dtype=str, keep_default_na=False)
    ages = pd.read_csv(cohort, dtype=str, keep_default_na=False).set_index("patient_id")["age"]
    for row in found.to_dict("records"):
        wanted = clinical_number(model, float(row["one_number"]), {"age": ages[row["patient_id"]]})
        given = api.clinical_number(bundle, float(row["one_number"]), {"age": ages[row["patient_id"]], "sex": "f"})
        assert (given.value, given.notes) == (wanted.value, wanted.notes)
        assert row["clinical_covariates"] == f"age={ages[row['patient_id']] or 'missing'}"
        assert row["clinical_number"] == ("" if wanted.value is None else repr(wanted.value))
        result = json.loads((tmp_path / "out/slides" / row["slides"] / "result.json").read_text())
        assert result["clinical"]["value"] == wanted.value and result["risk_class"] == row["risk_class"]
        page = (tmp_path / "out/slides" / row["slides"] / "report.html").read_text()
        assert "Clinical covariates:" in page and f"age {ages[row['patient_id']] or 'missing'}" in page
    assert (found["clinical_number"] == "").sum() == 1 and found["clinical_notes"].tolist()[0] == "age is missing"

    assert cli.main([*call, f"out={tmp_path / 'alone'}"]) == 0
    alone = pd.read_csv(tmp_path / "alone/patients.csv", dtype=str, keep_default_na=False)
    assert (alone["clinical_number"] == "").all() and alone["clinical_notes"].str.contains("no cohort").all()
    same = alone[alone["patient_id"].isin(found["patient_id"])].reset_index(drop=True)
    assert same["risk_class"].tolist() == found["risk_class"].tolist() and same["score_20x"].equals(found["score_20x"])


PLAN = """
primary:
  endpoint: cancer-specific survival
  contrast: poor vs good
  cohort: c
  horizon_years: 3
  test: logrank
added_value: [age, stage]
"""


def test_added_value_over_a_covariate_inside_the_bundle_is_refused():
    plan = parse_plan(PLAN, "plan.yaml")
    table = pd.DataFrame({"patient_id": ["a"], "age": ["70"], "stage": ["II"]})
    check_asked(table, plan)
    with pytest.raises(InputError, match="added_value: age is inside the bundle, whose Cox model"):
        check_asked(table, plan, ("age",))
    check_asked(table, plan, ("pT",))
