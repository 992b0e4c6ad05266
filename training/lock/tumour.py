"""The tumour network's place in the bundle: its weights among the hashed files, its settings in the manifest."""

from pathlib import Path
from typing import Any

import torch

from pathoprog.errors import ConfigError
from pathoprog.networks.tumour import load
from pathoprog.system.files import read_json
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.tumour.segment import RECORD, WEIGHTS

KEPT = ("network", "outline", "step", "tuning_dice", "tuning_dice_lowest", "cohorts")


def add_tumour(settings: EnsembleConfig, manifest: dict[str, Any], files: dict[str, Path | str]) -> None:
    """Add the network of `settings.tumour` to what is locked, and set the policy that the bundle is scored under.

    Raises:
        ConfigError: the policy is to be ``network`` and none was given, or none is there.
        BundleError: its weights cannot be loaded.
    """
    if settings.tumour_policy == "network":
        manifest["tumour_policy"] = "network"
    if not settings.tumour:
        if settings.tumour_policy == "network":
            raise ConfigError("tumour_policy=network needs tumour=FOLDER of `pathoprog segment mode=train`")
        return
    folder = Path(settings.tumour)
    if not (folder / RECORD).is_file():
        raise ConfigError(f"tumour={folder}: no finished tumour network there ({RECORD} is missing)")
    record = read_json(folder / RECORD)
    load(folder / WEIGHTS, record, torch.device("cpu"))
    manifest["tumour"] = {"file": WEIGHTS, **{key: record[key] for key in KEPT}}
    files[WEIGHTS] = folder / WEIGHTS
