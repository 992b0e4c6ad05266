"""Real patients: an attention head trains on the Orion tiles' class probabilities and is judged on others."""

import importlib.util
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
from house import ROOT
from shared_data import shared_data


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("orion_attention", ROOT / "benchmarks" / "orion_attention.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_head_trains_and_is_cross_validated_by_patient(benchmark, monkeypatch):
    data = shared_data("survival/orion_tile_probs").parent
    patients = benchmark.read_patients(data, "progression-free")
    names = [patient.patient_id for patient in patients]
    assert len(names) == 19 and "C15" not in names  # a progression without recurrence or death
    assert sum(patient.event for patient in patients) == 12
    assert [len(patient.slides) for patient in patients if patient.patient_id == "C33"] == [2]
    overall = benchmark.read_patients(data, "overall")
    assert len(overall) == 20 and sum(patient.event for patient in overall) == 7
    assert all(slide.tiles.shape[1] == 9 for patient in overall for slide in patient.slides)
    # tiles called background are gone: the table tells their share
    assert overall[0].n_tiles == round(24419 * (1 - 0.0793644293378107))

    few = replace(benchmark.FIT, steps=4, evaluate_every=4, tiles_per_patient=16, checkpoint_every=4)
    monkeypatch.setattr(benchmark, "FIT", few)
    seen_by = []
    real = benchmark.out_of_fold

    def watched(seen, unseen, seed):
        assert not {patient.patient_id for patient in seen} & {patient.patient_id for patient in unseen}
        seen_by.append([patient.patient_id for patient in unseen])
        return real(seen, unseen, seed)

    monkeypatch.setattr(benchmark, "out_of_fold", watched)
    found, single = benchmark.cross_validated(patients, 1)
    assert sorted(name for fold in seen_by for name in fold) == names and len(seen_by) == 5
    assert np.isfinite(found.value) and single == [found.value]


def test_shuffling_moves_outcomes_between_patients_and_keeps_them_whole(benchmark):
    patients = [benchmark.Patient(f"P{n}", [], 100.0 + n, n % 2, "", "", "") for n in range(8)]
    moved = benchmark.shuffled(patients, 1)
    assert [patient.patient_id for patient in moved] == [patient.patient_id for patient in patients]
    pairs = {(patient.followup_days, patient.event) for patient in patients}
    assert {(patient.followup_days, patient.event) for patient in moved} == pairs
    assert [patient.followup_days for patient in moved] != [patient.followup_days for patient in patients]
