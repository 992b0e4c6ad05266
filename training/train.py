"""`pathoprog train`: one candidate member, from tiles to its best checkpoints, on one device or several (`fit.gpus`).

As `python -m pathoprog.training.train SETTINGS.json` it is what `train_ensemble` starts for each candidate.
"""

import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.command_line.config_file import CONFIG, config_text
from pathoprog.errors import ConfigError, DivergedError, InputError, PathoprogError, SlideError
from pathoprog.networks.augmentation import cropped_px
from pathoprog.networks.config import LOSSES, NO_ENCODER, FeatureEncoderSettings
from pathoprog.networks.encoders import try_encoder
from pathoprog.networks.member import check_normalisation
from pathoprog.networks.published.encoder_recipes import as_shown, unlike_training
from pathoprog.networks.recomputing import check_blocks
from pathoprog.stream.requests import TileRequests
from pathoprog.system.console import progress, say, warn
from pathoprog.system.files import canonical_json, read_json, write_text
from pathoprog.system.machine.cores import cores
from pathoprog.system.records import plain
from pathoprog.system.tracking_config import check_tracking
from pathoprog.training.config import CandidateSettings, TrainConfig
from pathoprog.training.data.bags import Patient, make_ready
from pathoprog.training.data.by_resolution import at, check_each, data_of_each_source, own
from pathoprog.training.data.checks import check_comparable, check_share, check_tables
from pathoprog.training.data.disk_space import make_out
from pathoprog.training.data.learners import facts_of_parts, judge_of, read_parts, watch_of
from pathoprog.training.data.left_out import LEFT_OUT, LeftOut, joined, said, some_failed, write_left_out
from pathoprog.training.data.slide_source import REMEDY, settle
from pathoprog.training.data.tile_store import specs as tile_specs
from pathoprog.training.estimate.estimate import check_estimate
from pathoprog.training.held_folder import holds_its_folder
from pathoprog.training.launchers import LocalEngine, local_devices, settle_devices
from pathoprog.training.member.candidate import Candidate, read_candidate, write_candidate
from pathoprog.training.member.device_group import ALONE, DeviceGroup
from pathoprog.training.member.device_processes import ProcessDiedError, train_together
from pathoprog.training.member.finetune import adopt, parent_of
from pathoprog.training.member.fit import fingerprint, fit
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.learning_curve import log_candidate
from pathoprog.training.member.metrics import add_metrics, read_metrics
from pathoprog.training.member.run_folder import begin, check_folder, is_done, mark_of, recipe, write_failure
from pathoprog.training.tracking import Tracking

PROGRESS = "progress.json"


def run(settings: TrainConfig) -> int:
    """Train, and print where the candidate lies; 1 if slides that failed were left out."""
    candidate = train_candidate(settings)
    best = candidate.best[0]
    say(f"  {settings.out}: best on tuning c {best.c_index:.3f} at step {best.step} ({best.file})")
    return 1 if some_failed(Path(settings.out)) else 0


@holds_its_folder("train")
def train_candidate(settings: TrainConfig) -> Candidate:
    """Check, cut missing tiles, train and track one candidate: the command's work, and `training.api`'s.

    Raises:
        PathoprogError: see `train`; settings that do not fit together or to the data.
    """
    as_given = config_text("train", settings)
    if settings.resolution not in settings.data.resolutions:
        raise ConfigError(
            f"resolution={settings.resolution}: data.resolutions={','.join(settings.data.resolutions)} has it not; give"
            f" data.resolutions=[{settings.resolution}], or both resolutions of the ensemble"
        )
    check_each(settings)
    settings = at(settings, settings.resolution)
    settle(settings)
    settle_devices(settings)
    adopt(settings)
    check_fit(settings)
    check_network(settings)
    check_folder(settings)
    check_tracking(settings.track)
    rows = check_tables(settings)
    tracking = Tracking(settings.track)
    tracking.private = ids_of(rows)
    devices = local_devices(settings.device, 1, settings.fit.threads, settings.fit.gpus)
    check_estimate(settings, [settings], lambda: nullcontext(LocalEngine(devices)), rows)
    prepare_data(settings, rows)
    name, out = f"{settings.resolution} seed {settings.seed}", Path(settings.out)
    write_text(out / CONFIG, as_given)
    run_id = tracking.start(name, settings, folder=out, mark=fingerprint(settings))
    sent = 0
    with progress(f"{settings.resolution} seed {settings.seed}", settings.fit.steps, "steps") as counter:

        def tick(done: int) -> None:
            nonlocal sent
            counter.advance(done - counter.done)
            lines = read_metrics(out)
            tracking.metrics(run_id, lines[sent:])
            sent = len(lines)

        with tracking.until_end(run_id):
            try:
                candidate = train(settings, tick)
            finally:
                log_candidate(tracking, run_id, read_metrics(out), out)
            tracking.datasets(run_id, plain(candidate.cohorts))
    if candidate.stopped is not None:
        say(f"    {stopped_early(candidate.stopped, settings.fit.steps, settings.fit.patience)}")
    return candidate


