"""Tiles on their way to a CUDA device: copied beside the computation, a few batches in flight.

Shapes: n tiles, h and w their height and width in pixels.
"""

from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IN_FLIGHT = 3
"""Batches on the device at once: one computed, one waiting for it, one being copied."""


class Uploads:
    """Copies tiles to a CUDA device on a stream of its own; on any other device they stay where they are.

    Args:
        device: where the tiles go.
        in_flight: batches whose computation may not have ended; the host waits for the oldest before it copies more.
    """

    def __init__(self, device: torch.device, in_flight: int = IN_FLIGHT):
        self._device, self._most = device, in_flight
        self._computed: deque[torch.cuda.Event] = deque()
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, tiles: NDArray[np.uint8]) -> Tensor:
        """Tiles uint8 [n, h, w, 3] on the device, there for whatever is computed next.

        Returns once they have been copied, so their memory may be used again. Work that was given to the device before
        goes on meanwhile, but for that of `in_flight` batches ago. From page-locked memory (`pinned.register`) the
        device fetches them by itself.

        Raises:
            torch.OutOfMemoryError: the tiles do not fit the device's memory.
        """
        if self._copying is None:
            return torch.from_numpy(tiles)
        computing = torch.cuda.current_stream(self._device)
        before = torch.cuda.Event()  # type: ignore[no-untyped-call]
        before.record(computing)  # the end of the batches before this one
        self._computed.append(before)
        while len(self._computed) >= self._most:
            self._computed.popleft().synchronize()
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._copying):
            there = torch.from_numpy(tiles).to(self._device, non_blocking=True)
            copied.record(self._copying)
        computing.wait_event(copied)
        there.record_stream(computing)  # its memory is not used again before the computation has read it
        copied.synchronize()
        return there
