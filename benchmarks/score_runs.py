"""What runs of `pathoprog score` cost: start-up, small slides, growth with a slide's and a cohort's size, each step.

    python benchmarks/score_runs.py [start] [small] [growth] [cohort] [steps] [ten] [--most TILES] [--full]

Without a name all parts run but `ten`, in one folder that is removed. `ten`: what a tile of 448 px costs with ten
members of the real size, reading and all else included, in forward passes of one member. Slides are made (a few
compressed tiles pointed at again and again), networks are random and of the demo's size, `--full` adds the real size
to `start`; one worker on the CPU, readers and threads as by default. Seconds are by the clock, CPU seconds those of all
processes, memory the largest sum of all processes with shared pages once. `score_speed.py` measures networks alone.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from giant import family_mib
from made_bundle import made_bundle  # on the path since giant; the tests' helpers make slides and bundles
from made_slides import texture, write_giant, write_pyramid
from score_speed import ROUNDS, cpu_name, measure, members

from pathoprog.cli import compose
from pathoprog.ensemble.loading import load_bundle
from pathoprog.inference.batch import ScoringBatch
from pathoprog.inference.engine.exchange import run_record
from pathoprog.inference.engine.scoring_plan import make_plan
from pathoprog.inference.score import read_slides
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetworks
from pathoprog.scoring.results import publish_slide, stage_slide
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_scores import score_stream
from pathoprog.slide_report.slide_folder import slide_files
from pathoprog.stream.slide_stream import TileStream
from pathoprog.system.files import read_json
from pathoprog.system.machine.cores import cores

PARTS = ("start", "small", "growth", "cohort", "steps")
TEN = "ten"
SIZE_PX = 96
FULL_PX = 448
FULL: dict[str, float] = {"width": 1.0, "instance_dim": 64}
TEN_SIDES_PX = (4_096, 14_336)
"""Of the tissue in its two slides: some 80 and 1,000 tiles."""
TEN_TILES = 64
"""Of one forward pass."""
TEN_ROUNDS = 2
SIDES_PX = (4_096, 8_192, 12_288)
"""Of the tissue in a slide, whole tiles of its smallest level: some 2,000 to 17,000 tiles."""
COHORTS = (10, 60, 240)
MARGIN_TILES = 16
"""Of glass around it: a whole tile of the smallest level."""
SMALL_SLIDES = 60
STEPS = ("reading", "networks", "tile scores, bag and class", "page, maps, PDF", "writing and syncing")
RUNS = 3
"""Of short ones, whose median counts."""


@dataclass(frozen=True)
class Cost:
    """Of one run of a command."""

    seconds: float
    cpu: float
    first: float  # until its first slide is done
    mib: float


def score(slides: Path, bundle: Path, out: Path) -> Cost:
    """Run the command as a user does."""
    call = [sys.executable, "-m", "pathoprog.cli", "score", f"slides={slides}", f"ensemble={bundle}", f"out={out}"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    first, mib, looked = 0.0, 0.0, 0.0
    call += ["device=cpu", "settle_s=0"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=said) as process,
    ):
        while process.poll() is None:
            if not first and any(out.glob("slides/*/result.json")):
                first = time.monotonic() - began
            if time.monotonic() - looked > 0.5:
                mib, looked = max(mib, sum(family_mib(psutil.Process(process.pid)).values())), time.monotonic()
            time.sleep(0.02)
        said.seek(0)
        warned = said.read().decode(errors="replace")
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"score ended with {process.returncode}: {' '.join(call)}\n{warned}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, first or seconds, mib)


def tiles_of(out: Path) -> int:
    """How many tiles the run's slides rest on, both resolutions together."""
    results = [read_json(path) for path in out.glob("slides/*/result.json")]
    return sum(score["n_tiles"] for result in results for score in result["scores"].values())


def small_slides(folder: Path, n: int) -> Path:
    """Slides of a few dozen tiles."""
    folder.mkdir()
    for index in range(n):
        write_pyramid(folder / f"S{index:04d}.tif", texture(500, 500, seed=index, margin=30))
    return folder


def table(*names: str) -> None:
    """Begin one."""
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)


def row(*values: str) -> None:
    """Of a table."""
    print(f"| {' | '.join(values)} |", flush=True)


