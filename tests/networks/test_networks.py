"""Member networks: scores of bags, heads, and features in place of tiles."""

import math

import pytest
import torch

from pathoprog.errors import ConfigError, InputError
from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.member import MilNetwork, prepare


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def small(**changes) -> MilNetwork:
    torch.manual_seed(0)
    return MilNetwork(NetworkSettings(width=0.35, instance_dim=6, **changes)).eval()


def test_the_score_of_head_poor_is_the_softmax_output():
    network = small()
    instances = torch.rand(5, 6)
    logits = network.bag_logits(instances, [5])
    assert network.bag_scores(instances, [5]).item() == pytest.approx(torch.softmax(logits, 1)[0, 1].item(), abs=1e-6)


def test_hazards_rank_by_expected_survival():
    network = small(head="hazards", intervals=3)
    risk = network.risk(torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]]))
    assert risk[0] > risk[1]
    survival = 0.5 * sigma(-3.0)  # S1 = sigma(-3), S2 = S1 / 2, S3 = S1 / 4
    assert risk[0].item() == pytest.approx(-(sigma(-3.0) + survival + survival / 2), abs=1e-6)


@pytest.mark.parametrize("sizes", [[], [0, 5], [2, 2]])
def test_bags_that_do_not_fit_are_refused(sizes):
    with pytest.raises(InputError, match="tiles"):
        small().bag_logits(torch.rand(5, 6), sizes)


def test_prepare_normalises_and_keeps_channels_last():
    tiles = torch.full((2, 8, 8, 3), 255, dtype=torch.uint8)
    ready = prepare(tiles)
    assert ready.shape == (2, 3, 8, 8) and ready.is_contiguous(memory_format=torch.channels_last)
    assert ready[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], abs=1e-5
    )
    planes = torch.rand(2, 3, 8, 8)  # as an augmentation may leave them
    assert prepare(planes.permute(0, 2, 3, 1)).is_contiguous(memory_format=torch.channels_last)


def test_full_size_network_has_the_known_number_of_parameters():
    network = MilNetwork(NetworkSettings(instance_dim=64))
    encoder = sum(p.numel() for p in network.encoder.parameters())
    assert encoder == 2_223_872  # MobileNetV2 without its classifier (3,504,872 - 1,281,000)
    assert sum(p.numel() for p in network.parameters()) == encoder + 1280 * 64 + 64 + 64 + 64 * 2 + 2


def test_features_may_stand_in_place_of_tiles():
    network = MilNetwork(NetworkSettings(encoder="none", feature_dim=5, pooling="gated_attention"))
    features = torch.randn(7, 5, dtype=torch.float16)
    assert prepare(features).dtype == torch.float32
    assert network(prepare(features), [3, 4]).shape == (2, 2)
    assert not list(network.encoder.parameters())
    for wrong in (
        {"encoder": "none"},
        {"encoder": "none", "feature_dim": 5, "weights": "x"},
        {"feature_dim": 5},
    ):
        with pytest.raises(ConfigError, match=r"network\.feature_dim"):
            MilNetwork(NetworkSettings(**wrong))
