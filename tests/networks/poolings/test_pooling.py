"""Poolings: against hand-worked values, alone and beside other bags, and under the names that files know."""

import importlib
import math

import pytest
import torch
from house import ROOT

from pathoprog.networks.config import HEADS, POOLINGS, NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.poolings.of_values import Highest, MeanOfTopK, NoisyAnd
from pathoprog.networks.poolings.pooling import ALL, ORDER, PARTS, Pooling, make_pooling, pooling_class

ONE = NetworkSettings(instance_dim=1)


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def on_features(**changes) -> MilNetwork:
    torch.manual_seed(0)
    return MilNetwork(NetworkSettings(encoder="none", feature_dim=5, instance_dim=6, **changes)).eval()


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


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_a_bag_does_not_depend_on_its_neighbours_nor_but_where_it_says_so_on_its_order(pooling, head):
    network = on_features(pooling=pooling, head=head)
    instances = network.instances(torch.randn(7, 5))
    together = network.bag_scores(instances, [3, 4])
    alone = network.bag_scores(instances[:3], [3])
    turned = network.bag_scores(instances[[2, 0, 1]], [3])
    assert together[0].item() == pytest.approx(alone.item(), abs=1e-6)
    unmoved = alone.item() == pytest.approx(turned.item(), abs=1e-6)
    assert unmoved is not (network.pooling.needs == ORDER)
    assert ((together > 0) & (together < 1)).all()
    tiles_alone = torch.cat([network.bag_scores(instances[i : i + 1], [1]) for i in range(7)])
    assert torch.allclose(network.tile_scores(instances), tiles_alone, atol=1e-6)


def joined_from_parts(name, pool, parts):
    """A bag's vector [k] from what is kept of each of its parts: sums, maxima, the highest."""
    if name == "max":
        return torch.stack([part.amax(0) for part in parts]).amax(0)
    if name == "mean_of_top_k":
        kept = [part.topk(min(pool.top_k, len(part)), 0)[0] for part in parts]
        return torch.cat(kept).topk(pool.top_k, 0)[0].mean(0)
    if name in ("mean", "noisy_and"):
        mean = sum(part.sum(0) for part in parts) / sum(map(len, parts))
        return pool.noisy_and(mean[None])[0] if name == "noisy_and" else mean
    highest = max(pool.log_weights(part).max() for part in parts)
    weighed = [(torch.exp(pool.log_weights(part) - highest), part) for part in parts]
    return sum((w[:, None] * part).sum(0) for w, part in weighed) / sum(w.sum() for w, _ in weighed)


def test_what_a_pooling_needs_is_declared():
    assert {name: pooling_class(name).needs for name in POOLINGS} == {
        **dict.fromkeys(POOLINGS, PARTS),
        "dsmil": ALL,
        "transmil": ORDER,
    }


@pytest.mark.parametrize("name", [name for name in POOLINGS if pooling_class(name).needs == PARTS])
def test_what_needs_parts_alone_is_joined_from_parts(name):
    torch.manual_seed(1)
    pool = make_pooling(NetworkSettings(pooling=name, instance_dim=6, top_k=3))
    values = pool.activate(torch.randn(40, 6))
    found = joined_from_parts(name, pool, torch.split(values, [7, 1, 20, 12]))
    assert torch.allclose(found, pool.pool(values, [40])[0], atol=1e-6)


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_attention_weights_add_up_to_one_and_equal_poolings_have_none(pooling):
    found = on_features(pooling=pooling).attention_weights(torch.rand(9, 6))
    if pooling in ("gated_attention", "clam_sb", "dsmil", "transmil"):
        assert found.sum().item() == pytest.approx(1.0) and (found >= 0).all() and found.shape == (9,)
        assert found.std() > 0
    else:
        assert found is None


def test_the_maximum_meets_values_worked_by_hand():
    pool = Highest(NetworkSettings(instance_dim=2))
    instances = torch.tensor([[5.0, 0.0], [1.0, 2.0], [7.0, 7.0]])
    assert pool.pool(instances, [2, 1]).tolist() == [[5.0, 2.0], [7.0, 7.0]]


def test_the_mean_of_the_highest_meets_values_worked_by_hand():
    pool = MeanOfTopK(NetworkSettings(instance_dim=2, top_k=2))
    instances = torch.tensor([[5.0, 0.0], [1.0, 2.0], [3.0, 4.0], [7.0, 7.0]])
    # the first bag has three tiles: its two highest of each feature; the second has one: itself
    assert pool.pool(instances, [3, 1]).tolist() == [[4.0, 3.0], [7.0, 7.0]]


def subclasses(of: type) -> set[type]:
    return {of, *(found for below in of.__subclasses__() for found in subclasses(below))}


def test_each_pooling_is_listed_and_each_listed_name_is_one():
    for path in (ROOT / "pathoprog/networks/poolings").glob("*.py"):
        importlib.import_module(f"pathoprog.networks.poolings.{path.stem}")
    assert {pooling_class(name) for name in POOLINGS} == subclasses(Pooling) - {Pooling}


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
