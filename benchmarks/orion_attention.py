"""A gated-attention head on real patients: `python benchmarks/orion_attention.py DATA [repeats]`.

DATA holds `orion_crc_patients_odd20.csv` and `orion_tile_probs/`: the odd-numbered half of the Orion colorectal cohort,
and for each tile of 224 px at 0.5 um/px the probabilities of nine tissue classes, by that study's own classifier. They
are the features, d = 9; tiles called background are left out. Attention and classifier are those of `pathoprog train`,
with the Cox loss. Twenty patients show that the way works on real data; they do not show whether it predicts.

The settings below were written down before the first run and not changed after it. Each repeat deals the patients into
five folds; a fold's network is judged once, after its last step, on patients it never saw; risks are standardised by
mean and SD of its training patients' and averaged over the repeats. The same with outcomes shuffled among the patients
shows what c this procedure gives where there is nothing to find: with so few patients, not exactly 0.5.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pathoprog.networks.config import NO_ENCODER, NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.survival import harrell_c
from pathoprog.survival.prediction.concordance import Concordance
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.folds import assign_folds
from pathoprog.training.data.tile_store import StoredSlide
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit
from pathoprog.training.member.tuning_concordance import judge

FOLDS = 5
BACKGROUND = "BACK"
ENDPOINTS = {"progression-free": ("PFSDays", "PFSCensor", 0), "overall": ("OSDays", "Death", 1)}
"""Column of days, column of the event, and the value that means event; progression, with more events, is primary."""
NETWORK = NetworkSettings(
    encoder=NO_ENCODER, feature_dim=9, pooling="gated_attention", instance_dim=16, dropout=0.25, head="risk"
)
FIT = FitSettings(
    loss="cox",
    balance="none",
    steps=60,
    patients_per_step=12,
    tiles_per_patient=256,
    lr=3e-3,
    weight_decay=0.1,
    warmup_steps=6,
    ema_decay=0.9,
    evaluate_every=60,
    evaluate_batch=65536,
    checkpoint_every=60,
)


def main(data: Path, repeats: int) -> int:
    torch.set_num_threads(1)
    for endpoint in ENDPOINTS:
        patients = read_patients(data, endpoint)
        events = sum(patient.event for patient in patients)
        found, single = cross_validated(patients, repeats)
        print(f"{endpoint} survival: {len(patients)} patients, {events} events, {repeats} x {FOLDS} folds")
        print(f"  c {found.value:.3f}, 95% CI {max(0, found.lower):.3f} to {min(1, found.upper):.3f}", end="")
        print(f"; single repeats {min(single):.3f} to {max(single):.3f}")
        nothing = [cross_validated(shuffled(patients, seed), 1)[0].value for seed in range(repeats)]
        print(f"  outcomes shuffled, {repeats} times: mean c {np.mean(nothing):.3f}, SD {np.std(nothing, ddof=1):.3f}")
    return 0


def read_patients(data: Path, endpoint: str) -> list[Patient]:
    """The patients whose outcome does not contradict itself, each with the tiles of all slides."""
    days, column, meaning = ENDPOINTS[endpoint]
    table = pd.read_csv(data / "orion_crc_patients_odd20.csv")
    odd = (table["PFSCensor"] == 0) & (table["Recurrence"] == 0) & (table["Death"] == 0)
    if endpoint == "progression-free":  # a progression without recurrence or death
        table = table[~odd]
    return [
        Patient(
            patient_id=str(row["slideName"]),
            slides=read_slides(data, str(row["slideName"])),
            followup_days=float(row[days]),
            event=int(row[column] == meaning),
            label="",
            site="",
            cohort="Orion",
        )
        for row in table.sort_values("slideName").to_dict("records")
    ]


def read_slides(data: Path, patient_id: str) -> list[StoredSlide]:
    """Tile probabilities of a patient's slides, float32 [n, 9] each, without the tiles called background."""
    slides = []
    for path in sorted((data / "orion_tile_probs").glob(f"{patient_id}*.npz")):
        with np.load(path) as content:
            called = content["classes"][content["pred"]]
            slides.append(StoredSlide(path.stem, "", content["prob"][called != BACKGROUND].astype(np.float32)))
    return slides


def cross_validated(patients: list[Patient], repeats: int) -> tuple[Concordance, list[float]]:
    """Harrell's c of the patients' mean out-of-fold risk, and of each repeat's alone."""
    strata = {patient.patient_id: str(patient.event) for patient in patients}
    groups = [[patient.patient_id] for patient in patients]
    times, events = np.array([(patient.followup_days, patient.event) for patient in patients]).T
    risks = np.zeros((repeats, len(patients)))
    for repeat in range(repeats):
        folds = assign_folds(groups, strata, FOLDS, repeat)
        held_out = np.array([folds[patient.patient_id] for patient in patients])
        for fold in range(FOLDS):
            seen = [patient for patient, out in zip(patients, held_out == fold, strict=True) if not out]
            unseen = [patient for patient, out in zip(patients, held_out == fold, strict=True) if out]
            risks[repeat, held_out == fold] = out_of_fold(seen, unseen, repeat * FOLDS + fold)
    single = [float(harrell_c(times, events.astype(int), row).value) for row in risks]
    return harrell_c(times, events.astype(int), risks.mean(axis=0)), single


def out_of_fold(seen: list[Patient], unseen: list[Patient], seed: int) -> np.ndarray:
    """Risks of patients that the network has not seen, standardised by those that it has."""
    judged: list[Verdict] = []

    def at_the_end(network: MilNetwork, device: torch.device, dtype: torch.dtype) -> Verdict:
        judged.extend(judge(network, part, 0, FIT.evaluate_batch, device, dtype) for part in (seen, unseen))
        return judged[0]

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainConfig(out=folder, seed=seed, device="cpu", network=NETWORK, fit=FIT)
        fit(settings, seen, at_the_end, lambda line: None, lambda done: None)
    on_seen, on_unseen = (np.array(verdict.risks) for verdict in judged)
    return np.asarray((on_unseen - on_seen.mean()) / on_seen.std())


def shuffled(patients: list[Patient], seed: int) -> list[Patient]:
    """The same patients with each other's outcomes."""
    order = np.random.default_rng([20, seed]).permutation(len(patients))
    return [
        replace(patient, followup_days=patients[other].followup_days, event=patients[other].event)
        for patient, other in zip(patients, order, strict=True)
    ]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/orion_attention.py DATA [repeats]")
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
