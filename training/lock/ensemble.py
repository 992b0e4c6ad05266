"""`pathoprog ensemble`: rank the candidates on tuning, take the best of each resolution, fix the thresholds, lock.

Only one checkpoint per run may be chosen: two of one run are nearly the same network. Candidates are ranked by what
training said of them (`fit.evaluate_tiles`); all that is locked rests on tuning as slides are scored (`tuning_scores`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.ensemble.bundle import lock
from pathoprog.ensemble.choice import Choice, choose_members
from pathoprog.ensemble.manifest import (
    Manifest,
    MemberRecord,
    Normalisation,
    ParentRecord,
    ShapeRecord,
    ThresholdRecord,
)
from pathoprog.ensemble.shape import Shape
from pathoprog.ensemble.thresholds import Threshold, fit_threshold
from pathoprog.ensemble.tuning_basis import basis_line
from pathoprog.errors import CohortError, InputError
from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD
from pathoprog.networks.encoder_records import encoder_lines
from pathoprog.networks.foreign.maker import maker_lines
from pathoprog.quality.checks import FILE as QUALITY_FILE
from pathoprog.quality.checks import rules_of
from pathoprog.quality.config import QualitySettings
from pathoprog.scoring.patients import PatientScore, patient_row
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import in_order
from pathoprog.survival import harrell_c
from pathoprog.system.console import say
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import read_json, write_text
from pathoprog.system.records import plain, record_of
from pathoprog.system.revision import code_version
from pathoprog.system.tracking_config import check_tracking
from pathoprog.tiles.config import PREPROCESSING_VERSION
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.by_resolution import at
from pathoprog.training.data.learners import read_parts, who_was_used
from pathoprog.training.data.tile_store import specs
from pathoprog.training.held_folder import held_to_read, place_held
from pathoprog.training.lock import choice_figure
from pathoprog.training.lock.covariates import add_covariates, check_early
from pathoprog.training.lock.development import add_development
from pathoprog.training.lock.encoder import add_encoders, check_unchanged, origins_of
from pathoprog.training.lock.model_card import judged_on, left_out_line, model_card
from pathoprog.training.lock.other_features import add_other_features, makers_of
from pathoprog.training.lock.quality_reference import add_quality
from pathoprog.training.lock.tumour import add_tumour
from pathoprog.training.lock.tuning_scores import TuningScores, score_tuning
from pathoprog.training.member.candidate import ENSEMBLE_RUN, Candidate, read_candidate
from pathoprog.training.member.run_folder import as_trained, check_same
from pathoprog.training.search.trials import looked_at_line, no_candidates, trials_looked_at
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import settings_from_dict


@dataclass(frozen=True)
class LockedCandidates:
    """What was locked, from which choice.

    Attributes:
        ensemble_id: SHA-256 of the manifest.
        manifest: of the bundle.
        table: of `choice_table`, all resolutions.
        drawn: of each resolution: scores and events of tuning, c of the members together, the threshold.
        shares: of each class on tuning.
        figures: of the choice.
    """

    ensemble_id: str
    manifest: Manifest
    table: list[dict[str, Any]]
    drawn: dict[str, choice_figure.ResolutionChoice]
    shares: dict[str, float]
    figures: list[Path]


def run(settings: EnsembleConfig) -> int:
    """Choose, fix, lock, and print what was chosen."""
    check_tracking(settings.track)
    lock_candidates(settings, *read_training(settings.candidates))
    return 0


def read_training(candidates: str | Path) -> tuple[TrainConfig, list[Candidate], str]:
    """What `pathoprog train_ensemble` left: the settings of the training, its candidates, its run's id.

    Raises:
        InputError: it is not finished.
    """
    folder = Path(candidates)
    if not (folder / ENSEMBLE_RUN).is_file():
        raise InputError(f"{folder}: {no_candidates(folder)}")
    record = read_json(folder / ENSEMBLE_RUN)
    found = [read_candidate(folder / name) for name in record["candidates"]]
    return settings_from_dict(record["settings"]), found, str(record["run_id"])


def lock_candidates(
    settings: EnsembleConfig, trained: TrainConfig, candidates: list[Candidate], run_id: str
) -> LockedCandidates:
    """Choose among candidates, fix the thresholds, lock: the command's work, and `training.api`'s.

    Args:
        settings: of the choice; by its `candidates` alone a sweep is found, whose trials are counted.
        trained: settings of the candidates' training.
        candidates: of all resolutions.
        run_id: MLflow's, of the training; empty: a run of its own.

    Raises:
        PathoprogError: candidates of different recipes or data, too few of them, or nothing that a threshold could be
            fixed on; the output folder holds another bundle; another process is at work in either folder.
    """
    with held_to_read(settings.candidates, "ensemble"), place_held(settings.out, "ensemble"):
        found = as_trained(trained, candidates[0].folder) if candidates else trained
        return _locked(settings, found, candidates, run_id)


def _locked(
    settings: EnsembleConfig, trained: TrainConfig, candidates: list[Candidate], run_id: str
) -> LockedCandidates:
    check_early(settings, trained)
    makers = makers_of(settings, trained)
    origins = {} if makers else origins_of(settings, trained)
    check_same(candidates)
    resolutions = in_order(trained.data.resolutions)
    choices = {name: choose_members(candidates, name, settings.members) for name in resolutions}
    members = {resolution: choice.members for resolution, choice in choices.items()}
    every = list[list[Patient]]()
    for resolution in resolutions:
        parts = read_parts(at(trained, resolution))
        check_unchanged(trained, members[resolution][0], parts)
        check_judged(members[resolution][0], parts[1])
        every += parts
    used = who_was_used(trained, every)
    files: dict[str, Path | str] = {}
    manifest = before_tuning(settings, trained, candidates[0])
    if looked_at := trials_looked_at(Path(settings.candidates), trained.looked_at):
        manifest = replace(manifest, training={**(manifest.training or {}), "looked_at": looked_at})
        say(f"    {looked_at_line(looked_at)}")
    if any(left for left, _ in used.left_out.values()):
        left_out = {role: left for role, (left, _) in used.left_out.items()}
        manifest = replace(manifest, training={**(manifest.training or {}), "slides_left_out": left_out})
        say(f"    {left_out_line(used)}")
    manifest = add_other_features(makers, add_encoders(settings, origins, manifest, files))
    manifest = add_tumour(settings, manifest, files)
    manifest = add_quality(settings, trained, manifest, files)
    rules = rules_of(json.loads(str(files[QUALITY_FILE])), QualitySettings(), manifest.tumour_policy)
    tuning = score_tuning(settings, trained, members, manifest, rules)
    times, events, cohorts = outcomes_of(tuning.scored, trained)
    thresholds, drawn, table = (
        dict[str, Threshold](),
        dict[str, choice_figure.ResolutionChoice](),
        list[dict[str, Any]](),
    )
    for resolution in resolutions:
        scores = np.array([patient.scores[resolution] for patient in tuning.scored])
        cut = fit_threshold(scores, times, events, cohorts, settings.min_share, settings.bootstrap, settings.seed)
        thresholds[resolution] = cut
        drawn[resolution] = choice_figure.ResolutionChoice(scores, events, harrell_c(times, events, scores), cut)
        table += choice_table(choices[resolution], tuning, times, events)
        report(choices[resolution], drawn[resolution])
    tuning.classify({name: cut.value for name, cut in thresholds.items()})
    shares = class_shares(tuning.scored, manifest.shape)
    say("    classes on tuning (selected on outcome): " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
    manifest = add_members(members, manifest, files, tuning, thresholds, table)
    manifest = add_covariates(settings, trained, manifest, tuning, (times, events, cohorts))
    say(f"    {basis_line(manifest)}")
    add_development(settings, trained, files)
    files["model_card.md"] = model_card(settings, trained, manifest, shares, used)
    ensemble = lock(settings.out, manifest, files)
    say(f"    locked {settings.out}: ensemble {ensemble[:16]}")
    if manifest.shape.caution:
        say(f"    {manifest.shape.caution}")
    for line in (*encoder_lines(manifest.encoders), *maker_lines(manifest.other_features)):
        say(f"    {line}")
    # beside the bundle: a figure's bytes follow from fonts and versions, an ensemble's id must not
    figures = choice_figure.draw_choice(table, drawn, f"{settings.out}.choice", judged_on(manifest))
    say(f"    the choice: {figures[0]}")
    write_patients(settings, tuning, manifest)
    track(settings, run_id, ensemble, figures, drawn, shares)
    return LockedCandidates(ensemble, manifest, table, drawn, shares, figures)


def track(
    settings: EnsembleConfig,
    run_id: str,
    ensemble: str,
    figures: list[Path],
    drawn: dict[str, choice_figure.ResolutionChoice],
    shares: dict[str, float],
) -> None:
    """Log the choice to the run of the training, or one of its own, and register the bundle."""
    tracking = Tracking(settings.track)
    own = not tracking.knows(run_id)
    run_id = tracking.start(f"ensemble {settings.name}", settings, kind="ensemble") if own else run_id
    for path in figures:
        tracking.file(run_id, path, "figures")
    line: dict[str, Any] = {"step": 0} | {f"tuning_share_{name}": share for name, share in shares.items()}
    for resolution, found in drawn.items():
        line |= {
            f"ensemble_tuning_c_{resolution}": found.together.value,
            f"ensemble_tuning_c_lower_{resolution}": found.together.lower,
            f"ensemble_tuning_c_upper_{resolution}": found.together.upper,
            f"threshold_{resolution}": found.cut.value,
        }
    tracking.metrics(run_id, [line])
    tracking.tag(run_id, ensemble_id=ensemble)
    place = f"bundle-{ensemble[:12]}"  # several bundles may come from one training
    tracking.folder(run_id, Path(settings.out), place)
    if version := tracking.register(settings.name, run_id, place, ensemble):
        say(f"    MLflow: registered as {version}; `pathoprog promote {settings.out}` makes it the champion")
    if own:
        tracking.end(run_id)


def check_judged(chosen: Candidate, tuning: list[Patient]) -> None:
    """Refuse a cohort that has lost patients since the candidates were judged on them.

    Raises:
        InputError: names how many.
    """
    there = {patient.patient_id for patient in tuning}
    if missing := [name for name in chosen.verdict.patient_ids if name not in there]:
        raise InputError(
            f"{len(missing)} tuning patients of the candidates are gone from the cohort, first {missing[0]}"
        )


def outcomes_of(patients: list[PatientScore], trained: TrainConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow-up in days, event and cohort of the tuning patients, in their order.

    Raises:
        CohortError: no outcome for a patient.
    """
    data = trained.data
    outcomes = {str(row["patient_id"]): row for row in read_outcomes(data.outcomes).to_dict("records")}
    missing = [patient.patient_id for patient in patients if patient.patient_id not in outcomes]
    if missing:
        raise CohortError(f"{data.outcomes}: no outcome for {len(missing)} tuning patients, first {missing[:3]}")
    rows = read_cohort(data.cohort, data.overlap).drop_duplicates(["patient_id", "role"])
    cohorts = dict(zip(zip(rows["patient_id"], rows["role"], strict=True), rows["cohort"], strict=True))
    found = [outcomes[patient.patient_id] for patient in patients]
    return (
        np.array([float(row["followup_days"]) for row in found]),
        np.array([int(row["event"] == 1) for row in found]),
        np.array([str(cohorts[patient.patient_id, patient.role]) for patient in patients]),
    )


