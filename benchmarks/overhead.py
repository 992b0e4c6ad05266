"""What scoring costs beyond reading and networks: the engine against a bare loop, in alternating pairs.

`python benchmarks/overhead.py [pairs=3] [tiles=50] [small=60]`. Both read through one reader process, show the tiles
to the same ten networks in one thread, and make and write the same files. The bare loop does it in one process,
without ledger, leases, worker, messages, syncing or commits. Counted is from the loaded networks to the last file:
seconds, and CPU seconds of all processes together, which a busy machine blurs less. `tiles=0` or `small=0` leaves that
part out. Exit code 1 if the engine costs more than 3% on a slide of 20 s or more, or more than 50 ms on a small one, of
CPU.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))

from made_bundle import made_bundle  # the tests' helpers make slides and bundle
from made_slides import texture, write_giant, write_pyramid

from pathoprog.cli import compose
from pathoprog.inference.batch import ScoringBatch
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.engine import Engine
from pathoprog.inference.engine.exchange import Start, run_record
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.engine.scoring_plan import make_plan
from pathoprog.inference.engine.transport import LocalCrew
from pathoprog.inference.score import read_slides
from pathoprog.networks.config import NetworkSettings
from pathoprog.tiles.grid import standard_spec

MOST_SHARE, MOST_SMALL_S, LARGE_S = 0.03, 0.050, 20.0


class Meter:
    """Seconds, and CPU seconds of this process and all below it, between `start` and `stop`."""

    def start(self) -> None:
        """Begin to count."""
        self.before = self._now()

    def stop(self) -> None:
        """Count no further."""
        self.after = self._now()

    def _now(self) -> tuple[float, dict[int, float]]:
        me, cpu = psutil.Process(), {}
        for process in [me, *me.children(recursive=True)]:
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
        return time.monotonic(), cpu

    def spent(self) -> tuple[float, float]:
        """Seconds and CPU seconds."""
        (begun, before), (ended, after) = self.before, self.after
        return ended - begun, sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


class MeteredCrew(LocalCrew):
    """Starts the meter when the worker has its networks."""

    def __init__(self, meter: Meter):
        super().__init__(["cpu"])
        self.meter = meter

    def hear(self, lines: Sequence[Any], timeout_s: float) -> list[tuple[Any, Any]]:
        """See `LocalCrew`."""
        heard = super().hear(lines, timeout_s)
        if any(message and message[0] == "ready" for _, message in heard):
            self.meter.start()
        return heard


def make_batch(slides: Path, bundle: Path, out: Path) -> ScoringBatch:
    arguments = [f"slides={slides}", f"ensemble={bundle}", f"out={out}", "device=cpu", "threads=1", "settle_s=0"]
    config: ScoreConfig = compose("score", [*arguments, "stream.workers=1"])
    return ScoringBatch(config, read_slides(config), make_plan(config, "fp32"), "cpu")


def by_engine(slides: Path, bundle: Path, out: Path) -> tuple[float, float]:
    """Score with everything; seconds and CPU seconds."""
    batch, meter = make_batch(slides, bundle, out), Meter()
    crew = MeteredCrew(meter)
    ledger = Ledger(batch.ledger)
    ledger.enrol(batch.new_jobs(), batch.plan.config, ())
    left = len(batch.tasks)

    def done() -> None:
        nonlocal left
        left -= 1
        if not left:
            meter.stop()

    starts = [Start(batch.config, batch.plan, "cpu", 1, 1)]
    Engine(crew, starts, ledger, batch.tasks, done, lambda n: None).run()
    ledger.close()
    return meter.spent()


def bare_loop(slides: str, bundle: str, out: str, line: Connection) -> None:
    """The child of `bare`: networks, tiles, files; nothing else."""
    import torch

    from pathoprog.ensemble.loading import load_bundle
    from pathoprog.scoring.scorer import Scorer
    from pathoprog.scoring.slide_scores import score_stream
    from pathoprog.slide_report.slide_folder import slide_files
    from pathoprog.stream.slide_stream import TileStream

    batch = make_batch(Path(slides), Path(bundle), Path(out))
    torch.set_num_threads(1)
    scorer = Scorer(load_bundle(bundle), torch.device("cpu"))
    settings = batch.config.stream
    settings.workers = 1

    def jobs() -> Iterator[Any]:
        for task in batch.tasks.values():
            yield batch.plan.job(task, batch.config)

    def write(outcome: Any) -> None:
        context = batch.plan.context(batch.tasks[outcome.slide_id], outcome.opened)
        folder = Path(out) / outcome.slide_id
        folder.mkdir(parents=True)
        for name, data in slide_files(outcome, context, run_record("cpu", 1, outcome.seconds)).items():
            (folder / name).write_bytes(data)

    line.send("ready")
    with ThreadPoolExecutor(1) as writer, TileStream(settings) as stream:
        written = [writer.submit(write, outcome) for outcome in score_stream(stream.read(jobs()), scorer)]
        for future in written:
            future.result()
        line.send("done")
        line.recv()


def bare(slides: Path, bundle: Path, out: Path) -> tuple[float, float]:
    """Score with the bare loop; seconds and CPU seconds."""
    context, meter = get_context("spawn"), Meter()
    ours, theirs = context.Pipe()
    child = context.Process(target=bare_loop, args=(str(slides), str(bundle), str(out), theirs))
    child.start()
    assert ours.recv() == "ready"
    meter.start()
    assert ours.recv() == "done"
    meter.stop()
    ours.send("end")
    child.join()
    return meter.spent()


def compare(name: str, slides: Path, bundle: Path, pairs: int, folder: Path) -> tuple[float, float]:
    """Alternate both; prints each pair and returns the medians of the engine's extra CPU and of the bare loop's CPU."""
    extra, base = [], []
    for pair in range(pairs):
        ways: list[tuple[str, Callable[..., tuple[float, float]]]] = [("bare", bare), ("engine", by_engine)]
        found = {
            way: run(slides, bundle, folder / f"{name}-{way}-{pair}")
            for way, run in (ways if pair % 2 == 0 else reversed(ways))
        }
        (bare_s, bare_cpu), (engine_s, engine_cpu) = found["bare"], found["engine"]
        print(
            f"{name} {pair}: bare {bare_s:.2f} s, CPU {bare_cpu:.2f}; engine {engine_s:.2f} s, CPU {engine_cpu:.2f}",
            flush=True,
        )
        extra.append(engine_cpu - bare_cpu)
        base.append(bare_cpu)
    return statistics.median(extra), statistics.median(base)


def large_slide(folder: Path, tiles: int, pairs: int) -> bool:
    """A slide of real tiles, shown to networks of the real size; whether the target is kept."""
    slide = write_giant(folder / "large.tif", 20_000, margin_tiles=4)
    specs = {name: standard_spec(name, max_per_slide=tiles) for name in ("10x", "40x")}
    bundle = made_bundle(folder / "real", network={"width": NetworkSettings().width}, tile_specs=specs)
    extra, base = compare("large", slide, bundle, pairs, folder)
    print(f"a slide of {base:.1f} s: {extra:+.2f} s of CPU, {extra / base:+.1%} (target below {MOST_SHARE:.0%})")
    return base >= LARGE_S and extra / base < MOST_SHARE


def small_slides(folder: Path, n: int, pairs: int) -> bool:
    """Slides of few small tiles; whether the target is kept."""
    (folder / "small").mkdir()
    for index in range(n):
        write_pyramid(folder / "small" / f"S{index:03d}.tif", texture(500, 500, seed=index, margin=30))
    extra, base = compare("small", folder / "small", made_bundle(folder / "tiny", 64), pairs, folder)
    each, target = 1000 * extra / n, 1000 * MOST_SMALL_S
    print(f"a small slide of {1000 * base / n:.0f} ms: {each:+.0f} ms of CPU (target {target:.0f} ms)")
    return each <= target


def main() -> int:
    """Run it; returns the exit code."""
    settings = {"pairs": 3, "tiles": 50, "small": 60}
    settings.update((key, int(value)) for key, _, value in (argument.partition("=") for argument in sys.argv[1:]))
    kept = True
    with tempfile.TemporaryDirectory(prefix="pathoprog-overhead-") as name:
        if settings["small"]:
            kept &= small_slides(Path(name), settings["small"], settings["pairs"])
        if settings["tiles"]:
            kept &= large_slide(Path(name), settings["tiles"], settings["pairs"])
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
