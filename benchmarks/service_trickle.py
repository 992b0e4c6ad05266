"""Does the service keep up, with flat memory, while slides trickle into a watched folder?

    python benchmarks/service_trickle.py [--slides 2000] [--minutes 20]

A service on a small made bundle watches a folder into which distinct tiny slides are copied one by one at even times.
Printed: how long each took from its last byte to its result (median, 95th percentile, longest; `settle_s` and one look
at the folder included), the memory of the service and of all its children at a quarter and at the end, and the rate
that the same slides have when they lie there from the start (`service_rate.py` sets it beside the command's). Exit code
1 if a slide was lost or scored twice.
"""

import argparse
import shutil
import sqlite3
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from made_bundle import made_bundle
from made_service import MadeService
from made_slides import texture, write_pyramid
from score_speed import cpu_name

from pathoprog.system.machine.cores import cores

SETTLE_S, POLL_S = 2.0, 1.0


def watched_service(folder: Path, bundle: Path) -> tuple[MadeService, Path]:
    """A service that watches a folder, and the folder."""
    made = MadeService(folder, bundle)
    incoming = made.slides / "incoming"
    incoming.mkdir()
    made.settings["watch"] = [{"folder": str(incoming), "route": "colon", "poll_s": POLL_S, "settle_s": SETTLE_S}]
    made.settings["routes"][0]["identity"] = {"identity": "off"}
    return made, incoming


def memory_mib(made: MadeService) -> tuple[float, float]:
    """Of the service's own process, and of all its children, MiB."""
    assert made.process is not None
    service = psutil.Process(made.process.pid)
    children = [one for one in service.children(recursive=True) if one.is_running()]
    return service.memory_info().rss / 2**20, sum(one.memory_info().rss for one in children) / 2**20


def wait_for(made: MadeService, n: int) -> None:
    """Until so many submissions are done."""
    while True:
        counts = made.ask("GET", "/v1/submissions?limit=1", role="admin").json["counts"]
        if sum(n for state, n in counts.items() if state in ("done", "not_reportable", "failed")) >= n:
            return
        time.sleep(0.5)


def run(folder: Path, n_slides: int, minutes: float) -> tuple[list[str], list[str]]:
    """One run; returns what went wrong, and the lines to print."""
    bundle = made_bundle(folder / "locked" / "bundle", 64)
    first = write_pyramid(folder / "one.tif", texture(420, 340, margin=20), levels=1).read_bytes()
    made, incoming = watched_service(folder / "trickle", bundle)
    made.start()
    pause, began, arrived = minutes * 60 / n_slides, time.time(), {}
    at_quarter = (0.0, 0.0)
    for number in range(n_slides):
        time.sleep(max(began + number * pause - time.time(), 0))
        name = f"S{number:05d}"
        (incoming / f"{name}.tif").write_bytes(first + number.to_bytes(8, "big"))
        arrived[name] = time.time()
        if number == n_slides // 4:
            at_quarter = memory_mib(made)
    wait_for(made, n_slides)
    seconds, at_end = time.time() - began, memory_mib(made)
    made.stop()
    store = sqlite3.connect(made.state / "service.sqlite")
    ended = store.execute("SELECT slide_id, ended_at, submitted_at FROM submissions").fetchall()
    took = np.array([datetime.fromisoformat(at).timestamp() - arrived[name] for name, at, _ in ended])
    faults = [] if len(ended) == n_slides else [f"{len(ended)} submissions of {n_slides} slides"]
    whole, there = watched_service(folder / "whole", bundle)
    some = min(n_slides, 200)
    for number in range(some):
        (there / f"S{number:05d}.tif").write_bytes(first + number.to_bytes(8, "big"))
    whole.start()
    start = time.time()
    wait_for(whole, some)
    rate = some / (time.time() - start)
    whole.stop()
    return faults, [
        f"{cpu_name()}, {cores()} cores; {n_slides} slides in {minutes:g} min, settle_s {SETTLE_S:g},"
        f" poll_s {POLL_S:g}",
        f"from the last byte to the result: median {np.median(took):.0f} s, 95% {np.percentile(took, 95):.0f} s, "
        f"longest {took.max():.0f} s (to the second); all after {seconds:.0f} s",
        f"memory of the service: {at_quarter[0]:.0f} MiB at a quarter, {at_end[0]:.0f} at the end; of its children: "
        f"{at_quarter[1]:.0f} and {at_end[1]:.0f}",
        f"{some} slides that lay there from the start: {rate:.1f} slides/s, the service's start included",
    ]


def main(arguments: list[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=20.0)
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="service-trickle-"))
    try:
        faults, lines = run(folder, given.slides, given.minutes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines))
    print("\n".join(f"LOST OR DOUBLED: {fault}" for fault in faults) or "nothing lost, nothing twice")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
