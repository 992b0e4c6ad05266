"""Networks over tiles by torch itself: on CUDA, and wherever nothing else is installed or agrees.

Shapes: n tiles, h and w their height and width in pixels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog.system.machine.device import exact_fp32

if TYPE_CHECKING:
    from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork

CPU_PIXELS = 8 * 448 * 448
"""Most pixels that a network is shown at once on a CPU: five networks side by side then take less than 2 GiB."""


class TorchEngine:
    """See `engines.tile_networks.NetworkEngine`; computes tiles of any size, `size` is only its first.

    On a CPU the networks compute side by side, each in one thread: then equal batches give equal bits, however many
    threads there are (`torch.set_num_threads(1)` is the caller's part).
    """

    def __init__(
        self,
        networks: "Sequence[TileNetwork]",
        preparation: "Preparation",
        place: "Place",
        size: tuple[int, int],
    ):
        self._modules = [network.module for network in networks]
        self._preparation, self._place = preparation, place
        side_by_side = place.threads > 1 and place.device.type == "cpu"
        self._pool = ThreadPoolExecutor(place.threads, "network") if side_by_side else None

    @torch.inference_mode()
    def values(self, tiles: NDArray[np.uint8] | Tensor) -> list[Tensor]:
        """See `engines.tile_networks.NetworkEngine`."""
        device = self._place.device
        automatic = self._place.autocast and self._place.dtype == torch.bfloat16
        dtype = torch.float32 if automatic else self._place.dtype
        most = len(tiles)
        if device.type == "cpu":  # never by the machine, for equal bits
            most = max(1, CPU_PIXELS // self._preparation.pixels(*tiles.shape[1:3]))
        with exact_fp32():
            parts = [
                self._preparation(torch.as_tensor(tiles[start : start + most], device=device), dtype)
                for start in range(0, len(tiles), most)
            ]

            @torch.inference_mode()  # threads have a mode of their own
            def of(one: tuple[torch.nn.Module, Tensor]) -> Tensor:
                with torch.autocast(device.type, torch.bfloat16, automatic):
                    values: Tensor = one[0](one[1])
                    return values.float()

            work = [(module, part) for module in self._modules for part in parts]
            found = list((self._pool.map if self._pool else map)(of, work))
        step = len(parts)
        return [torch.cat(found[start : start + step]) for start in range(0, len(found), step)]
