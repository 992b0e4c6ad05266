"""`pathoprog score`: slides in, per slide and per patient a class out. Running it again goes on where it stopped."""

import tempfile
from dataclasses import replace
from pathlib import Path

from pathoprog.cohort_tables.cohort_files import paths_as_given
from pathoprog.ensemble.bundle import read_manifest
from pathoprog.ensemble.tuning_basis import locked_precision, older_lock
from pathoprog.errors import ConfigError
from pathoprog.inference.batch import ScoringBatch
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.engine.scoring_plan import make_plan
from pathoprog.inference.result_tables import Tables, not_taken_lines, summary, summary_text, write_tables
from pathoprog.inference.slides.given_covariates import with_covariates
from pathoprog.inference.slides.given_features import (
    feature_folders,
    scored_features,
    slides_of_features,
    with_features,
)
from pathoprog.inference.slides.given_outlines import with_corrections
from pathoprog.inference.slides.inputs import Found
from pathoprog.inference.slides.jobs import DONE, FAILED
from pathoprog.inference.slides.looks import Looker
from pathoprog.inference.slides.pseudonyms import KEY, MAP, with_pseudonyms
from pathoprog.system.console import say, warn
from pathoprog.system.files import json_text
from pathoprog.system.machine.device_choice import choose_device, scoring_precision, worker_devices
from pathoprog.text.wording import count

STOPPED = 143
"""Exit code after SIGTERM, as shells give it."""


def run(config: ScoreConfig) -> int:
    """Score the slides; returns 0 if each is scored or honestly not reportable, 1 if some failed."""
    found = read_slides(config)
    if not config.go_on:
        found.refuse()
    if config.ids == "pseudonym":
        found = with_pseudonyms(found, Path(config.ids_key or Path(config.out) / KEY), Path(config.out) / MAP)
    if not found.slides and not found.faults:
        raise ConfigError("no slide to score")
    device = choose_device(config.device)
    where = "Ray" if config.engine == "ray" else ", ".join(worker_devices(config.device, config.workers))
    manifest = read_manifest(config.ensemble)
    precision = scoring_precision(config.dtype, device, locked_precision(manifest))
    plan = make_plan(config, precision, device.partition(":")[0])
    if older := older_lock(manifest):
        warn(f"{config.ensemble}: {older}")
    named = with_covariates(found.slides, config, manifest.covariates)
    slides = with_corrections(named, config.corrected_outlines, plan.tumour_policy, config.slides)
    batch = ScoringBatch(config, replace(found, slides=slides), plan, device)
    standing = batch.look()
    done = sum(state in (DONE, FAILED) for state in standing.values())
    failed = sum(state == FAILED for state in standing.values())
    of_them = f" ({failed} of them failed; requeue=true tries them again)" if failed and not config.requeue else ""
    no_slides = f"; {len(batch.refused)} named and no slides" if batch.refused else ""
    say(
        f"{count(len(slides), 'slide')}: {done} done before and unchanged{of_them}, "
        f"{len(slides) - done} to score on {where}{no_slides}"
    )
    if config.dry_run:
        for slide in slides:
            if slide.slide_id not in standing:
                say(f"    {slide.slide_id}" if slide.given_id else f"    {slide.slide_id}  {slide.path}")
        for slide_id, reason in batch.refused.items():
            say(f"    {slide_id}  will fail: {reason}")
        for line in not_taken_lines(batch):
            say(line)
        return 0
    prepare_folder(batch)
    tables = Tables(batch.out)
    tables.remove()
    try:
        if not batch.score():
            say("stopped; what is done is kept, the same command goes on")
            return STOPPED
        values = summary(batch, write_tables(batch, tables))
        tables.write("summary.json", json_text(values))
    except (WriteError, OSError) as error:
        say(f"stopped: {error}")
        return 1
    say(summary_text(values, batch, tables))
    return 1 if tables.said or values["slides"]["failed"] else 0


def prepare_folder(batch: ScoringBatch) -> None:
    """See that results can be written, before hours are spent on them.

    Raises:
        ConfigError: not where `out` says.
    """
    folder = batch.slides_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"out={batch.out}: results cannot be written there ({error.strerror or error}); give out=… another folder, "
            "or make this one writable"
        ) from error


def read_slides(config: ScoreConfig) -> Found:
    """The slides that the call names, from its paths, its cohort or its features."""
    manifest = read_manifest(config.ensemble)
    makers = scored_features(config, manifest)
    folders = feature_folders(config, tuple(makers)) if makers else {}
    if makers and not config.cohort:
        return slides_of_features(folders)
    if bool(config.paths) == bool(config.cohort):
        raise ConfigError("give either slides=… (files, folders, globs, a .txt list) or cohort=…")
    with Looker(config.stream.timeout_s) as looker:
        if config.cohort:
            found = looker.cohort(config.cohort, config.overlap, list(config.roles), list(config.slides.roots))
            return with_features(found, folders, paths_as_given(config.cohort, config.overlap)) if makers else found
        return looker.find(config.paths, config.outlines, config.out, config.slides)
