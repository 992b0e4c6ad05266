"""MLflow's tracking of training: parent run per ensemble, child per member, the bundle as a registered model's version.

No patient ids ever go there. The only module of the researchers' door that imports MLflow, and only where
`track.tracking=mlflow`.
"""

import importlib.util
import math
import os
import re
from pathlib import Path
from typing import Any

from pathoprog.errors import ConfigError, InputError
from pathoprog.settings import as_dict, flat
from pathoprog.tracking_config import TrackingSettings

MAX_PARAM_CHARACTERS = 500


class Tracking:
    """A store to log to, or nothing at all (`tracking=none`): every call is then free and does nothing.

    The store and the experiment are made here, once, by the parent: parallel first use of SQLite crashes.
    """

    def __init__(self, settings: TrackingSettings):
        self.client: Any = None
        self.experiment_id = ""
        if settings.tracking == "none":
            return
        if importlib.util.find_spec("mlflow") is None:
            raise ConfigError("track.tracking=mlflow, but MLflow is not installed; give track.tracking=none")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
        from mlflow.tracking import MlflowClient

        prepare_store(settings.tracking_uri)
        self.client = MlflowClient(tracking_uri=settings.tracking_uri)
        experiment = self.client.get_experiment_by_name(settings.experiment)
        self.experiment_id = (
            experiment.experiment_id
            if experiment
            else self.client.create_experiment(settings.experiment, **_place(settings))
        )

    def start(self, name: str, settings: Any, parent: str = "", **tags: str) -> str:
        """Start a run and log its settings; returns its id ('' without tracking)."""
        if self.client is None:
            return ""
        tags = {"mlflow.runName": name, **({"mlflow.parentRunId": parent} if parent else {}), **tags}
        run_id = str(self.client.create_run(self.experiment_id, tags=tags).info.run_id)
        from mlflow.entities import Param

        params = [Param(key, str(value)[:MAX_PARAM_CHARACTERS]) for key, value in flat(as_dict(settings)).items()]
        for start in range(0, len(params), 100):
            self.client.log_batch(run_id, params=params[start : start + 100])
        return run_id

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
        self.client.log_inputs(run_id, inputs)

    def metrics(self, run_id: str, lines: list[dict[str, Any]]) -> None:
        """Log lines of metrics, each with its step."""
        if not run_id or not lines:
            return
        from mlflow.entities import Metric

        entries = [
            Metric(key, float(value), 0, int(line["step"]))
            for line in lines
            for key, value in line.items()
            if key != "step" and math.isfinite(float(value))
        ]
        for start in range(0, len(entries), 500):
            self.client.log_batch(run_id, metrics=entries[start : start + 500])

    def tag(self, run_id: str, **tags: str) -> None:
        """Set tags."""
        if run_id:
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value)

    def file(self, run_id: str, path: Path, folder: str = "") -> None:
        """Log one file as an artifact."""
        if run_id:
            self.client.log_artifact(run_id, str(path), folder or None)

    def folder(self, run_id: str, path: Path, name: str) -> None:
        """Log a folder with all its files as the artifact folder `name`."""
        if run_id:
            self.client.log_artifacts(run_id, str(path), name)

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
            self.client.set_terminated(run_id, status)


def prepare_store(uri: str) -> None:
    """Make the folder of an SQLite store."""
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)


def _place(settings: TrackingSettings) -> dict[str, str]:
    """Artifacts of an SQLite store lie beside it."""
    if settings.tracking_uri.startswith("sqlite:///"):
        folder = Path(settings.tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
        return {"artifact_location": folder.resolve().as_uri()}
    return {}
