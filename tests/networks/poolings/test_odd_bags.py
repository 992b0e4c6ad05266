"""Bags as they come: one tile, fewer than a pooling looks for, all alike, all zero, very large values."""

import pytest
import torch

from pathoprog.networks.config import POOLINGS, NetworkSettings
from pathoprog.networks.member import MilNetwork

D = 6
ODD = {
    "one tile": torch.linspace(-1, 1, D)[None],
    "fewer tiles than top_k": torch.linspace(-1, 1, 3 * D).view(3, D),
    "all alike": torch.linspace(-1, 1, D).expand(50, D),
    "all zero": torch.zeros(20, D),
    "large": torch.full((20, D), 6e4),
}


def network(pooling):
    torch.manual_seed(0)
    return MilNetwork(NetworkSettings(encoder="none", feature_dim=D, instance_dim=8, pooling=pooling, head="risk"))


@pytest.mark.parametrize("bag", list(ODD))
@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_an_odd_bag_has_a_score_weights_and_gradients(pooling, bag):
    net, tiles = network(pooling), ODD[bag]
    logits = net.bag_logits(net.instances(tiles), [len(tiles)])
    assert logits.shape == (1, 1) and torch.isfinite(logits).all()
    logits.sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in net.parameters() if one.grad is not None)
    with torch.inference_mode():
        weights = net.pooling.weights(net.instances(tiles))
    assert weights is None or (weights.min() >= 0 and weights.sum().item() == pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if name != "transmil"])
def test_tiles_all_alike_score_as_one_of_them(pooling):
    """But for TransMIL, to which a square of tiles is something else than one."""
    net = network(pooling).eval()
    with torch.inference_mode():
        one, many = (
            net.bag_logits(net.instances(ODD[bag]), [len(ODD[bag])]).item() for bag in ("one tile", "all alike")
        )
    assert one == pytest.approx(many, abs=1e-6)


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_a_large_bag_does_not_depend_on_how_its_tiles_came(pooling):
    net = network(pooling).eval()
    tiles = torch.randn(5000, D, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        once, parts = (
            net.bag_logits(torch.cat([net.instances(part) for part in tiles.split(size)]), [len(tiles)])
            for size in (5000, 777)
        )
    assert torch.isfinite(once).all() and torch.allclose(once, parts, atol=1e-6)
