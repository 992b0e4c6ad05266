"""DSMIL: the tile of the highest risk, and all tiles by their likeness to it, each with a vote.

Shapes: n tiles of all bags of a batch, one behind the other; k instance values per tile; b bags; c outputs of the
network; t tiles of one bag.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pathoprog.networks.config import NetworkSettings, n_outputs
from pathoprog.networks.heads import risk_of_logits
from pathoprog.networks.poolings.pooling import ALL, Pooling


class Dsmil(Pooling):
    """Dual-stream pooling: the mean of the logits of the critical tile and of the bag's vector.

    The first stream gives every tile logits; the tile of the highest risk is the critical one. The second weighs each
    tile by softmax(q_i · q_critical / sqrt(h)), q = W_q x of h numbers, and sums v = W_v x. The paper scores each class
    against all others; here classes exclude one another and a network has one direction of risk, so that there is one
    critical tile. The factor 1 / sqrt(h), which the paper's equation leaves out, keeps the softmax from one tile alone.

    Source: Li, Li, Eliceiri 2021, CVPR (arXiv:2011.08939), section 3.
    """

    stored_as = "dsmil"
    needs = ALL  # the weights follow from a tile that is known only when all have been seen
    HIDDEN: ClassVar[int] = 128

    def __init__(self, settings: NetworkSettings):
        super().__init__(settings)
        k = settings.instance_dim
        self.head = settings.head
        self.tile = nn.Linear(k, n_outputs(settings.head, settings.intervals))
        self.query = nn.Linear(k, self.HIDDEN)
        self.value = nn.Linear(k, k)

    @property
    def output_layers(self) -> list[nn.Linear]:
        """See `Pooling.output_layers`."""
        return [self.tile]

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        bags = torch.split(instances, sizes)
        return torch.stack([(self._likeness(bag)[:, None] * self.value(bag)).sum(0) for bag in bags])

    def alone(self, instances: Tensor) -> Tensor:
        """See `Pooling.alone`."""
        values: Tensor = self.value(instances)
        return values

    def joined(self, logits: Tensor, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.joined`."""
        critical = torch.stack([self.tile(bag[self._critical(bag)]) for bag in torch.split(instances, sizes)])
        return (logits + critical) / 2

    def joined_alone(self, logits: Tensor, instances: Tensor) -> Tensor:
        """See `Pooling.joined_alone`."""
        joined: Tensor = (logits + self.tile(instances)) / 2
        return joined

    def weights(self, instances: Tensor) -> Tensor | None:
        """See `Pooling.weights`: the likeness to the critical tile."""
        return self._likeness(instances)

    def _critical(self, bag: Tensor) -> Tensor:
        """Number of the tile of the highest risk; of equal ones the first."""
        return risk_of_logits(self.tile(bag), self.head).argmax()

    def _likeness(self, bag: Tensor) -> Tensor:
        """Weights [t] of a bag's tiles [t, k]."""
        queries = self.query(bag)
        return torch.softmax(queries @ queries[self._critical(bag)] / self.HIDDEN**0.5, 0)
