"""The model card: whom the ensemble learned from, by site, scanner, sex, age and stage; what was not recorded."""

from dataclasses import replace

import pandas as pd
import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.ensemble.manifest import CohortFacts, Manifest, ParentRecord, ThresholdRecord, TuningBasis
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import EnsembleConfig, SplitSettings
from pathoprog.training.data.learners import Used
from pathoprog.training.lock.model_card import model_card

FACTS = CohortFacts(n_patients=16, n_slides=16, n_tiles=96, n_events=8, sha256="0" * 64)
CUT = ThresholdRecord(value=0.4, lower=0.35, upper=0.5, rule="largest statistic")
SHARES = {"good": 0.6, "uncertain": 0.1, "poor": 0.3}


def manifest(**changes):
    spec = TileSpec(size_px=32)
    values = {
        "members": (None,) * 10,
        "thresholds": {"10x": CUT, "40x": CUT},
        "tile_specs": {"10x": spec, "40x": spec},
        "aggregation": "bag",
        "precision": "fp32",
        "tuning_scores": TuningBasis(
            n_patients=15,
            n_slides=18,
            n_tiles={"10x": 90, "40x": 700},
            left_out={"not_reportable": 1},
            ranked_on_tiles=256,
            batch_tiles={"10x": 64, "40x": 64},
            sha256="0" * 64,
        ),
        "tumour_policy": "tissue",
        "cohorts": {"training": FACTS, "tuning": FACTS},
        "files": {},
    }
    return Manifest(**{**values, **changes})


@pytest.fixture
def settings(tmp_path):
    data = made_store(tmp_path / "data")
    cohort = pd.read_csv(data.cohort)
    cohort["scanner"] = ["AT2" if number % 8 else "XR" for number in range(len(cohort))]
    cohort["stage"] = ["II", "III", "", "II"] * (len(cohort) // 4)
    cohort.loc[0, "age"] = None
    cohort.to_csv(data.cohort, index=False)
    return made_settings(replace(data), tmp_path / "run")


def everybody(without=(), **left_out):
    names = frozenset(f"P{number:03d}" for number in range(32)) - set(without)
    return Used(names, {role: (left_out.get(role, 0), 16) for role in ("training", "tuning")})


def test_patients_who_took_no_part_are_not_described(settings):
    used = everybody(["P000", "P001"], training=2)
    text = model_card(EnsembleConfig(), settings, manifest(), SHARES, used)
    assert "- left out, at one resolution or all: 2 of 16 training slides (damaged, unreadable, or without" in text
    assert "| scan_site | site1 6, site2 8 | site1 8, site2 8 |" in text
    assert "left out, at" not in model_card(EnsembleConfig(), settings, manifest(), SHARES, everybody())


def test_it_says_whom_it_learned_from_and_what_was_not_recorded(settings):
    text = model_card(EnsembleConfig(name="bowel", intended_use="Research."), settings, manifest(), SHARES, everybody())
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| scan_site | site1 8, site2 8 | site1 8, site2 8 |" in text
    assert "AT2 14, XR 2" in rows["scanner"] and "F 10, M 6" in rows["sex"]
    assert "II 8, III 4, missing 4" in rows["stage"]
    # ages 61 to 75 of 15 training patients, the first one's is missing: median 68, quartiles 64.5 and 71.5
    assert "median 68 (quartiles 64-72, range 61-75), missing 1" in rows["age"]
    assert rows["prep_site"] == "| prep_site | not recorded | not recorded |"
    assert "Fewer than 20 training patients" in text and "scanner XR (2)" in text and "stage III (4)" in text
    absent = next(line for line in text.splitlines() if "not known to be represented" in line)
    assert "prep_site" in absent and "pT" in absent and "stage" not in absent
    assert "good = followed over 6 years" in text and "between 100 days and 2.5 years" in text
    assert "0.4000 (0.3500 to 0.5000)" in text and "For research use only" in text
    assert "Not meant for biopsies" in text and "WO 2019/096708 A1" in text
    assert "Fine-tuned" not in text and "out of" not in text
    assert "Thresholds rest on 15 tuning patients (18 slides; left out: 1 not reportable) scored as slides are" in text
    assert "all 90 tiles at 10x and all 700 tiles at 40x, in fp32, several slides of a patient by bag" in text
    assert "ranked on at most 256 tiles of a patient" in text
    assert "P000" not in text


def test_folds_and_a_parent_are_named_among_the_limits(settings):
    settings.split = SplitSettings(folds=5, fold=-1, together="scan_site")
    tuning = replace(FACTS, out_of_folds=5, together="scan_site")
    parent = ParentRecord(ensemble_id="ab" * 32, name="older")
    made = manifest(cohorts={"training": FACTS, "tuning": tuning}, parent=parent)
    text = model_card(EnsembleConfig(), settings, made, SHARES, everybody())
    assert "each out of 5 folds, scan_site kept together" in text and "There was no tuning cohort" in text
    assert "Fine-tuned from the ensemble older (abababababababab); not validated" in text
    assert "| scan_site | site1 16, site2 16 | site1 16, site2 16 |" in text
