"""`--multirun` and `--search` of `train_ensemble` and `cross_validate`: many trials, one engine, one table, one figure.

A trial is what the command itself would make of its values, in a folder of its own, from which it resumes. Trials are
ranked by c on tuning, or cross-validated; nothing here opens a test or an external outcome.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pathoprog.command_line.config_file import CONFIG
from pathoprog.command_line.sweep_space import Sweep
from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.settings import as_dict
from pathoprog.system.console import say, warn
from pathoprog.system.files import sha256_value, write_text
from pathoprog.system.tracking_config import check_tracking
from pathoprog.text.wording import count
from pathoprog.training.data.left_out import some_failed
from pathoprog.training.held_folder import held
from pathoprog.training.launchers import Launcher, engine_of
from pathoprog.training.member.run_folder import OtherRunError
from pathoprog.training.search.search_config import (
    ALL,
    CrossValidateSweepConfig,
    SearchSettings,
    TrainEnsembleSweepConfig,
)
from pathoprog.training.search.trial_runs import Trial, get_ready, result_of, trial_of
from pathoprog.training.search.trials import (
    BEST,
    FAILED,
    RUNNING,
    TABLE,
    SweepRecord,
    TrialResult,
    looked_at_line,
    merged,
    read_sweep,
    tell_trials,
    trial_name,
    write_sweep,
)
from pathoprog.training.search.trials_figure import FIGURE, draw_trials
from pathoprog.training.tracking import Tracking
from pathoprog.training.train_ensemble import train_all

SAME = ("data.cohort", "data.outcomes", "data.overlap", "split", "labels", "refit", "looked_at")
"""What all trials must share: they are compared by c on the same patients."""
NOT_SWEPT = ("out", "restart", "restarts", "device", "engine", "ray", "workers", "track", "search")


def run(sweep: Sweep) -> int:
    """Train every trial, rank them, give back the best as a file; 1 if some of them, or some slides, failed."""
    settings = sweep.base
    assert isinstance(settings, TrainEnsembleSweepConfig | CrossValidateSweepConfig)
    check_sweep(sweep)
    out, alone = Path(settings.out), settings.search.only < 0
    with held(out, f"{sweep.command} --{sweep.kind}", shared=not alone):
        return run_all(sweep, settings, out) if alone else run_one(sweep, settings, out)


def run_all(sweep: Sweep, settings: TrainEnsembleSweepConfig | CrossValidateSweepConfig, out: Path) -> int:
    """`run`, with the folder held by this process alone."""
    record = record_for(sweep, read_sweep(out))
    trials = [] if sweep.kind == "search" else grid(sweep, out)
    check_tracking(settings.track)
    tracking = Tracking(settings.track)
    run_id = tracking.start(f"{sweep.kind} {out.name}", settings, folder=out, mark=record.mark, kind=sweep.kind)
    with tracking.until_end(run_id):
        work = TrialWork(settings, tracking, run_id, record)
        if sweep.kind == "search":
            from pathoprog.training.search.optuna_search import search

            with engine_of(settings) as engine:
                search(sweep, out, lambda asked: work.done(asked, engine))
        else:
            work.ready(trials)
            with engine_of(settings) as engine:
                work.train(trials, engine)
        finish(out, work.record, tracking, run_id)
    lacking = any(some_failed(out / trial.name) for trial in work.record.trials)
    return 1 if lacking or any(trial.state == FAILED for trial in work.record.trials) else 0


class TrialWork:
    """Trials on their way through the engine, and the record of what they came to.

    Args:
        settings: of the sweep.
        tracking: to log to.
        run_id: the sweep's run, whose children the trials' are.
        record: what is known of earlier calls.
    """

    def __init__(
        self,
        settings: TrainEnsembleSweepConfig | CrossValidateSweepConfig,
        tracking: Tracking,
        run_id: str,
        record: SweepRecord,
    ):
        self.settings, self.tracking, self.run_id, self.record = settings, tracking, run_id, record
        self.out = Path(settings.out)

    def ready(self, trials: list[Trial]) -> None:
        """Check all trials before any work, and note that they are looked at; those that cannot be trained fail.

        Raises:
            PathoprogError: none can be trained, or a trial's folder holds another run; names the trial.
        """
        errors = [self._got_ready(trial) for trial in trials]
        for trial, error in zip(trials, errors, strict=True):
            if error is not None and (isinstance(error, OtherRunError) or None not in errors):
                raise type(error)(f"{trial.name}: {error}") from error
        self._note([begun(one.name, one.values) for one in trials])

    def _got_ready(self, trial: Trial) -> PathoprogError | None:
        """Check a trial, make its data; what is wrong is returned, and why it failed."""
        if not trial.failed:
            try:
                get_ready(trial, self.tracking, self.run_id)
            except PathoprogError as error:
                trial.failed = str(error)
                return error
        return None

    def train(self, trials: list[Trial], engine: Launcher) -> list[TrialResult]:
        """Train all trials' networks side by side, and note what they came to."""
        for trial in trials:
            if trial.failed:
                warn(f"{trial.name} is not trained, the others are: {' '.join(trial.failed.split())}")
        units = [trial.tasks for trial in trials if not trial.failed]
        tasks = [task for unit in units for task in unit]
        if tasks:
            train_all(tasks, engine, self.settings.restarts, self.tracking, self.run_id, units, needed=0)
        results = [result_of(trial, self.tracking, self.settings.search.objective) for trial in trials]
        self._note(results)
        return results

    def done(self, trials: list[Trial], engine: Launcher) -> list[TrialResult]:
        """Check and train trials that a search asks for; one whose settings are wrong fails, and the search goes on."""
        for trial in trials:
            self._got_ready(trial)
        self._note([begun(one.name, one.values) for one in trials])
        results = self.train(trials, engine)
        for result in results:
            if result.state == FAILED:
                warn(f"{result.name} failed, the search goes on: {result.reason}")
            else:
                values = ", ".join(f"{key}={value}" for key, value in result.values.items())
                say(f"    {result.name}: c {result.objective:.3f} with {values}")
        return results

    def _note(self, results: list[TrialResult]) -> None:
        self.record = with_trials(self.record, results, self.run_id)
        write_sweep(self.out, self.record)
        tell_trials(self.out, self.record)


