"""How fast tiles are read: the fast path against OpenSlide, two readers against one, and as tensors on the device.

    python benchmarks/read_tiles.py [side of the slide in px, 20000] [folder for the made slide, a temporary one]

Makes a tiled-JPEG slide of 448 px tiles' worth of stained-looking noise, and prints what issue B asks for. CPU seconds
are compared where the question is work per core, so that other work on the machine does not decide.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pathoprog.networks.member import prepare
from pathoprog.slides import open_slide
from pathoprog.stream.slide_stream import SlideJob, StreamSettings, TileBatch, TileStream
from pathoprog.system.machine.device import resolve_device
from pathoprog.tiles.config import standard_spec

SIZE = 448
SAMPLE = 400
COPIES = 4
PAIRS = 5  # of one reader and two in turn: by the clock, and a machine's clock wavers


def made_slide(path: Path, width: int, height: int = 0, mpp: float = 0.25, tile: int = 256) -> Path:
    """A tiled-JPEG pyramid with about the bytes per pixel of a scanner's; one period of it is 2560 px.

    Args:
        path: the file; one that is there is kept.
        width: level-0 px.
        height: level-0 px; 0: as the width.
        mpp: um per level-0 px.
        tile: side of a stored tile, px, a multiple of 16.
    """
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    fine = ndimage.gaussian_filter(rng.normal(size=(2560, 2560)), 1.2, mode="wrap") * 3
    coarse = ndimage.gaussian_filter(rng.normal(size=(2560, 2560)), 12, mode="wrap") * 25
    wave = np.clip(0.5 + 0.28 * (fine + coarse), 0, 1)[..., None]
    period = (np.array((224, 150, 190)) * wave + np.array((95, 50, 130)) * (1 - wave)).astype(np.uint8)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(5):
            w, h = width >> level, (height or width) >> level
            per_cm = 10_000 / mpp * 0.5**level

            def tiles(w: int = w, h: int = h, period: NDArray[np.uint8] = period) -> Iterator[NDArray[np.uint8]]:
                wide = np.tile(period, (-(-tile // len(period)) + 1,) * 2 + (1,))
                for y in range(0, h, tile):
                    for x in range(0, w, tile):
                        yield wide[y % len(period) :, x % len(period) :][:tile, :tile]

            tiff.write(
                tiles(), shape=(h, w, 3), dtype=np.uint8, tile=(tile, tile), compression="jpeg", photometric="rgb",
                compressionargs={"level": 80}, metadata=None, subfiletype=1 if level else 0,
                resolution=(per_cm, per_cm), resolutionunit=3,
            )  # fmt: skip
            half = len(period) // 2
            period = period.reshape(half, 2, half, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    return path


def grid_of(side: int) -> NDArray[np.int64]:
    n = side // SIZE
    return np.array([(column * SIZE, row * SIZE) for row in range(n) for column in range(n)])


def by_read_region(path: Path, grid: NDArray[np.int64]) -> float:
    """CPU seconds a tile with OpenSlide's `read_region` alone, as most code calls it."""
    import openslide

    with openslide.OpenSlide(path) as slide:
        start = time.process_time()
        for x, y in grid.tolist():
            np.asarray(slide.read_region((x, y), 0, (SIZE, SIZE)).convert("RGB"))
        return (time.process_time() - start) / len(grid)


def by_fast_path(path: Path, grid: NDArray[np.int64]) -> float:
    """CPU seconds a tile on the fast path."""
    out = np.empty((64, SIZE, SIZE, 3), np.uint8)
    with open_slide(path, "jpeg") as slide:
        start = time.process_time()
        reader = slide.tile_reader(grid[:, 0], grid[:, 1], slide.mpp, SIZE)
        for first in range(0, len(grid), 64):
            reader.read(first, out[: min(64, len(grid) - first)])
        return (time.process_time() - start) / len(grid)


@dataclass
class Streamed:
    """Tiles a second by the clock; CPU seconds a tile of the readers and of this process; largest reader, MiB."""

    rate: float
    reader_cpu: float
    own_cpu: float
    memory: int


def by_stream(path: Path, workers: int, device: torch.device | None) -> Streamed:
    """Read several slides at once through the stream; as normalised tensors where a device is given."""
    settings = StreamSettings(workers=workers)
    spec = standard_spec("40x", SIZE, min_coverage=0.0)
    register = None
    if device is not None and device.type == "cuda":
        from pathoprog.system.machine.pinned import register
    n = 0
    with TileStream(settings, register) as stream:
        warm = [
            SlideJob(f"warm{i}", str(path), [standard_spec("10x", SIZE)], hash_content=False) for i in range(workers)
        ]
        for _ in stream.read(warm):
            pass
        jobs = [SlideJob(f"s{i}", str(path), [spec], hash_content=False) for i in range(COPIES)]
        before = sum(map(cpu_seconds, stream.pids))
        start, own = time.perf_counter(), time.process_time()
        for event in stream.read(jobs):
            if isinstance(event, TileBatch):
                n += len(event.tiles)
                if device is not None:
                    batch = prepare(torch.from_numpy(event.tiles).to(device, non_blocking=True))
                    assert batch.shape[1:] == (3, SIZE, SIZE)
                    if device.type == "cuda":
                        torch.cuda.synchronize(device)
        seconds, own = time.perf_counter() - start, time.process_time() - own
        readers = sum(map(cpu_seconds, stream.pids)) - before
        return Streamed(n / seconds, readers / n, own / n, max(map(peak_mib, stream.pids)))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def peak_mib(pid: int) -> int:
    """Largest resident memory of a process so far, its shared memory included."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        path = made_slide(folder / f"made_{side}.tif", side)
        grid = grid_of(side)[:SAMPLE]
        print(f"slide: {side} x {side} px, {path.stat().st_size / 2**20:.0f} MiB; tiles of {SIZE} px at level 0")
        slow, fast = by_read_region(path, grid), by_fast_path(path, grid)
        print(f"per core: OpenSlide read_region {1 / slow:.0f} tiles/s, fast path {1 / fast:.0f} tiles/s")
        print(f"fast path / OpenSlide: {slow / fast:.2f} (asked: 3)")
        gains = []
        for _ in range(PAIRS):
            one, two = by_stream(path, 1, None), by_stream(path, 2, None)
            gains.append(two.rate / one.rate)
            print(f"stream: one reader {one.rate:.0f} tiles/s, two {two.rate:.0f}: {gains[-1]:.2f}")
        print(f"two readers / one, median of {PAIRS} pairs: {statistics.median(gains):.2f} (asked: 1.7)")
        cpu = [f"{seconds * 1e3:.2f}" for seconds in (one.reader_cpu, two.reader_cpu, two.own_cpu)]
        print(f"  CPU ms a tile: one reader {cpu[0]}, each of two {cpu[1]}, the consumer {cpu[2]}")
        device = resolve_device("auto")
        tensors = by_stream(path, 2, device)
        print(f"two readers to float tensors on {device}: {tensors.rate:.0f} tiles/s")
        print(f"largest reader: {max(one.memory, two.memory)} MiB resident")


if __name__ == "__main__":
    main()
