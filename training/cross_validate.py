"""`pathoprog cross_validate`: k folds that keep patients, and on request sites, together; c per fold and over all.

Nothing is chosen on a fold that is held out: each network is judged once, at its last step. With `refit=true` every
seed is then trained on all patients, and `pathoprog ensemble` fixes the thresholds on the out-of-fold scores: the way
to a bundle for those without a tuning cohort.
"""

import copy
from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.command_line.config_file import CONFIG, config_text
from pathoprog.errors import ConfigError
from pathoprog.slides.resolutions import in_order
from pathoprog.survival import harrell_c
from pathoprog.system.console import say, warn
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import write_text
from pathoprog.system.tracking_config import check_tracking
from pathoprog.text.numbers import Z_95
from pathoprog.training.config import CrossValidateConfig, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.by_resolution import check_each, differ
from pathoprog.training.data.checks import check_tables
from pathoprog.training.data.folds import NONE_HELD_OUT, read_folds
from pathoprog.training.data.learners import OUT_OF_FOLD, read_parts
from pathoprog.training.data.left_out import some_failed
from pathoprog.training.data.slide_source import settle
from pathoprog.training.estimate.estimate import check_estimate
from pathoprog.training.held_folder import holds_its_folder
from pathoprog.training.launchers import engine_of, settle_devices
from pathoprog.training.member.candidate import OUT_OF_FOLD_SCORES, read_candidate, write_verdict
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.run_folder import recipe
from pathoprog.training.member.tuning_concordance import judgement
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import check_network, ids_of, prepare_data
from pathoprog.training.train_ensemble import (
    CandidateTask,
    check_folders,
    finish,
    make_tasks,
    of_each_resolution,
    train_all,
)

TABLE, SCORES = "cross_validation", OUT_OF_FOLD_SCORES
ALL = "mean of all"
CAPTION = (
    "c on patients that the network did not see; all folds: pairs within folds. The intervals hold for these networks:"
    " they leave out how much training varies, so they are too narrow for the recipe."
)


@dataclass(frozen=True)
class FoldPlan:
    """What is to be trained: each seed and resolution on everybody, the same for each of its folds, and the folds."""

    refits: list[CandidateTask]
    by_refit: list[list[CandidateTask]]
    folds: dict[str, int]


def ready(settings: CrossValidateConfig, tracking: Tracking | None = None) -> tuple[FoldPlan, Tracking]:
    """Check everything that can be checked, deal out the folds, cut missing tiles.

    Args:
        settings: of the cross-validation; what follows from the machine or the parent is filled in.
        tracking: of a sweep, whose trial this is; None: made from the settings, and the work is estimated first.
    """
    check_each(settings)
    settle(settings)
    settle_devices(settings)
    refits = refit_tasks(settings)
    if not differ(settings):
        settings.network = refits[0].settings.network  # the parent's, where there is one
    for one in of_each_resolution(settings, refits):
        check_fit(one)
        check_network(one)
    if settings.split.folds < 2:
        raise ConfigError(f"split.folds={settings.split.folds}: a cross-validation needs at least 2")
    folds = read_folds(settings)
    say(f"    {settings.split.folds} folds of {sorted(Counter(folds.values()).values())} patients")
    by_refit = [fold_tasks(task.settings) for task in refits]
    all_folds = [task for tasks in by_refit for task in tasks]
    check_folders([*all_folds, *refits])
    check_tracking(settings.track)
    slides = check_tables(settings)
    one_of_many = tracking is not None
    tracking = tracking or Tracking(settings.track)
    tracking.private |= ids_of(slides)
    if not one_of_many:
        check_estimate(settings, [task.settings for task in all_folds], lambda: engine_of(settings), slides)
    prepare_data(settings, slides)
    return FoldPlan(refits, by_refit, folds), tracking


