"""What the bundle keeps of the slides it learned from: the reference of their quality, and what they are of."""

from dataclasses import replace
from pathlib import Path

from pathoprog.cohort_tables.cohort import SITE_COLUMNS, read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.manifest import Manifest
from pathoprog.quality.checks import FILE, quality_file
from pathoprog.quality.reference import LEAST_SLIDES, Measured, fit_reference
from pathoprog.scoring.eligibility import made_for
from pathoprog.system.console import say
from pathoprog.system.files import canonical_json
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data import feature_store, tile_store
from pathoprog.training.data.by_resolution import data_of_each_source


def add_quality(
    settings: EnsembleConfig, trained: TrainConfig, manifest: Manifest, files: dict[str, Path | str]
) -> Manifest:
    """Add `made_for` to the manifest and quality.json to the files, from the training and tuning slides.

    Args:
        settings: of the choice.
        trained: settings of the training: its cohort and its tiles or features, where the slides' quality is kept.
        manifest: of the bundle to be.
        files: of the bundle to be.

    Returns:
        The manifest with `made_for`.
    """
    cohort = read_cohort(trained.data.cohort, trained.data.overlap)
    rows = cohort[cohort["role"].isin(DEVELOPMENT_ROLES)].to_dict("records")
    traits = {trait: tuple(values) for trait, values in made_for(settings.made_for, rows).items()}
    measured = []
    first = data_of_each_source(trained)[0]
    store = feature_store if first.source == "features" else tile_store
    for row in rows:
        found = store.read_look(str(row["slide_id"]), first)
        if found is not None:
            site = " / ".join(str(row[name]) for name in SITE_COLUMNS if row[name])
            measured.append(Measured(found[0], site, found[1] / 1e6))
    reference, limits = fit_reference(measured)
    files[FILE] = canonical_json(quality_file(limits, reference, trained.data.tumour_policy))
    if reference is None:
        say(
            f"    no reference of the training slides' colour and sharpness: {len(measured)} of {len(rows)} slides "
            f"were measured when their tiles were read, {LEAST_SLIDES} are needed; results will say so"
        )
    else:
        warn, fail = limits["distance"]
        say(
            f"    colour and sharpness of {reference.n_slides} slides of {reference.n_sites} sites: a slide warns from "
            f"{warn:.1f} SD and fails from {fail:.1f}"
        )
    return replace(manifest, made_for=traits)
