"""The ten networks on a device: equal scores however the tiles are batched, fused or computed."""

import numpy as np
import pytest
import torch
from made_bundle import made_bundle, made_encoder

from pathoprog.ensemble.loading import load_bundle
from pathoprog.networks.config import POOLINGS
from pathoprog.networks.member import prepare
from pathoprog.networks.poolings.pooling import Pooling, pooling_class
from pathoprog.scoring.scorer import Scorer, fuse_batch_norm
from pathoprog.system.records import plain

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("scorer") / "bundle", 32)


@pytest.fixture(scope="module")
def tiles():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def scores(scorer, tiles, batch):
    parts = [scorer.instances("10x", tiles[start : start + batch]) for start in range(0, len(tiles), batch)]
    return scorer.bag_scores("10x", [torch.cat(member) for member in zip(*parts, strict=True)])


def test_scores_are_those_of_the_networks_as_locked(bundle_folder, tiles):
    bundle = load_bundle(bundle_folder)
    with torch.inference_mode():
        batch = prepare(torch.from_numpy(tiles))
        expected = [
            float(member.network.bag_scores(member.network.instances(batch), [24], member.score_map))
            for member in bundle.members["10x"]
        ]
    assert max(expected) - min(expected) > 0.01, "the made networks say the same"
    assert scores(Scorer(bundle, CPU), tiles, 24) == pytest.approx(expected, abs=1e-6)


def test_batch_size_does_not_matter(bundle_folder, tiles):
    scorer = Scorer(load_bundle(bundle_folder), CPU)
    assert scores(scorer, tiles, 24) == pytest.approx(scores(scorer, tiles, 5), abs=1e-6)


def test_on_a_cpu_a_network_never_sees_more_than_its_memory_allows(bundle_folder, tiles, monkeypatch):
    scorer = Scorer(load_bundle(bundle_folder), CPU)
    expected, seen = scores(scorer, tiles, 24), []
    monkeypatch.setattr("pathoprog.networks.engines.torch_engine.CPU_PIXELS", 7 * 32 * 32 + 5)
    encoder = scorer.bundle.members["10x"][0].network.encoder
    hook = encoder.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    assert scores(scorer, tiles, 24) == pytest.approx(expected, abs=1e-6)
    hook.remove()
    assert seen == [7, 7, 7, 3]


def test_equal_work_gives_equal_bits(bundle_folder, tiles):
    one, other = (Scorer(load_bundle(bundle_folder), CPU) for _ in range(2))
    assert scores(one, tiles, 8) == scores(other, tiles, 8)


def test_bf16_stays_within_its_tolerance(bundle_folder, tiles):
    exact = Scorer(load_bundle(bundle_folder), CPU)
    coarse = Scorer(load_bundle(bundle_folder), CPU, torch.bfloat16)
    assert coarse.tolerance == 5e-3 and exact.tolerance == 1e-5
    # Random networks amplify rounding more than trained ones; the promise is tested on means, which decide.
    assert np.mean(scores(coarse, tiles, 24)) == pytest.approx(np.mean(scores(exact, tiles, 24)), abs=2e-2)


def test_a_batch_too_large_for_the_device_is_halved(bundle_folder, tiles, monkeypatch):
    scorer = Scorer(load_bundle(bundle_folder), CPU)
    whole = scorer.instances("10x", tiles)
    real = scorer.instances

    def small_memory(resolution, batch):
        if len(batch) > 7:
            raise torch.OutOfMemoryError("made for the test")
        return real(resolution, batch)

    monkeypatch.setattr(scorer, "instances", small_memory)
    parts, halved = scorer.instances_in_parts("10x", tiles)
    assert halved == 3  # 24 -> 12 + 12 -> 6 each
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=0)

    monkeypatch.setattr(scorer, "instances", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("always")))
    with pytest.raises(torch.OutOfMemoryError):
        scorer.instances_in_parts("10x", tiles)


