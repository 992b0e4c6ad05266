"""`pathoprog ensemble`: rank the candidates on tuning, take five of each resolution, fix the thresholds, lock.

Only one checkpoint per run may be chosen: two of one run are nearly the same network.
"""

import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.bundle import MEMBERS_PER_RESOLUTION, lock
from pathoprog.bundle_encoders import encoder_lines
from pathoprog.classes import RESOLUTIONS, risk_class
from pathoprog.console import say
from pathoprog.errors import InputError
from pathoprog.files import csv_text, read_json
from pathoprog.networks_config import NORMALISATION_MEAN, NORMALISATION_STD
from pathoprog.settings import as_dict
from pathoprog.survival import harrell_c
from pathoprog.thresholds import Threshold, fit_threshold
from pathoprog.tiles_config import PREPROCESSING_VERSION
from pathoprog.training import choice_figure
from pathoprog.training.bags import Patient
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.development import add_development
from pathoprog.training.encoder_lock import add_encoders, check_unchanged, origins_of
from pathoprog.training.fit import CANDIDATE
from pathoprog.training.model_card import judged_on, model_card
from pathoprog.training.parts import read_parts
from pathoprog.training.quality import add_quality
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import settings_from_dict
from pathoprog.training.train_ensemble import ENSEMBLE_RUN
from pathoprog.training.tumour_lock import add_tumour


@dataclass
class Chosen:
    """One member of the ensemble and how it fared on tuning."""

    folder: Path
    candidate: dict[str, Any]
    verdict: dict[str, Any]
    score_map: tuple[float, float]

    @property
    def scores(self) -> np.ndarray:
        """Scores [n] in [0, 1] of the tuning patients."""
        center, scale = self.score_map
        return np.asarray(1 / (1 + np.exp(-(np.array(self.verdict["risks"]) - center) / scale)))


