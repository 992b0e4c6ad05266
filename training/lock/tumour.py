"""The tumour network's place in the bundle: its weights among the hashed files, its settings in the manifest."""

from dataclasses import replace
from pathlib import Path

import torch

from pathoprog.ensemble.manifest import Manifest
from pathoprog.errors import ConfigError
from pathoprog.networks.tumour import load
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.tumour.segment import WEIGHTS, read_record


def add_tumour(settings: EnsembleConfig, manifest: Manifest, files: dict[str, Path | str]) -> Manifest:
    """Add the network of `settings.tumour` to what is locked, and set the policy that the bundle is scored under.

    Args:
        settings: of the choice.
        manifest: of the bundle to be.
        files: of the bundle to be; the weights are added.

    Returns:
        The manifest with network and policy.

    Raises:
        ConfigError: the policy is to be ``network`` and none was given, or none is there.
        InputError: its record is damaged.
        BundleError: its weights cannot be loaded.
    """
    if settings.tumour_policy == "network":
        manifest = replace(manifest, tumour_policy="network")
    if not settings.tumour:
        if settings.tumour_policy == "network":
            raise ConfigError("tumour_policy=network needs tumour=FOLDER of `pathoprog segment mode=train`")
        return manifest
    folder = Path(settings.tumour)
    record = read_record(folder, "tumour")
    load(folder / WEIGHTS, record, torch.device("cpu"))
    files[WEIGHTS] = folder / WEIGHTS
    return replace(manifest, tumour=record)
