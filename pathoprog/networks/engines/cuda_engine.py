"""Networks over tiles by torch on a CUDA device: every call has one shape, and the host waits for no result.

All networks compute over the same tiles on the device, captured once as a CUDA graph and replayed: one command starts
some thousand kernels. Members are compiled before (`Place.compiled`); networks of one architecture share what was
compiled, since weights are inputs of it. What cannot be compiled or captured runs without, with the same results up to
rounding.

Shapes: n tiles, h and w their height and width in pixels.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog.networks.engines.tile_networks import AGREES, Place, Preparation, TileNetwork, difference, probe, short
from pathoprog.networks.engines.uploads import Uploads
from pathoprog.system.machine.compiling import compiled, why_not
from pathoprog.system.machine.device import dtype_name, exact_fp32

MEMORY_SHARE = 0.6
"""Of the free memory that a call may take: a graph keeps its own beside what the first calls took."""
MEASURED_TILES = 4
"""Over so many the memory of a call is measured."""

Forward = Callable[[Tensor], Tensor]


class CudaEngine:
    """See `engines.tile_networks.NetworkEngine`; its tiles may also lie on the device already.

    A call computes `at_once` tiles, the last of a batch is filled up. `at_once` is `Place.at_once`, halved until what a
    few tiles take fits the free memory so often, and again where memory runs out all the same.

    Attributes:
        at_once: tiles of one call.
    """

    def __init__(self, networks: Sequence[TileNetwork], preparation: Preparation, place: Place, size: tuple[int, int]):
        self._name = networks[0].name
        self._preparation, self._place, self._size = preparation, place, size
        self._on_cuda = place.device.type == "cuda"
        self._constants = preparation.constants(place.device)
        self._uploads = Uploads(place.device)
        self._networks = [network.module for network in networks]
        self._forwards: Sequence[Forward] = self._networks
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: list[Tensor] = []
        self.at_once = place.at_once
        with self._computing():
            self._fit_memory()
            self._is_compiled = place.compiled and self._on_cuda and self._compile()
            self._settle()
        place.tell(f"{self._name}: {self.how}")

    @property
    def how(self) -> str:
        """In words: tiles at once, compiled or not, captured or not."""
        kind = "compiled" if self._is_compiled else "not compiled"
        graph = "one graph" if self._graph is not None else "no graph"
        return f"{self.at_once} tiles of {self._size[1]} px at once, {kind}, {graph}"

    def values(self, tiles: NDArray[np.uint8] | Tensor) -> list[Tensor]:
        """See `engines.tile_networks.NetworkEngine`; returns before they are computed, once the tiles were copied."""
        with self._computing():
            try:
                there = tiles if isinstance(tiles, Tensor) else self._uploads(tiles)
                parts = [self._part(there[at : at + self.at_once]) for at in range(0, len(there), self.at_once)]
                return [torch.cat(values) if len(values) > 1 else values[0] for values in zip(*parts, strict=True)]
            except torch.OutOfMemoryError:
                pass  # what was computed by then is free only behind this clause
            if self.at_once > 1:
                self.at_once //= 2
                self._release()
                self._settle()
            raise torch.OutOfMemoryError(f"{self._name}: {len(tiles)} tiles do not fit the device's memory")

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), exact_fp32():
            if not self._on_cuda:
                yield
                return
            with torch.cuda.device(self._place.device):
                yield

    def _part(self, tiles: Tensor) -> list[Tensor]:
        """Each network's values of at most `at_once` tiles."""
        n = len(tiles)
        self._shown[:n].copy_(tiles)  # behind it lie earlier tiles, whose values are left out
        if self._graph is None:
            return [values[:n] for values in self._over(self._shown)]
        self._graph.replay()
        return [values[:n].clone() for values in self._outputs]

    def _over(self, tiles: Tensor, forwards: Sequence[Forward] = ()) -> list[Tensor]:
        """All networks over tiles on the device."""
        automatic = self._place.autocast and self._place.dtype == torch.bfloat16
        dtype = torch.float32 if automatic else self._place.dtype
        prepared = self._preparation(tiles, dtype, self._constants)
        # a graph must not rely on weights that autocast cast outside of it
        with torch.autocast(self._place.device.type, torch.bfloat16, automatic, cache_enabled=False):
            return [forward(prepared).float() for forward in forwards or self._forwards]

    def _fit_memory(self) -> None:
        """Halve `at_once` until it fits the free memory, by what a few tiles take."""
        if not self._on_cuda:
            return
        device = self._place.device
        tiles = torch.zeros((MEASURED_TILES, *self._size, 3), dtype=torch.uint8, device=device)
        self._over(tiles)  # loads what is loaded once
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        self._over(tiles)
        a_tile = (torch.cuda.max_memory_allocated(device) - before) / MEASURED_TILES
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        while self.at_once > 1 and self.at_once * a_tile > MEMORY_SHARE * free:
            self.at_once //= 2

    def _compile(self) -> bool:
        """Compile the networks, if they then give what they gave before on a probe."""
        h, w = self._size
        reason = why_not()
        if not reason:
            self._place.tell(f"{self._name}: compiling for {self.at_once} tiles of {w} px, once on a machine")
            try:
                forwards = [compiled(network, dynamic=False) for network in self._networks]
                shown = torch.from_numpy(probe(h, w)).to(self._place.device)
                shown = shown.repeat(-(-self.at_once // len(shown)), 1, 1, 1)[: self.at_once].contiguous()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch's advice to compute less exactly
                    found, wanted = self._over(shown, forwards), self._over(shown)
                off = max(difference(one, other) for one, other in zip(found, wanted, strict=True))
                if off <= AGREES[dtype_name(self._place.dtype)]:
                    self._forwards = forwards
                    return True
                reason = f"compiled, its values on a probe lie {off:.2g} off"
            except torch.OutOfMemoryError:
                reason = "no memory for it"
            except Exception as error:  # of many kinds: a compiler, its cache, what a network holds
                reason = short(error)
        self._place.tell(f"{self._name}: not compiled ({reason}); slower, with the same results up to rounding")
        return False

    def _settle(self) -> None:
        """Take the memory of a call and capture it, with half of the tiles wherever that does not fit.

        Raises:
            torch.OutOfMemoryError: not even one tile fits.
        """
        while not self._captured():
            if self.at_once == 1:
                raise torch.OutOfMemoryError(f"{self._name}: not even one tile fits the device's memory")
            self.at_once //= 2
            self._release()

    def _captured(self) -> bool:
        """Whether a call fits the memory; a CUDA graph of it is then in place, if it can be captured."""
        device = self._place.device
        try:
            self._shown = torch.zeros((self.at_once, *self._size, 3), dtype=torch.uint8, device=device)
            self._over(self._shown)  # memory runs out here rather than in a capture, which does not take it well
            if not self._on_cuda:
                return True
            torch.cuda.synchronize(device)
            torch.cuda.empty_cache()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self._over(self._shown)
            graph.replay()
            torch.cuda.synchronize(device)
        except torch.OutOfMemoryError:
            return False
        except RuntimeError as error:
            self._place.tell(f"{self._name}: started kernel by kernel, no graph could be captured ({short(error)})")
            return True
        self._graph, self._outputs = graph, outputs
        return True

    def _release(self) -> None:
        """Give back a call's memory."""
        if self._on_cuda:
            torch.cuda.synchronize(self._place.device)
        self._graph, self._outputs = None, []
        self._shown = torch.empty(0, dtype=torch.uint8)
        if self._on_cuda:
            torch.cuda.empty_cache()
