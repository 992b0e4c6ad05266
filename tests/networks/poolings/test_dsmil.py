"""DSMIL: against values worked by hand, for each head."""

import math

import pytest
import torch

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.member import MilNetwork


def fixed(head: str, **changes) -> MilNetwork:
    """Tiles of one feature x: a tile's last logit is x, its query (x, 0, …), its value, and the bag's logit, 2 x."""
    network = MilNetwork(
        NetworkSettings(encoder="none", feature_dim=1, instance_dim=1, pooling="dsmil", head=head, **changes)
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.instance.weight[:] = 1.0
        network.pooling.query.weight[0] = 1.0
        network.pooling.value.weight[:] = 2.0
        network.classifier.weight[-1] = 1.0
        network.pooling.tile.weight[-1] = 1.0
    return network


def test_the_critical_tile_and_the_likeness_to_it_meet_values_worked_by_hand():
    network = fixed("risk")
    instances = network.instances(torch.tensor([[1.0], [3.0], [0.0], [5.0]]))
    likeness = [math.exp(x * 3 / math.sqrt(128)) for x in (1, 3, 0)]  # the critical tile of the first bag has x = 3
    weights = [value / sum(likeness) for value in likeness]
    bag = 2 * (weights[0] * 1 + weights[1] * 3)
    found = network.bag_logits(instances, [3, 1])
    assert found[:, 0].tolist() == pytest.approx([(bag + 3) / 2, (10 + 5) / 2], abs=1e-5)
    assert network.attention_weights(instances[:3]).tolist() == pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize(("head", "critical"), [("poor", 1), ("risk", 1), ("hazards", 1)])
def test_the_critical_tile_is_that_of_the_highest_risk(head, critical):
    network = fixed(head, intervals=3)
    instances = network.instances(torch.tensor([[1.0], [3.0], [0.0]]))
    assert int(network.pooling._critical(instances)) == critical
    with torch.no_grad():
        network.pooling.tile.weight *= -1  # now the tile of the lowest x is the worst
    assert int(network.pooling._critical(instances)) == 2


def test_gradients_reach_both_streams():
    torch.manual_seed(0)
    network = MilNetwork(NetworkSettings(encoder="none", feature_dim=5, instance_dim=6, pooling="dsmil"))
    network(torch.randn(9, 5), [4, 5]).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.pooling.parameters())
