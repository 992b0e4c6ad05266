"""Logging a validation to MLflow: numbers, tables and figures, never a patient's id."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pathoprog.errors import InputError
from pathoprog.system.csv_files import read_frame
from pathoprog.system.revision import source_tags
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.system.tracking_store import before_mlflow, open_store


def log_validation(
    uri: str,
    experiment: str,
    name: str,
    params: dict[str, str],
    metrics: dict[str, float],
    files: Mapping[str, Sequence[Path]],
    forbidden: set[str],
) -> str:
    """Log one validation as one run.

    Args:
        uri: of MLflow's store, for example ``sqlite:///runs/mlflow.db``.
        experiment: created if it does not exist.
        name: of the run.
        params: hashes and settings; no paths of the user's.
        metrics: finite ones are logged.
        files: folder of the artifact -> files.
        forbidden: patient and slide ids; a table that holds one of them is refused.

    Returns:
        The run's id.

    Raises:
        ConfigError: MLflow is not installed, or cannot use the store.
        InputError: an id in a table.
    """
    settings = TrackingSettings("mlflow", uri, experiment)
    before_mlflow(settings)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    for path in (path for paths in files.values() for path in paths if path.suffix == ".csv"):
        refuse_ids(path, forbidden)
    client, identity = open_store(settings, MlflowClient, (MlflowException, SQLAlchemyError, OSError))
    run = client.create_run(identity, run_name=name, tags={"kind": "validation", **source_tags("validate")})
    run_id = str(run.info.run_id)
    for key, text in params.items():
        client.log_param(run_id, key, text[:500])
    for key, value in metrics.items():
        if pd.notna(value) and abs(value) != float("inf"):
            client.log_metric(run_id, key, float(value))
    for folder, paths in files.items():
        for path in paths:
            client.log_artifact(run_id, str(path), folder)
    client.set_terminated(run_id)
    return run_id


def refuse_ids(path: Path, forbidden: set[str]) -> None:
    """Stop before a table with a patient's or slide's id leaves the house.

    Raises:
        InputError: names the table, not the id.
    """
    table = read_frame(path)
    for column in table.columns:
        # a whole cell that is an id; a count in a column of numbers may equal an id that is a plain number
        hits = set(table[column]) & forbidden
        if any(not hit.isdigit() for hit in hits) or column in ("patient_id", "slide_id"):
            raise InputError(f"{path.name}: the column {column} holds patient or slide ids; it is not logged")
