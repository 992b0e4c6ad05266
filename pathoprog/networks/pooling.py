"""Poolings: the instance values of a bag become one vector. A new one: a class here, a line in `config.POOLINGS`.

Shapes: n tiles of all bags of a batch, one behind the other; k instance values per tile; b bags.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from pathoprog.networks.config import POOLINGS, NetworkSettings


class Pooling(nn.Module, ABC):
    """What every pooling does; a new one defines `pool`, and overrides what else differs.

    Attributes:
        stored_as: the name of its parameters in a member's file; "" if it has none.
    """

    stored_as: ClassVar[str] = ""

    def __init__(self, settings: NetworkSettings):
        super().__init__()

    def activate(self, raw: Tensor) -> Tensor:
        """Instance values [n, k] of the instance layer's raw output [n, k]: features >= 0."""
        return torch.relu(raw)

    @abstractmethod
    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """Bag vectors [b, k] of instance values [n, k]; `sizes` [b] add up to n."""

    def alone(self, instances: Tensor) -> Tensor:
        """Vectors [n, k] of n bags of one tile each: what `pool` gives for them, at once. A mean of one is itself."""
        return instances

    def weights(self, instances: Tensor) -> Tensor | None:
        """Weights [n] of the tiles of one bag (they add up to 1), or None if it weighs all tiles alike."""
        return None


class Mean(Pooling):
    """The mean of the bag's tiles."""

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        # float64: the mean over 100,000 tiles must not depend on how they were batched
        return torch.stack([values.double().mean(0).float() for values in torch.split(instances, sizes)])


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


class GatedAttention(Pooling):
    """Gated attention (Ilse, Tomczak, Welling 2018, ICML, eq. 8 and 9)."""

    stored_as = "attention"
    HIDDEN: ClassVar[int] = 64

    def __init__(self, settings: NetworkSettings):
        super().__init__(settings)
        self.value = nn.Linear(settings.instance_dim, self.HIDDEN)
        self.gate = nn.Linear(settings.instance_dim, self.HIDDEN)
        self.weight = nn.Linear(self.HIDDEN, 1)

    def log_weights(self, instances: Tensor) -> Tensor:
        """Log weights [n], not normalised, of instances [n, k]."""
        gated = torch.tanh(self.value(instances)) * torch.sigmoid(self.gate(instances))
        weights: Tensor = self.weight(gated).squeeze(1)
        return weights

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        of_bags = zip(torch.split(self.log_weights(instances), sizes), torch.split(instances, sizes), strict=True)
        return torch.stack([(torch.softmax(weight, 0)[:, None] * values).sum(0) for weight, values in of_bags])

    def weights(self, instances: Tensor) -> Tensor | None:
        """See `Pooling.weights`."""
        return torch.softmax(self.log_weights(instances), 0)


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


def make_pooling(settings: NetworkSettings) -> Pooling:
    """The pooling that `settings.pooling` names."""
    made: type[Pooling] = globals()[POOLINGS[settings.pooling]]
    return made(settings)
