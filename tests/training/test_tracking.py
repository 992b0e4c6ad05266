"""MLflow as its users know it: a bundle is a registered model's version, candidate at first, champion when promoted."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("mlflow")
from made_bundle import made_bundle
from made_store import made_many, made_settings, made_store

from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import ConfigError, InputError
from pathoprog.settings import as_dict
from pathoprog.system.files import sha256_file, write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import EnsembleConfig, PromoteConfig
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.lock import promote
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks

pytestmark = pytest.mark.filterwarnings("ignore")  # those of MLflow and of what it stands on


@pytest.mark.slow
def test_a_bundle_is_registered_as_candidate_and_promoted_by_hand(tmp_path: Path, capsys) -> None:
    from mlflow.tracking import MlflowClient

    settings = made_many(
        made_settings(made_store(tmp_path / "data", patients=10), tmp_path / "runs", steps=1, recalibrate=1), 5
    )
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    record = {"candidates": [task.folder.name for task in tasks], "run_id": "gone", "settings": as_dict(settings)}
    write_json(tmp_path / "runs" / ENSEMBLE_RUN, record)
    store = TrackingSettings("mlflow", f"sqlite:///{tmp_path}/store/mlflow.db", "test")
    chosen = EnsembleConfig(str(tmp_path / "runs"), str(tmp_path / "one"), name="bowel: v1", bootstrap=0, track=store)
    choose.run(chosen)
    choose.run(chosen)  # again: the same ensemble is the same version
    choose.run(replace(chosen, out=str(tmp_path / "two"), aggregation="max"))
    client = MlflowClient(store.tracking_uri)
    versions = sorted(client.search_model_versions(), key=lambda version: int(version.version))
    assert [version.name for version in versions] == ["bowel-v1", "bowel-v1"]
    ids = [ensemble_id(tmp_path / name) for name in ("one", "two")]
    assert [version.tags["ensemble_id"] for version in versions] == ids
    assert client.get_model_version_by_alias("bowel-v1", "candidate").version == versions[1].version

    for name, before in (("one", ""), ("two", "(before: version 1)")):
        assert promote.run(PromoteConfig(str(tmp_path / name), track=store)) == 0
        assert before in capsys.readouterr().out
    champion = client.get_model_version_by_alias("bowel-v1", "champion")
    assert champion.tags["ensemble_id"] == ids[1]

    run = client.get_run(champion.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["kind"] == "ensemble"
    for resolution in ("10x", "40x"):
        low, c, high = (run.data.metrics[f"ensemble_tuning_c{part}_{resolution}"] for part in ("_lower", "", "_upper"))
        assert low <= c <= high and 0 < run.data.metrics[f"threshold_{resolution}"] < 1
    shares = [run.data.metrics[f"tuning_share_{name}"] for name in ("good", "uncertain", "poor")]
    assert sum(shares) == pytest.approx(1)
    place = Path(champion.source.removeprefix("file://"))
    manifest = place / "manifest.json"
    assert sha256_file(manifest) == ids[1] and len(list((place / "members").iterdir())) == 10
    assert (place.parent / "figures" / "two.choice.png").is_file()
    held = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.suffix not in (".safetensors",)]
    assert len(held) > 5 and not any(f"P{n:03d}".encode() in path.read_bytes() for path in held for n in range(20))


@pytest.mark.slow
def test_what_is_not_registered_cannot_be_promoted(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "bundle", size_px=32)
    with pytest.raises(ConfigError, match="no registry"):
        promote.run(PromoteConfig(str(bundle), track=TrackingSettings("none")))
    store = TrackingSettings("mlflow", f"sqlite:///{tmp_path}/mlflow.db", "test")
    with pytest.raises(InputError, match="not registered"):
        promote.run(PromoteConfig(str(bundle), track=store))
