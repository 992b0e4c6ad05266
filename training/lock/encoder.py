"""The encoder's place in the bundle, where members learned from its features: a record, and its weights on request."""

from dataclasses import replace
from pathlib import Path

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.manifest import Manifest
from pathoprog.errors import InputError
from pathoprog.networks.encoder_records import by_weights, weights_by_hash
from pathoprog.networks.published.encoder_recipes import RECIPES
from pathoprog.slides.resolutions import in_order
from pathoprog.system.console import warn
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.by_resolution import at, data_at
from pathoprog.training.data.feature_store import Origin, origin
from pathoprog.training.data.learners import cohort_facts
from pathoprog.training.member.candidate import Candidate


def origins_of(settings: EnsembleConfig, trained: TrainConfig) -> dict[str, Origin]:
    """What the candidates' features were made of, by resolution; nothing where candidates read tiles.

    The training's settings of tiles and tumour policy, which nothing read, become those of the features.

    Raises:
        ConfigError: weights were given that are none of theirs.
        InputError: features that do not say enough, or differ; see `pathoprog.training.data.feature_store.origin`.
    """
    origins: dict[str, Origin] = {}
    data = trained.data
    of_features = [name for name in in_order(data.resolutions) if data_at(trained, name).source == "features"]
    if of_features:
        cohort = read_cohort(data.cohort, data.overlap)
        slide_ids = list(cohort.loc[cohort["role"].isin(DEVELOPMENT_ROLES), "slide_id"])
        origins = {name: origin(slide_ids, data, name, at(trained, name).network.feature_dim) for name in of_features}
        if len({found.tumour_policy for found in origins.values()}) > 1:
            raise InputError(f"{data.features}: tiles of one resolution lie in outlines, of the other in tissue")
        for resolution, found in origins.items():
            setattr(data, f"tiles_{resolution}", replace(found.spec))
        policy = origins[of_features[0]].tumour_policy
        if len(of_features) < len(set(data.resolutions)) and policy != data.tumour_policy:
            raise InputError(
                f"{data.features}: tiles at {of_features[0]} lie by the policy {policy}, those of the other resolution"
                f" by {data.tumour_policy}: make the features again with data.tumour_policy={data.tumour_policy}"
            )
        data.tumour_policy = policy
    _given(settings, origins)
    return origins


def _given(settings: EnsembleConfig, origins: dict[str, Origin]) -> dict[str, Path]:
    return weights_by_hash(settings.encoder_weights, by_weights(found.encoder for found in origins.values()))


def check_unchanged(trained: TrainConfig, candidate: Candidate, parts: tuple[list[Patient], list[Patient]]) -> None:
    """Refuse tiles, features or outcomes that are no longer those of a resolution's candidates.

    Raises:
        InputError: they were made again since, by another encoder or of other tiles, or the tables have changed.
    """
    for role, patients in zip(DEVELOPMENT_ROLES, parts, strict=True):
        if cohort_facts(patients).sha256 != candidate.cohorts[role].sha256:
            what = "features" if data_at(trained, candidate.resolution).source == "features" else "tiles"
            raise InputError(
                f"{trained.data.features or trained.data.cohort}: {what} or patients of {role} at"
                f" {candidate.resolution} are not those of the candidates' training any more, or their outcomes have"
                " changed: put back what was there, or train again on what is there"
            )


def add_encoders(
    settings: EnsembleConfig, origins: dict[str, Origin], manifest: Manifest, files: dict[str, Path | str]
) -> Manifest:
    """Add the encoders to what is locked.

    Args:
        settings: of the choice; its weights files are copied into the bundle.
        origins: of `origins_of`.
        manifest: of the bundle to be.
        files: of the bundle to be; weights are added.

    Returns:
        The manifest with the encoders' records.
    """
    if not origins:
        return manifest
    given = _given(settings, origins)
    records = {}
    for resolution, found in origins.items():
        records[resolution] = found.encoder
        digest = found.encoder.weights_sha256
        if digest in given:
            if found.encoder.encoder in RECIPES:
                warn(
                    f"the bundle holds the weights of {found.encoder.encoder}, licence"
                    f" {RECIPES[found.encoder.encoder].licence}: pass it on only where that allows it"
                )
            file = f"encoders/{digest[:12]}.safetensors"
            records[resolution] = replace(found.encoder, file=file)
            files[file] = given[digest]
    return replace(manifest, encoders=records)
