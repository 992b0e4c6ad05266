"""Do the survival losses lose against cross-entropy? `python benchmarks/losses.py [seeds] [folder]`.

Each seed is a made-up cohort whose hazard follows the images. On it, one network at 40x for each loss is trained for
equally many steps and judged once, at the end, on the external cohort. Cross-entropy sees the patients with a distinct
outcome; Cox and discrete time see all development patients, as `nondistinct=training` has it. What is
done is kept, so that a run that was stopped goes on and more seeds can be added.
"""

import shutil
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from pathoprog.cli import compose
from pathoprog.networks.config import LOSSES as TABLE
from pathoprog.networks.member import MilNetwork
from pathoprog.survival import harrell_c
from pathoprog.system.files import read_json, write_json
from pathoprog.training.config import TrainConfig
from pathoprog.training.control import made_cohort
from pathoprog.training.data.bags import read_patients
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit
from pathoprog.training.member.tuning_concordance import judge
from pathoprog.training.train import learnable

LOSSES = tuple(TABLE)
FIRST_SEED = 321  # 301 and 311 to 313 were looked at while these settings were made; 321 to 336 not
TARGET = -0.05
RESAMPLES = 500
STEPS = 100
SETTINGS = [
    "hazard=both",
    "development_patients=100",
    "external_patients=160",
    "field_um=400",
    "data.tiles_40x.size_px=64",
    "fit.patients_per_step=32",  # the batch is Cox's risk set
    "fit.tiles_per_patient=3",
    "fit.head_lr=0.1",
    *(f"fit.{name}={STEPS}" for name in ("steps", "evaluate_every", "checkpoint_every")),
]


def main(seeds: int, folder: Path) -> int:
    settings = compose("control", [f"out={folder}", *SETTINGS])
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        place = folder / f"seed{seed}"
        results = {loss: place / f"{loss}.json" for loss in LOSSES}
        if not all(path.is_file() for path in results.values()):
            base = made_cohort(settings, seed, place)
            for loss, path in results.items():
                if not path.is_file():
                    write_json(path, one_loss(base, loss, place / loss))
            for name in ("cohort/slides", "tiles", *LOSSES):
                shutil.rmtree(place / name)
        found.append({loss: read_json(path) for loss, path in results.items()})
        facts = [
            f"{loss} {concordance(one):.3f} ({one['n_training']} training patients, {one['n_events']} with the event)"
            for loss, one in found[-1].items()
        ]
        print(f"seed {seed}, {sum(found[-1]['cox']['events'])} external deaths: {', '.join(facts)}", flush=True)
    return verdict(found) if seeds > 1 else 0


def one_loss(base: TrainConfig, loss: str, folder: Path) -> dict[str, Any]:
    """The external patients' times, events and risks under one loss, and how many patients were learned from."""
    shutil.rmtree(folder, ignore_errors=True)
    one = deepcopy(base)
    one.resolution, one.out = "40x", str(folder)
    one.fit.loss, one.network.head = loss, TABLE[loss].head
    one.network.intervals = len(one.fit.interval_years) + 1
    # survival losses see patients as they come: drawn evenly by outcome, their likelihood would be biased
    one.fit.balance = "class" if loss == "cross_entropy" else "none"
    training, external = read_patients(one, "training"), read_patients(one, "external")
    seen = learnable(training if loss == "cross_entropy" else [*training, *read_patients(one, "tuning")], loss)
    judged: list[Verdict] = []

    def at_the_end(network: MilNetwork, device: torch.device, dtype: torch.dtype) -> Verdict:
        judged.append(judge(network, external, one.fit.evaluate_tiles, one.fit.evaluate_batch, device, dtype))
        return judged[0]

    fit(one, seen, at_the_end, lambda line: None, lambda done: None)
    return {
        "n_training": len(seen),
        "n_events": sum(patient.event for patient in seen),
        "times": [patient.followup_days for patient in external],
        "events": [patient.event for patient in external],
        "risks": judged[0].risks,
    }


def concordance(one: dict[str, Any], rows: np.ndarray | None = None) -> float:
    """External c of one loss, on all patients or on a resample of them."""
    times, events, risks = (np.array(one[name]) for name in ("times", "events", "risks"))
    rows = np.arange(len(times)) if rows is None else rows
    return float(harrell_c(times[rows], events[rows], risks[rows]).value)


def verdict(found: list[dict[str, Any]]) -> int:
    """Print mean c and differences with two intervals: over seeds, and over patients within the seeds."""
    c = {loss: np.array([concordance(one[loss]) for one in found]) for loss in LOSSES}
    rng = np.random.default_rng(1)
    resampled = np.empty((RESAMPLES, len(found), len(LOSSES)))
    for index in range(RESAMPLES):
        for number, one in enumerate(found):
            n = len(one["cox"]["times"])
            rows = rng.integers(0, n, n)
            resampled[index, number] = [concordance(one[loss], rows) for loss in LOSSES]
    means = resampled.mean(axis=1)  # [resamples, losses]
    print(f"mean external c over {len(found)} seeds: " + ", ".join(f"{loss} {c[loss].mean():.3f}" for loss in LOSSES))
    for number, loss in enumerate(LOSSES[1:], 1):
        difference = c[loss] - c[LOSSES[0]]
        mean = float(difference.mean())
        half = stats.t.ppf(0.975, len(found) - 1) * difference.std(ddof=1) / len(found) ** 0.5
        low, high = np.percentile(means[:, number] - means[:, 0], [2.5, 97.5])
        print(
            f"{loss} against {LOSSES[0]}: {mean:+.3f};"
            f" 95% interval over seeds {mean - half:+.3f} to {mean + half:+.3f},"
            f" over patients within the seeds {low:+.3f} to {high:+.3f};"
            f" lower limits above {TARGET}: {mean - half > TARGET}, {low > TARGET}"
        )
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(int(arguments[0]) if arguments else 3, Path(arguments[1] if len(arguments) > 1 else "runs/losses")))
