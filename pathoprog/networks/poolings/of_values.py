"""Poolings of each value by itself: mean, maximum, mean of the highest, noisy-AND.

Shapes: n tiles of all bags of a batch, one behind the other; k instance values per tile; b bags.
"""

import torch
from torch import Tensor, nn

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.poolings.pooling import Pooling


class Mean(Pooling):
    """The mean of the bag's tiles."""

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        # float64: the mean over 100,000 tiles must not depend on how they were batched
        return torch.stack([values.double().mean(0).float() for values in torch.split(instances, sizes)])


class Highest(Pooling):
    """The highest of each value in the bag: one tile may decide it."""

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        return torch.stack([values.amax(0) for values in torch.split(instances, sizes)])


class NoisyAnd(Mean):
    """Noisy-AND pooling: METHOD's rule for pooling (likely: the publication names it, not its slope).

    P_i = (sigma(a (m_i - b_i)) - sigma(-a b_i)) / (sigma(a (1 - b_i)) - sigma(-a b_i)), where m_i is the bag's mean of
    instance probability i, a the fixed slope and b_i in (0, 1) learned (held there by a sigmoid).

    Source: Kraus, Ba, Frey 2016, Bioinformatics 32:i52, eq. 3.
    """

    stored_as = "noisy_and"

    def __init__(self, settings: NetworkSettings):
        super().__init__(settings)
        self.slope = settings.slope
        self.raw_b = nn.Parameter(torch.zeros(settings.instance_dim))  # b = sigmoid(0) = 0.5

    def activate(self, raw: Tensor) -> Tensor:
        """Instance probabilities [n, k]."""
        return torch.sigmoid(raw)

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        return self.noisy_and(super().pool(instances, sizes))

    def alone(self, instances: Tensor) -> Tensor:
        """See `Pooling.alone`."""
        return self.noisy_and(instances)

    def noisy_and(self, means: Tensor) -> Tensor:
        """Bag probabilities [b, k] in [0, 1] of bag means [b, k] in [0, 1]."""
        b = torch.sigmoid(self.raw_b)
        low = torch.sigmoid(-self.slope * b)
        high = torch.sigmoid(self.slope * (1 - b))
        result: Tensor = (torch.sigmoid(self.slope * (means - b)) - low) / (high - low)
        return result


class MeanOfTopK(Pooling):
    """The mean of each feature's `top_k` highest values in the bag (of all, if the bag has fewer tiles).

    For a sign that few tiles show. Compare the top instances of Courtiol et al. 2018, arXiv:1802.02212 (CHOWDER).
    """

    def __init__(self, settings: NetworkSettings):
        super().__init__(settings)
        self.top_k = settings.top_k

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        bags = torch.split(instances, sizes)
        return torch.stack([bag.topk(min(self.top_k, len(bag)), dim=0)[0].double().mean(0).float() for bag in bags])
