"""Networks over tiles by OpenVINO on a CPU, several as one model with several outputs.

Shapes: n tiles, h and w their height and width in pixels.

What must be told, since its defaults differ: the precision (by default bf16 on CPUs that have it), no pinning (it
halves two processes side by side), and no telemetry (`pathoprog.networks.engines.converted`).
"""

from collections.abc import Sequence
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
        self._queue: Any = ov.AsyncInferQueue(self.compiled, place.threads)
        self._queue.set_callback(_collect)
        self._shapes = [tuple(output.shape)[1:] for output in self.compiled.outputs]

    @torch.inference_mode()
    def values(self, tiles: NDArray[np.uint8]) -> list[Tensor]:
        """See `engines.tile_networks.NetworkEngine`."""
        shown: NDArray[Any] = tiles
        if self._preparation.input_px:
            shown = self._preparation(torch.from_numpy(tiles)).contiguous().numpy()
        n, step = len(shown), self.at_once
        found = [np.empty((n, *shape), np.float32) for shape in self._shapes]
        for start in range(0, n, step):
            part = np.ascontiguousarray(shown[start : start + step])
            if len(part) < step:
                part = np.concatenate([part, np.zeros((step - len(part), *part.shape[1:]), part.dtype)])
            # `part` goes along, since it is shared with the engine until the call has ended
            self._queue.start_async({0: part}, (start, part, found), share_inputs=True)
        self._queue.wait_all()
        return [torch.from_numpy(values) for values in found]


def tiles_a_call(pixels: int) -> int:
    """How many tiles of so many pixels one call has: one number for a size, since last bits may depend on it."""
    return 1 if pixels >= SINGLE_PX**2 else MOST_AT_ONCE


def _collect(request: Any, work: tuple[int, NDArray[Any], list[NDArray[np.float32]]]) -> None:
    """Copy what a call gave to its place; what was filled up is left out."""
    start, part, found = work
    for index, values in enumerate(found):
        count = min(len(part), len(values) - start)
        values[start : start + count] = request.get_output_tensor(index).data[:count]


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