def choice_table(
    choice: Choice[Candidate], tuning: TuningScores, times: np.ndarray, events: np.ndarray
) -> list[dict[str, Any]]:
    """One row per candidate: rank, seed, best step, c on tuning with its 95% interval, chosen or not.

    `tuning_c` ranks: by what training judged (`fit.evaluate_tiles`). `scored_c` is that of the chosen ones' scores as
    slides are scored; empty for the others, whom nobody has score so many tiles.
    """
    rows = []
    for number, candidate in enumerate(choice.ranked):
        verdict = candidate.verdict
        row = {
            "resolution": candidate.resolution,
            "rank": number + 1,
            "candidate": candidate.name,
            "seed": candidate.seed,
            "step": candidate.best[0].step,
            "tuning_c": candidate.tuning_c,
            "tuning_c_lower": verdict.c_lower,
            "tuning_c_upper": verdict.c_upper,
            "scored_c": "",
            "scored_c_lower": "",
            "scored_c_upper": "",
            "chosen": candidate in choice.members,
        }
        if row["chosen"]:
            scores = np.array([patient.members[candidate.resolution][candidate.name] for patient in tuning.scored])
            c = harrell_c(times, events, scores)
            row |= {"scored_c": c.value, "scored_c_lower": c.lower, "scored_c_upper": c.upper}
        rows.append(row)
    return rows