def stopped_early(step: int, steps: int, patience: int) -> str:
    """That training ended before its last step, in words."""
    return f"stopped early at step {step} of {steps}: c on tuning had not risen for {patience} evaluations"


def prepare_data(settings: CandidateSettings, rows: pd.DataFrame) -> None:
    """Cut missing tiles, lay grids or look for features; say and list (`LEFT_OUT`) what training goes without.

    Raises:
        InputError: more than `data.max_missing` of the slides; or the run's folder cannot be written to.
    """
    found = dict[str, LeftOut]()
    for data in data_of_each_source(settings):
        dims = {name: own(settings, name).get("feature_dim", settings.network.feature_dim) for name in data.resolutions}
        found = joined(found, make_ready(rows, data, settings.force, dims))
    check_share(len(found), len(rows), settings.data.max_missing, said(found, len(rows)))
    make_out(Path(settings.out))
    write_left_out(Path(settings.out), rows, found)
    if found:
        warn(f"{said(found, len(rows))}; training goes on without them: {Path(settings.out) / LEFT_OUT}")


def ids_of(rows: pd.DataFrame) -> set[str]:
    """Ids of patients and slides, which never leave with a log."""
    return {str(value) for name in ("patient_id", "slide_id") for value in rows[name]}


def train(settings: TrainConfig, tick: Any) -> Candidate:
    """Train one candidate; what it is goes to ``candidate.json`` in its folder, and is returned.

    A folder whose candidate is done with the same settings is left as it is.

    Raises:
        InputError: the folder holds a run of other settings or data; no outcome can be learned, or judged by.
        DivergedError: a loss or a risk that is not finite.
        InputError: a slide whose tiles cannot be read on the way, where they come from slides.
        ProcessDiedError: one of the processes of several devices died.
    """
    if settings.fit.gpus > 1:
        train_together(settings, tick)
        return read_candidate(Path(settings.out))
    return train_in_group(settings, tick, ALONE)


