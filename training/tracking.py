"""MLflow's tracking of training: parent run per ensemble, child per member. No patient ids ever go there.

The only module of the researchers' door that imports MLflow, and only where `track.tracking=mlflow`.
"""

import importlib.util
import math
from pathlib import Path
from typing import Any

from pathoprog.errors import ConfigError
from pathoprog.settings import as_dict, flat
from pathoprog.training.config import TrackingSettings

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