def report(choice: Choice[Candidate], drawn: choice_figure.ResolutionChoice) -> None:
    """Print the choice of one resolution."""
    resolution, cut, c = choice.ranked[0].resolution, drawn.cut, drawn.together
    found = ", ".join(f"{candidate.tuning_c:.3f}" for candidate in choice.ranked)
    together = f"{c.value:.3f} (95% CI {c.lower:.3f} to {c.upper:.3f})"
    say(f"    {resolution}: c on tuning {found}; the best {len(choice.members)} together, as scored, {together}")
    say(f"    {resolution}: threshold {cut.value:.4f} (95% bootstrap {cut.lower:.4f} to {cut.upper:.4f})")


def class_shares(patients: list[PatientScore], shape: Shape) -> dict[str, float]:
    """Share of each class among the tuning patients that have one."""
    classes = [patient.risk_class for patient in patients]
    return {name: classes.count(name) / max(1, len(classes)) for name in shape.classes}


def before_tuning(settings: EnsembleConfig, trained: TrainConfig, candidate: Candidate) -> Manifest:
    """What is known of the bundle before tuning is scored; members and thresholds follow from it (`add_members`).

    No time, host or path is in it: equal work gives an equal ensemble.

    Args:
        settings: of the choice.
        trained: settings of the candidates' training.
        candidate: any of them: all are of the same cohorts.
    """
    training = as_dict(trained)
    parent = candidate.parent
    shape = Shape(dict.fromkeys(in_order(trained.data.resolutions), settings.members))
    return Manifest(
        name=settings.name,
        research_use_only=RESEARCH_USE_ONLY,
        intended_use=settings.intended_use,
        members=(),
        thresholds={},
        other_shape=None if shape.is_methods else ShapeRecord(members=shape.members, caution=shape.caution),
        tile_specs={spec.resolution: spec for spec in specs(trained.data)},
        normalisation=Normalisation(mean=NORMALISATION_MEAN, std=NORMALISATION_STD),
        preprocessing=PREPROCESSING_VERSION,
        aggregation=settings.aggregation,
        precision=settings.dtype,
        tumour_policy=trained.data.tumour_policy,
        cohorts=candidate.cohorts,
        training={key: training[key] for key in ("labels", "augment", "fit")},
        code_version=code_version(),
        parent=None if parent is None else ParentRecord(ensemble_id=parent.ensemble_id, name=parent.name),
        files={},
    )


