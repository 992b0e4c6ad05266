"""Settings of MLflow's tracking, the same for every command that logs (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class TrackingSettings:
    """MLflow, or nothing."""

    tracking: str = setting("mlflow", "where runs are logged", choices=("mlflow", "none"))
    tracking_uri: str = setting("sqlite:///runs/mlflow.db", "MLflow's store", kind="name")
    experiment: str = setting("pathoprog", "MLflow experiment", kind="name")
