"""Tile features of one made slide by TIAToolbox, LazySlide and `pathoprog features`, by turns, on a CPU.

    python benchmarks/side_by_side.py [--tiles 1000 5000] [--rounds 3] [--peers NAME …] [--cache FOLDER]

Each is a process of its own, from the start of Python to features in a file, with the same network (MobileNetV2, random
weights that are made here and loaded by all), the same tiles of 256 px at 0.5 um/px, and reading included. The steady
rate is that of the tiles by which the larger slide exceeds the smaller: start-up falls out, and is shown beside it. The
first round counts for nothing but the choice of each peer's settings, of those that its documentation names for a CPU.
The peers come from PyPI into environments under the cache folder, once, in the versions named here; one that cannot be
had is named with the reason. `--tiles 100 400 --rounds 2` is a quick look.
"""

import argparse
import json
import math
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from read_tiles import made_slide
from safetensors.numpy import load_file
from safetensors.torch import save_file
from score_speed import cpu_name
from steady_rate import Contender, CouldNotError, Spent, spent_by, table
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD
from pathoprog.networks.engines.choice import BF16_FLAGS, cpu_flags, installed
from pathoprog.networks.engines.tile_networks import Preparation
from pathoprog.system.caches import private_folder
from pathoprog.system.machine.cores import cores

HERE = Path(__file__).resolve().parent
TILE_PX, MPP = 256, 0.5
JPEG_TILE_PX = 240
"""As scanners write them: tiles that are wanted do not lie on those that are stored."""
REFERENCE_TILES = 64
SAME = 1e-4
"""Features are the same if they lie so near torch's, as a share of the largest (in fp32)."""
ADDED = 0.2
"""Scale of what a block adds to its input, in the made network."""
BATCH = 32


@dataclass(frozen=True)
class Peer:
    """Another package.

    Attributes:
        name: as its makers write it.
        distribution: on PyPI, pinned.
        script: in benchmarks/peers, run in its own environment.
        compile: whether its own option for torch.compile is set.
    """

    name: str
    distribution: str
    script: str
    compile: bool = False


PEERS = {
    "tiatoolbox": Peer("TIAToolbox", "tiatoolbox==2.1.3", "by_tiatoolbox.py"),
    "lazyslide": Peer("LazySlide", "lazyslide==0.13.0", "by_lazyslide.py"),
    "lazyslide_compiled": Peer("LazySlide (compile=True)", "lazyslide==0.13.0", "by_lazyslide.py", compile=True),
}
OURS = {"fp32": "pathoprog features, fp32", "bf16": "pathoprog features, bf16"}


def grid_of(n: int) -> tuple[int, int]:
    """Columns and rows of `n` tiles, as near to a square as can be."""
    rows = next(side for side in range(math.isqrt(n), 0, -1) if n % side == 0)
    return n // rows, rows


def corners(n: int) -> NDArray[np.int64]:
    """Left and upper edges [n, 2] of a slide's tiles, level-0 px, row by row."""
    columns, rows = grid_of(n)
    return np.array([(x * TILE_PX, y * TILE_PX) for y in range(rows) for x in range(columns)])


