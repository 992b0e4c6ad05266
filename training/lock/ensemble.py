"""`pathoprog ensemble`: rank the candidates on tuning, take five of each resolution, fix the thresholds, lock.

Only one checkpoint per run may be chosen: two of one run are nearly the same network. Candidates are ranked by what
training said of them (`fit.evaluate_tiles`); all that is locked rests on tuning as slides are scored (`tuning_scores`).
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.ensemble.bundle import MEMBERS_PER_RESOLUTION, lock
from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.ensemble.thresholds import Threshold, fit_threshold
from pathoprog.ensemble.tuning_basis import PRECISION, TUNING_SCORES, basis_line
from pathoprog.errors import CohortError, InputError
from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD
from pathoprog.networks.encoder_records import encoder_lines
from pathoprog.quality.checks import FILE as QUALITY_FILE
from pathoprog.quality.checks import rules_of
from pathoprog.quality.config import QualitySettings
from pathoprog.scoring.patients import PatientScore, patient_row
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.survival import harrell_c
from pathoprog.system.console import say
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import read_json, write_text
from pathoprog.system.revision import code_version
from pathoprog.system.tracking_config import check_tracking
from pathoprog.tiles.config import PREPROCESSING_VERSION
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.learners import read_parts
from pathoprog.training.lock import choice_figure
from pathoprog.training.lock.development import add_development
from pathoprog.training.lock.encoder import add_encoders, check_unchanged, origins_of
from pathoprog.training.lock.model_card import judged_on, model_card
from pathoprog.training.lock.quality_reference import add_quality
from pathoprog.training.lock.tumour import add_tumour
from pathoprog.training.lock.tuning_risks import Candidate
from pathoprog.training.lock.tuning_scores import TuningScores, score_tuning
from pathoprog.training.member.fit import CANDIDATE
from pathoprog.training.member.run_folder import check_same
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import settings_from_dict
from pathoprog.training.train_ensemble import ENSEMBLE_RUN


def run(settings: EnsembleConfig) -> int:
    """Choose, fix, lock, and print what was chosen."""
    check_tracking(settings.track)
    folder = Path(settings.candidates)
    if not (folder / ENSEMBLE_RUN).is_file():
        raise InputError(f"{folder}: no finished `pathoprog train_ensemble` there ({ENSEMBLE_RUN} is missing)")
    record = read_json(folder / ENSEMBLE_RUN)
    trained = settings_from_dict(record["settings"])
    origins = origins_of(settings, trained)
    candidates = [(folder / name, read_json(folder / name / CANDIDATE)) for name in record["candidates"]]
    check_same(candidates)
    members = dict[str, list[Candidate]]()
    ranked = dict[str, list[tuple[Path, dict[str, Any]]]]()
    for resolution in RESOLUTIONS:
        ranked[resolution] = rank(candidates, resolution)
        members[resolution] = [Candidate(*one) for one in ranked[resolution][:MEMBERS_PER_RESOLUTION]]
        trained.resolution = resolution
        parts = read_parts(trained)
        check_unchanged(trained, ranked[resolution][0][1], parts)
        check_judged(members[resolution][0], parts[1])
    manifest, files = contents(settings, trained, candidates[0][1], members)
    add_encoders(settings, origins, manifest, files)
    add_tumour(settings, manifest, files)
    add_quality(settings, trained, manifest, files)
    rules = rules_of(json.loads(str(files[QUALITY_FILE])), QualitySettings(), manifest["tumour_policy"])
    tuning = score_tuning(settings, trained, members, manifest, rules)
    times, events, cohorts = outcomes_of(tuning.scored, trained)
    thresholds, drawn, table = (
        dict[str, Threshold](),
        dict[str, choice_figure.ResolutionChoice](),
        list[dict[str, Any]](),
    )
    for resolution in RESOLUTIONS:
        scores = np.array([patient.scores[resolution] for patient in tuning.scored])
        cut = fit_threshold(scores, times, events, cohorts, settings.min_share, settings.bootstrap, settings.seed)
        thresholds[resolution] = cut
        drawn[resolution] = choice_figure.ResolutionChoice(scores, events, harrell_c(times, events, scores), cut)
        table += choice_table(ranked[resolution], tuning, times, events)
        report(ranked[resolution], drawn[resolution])
    tuning.classify({name: cut.value for name, cut in thresholds.items()})
    shares = class_shares(tuning.scored)
    say("    classes on tuning (selected on outcome): " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
    add_scores(settings, manifest, files, tuning, thresholds, table)
    say(f"    {basis_line(manifest)}")
    add_development(settings, trained, files)
    files["model_card.md"] = model_card(settings, trained, manifest, shares)
    ensemble = lock(settings.out, manifest, files)
    say(f"    locked {settings.out}: ensemble {ensemble[:16]}")
    for line in encoder_lines(manifest):
        say(f"    {line}")
    # beside the bundle: a figure's bytes follow from fonts and versions, an ensemble's id must not
    figures = choice_figure.draw_choice(table, drawn, f"{settings.out}.choice", judged_on(manifest))
    say(f"    the choice: {figures[0]}")
    write_patients(settings, tuning, thresholds)
    track(settings, record["run_id"], ensemble, figures, drawn, shares)
    return 0


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


def rank(candidates: list[tuple[Path, dict[str, Any]]], resolution: str) -> list[tuple[Path, dict[str, Any]]]:
    """Candidates of one resolution, the best c on tuning first; ties go to the smaller seed.

    Raises:
        InputError: fewer than five.
    """
    found = [item for item in candidates if item[1]["resolution"] == resolution]
    if len(found) < MEMBERS_PER_RESOLUTION:
        raise InputError(
            f"{len(found)} candidates at {resolution}, the ensemble needs {MEMBERS_PER_RESOLUTION};"
            f" train more (candidates={MEMBERS_PER_RESOLUTION} or more)"
        )
    return sorted(found, key=lambda item: (-item[1]["best"][0]["c_index"], item[1]["seed"]))


def check_judged(chosen: Candidate, tuning: list[Patient]) -> None:
    """Refuse a cohort that has lost patients since the candidates were judged on them.

    Raises:
        InputError: names how many.
    """
    verdict = read_json(chosen.weights.with_suffix(".json"))
    there = {patient.patient_id for patient in tuning}
    if missing := [name for name in verdict["patient_ids"] if name not in there]:
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
    ranked: list[tuple[Path, dict[str, Any]]], tuning: TuningScores, times: np.ndarray, events: np.ndarray
) -> list[dict[str, Any]]:
    """One row per candidate: rank, seed, best step, c on tuning with its 95% interval, chosen or not.

    `tuning_c` ranks: by what training judged (`fit.evaluate_tiles`). `scored_c` is that of the chosen ones' scores as
    slides are scored; empty for the others, whom nobody has score so many tiles.
    """
    rows = []
    for number, (folder, candidate) in enumerate(ranked):
        best, resolution = candidate["best"][0], candidate["resolution"]
        verdict = read_json(folder / best["file"].replace(".safetensors", ".json"))
        row = {
            "resolution": resolution,
            "rank": number + 1,
            "candidate": folder.name,
            "seed": candidate["seed"],
            "step": best["step"],
            "tuning_c": best["c_index"],
            "tuning_c_lower": verdict["c_lower"],
            "tuning_c_upper": verdict["c_upper"],
            "scored_c": "",
            "scored_c_lower": "",
            "scored_c_upper": "",
            "chosen": number < MEMBERS_PER_RESOLUTION,
        }
        if row["chosen"]:
            scores = np.array([patient.members[resolution][folder.name] for patient in tuning.scored])
            c = harrell_c(times, events, scores)
            row |= {"scored_c": c.value, "scored_c_lower": c.lower, "scored_c_upper": c.upper}
        rows.append(row)
    return rows


def report(ranked: list[tuple[Path, dict[str, Any]]], drawn: choice_figure.ResolutionChoice) -> None:
    """Print the choice of one resolution."""
    resolution, cut, c = ranked[0][1]["resolution"], drawn.cut, drawn.together
    found = ", ".join(f"{candidate['best'][0]['c_index']:.3f}" for _, candidate in ranked)
    together = f"{c.value:.3f} (95% CI {c.lower:.3f} to {c.upper:.3f})"
    say(f"    {resolution}: c on tuning {found}; the best {MEMBERS_PER_RESOLUTION} together, as scored, {together}")
    say(f"    {resolution}: threshold {cut.value:.4f} (95% bootstrap {cut.lower:.4f} to {cut.upper:.4f})")


def class_shares(patients: list[PatientScore]) -> dict[str, float]:
    """Share of each class among the tuning patients that have one."""
    classes = [patient.risk_class for patient in patients]
    return {name: classes.count(name) / max(1, len(classes)) for name in RISK_CLASSES}


def contents(
    settings: EnsembleConfig,
    trained: TrainConfig,
    candidate: dict[str, Any],
    members: dict[str, list[Candidate]],
) -> tuple[dict[str, Any], dict[str, Path | str]]:
    """The manifest and the files of the bundle, but for what follows from tuning (`add_scores`).

    No time, host or path is in it: equal work gives an equal ensemble.
    """
    entries: list[dict[str, Any]] = []
    files: dict[str, Path | str] = {}
    for resolution in RESOLUTIONS:
        for chosen in members[resolution]:
            best = chosen.facts["best"][0]
            name = chosen.folder.name
            entries.append(
                {
                    "name": name,
                    "resolution": resolution,
                    "file": f"members/{name}.safetensors",
                    "network": chosen.network,
                    "seed": chosen.facts["seed"],
                    "step": best["step"],
                    "tuning_c": best["c_index"],
                }
            )
            if chosen.facts.get("parent"):
                entries[-1]["parent_member"] = chosen.facts["parent"]["member"]
            files[f"members/{name}.safetensors"] = chosen.weights
    training = as_dict(trained)
    manifest = {
        "name": settings.name,
        "research_use_only": RESEARCH_USE_ONLY,
        "intended_use": settings.intended_use,
        "members": entries,
        "tile_specs": {"10x": as_dict(trained.data.tiles_10x), "40x": as_dict(trained.data.tiles_40x)},
        "normalisation": {"mean": list(NORMALISATION_MEAN), "std": list(NORMALISATION_STD)},
        "preprocessing": PREPROCESSING_VERSION,
        "aggregation": settings.aggregation,
        PRECISION: settings.dtype,
        "tumour_policy": trained.data.tumour_policy,
        "cohorts": candidate["cohorts"],
        "training": {key: training[key] for key in ("labels", "augment", "fit")},
        "code_version": code_version(),
    }
    if candidate.get("parent"):
        manifest["parent"] = {key: candidate["parent"][key] for key in ("ensemble_id", "name")}
    return manifest, files


def add_scores(
    settings: EnsembleConfig,
    manifest: dict[str, Any],
    files: dict[str, Path | str],
    tuning: TuningScores,
    thresholds: dict[str, Threshold],
    table: list[dict[str, Any]],
) -> None:
    """Add what follows from tuning as scored: thresholds, score maps, both c, and what they rest on."""
    manifest["thresholds"] = {name: asdict(cut) for name, cut in thresholds.items()}
    manifest[TUNING_SCORES] = tuning.facts
    scored = {row["candidate"]: row["scored_c"] for row in table}
    for entry in manifest["members"]:
        entry["score_map"] = list(tuning.score_maps[entry["name"]])
        entry["scored_c"] = scored[entry["name"]]
    files["choice.csv"] = csv_text(table)


def write_patients(settings: EnsembleConfig, tuning: TuningScores, thresholds: dict[str, Threshold]) -> None:
    """Write the tuning patients as scoring would; beside the bundle, since patients' ids must not go along with it."""
    values = {name: cut.value for name, cut in thresholds.items()}
    rows = [patient_row(patient, values) for patient in sorted(tuning.patients, key=lambda one: one.patient_id)]
    path = f"{settings.out}.tuning.csv"
    write_text(path, csv_text(rows))
    say(f"    tuning patients, as scored: {path}")
