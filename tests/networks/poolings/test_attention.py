"""CLAM's loss on tiles: against values worked by hand, and only where labels are classes."""

import math

import pytest
import torch

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.poolings.attention import ClamSb, smooth_svm


def test_the_smooth_svm_loss_meets_values_worked_by_hand():
    logits = torch.tensor([[2.0, 0.5], [0.0, 1.0]])
    # log(e^s_label + e^(1 + s_other)) - s_label
    by_hand = [math.log(math.exp(2) + math.exp(1.5)) - 2, math.log(math.exp(0) + math.exp(2))]
    assert smooth_svm(logits, torch.tensor([0, 0])).item() == pytest.approx(sum(by_hand) / 2, abs=1e-6)
    # temperature towards 0: max(0, 1 + s_other - s_label)
    hard = smooth_svm(logits, torch.tensor([0, 0]), temperature=1e-3).item()
    assert hard == pytest.approx((0.0 + 2.0) / 2, abs=1e-3)


def fixed() -> ClamSb:
    """Attention rises with a tile's one value x; the layers' logits are (0, x) for good and (0, -x) for poor."""
    pool = ClamSb(NetworkSettings(pooling="clam_sb", instance_dim=1, clam_tiles=2))
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.zero_()
        pool.value.weight[:, 0] = 1.0
        pool.weight.weight[:] = 1.0
        pool.shows[0].weight[1], pool.shows[1].weight[1] = 1.0, -1.0
    return pool


def test_the_loss_on_tiles_meets_values_worked_by_hand():
    values = torch.tensor([[0.0], [3.0], [1.0], [2.0], [0.5]])  # the two highest 3 and 2, the two lowest 0 and 0.5

    def loss(own: float, other: float) -> float:
        return math.log(math.exp(own) + math.exp(1 + other)) - own

    def of_class(sign: float) -> tuple[float, float]:
        highest, lowest = [3.0 * sign, 2.0 * sign], [0.0, 0.5 * sign]
        shown = sum(loss(s, 0) for s in highest) + sum(loss(0, s) for s in lowest)
        return shown / 4, sum(loss(0, s) for s in highest) / 2

    (good, not_good), (poor, not_poor) = of_class(1.0), of_class(-1.0)
    found = fixed().instance_losses(values, [5])
    assert found.tolist() == [pytest.approx([(good + not_poor) / 2, (poor + not_good) / 2], abs=1e-6)]


def test_small_bags_have_fewer_tiles_to_look_at_and_one_tile_none():
    values = torch.tensor([[0.0], [3.0], [1.0], [7.0]])
    few = fixed().instance_losses(values, [3, 1])
    assert few.shape == (2, 2) and few[1].tolist() == [0.0, 0.0]
    one = ClamSb(NetworkSettings(pooling="clam_sb", instance_dim=1, clam_tiles=1))
    one.load_state_dict(fixed().state_dict())
    assert torch.equal(few[0], one.instance_losses(values[:3], [3])[0])


@pytest.mark.parametrize(("head", "width"), [("poor", 2), ("risk", 1), ("hazards", 4)])
def test_the_loss_on_tiles_is_there_in_training_where_labels_are_classes(head, width):
    network = MilNetwork(NetworkSettings(encoder="none", feature_dim=5, instance_dim=6, pooling="clam_sb", head=head))
    shown = torch.randn(9, 5)
    assert network.eval()(shown, [4, 5]).shape == (2, width)
    learning = network.train()(shown, [4, 5])
    assert learning.shape == (2, 4 if head == "poor" else width)
    assert torch.equal(learning[:, :width], network.eval()(shown, [4, 5]))
