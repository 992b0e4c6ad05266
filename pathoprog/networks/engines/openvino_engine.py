"""Networks over tiles by OpenVINO on a CPU, several as one model with several outputs.

Shapes: n tiles, h and w their height and width in pixels.

What must be told, since its defaults differ: the precision (by default bf16 on CPUs that have it), no pinning (it
halves two processes side by side), and no telemetry (`pathoprog.networks.engines.converted`).
"""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog.networks.engines.converted import converted, openvino
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork
from pathoprog.system.machine.device import dtype_name

MOST_AT_ONCE = 16
"""Tiles in one call: no more than so many, since a slide's last call is filled up."""
SINGLE_PX = 192
"""Tiles of this side or larger go one by one: several share the caches, and took longer (docs/speed.md)."""
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """See `engines.tile_networks.NetworkEngine`.

    Every call has the same shape, the last of a batch is filled up with empty tiles, and each is computed in one
    thread: a tile's values do not depend on the tiles beside it, nor on how many threads there are.

    Raises:
        Exception: of many kinds, where a network holds what OpenVINO cannot convert or compile.
    """

    def __init__(self, networks: Sequence[TileNetwork], preparation: Preparation, place: Place, size: tuple[int, int]):
        ov = openvino()
        pixels = preparation.pixels(*size)
        self.at_once = tiles_a_call(pixels)
        self._preparation = preparation
        core = ov.Core()
        n = len(networks)
        models = [
            converted(core, network, preparation, size, f"converting {network.name} ({number} of {n})", place)
            for number, network in enumerate(networks, 1)
        ]
        self.compiled = core.compile_model(
            _joined(models, self.at_once),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": PRECISIONS[dtype_name(place.dtype)],
                "ENABLE_CPU_PINNING": False,
                "NUM_STREAMS": place.threads,
                "INFERENCE_NUM_THREADS": place.threads,
            },
        )
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(place.threads):
            self._free.put(self.compiled.create_infer_request())
        self._pool = _pool(place.threads)
        self._shapes = [tuple(output.shape)[1:] for output in self.compiled.outputs]

    def values(self, tiles: NDArray[np.uint8]) -> list[Tensor]:
        """See `engines.tile_networks.NetworkEngine`."""
        return self.begin(tiles)()

    @torch.inference_mode()
    def begin(self, tiles: NDArray[np.uint8]) -> Callable[[], list[Tensor]]:
        """`values` beside the caller: what is returned waits for them. Until then the tiles' memory stays as it is.

        Calls of several batches share the threads, first come, first served, so that none is idle at a batch's end.
        """
        shown: NDArray[Any] = tiles
        if self._preparation.input_px:
            shown = self._preparation(torch.from_numpy(tiles)).contiguous().numpy()
        n, step = len(shown), self.at_once
        found = [np.empty((n, *shape), np.float32) for shape in self._shapes]
        calls = [self._pool.submit(self._call, shown, start, found) for start in range(0, n, step)]

        def finished() -> list[Tensor]:
            for call in calls:
                call.result()
            return [torch.from_numpy(values) for values in found]

        return finished

    def _call(self, shown: NDArray[Any], start: int, found: list[NDArray[np.float32]]) -> None:
        """Compute the tiles from `start` on that one call takes, and put what it gives in its place.

        What the call was filled up with is left out.
        """
        part = np.ascontiguousarray(shown[start : start + self.at_once])
        if len(part) < self.at_once:
            part = np.concatenate([part, np.zeros((self.at_once - len(part), *part.shape[1:]), part.dtype)])
        request = self._free.get()
        try:
            request.start_async({0: part}, share_inputs=True)
            request.wait()
            for index, values in enumerate(found):
                count = min(len(part), len(values) - start)
                values[start : start + count] = request.get_output_tensor(index).data[:count]
        finally:
            self._free.put(request)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Of all engines together, so that no more calls go on at once than `Place.threads` says."""
    return ThreadPoolExecutor(threads, "network")


def tiles_a_call(pixels: int) -> int:
    """How many tiles of so many pixels one call has: one number for a size, since last bits may depend on it."""
    return 1 if pixels >= SINGLE_PX**2 else MOST_AT_ONCE


def _joined(models: list[Any], at_once: int) -> Any:
    """One model of several, with one input [at_once, …] and an output of each."""
    ov = openvino()
    first = models[0].inputs[0]
    shape = [at_once, *(dimension.get_length() for dimension in list(first.partial_shape)[1:])]
    tiles = ov.opset13.parameter(shape, first.element_type, name="tiles")
    results = []
    for model in models:
        model.reshape(shape)
        model.inputs[0].replace(tiles.output(0))
        results += model.get_results()
    return ov.Model(results, [tiles], "networks")
