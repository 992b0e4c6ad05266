"""A frozen encoder beside a bundle's heads: each tile once, shared, mixed with whole networks, never infinite."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from made_bundle import encoder_record, made_bundle, made_encoder

from pathoprog.ensemble.bundle import verify
from pathoprog.ensemble.loading import load_bundle
from pathoprog.errors import BundleError, ConfigError
from pathoprog.networks.feature_encoder import load_encoders
from pathoprog.networks.member import prepare
from pathoprog.scoring.scorer import Scorer

CPU = torch.device("cpu")
HEADS = {"pooling": "gated_attention"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return made_encoder(tmp_path_factory.mktemp("weights") / "encoder.safetensors")


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    both = dict.fromkeys(("10x", "40x"), encoder)
    return made_bundle(tmp_path_factory.mktemp("heads") / "bundle", 32, network=HEADS, encoders=both)


@pytest.fixture(scope="module")
def tiles():
    coarse = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def loaded(folder, threads=1, given=()):
    bundle = load_bundle(folder)
    encoders = load_encoders(bundle.folder, bundle.manifest.encoders, given, CPU)
    return Scorer(bundle, CPU, torch.float32, threads, encoders)


def scores(scorer, tiles, batch=24):
    parts = [scorer.instances("40x", tiles[start : start + batch]) for start in range(0, len(tiles), batch)]
    return scorer.bag_scores("40x", [torch.cat(member) for member in zip(*parts, strict=True)])


def test_each_tile_is_encoded_once_for_all_heads_by_one_encoder(folder, tiles, encoder):
    scorer = loaded(folder)
    shared = scorer.encoders["40x"]
    assert scorer.encoders["10x"] is shared
    seen = []
    shared.network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = scores(scorer, tiles)
    assert sum(seen) == len(tiles) and len(found) == 5 and max(found) - min(found) > 0.01
    values = encoder.features(tiles).float()
    with torch.inference_mode():
        heads = [member.network for member in scorer.bundle.members["40x"]]
        wanted = [float(head.bag_scores(head.instances(values), [24])) for head in heads]
    assert found == pytest.approx(wanted, abs=1e-6)


def test_threads_change_no_bit_and_batches_next_to_nothing(folder, tiles, monkeypatch):
    monkeypatch.setattr("pathoprog.networks.engines.torch_engine.CPU_PIXELS", 7 * 32 * 32)
    one = scores(loaded(folder), tiles)
    assert scores(loaded(folder, threads=3), tiles) == one
    assert scores(loaded(folder), tiles, batch=5) == pytest.approx(one, abs=1e-5)


def test_whole_networks_at_one_resolution_and_heads_at_the_other(encoder, tiles, tmp_path):
    mixed = made_bundle(tmp_path / "mixed", 32, encoders={"40x": encoder}, include=False)
    manifest, weights = verify(mixed), encoder.settings.weights
    assert manifest.format == 2 and list(manifest.encoders) == ["40x"]
    with torch.inference_mode():
        whole = load_bundle(mixed).members["10x"][0].network.instances(prepare(torch.from_numpy(tiles)))
    scorer = loaded(mixed, given=[weights])
    torch.testing.assert_close(scorer.instances("10x", tiles)[0], whole, atol=1e-5, rtol=0)
    assert max(scores(scorer, tiles)) - min(scores(scorer, tiles)) > 0.01
    with pytest.raises(
        ConfigError, match=r"encoder_weights is missing: the members of .* at 40x take features of timm"
    ):
        load_encoders(mixed, manifest.encoders, [], CPU)
    with pytest.raises(ConfigError, match="these are whole networks with encoders of their own; leave it out"):
        load_encoders(mixed, {}, [weights], CPU)


def test_a_feature_beyond_the_precision_is_no_score(folder, tiles, tmp_path):
    loud = made_encoder(tmp_path / "loud.safetensors", std=[1e-9, 1e-9, 1e-9])
    assert torch.isinf(loud.features(tiles)).any()
    assert np.isnan(scores(Scorer(load_bundle(folder), CPU, encoders={"40x": loud}), tiles)).all()


def test_how_near_to_a_threshold_is_borderline_follows_from_the_features_precision(folder, encoder, tmp_path):
    assert loaded(folder).tolerance == 1e-3, "rounded to 16 bits"
    exact = made_encoder(tmp_path / "exact.safetensors", precision="fp32")
    assert Scorer(load_bundle(made_bundle(tmp_path / "bundle", 32, encoders={"10x": exact})), CPU).tolerance == 1e-5


def test_an_encoder_computes_as_its_features_were_computed_whatever_the_scoring_s_dtype(tiles, tmp_path):
    coarse = made_encoder(tmp_path / "coarse.safetensors", dtype=torch.bfloat16)
    folder = made_bundle(tmp_path / "bundle", 32, encoders=dict.fromkeys(("10x", "40x"), coarse))
    scorer = loaded(folder)
    assert scorer.tolerance == Scorer(load_bundle(folder), CPU).tolerance == 5e-3
    wanted = coarse.features(tiles)
    assert torch.equal(scorer.encoders["40x"].features(tiles), wanted)
    fine = made_encoder(tmp_path / "fine.safetensors")
    assert not torch.equal(fine.features(tiles), wanted) and torch.allclose(fine.features(tiles), wanted, atol=0.1)


def test_heads_without_their_encoder_are_told(folder, tiles, encoder):
    with pytest.raises(BundleError, match="members at 40x take features, and no encoder is loaded"):
        Scorer(load_bundle(folder), CPU).instances("40x", tiles)
    records = {"40x": replace(encoder_record(encoder), encoder="timm/no_such")}
    with pytest.raises(BundleError, match=r"the encoder at 40x cannot be built here: .*no model of that name"):
        load_encoders(folder, records, [encoder.settings.weights], CPU)
    records = {"40x": replace(encoder_record(encoder), d=95)}
    with pytest.raises(BundleError, match="gives 96 features here, and the members take 95"):
        load_encoders(folder, records, [encoder.settings.weights], CPU)
