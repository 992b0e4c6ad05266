"""Settings of MLflow's tracking, the same for every command that logs (light)."""

import re
from dataclasses import dataclass

from pathoprog.errors import ConfigError
from pathoprog.settings import setting
from pathoprog.system.machine.extras import how_to_install, installed

NOT_LOGGED = f"MLflow is not installed, so that this run is not logged ({how_to_install('train')} brings it)"
"""What is said where `track.tracking=auto` finds no MLflow."""


@dataclass
class TrackingSettings:
    """MLflow, or nothing."""

    tracking: str = setting(
        "auto", "where runs are logged; auto: to MLflow, if it is installed", choices=("auto", "mlflow", "none")
    )
    tracking_uri: str = setting("sqlite:///runs/mlflow.db", "address of the MLflow store", kind="name")
    experiment: str = setting("pathoprog", "name of the MLflow experiment", kind="name")


def check_tracking(settings: TrackingSettings) -> bool:
    """Whether runs are logged to MLflow; what cannot be done is refused before any work.

    Raises:
        ConfigError: MLflow is asked for and not installed, or the store is a folder of files, which MLflow no longer
            takes (from 3.13 on); names the key, and what to give.
    """
    if settings.tracking == "none":
        return False
    if not installed("mlflow"):
        if settings.tracking == "auto":
            return False
        raise ConfigError(
            f"track.tracking=mlflow, but MLflow is not installed: {how_to_install('train')}, or give"
            " track.tracking=none"
        )
    uri = settings.tracking_uri
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    if scheme is None or scheme[1].lower() == "file":
        raise ConfigError(
            f"track.tracking_uri={uri}: MLflow no longer keeps runs in a folder of files; give sqlite:///FILE, for"
            " instance sqlite:///runs/mlflow.db, or a server's address, or track.tracking=none"
        )
    return True