def begun(name: str, values: Mapping[str, str] | None = None) -> TrialResult:
    """A trial of which nothing is known but that it was begun."""
    return TrialResult(name=name, values=values or {}, state=RUNNING)


def with_trials(record: SweepRecord, results: list[TrialResult], run_id: str) -> SweepRecord:
    """The record with further or newer results."""
    return replace(record, trials=merged(record.trials, results), run_id=run_id)


def grid(sweep: Sweep, out: Path) -> list[Trial]:
    """Every combination of the values, or the one that `search.only` names.

    Raises:
        ConfigError: there is no such trial, or a combination's settings are wrong.
    """
    points = list(sweep.points())
    only = sweep.base.search.only
    if only >= len(points):
        raise ConfigError(f"search.only={only}: there are {len(points)} trials, counted from 0")
    trials = [made(sweep, trial_name(values), values, out) for values in (points[only:][:1] if only >= 0 else points)]
    say(f"    {count(len(points), 'trial')} of {', '.join(axis.key for axis in sweep.axes)}")
    return trials


def made(sweep: Sweep, name: str, values: Mapping[str, str], out: Path) -> Trial:
    """A trial of given values.

    Raises:
        ConfigError: its settings are wrong, or it is judged otherwise than the others.
    """
    try:
        settings = sweep.compose(values)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    if mark_of(sweep.command, settings) != mark_of(sweep.command, sweep.base):
        raise ConfigError(f"{name}: its {', '.join(SAME)} must be those of the other trials; c would not compare")
    return trial_of(name, values, settings, out)


