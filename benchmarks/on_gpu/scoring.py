"""Scoring a made slide with ten members: through the real path, as the bare forward pass, and by a plain loop."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_bundle import made_bundle
from made_slides import write_giant
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.on_gpu.sizes import Row, Setting
from pathoprog.ensemble.loading import load_bundle
from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD, NetworkSettings
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.scoring.scorer import Scorer, TileInstances
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_scores import score_stream
from pathoprog.stream.slide_stream import SlideJob, StreamSettings, TileStream
from pathoprog.system.machine.compiling import compiled, why_not
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import dtype_name, exact_fp32, one_thread, resolve_dtype
from pathoprog.system.machine.pinned import register_for
from pathoprog.tiles.grid import standard_spec

PLAIN_BATCH = 32
TILE_PX = 256  # of the made slide's compressed tiles
MOST_READING_THREADS = 8


def made(here: Setting) -> tuple[Path, Path]:
    """A locked bundle of ten members with random weights, and a slide of a few MiB."""
    sizes = here.sizes
    specs = {name: standard_spec(name, sizes.size_px) for name in ("10x", "40x")}
    network = {"width": sizes.width, "instance_dim": NetworkSettings().instance_dim}
    bundle = made_bundle(here.folder / "bundle", 96, network=network, tile_specs=specs)
    return bundle, write_giant(here.folder / "slide.tif", sizes.side_px, margin_tiles=sizes.margin)


def scored(
    bundle: Path, jobs: list[SlideJob], device: torch.device, dtype: torch.dtype, here: Setting
) -> tuple[Scorer, list[SlideScore], dict[str, float]]:
    """Slides through readers and networks as `pathoprog score` does it.

    Returns:
        The scorer; an outcome per slide; ``ready_s`` until the networks could start, ``tiles`` behind the first batch,
        ``seconds`` they took to the last slide's end.
    """
    runtime = choose_runtime("auto", device.type, dtype_name(dtype))
    began = time.perf_counter()
    scorer = Scorer(load_bundle(bundle), device, dtype, here.threads, None, runtime, here.tell, compiled=True)
    scorer.warm()
    ready_s = time.perf_counter() - began
    done: list[tuple[float, int]] = []
    settings = StreamSettings(
        workers=min(len(jobs), cores()),
        threads=max(1, min(MOST_READING_THREADS, cores() // len(jobs))),
        memory_mib=0,
    )
    with one_thread(), TileStream(settings, register_for(device, here.tell)) as stream:
        told = score_stream(stream.read(jobs), scorer, on_tiles=lambda n: done.append((time.perf_counter(), n)))
        outcomes = list(told)
    seconds = time.perf_counter() - done[0][0] if done else 0.0
    return scorer, outcomes, {"ready_s": ready_s, "tiles": sum(n for _, n in done[1:]), "seconds": seconds}


def repeated(call: Callable[[], Any], here: Setting) -> float:
    """Seconds of one call, when it is repeated for a while."""
    for _ in range(2):
        call()
    here.wait()
    began, n = time.perf_counter(), 0
    while n < 3 or time.perf_counter() - began < here.sizes.repeat_s:
        call()
        n += 1
        if n % 16 == 0:
            here.wait()  # else the host runs far ahead of the device
    here.wait()
    return (time.perf_counter() - began) / n


def captured(call: Callable[[], Any]) -> Callable[[], None]:
    """The call as a CUDA graph."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


@torch.inference_mode()
def bare(modules: list[nn.Module], dtype: torch.dtype, here: Setting) -> dict[str, float]:
    """On CUDA, by setting: tiles/s of the networks alone, one after the other, over tiles that lie prepared there."""
    n, side = here.sizes.at_once, here.sizes.size_px
    made = torch.randn(n, 3, side, side, device=here.device).to(dtype)
    tiles: Tensor = made.to(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], Any]] = {"eager": lambda: [module(tiles) for module in modules]}
    # the state that the engine compiles in: any other would be compiled anew
    with exact_fp32(), torch.autocast("cuda", torch.bfloat16, enabled=False, cache_enabled=False):
        calls["graph"] = captured(calls["eager"])
        if not why_not():
            fast = [compiled(module, dynamic=False) for module in modules]

            def quick() -> list[Tensor]:
                return [module(tiles) for module in fast]

            try:
                calls["compiled, graph"] = captured(quick)
                torch.backends.cudnn.benchmark = True
                calls["compiled, graph, cudnn.benchmark"] = captured(quick)
            except Exception as error:  # then the rest stands
                here.tell(f"bare, compiled: {type(error).__name__}: {error}")
            torch.backends.cudnn.benchmark = False
        return {name: n / repeated(call, here) for name, call in calls.items()}