def add_members(
    members: Mapping[str, Sequence[Candidate]],
    manifest: Manifest,
    files: dict[str, Path | str],
    tuning: TuningScores,
    thresholds: dict[str, Threshold],
    table: list[dict[str, Any]],
) -> Manifest:
    """Add what follows from tuning as scored: members with score maps and both c, thresholds, and what they rest on.

    Args:
        members: those chosen, by resolution.
        manifest: of the bundle to be.
        files: of the bundle to be; weights and choice.csv are added.
        tuning: as scored.
        thresholds: by resolution.
        table: of `choice_table`.

    Returns:
        The manifest with all of it.
    """
    scored = {row["candidate"]: row["scored_c"] for row in table}
    records = []
    for chosen in (one for found in members.values() for one in found):
        file = f"members/{chosen.name}.safetensors"
        files[file] = chosen.weights
        records.append(
            MemberRecord(
                name=chosen.name,
                resolution=chosen.resolution,
                file=file,
                sha256="",  # the lock's
                network=chosen.network,
                score_map=tuning.score_maps[chosen.name],
                seed=chosen.seed,
                step=chosen.best[0].step,
                tuning_c=chosen.tuning_c,
                scored_c=scored[chosen.name],
                parent_member=None if chosen.parent is None else chosen.parent.member,
            )
        )
    files["choice.csv"] = csv_text(table)
    cuts = {name: record_of(ThresholdRecord, plain(cut), name) for name, cut in thresholds.items()}
    return replace(manifest, members=tuple(records), thresholds=cuts, tuning_scores=tuning.basis)


def write_patients(settings: EnsembleConfig, tuning: TuningScores, manifest: Manifest) -> None:
    """Write the tuning patients as scoring would; beside the bundle, since patients' ids must not go along with it."""
    cuts, shape = manifest.cuts, manifest.shape
    rows = [
        patient_row(patient, cuts, shape=shape) for patient in sorted(tuning.patients, key=lambda one: one.patient_id)
    ]
    path = f"{settings.out}.tuning.csv"
    write_text(path, csv_text(rows))
    say(f"    tuning patients, as scored: {path}")