def test_a_tile_score_is_the_score_of_its_own_bag(bundle_folder, tiles):
    scorer = Scorer(load_bundle(bundle_folder), CPU)
    instances = scorer.instances("40x", tiles)
    found = scorer.tile_scores("40x", instances)
    assert found.shape == (24, 5) and found.dtype == np.float32
    alone = scorer.bag_scores("40x", [values[3:4] for values in instances])
    assert found[3] == pytest.approx(alone, abs=1e-6)
    assert scorer.attention("40x", instances) is None


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    # in fp16 the last bit of a feature may fall either way, and the maximum passes it on
    return made_encoder(tmp_path_factory.mktemp("encoder") / "encoder.safetensors", precision="fp32")


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_a_bundle_of_each_pooling_scores_alike_however_its_tiles_come(pooling, tmp_path, tiles, encoder):
    own = {"pooling": pooling, "top_k": 3, "slope": 7.0, "clam_tiles": 2}
    encoders = {"10x": encoder, "40x": encoder}
    bundle = load_bundle(made_bundle(tmp_path / "bundle", 32, network=own, encoders=encoders))
    kept = plain(bundle.manifest.members[0])["network"]
    assert {name: kept[name] for name in own} == own
    scorer = Scorer(bundle, CPU, encoders=encoders)
    whole = scores(scorer, tiles, 24)
    assert max(whole) - min(whole) > 1e-3, "the made networks say the same"
    assert scores(scorer, tiles, 5) == pytest.approx(whole, abs=1e-5)
    instances = scorer.instances("10x", tiles)
    cut = [torch.cat([values[:11], values[11:]]) for values in instances]
    assert scorer.bag_scores("10x", cut) == scorer.bag_scores("10x", instances) == whole  # equal values, equal bits
    alone = [scorer.bag_scores("10x", [values[row : row + 1] for values in instances]) for row in (0, 7)]
    assert scorer.tile_scores("10x", instances)[[0, 7]] == pytest.approx(np.array(alone), abs=1e-5)
    weights = scorer.attention("10x", instances)
    if pooling_class(pooling).weights is Pooling.weights:
        assert weights is None
    else:
        assert weights.shape == (24,) and weights.sum() == pytest.approx(1, abs=1e-5) and weights.std() > 0


@pytest.mark.parametrize(
    ("scores_10x_40x", "expected"),
    [
        ((0.4, 0.4), ("good", False)),
        ((0.5, 0.5), ("poor", True)),
        ((0.4, 0.6), ("uncertain", False)),
        ((0.4, 0.5 - 5e-6), ("good", True)),
        ((0.5 + 5e-6, 0.4), ("uncertain", True)),
    ],
)
def test_classes_and_the_borderline_flag(bundle_folder, scores_10x_40x, expected):
    scorer = Scorer(load_bundle(bundle_folder), CPU)
    assert scorer.classify(dict(zip(("10x", "40x"), scores_10x_40x, strict=True))) == expected


def test_fusing_leaves_no_batch_norm_behind(bundle_folder):
    encoder = load_bundle(bundle_folder).members["10x"][0].network.encoder
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())
    fuse_batch_norm(encoder)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())


def test_fusing_keeps_the_activation_that_timm_puts_into_its_norms():
    from timm.layers import BatchNormAct2d

    block = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), BatchNormAct2d(4)).eval()
    tiles = torch.randn(2, 3, 8, 8)
    wanted = block(tiles)
    fuse_batch_norm(block)
    torch.testing.assert_close(block(tiles), wanted, atol=1e-5, rtol=0)
    assert wanted.min() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_a_gpu_says_what_the_cpu_says(bundle_folder, tiles, dtype, tolerance):
    cpu = Scorer(load_bundle(bundle_folder), CPU)
    gpu = Scorer(load_bundle(bundle_folder), torch.device("cuda", 0), dtype)
    assert np.mean(scores(gpu, tiles, 24)) == pytest.approx(np.mean(scores(cpu, tiles, 24)), abs=tolerance)
