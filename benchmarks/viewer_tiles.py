"""Do slides show quickly while scoring goes on, and does scoring lose little by it? Clients that look at a large slide.

    python benchmarks/viewer_tiles.py [--clients 8] [--seconds 60] [--rounds 2] [--tiles 10000] [--side 100000]

A service scores copies of a slide one after the other. In turns of `--seconds`, nobody looks, and `--clients` look at a
slide of `--side` px, each as a person who moves over it: a tile that nobody has asked for (cold), then some of those
just shown (warm), with a pause after each. Printed: 50th and 95th percentile of cold and warm tiles, the scoring rate
with and without, and the memory of the service and its slide readers over `--tiles` tiles. Exit code 1 where a target
is missed: warm 100 ms, cold 400 ms (95th percentile), less than 10% of the rate, memory flat (within 10%).
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from made_bundle import made_bundle
from made_service import MadeService
from made_slides import texture, write_giant, write_pyramid
from score_speed import cpu_name

from pathoprog.inference.service.viewing import reader_child
from pathoprog.inference.service.viewing.tile_pyramid import TilePyramid
from pathoprog.system.machine.cores import cores

WARM_MS, COLD_MS, LOSS, GROWTH = 100.0, 400.0, 0.10, 0.10
RECENT = 20
"""Tiles of a client's own that it may go back to: what a screen or two show."""
SETTLED_S = 10.0
CACHE_MIB = 16
"""A quarter of the default: it is full before memory is first looked at, and what grows after that is a leak."""


@dataclass
class Looking:
    """What the clients found: ms of cold and of warm tiles, answers that were none, and when to stop."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    refused: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def n(self) -> int:
        """Tiles in all."""
        return len(self.cold) + len(self.warm)


def client(made: MadeService, path: str, levels: list[tuple[int, int, int]], pause_s: float, seed: int, found: Looking):
    """Look at a slide: `levels` are (level, columns, rows)."""
    rng, recent = random.Random(seed), deque(maxlen=RECENT)  # noqa: S311 - no secret
    headers = {"Authorization": f"Bearer {made.tokens['viewer']}"}
    connection = HTTPConnection("127.0.0.1", made.port, timeout=60)
    while not found.over.is_set():
        cold = not recent or rng.random() < 0.4
        if cold:
            level, columns, rows = rng.choice(levels)
            recent.append((level, rng.randrange(columns), rng.randrange(rows)))
        level, column, row = recent[-1] if cold else rng.choice(recent)
        began = time.perf_counter()
        try:
            connection.request("GET", f"{path}/{level}/{column}_{row}.jpg", headers=headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            connection.close()
            found.refused += 1
            continue
        ms = 1e3 * (time.perf_counter() - began)
        if answer.status == 200:
            (found.cold if cold else found.warm).append(ms)
        else:
            found.refused += 1
        time.sleep(pause_s)
    connection.close()


def memory_mib(made: MadeService) -> float:
    """Of the service's process and its slide readers, shared pages once."""
    assert made.process is not None
    total = 0.0
    service = psutil.Process(made.process.pid)
    for one in [service, *service.children()]:
        with suppress(psutil.Error):
            if one.pid == service.pid or reader_child.__name__ in " ".join(one.cmdline()):
                total += one.memory_full_info().pss / 2**20
    return total


def scored(made: MadeService) -> int:
    """Tiles that the service has scored since its start."""
    text = made.ask("GET", "/metrics", role="operator").body.decode()
    line = next(line for line in text.splitlines() if line.startswith("pathoprog_tiles") and not line.startswith("#"))
    return int(float(line.split()[-1]))


def rate(made: MadeService, seconds: float) -> float:
    """Tiles scored a second."""
    before, began = scored(made), time.monotonic()
    time.sleep(seconds)
    return (scored(made) - before) / (time.monotonic() - began)


