"""`pathoprog features`: slides to feature files, each slide accounted for; and training on them in place of tiles."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
import torch
from made_slides import texture, write_pyramid
from made_store import made_settings, made_store, separation
from safetensors.torch import save_file
from shared_data import shared_data

from pathoprog.errors import ConfigError, InputError
from pathoprog.networks import encoders
from pathoprog.networks.config import EncoderSettings
from pathoprog.networks.encoders import make_encoder
from pathoprog.networks.engines.tile_networks import Preparation
from pathoprog.networks.features import read_features, write_features
from pathoprog.networks.member import prepare
from pathoprog.networks.published import encoder_recipes
from pathoprog.networks.published.encoder_recipes import RECIPES
from pathoprog.settings import as_dict
from pathoprog.slides import open_slide
from pathoprog.stream.config import StreamSettings
from pathoprog.system.files import sha256_file, write_json
from pathoprog.tiles.config import TileSpec
from pathoprog.training import features
from pathoprog.training.config import EnsembleConfig, FeaturesConfig, TrainConfig
from pathoprog.training.data import tile_store
from pathoprog.training.data.bags import make_ready, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.learners import read_parts
from pathoprog.training.data.left_out import LeftOut
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.train import check_network, train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN

ENCODER = EncoderSettings("timm/test_resnet")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    save_file(make_encoder(ENCODER)[0].state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three slides: one whole, one too coarse for 40x, one cut off."""
    folder = tmp_path_factory.mktemp("cohort")
    write_pyramid(folder / "fine.tif", texture(600, 500, seed=1))
    write_pyramid(folder / "coarse.tif", texture(300, 250, seed=2), mpp=0.5, levels=2)
    whole = write_pyramid(folder / "cut.tif", texture(600, 500, seed=3)).read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 3])
    rows = [
        {
            "patient_id": f"P-{name}",
            "slide_id": name,
            "slide_path": f"{name}.tif",
            "cohort": "north",
            "role": "external",
        }
        for name in ("fine", "coarse", "cut")
    ]
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return str(folder / "cohort.csv")


def settings_of(cohort, weights, folder, **changes):
    data = DataSettings(
        cohort=cohort,
        features=str(folder),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, 40),
        tiles_40x=TileSpec("40x", 0.25, 64, max_per_slide=5),
        stream=StreamSettings(workers=1, batch_tiles=2),
    )
    return FeaturesConfig(encoder=ENCODER.encoder, weights=weights, data=data, device="cpu", **changes)


@pytest.fixture(scope="module")
def stored(cohort, weights, tmp_path_factory):
    settings = settings_of(cohort, weights, tmp_path_factory.mktemp("features"))
    assert features.run(settings) == 1  # one slide failed
    return settings


def test_every_slide_has_its_rows_with_reasons(stored):
    table = pd.read_csv(stored.data.features + "/features.csv", keep_default_na=False)
    status = {(row.slide_id, row.resolution): row.status for row in table.itertuples()}
    assert status == {
        ("fine", "10x"): "stored",
        ("fine", "40x"): "stored",
        ("coarse", "10x"): "stored",
        ("coarse", "40x"): "not_reportable",
        ("cut", "10x"): "failed",
        ("cut", "40x"): "failed",
    }
    reasons = table.set_index(["slide_id", "resolution"])["reason"]
    assert "um/px" in reasons["coarse", "40x"] and reasons["cut", "10x"] and not reasons["fine", "10x"]


def test_a_file_holds_the_encoder_s_features_of_the_slide_s_tiles(stored, weights, cohort):
    found = read_features(features.feature_path(stored.data, "40x", "fine"))
    assert found.values.shape == (5, 96) == (found.facts["n_tiles"], found.facts["d"])
    encoder = make_encoder(EncoderSettings(ENCODER.encoder, weights=weights))[0].eval()
    with open_slide(cohort.replace("cohort.csv", "fine.tif")) as slide:
        for row in (0, 4):
            tile = slide.read_region(int(found.x0[row]), int(found.y0[row]), 0, (64, 64))
            with torch.inference_mode():
                wanted = encoder(prepare(torch.from_numpy(np.ascontiguousarray(tile))[None]))[0]
            np.testing.assert_allclose(found.values[row], wanted, atol=2e-3)
    assert found.facts["encoder"]["weights_sha256"] == sha256_file(weights)
    assert found.facts["slide_sha256"] == sha256_file(cohort.replace("cohort.csv", "fine.tif"))
    assert found.facts["mpp"] == pytest.approx(0.25) and found.facts["spec"]["size_px"] == 64
    assert (
        found.facts["width0"] == pytest.approx(64) and "research use only" in found.facts["research_use_only"].lower()
    )
    assert str(stored.data.features) not in str(found.facts) and "encoder.safetensors" not in str(found.facts)


