"""Setting up MLflow's store, once for all commands that log; MLflow itself is known to the doors' tracking alone."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pathoprog.errors import ConfigError
from pathoprog.system.tracking_config import TrackingSettings, check_tracking

SQLITE = "sqlite:///"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Read when MLflow is imported: a server that is not there is told of in seconds, not minutes."""


def before_mlflow(settings: TrackingSettings) -> None:
    """Check the settings and set the environment; to be called before MLflow is imported.

    Raises:
        ConfigError: MLflow is not installed, or keeps no runs in such a store.
    """
    check_tracking(settings)
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def open_store(
    settings: TrackingSettings, client_of: Callable[[str], Any], failures: tuple[type[Exception], ...]
) -> tuple[Any, str]:
    """Make the store and the experiment where they are not there yet; an SQLite store's artifacts lie beside it.

    Args:
        settings: which store and experiment.
        client_of: gives MLflow's client of a store.
        failures: what MLflow raises where its store fails.

    Returns:
        The client, and the experiment's id.

    Raises:
        ConfigError: MLflow cannot use the store.
    """
    uri = settings.tracking_uri
    try:
        prepare_store(uri)
        with _alone(uri):
            client = client_of(uri)
            experiment = client.get_experiment_by_name(settings.experiment)
            if experiment:
                return client, str(experiment.experiment_id)
            place = {"artifact_location": _artifacts(uri)} if uri.startswith(SQLITE) else {}
            return client, str(client.create_experiment(settings.experiment, **place))
    except failures as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(
            f"track.tracking_uri={uri}: MLflow cannot use this store ({first[:200]}); give sqlite:///FILE or a server's"
            " address, or track.tracking=none"
        ) from error


def prepare_store(uri: str) -> None:
    """Make the folder of an SQLite store."""
    if uri.startswith(SQLITE):
        Path(uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time make an SQLite store's tables: two at once fail over them."""
    if not uri.startswith(SQLITE):
        yield
        return
    import fcntl

    with Path(f"{uri.removeprefix(SQLITE)}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _artifacts(uri: str) -> str:
    return (Path(uri.removeprefix(SQLITE)).parent / "mlartifacts").resolve().as_uri()
