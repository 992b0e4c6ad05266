"""Is the service as fast as the command, on the same slides and bundle, all of them there from the start?

    python benchmarks/service_rate.py [--slides 100 500] [--rounds 2] [--tile-px 64] [--identity warn]

`pathoprog score` and `pathoprog serve` score distinct small slides with one small made bundle and the same settings, at
two sizes, in turn; the service takes them from a watched folder. Each is timed from its start: the command to its end,
the service to its last result. The steady rate is that of the further slides of the larger size (medians of the
rounds), so that neither start-up is in it; start-up is what then remains of the smaller one. Both keep one folder of
converted networks, which a run before the first round fills. Exit code 1 if their results differ.
"""

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from made_bundle import made_bundle
from made_service import PROGRAM, MadeService
from made_slides import texture, write_pyramid
from score_speed import cpu_name
from steady_rate import CouldNotError, Spent, spent_by, steady

from pathoprog.scoring.results import read_slide
from pathoprog.system.file_names import folder_name
from pathoprog.system.machine.cores import cores

POLL_S = 0.1
ENDED = ("done", "not_reportable", "failed")


@dataclass
class Measured:
    """What the rounds found: the command's and the service's smaller and larger runs; seconds of the service's start.

    `listening` until it answers, `ready` until its networks are loaded.
    """

    command: list[tuple[Spent, Spent]] = field(default_factory=list)
    service: list[tuple[Spent, Spent]] = field(default_factory=list)
    listening: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    differ: set[str] = field(default_factory=set)


def make_slides(folder: Path, n: int) -> None:
    """So many slides of one picture, each other bytes."""
    folder.mkdir(parents=True)
    first = write_pyramid(folder.parent / "one.tif", texture(420, 340, margin=20), levels=1).read_bytes()
    for number in range(n):
        (folder / f"S{number:05d}.tif").write_bytes(first + number.to_bytes(8, "big"))


def score(slides: Path, bundle: Path, out: Path, environment: dict[str, str]) -> Spent:
    """One run of the command, to its end."""
    settings = ["device=cpu", "settle_s=0", "quality.eligibility=enforce"]
    line = [sys.executable, "-c", PROGRAM, "score", str(slides), f"ensemble={bundle}", f"out={out}", *settings]
    return spent_by(line, out.with_suffix(".log"), environment)


def serve(
    slides: Path, bundle: Path, folder: Path, identity: str, environment: dict[str, str], found: Measured
) -> tuple[Spent, Path]:
    """One run of the service from its start to the last result; returns the folder of the results too."""
    made = MadeService(folder, bundle)
    n = len(list(slides.iterdir()))
    shutil.copytree(slides, made.slides / "incoming")
    made.settings["watch"] = [{"folder": str(made.slides / "incoming"), "route": "colon", "poll_s": 0.5, "settle_s": 0}]
    made.settings["routes"][0]["identity"] = {"identity": identity}
    made.settings["scoring"] = {"device": "cpu", "settle_s": 0, "quality": {"eligibility": "enforce"}}
    made.settings["access"] = {"requests_per_minute": 1e5, "requests_at_once": 1000}
    before, began = cpu_of_children(), time.perf_counter()
    made.start(environment)
    found.listening.append(time.perf_counter() - began)
    ready = False
    while True:
        if not ready and made.ask("GET", "/ready", role="").status == 200:
            found.ready.append(time.perf_counter() - began)
            ready = True
        counts = made.ask("GET", "/v1/submissions?limit=1", role="admin").json["counts"]
        if sum(counts.get(state, 0) for state in ENDED) >= n:
            break
        time.sleep(POLL_S)
    seconds = time.perf_counter() - began
    made.stop()
    return Spent(seconds, cpu_of_children() - before), made.out / "colon" / "slides"


def cpu_of_children() -> float:
    """User and system seconds of all processes that were ended and waited for, theirs included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def different(slides: Path, ours: Path, theirs: Path) -> set[str]:
    """Slides whose scores or classes are not the same in two folders of results, or are in one alone."""
    names = sorted(path.stem for path in slides.iterdir())
    wrong = set()
    for name in names:
        pair = [read_slide(folder, name, verify=False) for folder in (ours, theirs)]
        said = [(one[0].status, one[0].risk_class, one[0].scores) if one is not None else None for one in pair]
        if said[0] is None or said[0] != said[1] or said[0][0] != "scored":
            wrong.add(folder_name(name))
    return wrong


def measure(folder: Path, sizes: tuple[int, int], rounds: int, tile_px: int, identity: str) -> Measured:
    """All runs, the command first in even rounds and the service in odd ones."""
    bundle = made_bundle(folder / "locked" / "bundle", tile_px)
    environment = {"XDG_CACHE_HOME": str(folder / "cache")}
    for n in (1, *sizes):
        make_slides(folder / f"made-{n}" / "slides", n)
    score(folder / "made-1" / "slides", bundle, folder / "warm", environment)
    found = Measured()
    for number in range(rounds):
        command: list[Spent] = []
        service: list[Spent] = []
        for n in sizes:
            slides, out = folder / f"made-{n}" / "slides", folder / f"command-{number}-{n}"
            results = folder
            for who in ("command", "service") if number % 2 == 0 else ("service", "command"):
                if who == "command":
                    command.append(score(slides, bundle, out, environment))
                else:
                    place = folder / f"service-{number}-{n}"
                    spent, results = serve(slides, bundle, place, identity, environment, found)
                    service.append(spent)
            found.differ |= different(slides, out / "slides", results)
        found.command.append((command[0], command[1]))
        found.service.append((service[0], service[1]))
    return found


def told(found: Measured, sizes: tuple[int, int], rounds: int, identity: str) -> list[str]:
    """The lines to print.

    Raises:
        CouldNotError: the larger size took no longer than the smaller one.
    """
    command = steady(found.command, sizes, "slides of the command")
    service = steady(found.service, sizes, "slides of the service")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "openvino"))
    listening, ready = min(found.listening), min(found.ready)
    return [
        f"{cpu_name()}, {cores()} cores, load {os.getloadavg()[0]:.1f} at the end; {packages}",
        f"{sizes[0]} and {sizes[1]} slides that lie there from the start, {rounds} rounds; the service's identity "
        f"check: {identity}",
        "",
        "| | slides/s, steady | CPU ms a slide | start-up, s |",
        "|---|---|---|---|",
        f"| `pathoprog score` | {command.rate:.2f} | {command.cpu_ms:.0f} | {command.start_s:.1f} |",
        f"| `pathoprog serve` | {service.rate:.2f} | {service.cpu_ms:.0f} | {service.start_s:.1f} |",
        "",
        f"the service's rate is {service.rate / command.rate:.2f} of the command's; it listens {listening:.1f} s after "
        f"its start, and its networks are ready after {ready:.1f} s",
    ]


def main(arguments: list[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, nargs=2, default=[100, 500], metavar=("FEW", "MANY"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tile-px", type=int, default=64, help="side of the networks' tiles, px")
    parser.add_argument("--identity", choices=("warn", "off"), default="warn")
    given = parser.parse_args(arguments)
    sizes = (given.slides[0], given.slides[1])
    folder = Path(tempfile.mkdtemp(prefix="service-rate-"))
    try:
        found = measure(folder, sizes, given.rounds, given.tile_px, given.identity)
        print("\n".join(told(found, sizes, given.rounds, given.identity)))
    except CouldNotError as error:
        print(error)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if found.differ:
        print(f"DIFFERENT RESULTS of {len(found.differ)} slides: {', '.join(sorted(found.differ)[:5])}")
    return 1 if found.differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