def test_a_second_run_reads_only_what_is_missing(stored, monkeypatch):
    asked = []
    real = features.slide_job
    monkeypatch.setattr(features, "slide_job", lambda *given: asked.append(given[0]["slide_id"]) or real(*given))
    path = features.feature_path(stored.data, "10x", "fine")
    before = path.read_bytes()
    path.unlink()
    table = sha256_file(stored.data.features + "/features.csv")
    assert features.run(stored) == 1
    assert asked == ["fine", "cut"]
    assert path.read_bytes() == before and sha256_file(stored.data.features + "/features.csv") == table


def test_no_batch_is_waited_for_before_its_slide_is_done_and_bytes_stay_the_same(
    stored, cohort, weights, tmp_path, monkeypatch
):
    """As where a device computes: what fetches features from it waits for it, and must not come between batches."""
    happened = []
    compute = features.FeatureEncoder.features

    class OnDevice(torch.Tensor):
        def cpu(self):
            happened.append("fetched")
            return self.as_subclass(torch.Tensor).cpu()

    def given(encoder, tiles):
        happened.append("given")
        return compute(encoder, tiles).as_subclass(OnDevice)

    monkeypatch.setattr(features.FeatureEncoder, "features", given)
    assert features.run(settings_of(cohort, weights, tmp_path)) == 1
    fine, fine_fetched, coarse, coarse_fetched, *_ = [(what, len(list(run))) for what, run in groupby(happened)]
    assert fine[0] == "given" and fine_fetched == ("fetched", fine[1]) and fine[1] > 3, "of both resolutions"
    assert coarse[0] == "given" and coarse_fetched == ("fetched", coarse[1])
    before = {
        path.relative_to(stored.data.features): path for path in Path(stored.data.features).rglob("*.safetensors")
    }
    assert len(before) >= 3
    for name, path in before.items():
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name


def test_features_of_another_encoder_are_not_overwritten(stored):
    other = settings_of(stored.data.cohort, stored.weights, stored.data.features, input_px=32)
    with pytest.raises(InputError, match=r"of another encoder or of other tiles; give another data\.features"):
        features.run(other)


SMALL = replace(
    RECIPES["virchow2"],
    source="nobody/small",
    architecture="timm/vit_tiny_patch16_224",
    options="{img_size: 32, depth: 1, reg_tokens: 2}",
    d=384,
    size_px=32,
    mpp=(0.5,),
    mean=(0.7, 0.6, 0.7),
    std=(0.2, 0.2, 0.2),
)


