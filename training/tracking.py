"""MLflow's tracking of training: parent run per ensemble, child per member, the bundle as a registered model's version.

No patient ids ever go there. The only module of the researchers' door that imports MLflow, and only where
runs are logged (`check_tracking`).
"""

import contextlib
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pathoprog.errors import InputError
from pathoprog.settings import as_dict, flat
from pathoprog.system.console import say, warn
from pathoprog.system.files import read_json, write_json
from pathoprog.system.revision import source_tags
from pathoprog.system.tracking_config import NOT_LOGGED, TrackingSettings, check_tracking
from pathoprog.system.tracking_store import before_mlflow, open_store
from pathoprog.training.run_process import is_over, process_tags

MAX_PARAM_CHARACTERS = 500
RECORD = "mlflow.json"
"""In a run's folder: which run of which store it is, so that the same command goes on in the same run."""


class Tracking:
    """A store to log to, or nothing at all (`tracking=none`, or no MLflow): every call is then free and does nothing.

    The store and the experiment are made here, once, by the parent: parallel first use of SQLite crashes. Once training
    is under way, a store that fails ends nothing: it is told of once, and metrics wait for it.

    Attributes:
        private: ids of patients and slides, which are taken out of every text that is logged.

    Raises:
        ConfigError: MLflow is not installed, or cannot use the store; before any work.
    """

    def __init__(self, settings: TrackingSettings):
        self.client: Any = None
        self.experiment_id = ""
        self.private: set[str] = set()
        self._settings = settings
        self._waiting: dict[str, list[Any]] = {}
        self._logged: dict[str, dict[str, int]] = {}
        self._told = False
        if not check_tracking(settings):
            if settings.tracking == "auto":
                say(NOT_LOGGED)
            return
        before_mlflow(settings)
        from mlflow.tracking import MlflowClient

        self.client, self.experiment_id = open_store(settings, MlflowClient, _store_errors())
        try:
            self._end_orphans()
        except _store_errors() as error:
            self._tell(error)

    def start(
        self, name: str, settings: Any, parent: str = "", folder: Path | None = None, mark: str = "", **tags: str
    ) -> str:
        """Start a run and log its settings, or go on in the one that `folder` names.

        Args:
            name: of the run.
            settings: logged as parameters.
            parent: id of the run that it belongs to.
            folder: where it is noted which run this is; None: it is a new one each time.
            mark: of what the run is: with another one it is a new run.
            tags: of the run.

        Returns:
            Its id, '' without tracking.
        """
        if self.client is None:
            return ""
        given = {
            "mlflow.runName": name,
            **({"mlflow.parentRunId": parent} if parent else {}),
            **source_tags(_command()),
            **process_tags(),
            **tags,
        }
        try:
            if run_id := self._known(folder, mark):
                for key, value in given.items():
                    self.client.set_tag(run_id, key, value)
                self.client.update_run(run_id, status="RUNNING")
                self._logged[run_id] = self._last_steps(run_id)
                return run_id
            run_id = str(self.client.create_run(self.experiment_id, tags=given).info.run_id)
            from mlflow.entities import Param

            params = [Param(key, str(value)[:MAX_PARAM_CHARACTERS]) for key, value in flat(as_dict(settings)).items()]
            for start in range(0, len(params), 100):
                self.client.log_batch(run_id, params=params[start : start + 100])
        except _store_errors() as error:
            self._tell(error)
            return ""
        if folder is not None:
            write_json(folder / RECORD, {**self._store(), "run_id": run_id, "mark": mark})
        return run_id

    def _end_orphans(self) -> None:
        """End the runs of processes that live no longer as KILLED: they had no time to."""
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], "attributes.status = 'RUNNING'", max_results=1000, page_token=token
            )
            for run in page:
                if is_over(run.data.tags):
                    self.client.set_terminated(run.info.run_id, "KILLED")
            token = page.token
            if not token:
                return

    def _store(self) -> dict[str, str]:
        return {"tracking_uri": self._settings.tracking_uri, "experiment_id": str(self.experiment_id)}

    def _known(self, folder: Path | None, mark: str) -> str:
        """The run that a folder names, if this store has it and it is of the same mark."""
        if folder is None or not (folder / RECORD).is_file():
            return ""
        found = read_json(folder / RECORD)
        same = found.get("mark") == mark and all(found.get(key) == value for key, value in self._store().items())
        return str(found["run_id"]) if same and self.knows(found["run_id"]) else ""

    def _last_steps(self, run_id: str) -> dict[str, int]:
        """The last step of each metric that a run has."""
        names = self.client.get_run(run_id).data.metrics
        return {name: max(item.step for item in self.client.get_metric_history(run_id, name)) for name in names}

    def _tell(self, error: Exception) -> None:
        """Say once that the store fails."""
        if not self._told:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warn(f"MLflow: {first[:200]}; training goes on, its metrics lie in each folder's metrics.jsonl")
        self._told = True

    def _tried(self, call: Callable[[], Any]) -> bool:
        """Whether a call to the store went well."""
        try:
            call()
        except _store_errors() as error:
            self._tell(error)
            return False
        return True

    @contextlib.contextmanager
    def until_end(self, run_id: str) -> Iterator[None]:
        """End a run with the block: FINISHED, FAILED by an error, KILLED where it was stopped from outside."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self.end(run_id, "KILLED")
            raise
        except BaseException:
            self.end(run_id, "FAILED")
            raise
        self.end(run_id)

    def datasets(self, run_id: str, cohorts: dict[str, dict[str, Any]]) -> None:
        """Log dataset inputs: one per role, its digest the hash over ids and content."""
        if not run_id:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(name=role, digest=str(facts["sha256"])[:36], source_type="cohort", source=str(facts["sha256"])),
                [InputTag("mlflow.data.context", role), InputTag("n_patients", str(facts["n_patients"]))],
            )
            for role, facts in cohorts.items()
        ]
        self._tried(lambda: self.client.log_inputs(run_id, inputs))

    def metrics(self, run_id: str, lines: list[dict[str, Any]]) -> None:
        """Log lines of metrics, each with its step and its time (`time`, seconds since 1970; without it: now).

        A step that a run had before it was gone on with is not logged twice.
        """
        if not run_id or not lines:
            return
        from mlflow.entities import Metric

        before = self._logged.get(run_id, {})
        waiting = self._waiting.setdefault(run_id, [])
        for line in lines:
            known = before if "time" in line else {}
            moment = int(1000 * float(line.get("time", time.time())))
            waiting += [
                Metric(key, float(value), moment, int(line["step"]))
                for key, value in line.items()
                if key not in ("step", "time")
                and value is not None
                and math.isfinite(float(value))
                and int(line["step"]) > known.get(key, -1)
            ]
        while waiting and self._tried(lambda: self.client.log_batch(run_id, metrics=waiting[:500])):
            del waiting[:500]

    def tag(self, run_id: str, **tags: str) -> None:
        """Set tags."""
        for key, value in tags.items() if run_id else ():
            self._tried(partial(self.client.set_tag, run_id, key, value))

    def file(self, run_id: str, path: Path, folder: str = "") -> None:
        """Log one file as an artifact."""
        if run_id:
            self._tried(lambda: self.client.log_artifact(run_id, str(path), folder or None))

    def text(self, run_id: str, name: str, text: str) -> None:
        """Log a text as the artifact `name`; each id in `private` is taken out of it."""
        if run_id:
            self._tried(lambda: self.client.log_text(run_id, without(text, self.private), name))

    def folder(self, run_id: str, path: Path, name: str) -> None:
        """Log a folder with all its files as the artifact folder `name`."""
        if run_id:
            self._tried(lambda: self.client.log_artifacts(run_id, str(path), name))

    def knows(self, run_id: str) -> bool:
        """Whether this store holds the run."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(run_id) and self.client is not None and bool(self.client.get_run(run_id))
        except MlflowException:
            return False

    def register(self, name: str, run_id: str, folder: str, ensemble: str) -> str:
        """Make a run's artifact folder a version of the registered model `name`, with the alias ``candidate``.

        Args:
            name: of the model; characters that MLflow refuses become hyphens.
            run_id: of the run; '' does nothing.
            folder: of its artifacts.
            ensemble: the ensemble's id, a tag by which `promote` finds the version.

        Returns:
            ``NAME version N``; the version that is there already, if the ensemble is registered.
        """
        if not run_id:
            return ""
        from mlflow.exceptions import MlflowException

        name = re.sub(r"[/:\s]+", "-", name)
        found = self._versions(ensemble)
        if found:
            return f"{found[0].name} version {found[0].version}"
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{folder}"
        version = self.client.create_model_version(name, source, run_id, tags={"ensemble_id": ensemble})
        self.client.set_registered_model_alias(name, "candidate", version.version)
        return f"{name} version {version.version}"

    def promote(self, ensemble: str, alias: str) -> tuple[str, str]:
        """Give an ensemble's registered version an alias, taking it from the version that had it.

        Returns:
            ``NAME version N``, and the version that had the alias before ('' if none).

        Raises:
            InputError: the ensemble is not registered in this store.
        """
        from mlflow.exceptions import MlflowException

        found = self._versions(ensemble)
        if not found:
            raise InputError(
                f"ensemble {ensemble[:16]} is not registered in this MLflow store; `pathoprog ensemble` registers what"
                " it locks, where track.tracking=mlflow, and track.tracking_uri must be the same"
            )
        name, version = found[0].name, found[0].version
        try:
            before = str(self.client.get_model_version_by_alias(name, alias).version)
        except MlflowException:
            before = ""
        self.client.set_registered_model_alias(name, alias, version)
        return f"{name} version {version}", before

    def _versions(self, ensemble: str) -> list[Any]:
        return [found for found in self.client.search_model_versions() if found.tags.get("ensemble_id") == ensemble]

    def end(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run: FINISHED, FAILED or KILLED."""
        if run_id:
            self.metrics(run_id, [{"step": 0}])  # those that wait
            self._tried(lambda: self.client.set_terminated(run_id, status))


def _command() -> str:
    """The command that this process is of, where it is one of ours."""
    ours = len(sys.argv) > 1 and Path(sys.argv[0]).name in ("pathoprog", "cli.py")
    return sys.argv[1] if ours else ""


def without(text: str, private: set[str]) -> str:
    """A text with each id in it replaced by ``[id]``."""
    if not private:
        return text
    names = "|".join(re.escape(name) for name in sorted(private, key=len, reverse=True) if name)
    return re.sub(rf"(?<![^\W_])(?:{names})(?![^\W_])", "[id]", text)


def _store_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises where its store fails."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError
