"""The encoder's place in the bundle, where members learned from its features: a record, and its weights on request."""

from pathlib import Path
from typing import Any

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.errors import InputError
from pathoprog.networks.encoder_records import ENCODERS, weights_by_hash
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.feature_store import Origin, origin
from pathoprog.training.data.learners import cohort_facts


def origins_of(settings: EnsembleConfig, trained: TrainConfig) -> dict[str, Origin]:
    """What the candidates' features were made of, by resolution; nothing where candidates read tiles.

    The training's settings of tiles and tumour policy, which nothing read, become those of the features.

    Raises:
        ConfigError: weights were given that are none of theirs.
        InputError: features that do not say enough, or differ; see `pathoprog.training.data.feature_store.origin`.
    """
    origins: dict[str, Origin] = {}
    data = trained.data
    if data.source == "features":
        cohort = read_cohort(data.cohort, data.overlap)
        slide_ids = list(cohort.loc[cohort["role"].isin(DEVELOPMENT_ROLES), "slide_id"])
        origins = {resolution: origin(slide_ids, data, resolution) for resolution in RESOLUTIONS}
        if len({found.tumour_policy for found in origins.values()}) > 1:
            raise InputError(f"{data.features}: tiles of one resolution lie in outlines, of the other in tissue")
        data.tiles_10x, data.tiles_40x = (TileSpec(**origins[resolution].spec) for resolution in RESOLUTIONS)
        data.tumour_policy = origins["10x"].tumour_policy
    _given(settings, origins)
    return origins


def _given(settings: EnsembleConfig, origins: dict[str, Origin]) -> dict[str, Path]:
    records = [found.encoder for found in origins.values()]
    return weights_by_hash(settings.encoder_weights, {record["weights_sha256"]: record for record in records})


def check_unchanged(
    trained: TrainConfig, candidate: dict[str, Any], parts: tuple[list[Patient], list[Patient]]
) -> None:
    """Refuse tiles, features or outcomes that are no longer those of a resolution's candidates.

    Raises:
        InputError: they were made again since, by another encoder or of other tiles, or the tables have changed.
    """
    for role, patients in zip(DEVELOPMENT_ROLES, parts, strict=True):
        if cohort_facts(patients)["sha256"] != candidate["cohorts"][role]["sha256"]:
            what = "features" if trained.data.source == "features" else "tiles"
            raise InputError(
                f"{trained.data.features or trained.data.cohort}: {what} or patients of {role} at"
                f" {candidate['resolution']} are not those of the candidates' training any more, or their outcomes have"
                " changed: put back what was there, or train again on what is there"
            )


def add_encoders(
    settings: EnsembleConfig, origins: dict[str, Origin], manifest: dict[str, Any], files: dict[str, Path | str]
) -> None:
    """Add the encoders to what is locked.

    Args:
        settings: of the choice; its weights files are copied into the bundle.
        origins: of `origins_of`.
        manifest: of the bundle to be.
        files: of the bundle to be.
    """
    if not origins:
        return
    given = _given(settings, origins)
    manifest[ENCODERS] = {}
    for resolution, found in origins.items():
        record = manifest[ENCODERS][resolution] = dict(found.encoder)
        digest = record["weights_sha256"]
        if digest in given:
            record["file"] = f"encoders/{digest[:12]}.safetensors"
            files[record["file"]] = given[digest]