def test_a_recipe_brings_size_and_normalisation_and_warns_of_tiles_that_it_does_not_know(
    cohort, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(encoder_recipes, "RECIPES", {**RECIPES, "small": SMALL})
    monkeypatch.setattr(encoders, "RECIPES", {**RECIPES, "small": SMALL})
    monkeypatch.setattr(features, "RECIPES", {**RECIPES, "small": SMALL})
    torch.manual_seed(0)
    encoder = make_encoder(EncoderSettings("small"))[0].eval()
    save_file(encoder.vit.state_dict(), tmp_path / "small.safetensors")
    settings = settings_of(cohort, str(tmp_path / "small.safetensors"), tmp_path / "features")
    settings.encoder, settings.data.tiles_40x = "small", TileSpec("40x", 0.25, 64, max_per_slide=5)
    assert features.run(settings) == 1  # of the slide that is cut off
    said = capsys.readouterr()
    text = said.out + said.err
    assert "encoder small: weights of nobody/small, licence CC-BY-NC-ND-4.0" in text
    assert "small: tiles of 40 px at 1 um/px, scaled to 32 px, are 1.25 um/px to it; it was trained at 0.5" in text
    assert "tiles of 64 px" not in text  # scaled to 32 px they are 0.5 um/px
    found = read_features(features.feature_path(settings.data, "40x", "fine"))
    assert found.values.shape == (5, 384) and found.facts["d"] == 384
    shown = {name: found.facts["encoder"][name] for name in ("encoder", "input_px", "mean", "std")}
    assert shown == {"encoder": "small", "input_px": 32, "mean": [0.7, 0.6, 0.7], "std": [0.2, 0.2, 0.2]}
    with open_slide(cohort.replace("cohort.csv", "fine.tif")) as slide:
        tile = slide.read_region(int(found.x0[0]), int(found.y0[0]), 0, (64, 64))
    shown_tile = Preparation(SMALL.mean, SMALL.std, 32)(torch.from_numpy(np.ascontiguousarray(tile))[None])
    with torch.inference_mode():
        tokens = encoder.vit.forward_features(shown_tile)
    wanted = torch.cat([tokens[0, 0], tokens[0, 3:].mean(0)])
    np.testing.assert_allclose(found.values[0], wanted, atol=5e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.5]}, r"^mean=\[0\.5\]: must be three"),
        ({"input_px": 1}, r"^encoder=timm/vit_tiny_patch16_224: takes no tiles of 1 px"),
        ({"encoder": "none"}, "need an encoder"),
    ],
)
def test_wrong_settings_are_named_before_any_slide_is_opened(cohort, weights, tmp_path, change, message):
    settings = settings_of(cohort, weights, tmp_path)
    if "input_px" in change:
        settings.encoder = "timm/vit_tiny_patch16_224"
    for name, value in change.items():
        setattr(settings, name, value)
    with pytest.raises(ConfigError, match=message):
        features.run(settings)


def test_a_real_slide_at_another_um_per_px(weights, tmp_path):
    slide = shared_data("wsi/aperio_CMU-1-Small-Region.svs")
    row = {"patient_id": "P", "slide_id": "CMU 1", "slide_path": str(slide), "cohort": "c", "role": "external"}
    pd.DataFrame([row]).to_csv(tmp_path / "cohort.csv", index=False)
    settings = settings_of(str(tmp_path / "cohort.csv"), weights, tmp_path / "features", resolutions=["40x"])
    settings.data.tiles_40x = TileSpec("40x", 0.5, 224)
    assert features.run(settings) == 0
    found = read_features(features.feature_path(settings.data, "40x", "CMU 1"))
    assert found.values.shape == (44, 96) and np.ptp(found.values, axis=0).max() > 0
    assert found.facts["mpp"] == pytest.approx(0.499) and found.facts["width0"] == pytest.approx(224 * 0.5 / 0.499)
    assert not (tmp_path / "features" / "10x").exists()


# training on features


@pytest.fixture
def data(tmp_path):
    """The made cohort with features that tell the outcome: ours for most, TRIDENT's for one slide."""
    data = made_store(tmp_path / "made")
    rng = np.random.default_rng(2)
    for resolution in ("10x", "40x"):
        for number in range(32):
            values = rng.normal(size=(6, 4)).astype(np.float16)
            values[:, 0] += 3 * (number % 2)
            path = tmp_path / "features" / resolution / f"P{number:03d}-A.safetensors"
            facts = {"slide_sha256": f"{number:064d}"}
            write_features(path, values, np.zeros(6, np.int64), np.zeros(6, np.int64), facts)
    data.source, data.features, data.store = "features", str(tmp_path / "features"), ""
    return data


def on_features(data, out, **fit):
    settings = made_settings(data, out, **fit)
    settings.network.encoder, settings.network.width, settings.network.feature_dim = "none", 1.0, 4
    settings.network.pooling = "gated_attention"
    return settings


