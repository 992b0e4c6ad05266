"""Settings of MLflow's tracking, the same for every command that logs (light)."""

import re
from dataclasses import dataclass

from pathoprog.errors import ConfigError
from pathoprog.settings import setting


@dataclass
class TrackingSettings:
    """MLflow, or nothing."""

    tracking: str = setting("mlflow", "where runs are logged", choices=("mlflow", "none"))
    tracking_uri: str = setting("sqlite:///runs/mlflow.db", "address of the MLflow store", kind="name")
    experiment: str = setting("pathoprog", "name of the MLflow experiment", kind="name")


def check_tracking(settings: TrackingSettings) -> None:
    """Refuse a store of files, which MLflow no longer takes (from 3.13 on), before any work.

    Raises:
        ConfigError: names the key, and what to give.
    """
    uri = settings.tracking_uri
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    if settings.tracking == "mlflow" and (scheme is None or scheme[1].lower() == "file"):
        raise ConfigError(
            f"track.tracking_uri={uri}: MLflow no longer keeps runs in a folder of files; give sqlite:///FILE, for"
            " instance sqlite:///runs/mlflow.db, or a server's address, or track.tracking=none"
        )
