"""Which pooling finds a sign that a tenth of the tiles show? `python benchmarks/poolings.py [seeds] [--small]`.

Each seed is a made-up cohort of stored features. A patient has a hidden risk, from which follow-up and events come
(exponential times, censored by the end of a study), and 100 to 400 tiles of normal noise. A tenth of them are marked in
feature 0 and tell the risk in feature 1; in the other tiles feature 1 is noise about a level of the patient's own, as a
stain would give, so that the mean over all tiles says less. Every pooling sees the same patients, starts and number of
steps; TransMIL sees whole bags, the others draw 64 tiles of each, and all are judged once, at the end, on all tiles of
external patients. Two losses: cross-entropy of distinct outcomes, with CLAM's loss on tiles, and Cox of all patients.

Nothing here says which pooling suits real slides.
"""

import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from pathoprog.networks.config import LOSSES, NO_ENCODER, POOLINGS, NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.poolings.pooling import ORDER, pooling_class
from pathoprog.survival import harrell_c
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.tile_store import StoredSlide
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.tuning_concordance import judge

D, SHARE = 32, 0.1
YEARS, DAYS = 6.0, 365.25
TRIED = ("cross_entropy", "cox")


@dataclass(frozen=True)
class Sizes:
    """How large a seed is."""

    learning: int = 240
    external: int = 300
    tiles: tuple[int, int] = (100, 400)
    steps: int = 300
    patients_per_step: int = 16


SMALL = Sizes(learning=40, external=40, tiles=(20, 40), steps=6, patients_per_step=8)


def main(seeds: int, sizes: Sizes) -> int:
    torch.set_num_threads(1)
    found: dict[tuple[str, str], list[float]] = {}
    known = []
    for seed in range(1, seeds + 1):
        learning, _ = made(sizes, sizes.learning, 1000 + seed)
        external, risks = made(sizes, sizes.external, 2000 + seed)
        known.append(c_of(external, risks))
        for loss in TRIED:
            seen = [patient for patient in learning if patient.label] if LOSSES[loss].distinct_only else learning
            for pooling in POOLINGS:
                found.setdefault((pooling, loss), []).append(external_c(pooling, loss, seed, sizes, seen, external))
        print(f"seed {seed} done, c of the hidden risk itself {known[-1]:.3f}", flush=True)
    print(f"\n| pooling | needs | {' | '.join(f'{loss}, mean (lowest to highest)' for loss in TRIED)} |")
    print(f"|---|---|{'---|' * len(TRIED)}")
    for pooling in POOLINGS:
        cells = [found[pooling, loss] for loss in TRIED]
        said = " | ".join(f"{np.mean(c):.3f} ({min(c):.3f} to {max(c):.3f})" for c in cells)
        print(f"| `{pooling}` | {pooling_class(pooling).needs} | {said} |")
    print(f"\nExternal c over {seeds} seeds, {sizes}; the hidden risk itself has {np.mean(known):.3f}.")
    return 0


def made(sizes: Sizes, n: int, seed: int) -> tuple[list[Patient], np.ndarray]:
    """Patients and their hidden risks [n]."""
    rng = np.random.default_rng(seed)
    risks = rng.normal(size=n)
    patients = []
    for number, risk in enumerate(risks):
        tiles = rng.normal(size=(int(rng.integers(*sizes.tiles)), D)).astype(np.float32)
        key = rng.random(len(tiles)) < SHARE
        key[rng.integers(len(tiles))] = True
        tiles[~key, 1] += 0.3 * rng.normal()
        tiles[key, 0] += 3
        tiles[key, 1] = 1.5 * risk + 0.5 * rng.normal(size=key.sum())
        years, end = rng.exponential(6 * np.exp(-1.2 * risk)), rng.uniform(YEARS, YEARS + 2)
        event = int(years < end)
        followed = min(years, end)
        label = "poor" if event and followed < 2.5 else "good" if followed >= YEARS else ""
        slide = StoredSlide(f"S{number}", "", tiles)
        patients.append(Patient(f"P{number}", [slide], float(followed * DAYS), event, label, "", "made"))
    return patients, risks


def external_c(
    pooling: str, loss: str, seed: int, sizes: Sizes, learning: list[Patient], external: list[Patient]
) -> float:
    """Harrell's c of one network on patients it never saw."""
    settings = TrainConfig(seed=seed, device="cpu", network=network_of(pooling, loss), fit=fit_of(pooling, loss, sizes))
    settings.data.source = "features"
    check_fit(settings)
    judged: list[Verdict] = []

    def at_the_end(network: MilNetwork, device: torch.device, dtype: torch.dtype) -> Verdict:
        judged.append(judge(network, external, 0, settings.fit.evaluate_batch, device, dtype))
        return judged[0]

    with tempfile.TemporaryDirectory() as folder:
        settings.out = folder
        fit(settings, learning, at_the_end, lambda line: None, lambda done: None)
    return c_of(external, np.array(judged[0].risks))


def network_of(pooling: str, loss: str) -> NetworkSettings:
    return NetworkSettings(
        encoder=NO_ENCODER, feature_dim=D, instance_dim=32, pooling=pooling, head=LOSSES[loss].head, dropout=0.1
    )


def fit_of(pooling: str, loss: str, sizes: Sizes) -> FitSettings:
    return FitSettings(
        loss=loss,
        balance="class" if LOSSES[loss].distinct_only else "none",
        steps=sizes.steps,
        patients_per_step=sizes.patients_per_step,
        tiles_per_patient=0 if pooling_class(pooling).needs == ORDER else 64,
        lr=3e-3,
        warmup_steps=min(20, sizes.steps),
        ema_decay=0.9,
        evaluate_every=sizes.steps,
        evaluate_batch=65536,
        checkpoint_every=sizes.steps,
    )


def c_of(patients: list[Patient], risks: np.ndarray) -> float:
    times, events = np.array([(patient.followup_days, patient.event) for patient in patients]).T
    return float(harrell_c(times, events.astype(int), risks).value)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    small = "--small" in sys.argv[1:]
    sys.exit(main(numbers[0] if numbers else 1 if small else 5, SMALL if small else Sizes()))