def train_in_group(settings: TrainConfig, tick: Any, group: DeviceGroup) -> Candidate:
    """`train` in one of the processes that train a candidate together, of which the first alone writes."""
    stream = settings.data.stream
    if group.share.of > 1:  # the readers are the candidate's
        stream = replace(stream, workers=max(1, (stream.workers or cores()) // group.share.of))
    with TileRequests(stream) as requests:  # readers start when tiles of slides are first asked for
        try:
            return _train(settings, tick, requests, group)
        except SlideError as error:
            raise InputError(f"{error}; training has stopped: {REMEDY}") from error


def _train(settings: TrainConfig, tick: Any, requests: TileRequests, group: DeviceGroup) -> Candidate:
    out = Path(settings.out)
    training, tuning = read_parts(settings, requests)
    cohorts = facts_of_parts(settings, training, tuning)
    learned = check_parts(settings, training, tuning)
    if is_done(settings, cohorts):
        tick(settings.fit.steps)
        return read_candidate(out)
    if group.is_first:
        begin(settings, cohorts)

    def log(line: dict[str, Any]) -> None:
        if group.is_first:
            add_metrics(out, {**line, "time": time.time()})

    try:
        with group:  # the others wait here until the folder is this run's
            judged, watched = judge_of(settings, tuning, group), watch_of(settings, learned, group)
            best, ended = fit(settings, learned, judged, log, tick, group, watched)
    except DivergedError as error:
        if group.is_first:
            write_failure(settings, str(error))
        raise
    candidate = Candidate(
        fingerprint=mark_of(settings, cohorts),
        recipe=recipe(settings),
        steps=settings.fit.steps,
        resolution=settings.resolution,
        seed=settings.seed,
        best=tuple(best),
        n_training=len(learned),
        cohorts=cohorts,
        parent=parent_of(settings),
        stopped=ended if ended < settings.fit.steps else None,
        folder=out,
    )
    if group.is_first:
        write_candidate(candidate)
    return candidate


def check_network(settings: CandidateSettings) -> None:
    """Refuse a network that does not take what training reads, before any work.

    Raises:
        ConfigError: names the keys.
    """
    features = settings.data.source == "features"
    if features != (settings.network.encoder == NO_ENCODER):
        raise ConfigError(
            f"data.source={settings.data.source} with network.encoder={settings.network.encoder}: stored features need"
            f" network.encoder={NO_ENCODER}, tiles need an encoder"
        )
    check_normalisation(settings.network.encoder)
    shown = as_shown(FeatureEncoderSettings(settings.network.encoder))
    specs = tile_specs(settings.data)
    for spec in specs:  # as they are: training scales no tiles
        key = f"data.tiles_{spec.resolution}"
        for unlike in unlike_training(replace(shown, input_px=0), spec.size_px, spec.mpp, key):
            warn(unlike)
    sides = {spec.size_px for spec in specs}
    for size_px in sorted(sides | {cropped_px(side, settings.augment) for side in sides}):
        try_encoder(settings.network, size_px, training=True)
    if settings.fit.checkpoint_activations:
        check_blocks(settings.network, "fit.checkpoint_activations")


def check_parts(settings: TrainConfig, learning: list[Patient], judging: list[Patient]) -> list[Patient]:
    """Those that the loss can use, of the patients that have tiles.

    Raises:
        InputError: nothing can be learned from them, or judged by the others.
    """
    if not settings.split.folds:
        times, events = ([getattr(patient, name) for patient in judging] for name in ("followup_days", "event"))
        check_comparable(np.array(times, float), np.array(events, int))
    return learnable(learning, settings.fit.loss)


def learnable(patients: list[Patient], loss: str) -> list[Patient]:
    """Patients that the loss can use: for cross-entropy those with a distinct outcome.

    Raises:
        InputError: one of the two classes, or every event, is missing.
    """
    if LOSSES[loss].distinct_only:
        kept = [patient for patient in patients if patient.label]
        if len(kept) < len(patients):
            say(
                f"    {len(patients) - len(kept)} training patients have no distinct outcome: left out of cross-entropy"
            )
        if {patient.label for patient in kept} != {"good", "poor"}:
            raise InputError("training needs patients with good and with poor distinct outcome; see labels.*")
        return kept
    if not any(patient.event for patient in patients):
        raise InputError("no training patient has the event")
    return patients


def settings_from_dict(values: dict[str, Any]) -> TrainConfig:
    """Settings as `as_dict` wrote them."""
    from dataclasses import fields, is_dataclass

    def build(cls: Any, given: dict[str, Any]) -> Any:
        parts = {}
        for field in fields(cls):
            if field.name not in given:  # a setting that is younger than the file
                continue
            value = given[field.name]
            parts[field.name] = build(field.type, value) if is_dataclass(field.type) else value
        return cls(**parts)

    settings = build(TrainConfig, values)
    assert isinstance(settings, TrainConfig)
    return settings


def main(path: str) -> int:
    """Train the candidate that a settings file describes, writing its step to ``progress.json``."""
    settings = settings_from_dict(read_json(path))
    out = Path(settings.out)

    def tick(done: int) -> None:
        write_text(out / PROGRESS, canonical_json({"step": done})) if done % settings.fit.log_every == 0 else None

    try:
        train(settings, tick)
    except PathoprogError as error:
        print(f"{out.name}: {error}", file=sys.stderr, flush=True)
        return 1 if isinstance(error, ProcessDiedError) else 2  # 2: starting again would change nothing
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
