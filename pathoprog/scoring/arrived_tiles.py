"""Tiles of one slide and resolution, as far as they have come: what the networks said of them, and the strongest ones.

Shapes: n tiles, s tile size in pixels, m members of the resolution, k instance values per tile, c candidates.
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STRONGEST = 4
"""Tiles of the highest scores that are kept of each resolution, for the slide's page."""
CANDIDATES = 4 * STRONGEST
"""So many are kept on a device, whose means over the members may differ from the host's in the last bit."""

Strongest = list[tuple[int, NDArray[np.uint8]]]
"""Number in the grid and pixels [s, s, 3], the highest score first; of equal ones the first in the grid."""


class ArrivedTiles(Protocol):
    """See the module.

    Attributes:
        instances: by batch and member, float32 [n, k], on the device.
    """

    instances: list[list[Tensor]]

    def add(self, start: int, tiles: Any, instances: list[Tensor], scores: Any) -> None:
        """Tiles `start` … of the grid, uint8 [n, s, s, 3], with each member's instance values and scores [n, m]."""

    def fetch(self) -> tuple[NDArray[np.float32], Strongest]:
        """Scores [n, m] of all tiles, and the strongest tiles."""

    def __len__(self) -> int:
        """How many tiles have come."""


class TilesOnHost:
    """`ArrivedTiles` where the networks compute on a CPU."""

    def __init__(self) -> None:
        self.instances: list[list[Tensor]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._strongest: list[tuple[float, int, NDArray[np.uint8]]] = []  # score, -number, pixels

    def add(self, start: int, tiles: NDArray[np.uint8], instances: list[Tensor], scores: NDArray[np.float32]) -> None:
        """See `ArrivedTiles`."""
        self.instances.append(instances)
        self._scores.append(scores)
        means = scores.mean(axis=1)
        for index in np.argsort(-means, kind="stable")[:STRONGEST]:
            self._strongest.append((float(means[index]), -(start + int(index)), tiles[index].copy()))
        self._strongest.sort(key=lambda entry: entry[:2], reverse=True)
        del self._strongest[STRONGEST:]

    def fetch(self) -> tuple[NDArray[np.float32], Strongest]:
        """See `ArrivedTiles`."""
        return np.concatenate(self._scores), [(-negative, pixels) for _, negative, pixels in self._strongest]

    def __len__(self) -> int:
        return sum(map(len, self._scores))


class TilesOnDevice:
    """`ArrivedTiles` that stay on the networks' device until they are fetched: no batch is waited for."""

    def __init__(self) -> None:
        self.instances: list[list[Tensor]] = []
        self._scores: list[Tensor] = []
        self._best: tuple[Tensor, Tensor, Tensor] | None = None  # means [c], numbers [c], pixels [c, s, s, 3]

    @torch.inference_mode()
    def add(self, start: int, tiles: Tensor, instances: list[Tensor], scores: Tensor) -> None:
        """See `ArrivedTiles`; all tensors on the device."""
        self.instances.append(instances)
        self._scores.append(scores)
        means = scores.mean(dim=1)
        order = torch.argsort(means, descending=True, stable=True)[:CANDIDATES]
        best = means[order], order + start, tiles[order]
        if self._best is not None:  # earlier tiles first: they win where means are equal
            before = [torch.cat(pair) for pair in zip(self._best, best, strict=True)]
            order = torch.argsort(before[0], descending=True, stable=True)[:CANDIDATES]
            best = before[0][order], before[1][order], before[2][order]
        self._best = best

    def fetch(self) -> tuple[NDArray[np.float32], Strongest]:
        """See `ArrivedTiles`; waits for the device."""
        assert self._best is not None, "no tile has come"
        scores = torch.cat(self._scores).cpu().numpy()
        numbers = self._best[1].cpu().numpy()
        means = scores[numbers].mean(axis=1)
        order = np.lexsort((numbers, -means))[:STRONGEST]
        pixels = self._best[2][torch.from_numpy(order).to(self._best[2].device)].cpu().numpy()
        return scores, [(int(numbers[index]), pixels[place]) for place, index in enumerate(order)]

    def __len__(self) -> int:
        return sum(map(len, self._scores))
