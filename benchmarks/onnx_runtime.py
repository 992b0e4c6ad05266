"""ONNX Runtime beside torch and OpenVINO, in one run: one member, and a resolution's five, fp32.

    pip install --target FOLDER --no-deps onnx onnxruntime ml_dtypes flatbuffers
    PYTHONPATH=FOLDER python benchmarks/onnx_runtime.py [SIDE_PX …] [--width W] [--tiles N] [--threads T …]

It is no part of the project; `docs/speed.md` says why. Networks, preparation and calls are those of
benchmarks/score_speed.py; ONNX Runtime has them as one graph with several outputs, each call in one thread, as many
calls at once as there are threads. Then the bits of features: the same tiles in calls of 1 to 16, and by two threads of
a call. The networks' weights are random. CPU time is shown since other work on a machine lengthens the clock's.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from score_speed import cpu_name, members
from torch import Tensor, nn

from pathoprog.networks.engines.choice import installed
from pathoprog.networks.engines.openvino_engine import tiles_a_call
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork, TileNetworks

ROUNDS = 4
"""Of which the first is dropped."""

Values = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


@dataclass
class Measured:
    """Tiles/s by the clock (best round), CPU ms a tile (best round), and the values."""

    rate: float
    cpu_ms: float
    values: list[NDArray[np.float32]]


class Together(nn.Module):
    """Tiles uint8 [n, h, w, 3] to the values of each network."""

    def __init__(self, networks: list[TileNetwork]):
        super().__init__()
        self.preparation = Preparation()
        self.networks = nn.ModuleList(network.module for network in networks)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        batch = self.preparation(tiles)
        return tuple(network(batch) for network in self.networks)


def exported(networks: list[TileNetwork], side: int, path: Path) -> None:
    """Write the networks as one ONNX graph; the number of tiles stays open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Together(networks).eval(),
            (torch.zeros(1, side, side, 3, dtype=torch.uint8),),
            str(path),
            input_names=["tiles"],
            dynamic_axes={"tiles": {0: "n"}},
            dynamo=False,
        )


def onnx_values(path: Path, at_once: int, calls: int, threads: int = 1) -> Values:
    """A function of tiles: calls of at most `at_once` tiles, `calls` side by side, each in `threads` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    pool = ThreadPoolExecutor(calls)

    def values(tiles: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        parts = [tiles[start : start + at_once] for start in range(0, len(tiles), at_once)]
        found = list(pool.map(lambda part: session.run(None, {"tiles": part}), parts))
        return [np.concatenate(values) for values in zip(*found, strict=True)]

    return values


def engine_values(name: str, n: int, width: float, threads: int) -> Values:
    """The project's own engine of that name over n random members, as a function of tiles."""
    place = Place(torch.device("cpu"), threads=threads, runtime=installed(name))
    engine = TileNetworks(members(n, width), Preparation(), place)
    return lambda tiles: [values.numpy() for values in engine.values(tiles)]


def measure(values: Values, tiles: NDArray[np.uint8]) -> Measured:
    """Show the tiles several times."""
    clock, cpu = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        found = values(tiles)
        clock.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return Measured(len(tiles) / min(clock[1:]), 1e3 * min(cpu[1:]) / len(tiles), found)


def largest_difference(found: list[NDArray[np.float32]], wanted: list[NDArray[np.float32]]) -> float:
    """Over all networks, tiles and values."""
    return max(float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True))


def said_of_bits(path: Path, tiles: NDArray[np.uint8]) -> str:
    """Which calls give the bits that calls of one tile in one thread give."""
    wanted = onnx_values(path, 1, 1)(tiles)
    said = []
    for at_once, threads in [(2, 1), (3, 1), (8, 1), (16, 1), (1, 2), (8, 2)]:
        off = largest_difference(onnx_values(path, at_once, 1, threads)(tiles), wanted)
        said.append(f"{at_once} a call, {threads} thread{'s' * (threads > 1)}: {'equal' if off == 0 else f'{off:.0e}'}")
    return "; ".join(said)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", nargs="*", type=int, default=[96, 448])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--tiles", type=int, default=0, help="0: as many as 16 tiles of 448 px have pixels, at most 64")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # so that the conversion for OpenVINO is a first one
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "openvino", "onnxruntime", "onnx"))
    print(f"{cpu_name()}; {versions}; MobileNetV2 of width {given.width:g}; load {os.getloadavg()[0]:.1f}\n")
    print(
        "| tiles | networks | engine | threads | tiles/s | CPU ms a tile | CPU against torch | off torch | ready, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    bits = []
    for side in given.sides:
        n = given.tiles or min(64, max(1, 16 * 448**2 // side**2))
        tiles = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        at_once = tiles_a_call(side**2)
        for count in (1, 5):
            path = Path(os.environ["XDG_CACHE_HOME"]) / f"{side}_{count}.onnx"
            made: dict[str, Callable[[int], Values]] = {
                name: partial(engine_values, name, count, given.width) for name in ("torch", "openvino")
            }
            made["onnxruntime"] = partial(onnx_values, path, at_once)
            for threads in given.threads:
                wanted = None
                for name, make in made.items():
                    began = time.perf_counter()
                    if name == "onnxruntime" and not path.exists():
                        exported(members(count, given.width), side, path)
                    values = make(threads)
                    values(tiles[:1])
                    ready = time.perf_counter() - began
                    one = measure(values, tiles)
                    wanted = wanted or one
                    off = largest_difference(one.values, wanted.values)
                    print(
                        f"| {n} of {side} px | {count} | {name} | {threads} | {one.rate:.1f} | {one.cpu_ms:.1f} |"
                        f" {wanted.cpu_ms / one.cpu_ms:.1f} | {off:.0e} | {ready:.1f} |",
                        flush=True,
                    )
        encoders = [TileNetwork("encoder", "", one.module.network.encoder) for one in members(1, given.width)]
        path = Path(os.environ["XDG_CACHE_HOME"]) / f"{side}_encoder.onnx"
        exported(encoders, side, path)
        bits.append(f"{side} px: {said_of_bits(path, tiles[:19])}")
    print("\nONNX Runtime's bits of one encoder's features, against calls of one tile in one thread:")
    print("\n".join(f"- {line}" for line in bits))


if __name__ == "__main__":
    main()