@torch.inference_mode()
def work_of(network: nn.Module, dtype: torch.dtype, here: Setting) -> tuple[float, float]:
    """Of one tile in one network: floating-point operations; bytes that its convolutions read and write, fused."""
    side, moved = here.sizes.size_px, 0
    tile = torch.zeros(1, 3, side, side, device=here.device, dtype=dtype)

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += (inputs[0].numel() + output.numel()) * output.element_size()

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_hook(count) for module in layers]
    with FlopCounterMode(display=False) as counter:
        network(tile)
    for hook in hooks:
        hook.remove()
    return float(counter.get_total_flops()), float(moved)


def scoring(here: Setting) -> list[Row]:
    """The real path against the bare forward pass."""
    sizes, device = here.sizes, here.device
    dtype = resolve_dtype("auto", device)
    bundle, slide = made(here)
    specs = [standard_spec(name, sizes.size_px) for name in ("10x", "40x")]
    jobs = []
    for number in range(sizes.slides):
        name = here.folder / f"slide-{number}.tif"
        name.hardlink_to(slide)
        jobs.append(SlideJob(name.stem, str(name), specs))
    scorer, outcomes, told = scored(bundle, jobs, device, dtype, here)
    failed = [outcome for outcome in outcomes if outcome.status != "scored"]
    if failed:
        raise RuntimeError(f"{failed[0].slide_id}: {failed[0].status}: {failed[0].reason}")
    rate = told["tiles"] / told["seconds"]
    networks = [TileInstances(member.network).eval() for member in scorer.bundle.members["40x"]]
    if here.on_cuda:
        bounds = bare(list(networks), dtype, here)
    else:  # OpenVINO's networks, where it computes
        shown = np.zeros((sizes.at_once, sizes.size_px, sizes.size_px, 3), np.uint8)
        engine = scorer.networks["40x"]
        bounds = {"eager": sizes.at_once / repeated(lambda: engine.values(shown), here)}
    best = max(bounds, key=lambda name: bounds[name])
    flops, moved = work_of(networks[0], dtype, here)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if here.on_cuda else 0.0
    n, five = int(told["tiles"]), len(networks)
    how = f"{dtype_name(dtype)}, {scorer.how('40x')}"
    return [
        Row("scoring: networks ready", told["ready_s"], "s", "loaded, compiled and captured, in a new process"),
        Row("scoring: rate", rate, "tiles/s", f"{n} tiles of {sizes.size_px} px, five members each, reading; {how}"),
        *[Row(f"bare forward: {name}", value, "tiles/s", "five members") for name, value in bounds.items()],
        Row("scoring against the best bare forward", 100 * rate / bounds[best], "%", f"{best}; asked: 80"),
        Row("scoring: largest memory", peak, "GiB", "of the device, by torch"),
        Row("work of a tile", five * flops / 1e9, "GFLOP", "five members"),
        Row("traffic of a tile", five * moved / 2**20, "MiB", "five members, each layer's input and output once"),
    ]


class PlainTiles(Dataset[Tensor]):
    """Tiles as most would read them: OpenSlide, PIL, a float tensor, normalised on the CPU."""

    def __init__(self, path: Path, here: Setting):
        sizes = here.sizes
        edge, side = sizes.margin * TILE_PX, sizes.size_px
        steps = range(edge, max(edge + 1, sizes.side_px - edge - side), side)
        self.path, self.side = str(path), side
        self.places = [(x, y) for y in steps for x in steps][: sizes.plain_tiles]
        self.slide: Any = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        import openslide
        from torchvision.transforms.functional import normalize, to_tensor

        if self.slide is None:
            self.slide = openslide.OpenSlide(self.path)
        picture = self.slide.read_region(self.places[index], 0, (self.side, self.side)).convert("RGB")
        tile: Tensor = normalize(to_tensor(picture), NORMALISATION_MEAN, NORMALISATION_STD)
        return tile


@torch.inference_mode()
def plain(here: Setting) -> list[Row]:
    """A plain loop: DataLoader, fp32, a member at a time."""
    bundle, slide = made(here)
    tiles = PlainTiles(slide, here)
    workers = min(8, cores())
    with suppress(RuntimeError):
        torch.set_num_threads(max(1, cores()))
    networks = [member.network.to(here.device) for member in load_bundle(bundle).members["40x"]]
    networks[0].instances(torch.zeros(1, 3, here.sizes.size_px, here.sizes.size_px, device=here.device))
    here.wait()
    began = time.perf_counter()
    for network in networks:
        loader = DataLoader(tiles, batch_size=PLAIN_BATCH, num_workers=workers)
        found = [network.instances(batch.to(here.device)).cpu() for batch in loader]
        if sum(map(len, found)) != len(tiles):
            raise RuntimeError("tiles were lost")
    rate = len(tiles) / (time.perf_counter() - began)
    note = f"{len(tiles)} tiles, five members one after the other, fp32, DataLoader with {workers} processes"
    return [Row("plain loop: rate", rate, "tiles/s", note)]