def start(folder: Path, bundle: Path, full: bool) -> None:
    """Seconds before anything is done."""
    table("start-up", "s", "CPU s")
    helps = [timed([sys.executable, "-m", "pathoprog.cli", "--help"]) for _ in range(RUNS)]
    row("`pathoprog --help`", *(f"{statistics.median(values):.2f}" for values in zip(*helps, strict=True)))
    slides = small_slides(folder / "one", 1)
    bundles = {"demo size": bundle}
    if full:
        bundles[f"full size, {FULL_PX} px"] = made_bundle(folder / "full", FULL_PX, network=FULL)
        slides_full = folder / "one-full"
        slides_full.mkdir()
        write_pyramid(slides_full / "S.tif", texture(1_000, 1_000, seed=1, margin=30))
    for name, ensemble in bundles.items():
        of_it = slides if ensemble is bundle else slides_full
        with own_cache(folder / f"cache {name}"):
            first = score(of_it, ensemble, folder / f"{name}-0")
            row(f"first slide done, networks converted now ({name})", f"{first.first:.1f}", f"{first.cpu:.1f}")
            kept = [score(of_it, ensemble, folder / f"{name}-{run}") for run in range(1, RUNS + 1)]
            middle = sorted(kept, key=lambda cost: cost.first)[RUNS // 2]
            row(f"first slide done, networks kept ({name})", f"{middle.first:.1f}", f"{middle.cpu:.1f}")


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keep converted networks in a folder that is empty at first."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def timed(call: list[str]) -> tuple[float, float]:
    """Seconds and CPU seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def small(folder: Path, bundle: Path) -> None:
    """Slides whose networks take less than the rest."""
    slides = small_slides(folder / "small", SMALL_SLIDES)
    score(slides, bundle, folder / "small-warm")
    cost = score(slides, bundle, folder / "small-out")
    after_first = (cost.seconds - cost.first) / (SMALL_SLIDES - 1)
    table("small slides", "tiles", "s", "after the first, s each", "CPU s", "cores used", "MiB")
    row(
        str(SMALL_SLIDES), str(tiles_of(folder / "small-out")), f"{cost.seconds:.1f}", f"{after_first:.2f}",
        f"{cost.cpu:.1f}", f"{cost.cpu / cost.seconds:.1f} of {cores()}", f"{cost.mib:.0f}",
    )  # fmt: skip


def growth(folder: Path, bundle: Path, most: int) -> None:
    """One slide of ever more tiles: the straight line through seconds and CPU seconds."""
    table("tiles of one slide", "s", "CPU s", "MiB")
    found: list[tuple[int, Cost]] = []
    score(small_slides(folder / "growth-small", 1), bundle, folder / "growth-first-out")  # converts the networks
    for side in (0, *(wanted for wanted in SIDES_PX if (wanted / SIZE_PX) ** 2 <= most)):
        slides = folder / f"growth-{side or 'small'}"
        if side:
            slides.mkdir()
            write_giant(slides / "S.tif", side + 2 * MARGIN_TILES * 256, margin_tiles=MARGIN_TILES)
        out = folder / f"growth-{side}-out"
        cost = score(slides, bundle, out)
        found.append((tiles_of(out), cost))
        row(str(found[-1][0]), f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.mib:.0f}")
    n = np.array([tiles for tiles, _ in found], float)
    for name, values in (("s", [cost.seconds for _, cost in found]), ("CPU s", [cost.cpu for _, cost in found])):
        slope, intercept, r2, off = line_of(n, np.array(values))
        print(
            f"\n{name} = {intercept:.1f} + {1000 * slope:.2f} per 1,000 tiles; R2 {r2:.4f}; the farthest point lies "
            f"{off:.0%} off the line"
        )


def line_of(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """Least squares: slope, intercept, R2, and the largest distance from the line as a share of the value."""
    slope, intercept = np.polyfit(x, y, 1)
    line = intercept + slope * x
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - float(((y - line) ** 2).sum()) / spread if spread else 1.0
    return float(slope), float(intercept), r2, float(np.abs(y / line - 1).max())


def cohort(folder: Path, bundle: Path) -> None:
    """More slides of one size."""
    table("small slides of a cohort", "s", "CPU s", "CPU s a slide beside start-up", "MiB")
    base: tuple[int, float] | None = None
    for n in COHORTS:
        cost = score(small_slides(folder / f"cohort-{n}", n), bundle, folder / f"cohort-{n}-out")
        each = "" if base is None else f"{(cost.cpu - base[1]) / (n - base[0]):.2f}"
        base = base or (n, cost.cpu)
        row(str(n), f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", each, f"{cost.mib:.0f}")


def steps(folder: Path, bundle: Path) -> None:
    """The share of each step of the work, in CPU seconds, one after the other in one process and its reader."""
    large = folder / "steps-large"
    large.mkdir()
    write_giant(large / "S.tif", 4_608, margin_tiles=4)
    table("steps, CPU s", *STEPS, "all")
    for title, slides in (("one slide", large), (f"{SMALL_SLIDES} small slides", small_slides(folder / "steps", 60))):
        spent = one_by_one(slides, bundle, folder / f"steps-{title}")
        whole = sum(spent.values())
        row(title, *(f"{value:.1f} ({value / whole:.0%})" for value in spent.values()), f"{whole:.1f}")


def ten(folder: Path) -> None:
    """The steady cost of a tile with ten members, from two slides' difference, against one member's forward pass."""
    bundle = made_bundle(folder / "ten", FULL_PX, network=FULL)
    one = TileNetworks(
        members(1, FULL["width"]),
        Preparation(),
        Place(torch.device("cpu"), threads=cores(), runtime=choose_runtime("auto", "cpu")),
    )
    tiles = np.random.default_rng(0).integers(0, 256, (TEN_TILES, FULL_PX, FULL_PX, 3), dtype=np.uint8)
    one.ready(FULL_PX, FULL_PX)
    score(small_slides(folder / "ten-small", 1), bundle, folder / "ten-first-out")  # converts the networks
    table(
        "ten members, 448 px", "forward pass of one, ms a tile (CPU ms)", "tiles", "s", "ms a tile, steady (CPU ms)",
        "forward passes, by the clock", "by CPU time",
    )  # fmt: skip
    for _ in range(TEN_ROUNDS):
        began = time.process_time()
        forward = 1 / measure(one, tiles)[0]
        forward_cpu = (time.process_time() - began) / ROUNDS / len(tiles)
        found: list[tuple[int, Cost]] = []
        for side in TEN_SIDES_PX:
            slides = folder / f"ten-{side}"
            if not slides.exists():
                slides.mkdir()
                write_giant(slides / "S.tif", side + 2 * MARGIN_TILES * 256, margin_tiles=MARGIN_TILES)
            out = folder / f"ten-{side}-out"
            cost = score(slides, bundle, out)
            found.append((tiles_of(out), cost))
            shutil.rmtree(out)
        (few, short), (many, long) = found
        each = (long.seconds - short.seconds) / (many - few)
        each_cpu = (long.cpu - short.cpu) / (many - few)
        row(
            str(one.runtime), f"{1e3 * forward:.1f} ({1e3 * forward_cpu:.1f})", f"{few}, {many}",
            f"{short.seconds:.1f}, {long.seconds:.1f}", f"{1e3 * each:.1f} ({1e3 * each_cpu:.1f})",
            f"{each / forward:.2f}", f"{each_cpu / forward_cpu:.2f}",
        )  # fmt: skip


def one_by_one(slides: Path, bundle: Path, out: Path) -> dict[str, float]:
    """Score with a meter at each step: CPU seconds by the names of `STEPS`."""
    spent = dict.fromkeys(STEPS, 0.0)
    reading, by_networks, judging, drawing, writing = STEPS
    config = compose("score", [f"slides={slides}", f"ensemble={bundle}", f"out={out}", "device=cpu", "settle_s=0"])
    batch = ScoringBatch(config, read_slides(config), make_plan(config, "fp32"), "cpu")
    torch.set_num_threads(1)
    networks = Scorer(load_bundle(bundle), torch.device("cpu"), runtime=choose_runtime("auto", "cpu"))
    networks.warm()
    values_of = networks.instances

    def metered(resolution: str, tiles: np.ndarray) -> list[torch.Tensor]:
        began = time.process_time()
        found: list[torch.Tensor] = values_of(resolution, tiles)
        spent[by_networks] += time.process_time() - began
        return found

    networks.instances = metered  # type: ignore[method-assign]
    batch.slides_folder.mkdir(parents=True)
    config.stream.workers = 1
    with TileStream(config.stream) as stream:
        events = stream.read(batch.plan.job(task, config) for task in batch.tasks.values())
        began, before = time.process_time(), spent[by_networks]
        for number, outcome in enumerate(score_stream(events, networks)):
            now = time.process_time()
            spent[judging] += now - began - (spent[by_networks] - before)
            context = batch.plan.context(batch.tasks[outcome.slide_id], outcome.opened)
            run = run_record("cpu", 1, outcome.seconds)
            files = slide_files(outcome, context, run)
            drawn = time.process_time()
            spent[drawing] += drawn - now
            publish_slide(stage_slide(batch.slides_folder, f"{number}-1", files, run), outcome.slide_id)
            began, before = time.process_time(), spent[by_networks]
            spent[writing] += began - drawn
        readers = [psutil.Process(pid).cpu_times() for pid in stream.pids]
        spent[reading] = sum(times.user + times.system for times in readers)
    return spent


def main() -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join((*PARTS, TEN)))
    parser.add_argument("--most", type=int, default=20_000, help="most tiles of a slide in growth")
    parser.add_argument("--full", action="store_true", help="start-up with networks of the real size, too")
    given = parser.parse_args()
    parts = given.parts or PARTS
    if unknown := sorted({*parts} - {*PARTS, TEN}):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join((*PARTS, TEN))}")
    print(f"{cpu_name()}, {cores()} cores; {time.strftime('%Y-%m-%d')}; load {os.getloadavg()[0]:.1f} at the beginning")
    with tempfile.TemporaryDirectory(prefix="pathoprog-runs-") as name, own_cache(Path(name) / "cache"):
        folder = Path(name)
        bundle = made_bundle(folder / "bundle", SIZE_PX)
        for part in parts:
            if part == "start":
                start(folder, bundle, given.full)
            elif part == "growth":
                growth(folder, bundle, given.most)
            elif part == TEN:
                ten(folder)
            else:
                {"small": small, "cohort": cohort, "steps": steps}[part](folder, bundle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
