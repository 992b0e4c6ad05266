"""Settings of `pathoprog demo`."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class DemoConfig:
    """The demo: where, which seed, and what to pass on to its steps."""

    out: str = setting("runs/demo", "folder to write to", kind="path", required=True)
    seed: int = setting(1, "of patients, slides and training", low=0)
    candidates: int = setting(6, "candidates per resolution, of which five are chosen", low=5)
    tracking: str = setting("mlflow", "where runs are logged", choices=("mlflow", "none"))
    tracking_uri: str = setting("sqlite:///runs/mlflow.db", "MLflow's store", kind="name")
    simulate: list[str] = setting([], "more overrides for the step `simulate`", kind="names")
    data: list[str] = setting([], "more overrides of data.* for the steps `tiles` and `train_ensemble`", kind="names")
    train: list[str] = setting([], "more overrides for the step `train_ensemble`", kind="names")
    score: list[str] = setting([], "more overrides for the step `score`", kind="names")
    validate: list[str] = setting([], "more overrides for the step `validate`", kind="names")
