"""Fine-tuning: a candidate starts from a member of a locked ensemble; the outcome is another, unvalidated ensemble."""

from pathlib import Path
from typing import Any

from torch import Tensor

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.bundle import ensemble_id, read_manifest, verify
from pathoprog.ensemble.loading import load_network, network_settings
from pathoprog.errors import ConfigError
from pathoprog.networks.encoder_records import ENCODERS, RECORD
from pathoprog.settings import as_dict
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.feature_store import Origin, origin


def adopt(settings: TrainConfig, number: int = 0) -> None:
    """Take the parent's network in place of the settings' own, and name the member to start from.

    Args:
        settings: of one candidate; `start.member` and `network` are set. Without `start.bundle` nothing happens.
        number: of the candidate; without `start.member` the parent's members of this resolution are taken in turn.

    Raises:
        ConfigError: no such member, or the parent saw other tiles than those of the settings.
        BundleError: no bundle there.
    """
    start = settings.start
    if not start.bundle:
        return
    manifest = read_manifest(start.bundle)
    members = [entry for entry in manifest["members"] if entry["resolution"] == settings.resolution]
    named = [entry for entry in members if entry["name"] == start.member]
    if start.member and not named:
        raise ConfigError(
            f"start.member={start.member}: the bundle's members at {settings.resolution} are"
            f" {', '.join(entry['name'] for entry in members)}"
        )
    member = named[0] if named else members[number % len(members)]
    start.member, settings.network = member["name"], network_settings(member["network"])
    for key, wanted, given in (
        ("data.tiles_10x", manifest["tile_specs"]["10x"], as_dict(settings.data.tiles_10x)),
        ("data.tiles_40x", manifest["tile_specs"]["40x"], as_dict(settings.data.tiles_40x)),
        ("data.tumour_policy", manifest["tumour_policy"], settings.data.tumour_policy),
    ):
        if given != wanted:
            raise ConfigError(f"{key}={given}: the ensemble to start from was made with {wanted}; give the same")
    if settings.data.source == "features" and settings.resolution in manifest.get(ENCODERS, {}):
        _check_features(settings, manifest)


def _check_features(settings: TrainConfig, manifest: dict[str, Any]) -> None:
    """Refuse features that were made in another way than those that the parent's members take."""
    data, resolution = settings.data, settings.resolution
    found = origin(read_cohort(data.cohort, data.overlap)["slide_id"], data, resolution)
    record = {name: manifest[ENCODERS][resolution][name] for name in RECORD}
    wanted = Origin(record, manifest["tile_specs"][resolution], found.tumour_policy)
    if differences := found.differences(wanted):
        raise ConfigError(
            f"data.features={data.features}: other features than the ensemble to start from takes at {resolution};"
            f" they differ in {', '.join(differences)}"
        )


def parent_of(settings: TrainConfig) -> dict[str, Any]:
    """Who the parent is: ensemble's id and name, member and the hash of its weights; empty without one."""
    start = settings.start
    if not start.bundle:
        return {}
    manifest = read_manifest(start.bundle)
    member = next(entry for entry in manifest["members"] if entry["name"] == start.member)
    return {
        "ensemble_id": ensemble_id(start.bundle),
        "name": manifest.get("name", ""),
        "member": member["name"],
        "sha256": member["sha256"],
    }


def start_weights(settings: TrainConfig) -> dict[str, Tensor]:
    """The parent member's weights, after the whole bundle was verified.

    Raises:
        BundleError: the bundle was altered, or the weights do not fit.
    """
    manifest = verify(settings.start.bundle)
    member = next(entry for entry in manifest["members"] if entry["name"] == settings.start.member)
    return load_network(Path(settings.start.bundle) / member["file"], settings.network).state_dict()