@holds_its_folder("cross_validate")
def run(settings: CrossValidateConfig) -> int:
    """Train every fold, print and write the table; with `refit`, train the candidates to be locked.

    A seed of which a fold fails is left out, and named; the exit code is then 1, as where slides failed.
    """
    as_given = config_text("cross_validate", settings)
    plan, tracking = ready(settings)
    refits, by_refit, folds = plan.refits, plan.by_refit, plan.folds
    all_folds = [task for tasks in by_refit for task in tasks]
    out = Path(settings.out)
    mark = recipe(refits[0].settings)
    write_text(out / CONFIG, as_given)
    parent = tracking.start(f"cross-validation {out.name}", settings, folder=out, mark=mark, kind="cross-validation")
    with tracking.until_end(parent):
        needed = settings.members if settings.refit else 1
        with engine_of(settings) as engine:
            failed = train_all(all_folds, engine, settings.restarts, tracking, parent, by_refit, needed)
        whole_seeds = [not any(task.failed for task in tasks) for tasks in by_refit]
        refits, by_refit = list(compress(refits, whole_seeds)), list(compress(by_refit, whole_seeds))
        everybody = {name: read_parts(one_of(refits, name).settings)[0] for name in in_order(settings.data.resolutions)}
        risks = [out_of_fold(tasks) for tasks in by_refit]
        rows = table_of(refits, risks, everybody, folds)
        write_text(out / f"{TABLE}.csv", csv_text(rows))
        write_text(out / f"{TABLE}.md", page(settings, rows))
        write_text(out / SCORES, csv_text(score_rows(refits, risks, folds)))
        for suffix in (".csv", ".md"):
            tracking.file(parent, out / f"{TABLE}{suffix}")
        whole = {f"cv_c_{row['resolution']}": row["c"] for row in rows if row["seed"] == ALL and row["fold"] == "all"}
        tracking.metrics(parent, [{"step": 0, **whole}])
        say(page(settings, [row for row in rows if row["seed"] == ALL]))
        if settings.refit:
            for task, found in zip(refits, risks, strict=True):
                patients = everybody[task.settings.resolution]
                verdict = judgement(patients, [found[patient.patient_id] for patient in patients])
                write_verdict(task.folder / OUT_OF_FOLD, verdict)
            with engine_of(settings) as engine:
                failed += train_all(refits, engine, settings.restarts, tracking, parent, needed=settings.members)
            finish(settings, refits, tracking, parent)
    for task in failed:
        warn(f"{task.name} failed, and its seed is left out of the table: {task.failed}")
    say(f"    {out / TABLE}.csv, .md; each patient's scores in {out / SCORES}")
    return 1 if failed or some_failed(out) else 0


def refit_tasks(settings: CrossValidateConfig) -> list[CandidateTask]:
    """The candidates as they are trained on everybody: seeds x resolutions."""
    if settings.fit.patience:
        warn(f"fit.patience={settings.fit.patience}: does nothing here, where each network is judged once, at its end")
        settings.fit.patience = 0
    tasks = make_tasks(settings)
    for task in tasks:
        task.settings.split.fold = NONE_HELD_OUT
        # judged once: neither a fold nor the out-of-fold scores choose a step
        task.settings.fit.evaluate_every, task.settings.fit.keep_best = task.settings.fit.steps, 1
    settings.split.fold = NONE_HELD_OUT
    return tasks


def fold_tasks(refit: TrainConfig) -> list[CandidateTask]:
    """The same candidate once for each fold held out."""
    tasks = []
    for fold in range(refit.split.folds):
        one = copy.deepcopy(refit)
        one.split.fold = fold
        one.out = str(Path(refit.out) / f"fold{fold}")
        tasks.append(CandidateTask(one))
    return tasks


def one_of(tasks: list[CandidateTask], resolution: str) -> CandidateTask:
    """The first task of a resolution."""
    return next(task for task in tasks if task.settings.resolution == resolution)


def out_of_fold(tasks: list[CandidateTask]) -> dict[str, float]:
    """Each patient's risk by the network that did not see him."""
    found: dict[str, float] = {}
    for task in tasks:
        found |= read_candidate(task.folder).verdict.by_patient
    return found