def run_one(sweep: Sweep, settings: TrainEnsembleSweepConfig | CrossValidateSweepConfig, out: Path) -> int:
    """Train one trial of a grid, as a task of a job array does; the call without `search.only` makes the table.

    The sweep's folder is shared with the other tasks, the trial's is this process's alone.
    """
    record = record_for(sweep, read_sweep(out))
    [trial] = grid(sweep, out)
    known = with_trials(record, [begun(name) for name in map(trial_name, sweep.points())], "")
    trial.settings.looked_at = known.looked_at  # the whole grid, the others of its folder and those before it
    with held(trial.settings.out, f"{sweep.command} --{sweep.kind} search.only={settings.search.only}"):
        check_tracking(settings.track)
        tracking = Tracking(settings.track)
        get_ready(trial, tracking, "")
        with engine_of(settings) as engine:
            train_all(trial.tasks, engine, settings.restarts, tracking, trial.run_id, [trial.tasks], needed=0)
        result = result_of(trial, tracking, settings.search.objective)
    say(f"    {trial.name}: {result.state} {result.reason}".rstrip())
    return 1 if result.state == FAILED else 0


def check_sweep(sweep: Sweep) -> None:
    """Refuse keys that trials may not differ in, and settings that make no sense for many trials.

    Raises:
        ConfigError: names the key.
    """
    for axis in sweep.axes:
        if any(f"{axis.key}.".startswith(f"{key}.") for key in (*SAME, *NOT_SWEPT)):
            whose = any(f"{axis.key}.".startswith(f"{key}.") for key in NOT_SWEPT)
            why = "it is the sweep's own" if whose else "trials are compared on the same patients"
            raise ConfigError(f"{axis.key}: cannot be swept; {why}")
    settings = sweep.base
    search: SearchSettings = settings.search
    if getattr(settings, "refit", False):
        raise ConfigError("refit=true: give it for the best trial alone (experiment=…/best.yaml refit=true)")
    if search.only >= 0 and sweep.kind == "search":
        raise ConfigError("search.only: a search asks for one trial after another; it is for --multirun")
    known = getattr(settings.data, "resolutions", None)
    if search.objective != ALL and known is not None and search.objective not in known:
        raise ConfigError(f"search.objective={search.objective}: data.resolutions has it not")


def mark_of(command: str, settings: TrainEnsembleSweepConfig | CrossValidateSweepConfig) -> str:
    """Hash of what all trials must share."""
    values = as_dict(settings)
    shared = {}
    for key in SAME:
        part, _, name = key.partition(".")
        shared[key] = values[part][name] if name else values.get(part)
    return sha256_value([command, settings.search.objective, shared])


def record_for(sweep: Sweep, before: SweepRecord | None) -> SweepRecord:
    """The record that this call goes on with.

    Raises:
        InputError: the folder holds another sweep.
    """
    settings = sweep.base
    mark = mark_of(sweep.command, settings)
    if before is None:
        return SweepRecord(
            command=sweep.command,
            kind=sweep.kind,
            objective=settings.search.objective,
            mark=mark,
            looked_at_before=settings.looked_at,
        )
    if (before.mark, before.kind) != (mark, sweep.kind):
        raise InputError(
            f"{settings.out}: holds another {before.kind} of {before.command}, on other patients, folds, labels or by"
            " another objective; give another out=…"
        )
    return before


def finish(out: Path, record: SweepRecord, tracking: Tracking, run_id: str) -> None:
    """Write the figure and the best trial's settings, log them, and say what was found.

    Raises:
        PathoprogError: no trial is done.
    """
    best = record.best
    if best is None:
        reasons = "".join(f"\n  {trial.name}: {trial.reason}" for trial in record.trials)
        raise PathoprogError(f"no trial came to a c:{reasons}")
    if len({trial.judged for trial in record.trials if trial.judged}) > 1:
        warn("trials were judged on different patients, since not all have tiles under all settings: c hardly compares")
    figures = draw_trials(record, out / FIGURE)
    write_text(out / BEST, (out / best.name / CONFIG).read_text(encoding="utf-8"))
    for path in (*figures, out / TABLE, out / BEST):
        tracking.file(run_id, path)
    tracking.metrics(run_id, [{"step": 0, "best_c": best.objective, "looked_at": record.looked_at}])
    for trial in record.trials:
        if trial.state == FAILED:
            warn(f"{trial.name} failed, the others count: {trial.reason}")
    say(f"    best: {best.name}, c {best.objective:.3f}; {looked_at_line(record.looked_at)}")
    say(f"    {out / TABLE}, {figures[0]}")
    say(f"    the best again, elsewhere: pathoprog {record.command} experiment={out / BEST} out=…")
