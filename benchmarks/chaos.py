"""Chaos: small slides are scored while readers, workers and the whole command are killed at random.

`python benchmarks/chaos.py [slides=200] [kills=40] [seed=0]`: makes slides, poisoned ones among them; scores them
undisturbed, and again under fire; then says whether every slide is accounted for, with exactly one result, of the same
bytes. Exit code 1 if not.
"""

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))

from made_bundle import made_bundle  # the tests' helpers make slides and bundle
from made_slides import texture, write_pyramid

POISON = ("truncated", "empty", "text", "no_mpp")
SIZE = 32


def make_slides(folder: Path, n: int) -> int:
    """Write `n` slides, one in twenty poisoned; returns how many of them must fail or be not reportable."""
    poisoned = 0
    for index in range(n):
        path = folder / f"S{index:04d}.tif"
        kind = POISON[(index // 20) % len(POISON)] if index % 20 == 7 else ""
        poisoned += bool(kind)
        if kind == "empty":
            path.write_bytes(b"")
        elif kind == "text":
            path.write_text("no slide at all\n" * 50)
        else:
            write_pyramid(path, texture(320, 320, seed=index, margin=16), mpp=None if kind == "no_mpp" else 0.25)
            if kind == "truncated":
                path.write_bytes(path.read_bytes()[:3000])
    return poisoned


def command(bundle: Path, slides: Path, out: Path, *more: str) -> list[str]:
    """The call under test: two workers."""
    call = [sys.executable, "-m", "pathoprog.cli", "score", f"slides={slides}", f"ensemble={bundle}", f"out={out}"]
    return [
        *call,
        "device=cpu",
        "workers=2",
        "stream.workers=1",
        "threads=1",
        "settle_s=0",
        "stream.buffer_mib=16",
        *more,
    ]


def under_fire(call: list[str], kills: int, pause_s: float, rng: random.Random) -> Counter[str]:
    """Run the command until it ends by itself; kill up to `kills` of its processes, about one each `pause_s`."""
    killed: Counter[str] = Counter()
    while True:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(pause_s * rng.uniform(0.2, 1.8))
            if sum(killed.values()) >= kills:
                process.wait()
                break
            with suppress(psutil.Error):
                children = psutil.Process(process.pid).children(recursive=True)
                workers = [child for child in children if child.ppid() == process.pid]
                readers = [child for child in children if child.ppid() != process.pid]
                kind, victims = rng.choices(
                    [("reader", readers), ("worker", workers), ("command", [psutil.Process(process.pid)])], [6, 3, 1]
                )[0]
                if victims and readers:  # work has begun
                    rng.choice(victims).kill()
                    killed[kind] += 1
        if process.returncode in (0, 1):
            return killed


def results(out: Path) -> dict[str, bytes]:
    """slide_id -> bytes of its result.json."""
    return {path.parent.name: path.read_bytes() for path in out.glob("slides/*/result.json")}


def main() -> int:
    """Run it; returns the exit code."""
    settings = {"slides": 200, "kills": 40, "seed": 0}
    settings.update((key, int(value)) for key, _, value in (argument.partition("=") for argument in sys.argv[1:]))
    rng = random.Random(settings["seed"])  # noqa: S311 - chance, not secrets
    with tempfile.TemporaryDirectory(prefix="pathoprog-chaos-") as name:
        folder = Path(name)
        slides = folder / "slides"
        slides.mkdir()
        poisoned = make_slides(slides, settings["slides"])
        bundle = made_bundle(folder / "bundle", SIZE)
        begun = time.monotonic()
        calm = subprocess.run(command(bundle, slides, folder / "calm"), capture_output=True, text=True, check=False)
        calm_s = time.monotonic() - begun
        assert calm.returncode == 1, calm.stdout + calm.stderr
        begun = time.monotonic()
        killed = under_fire(
            command(bundle, slides, folder / "fire"), settings["kills"], calm_s / settings["kills"], rng
        )
        # Slides that were hit twice are failed by design, until somebody requeues them.
        subprocess.run(command(bundle, slides, folder / "fire", "requeue=true"), capture_output=True, check=False)
        fire_s = time.monotonic() - begun
        expected, found = results(folder / "calm"), results(folder / "fire")
        with closing(sqlite3.connect(folder / "fire" / "ledger.sqlite")) as db:
            states = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
            committed = db.execute("SELECT count(*), count(DISTINCT slide_id) FROM results").fetchone()
            attempts = db.execute("SELECT max(attempt) FROM jobs").fetchone()[0]
        leftovers = [path.name for path in (folder / "fire" / "slides").glob(".*")]
    different = sorted(name for name in expected if found.get(name) != expected[name])
    print(f"slides {settings['slides']}, poisoned {poisoned}; killed {dict(killed)}; most attempts at one {attempts}")
    print(f"states {states}; results committed {committed[0]} for {committed[1]} slides; leftovers {len(leftovers)}")
    print(
        f"accounted for {len(found)} of {settings['slides']}; results that differ from the undisturbed run: {different}"
    )
    print(f"undisturbed {calm_s:.0f} s, under fire {fire_s:.0f} s")
    whole = len(found) == settings["slides"] and not different and not leftovers
    return 0 if whole and committed[0] == committed[1] and set(states) <= {"done", "failed"} else 1


if __name__ == "__main__":
    sys.exit(main())