def test_a_candidate_learns_from_features_and_resumes_to_the_same_bits(data, tmp_path, monkeypatch):
    monkeypatch.setattr(tile_store, "build", lambda *_: pytest.fail("the tile store is not asked"))
    settings = on_features(data, tmp_path / "run", steps=30, evaluate_every=30, ema_decay=0.8)
    check_network(settings)
    train(settings, lambda _: None)
    assert separation(tmp_path / "run") > 0.85

    def stop(done):
        if done == 7:
            raise KeyboardInterrupt

    again = on_features(data, tmp_path / "again", steps=30, evaluate_every=30, ema_decay=0.8)
    with pytest.raises(KeyboardInterrupt):
        train(again, stop)
    train(again, lambda _: None)
    for name in ("last.safetensors", "step-000030.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_features_of_one_scan_under_two_patients_are_refused(data, tmp_path):
    """What our files say of a slide holds its id too, so that only the slide's own hash tells."""
    settings = on_features(data, tmp_path / "run")
    for number, slide_id in ((4, "P004-A"), (20, "P020-A")):  # of training, and of tuning
        path = tmp_path / "features" / "10x" / f"{slide_id}.safetensors"
        path.unlink()
        values, places = np.full((6, 4), number, np.float16), np.zeros(6, np.int64)
        write_features(path, values, places, places, {"slide_id": slide_id, "slide_sha256": "one scan"})
    with pytest.raises(InputError, match="P020-A of P020: the same content as P004-A of P004"):
        read_parts(settings)


def test_features_that_do_not_fit_are_refused(data, tmp_path):
    settings = on_features(data, tmp_path / "run")
    settings.network.feature_dim = 5
    with pytest.raises(InputError, match=r"d=4, but network\.feature_dim=5"):
        read_patients(settings, "training")
    settings.network.feature_dim = 4
    first = tmp_path / "features" / "10x" / "P003-A.safetensors"
    with h5py.File(first.with_suffix(".h5"), "w") as file:
        file["features"], file["coords"] = np.zeros((6, 4), np.float32), np.zeros((6, 2))
    with pytest.raises(InputError, match="two files for one slide"):
        read_patients(settings, "training")
    first.unlink()
    with pytest.raises(InputError, match="made by different encoders"):
        read_patients(settings, "training")


def test_candidates_on_features_of_unnamed_weights_cannot_be_locked(data, tmp_path):
    settings = on_features(data, tmp_path / "runs")
    write_json(tmp_path / "runs" / ENSEMBLE_RUN, {"candidates": [], "run_id": "", "settings": as_dict(settings)})
    with pytest.raises(InputError, match="does not name its encoder's weights by their hash, as other tools' files"):
        choose.run(EnsembleConfig(candidates=str(tmp_path / "runs"), out=str(tmp_path / "bundle")))
    assert not (tmp_path / "bundle").exists()


def test_slides_without_features_are_named(data, tmp_path, capsys):
    cohort = pd.read_csv(data.cohort)
    assert not make_ready(cohort, data)
    (tmp_path / "features" / "40x" / "P005-A.safetensors").unlink()
    assert make_ready(cohort, data) == {"P005-A": LeftOut("no features at 40x", failed=False)}
    assert "no features at 40x of 1 among 32 slides: P005-A\n" in capsys.readouterr().err
    data.features = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no features of training at 10x; `pathoprog features` makes them"):
        read_patients(on_features(data, tmp_path / "run"), "training")


def test_features_need_a_network_without_encoder_and_tiles_one_with(data, tmp_path):
    settings = on_features(data, tmp_path / "run")
    settings.network.encoder = "mobilenet_v2"
    with pytest.raises(ConfigError, match=r"data\.source=features with network\.encoder=mobilenet_v2"):
        check_network(settings)
    settings.data.source, settings.network.encoder = "store", "timm/vit_tiny_patch16_224"
    with pytest.raises(ConfigError, match="takes no tiles of 32 px"):
        check_network(settings)


def test_a_recipe_trained_end_to_end_warns_of_its_tiles_and_is_refused_with_another_normalisation(capsys):
    settings = TrainConfig()
    settings.network.encoder, settings.augment.crop = "uni", 0.0
    settings.data.tiles_10x, settings.data.tiles_40x = TileSpec("10x", 1.0, 224), TileSpec("40x", 0.5, 224)
    check_network(settings)
    said = "".join(capsys.readouterr())
    assert "uni: tiles of 224 px at 1 um/px are 1 um/px to it; it was trained at 0.5 um/px" in said
    assert said.count("um/px to it") == 1
    settings.network.encoder = "h-optimus-0"
    with pytest.raises(ConfigError, match="h-optimus-0: has a normalisation of its own"):
        check_network(settings)
    settings.network.encoder, settings.data.tiles_40x = "uni", TileSpec("40x", 0.25, 448)
    with pytest.raises(ConfigError, match="takes no tiles of 448 px, only 224 px"):
        check_network(settings)