def read_some(slide: Path, places: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Tiles by OpenSlide alone, uint8 [n, s, s, 3]."""
    import openslide

    with openslide.OpenSlide(slide) as opened:
        size = (TILE_PX, TILE_PX)
        return np.stack([np.asarray(opened.read_region((x, y), 0, size).convert("RGB")) for x, y in places.tolist()])


def made_network(tiles: NDArray[np.uint8], weights: Path) -> nn.Module:
    """MobileNetV2 of random weights, without its classifier; also written to `weights`.

    Batch normalisation gets the statistics of `tiles`: with those of a network that has seen nothing, features would
    be nearly zero, and a wrong tile would not show. What blocks add to what passes them by is made small, for else
    random weights carry every rounding on to a multiple, as those of trained networks do not.
    """
    torch.manual_seed(0)
    network = mobilenet_v2(weights=None)
    network.classifier = nn.Identity()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        elif isinstance(module, InvertedResidual) and module.use_res_connect:
            nn.init.constant_(module.conv[-1].weight, ADDED)
    with torch.no_grad():
        network.train()(Preparation()(torch.from_numpy(tiles)))
    save_file(network.state_dict(), weights)
    return network.eval()


def in_order(features: NDArray[Any], x0: NDArray[Any], y0: NDArray[Any], n: int) -> NDArray[np.float32]:
    """Features row by row of the slide.

    Raises:
        CouldNotError: they are not those of the slide's tiles.
    """
    order = np.lexsort((x0, y0))
    places = np.stack([x0[order], y0[order]], 1)
    if places.shape != (n, 2) or (places != corners(n)).any():
        raise CouldNotError(f"gave {len(places)} tiles, not the {n} of the slide")
    return np.asarray(features[order], np.float32)


def compared(features: NDArray[np.float32], wanted: NDArray[np.float32], sample: NDArray[np.int64]) -> str:
    """How far features lie from torch's on the sampled tiles.

    Returns:
        Whether they are the same; the largest difference as a share of the largest feature; the root mean square of the
        differences as a share of the features' SD over tiles.
    """
    off = features[sample] - wanted
    largest = float(np.abs(off).max() / np.abs(wanted).max())
    spread = float(np.sqrt((off**2).mean()) / wanted.std(axis=0).mean())
    return f"{'same' if largest <= SAME else 'not the same'}: {largest:.0e}, {spread:.0e} SD"


def install_commands(folder: Path, distribution: str) -> list[list[str]]:
    """What makes an environment: by uv where it is at hand, else by pip."""
    python = str(folder / "bin" / "python")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", python, distribution],
        ]
    return [[sys.executable, "-m", "venv", str(folder)], [python, "-m", "pip", "install", "--quiet", distribution]]


def environment_of(peer: Peer, cache: Path) -> Path:
    """The Python of a peer's environment, made now if it is not there.

    Raises:
        CouldNotError: it could not be made.
    """
    folder = cache / peer.distribution.replace("==", "-")
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {peer.distribution}, once", flush=True)
        for command in install_commands(folder, peer.distribution):
            try:
                spent_by(command, cache / "install.log", {})
            except (CouldNotError, OSError) as error:
                raise CouldNotError(f"{peer.distribution} could not be installed: {error}") from error
        ready.touch()
    return folder / "bin" / "python"


@dataclass
class Bench:
    """The slides, the weights and the folders of one benchmark; slides by their number of tiles."""

    cache: Path
    tiles: tuple[int, int]
    weights: Path
    slides: dict[int, Path]

    def by_peer(self, peer: Peer, workers: int, n: int) -> tuple[Spent, NDArray[np.float32], str]:
        """One run of a peer with so many loader processes: what it took, its features, its versions."""
        python = environment_of(peer, self.cache)
        out, job = self.cache / "peer.npz", self.cache / "job.json"
        shutil.rmtree(out.with_suffix(""), ignore_errors=True)
        same = {"tile_px": TILE_PX, "mpp": MPP, "mean": list(NORMALISATION_MEAN), "std": list(NORMALISATION_STD)}
        here = {"slide": str(self.slides[n]), "weights": str(self.weights), "out": str(out)}
        options = {"batch": BATCH, "workers": workers, "compile": peer.compile}
        job.write_text(json.dumps({**same, **here, **options}), encoding="utf-8")
        command = [str(python), str(HERE / "peers" / peer.script), str(job)]
        kept = {"TORCHINDUCTOR_CACHE_DIR": str(self.cache / "compiled")}
        spent = spent_by(command, self.cache / f"{peer.name}.log", kept)
        with np.load(out) as found:
            features = in_order(found["features"], found["x0"], found["y0"], n)
            versions = json.loads(str(found["versions"]))
        return spent, features, ", ".join(f"{name} {number}" for name, number in versions.items())

    def by_us(self, dtype: str, n: int) -> tuple[Spent, NDArray[np.float32]]:
        """One run of `pathoprog features`: what it took, its features."""
        out, cohort = self.cache / "ours", self.cache / "cohort.csv"
        shutil.rmtree(out, ignore_errors=True)
        row = f"P,S,{self.slides[n]},b,made,training"
        cohort.write_text(f"patient_id,slide_id,slide_path,block_id,cohort,role\n{row}\n", encoding="utf-8")
        tile = {"mpp": MPP, "size_px": TILE_PX, "min_coverage": 0}
        settings = {
            "encoder": "mobilenet_v2",
            "weights": self.weights,
            "precision": "fp32",
            "data.cohort": cohort,
            "data.features": out,
            "data.tumour_policy": "tissue",
            **{f"data.tiles_40x.{name}": value for name, value in tile.items()},
            "resolutions": "[40x]",
            "roles": "[training]",
            "device": "cpu",
            "dtype": dtype,
            "runtime": "openvino" if installed("openvino") else "torch",
        }
        program = [sys.executable, "-c", "import sys; from pathoprog.cli import main; sys.exit(main())", "features"]
        command = [*program, *(f"{name}={value}" for name, value in settings.items())]
        spent = spent_by(command, self.cache / "ours.log", {"XDG_CACHE_HOME": str(self.cache / "kept")})
        found = load_file(out / "40x" / "S.safetensors")
        return spent, in_order(found["features"], found["x0"], found["y0"], n)


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs=2, default=[1000, 5000], metavar=("FEWER", "MORE"))
    parser.add_argument("--rounds", type=int, default=3, help="the first is dropped")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, cores()], help="loader processes that peers are tried with"
    )
    parser.add_argument("--cache", type=Path, help="folder for environments and slides; default: in the user's cache")
    given = parser.parse_args(arguments)
    fewer, more = given.tiles
    if not 0 < fewer < more or given.rounds < 2:
        parser.error("--tiles must be two growing numbers, and --rounds at least 2")
    cache = given.cache or private_folder("side_by_side")
    if cache is None:
        parser.error("the user's cache folder cannot be written: give --cache")
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    bench = Bench(cache, (fewer, more), cache / "weights.safetensors", {})
    for n in bench.tiles:
        columns, rows = grid_of(n)
        path = cache / f"made_{n}.tif"
        bench.slides[n] = made_slide(path, columns * TILE_PX, rows * TILE_PX, MPP, JPEG_TILE_PX)
        path.read_bytes()  # from here on it lies in memory
    sample = np.linspace(0, more - 1, min(REFERENCE_TILES, more)).astype(int)
    shown = read_some(bench.slides[more], corners(more)[sample])
    network = made_network(shown, bench.weights)
    with torch.inference_mode():
        wanted = network(Preparation()(torch.from_numpy(shown))).numpy()
    print(
        f"{cpu_name()}, {cores()} cores, load {os.getloadavg()[0]:.1f}; Python {sys.version.split()[0]},"
        f" torch {version('torch')}, {installed('openvino') or 'no OpenVINO'}\n{fewer} and {more} tiles of {TILE_PX} px"
        f" at {MPP} um/px; {given.rounds} rounds, of which the first is dropped; batches of {BATCH} for the peers",
        flush=True,
    )
    contenders = measured(bench, [PEERS[name] for name in given.peers], given, wanted, sample)
    print(f"load at the end {os.getloadavg()[0]:.1f}\n")
    print(table(contenders, bench.tiles, OURS["fp32"]))
    print("\n" + "\n".join(f"{one.name}: {one.versions}" for one in contenders if one.versions))
    return 0


def measured(
    bench: Bench, peers: list[Peer], given: argparse.Namespace, wanted: NDArray[np.float32], sample: NDArray[np.int64]
) -> list[Contender]:
    """All runs of all contenders, by turns; one that cannot go on is left out from there.

    Args:
        bench: what is shared.
        peers: who takes part beside us.
        given: `rounds`, and the `workers` that peers are tried with.
        wanted: torch's features of the sampled tiles.
        sample: their numbers in the larger slide.
    """
    dtypes = ["fp32"] + (["bf16"] if installed("openvino") and cpu_flags() & set(BF16_FLAGS) else [])
    ours = {dtype: Contender(OURS[dtype]) for dtype in dtypes}
    others = [(peer, Contender(f"{peer.name} {peer.distribution.partition('==')[2]}")) for peer in peers]
    chosen: dict[str, int] = {}
    fewer, more = bench.tiles
    for number in range(given.rounds):
        for peer, one in others:
            if one.refused:
                continue
            try:
                if number == 0:
                    tried = {workers: bench.by_peer(peer, workers, fewer)[0].clock_s for workers in given.workers}
                    chosen[peer.name] = min(tried, key=lambda workers: tried[workers])
                    one.settings = f"batch {BATCH}, workers {chosen[peer.name]}"
                    seconds = ", ".join(f"{workers}: {seconds:.0f} s" for workers, seconds in tried.items())
                    print(f"  {one.name}: workers {seconds}", flush=True)
                    continue
                small, _, one.versions = bench.by_peer(peer, chosen[peer.name], fewer)
                large, features, _ = bench.by_peer(peer, chosen[peer.name], more)
                one.runs.append((small, large))
                one.off = compared(features, wanted, sample)
                print(f"  {one.name}: {small}, {large}", flush=True)
            except CouldNotError as error:
                one.refused = str(error)
        for dtype, one in ours.items():
            try:
                runs = [bench.by_us(dtype, n) for n in (bench.tiles[: 1 if number == 0 else 2])]
                if number:
                    one.runs.append((runs[0][0], runs[1][0]))
                    one.off = compared(runs[1][1], wanted, sample)
                    one.settings = "as it comes"
                    print(f"  {one.name}: {runs[0][0]}, {runs[1][0]}", flush=True)
            except CouldNotError as error:
                one.refused = str(error)
    return [*(one for _, one in others), *ours.values()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
