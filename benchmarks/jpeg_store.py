"""What a tile store of JPEGs saves, and what it does to scores: `python benchmarks/jpeg_store.py [key=value …]`.

Keys: patients (of development, and as many external), steps, seed. On one made-up cohort a network at 40x is
trained from the raw store. It then scores the external patients' tiles as they are, and as JPEGs of each quality: size,
differences of scores, and Harrell's c. Then the same training from JPEGs of the default quality, judged on raw
tiles, as a lock would: what such a store does to a member. Its differences are to be held against those of another
seed's network from the raw store.
"""

import sys
import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pathoprog.cli import compose
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.networks.member import MilNetwork
from pathoprog.training.config import TrainConfig
from pathoprog.training.control import made_cohort
from pathoprog.training.data import tile_store
from pathoprog.training.data.bags import Patient, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit
from pathoprog.training.member.tuning_concordance import judge
from pathoprog.training.train import learnable

QUALITIES = (95, 90, 80, 60)
SIZES = {"patients": 60, "steps": 100, "seed": 321}
CPU, FP32 = torch.device("cpu"), torch.float32


def recipe(sizes: dict[str, int], folder: Path) -> TrainConfig:
    """The control's network and loop at small size, on a cohort whose hazard follows the images."""
    settings = compose("control", [
        f"out={folder}", "hazard=both", f"development_patients={sizes['patients']}",
        f"external_patients={sizes['patients']}", "field_um=400", "data.tiles_40x.size_px=64",
        "fit.patients_per_step=16", "fit.tiles_per_patient=3", "fit.head_lr=0.1",
        *(f"fit.{name}={sizes['steps']}" for name in ("steps", "evaluate_every", "checkpoint_every")),
    ])  # fmt: skip
    base = made_cohort(settings, sizes["seed"], folder)
    return replace(base, resolution="40x")


def trained(base: TrainConfig, data: DataSettings, out: Path, seed: int) -> MilNetwork:
    """The network after the last step, in evaluation mode."""
    one = replace(deepcopy(base), data=data, out=str(out), seed=seed)
    kept: list[MilNetwork] = []
    nothing = Verdict(c_index=0.5, c_se=0.0, c_lower=0.5, c_upper=0.5, patient_ids=(), risks=())

    def keep(network: MilNetwork, device: torch.device, dtype: torch.dtype) -> Verdict:
        kept.append(network)
        return nothing

    fit(one, learnable(read_patients(one, "training"), one.fit.loss), keep, lambda line: None, lambda done: None)
    return kept[-1]


def scores(network: MilNetwork, patients: list[Patient]) -> tuple[np.ndarray, float]:
    """Scores in [0, 1] of patients, all tiles, and Harrell's c."""
    verdict = judge(network, patients, 0, 64, CPU, FP32)
    return torch.sigmoid(torch.tensor(verdict.risks)).numpy(), verdict.c_index


def differences(found: np.ndarray, wanted: np.ndarray) -> str:
    """Of scores, in words."""
    gap = np.abs(found - wanted)
    ranks = np.corrcoef(np.argsort(np.argsort(found)), np.argsort(np.argsort(wanted)))[0, 1]
    return f"mean {gap.mean():.4f}, largest {gap.max():.4f}, rank correlation {ranks:.4f}"


def main(arguments: list[str]) -> int:
    given = dict(argument.split("=", 1) for argument in arguments)
    sizes = SIZES | {key: int(value) for key, value in given.items()}
    if unknown := sizes.keys() - SIZES.keys():
        sys.exit(f"no such key: {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    with tempfile.TemporaryDirectory() as temporary:
        measure(sizes, Path(temporary))
    return 0


def measure(sizes: dict[str, int], place: Path) -> None:
    base = recipe(sizes, place)
    cohort = read_cohort(base.data.cohort, base.data.overlap)
    external = read_patients(base, "external")
    network = trained(base, base.data, place / "raw", sizes["seed"])
    wanted, c = scores(network, external)
    spread = f"SD {wanted.std():.3f}, {wanted.min():.3f} to {wanted.max():.3f}"
    print(f"{len(external)} external patients from raw tiles: c {c:.3f}; scores {spread}")
    for quality in QUALITIES:
        data = replace(base.data, store_format="jpeg", store_quality=quality)
        tile_store.build(cohort[cohort["role"] == "external"], data)  # says what is saved
        found, c = scores(network, read_patients(replace(base, data=data), "external"))
        print(f"the same network on JPEGs of quality {quality}: c {c:.3f}; scores differ: {differences(found, wanted)}")
    data = replace(base.data, store_format="jpeg")
    tile_store.build(cohort, data)
    for what, one, seed in (("JPEGs", data, 0), ("raw tiles, another seed", base.data, 1)):
        network = trained(base, one, place / f"other{seed}", sizes["seed"] + seed)
        found, c = scores(network, external)
        print(f"trained on {what}, judged on raw tiles: c {c:.3f}; scores differ: {differences(found, wanted)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
