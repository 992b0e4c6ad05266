"""Training by each pooling: a planted key tile is found, whole bags of any length, and what is refused before work."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pathoprog.errors import ConfigError
from pathoprog.networks.config import POOLINGS, NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.poolings.pooling import ORDER, pooling_class
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import Patient, Sampler
from pathoprog.training.data.tile_store import StoredSlide
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.gradients import backward, loss_of
from pathoprog.training.member.tuning_concordance import judge

D, SIGN, CPU = 12, 8.0, torch.device("cpu")
LEARNING = {
    "noisy_and": {"lr": 5e-2, "steps": 240, "evaluate_every": 240},  # a tile of 16 moves its mean by 1/16
    "transmil": {"patients_per_step": 8, "steps": 40, "evaluate_every": 40},  # each bag takes ten times the others'
}
SHORT = FitSettings(
    steps=120,
    patients_per_step=16,
    tiles_per_patient=16,
    lr=1e-2,
    warmup_steps=5,
    ema_decay=0.9,
    balance="class",
    evaluate_every=120,
    evaluate_batch=4096,
    checkpoint_every=120,
    threads=1,
)


def patients(n: int, seed: int) -> tuple[list[Patient], list[int]]:
    """Patients of noise in 12 to 20 tiles; in every second one a tile shows poor, and where it is (-1: nowhere)."""
    rng = np.random.default_rng(seed)
    found, where = [], []
    for number in range(n):
        tiles = rng.normal(size=(int(rng.integers(12, 21)), D)).astype(np.float32)
        poor = number % 2 == 1
        where.append(int(rng.integers(len(tiles))) if poor else -1)
        if poor:
            tiles[where[-1], 0] += SIGN
        slide = StoredSlide(f"S{number}", "", tiles)
        label = "poor" if poor else "good"
        found.append(Patient(f"P{number}", [slide], 500.0 if poor else 3000.0, int(poor), label, "", ""))
    return found, where


def settings_of(pooling: str, out: object = "x", **changes) -> TrainConfig:
    network = NetworkSettings(encoder="none", feature_dim=D, instance_dim=16, pooling=pooling, top_k=2)
    options = replace(SHORT, tiles_per_patient=0 if pooling_class(pooling).needs == ORDER else 16, **changes)
    settings = TrainConfig(out=str(out), device="cpu", network=network, fit=options)
    settings.data.source = "features"
    check_fit(settings)
    return settings


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_each_pooling_finds_a_planted_key_tile(pooling, tmp_path):
    settings = settings_of(pooling, tmp_path, **LEARNING.get(pooling, {}))
    learning, (unseen, where) = patients(120, 1)[0], patients(60, 2)
    judged: list[Verdict] = []
    kept: list[MilNetwork] = []

    def at_the_end(network: MilNetwork, device: torch.device, dtype: torch.dtype) -> Verdict:
        judged.append(judge(network, unseen, 0, 4096, device, dtype))
        kept.append(network)
        return judged[0]

    fit(settings, learning, at_the_end, lambda line: None, lambda step: None)
    assert judged[0].c_index > 0.75
    shown = [number for number, place in enumerate(where) if place >= 0]
    by_score, by_weight = [], []
    with torch.inference_mode():
        for number in shown:
            values = kept[0].instances(torch.from_numpy(unseen[number].slides[0].tiles))
            by_score.append(int(kept[0].tile_scores(values).argmax()) == where[number])
            weights = kept[0].attention_weights(values)
            by_weight.append(weights is None or int(weights.argmax()) == where[number])
    assert np.mean(by_score) > 0.9, "the map of tile scores shows another tile"
    if pooling != "transmil":  # by its last layer the tiles have been mixed: its weights promise less
        assert np.mean(by_weight) > 0.9, "attention lies on another tile"


def test_whole_bags_hold_every_tile_once_and_in_order():
    found, _ = patients(6, 3)
    batch = Sampler(found, "none", 4, 0, seed=1).batch(0)
    assert batch.sizes == [found[index].n_tiles for index in batch.patients]
    expected = np.concatenate([found[index].slides[0].tiles for index in batch.patients])
    assert np.array_equal(batch.tiles, expected) and len(set(batch.sizes)) > 1


@pytest.mark.parametrize("pooling", ["transmil", "clam_sb", "mean"])
@pytest.mark.parametrize("loss", ["cross_entropy", "cox"])
def test_parts_of_whole_bags_give_the_gradients_of_the_undivided_step(pooling, loss):
    head = "poor" if loss == "cross_entropy" else "risk"
    found, _ = patients(8, 4)
    gradients = []
    for accumulate in (1, 4):
        settings = settings_of(pooling, accumulate=accumulate, patients_per_step=8, class_weight_poor=2.0)
        settings.network.head, settings.fit.loss, settings.fit.tiles_per_patient = head, loss, 0
        torch.manual_seed(0)
        network = MilNetwork(settings.network).train()
        batch = Sampler(found, "none", 8, 0, 1).batch(0)
        backward(network, settings, found, batch, 0, CPU, torch.float32)
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_loss_on_tiles_is_the_label_s_own_and_has_its_share():
    found, _ = patients(2, 5)  # good, poor
    rows = torch.tensor([[0.3, 0.1, 5.0, 7.0], [0.2, 0.4, 11.0, 13.0]])
    options = replace(SHORT, instance_loss=0.25, class_weight_poor=3.0)
    plain = loss_of(rows[:, :2], found, options)
    assert loss_of(rows, found, options).item() == pytest.approx(0.75 * plain.item() + 0.25 * (5.0 + 3 * 13.0) / 4)


@pytest.mark.parametrize(
    ("pooling", "change", "said"),
    [
        (
            "transmil",
            lambda s: setattr(s.fit, "tiles_per_patient", 8),
            "transmil learns from whole bags.*per_patient=0",
        ),
        ("transmil", lambda s: setattr(s.network, "encoder", "resnet18"), "network.encoder=none data.source=features"),
        ("transmil", lambda s: setattr(s.fit, "evaluate_tiles", 9), "fit.evaluate_tiles=0, not 9"),
        (
            "mean",
            lambda s: (setattr(s.fit, "tiles_per_patient", 0), setattr(s.network, "encoder", "resnet18")),
            "whole bags are trained on stored features alone",
        ),
    ],
)
def test_bags_that_a_pooling_cannot_learn_from_are_refused(pooling, change, said):
    settings = settings_of(pooling)
    change(settings)
    with pytest.raises(ConfigError, match=said):
        check_fit(settings)
