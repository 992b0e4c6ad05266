"""More slides than a process may have files open: training opens a slide's file only while it reads of it."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from made_store import SIZE_PX, made_settings

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.features import write_features
from pathoprog.system.files import read_json
from pathoprog.tiles.config import TileSpec
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.feature_store import feature_path
from pathoprog.training.data.tile_store import cut_folder
from pathoprog.training.train import train

SLIDES = 1200
MOST_FILES = 1024


@pytest.fixture
def few_files():
    """As few files at once as a process has by default; what is open counts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("source", ["store", pytest.param("features", marks=pytest.mark.slow)])
def test_1200_slides_train_under_a_limit_of_1024_files(tmp_path, source, few_files):
    data = DataSettings(
        str(tmp_path / "cohort.csv"),
        str(tmp_path / "outcomes.csv"),
        source=source,
        store=str(tmp_path / "store"),
        features=str(tmp_path / "features"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, SIZE_PX),
        tiles_40x=TileSpec("40x", 0.25, SIZE_PX),
    )
    folder = cut_folder(data, "10x")
    folder.mkdir(parents=True)
    cohort, outcomes = ["patient_id,slide_id,slide_path,cohort,role"], ["patient_id,followup_days,event"]
    rng = np.random.default_rng(1)
    for number in range(SLIDES):
        name, poor = f"P{number}", number % 2
        cohort.append(f"{name},{name},{name}.tif,north,{'tuning' if number < 100 else 'training'}")
        outcomes.append(f"{name},{500 + number if poor else 2500},{poor}")
        if source == "store":
            np.save(folder / f"{name}.npy", rng.integers(0, 255, (2, SIZE_PX, SIZE_PX, 3)).astype(np.uint8))
            (folder / f"{name}.json").write_text(json.dumps({"sha256": name, "x0": [0, 32], "y0": [0, 0]}))
        else:
            facts = {"encoder": {}, "spec": {}, "slide_sha256": name}
            values = rng.normal(size=(2, 4)).astype(np.float16)
            write_features(feature_path(data, "10x", name), values, np.arange(2), np.arange(2), facts)
    (tmp_path / "cohort.csv").write_text("\n".join(cohort))
    (tmp_path / "outcomes.csv").write_text("\n".join(outcomes))
    settings = made_settings(data, tmp_path / "run", steps=2, evaluate_every=2, recalibrate=1)
    if source == "features":
        settings.network = NetworkSettings(encoder="none", feature_dim=4, instance_dim=4)
    assert len(list(Path("/proc/self/fd").iterdir())) < MOST_FILES - 100
    train(settings, lambda step: None)
    cohorts = read_json(tmp_path / "run" / "candidate.json")["cohorts"]
    assert (cohorts["training"]["n_slides"], cohorts["tuning"]["n_slides"]) == (1100, 100)
