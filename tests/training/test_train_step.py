"""The benchmark of a step: it runs, and what it calls full size is the published recipe's experiment."""

import importlib.util
import re

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
    for words in ("tiles/s", "waiting for data", "bare forward and backward", "it is bound by"):
        assert words in text
    found = re.search(r"one step taken apart, \d+ ms: (.*)", text)[1]
    parts = {name: float(share) for name, share in re.findall(r"(\w+) ([\d.]+)%", found)}
    assert tuple(parts) == benchmark.PARTS and sum(parts.values()) == pytest.approx(100, abs=0.5)
    with pytest.raises(SystemExit, match="no such key"):
        benchmark.main(["device=cpu", "patient=3"])


@pytest.mark.slow
def test_new_ways_of_reading_and_of_saving_memory_are_measured_too(benchmark, capsys):
    small = ["steps=4", "size_px=32", "tiles=2", "patients=4", "accumulate=2"]
    keys = ["jpeg=90", "fetch_threads=2", "prefetch=0", "checkpoint_activations=1"]
    assert benchmark.main(["device=cpu", *small, *keys]) == 0
    assert "the loop reaches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fetch", "prefetch", "words"),
    [(9.0, 2, "bound by reading: it takes 2.2 times"), (9.0, 0, "of it backward"), (1.0, 2, "of it backward")],
)
def test_what_bounds_a_step_is_the_slower_of_reading_and_the_rest(benchmark, fetch, prefetch, words):
    parts = {"fetch": fetch, "augment": 0.5, "forward": 1.0, "backward": 2.0, "optimiser": 0.6}
    first, second = benchmark.shares(parts, prefetch)
    assert f"fetch {fetch / (fetch + 4.1):.1%}" in first and words in second
