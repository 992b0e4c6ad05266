"""Poolings by attention: each tile's weight follows from its own values; gated attention, and CLAM with one branch.

Shapes: n tiles of all bags of a batch, one behind the other; k instance values per tile; b bags; c classes; t tiles of
one bag that are looked at.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pathoprog.networks.config import NetworkSettings, n_outputs
from pathoprog.networks.poolings.pooling import Pooling


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


class ClamSb(GatedAttention):
    """CLAM with a single branch: gated attention that learns with a loss on tiles, where labels are classes.

    The B tiles of the highest attention must show the bag's class, the B of the lowest must not, and the highest must
    not show another class, since a patient has one. Each class has a linear layer that says so of a tile; their loss is
    `smooth_svm`. No layer of these counts in scoring. Labels are classes under the head *poor* alone: with another head
    this is gated attention with a wider hidden layer.

    Source: Lu, Williamson, Chen et al. 2021, Nat Biomed Eng 5:555 (arXiv:2004.09666), with its B = 8.
    """

    stored_as = "clam_sb"
    HIDDEN: ClassVar[int] = 256

    def __init__(self, settings: NetworkSettings):
        super().__init__(settings)
        self.most = settings.clam_tiles
        classes = n_outputs(settings.head, settings.intervals) if settings.head == "poor" else 0
        self.shows = nn.ModuleList(nn.Linear(settings.instance_dim, 2) for _ in range(classes))  # not, and does

    def instance_losses(self, instances: Tensor, sizes: list[int]) -> Tensor | None:
        """See `Pooling.instance_losses`; of a bag of one tile it is 0."""
        if not len(self.shows):
            return None
        of_bags = zip(torch.split(self.log_weights(instances), sizes), torch.split(instances, sizes), strict=True)
        return torch.stack([self._of_bag(weight, values) for weight, values in of_bags])

    def _of_bag(self, weight: Tensor, values: Tensor) -> Tensor:
        """A bag's loss [c], of log weights [t] and values [t, k]."""
        most = min(self.most, len(weight) // 2)
        if most == 0:
            return values.new_zeros(len(self.shows))
        highest, lowest = weight.topk(most)[1], weight.topk(most, largest=False)[1]
        yes, no = weight.new_ones(most, dtype=torch.long), weight.new_zeros(most, dtype=torch.long)
        both = values[torch.cat([highest, lowest])]
        own = torch.stack([smooth_svm(layer(both), torch.cat([yes, no])) for layer in self.shows])
        other = torch.stack([smooth_svm(layer(values[highest]), no) for layer in self.shows])
        return (own + other.sum() - other) / len(self.shows)


def smooth_svm(logits: Tensor, labels: Tensor, margin: float = 1.0, temperature: float = 1.0) -> Tensor:
    """The mean smooth top-1 support vector machine loss (Berrada, Zisserman, Kumar 2018, ICLR).

    temperature * log sum_j exp((margin [j is not the label] + s_j - s_label) / temperature).

    Args:
        logits: s, [t, c].
        labels: [t], of classes.
        margin: by which the label's logit must be higher than the others.
        temperature: towards 0 the loss is the plain support vector machine's.
    """
    others = 1 - functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return temperature * functional.cross_entropy((logits + margin * others) / temperature, labels)
