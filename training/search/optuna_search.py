"""`--search`: Optuna proposes values, trials are trained, Optuna is told their c. Ask and tell, resumable.

Its journal lies in the search's folder. Each proposal is a function of `search.seed` and of what is known so far, so
that a search that was stopped goes on as an undisturbed one would (for `search.at_once=1` exactly so).
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pathoprog.command_line.sweep_space import Axis, Sweep, written
from pathoprog.errors import ConfigError, InputError
from pathoprog.system.console import say
from pathoprog.training.data.disk_space import make_out
from pathoprog.training.search.run import made
from pathoprog.training.search.search_config import SearchSettings
from pathoprog.training.search.trial_runs import Trial, trial_of
from pathoprog.training.search.trials import DONE, TrialResult

JOURNAL, STUDY, SPACE = "search.journal", "pathoprog", "space"


def search(sweep: Sweep, out: Path, judged: Callable[[list[Trial]], list[TrialResult]]) -> None:
    """Ask for trials until `search.trials` are judged.

    Args:
        sweep: its axes are the space.
        out: the search's folder.
        judged: trains trials, and says what each came to.

    Raises:
        InputError: the folder holds a search of another space.
    """
    import optuna
    from optuna.trial import TrialState

    settings: SearchSettings = sweep.base.search
    study = _study(sweep, out)
    space = {axis.key: _distribution(axis) for axis in sweep.axes}
    over = (TrialState.COMPLETE, TrialState.FAIL)
    known = {_key(one): one for one in study.trials if one.state in over and one.params}
    say(f"    search over {', '.join(space)}: {len(known)} of {settings.trials} trials are judged")
    while True:
        begun = [one for one in study.trials if one.state == TrialState.RUNNING]  # by a call that was stopped
        if not begun:
            left = settings.trials - len(study.trials)
            if left <= 0:
                return
            for _ in range(min(settings.at_once, left)):
                seed = settings.seed + len(study.trials)
                study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup)
                study.ask(fixed_distributions=space)
            begun = [one for one in study.trials if one.state == TrialState.RUNNING]
        batch = list[tuple[int, Trial]]()
        for one in begun:
            if set(one.params) != set(space):  # stopped between the question and the answer
                study.tell(one.number, state=TrialState.FAIL)
            elif (twin := known.get(_key(one))) is not None:  # the same values give the same bits
                study.tell(one.number, twin.value, TrialState.COMPLETE if twin.value is not None else TrialState.FAIL)
            else:
                batch.append((one.number, _trial(sweep, out, one)))
        for (number, _), result in zip(batch, judged([trial for _, trial in batch]) if batch else [], strict=True):
            if result.state == DONE and math.isfinite(result.objective):
                study.tell(number, result.objective)
            else:
                study.tell(number, state=TrialState.FAIL)
        known = {_key(one): one for one in reversed(study.trials) if one.state in over and one.params}


def _study(sweep: Sweep, out: Path) -> Any:
    """The study in the search's folder, made if there is none."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_out(out)
    storage = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    study = optuna.create_study(storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True)
    space = json.dumps([asdict(axis) for axis in sweep.axes])
    before = study.user_attrs.get(SPACE)
    if before is None:
        study.set_user_attr(SPACE, space)
    elif before != space:
        keys = ", ".join(axis["key"] for axis in json.loads(before))
        raise InputError(f"{out}: holds a search over other values (of {keys}); give the same, or another out=…")
    return study


def _distribution(axis: Axis) -> Any:
    """Optuna's distribution of an axis; whole numbers of a range keep their order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.low is None or axis.high is None:
        return CategoricalDistribution(axis.choices)
    if axis.whole:
        low, high = math.ceil(axis.low), math.floor(axis.high)
        return IntDistribution(low, high, log=axis.log, step=1 if axis.log else axis.step)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _key(trial: Any) -> str:
    return json.dumps(trial.params, sort_keys=True)


def _trial(sweep: Sweep, out: Path, asked: Any) -> Trial:
    name = f"trial-{asked.number:04d}"
    values = {axis.key: written(axis, asked.params[axis.key]) for axis in sweep.axes}
    try:
        return made(sweep, name, values, out)
    except ConfigError as error:
        trial = trial_of(name, values, sweep.base, out)
        trial.failed = str(error)
        return trial
