"""What does a look at a watched folder cost that holds 100,000 slides, and nothing has changed?

`python benchmarks/watch_folder.py [--files 100000] [--folders 100] [--rounds 3]`. Files of a few bytes on the local
disk, in folders below the watched one; the rounds are those of the service, in the process that looks. A round tells of
2,000 new slides at most. Printed are seconds of the first round, of the slowest one that still told of slides, and of
each with nothing new; the longest time for which the caller could do nothing else; and the memory of both processes.
Exit code 1 if a round with nothing new takes more than 10 s.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import psutil

from pathoprog.inference.service.intake.intake_config import WatchSettings
from pathoprog.inference.service.intake.watch import FolderWatch
from pathoprog.inference.service.intake.watch_records import WatchRound

MOST_S = 10.0


def fill(root: Path, files: int, folders: int) -> None:
    for number in range(files):
        folder = root / f"{number % folders:04d}"
        if number < folders:
            folder.mkdir(parents=True)
        (folder / f"H26-{number:06d}_A1.svs").write_bytes(b"slide")


def look(watch: FolderWatch) -> tuple[WatchRound, float, float]:
    """A round, the seconds that it took, and those in which its caller could do nothing else."""
    began = time.perf_counter()
    found = watch.start()
    held = time.perf_counter() - began
    while found is None:
        time.sleep(0.005)
        asked = time.perf_counter()
        found = watch.poll()
        held = max(held, time.perf_counter() - asked)
    return found, time.perf_counter() - began, held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="with nothing new")
    parser.add_argument("--where", default=None, help="folder on the disk to be measured (default: the system's)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as name:
        fill(Path(name), options.files, options.folders)
        settings = WatchSettings(folder=name, route="benchmark", settle_s=0.0)
        with FolderWatch(settings, {}) as watch:
            found, first_s, longest_held = look(watch)
            taken, slowest_s = len(found.ready), 0.0
            while found.more:
                found, seconds, held = look(watch)
                taken += len(found.ready)
                slowest_s, longest_held = max(slowest_s, seconds), max(longest_held, held)
            print(
                f"{found.n_files:,} files, {taken:,} taken; first round {first_s:.2f} s, later ones {slowest_s:.2f} s"
            )
            unchanged = [look(watch) for _ in range(options.rounds)]
            child = psutil.Process(watch.pid).memory_info().rss / 2**20
    longest_held = max(longest_held, *(held for _, _, held in unchanged))
    slowest_s = max(seconds for _, seconds, _ in unchanged)
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("nothing new: " + ", ".join(f"{seconds:.2f} s" for _, seconds, _ in unchanged) + f" (at most {MOST_S:g} s)")
    print(f"the caller held for {longest_held * 1000:.0f} ms at most")
    print(f"memory: the process that looks {child:.0f} MiB, the caller {mine:.0f} MiB at most")
    return int(slowest_s > MOST_S)


if __name__ == "__main__":
    raise SystemExit(main())