def run(settings: EnsembleConfig) -> int:
    """Choose, fix, lock, and print what was chosen."""
    folder = Path(settings.candidates)
    if not (folder / ENSEMBLE_RUN).is_file():
        raise InputError(f"{folder}: no finished `pathoprog train_ensemble` there ({ENSEMBLE_RUN} is missing)")
    record = read_json(folder / ENSEMBLE_RUN)
    trained = settings_from_dict(record["settings"])
    origins = origins_of(settings, trained)
    candidates = [(folder / name, read_json(folder / name / CANDIDATE)) for name in record["candidates"]]
    table, members, thresholds = [], dict[str, list[Chosen]](), dict[str, Threshold]()
    drawn = {}
    for resolution in RESOLUTIONS:
        ranked = rank(candidates, resolution)
        members[resolution] = [choose(path, candidate) for path, candidate in ranked[:MEMBERS_PER_RESOLUTION]]
        table += choice_table(ranked)
        trained.resolution = resolution
        parts = read_parts(trained)
        if origins:
            check_unchanged(trained, ranked[0][1], parts)
        times, events, cohorts = outcomes_of(members[resolution], parts[1])
        scores = mean_scores(members[resolution])
        thresholds[resolution] = fit_threshold(
            scores, times, events, cohorts, settings.min_share, settings.bootstrap, settings.seed
        )
        drawn[resolution] = choice_figure.Chosen(
            scores, events, harrell_c(times, events, scores), thresholds[resolution]
        )
        report(ranked, drawn[resolution])
    shares = class_shares(members, thresholds)
    say("    classes on tuning (selected on outcome): " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
    manifest, files = contents(settings, trained, candidates[0][1], members, thresholds, table)
    add_encoders(settings, origins, manifest, files)
    add_tumour(settings, manifest, files)
    add_quality(settings, trained, manifest, files)
    add_development(settings, trained, files)
    files["model_card.md"] = model_card(settings, trained, manifest, shares)
    ensemble = lock(settings.out, manifest, files)
    say(f"    locked {settings.out}: ensemble {ensemble[:16]}")
    for line in encoder_lines(manifest):
        say(f"    {line}")
    # beside the bundle: a figure's bytes follow from fonts and versions, an ensemble's id must not
    figures = choice_figure.draw_choice(table, drawn, f"{settings.out}.choice", judged_on(manifest))
    say(f"    the choice: {figures[0]}")
    track(settings, record["run_id"], ensemble, figures, drawn, shares)
    return 0


def track(
    settings: EnsembleConfig,
    run_id: str,
    ensemble: str,
    figures: list[Path],
    drawn: dict[str, choice_figure.Chosen],
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


def choose(folder: Path, candidate: dict[str, Any]) -> Chosen:
    """A candidate's best checkpoint, with its map to [0, 1].

    The head *poor* has such an output by itself. Other heads are standardised by the mean and SD of their risks on
    tuning, then take the logistic function: monotone, and fixed from here on.
    """
    best = candidate["best"][0]
    verdict = read_json(folder / best["file"].replace(".safetensors", ".json"))
    head = read_json(folder / "settings.json")["network"]["head"]
    risks = np.array(verdict["risks"])
    score_map = (0.0, 1.0) if head == "poor" else (float(risks.mean()), float(max(risks.std(), 1e-6)))
    return Chosen(folder, candidate, verdict, score_map)


def mean_scores(members: list[Chosen]) -> np.ndarray:
    """Mean score [n] of the tuning patients over one resolution's members."""
    ids = members[0].verdict["patient_ids"]
    assert all(member.verdict["patient_ids"] == ids for member in members)
    return np.asarray(np.mean([member.scores for member in members], axis=0))


def outcomes_of(members: list[Chosen], tuning: list[Patient]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow-up in days, event and cohort of the tuning patients, in the order of the members' scores.

    Raises:
        InputError: the cohort no longer holds a patient that the candidates were judged on.
    """
    by_id = {patient.patient_id: patient for patient in tuning}
    missing = [name for name in members[0].verdict["patient_ids"] if name not in by_id]
    if missing:
        raise InputError(
            f"{len(missing)} tuning patients of the candidates are gone from the cohort, first {missing[0]}"
        )
    patients = [by_id[name] for name in members[0].verdict["patient_ids"]]
    return (
        np.array([patient.followup_days for patient in patients]),
        np.array([patient.event for patient in patients]),
        np.array([patient.cohort for patient in patients]),
    )


def choice_table(ranked: list[tuple[Path, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per candidate: rank, seed, best step, c on tuning with its 95% interval, chosen or not."""
    rows = []
    for number, (folder, candidate) in enumerate(ranked):
        best = candidate["best"][0]
        verdict = read_json(folder / best["file"].replace(".safetensors", ".json"))
        rows.append(
            {
                "resolution": candidate["resolution"],
                "rank": number + 1,
                "candidate": folder.name,
                "seed": candidate["seed"],
                "step": best["step"],
                "tuning_c": best["c_index"],
                "tuning_c_lower": verdict["c_lower"],
                "tuning_c_upper": verdict["c_upper"],
                "chosen": number < MEMBERS_PER_RESOLUTION,
            }
        )
    return rows


def report(ranked: list[tuple[Path, dict[str, Any]]], drawn: choice_figure.Chosen) -> None:
    """Print the choice of one resolution."""
    resolution, cut, c = ranked[0][1]["resolution"], drawn.cut, drawn.together
    found = ", ".join(f"{candidate['best'][0]['c_index']:.3f}" for _, candidate in ranked)
    together = f"{c.value:.3f} (95% CI {c.lower:.3f} to {c.upper:.3f})"
    say(f"    {resolution}: c on tuning {found}; the best {MEMBERS_PER_RESOLUTION} together {together}")
    say(f"    {resolution}: threshold {cut.value:.4f} (95% bootstrap {cut.lower:.4f} to {cut.upper:.4f})")


def class_shares(members: dict[str, list[Chosen]], thresholds: dict[str, Threshold]) -> dict[str, float]:
    """Share of each class among the tuning patients that both resolutions could judge."""
    values = {name: cut.value for name, cut in thresholds.items()}
    by_patient = [
        dict(zip(members[name][0].verdict["patient_ids"], mean_scores(members[name]), strict=True))
        for name in RESOLUTIONS
    ]
    both = [name for name in by_patient[0] if name in by_patient[1]]
    classes = [risk_class(by_patient[0][name], by_patient[1][name], values) for name in both]
    return {name: classes.count(name) / max(1, len(classes)) for name in ("good", "uncertain", "poor")}


def contents(
    settings: EnsembleConfig,
    trained: TrainConfig,
    candidate: dict[str, Any],
    members: dict[str, list[Chosen]],
    thresholds: dict[str, Threshold],
    table: list[dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, Path | str]]:
    """The manifest and the files of the bundle. No time, host or path is in it: equal work gives an equal ensemble."""
    entries: list[dict[str, Any]] = []
    files: dict[str, Path | str] = {"choice.csv": csv_text(table)}
    for resolution in RESOLUTIONS:
        for chosen in members[resolution]:
            best = chosen.candidate["best"][0]
            name = chosen.folder.name
            network = read_json(chosen.folder / "settings.json")["network"]
            network["weights"] = ""
            entries.append(
                {
                    "name": name,
                    "resolution": resolution,
                    "file": f"members/{name}.safetensors",
                    "network": network,
                    "score_map": list(chosen.score_map),
                    "seed": chosen.candidate["seed"],
                    "step": best["step"],
                    "tuning_c": best["c_index"],
                }
            )
            if chosen.candidate.get("parent"):
                entries[-1]["parent_member"] = chosen.candidate["parent"]["member"]
            files[f"members/{name}.safetensors"] = chosen.folder / best["file"]
    training = as_dict(trained)
    manifest = {
        "name": settings.name,
        "research_use_only": RESEARCH_USE_ONLY,
        "intended_use": settings.intended_use,
        "members": entries,
        "thresholds": {name: asdict(cut) for name, cut in thresholds.items()},
        "tile_specs": {"10x": as_dict(trained.data.tiles_10x), "40x": as_dict(trained.data.tiles_40x)},
        "normalisation": {"mean": list(NORMALISATION_MEAN), "std": list(NORMALISATION_STD)},
        "preprocessing": PREPROCESSING_VERSION,
        "aggregation": settings.aggregation,
        "tumour_policy": trained.data.tumour_policy,
        "cohorts": candidate["cohorts"],
        "training": {key: training[key] for key in ("labels", "augment", "fit")},
        "code_version": code_version(),
    }
    if candidate.get("parent"):
        manifest["parent"] = {key: candidate["parent"][key] for key in ("ensemble_id", "name")}
    return manifest, files


def code_version() -> str:
    """The package's version, with the git commit where it runs from a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return __version__
    found = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return f"{__version__}+{found.stdout.strip()[:12]}" if found.returncode == 0 else __version__
