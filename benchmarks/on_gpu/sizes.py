"""How much of everything, and how long each part may take; and what a part hands back."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import resolve_device


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        side_px: of the made slide.
        margin: glass around its tissue, in tiles of 256 px.
        slides: names under which it is read, each by a reader of its own.
        size_px: of the members' tiles.
        width: of the members.
        at_once: tiles of a bare forward pass.
        repeat_s: seconds that a bare pass or a copy is repeated for.
        plain_tiles: of the plain loop.
        training: keys of benchmarks/train_step.py.
        compared: slides whose classes are compared.
        compared_px: their side, an eighth of it glass at each edge.
        copied_mib: copied at once to measure bandwidth.
        matrix: side of the matrices.
    """

    side_px: int = 40_000
    margin: int = 8
    slides: int = 2
    size_px: int = 448
    width: float = 1.0
    at_once: int = 64
    repeat_s: float = 1.0
    plain_tiles: int = 500
    training: tuple[tuple[str, int], ...] = ()
    compared: int = 100
    compared_px: int = 1024
    copied_mib: int = 512
    matrix: int = 8192


FULL = Sizes()
A_TENTH = Sizes(
    side_px=4_000,
    margin=2,
    slides=1,
    width=0.35,
    at_once=4,
    repeat_s=0.1,
    plain_tiles=8,
    training=(("patients", 2), ("tiles", 2), ("steps", 5), ("size_px", 128)),
    compared=10,
    compared_px=512,
    copied_mib=32,
    matrix=512,
)
SMALLEST = Sizes(
    side_px=2_000,
    margin=1,
    slides=1,
    size_px=96,
    width=0.35,
    at_once=2,
    repeat_s=0.01,
    plain_tiles=4,
    training=(("patients", 2), ("tiles", 1), ("steps", 4), ("size_px", 32)),
    compared=2,
    compared_px=512,
    copied_mib=1,
    matrix=64,
)
SIZES = {"full": FULL, "tenth": A_TENTH, "smallest": SMALLEST}


@dataclass(frozen=True)
class Row:
    """A line of the table: what, how much, of what unit, and what to know of it."""

    what: str
    value: float
    unit: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Setting:
    """Where a part runs: its sizes, a folder for what it makes, the device; `tell` prints to the part's log."""

    sizes: Sizes
    folder: Path
    device: torch.device
    tell: Callable[[str], None] = print

    @property
    def on_cuda(self) -> bool:
        """Whether there is a CUDA device."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.on_cuda:
            torch.cuda.synchronize(self.device)

    @property
    def threads(self) -> int:
        """On a CPU, how many networks compute at once."""
        return min(5, cores())


def setting(sizes: Sizes, folder: Path) -> Setting:
    """On the first CUDA device where there is one."""
    return Setting(sizes, folder, resolve_device("auto"))
