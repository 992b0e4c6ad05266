"""A small cohort whose tiles carry the outcome, already cut into a tile store: training without slides."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.features import write_features
from pathoprog.system.files import read_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import CandidateSettings, FitSettings, TrainConfig, TrainEnsembleConfig
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.tile_store import cut_folder

SIZE_PX = 32


def made_store(folder: Path, patients: int = 16) -> DataSettings:
    """Write cohort.csv, outcomes.csv and a store; poor patients' tiles are darker than good patients'.

    The signal is one that a network learns in 30 steps with any seed and any processor's rounding: measured over eight
    seeds and three instruction sets, `separation` was 0.94 to 1.00.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        store=str(folder / "store"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, SIZE_PX),
        tiles_40x=TileSpec("40x", 0.25, SIZE_PX),
    )
    rng = np.random.default_rng(5)
    rows, outcomes = [], []
    for number in range(2 * patients):
        role = "training" if number < patients else "tuning"
        poor = number % 2 == 1
        name = f"P{number:03d}"
        rows.append(
            {
                "patient_id": name,
                "slide_id": f"{name}-A",
                "slide_path": f"{name}.tif",
                "block_id": f"{name}-b",
                "cohort": "north" if number % 4 < 2 else "south",
                "role": role,
                "scan_site": "site1" if number % 4 < 2 else "site2",
                "age": 60 + number % 20,
                "sex": "F" if number % 3 else "M",
            }
        )
        followup = 400 + 10 * number if poor else 2300 + 10 * number
        outcomes.append({"patient_id": name, "followup_days": followup, "event": int(poor)})
        for resolution in ("10x", "40x"):
            tiles = rng.integers(150, 220, (6, SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
            if poor:
                tiles //= 2
            place = cut_folder(data, resolution)
            place.mkdir(parents=True, exist_ok=True)
            np.save(place / f"{name}-A.npy", tiles)
            info = {
                "key": "made",
                "slide_id": f"{name}-A",
                "sha256": f"{number:064d}",
                "x0": [SIZE_PX * column for column in range(6)],
                "y0": [0] * 6,
                "refused": "",
            }
            (place / f"{name}-A.json").write_text(json.dumps(info))
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(outcomes).to_csv(folder / "outcomes.csv", index=False)
    return data


def made_settings(data: DataSettings, out: Path, **fit: Any) -> TrainConfig:
    """Settings of a run of a few seconds."""
    values: dict[str, Any] = {
        "steps": 8,
        "patients_per_step": 4,
        "tiles_per_patient": 3,
        "lr": 3e-3,
        "warmup_steps": 2,
        "ema_decay": 0.5,
        "evaluate_every": 4,
        "checkpoint_every": 2,
        "log_every": 1,
        "keep_best": 2,
        "dtype": "fp32",
        **fit,
    }
    return TrainConfig(
        out=str(out),
        device="cpu",
        data=data,
        network=NetworkSettings(width=0.35, instance_dim=8, dropout=0.1),
        augment=AugmentSettings(blur=0.5),
        fit=FitSettings(**values),
        track=TrackingSettings(tracking="none"),
    )


def separation(run: Path) -> float:
    """Share of pairs of a poor and a good tuning patient that a run's best checkpoint puts in order; 0.5 by chance.

    Harrell's c also orders the poor among themselves, which nothing in their tiles tells: rounding alone decides there.
    """
    best = read_json(run / "candidate.json")["best"][0]["file"]
    verdict = read_json((run / best).with_suffix(".json"))
    poor, good = (
        [risk for name, risk in zip(verdict["patient_ids"], verdict["risks"], strict=True) if int(name[1:]) % 2 == odd]
        for odd in (1, 0)
    )
    return float(np.mean(np.subtract.outer(poor, good) > 0))


def made_many(settings: TrainConfig, candidates: int, **changes: Any) -> TrainEnsembleConfig:
    """The same as settings of `candidates` candidates per resolution."""
    plain = {field.name: getattr(settings, field.name) for field in fields(CandidateSettings)}
    return TrainEnsembleConfig(**plain, candidates=candidates, **changes)


def made_features(folder: Path, d: int = 4, patients: int = 16) -> DataSettings:
    """Write cohort.csv, outcomes.csv and features of ours at 10x; poor patients' lie a little higher."""
    data = made_store(folder, patients)
    data.source, data.features, data.store, data.resolutions = "features", str(folder / "features"), "", ["10x"]
    rng = np.random.default_rng(1)
    for number in range(2 * patients):
        name = f"P{number:03d}-A"
        places = np.arange(6)
        facts = {"slide_id": name, "slide_sha256": f"{number:064d}", "width0": 9, "reason": "", "quality": {}}
        values = rng.normal(number % 2, 1.0, (6, d)).astype(np.float16)
        write_features(folder / "features" / "10x" / f"{name}.safetensors", values, places, places, facts)
    return data
