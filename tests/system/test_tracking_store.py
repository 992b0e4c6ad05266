"""MLflow's store is set up by one function, without MLflow."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from house import DOORS, ROOT, sources

from pathoprog.errors import ConfigError
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.system.tracking_store import open_store


class MadeClient:
    """What is asked of MLflow's client; the experiment `there` exists."""

    def __init__(self, uri: str):
        self.uri, self.made = uri, []

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=7) if name == "there" else None

    def create_experiment(self, name: str, **place: str) -> str:
        self.made.append((name, place))
        return "8"


def test_an_experiment_is_found_or_made_beside_its_store(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    client, identity = open_store(TrackingSettings("mlflow", uri, "there"), MadeClient, ())
    assert (client.uri, client.made, identity) == (uri, [], "7")
    client, identity = open_store(TrackingSettings("mlflow", uri, "other"), MadeClient, ())
    assert identity == "8"
    assert client.made == [("other", {"artifact_location": (tmp_path / "new" / "mlartifacts").resolve().as_uri()})]
    client, _ = open_store(TrackingSettings("mlflow", "https://server", "other"), MadeClient, ())
    assert client.made == [("other", {})]


def test_a_store_that_fails_is_named_with_the_remedy(tmp_path: Path):
    def refused(uri: str) -> None:
        raise RuntimeError("no such\nserver")

    with pytest.raises(ConfigError, match=r"https://server: MLflow cannot use this store \(no such\); give"):
        open_store(TrackingSettings("mlflow", "https://server"), refused, (RuntimeError,))


def test_no_command_sets_up_a_store_of_its_own():
    again = [
        str(path)
        for path in sources("pathoprog", *DOORS)
        if "create_experiment(" in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert again == ["pathoprog/system/tracking_store.py"]
