"""One trial of a sweep: what it trains, and what it came to. Trials of both commands are alike from here on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog.command_line.config_file import CONFIG, config_text
from pathoprog.errors import PathoprogError
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import sha256_value, write_text
from pathoprog.training import cross_validate, train_ensemble
from pathoprog.training.config import CrossValidateConfig, TrainEnsembleConfig
from pathoprog.training.data.learners import read_parts
from pathoprog.training.member.candidate import read_candidate
from pathoprog.training.member.run_folder import recipe
from pathoprog.training.search.search_config import ALL
from pathoprog.training.search.trials import DONE, FAILED, TrialResult
from pathoprog.training.tracking import Tracking
from pathoprog.training.train_ensemble import CandidateTask

BOTH = "both"


@dataclass
class Trial:
    """One set of values, and the networks that are trained with it.

    Attributes:
        name: of the trial and its folder.
        values: of the swept keys, as they are written on the command line.
        settings: the command's own, whose `out` is the trial's folder.
        units: the tasks; of a cross-validation each seed's folds together.
        plan: of a cross-validation.
        run_id: in MLflow.
        failed: why it came to nothing.
    """

    name: str
    values: Mapping[str, str]
    settings: TrainEnsembleConfig
    units: list[list[CandidateTask]] = field(default_factory=list)
    plan: cross_validate.FoldPlan | None = None
    run_id: str = ""
    failed: str = ""

    @property
    def tasks(self) -> list[CandidateTask]:
        """Every network that is trained."""
        return [task for unit in self.units for task in unit]

    @property
    def command(self) -> str:
        """That makes the same by itself."""
        return "cross_validate" if isinstance(self.settings, CrossValidateConfig) else "train_ensemble"


def trial_of(name: str, values: Mapping[str, str], swept: TrainEnsembleConfig, out: Path) -> Trial:
    """A trial as the command itself would be given it.

    Args:
        name: of the trial.
        values: of the swept keys.
        swept: settings with those of the sweep.
        out: the sweep's folder.
    """
    kind = CrossValidateConfig if isinstance(swept, CrossValidateConfig) else TrainEnsembleConfig
    settings = kind(**{one.name: getattr(swept, one.name) for one in fields(kind)})
    settings.out = str(out / name)
    return Trial(name, values, settings)


def get_ready(trial: Trial, tracking: Tracking, parent: str) -> None:
    """Check the trial, make its data, and open its run.

    Raises:
        PathoprogError: its settings or data are wrong.
    """
    text = config_text(trial.command, trial.settings)
    if isinstance(trial.settings, CrossValidateConfig):
        trial.plan, _ = cross_validate.ready(trial.settings, tracking)
        trial.units = trial.plan.by_refit
        mark = recipe(trial.plan.refits[0].settings)
    else:
        tasks, _ = train_ensemble.ready(trial.settings, tracking)
        trial.units, mark = [tasks], recipe(tasks[0].settings)
    out = Path(trial.settings.out)
    write_text(out / CONFIG, text)
    trial.run_id = tracking.start(
        f"trial {trial.name}", trial.settings, parent, out, mark, kind="trial", **_tags(trial.values)
    )
    for task in trial.tasks:
        task.trial, task.parent = trial.name, trial.run_id


def result_of(trial: Trial, tracking: Tracking, objective: str) -> TrialResult:
    """What a trial came to, after its networks were trained; its own files are written and its run ended."""
    failed = [f"{task.name}: {task.failed}" for task in trial.tasks if task.failed]
    unfinished = [task for task in trial.tasks if not task.failed and task.process is None]
    reason = trial.failed or "; ".join(failed) or ("not trained" if unfinished else "")
    c: dict[str, float] = {}
    value = math.nan
    if not reason:
        try:
            c = _of_folds(trial, tracking) if trial.plan is not None else _of_tuning(trial, tracking)
            value = c[objective] if objective != ALL else c.get(BOTH, float(np.mean(list(c.values()))))
            reason = "" if math.isfinite(value) else "has no c: no two patients can be compared"
        except PathoprogError as error:
            reason = str(error)
    if reason:
        tracking.end(trial.run_id, "FAILED")
        return TrialResult(name=trial.name, values=trial.values, state=FAILED, reason=" ".join(reason.split()))
    line = {"trial_c": value, **{f"trial_c_{name}": one for name, one in c.items()}}
    tracking.metrics(trial.run_id, [{"step": 0, **line}])
    tracking.end(trial.run_id)
    candidates = {task.settings.resolution: read_candidate(task.folder) for task in trial.tasks}
    judged = {name: sorted(one.verdict.patient_ids) for name, one in candidates.items()} if trial.plan is None else {}
    return TrialResult(
        name=trial.name,
        values=trial.values,
        state=DONE,
        c=c,
        objective=value,
        judged=sha256_value(judged) if judged else "",
    )


def _of_tuning(trial: Trial, tracking: Tracking) -> dict[str, float]:
    """Mean c on tuning over the seeds, by resolution."""
    train_ensemble.finish(trial.settings, trial.tasks, tracking, trial.run_id)
    found: dict[str, list[float]] = {}
    for task in trial.tasks:
        found.setdefault(task.settings.resolution, []).append(read_candidate(task.folder).tuning_c)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _of_folds(trial: Trial, tracking: Tracking) -> dict[str, float]:
    """Cross-validated c of the mean over the seeds, by resolution, and of both."""
    assert trial.plan is not None and isinstance(trial.settings, CrossValidateConfig)
    refits, folds, out = trial.plan.refits, trial.plan.folds, Path(trial.settings.out)
    first = {task.settings.resolution: task for task in reversed(refits)}
    everybody = {name: read_parts(task.settings)[0] for name, task in first.items()}
    risks = [cross_validate.out_of_fold(tasks) for tasks in trial.plan.by_refit]
    rows = cross_validate.table_of(refits, risks, everybody, folds)
    write_text(out / f"{cross_validate.TABLE}.csv", csv_text(rows))
    write_text(out / f"{cross_validate.TABLE}.md", cross_validate.page(trial.settings, rows))
    write_text(out / cross_validate.SCORES, csv_text(cross_validate.score_rows(refits, risks, folds)))
    tracking.file(trial.run_id, out / f"{cross_validate.TABLE}.csv")
    whole = [row for row in rows if row["seed"] == cross_validate.ALL and row["fold"] == "all"]
    return {str(row["resolution"]): float(row["c"]) for row in whole}


def _tags(values: Mapping[str, str]) -> dict[str, Any]:
    """The swept values as tags of a run, so that runs can be sorted by them."""
    return {f"sweep.{key}": value for key, value in values.items()}
