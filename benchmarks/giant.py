"""Memory: a slide of 200,000 x 200,000 px is scored on the CPU with a stated most of tiles, and masked without one.

`python benchmarks/giant.py [side=200000] [tiles=64]`: makes the slide on the spot (all its tiles point at two
compressed ones), scores it with ten networks of the real size, and prints the peak of all processes' memory together.
Exit code 1 at 4 GiB or more.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))

from made_bundle import made_bundle  # the tests' helpers make slide and bundle
from made_slides import write_giant

from pathoprog.inference.engine import worker
from pathoprog.networks.config import NetworkSettings
from pathoprog.stream import reader
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import SlideJob, SlideOpened, TileStream
from pathoprog.system.files import read_json
from pathoprog.tiles.grid import standard_spec

LIMIT_MIB = 4096


def family_mib(process: psutil.Process) -> dict[str, float]:
    """Memory of a process and all below it: shared pages once (proportional set size), by kind of process."""
    found = {"command": 0.0, "workers": 0.0, "readers": 0.0}
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            words = " ".join(member.cmdline())
            kind = "readers" if reader.__name__ in words else "workers" if worker.__name__ in words else "command"
            found[kind] += member.memory_full_info().pss / 2**20
    return found


def watched(call: list[str]) -> tuple[int, dict[str, float], float]:
    """Run a command; its exit code, its memory where the sum was largest, and seconds."""
    begun, peak = time.monotonic(), {"command": 0.0}
    with subprocess.Popen(call) as process:
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, family_mib(psutil.Process(process.pid)), key=lambda found: sum(found.values()))
            time.sleep(0.5)
    return process.returncode, peak, time.monotonic() - begun


def masked(slide: Path) -> tuple[dict[str, int], float, float]:
    """Open the slide, mask it and lay both grids with all tiles; how many tiles, the reader's peak, seconds."""
    begun, peak = time.monotonic(), 0.0
    with TileStream(StreamSettings(workers=1)) as stream:
        for event in stream.read([SlideJob("giant", str(slide), [standard_spec("10x"), standard_spec("40x")])]):
            assert isinstance(event, SlideOpened), event
            peak = psutil.Process(stream.pids[0]).memory_info().rss / 2**20
            return {name: len(grid) for name, grid in event.grids.items()}, peak, time.monotonic() - begun
    raise AssertionError("no event")


def main() -> int:
    """Run it; returns the exit code."""
    settings = {"side": 200_000, "tiles": 64}
    settings.update((key, int(value)) for key, _, value in (argument.partition("=") for argument in sys.argv[1:]))
    with tempfile.TemporaryDirectory(prefix="pathoprog-giant-") as name:
        folder = Path(name)
        slide = write_giant(folder / "giant.tif", settings["side"])
        size_mib = slide.stat().st_size / 2**20
        print(f"slide of {settings['side']:,} px a side, {size_mib:.0f} MiB on disk", flush=True)
        grids, peak, seconds = masked(slide)
        print(f"masked without a limit: {grids} tiles, reader {peak:.0f} MiB, {seconds:.1f} s", flush=True)
        specs = {name: standard_spec(name) for name in ("10x", "40x")}
        bundle = made_bundle(folder / "bundle", network={"width": NetworkSettings().width}, tile_specs=specs)
        call = [sys.executable, "-m", "pathoprog.cli", "score", f"slides={slide}", f"ensemble={bundle}"]
        call += [f"out={folder / 'out'}", "device=cpu", "settle_s=0", f"tiles.max_per_slide={settings['tiles']}"]
        code, memory, seconds = watched(call)
        found = read_json(folder / "out" / "slides" / "giant" / "result.json")
    parts = ", ".join(f"{kind} {mib:.0f}" for kind, mib in memory.items())
    tiles = {name: f"{entry['n_tiles']} of {entry['n_tiles_candidates']}" for name, entry in found["scores"].items()}
    total = sum(memory.values())
    print(f"{found['status']}, {found['quality']}, tiles {tiles}: peak {total:.0f} MiB ({parts}), {seconds:.0f} s")
    return 0 if code == 0 and found["status"] == "scored" and max(total, peak) < LIMIT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
