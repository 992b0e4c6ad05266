"""The benchmark of a step: it runs, and what it calls full size is the published recipe's experiment."""

import importlib.util

import pytest
from house import ROOT

pytest.importorskip("torch")

from pathoprog.cli import compose


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("train_step", ROOT / "benchmarks" / "train_step.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_full_size_is_that_of_the_experiment(benchmark):
    wanted = compose("train_ensemble", ["experiment=domore_v1"], checked=False)
    found = benchmark.full_recipe("cpu", "out", benchmark.FULL)
    assert found.network == wanted.network and found.augment == wanted.augment
    for key in (
        "loss",
        "patients_per_step",
        "tiles_per_patient",
        "accumulate",
        "lr",
        "ema_decay",
        "clip_norm",
        "dtype",
    ):
        assert getattr(found.fit, key) == getattr(wanted.fit, key), key
    assert benchmark.FULL["size_px"] == wanted.data.tiles_40x.size_px


def test_it_prints_what_is_asked_of_it(benchmark, capsys):
    assert benchmark.main(["device=cpu", "steps=5", "size_px=32", "tiles=2"]) == 0
    text = capsys.readouterr().out
    for words in ("tiles/s", "waiting for data", "bare forward and backward"):
        assert words in text
    with pytest.raises(SystemExit, match="no such key"):
        benchmark.main(["device=cpu", "patient=3"])