def scores_of(refits: list[CandidateTask], risks: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean out-of-fold score over the seeds, by resolution and patient; both = the mean over two resolutions.

    As in `pathoprog ensemble`: heads other than *poor* are standardised over all patients first.
    """
    resolutions = in_order({task.settings.resolution for task in refits})
    members: dict[str, list[dict[str, float]]] = {resolution: [] for resolution in resolutions}
    for task, found in zip(refits, risks, strict=True):
        values = np.array(list(found.values()))
        if task.settings.network.head != "poor":
            values = (values - values.mean()) / max(float(values.std()), 1e-6)
        members[task.settings.resolution].append(dict(zip(found, expit(values).tolist(), strict=True)))
    mean = {
        resolution: {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        for resolution, found in members.items()
    }
    if len(resolutions) == 1:
        return mean
    first, second = (mean[resolution] for resolution in resolutions)
    return mean | {"both": {name: (first[name] + second[name]) / 2 for name in first if name in second}}


def table_of(
    refits: list[CandidateTask],
    risks: list[dict[str, float]],
    everybody: dict[str, list[Patient]],
    folds: dict[str, int],
) -> list[dict[str, Any]]:
    """Rows of the table: each seed alone and all together, per resolution, per fold and over all folds."""
    patients = {patient.patient_id: patient for found in everybody.values() for patient in found}
    rows = []
    for task, found in zip(refits, risks, strict=True):
        rows += rows_of(task.settings.resolution, str(task.settings.seed), found, patients, folds)
    for resolution, found in scores_of(refits, risks).items():
        rows += rows_of(resolution, ALL, found, patients, folds)
    return rows


def rows_of(
    resolution: str, seed: str, risks: dict[str, float], patients: dict[str, Patient], folds: dict[str, int]
) -> list[dict[str, Any]]:
    """C of each fold, and over all folds.

    Over all folds only pairs within a fold count: risks of two networks need not be comparable. The folds' patients
    differ, so their errors add up as independent ones, given the networks; that the networks learned from overlapping
    patients is left out, and no unbiased estimate has it (Bengio, Grandvalet 2004, JMLR 5:1089).
    """
    names = np.array(list(risks))
    score = np.array([risks[name] for name in names])
    time = np.array([patients[name].followup_days for name in names])
    event = np.array([patients[name].event for name in names])
    fold = np.array([folds[name] for name in names])
    rows = []
    values, errors, pairs = list[float](), list[float](), list[int]()
    for number in sorted(set(fold.tolist())):
        here = fold == number
        c = harrell_c(time[here], event[here], score[here])
        rows.append(_row(resolution, seed, str(number), event[here], c.value, c.se))
        n = c.concordant + c.discordant + c.tied_score
        if n:
            values.append(c.value)
            errors.append(c.se)
            pairs.append(n)
    weight = np.array(pairs) / max(1, sum(pairs))
    value = float(weight @ np.array(values)) if pairs else float("nan")
    rows.append(_row(resolution, seed, "all", event, value, float(np.sqrt(weight**2 @ np.array(errors) ** 2))))
    return rows


def _row(resolution: str, seed: str, fold: str, event: NDArray[np.int64], value: float, error: float) -> dict[str, Any]:
    limits = np.clip([value - Z_95 * error, value + Z_95 * error], 0, 1)  # NaN, where no pair can be compared, stays
    return {
        "resolution": resolution,
        "seed": seed,
        "fold": fold,
        "n_patients": len(event),
        "n_events": int(event.sum()),
        "c": value,
        "c_lower": float(limits[0]),
        "c_upper": float(limits[1]),
    }


def score_rows(
    refits: list[CandidateTask], risks: list[dict[str, float]], folds: dict[str, int]
) -> list[dict[str, Any]]:
    """Out-of-fold scores of each patient, empty where a resolution has no tiles of his."""
    scores = scores_of(refits, risks)
    names = sorted({name for found in scores.values() for name in found})
    return [
        {"patient_id": name, "fold": folds[name], **{f"score_{r}": scores[r].get(name, "") for r in in_order(scores)}}
        for name in names
    ]


def page(settings: CrossValidateConfig, rows: list[dict[str, Any]]) -> str:
    """The table as Markdown, with what its figures mean."""
    split = settings.split
    together = f", {split.together} kept together" if split.together else ""
    lines = [
        f"# Cross-validation, {split.folds} folds, patients kept together{together}",
        "",
        f"**{RESEARCH_USE_ONLY}** {CAPTION}",
        "",
        "| resolution | seed | fold | patients | events | c (95% CI) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        c = f"{row['c']:.3f} ({row['c_lower']:.3f} to {row['c_upper']:.3f})"
        c = c if np.isfinite(row["c"]) else "no two patients can be compared"
        cells = (row["resolution"], row["seed"], row["fold"], row["n_patients"], row["n_events"], c)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
