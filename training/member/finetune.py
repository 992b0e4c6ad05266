"""Fine-tuning: a candidate starts from a member of a locked ensemble; the outcome is another, unvalidated ensemble."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.bundle import ensemble_id, read_manifest, verify
from pathoprog.ensemble.loading import load_network, network_settings
from pathoprog.ensemble.manifest import Manifest, MemberRecord
from pathoprog.errors import BundleError, ConfigError
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import in_order
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.feature_store import Origin, origin
from pathoprog.training.data.tile_store import spec_of
from pathoprog.training.member.candidate import StartedFrom


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
    members = manifest.members_at(settings.resolution)
    if not members:
        raise BundleError(f"{start.bundle}: no member at {settings.resolution}")
    named = [entry for entry in members if entry.name == start.member]
    if start.member and not named:
        raise ConfigError(
            f"start.member={start.member}: the bundle's members at {settings.resolution} are"
            f" {', '.join(entry.name for entry in members)}"
        )
    member = named[0] if named else members[number % len(members)]
    start.member, settings.network = member.name, network_settings(member.network)
    specs = {
        f"data.tiles_{name}": (as_dict(manifest.tile_specs[name]), as_dict(spec_of(settings.data, name)))
        for name in in_order(settings.data.resolutions)
        if name in manifest.tile_specs
    }
    both = {**specs, "data.tumour_policy": (manifest.tumour_policy, settings.data.tumour_policy)}
    for key, (wanted, given) in both.items():
        if given != wanted:
            raise ConfigError(f"{key}={given}: the ensemble to start from was made with {wanted}; give the same")
    if settings.data.source == "features" and settings.resolution in (manifest.encoders or {}):
        _check_features(settings, manifest)


def _check_features(settings: TrainConfig, manifest: Manifest) -> None:
    """Refuse features that were made in another way than those that the parent's members take."""
    data, resolution = settings.data, settings.resolution
    cohort = read_cohort(data.cohort, data.overlap)
    slide_ids = cohort.loc[cohort["role"].isin(DEVELOPMENT_ROLES), "slide_id"]
    found = origin(slide_ids, data, resolution, settings.network.feature_dim)
    record = replace((manifest.encoders or {})[resolution], file=None, unknown={})
    wanted = Origin(record, manifest.tile_specs[resolution], found.tumour_policy)
    if differences := found.differences(wanted):
        raise ConfigError(
            f"data.features={data.features}: other features than the ensemble to start from takes at {resolution};"
            f" they differ in {', '.join(differences)}"
        )


def parent_of(settings: TrainConfig) -> StartedFrom | None:
    """Who the parent is; None without one.

    Raises:
        BundleError: no bundle there, or no such member in it.
    """
    start = settings.start
    if not start.bundle:
        return None
    manifest = read_manifest(start.bundle)
    member = _member(manifest, settings)
    return StartedFrom(
        ensemble_id=ensemble_id(start.bundle), name=manifest.name or "", member=member.name, sha256=member.sha256
    )


def start_weights(settings: TrainConfig) -> dict[str, Tensor]:
    """The parent member's weights, after the whole bundle was verified.

    Raises:
        BundleError: the bundle was altered, or the weights do not fit.
    """
    manifest = verify(settings.start.bundle)
    member = _member(manifest, settings)
    return load_network(Path(settings.start.bundle) / member.file, settings.network).state_dict()


def _member(manifest: Manifest, settings: TrainConfig) -> MemberRecord:
    for member in manifest.members:
        if member.name == settings.start.member:
            return member
    raise BundleError(f"{settings.start.bundle}: no member {settings.start.member}")
