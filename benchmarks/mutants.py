"""Mutants: slides damaged in many ways go through `pathoprog inspect` and `pathoprog score`, as a laboratory's would.

`python benchmarks/mutants.py [inspected=352] [scored=176] [seed=0] [keep=FOLDER]`: writes small slides of eight formats
and damaged copies of them, one kind of damage after the other; runs both commands over them; and compares the pixels of
each mutant that got a class with the original's. Prints crashes, hangs, peak memory, and the classes that came from
other pixels: of what a strict decoder or a directory check can see (`tests/support/strict_check.py`) there must be
none; what a checksum alone would have seen is counted. Exit code 1 if a command crashed or hung, or such a class was
given.
"""

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))

from made_bundle import made_bundle  # the tests' helpers make bundle, slides and mutants
from made_mutants import KINDS, mutant, write_sources
from strict_check import complaints

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.slide import Slide

SIZE = 32
RESOLUTION_MPP = {"10x": 1.0, "40x": 0.25}
TIMEOUT_S = 20.0
READERS = ["stream.workers=2", f"stream.timeout_s={TIMEOUT_S:g}", "stream.buffer_mib=16"]
CRASHED, HUNG = "the reader ended by", "the reader made no progress"


@dataclass
class Found:
    """What came of the mutants; each by its file name.

    Attributes:
        inspected: how many verdicts `inspect` gave.
        scored: how many results `score` gave, by status.
        crashes: with the reason, or the command's last words.
        hangs: with the reason.
        peak_mib: largest process, by command.
        visible: classes from other pixels although a strict decoder or directory check sees the damage: what it says.
        unseen: classes from other pixels that only a checksum could have told.
        same: classes from the original's pixels.
        seconds: by command.
    """

    inspected: int = 0
    scored: Counter[str] = field(default_factory=Counter)
    crashes: dict[str, str] = field(default_factory=dict)
    hangs: dict[str, str] = field(default_factory=dict)
    peak_mib: dict[str, int] = field(default_factory=dict)
    visible: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)
    same: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def write_mutants(folder: Path, sources: dict[str, Path], n: int, seed: int) -> dict[Path, Path]:
    """Write `n` mutants, kinds and sources in turn; returns each with its original."""
    folder.mkdir(parents=True)
    names, kinds = list(sources), list(KINDS)
    written = {}
    for index in range(n):
        kind = kinds[index % len(kinds)]
        name = names[(index // len(kinds) + index) % len(names)]
        original = sources[name]
        path = folder / f"{index:04d} {name} {kind}{''.join(original.suffixes)}"
        path.write_bytes(mutant(original.read_bytes(), name, kind, index, seed))
        written[path] = original
    return written


def run_command(found: Found, name: str, call: list[str]) -> str:
    """Run one command; its standard output. An exit code or a traceback that should not be is a crash."""
    begun = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run([sys.executable, "-m", "pathoprog.cli", *call], capture_output=True, text=True, check=False)
    found.seconds[name] = time.monotonic() - begun
    found.peak_mib[name] = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) >> 10
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        found.crashes[name] = f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def note_end(found: Found, name: str, reason: str) -> None:
    """Note a reader that crashed or hung over a slide."""
    if CRASHED in reason:
        found.crashes[name] = reason
    elif HUNG in reason:
        found.hangs[name] = reason


def inspect_all(found: Found, mutants: dict[Path, Path]) -> None:
    """Run `pathoprog inspect` over all of them."""
    call = ["inspect", "--json", f"tile_px={SIZE}", *READERS, *map(str, mutants)]
    text = run_command(found, "inspect", call)
    records = json.loads(text) if text.startswith("[") else []
    found.inspected = len(records)
    for record in records:
        note_end(found, f"inspect: {Path(record['path']).name}", " | ".join(record["reasons"]))


def score_all(found: Found, mutants: dict[Path, Path], bundle: Path, out: Path) -> None:
    """Run `pathoprog score` over the folder of them, and hold each class against the pixels that it came from."""
    folder = next(iter(mutants)).parent
    run_command(
        found,
        "score",
        ["score", f"slides={folder}", f"ensemble={bundle}", f"out={out}", "device=cpu", "settle_s=0", "threads=1",
         "outputs.pdf=false", *READERS],
    )  # fmt: skip
    table = out / "results.csv"
    rows: list[dict[str, str]] = []
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    by_name = {path.name[: -len("".join(original.suffixes))]: path for path, original in mutants.items()}
    for row in rows:
        found.scored[row["status"]] += 1
        note_end(found, f"score: {row['slide_id']}", row["reason"])
        if row["risk_class"]:
            path = next(path for name, path in by_name.items() if row["slide_id"].startswith(name))
            compare(
                found, path, mutants[path], out / "slides" / (row["duplicate_of"] or row["slide_id"]) / "tiles.parquet"
            )


def compare(found: Found, path: Path, original: Path, table: Path) -> None:
    """Hold the tiles that a mutant was scored by against the original's."""
    if different := different_tiles(path, original, table):
        text = "; ".join(complaints(path.read_bytes())[:2])
        (found.visible if text else found.unseen)[path.name] = f"{different}{': ' if text else ''}{text}"
    else:
        found.same += 1


def different_tiles(path: Path, original: Path, table: Path) -> str:
    """How the tiles of a mutant differ from the original's, in words; "" where they are the same, pixel by pixel."""
    import pyarrow.parquet as pq

    tiles = pq.read_table(table).to_pandas()
    with open_slide(path) as mutant_slide, open_slide(original) as whole:
        if mutant_slide.mpp != whole.mpp:
            return f"{mutant_slide.mpp:g} um/px in place of {whole.mpp:g}"
        n = sum(not equal_tile(mutant_slide, whole, x, y, RESOLUTION_MPP[r]) for x, y, r in tiles[
            ["x0", "y0", "resolution"]
        ].itertuples(index=False))  # fmt: skip
    return f"{n} of {len(tiles)} tiles differ" if n else ""


def equal_tile(one: Slide, other: Slide, x: int, y: int, mpp: float) -> bool:
    """Whether two slides show the same tile."""
    try:
        pixels = [slide.read_at_mpp(float(x), float(y), mpp, (SIZE, SIZE)) for slide in (one, other)]
    except SlideError:
        return False
    return bool(np.array_equal(*pixels))


def run(folder: Path, inspected: int, scored: int, seed: int) -> Found:
    """Make the mutants in a folder and run both commands over them; `scored` of the `inspected` are scored."""
    found = Found()
    sources = write_sources(folder / "sources")
    mutants = write_mutants(folder / "mutants", sources, inspected, seed)
    inspect_all(found, mutants)
    if scored:
        chosen = write_mutants(folder / "to score", sources, scored, seed)
        score_all(found, chosen, made_bundle(folder / "bundle", SIZE), folder / "out")
    return found


def report(found: Found) -> str:
    """What to print."""
    lines = [
        f"inspect: {found.inspected} verdicts in {found.seconds['inspect']:.0f} s",
        f"score: {sum(found.scored.values())} results {dict(found.scored)} in {found.seconds.get('score', 0):.0f} s",
        f"crashes {len(found.crashes)}, hangs {len(found.hangs)}, peak memory MiB {found.peak_mib}",
        f"classes: {found.same} from the original's pixels; {len(found.visible)} from other pixels that a strict"
        f" decoder or directory check tells; {len(found.unseen)} from other pixels that only a checksum could tell",
    ]
    for title, entries in (
        ("crash", found.crashes), ("hang", found.hangs), ("CLASS FROM VISIBLE DAMAGE", found.visible),
        ("only a checksum", found.unseen),
    ):  # fmt: skip
        lines += [f"  {title}: {name}: {text}" for name, text in entries.items()]
    return "\n".join(lines)


def main() -> int:
    """Run it; returns the exit code."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    keep = given.pop("keep", "")
    settings = {"inspected": 352, "scored": 176, "seed": 0} | {key: int(value) for key, value in given.items()}
    if unknown := settings.keys() - {"inspected", "scored", "seed"}:
        print(f"no setting {', '.join(sorted(unknown))}: inspected, scored, seed, keep", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="pathoprog-mutants-") as name:
        found = run(Path(keep or name), **settings)
    print(report(found))
    whole = found.inspected == settings["inspected"] and sum(found.scored.values()) == settings["scored"]
    return 0 if whole and not (found.crashes or found.hangs or found.visible) else 1


if __name__ == "__main__":
    sys.exit(main())
