"""What `side_by_side.py` makes of times: the steady rate of whoever takes part, and the table.

A rate from one run would hold start-up: imports, opening, making the network ready. So it comes from two runs of
different size.
"""

import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """What one process and its children took: seconds by the clock, and of CPU (user and system)."""

    clock_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.clock_s:.1f} s ({self.cpu_s:.1f} of CPU)"


@dataclass(frozen=True)
class Steady:
    """Tiles/s and CPU ms a tile without start-up, and the seconds of start-up."""

    rate: float
    cpu_ms: float
    start_s: float


@dataclass
class Contender:
    """Who takes part: by what settings, and what was found; `refused` says why there is nothing."""

    name: str
    runs: list[tuple[Spent, Spent]] = field(default_factory=list)
    settings: str = ""
    versions: str = ""
    off: str = ""
    refused: str = ""


class CouldNotError(Exception):
    """A contender cannot take part; its text is for the table."""


def steady(runs: list[tuple[Spent, Spent]], tiles: tuple[int, int], unit: str = "tiles") -> Steady:
    """The steady rate, from the medians of the smaller and the larger runs.

    Args:
        runs: of each round the smaller and the larger.
        tiles: their numbers of tiles, or of what `unit` says.
        unit: what is counted.

    Raises:
        CouldNotError: the larger took no longer, so that nothing can be said.
    """
    small, large = ([run[size] for run in runs] for size in (0, 1))
    more = tiles[1] - tiles[0]
    clock = [statistics.median(spent.clock_s for spent in side) for side in (small, large)]
    cpu = [statistics.median(spent.cpu_s for spent in side) for side in (small, large)]
    if clock[1] <= clock[0] or cpu[1] <= cpu[0]:
        raise CouldNotError(f"{tiles[1]} {unit} took no longer than {tiles[0]}: too few to tell")
    rate = more / (clock[1] - clock[0])
    return Steady(rate, 1e3 * (cpu[1] - cpu[0]) / more, clock[0] - tiles[0] / rate)


def table(contenders: list[Contender], tiles: tuple[int, int], base_name: str) -> str:
    """The results in Markdown; ratios say how many times faster the contender `base_name` is than each."""
    lines = [
        "| | settings | tiles/s, steady | CPU ms a tile | start-up, s | ours fp32 / this, clock | CPU | off torch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found: dict[str, Steady] = {}
    for one in contenders:
        if not one.refused:
            try:
                found[one.name] = steady(one.runs, tiles)
            except CouldNotError as error:
                one.refused = str(error)
    base = found.get(base_name)
    for one in contenders:
        if one.refused:
            lines.append(f"| {one.name} | {one.refused} | | | | | | |")
            continue
        its = found[one.name]
        clock, cpu = (f"{base.rate / its.rate:.1f}", f"{its.cpu_ms / base.cpu_ms:.1f}") if base else ("", "")
        lines.append(
            f"| {one.name} | {one.settings} | {its.rate:.1f} | {its.cpu_ms:.1f} | {its.start_s:.1f} | {clock} | {cpu} |"
            f" {one.off} |"
        )
    return "\n".join(lines)


def spent_by(command: list[str], log: Path, environment: dict[str, str]) -> Spent:
    """Run a process to its end.

    Raises:
        CouldNotError: it failed; its last line is the reason.
    """
    began = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise CouldNotError(f"failed with {code}: {lines[-1][:200] if lines else 'it said nothing'}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime)
