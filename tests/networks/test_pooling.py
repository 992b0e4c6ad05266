"""Poolings: against hand-worked values, alone and beside other bags, and under the names that files know."""

import math

import pytest
import torch

from pathoprog.networks import pooling as poolings
from pathoprog.networks.config import POOLINGS, NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.pooling import MeanOfTopK, NoisyAnd, Pooling

ONE = NetworkSettings(instance_dim=1)


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def small(**changes) -> MilNetwork:
    torch.manual_seed(0)
    return MilNetwork(NetworkSettings(width=0.35, instance_dim=6, **changes)).eval()


def test_noisy_and_meets_hand_worked_values():
    pool = NoisyAnd(ONE)  # b = 0.5
    # (sigma(10 (m - .5)) - sigma(-5)) / (sigma(5) - sigma(-5)): 0 at m = 0, 1/2 at m = b, 1 at m = 1
    got = pool.noisy_and(torch.tensor([[0.0], [0.5], [1.0], [0.6]])).flatten().tolist()
    by_hand = (sigma(1.0) - sigma(-5.0)) / (sigma(5.0) - sigma(-5.0))
    assert got == pytest.approx([0.0, 0.5, 1.0, by_hand], abs=1e-6)
    assert by_hand == pytest.approx(0.734193, abs=1e-6)


def test_noisy_and_gradient_meets_the_hand_worked_one():
    pool = NoisyAnd(ONE)
    mean = torch.tensor([[0.6]], requires_grad=True)
    pool.noisy_and(mean).sum().backward()
    # dP/dm = a s (1 - s) / (sigma(a (1 - b)) - sigma(-a b)), s = sigma(a (m - b))
    s = sigma(1.0)
    assert mean.grad.item() == pytest.approx(10 * s * (1 - s) / (sigma(5.0) - sigma(-5.0)), rel=1e-5)

    # dP/db by central difference of the formula, times db/draw = b (1 - b)
    def p(b: float) -> float:
        low, high = sigma(-10 * b), sigma(10 * (1 - b))
        return (sigma(10 * (0.6 - b)) - low) / (high - low)

    by_hand = (p(0.5 + 1e-5) - p(0.5 - 1e-5)) / 2e-5 * 0.25
    assert pool.raw_b.grad.item() == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_a_bag_does_not_depend_on_its_neighbours_or_its_order(pooling):
    network = small(pooling=pooling)
    tiles = torch.randn(7, 3, 32, 32)
    instances = network.instances(tiles)
    together = network.bag_scores(instances, [3, 4])
    alone = network.bag_scores(instances[:3], [3])
    turned = network.bag_scores(instances[[2, 0, 1]], [3])
    assert together[0].item() == pytest.approx(alone.item(), abs=1e-6)
    assert alone.item() == pytest.approx(turned.item(), abs=1e-6)
    assert ((together > 0) & (together < 1)).all()
    tiles_alone = torch.cat([network.bag_scores(instances[i : i + 1], [1]) for i in range(7)])
    assert torch.allclose(network.tile_scores(instances), tiles_alone, atol=1e-7)


def test_attention_weights_add_up_to_one_and_equal_poolings_have_none():
    assert small(pooling="gated_attention").attention_weights(torch.rand(9, 6)).sum().item() == pytest.approx(1.0)
    assert small().attention_weights(torch.rand(9, 6)) is None


def test_the_mean_of_the_highest_meets_values_worked_by_hand():
    pool = MeanOfTopK(NetworkSettings(instance_dim=2, top_k=2))
    instances = torch.tensor([[5.0, 0.0], [1.0, 2.0], [3.0, 4.0], [7.0, 7.0]])
    # the first bag has three tiles: its two highest of each feature; the second has one: itself
    assert pool.pool(instances, [3, 1]).tolist() == [[4.0, 3.0], [7.0, 7.0]]


def test_each_pooling_is_listed_and_each_listed_name_is_one():
    classes = {value for value in vars(poolings).values() if isinstance(value, type) and issubclass(value, Pooling)}
    assert {getattr(poolings, name) for name in POOLINGS.values()} == classes - {Pooling}


@pytest.mark.parametrize(
    ("pooling", "names"),
    [
        ("noisy_and", {"noisy_and.raw_b"}),
        (
            "gated_attention",
            {f"attention.{part}.{kind}" for part in ("value", "gate", "weight") for kind in ("weight", "bias")},
        ),
        ("mean", set()),
    ],
)
def test_the_parameters_of_a_pooling_have_the_names_that_locked_members_know(pooling, names):
    found = {
        name
        for name in small(pooling=pooling).state_dict()
        if not name.startswith(("encoder", "instance", "classifier"))
    }
    assert found == names
