"""How fast networks are over tiles by each engine, in one run: one member, and a resolution's five over one batch.

    python benchmarks/score_speed.py [SIDE_PX …] [--width W] [--tiles N] [--threads T]

Prints a table (tiles/s of the forward pass with preparation; ratios within the run), the seconds until an engine is
ready, first and kept, and the largest difference from torch. The networks' weights are random.
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.engines.choice import ENGINES, Runtime, installed
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork, TileNetworks
from pathoprog.networks.member import MilNetwork
from pathoprog.scoring.scorer import TileInstances, fuse_batch_norm
from pathoprog.system.machine.cores import cores

ROUNDS = 3
"""Of which the first is dropped."""


def members(n: int, width: float) -> list[TileNetwork]:
    """Random members as scoring prepares them."""
    made = []
    for seed in range(n):
        torch.manual_seed(seed)
        network = MilNetwork(NetworkSettings(width=width)).eval().requires_grad_(False)
        fuse_batch_norm(network.encoder)
        network.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        made.append(TileNetwork(f"member {seed}", f"score_speed {seed} {width}", TileInstances(network).eval()))
    return made


def measure(networks: TileNetworks, tiles: NDArray[np.uint8]) -> tuple[float, list[torch.Tensor]]:
    """Tiles/s, the best of the rounds, and the values."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = networks.values(tiles)
        seconds.append(time.perf_counter() - began)
    return len(tiles) / min(seconds[1:]), found


def cpu_name() -> str:
    """The CPU as the system names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", nargs="*", type=int, default=[96, 448])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument(
        "--tiles", type=int, default=0, help="0: as many as 16 tiles of 448 px have pixels, at most 256"
    )
    parser.add_argument("--threads", type=int, default=cores())
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # so that the first conversion is a first one
    runtimes: list[Runtime] = [one for name in reversed(ENGINES) if (one := installed(name)) is not None]
    print(f"{cpu_name()}, {given.threads} threads; torch {version('torch')}; MobileNetV2 of width {given.width:g}\n")
    print("| tiles | networks | engine | tiles/s | against torch | first ready, s | ready, s | off torch |")
    print("|---|---|---|---|---|---|---|---|")
    for side in given.sides:
        n = given.tiles or min(256, max(1, 16 * 448**2 // side**2))
        tiles = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        for count in (1, 5):
            rate_of_torch, wanted = 0.0, list[torch.Tensor]()
            for runtime in runtimes:
                place = Place(torch.device("cpu"), threads=given.threads, runtime=runtime)
                ready = []
                for _ in range(2):  # converted, then kept from before
                    networks = TileNetworks(members(count, given.width), Preparation(), place)
                    began = time.perf_counter()
                    networks.ready(side, side)
                    ready.append(time.perf_counter() - began)
                rate, found = measure(networks, tiles)
                if not wanted:
                    rate_of_torch, wanted = rate, found
                off = max(float((one - other).abs().max()) for one, other in zip(found, wanted, strict=True))
                print(
                    f"| {n} of {side} px | {count} | {networks.runtime} | {rate:.1f} | {rate / rate_of_torch:.1f} |"
                    f" {ready[0]:.1f} | {ready[1]:.1f} | {off:.0e} |{' ' + networks.note if networks.note else ''}",
                    flush=True,
                )
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
