"""Networks that are shown the same tiles: one decoded batch serves all of them, whichever engine computes.

Whatever runs a network over tiles goes through `TileNetworks`: scoring, the lock's scoring of tuning, `features`, the
tumour network. Training alone does not.

Shapes: n tiles, h and w their height and width in pixels, m networks.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD
from pathoprog.networks.engines.choice import ENGINES, FALLBACK, Runtime, installed
from pathoprog.networks.engines.probe_values import torch_values
from pathoprog.networks.engines.torch_engine import TorchEngine
from pathoprog.networks.member import normalised, normalising
from pathoprog.system.machine.device import dtype_name

MOST_SIZES = 4
"""Tile sizes that an engine is kept ready for; a run has one, or the overview's window beside it."""
PROBE_TILES = 2
AGREES = {"fp32": 1e-5, "bf16": 0.1}
"""How far an engine may lie from torch in fp32 on the probe, as a share of the largest value (at least of 1). In fp32
the promise that results make of devices; in bf16 a check for gross faults, since rounding alone gives 0.04 to 0.07."""


@dataclass(frozen=True)
class Preparation:
    """How tiles are shown: normalised by `mean` and `std` (per channel, of [0, 1]); with `input_px` at that size."""

    mean: Sequence[float] = NORMALISATION_MEAN
    std: Sequence[float] = NORMALISATION_STD
    input_px: int = 0

    def __call__(
        self, tiles: Tensor, dtype: torch.dtype = torch.float32, constants: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Tiles uint8 [n, h, w, 3] to [n, 3, h, w], on their device; `constants` of it spare bringing them there."""
        batch = normalised(tiles, dtype, *(constants or self.constants(tiles.device)))
        if self.input_px:
            batch = functional.interpolate(batch, (self.input_px, self.input_px), mode="bilinear", antialias=True)
        return batch

    def constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation as they are computed with, on a device."""
        return normalising(device, self.mean, self.std)

    def pixels(self, h: int, w: int) -> int:
        """What a network sees of one tile."""
        return self.input_px**2 or h * w


@dataclass(frozen=True)
class TileNetwork:
    """One network.

    Attributes:
        name: for the user.
        identity: SHA-256 of its weights, and the settings it is built by.
        module: prepared tiles [n, 3, h, w] to float32 values [n, …], in evaluation mode.
    """

    name: str
    identity: str
    module: nn.Module


@dataclass(frozen=True)
class Place:
    """Where networks compute, and by what.

    Attributes:
        device: CUDA or the CPU.
        dtype: of the computation; on a CPU bf16 only where it was asked for.
        threads: on a CPU, how many tiles' or networks' computations go on at once, each in one thread.
        runtime: the engine.
        tell: is told what takes long.
        autocast: torch computes `dtype` under autocast; else the networks were cast, and take tiles of that dtype.
        compiled: on CUDA the networks are compiled, which takes up to a minute the first time on a machine.
        at_once: on CUDA, tiles of one call at most; each call is filled up to as many.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    threads: int = 1
    runtime: Runtime | None = None
    tell: Callable[[str], None] = lambda text: None
    autocast: bool = False
    compiled: bool = False
    at_once: int = 64


class NetworkEngine(Protocol):
    """Computes networks over tiles of one size. Equal tiles give equal bits on one CPU, however they are batched."""

    def values(self, tiles: NDArray[np.uint8]) -> list[Tensor]:
        """Each network's values [n, …] (float32, on the device) of tiles uint8 [n, h, w, 3].

        Once it returns the tiles' memory may be used again; on CUDA the values may be computed later.

        Raises:
            torch.OutOfMemoryError: the batch does not fit the device's memory.
        """


class TileNetworks:
    """Networks over tiles by the engine asked for, or by torch where that one cannot, or does not agree with torch.

    Args:
        networks: on the CPU in float32, in evaluation mode.
        preparation: how all of them are shown the tiles.
        place: where to compute; without a `runtime` by torch.
        to_torch: called once before torch computes, to move the networks to the device and dtype.
    """

    def __init__(
        self,
        networks: Sequence[TileNetwork],
        preparation: Preparation,
        place: Place,
        to_torch: Callable[[], object] = lambda: None,
    ):
        self.networks, self.preparation, self.place = list(networks), preparation, place
        self.note = ""
        self._to_torch = to_torch
        self._torch: TorchEngine | None = None
        self._with_torch = False
        self._others: dict[tuple[int, int], NetworkEngine] = {}
        planned = place.runtime
        if planned is not None and planned.name != FALLBACK and (here := installed(planned.name)) != planned:
            self.note = f"{planned} is not installed here{f' but {here}' if here else ''}; computed by {_torch()}"

    @property
    def runtime(self) -> Runtime:
        """The engine that computes: torch where `note` says why it is not the one asked for."""
        planned = self.place.runtime
        if planned is not None and planned.name != FALLBACK and not self.note:
            return planned
        return _torch()

    def values(self, tiles: NDArray[np.uint8] | Tensor) -> list[Tensor]:
        """Each network's values [n, …] (float32, on the device) of tiles uint8 [n, h, w, 3].

        On CUDA the tiles may lie on the device already (`engines.uploads.Uploads`).

        Raises:
            torch.OutOfMemoryError: the batch does not fit the device's memory.
        """
        engine: Any = self.ready(tiles.shape[1], tiles.shape[2])
        found: list[Tensor] = engine.values(tiles)
        return found

    def begin(self, tiles: NDArray[np.uint8] | Tensor) -> Callable[[], list[Tensor]] | None:
        """`values` beside the caller: what is returned waits for them. None where the engine computes only `values`.

        Until then the tiles' memory must stay as it is.
        """
        begin: Callable[[Any], Callable[[], list[Tensor]]] | None
        begin = getattr(self.ready(tiles.shape[1], tiles.shape[2]), "begin", None)
        return None if begin is None else begin(tiles)

    def ready(self, h: int, w: int) -> NetworkEngine:
        """The engine for tiles of this size, made now if there is none: else the first tiles wait for it."""
        while self.runtime.name != FALLBACK:
            if (h, w) in self._others:
                return self._others[h, w]
            made = self._checked(h, w)
            if made is not None:
                self._keep(made, h, w)
        if not self._with_torch:
            self._to_torch()
            self._with_torch = True
        if self.place.device.type == "cuda":
            if (h, w) not in self._others:
                cuda: Any = importlib.import_module("pathoprog.networks.engines.cuda_engine")
                self._keep(cuda.CudaEngine(self.networks, self.preparation, self.place, (h, w)), h, w)
            return self._others[h, w]
        if self._torch is None:
            self._torch = TorchEngine(self.networks, self.preparation, self.place, (h, w))
        return self._torch

    @property
    def how(self) -> str:
        """How the engine computes, in words, where there is more to say than `runtime` does."""
        return "; ".join(how for engine in self._others.values() if (how := getattr(engine, "how", "")))

    def _keep(self, engine: NetworkEngine, h: int, w: int) -> None:
        while len(self._others) >= MOST_SIZES:
            self._others.pop(next(iter(self._others)))
        self._others[h, w] = engine

    def _checked(self, h: int, w: int) -> NetworkEngine | None:
        """The engine asked for, if its values on a probe are torch's; else None, and `note` says why."""
        facts = ENGINES[self.runtime.name]
        planned = self.runtime
        try:
            kind: Any = getattr(importlib.import_module(facts.module), facts.class_name)
            engine: NetworkEngine = kind(self.networks, self.preparation, self.place, (h, w))
            tiles = probe(h, w)
            found = engine.values(tiles)
        except Exception as error:  # whatever a network holds that an engine does not know: torch knows it
            self._turn_to_torch(planned, f"it could not compute {self.networks[0].name} ({short(error)})")
            return None
        exact = Place(torch.device("cpu"), threads=self.place.threads)
        wanted = torch_values(self.networks, self.preparation, exact, tiles)
        off = max(difference(one, other) for one, other in zip(found, wanted, strict=True))
        most = AGREES[dtype_name(self.place.dtype)]
        if not off <= most:
            self._turn_to_torch(planned, f"its values on a probe lie {off:.2g} from torch's, {most:g} is allowed")
            return None
        return engine

    def _turn_to_torch(self, planned: Runtime, why: str) -> None:
        self._others.clear()
        self.note = f"{planned} was not used: {why}; computed by {_torch()}"
        self.place.tell(f"{self.networks[0].name}: {self.note}")


def _torch() -> Runtime:
    return installed(FALLBACK) or Runtime(FALLBACK, torch.__version__)


def short(error: Exception) -> str:
    """An error's kind and its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:160] if lines else ''}"


def difference(found: Tensor, wanted: Tensor) -> float:
    """Largest difference as a share of the largest value, at least of 1; NaN where either has NaN."""
    scale = max(1.0, float(wanted.abs().max()))
    return float((found.cpu() - wanted.cpu()).abs().max()) / scale


def probe(h: int, w: int) -> NDArray[np.uint8]:
    """Tiles uint8 [n, h, w, 3] on which engines are compared: in colours of H&E, coarse and fine structure."""
    rng = np.random.default_rng(0)
    centre = np.array([190, 120, 170])  # about the mean of stained tissue
    made = []
    for side in [2, 16][:PROBE_TILES]:
        coarse = rng.normal(0, 45, (-(-h // side), -(-w // side), 3))
        blocks = coarse.repeat(side, 0).repeat(side, 1)[:h, :w]
        made.append(np.clip(centre + blocks + rng.normal(0, 8, (h, w, 3)), 0, 255).astype(np.uint8))
    return np.stack(made)
