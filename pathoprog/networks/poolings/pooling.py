"""What every pooling does. A new one: a class in this room, and its lines in two tables of `networks.config`.

Shapes: n tiles of all bags of a batch, one behind the other; k instance values per tile; b bags; c outputs of the
network.
"""

import importlib
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from pathoprog.networks.config import POOLINGS, NetworkSettings

PARTS, ALL, ORDER = "parts", "all", "order"
"""What a pooling needs of a bag.

PARTS: sums, maxima and the like, to which parts of the bag can be joined: any drawn tiles stand for the bag.
ALL: the values of all its tiles at once, in any order.
ORDER: all of them, in their fixed order (row by row, of one slide after the other): drawn tiles are another bag.
"""


class Pooling(nn.Module, ABC):
    """What every pooling does; a new one defines `pool`, and overrides what else differs.

    Scoring keeps the values of all tiles of a bag and pools once, so that how tiles were batched does not matter,
    whatever a pooling needs; what it needs decides how it may be trained.

    Attributes:
        stored_as: the name of its parameters in a member's file; "" if it has none.
        needs: what it needs of a bag: PARTS, ALL or ORDER.
    """

    stored_as: ClassVar[str] = ""
    needs: ClassVar[str] = PARTS

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

    def joined(self, logits: Tensor, instances: Tensor, sizes: list[int]) -> Tensor:
        """Logits [b, c] of the bags, of the classifier's [b, c]: where a pooling has outputs of its own, with them."""
        return logits

    def joined_alone(self, logits: Tensor, instances: Tensor) -> Tensor:
        """`joined` [n, c] for n bags of one tile each, at once."""
        return logits

    def weights(self, instances: Tensor) -> Tensor | None:
        """Weights [n] of the tiles of one bag (they add up to 1), or None if they have none."""
        return None

    def instance_losses(self, instances: Tensor, sizes: list[int]) -> Tensor | None:
        """A loss of its own on tiles: [b, c], each bag's if its label were each of the classes; None: it has none."""
        return None

    @property
    def output_layers(self) -> list[nn.Linear]:
        """Layers of its own that give logits beside the classifier's."""
        return []


def pooling_class(name: str) -> type[Pooling]:
    """The class of a pooling by its name in `POOLINGS`."""
    module, _, class_name = POOLINGS[name].partition(":")
    found: type[Pooling] = getattr(importlib.import_module(f"pathoprog.networks.poolings.{module}"), class_name)
    return found


def make_pooling(settings: NetworkSettings) -> Pooling:
    """The pooling that `settings.pooling` names."""
    return pooling_class(settings.pooling)(settings)
