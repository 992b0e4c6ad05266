"""On a CUDA device: the same scores as on the CPU, whatever the batch, and training that learns (`make test-gpu`)."""

import gc
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from made_bundle import made_bundle

from pathoprog.ensemble.loading import load_bundle
from pathoprog.errors import ConfigError
from pathoprog.networks.augmentation import augment
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import FeatureEncoderSettings
from pathoprog.networks.engines.cuda_engine import CudaEngine
from pathoprog.networks.feature_encoder import FeatureEncoder
from pathoprog.scoring.scorer import Scorer
from pathoprog.system.machine.compiling import why_not
from pathoprog.system.machine.device import DTYPES, resolve_device, resolve_dtype
from pathoprog.system.machine.pinned import register

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

TOLERANCE = {"fp32": 1e-5, "bf16": 5e-3}  # what results promise between devices and batch sizes


def test_auto_takes_the_gpu_and_its_precision() -> None:
    device = resolve_device("auto")
    assert device == torch.device("cuda", 0)
    assert resolve_dtype("auto", device) in DTYPES.values()
    with pytest.raises(ConfigError, match="there are cuda:0"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_scores_agree_with_the_cpu_s_whatever_the_batch(dtype: str, tmp_path: Path) -> None:
    folder = made_bundle(tmp_path / "bundle")
    rng = np.random.default_rng(3)
    tiles = rng.integers(0, 256, (40, 96, 96, 3), dtype=np.uint8)
    wanted = Scorer(load_bundle(folder), torch.device("cpu"))
    scorer = Scorer(load_bundle(folder), torch.device("cuda", 0), DTYPES[dtype])
    for resolution in ("10x", "40x"):
        expected = wanted.bag_scores(resolution, wanted.instances(resolution, tiles))
        for size in (40, 7):
            parts = [scorer.instances(resolution, tiles[i : i + size]) for i in range(0, len(tiles), size)]
            joined = [torch.cat(values) for values in zip(*parts, strict=True)]
            score = np.mean(scorer.bag_scores(resolution, joined))
            assert score == pytest.approx(np.mean(expected), abs=TOLERANCE[dtype])
    assert max(expected) - min(expected) > 10 * TOLERANCE[dtype], "members that agree anyway show nothing"


def test_a_call_too_large_for_the_device_is_halved(tmp_path: Path) -> None:
    folder = made_bundle(tmp_path / "bundle")
    tiles = np.random.default_rng(4).integers(0, 256, (64, 448, 448, 3), dtype=np.uint8)
    wanted = Scorer(load_bundle(folder), torch.device("cuda", 0)).instances("10x", tiles)
    gc.collect()  # the graph of 64 tiles goes with the scorer
    torch.cuda.empty_cache()
    scorer = Scorer(load_bundle(folder), torch.device("cuda", 0))
    total = torch.cuda.get_device_properties(0).total_memory
    room = torch.cuda.memory_reserved() + 2**29  # less than 64 tiles take
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        parts, _ = scorer.instances_in_parts("10x", tiles)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    engine = scorer.networks["10x"].ready(448, 448)
    assert isinstance(engine, CudaEngine) and 1 <= engine.at_once < 64
    for part, one in zip(parts, wanted, strict=True):
        torch.testing.assert_close(part, one, atol=1e-4, rtol=0)


def test_compiled_and_captured_networks_give_what_plain_ones_give(tmp_path: Path) -> None:
    dtype = "bf16"  # what is computed by default; each dtype takes half a minute to compile
    folder = made_bundle(tmp_path / "bundle")
    tiles = np.random.default_rng(5).integers(0, 256, (40, 96, 96, 3), dtype=np.uint8)
    device, said = torch.device("cuda", 0), list[str]()
    compiled = Scorer(load_bundle(folder), device, DTYPES[dtype], tell=said.append, compiled=True)
    compiled.warm()
    plain = Scorer(load_bundle(folder), device, DTYPES[dtype])
    for resolution in ("10x", "40x"):
        assert "one graph" in compiled.how(resolution), said
        assert not why_not() or "not compiled" in compiled.how(resolution)
        score = np.mean(compiled.bag_scores(resolution, compiled.instances(resolution, tiles)))
        wanted = np.mean(plain.bag_scores(resolution, plain.instances(resolution, tiles)))
        assert score == pytest.approx(wanted, abs=TOLERANCE[dtype])


def test_tiles_memory_may_be_used_again_while_they_are_computed(tmp_path: Path) -> None:
    scorer = Scorer(load_bundle(made_bundle(tmp_path / "bundle")), torch.device("cuda", 0))
    tiles = np.random.default_rng(6).integers(0, 256, (6, 64, 96, 96, 3), dtype=np.uint8)
    wanted = [scorer.instances("10x", batch)[0].cpu() for batch in tiles]
    memory = tiles[0].copy()
    release = register(memory.reshape(-1))
    found = []
    for batch in tiles:
        memory[:] = batch
        found.append(scorer.instances("10x", scorer.on_device(memory))[0])
        memory[:] = 0
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.cpu(), other)
    release()


def test_features_that_are_fetched_at_the_end_are_those_of_each_batch() -> None:
    settings = FeatureEncoderSettings("mobilenet_v2", precision="fp32")
    encoder = FeatureEncoder(settings, torch.device("cuda", 0), torch.float32)
    tiles = np.random.default_rng(7).integers(0, 256, (6, 64, 96, 96, 3), dtype=np.uint8)
    wanted = [encoder.features(batch).cpu() for batch in tiles]
    memory = tiles[0].copy()
    found = []
    for batch in tiles:
        memory[:] = batch
        found.append(encoder.features(memory))
        memory[:] = 0
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.cpu(), other)


def test_augmentation_gives_the_tiles_that_the_cpu_gives() -> None:
    settings = AugmentSettings(crop=0.2, blur=1.0, zoom=0.1, jpeg=0.5)
    tiles = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (32, 96, 96, 3), dtype=np.uint8))
    wanted = augment(tiles, settings, torch.Generator().manual_seed(1))
    found = augment(tiles.to("cuda"), settings, torch.Generator().manual_seed(1))
    assert found.is_cuda
    # a coefficient of JPEG on the edge of two steps may fall to the other side; the rest is rounding
    assert (found.cpu() - wanted).abs().mean() < 0.1


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_training_on_the_gpu_learns(dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("shapely", reason="reading a cohort's tiles needs shapely")
    from made_store import made_settings, made_store, separation

    from pathoprog.training.train import train

    settings = made_settings(made_store(tmp_path / "store"), tmp_path / "run", steps=30, evaluate_every=30, dtype=dtype)
    settings.device = "cuda:0"
    settings.fit.ema_decay = 0.8
    train(settings, lambda step: None)
    assert separation(tmp_path / "run") > 0.85


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("loss", ["cross_entropy", "cox"])
def test_two_gpus_train_one_candidate_alike(loss: str, tmp_path: Path) -> None:
    pytest.importorskip("shapely", reason="reading a cohort's tiles needs shapely")
    from made_store import made_settings, made_store, separation

    from pathoprog.training.train import train

    settings = made_settings(made_store(tmp_path / "store"), tmp_path / "run", steps=30, evaluate_every=30, loss=loss)
    settings.device, settings.network.head = "auto", {"cross_entropy": "poor", "cox": "risk"}[loss]
    settings.fit.ema_decay, settings.fit.gpus, settings.fit.balance = 0.8, 2, "none"
    train(settings, lambda step: None)  # which checks that the GPUs' networks stay equal
    assert separation(tmp_path / "run") > 0.85
