"""`pathoprog control`: the whole way on cohorts whose hazard ignores the images. It must find nothing.

For each seed: simulate, cut tiles, train one candidate per resolution, and take the external c-index of the mean of
their two scores. Over the seeds that c must be 0.5 within two standard errors of the mean; else something leaks.
"""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.networks.member import MilNetwork
from pathoprog.settings import as_dict
from pathoprog.simulate.config import SimulateConfig
from pathoprog.simulate.run import run as simulate
from pathoprog.slides.resolutions import in_order
from pathoprog.survival import harrell_c
from pathoprog.system.console import say
from pathoprog.system.files import read_json, sha256_value, write_json
from pathoprog.system.machine.device import resolve_device, resolve_dtype
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import ControlConfig, TrainConfig
from pathoprog.training.data import tile_store
from pathoprog.training.data.bags import read_patients
from pathoprog.training.held_folder import holds_its_folder
from pathoprog.training.launchers import LocalEngine, local_devices, settle_devices
from pathoprog.training.member import checkpoint
from pathoprog.training.member.candidate import read_candidate
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.tuning_concordance import judge
from pathoprog.training.tracking import Tracking
from pathoprog.training.train_ensemble import CandidateTask, train_all

RESULT = "control.json"


@holds_its_folder("control")
def run(settings: ControlConfig) -> int:
    """Run every seed (finished ones are kept), print each c and their mean with its standard error.

    Returns:
        0 if the mean is 0.5 within two standard errors, or if the hazard does follow the images; else 1.
    """
    if settings.data.source != "store":
        raise ConfigError(f"data.source={settings.data.source}: the control cuts tiles of its own; leave it at store")
    out = Path(settings.out)
    found = []
    for number in range(settings.seeds):
        seed = settings.seed + number
        folder = out / f"seed{seed}"
        mark = sha256_value({"settings": as_dict(settings) | {"out": "", "seeds": 0, "keep": False}, "seed": seed})
        if not (folder / RESULT).is_file() or read_json(folder / RESULT)["mark"] != mark:
            say(f"[{number + 1}/{settings.seeds}] seed {seed}, hazard: {settings.hazard}")
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / RESULT, {"mark": mark, **one_seed(settings, seed, folder)})
            if not settings.keep:
                for name in ("cohort/slides", "tiles"):
                    shutil.rmtree(folder / name, ignore_errors=True)
        result = read_json(folder / RESULT)
        found.append(result["external_c"])
        say(f"    seed {seed}: external c {result['external_c']:.3f} ({result['external_events']} cancer deaths)")
    return verdict(found, settings.hazard)


def verdict(found: list[float], hazard: str) -> int:
    """Print mean, spread and verdict over the seeds' external c; exit code 1 where a control found something."""
    mean, sd = float(np.mean(found)), float(np.std(found, ddof=1))
    error = sd / len(found) ** 0.5
    say(f"external c over {len(found)} seeds: mean {mean:.3f}, SD {sd:.3f}, SE of the mean {error:.3f}")
    inside = abs(mean - 0.5) <= 2 * error
    if hazard != "none":
        say(f"the hazard follows the images ({hazard}): 0.5 {'lies' if inside else 'does not lie'} within two SE")
        return 0
    say(
        f"control {'passed' if inside else 'FAILED'}:"
        f" 0.5 {'lies' if inside else 'does not lie'} within two SE of the mean"
    )
    return 0 if inside else 1


def one_seed(settings: ControlConfig, seed: int, folder: Path) -> dict[str, Any]:
    """Simulate, cut, train and judge one cohort."""
    base = made_cohort(settings, seed, folder)
    tasks = []
    for resolution in in_order(settings.data.resolutions):
        one = deepcopy(base)
        one.resolution, one.out = resolution, str(folder / resolution)
        tasks.append(CandidateTask(one))
    fit = settings.fit
    engine = LocalEngine(local_devices(settings.device, settings.workers, fit.threads, fit.gpus))
    train_all(tasks, engine, 0, Tracking(base.track), "")
    return external_c(tasks)


def made_cohort(settings: ControlConfig, seed: int, folder: Path) -> TrainConfig:
    """Simulate one cohort and cut its tiles; returns the settings of a candidate on it, without `out`.

    Raises:
        PathoprogError: slides that were just made cannot be read.
    """
    cohort = folder / "cohort"
    simulate(
        SimulateConfig(
            out=str(cohort),
            seed=seed,
            hazard=settings.hazard,
            development_patients=settings.development_patients,
            test_patients=0,
            external_patients=settings.external_patients,
            field_um=settings.field_um,
        )
    )
    base = TrainConfig(
        seed=seed,
        device=settings.device,
        data=deepcopy(settings.data),
        labels=settings.labels,
        network=settings.network,
        augment=settings.augment,
        fit=settings.fit,
        track=TrackingSettings(tracking="none"),
    )
    settle_devices(base)
    check_fit(base)
    base.data.cohort, base.data.outcomes = str(cohort / "cohort.csv"), str(cohort / "outcomes.csv")
    base.data.overlap, base.data.store = str(cohort / "overlap.json"), str(folder / "tiles")
    if tile_store.build(read_cohort(base.data.cohort, base.data.overlap), base.data):
        raise PathoprogError(f"{folder}: slides that were just made could not be read (named above)")
    return base


def external_c(tasks: list[CandidateTask]) -> dict[str, Any]:
    """Harrell's c on the external cohort, of the mean of the resolutions' scores."""
    by_patient: dict[str, list[float]] = {}
    outcome = {}
    for task in tasks:
        settings = task.settings
        device = resolve_device(settings.device)
        network = MilNetwork(settings.network)
        network.load_state_dict(checkpoint.read(read_candidate(task.folder).weights)[0])
        network.to(device).eval()
        external = read_patients(settings, "external")
        dtype = resolve_dtype(settings.fit.dtype, device)
        result = judge(network, external, 0, settings.fit.evaluate_batch, device, dtype)
        for patient, risk in zip(external, result.risks, strict=True):
            score = float(torch.sigmoid(torch.tensor(risk)))
            by_patient.setdefault(patient.patient_id, []).append(score)
            outcome[patient.patient_id] = (patient.followup_days, patient.event)
    both = sorted(name for name, scores in by_patient.items() if len(scores) == len(tasks))
    times, events = np.array([outcome[name] for name in both]).T
    scores = np.array([np.mean(by_patient[name]) for name in both])
    concordance = harrell_c(times, events.astype(int), scores)
    return {
        "external_c": float(concordance.value),
        "external_c_se": float(concordance.se),
        "external_patients": len(both),
        "external_events": int(events.sum()),
    }
