"""A candidate's files: read as they were written; what is missing or damaged is named."""

import json
import math
from pathlib import Path

import pytest

from pathoprog.ensemble.manifest import CohortFacts
from pathoprog.errors import InputError
from pathoprog.system.files import write_json
from pathoprog.training.member.candidate import (
    Best,
    Candidate,
    StartedFrom,
    Verdict,
    finished,
    read_candidate,
    read_verdict,
    write_candidate,
    write_verdict,
)

FACTS = CohortFacts(n_patients=4, n_slides=5, n_tiles=60, n_events=2, sha256="0" * 64)
VERDICT = Verdict(c_index=0.75, c_se=0.125, c_lower=0.5, c_upper=1.0, patient_ids=("P1", "P2"), risks=(-0.5, 2.0))


def made(folder, **changes):
    values = {
        "fingerprint": "f", "recipe": "r", "steps": 8, "resolution": "10x", "seed": 3, "n_training": 4,
        "best": (Best(step=8, c_index=0.75, file="step-000008.safetensors"),), "cohorts": {"tuning": FACTS},
        "folder": folder,
    }  # fmt: skip
    return Candidate(**{**values, **changes})


def test_a_candidate_is_read_as_it_was_written(tmp_path):
    write_candidate(made(tmp_path))
    said = json.loads((tmp_path / "candidate.json").read_text())
    assert said["parent"] == {} and "folder" not in said and said["best"] == [
        {"step": 8, "c_index": 0.75, "file": "step-000008.safetensors"}
    ]  # fmt: skip
    found = read_candidate(tmp_path)
    assert found == made(tmp_path) and found.weights == tmp_path / "step-000008.safetensors" and found.tuning_c == 0.75
    parent = StartedFrom(ensemble_id="e", name="", member="10x-1", sha256="0" * 64)
    write_candidate(made(tmp_path, parent=parent))
    assert read_candidate(tmp_path).parent == parent


def test_a_verdict_stands_beside_the_weights_and_no_c_stays_no_number(tmp_path):
    write_candidate(made(tmp_path))
    with pytest.raises(InputError, match=r"step-000008\.json: no such file"):
        _ = read_candidate(tmp_path).verdict
    write_verdict(tmp_path / "step-000008.json", VERDICT)
    assert read_candidate(tmp_path).verdict == VERDICT and VERDICT.by_patient == {"P1": -0.5, "P2": 2.0}
    nothing = Verdict(c_index=math.nan, c_se=math.nan, c_lower=math.nan, c_upper=math.nan, patient_ids=(), risks=())
    write_verdict(tmp_path / "none.json", nothing)
    assert math.isnan(read_verdict(tmp_path / "none.json").c_index), "no two patients could be compared"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda found: found.pop("recipe"), "by an earlier version, which did not say on what it learned"),
        (lambda found: found.pop("seed"), "lacks seed"),
        (lambda found: found.update(best=[]), "names no checkpoint"),
        (lambda found: found.update(steps="8"), 'steps: "8", must be a whole number'),
        (lambda found: found["best"][0].pop("file"), r"best\[0\]: lacks file"),
        (lambda found: found.update(parent={"member": "x"}), "parent: lacks ensemble_id, name, sha256"),
        (lambda found: found.update(cohorts=[]), r"cohorts: \[\], must be a record"),
    ],
)
def test_a_damaged_candidate_is_named_and_is_not_finished(harm, said, tmp_path):
    write_candidate(made(tmp_path))
    assert finished(tmp_path) == made(tmp_path)
    found = json.loads((tmp_path / "candidate.json").read_text())
    harm(found)
    write_json(tmp_path / "candidate.json", found)
    with pytest.raises(InputError, match=rf"candidate\.json: .*{said}"):
        read_candidate(tmp_path)
    assert finished(tmp_path) is None


def test_no_json_and_no_file(tmp_path):
    (tmp_path / "candidate.json").write_text("{")
    with pytest.raises(InputError, match=r"candidate\.json: damaged"):
        read_candidate(tmp_path)
    with pytest.raises(InputError, match=r"candidate\.json: no such file"):
        read_candidate(tmp_path / "none")
    assert finished(Path(tmp_path / "none")) is None


def test_settings_younger_than_the_candidate_are_not_written_back(tmp_path):
    write_json(tmp_path / "settings.json", {"network": {"encoder": "mobilenet_v2", "width": 0.35, "weights": "/x/y"}})
    network = made(tmp_path).network
    assert network.settings.width == 0.35 and network.settings.weights == "" and "head" in network.younger
    write_json(tmp_path / "settings.json", {"network": {"width": "wide"}})
    with pytest.raises(InputError, match=r'settings\.json: .*network\.width: "wide", must be a finite number'):
        _ = made(tmp_path).network


def test_two_risks_for_one_patient_are_refused(tmp_path):
    write_json(tmp_path / "v.json", {"c_index": 0.5, "c_se": 0.1, "c_lower": 0.4, "c_upper": 0.6,
                                     "patient_ids": ["P1"], "risks": [0.1, 0.2]})  # fmt: skip
    with pytest.raises(InputError, match="1 patients with 2 risks"):
        read_verdict(tmp_path / "v.json")