def begin(folder: Path, side: int, n_slides: int) -> tuple[MadeService, str]:
    """A service at work on many slides, and the address of the large slide's picture."""
    made = MadeService(folder / "service", made_bundle(folder / "bundle", 64))
    made.settings["viewing"] = {"cache_mib": CACHE_MIB}
    made.settings["access"] = {"requests_per_minute": 1e6, "requests_at_once": 100_000}
    write_giant(made.slides / "large.tif", side)
    first = write_pyramid(folder / "one.tif", texture(1500, 1200, margin=40)).read_bytes()
    for number in range(n_slides):  # bytes behind the file's end: the same picture, another slide
        (made.slides / f"S{number:04d}.tif").write_bytes(first + number.to_bytes(8, "big"))
    made.start()
    listed: dict[str, str] = {}
    after = ""
    while True:
        page = made.ask("GET", f"/v1/slides?root=scans&limit=200{f'&after={after}' if after else ''}").json
        listed |= {slide["file_name"]: slide["id"] for slide in page["slides"]}
        after = page["next"]
        if not after:
            break
    for name, slide in sorted(listed.items()):
        if name != "large.tif":
            made.submit(slide)
    large = made.submit(listed["large.tif"]).json["id"]  # the last in the queue; it is called off, and looked at
    while made.ask("POST", f"/v1/submissions/{large}/cancel").status != 200:
        time.sleep(0.1)
    return made, f"/v1/submissions/{large}/view"


def run(given: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """One run; returns what was missed, and the lines to print."""
    made, path = begin(folder, given.side, given.slides)
    try:
        told = made.ask("GET", path, role="viewer").json
        levels = []
        for level in range(max(told["min_level"], told["max_level"] - 7), told["max_level"] + 1):
            shown = TilePyramid(told["width"], told["height"], told["tile_size"])
            levels.append((level, *shown.tiles(level)))
        time.sleep(SETTLED_S)
        alone, beside, found, memory = [], [], Looking(), []
        for number in range(given.rounds):
            alone.append(rate(made, given.seconds))
            found.over.clear()
            threads = [
                threading.Thread(
                    target=client, args=(made, path, levels, given.pause, 100 * number + one, found), daemon=True
                )
                for one in range(given.clients)
            ]
            for thread in threads:
                thread.start()
            beside.append(rate(made, given.seconds))
            last = number == given.rounds - 1
            at = found.n
            if last:
                memory.append(memory_mib(made))
                while found.n < at + given.tiles:
                    time.sleep(0.5)
                memory.append(memory_mib(made))
            found.over.set()
            for thread in threads:
                thread.join(60)
        left = made.ask("GET", "/v1/submissions?limit=1", role="admin").json["counts"]
    finally:
        made.stop()
    percentiles = {name: np.percentile(getattr(found, name), [50, 95]) for name in ("cold", "warm")}
    loss = 1 - np.mean(beside) / np.mean(alone)
    growth = memory[1] / memory[0] - 1
    lines = [
        f"{cpu_name()}, {cores()} cores; {given.clients} clients on {told['width']} x {told['height']} px, levels "
        f"{levels[0][0]} to {levels[-1][0]}, a pause of {given.pause} s after each tile",
        *(
            f"{name}: {len(getattr(found, name))} tiles, p50 {p50:.1f} ms, p95 {p95:.1f} ms"
            for name, (p50, p95) in percentiles.items()
        ),
        f"{found.refused} requests were told to come again, or cut off",
        f"scoring: {np.mean(alone):.1f} tiles/s alone, {np.mean(beside):.1f} beside: {loss:.1%} lost "
        f"(turns: {', '.join(f'{a:.1f} / {b:.1f}' for a, b in zip(alone, beside, strict=True))})",
        f"memory of service and slide readers: {memory[0]:.0f} MiB, after {given.tiles} tiles more {memory[1]:.0f} MiB",
    ]
    if not left.get("waiting"):
        lines.append("the slides to score ran out before the end: give more --slides")
    missed = [
        *([f"warm p95 over {WARM_MS:.0f} ms"] if percentiles["warm"][1] > WARM_MS else []),
        *([f"cold p95 over {COLD_MS:.0f} ms"] if percentiles["cold"][1] > COLD_MS else []),
        *([f"scoring lost more than {LOSS:.0%}"] if loss > LOSS else []),
        *([f"memory grew by {growth:.0%}"] if growth > GROWTH else []),
    ]
    return missed, lines


def main(arguments: list[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--slides", type=int, default=1500, help="to score; more than it gets through")
    parser.add_argument("--pause", type=float, default=0.15, help="seconds after each tile of a client")
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="viewer-tiles-"))
    try:
        missed, lines = run(given, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines))
    print("\n".join(f"MISSED: {one}" for one in missed) or "all targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
