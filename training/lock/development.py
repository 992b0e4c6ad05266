"""What a bundle keeps of the slides that it was developed on: the hashes of their content, and those of its parents."""

from pathlib import Path
from typing import Any

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.cohort_tables.same_scan import FILE, development_file, development_set, read_development
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import InputError
from pathoprog.networks.features import read_facts
from pathoprog.slides.resolutions import in_order
from pathoprog.system.console import say, warn
from pathoprog.system.files import read_json
from pathoprog.text.wording import count
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data import feature_store, tile_store
from pathoprog.training.data.by_resolution import data_at
from pathoprog.training.lock.other_features import content_in
from pathoprog.training.tumour.segment import RECORD

TUMOUR_SLIDES = "development_slides"
"""In the record of a tumour network."""


def add_development(settings: EnsembleConfig, trained: TrainConfig, files: dict[str, Path | str]) -> None:
    """Add the file of `cohort_tables.same_scan` to what is locked: of all training and tuning slides of the cohort.

    Args:
        settings: of the choice; its tumour network's slides are added.
        trained: settings of the training; the slides of the ensemble that it started from are added.
        files: of the bundle to be.

    Raises:
        InputError: the ensemble that training started from is gone.
    """
    cohort = read_cohort(trained.data.cohort, trained.data.overlap)
    sets: list[dict[str, Any]] = []
    unknown = 0
    for role in DEVELOPMENT_ROLES:
        names = [str(name) for name in cohort.loc[cohort["role"] == role, "slide_id"]]
        hashes = [content_of(name, trained) for name in names]
        sets.append(development_set((digest for digest in hashes if digest), role))
        unknown += sum(not digest for digest in hashes)
    if trained.start.bundle:
        if not Path(trained.start.bundle).is_dir():
            raise InputError(
                f"{trained.start.bundle}: the ensemble that training started from is gone, and with it the hashes of "
                "its development slides; put it back"
            )
        parent = read_development(trained.start.bundle)
        if parent is None:
            warn(f"ensemble {ensemble_id(trained.start.bundle)[:12]} keeps no hashes of the slides it was developed on")
            unknown += 1
        else:
            sets += parent["sets"]
            unknown += int(parent["unknown"])
    if settings.tumour:
        record = read_json(Path(settings.tumour) / RECORD)
        if TUMOUR_SLIDES in record:
            sets.append(record[TUMOUR_SLIDES])
        else:
            unknown += 1
    files[FILE] = development_file(sets, unknown)
    say(f"    {count(sum(len(one['sha256']) for one in sets), 'development slide')} kept by the hash of the content")
    if unknown:
        warn(f"{count(unknown, 'development slide')} without a known hash of the content cannot be found again")


def content_of(slide_id: str, trained: TrainConfig) -> str:
    """Hash of a slide's content, as it was when its tiles or features were made; empty where that is not known."""
    of_features = all(data_at(trained, name).source == "features" for name in trained.data.resolutions)
    if of_features and (found := content_in(slide_id, trained)):
        return found
    for resolution in in_order(trained.data.resolutions):
        data = data_at(trained, resolution)
        if data.source == "features":
            path = feature_store.feature_path(data, resolution, slide_id)
            whole = path.is_file() and not feature_store.fault(path)
            found = str(read_facts(path).get("slide_sha256", "")) if whole else ""
        else:
            found = tile_store.content_of(slide_id, data, resolution)
        if found:
            return found
    return ""
