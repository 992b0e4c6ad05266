"""Growth: a run over slides that are all done (100,000 in under 1 GiB), and a threshold over 10,000 patients.

    python benchmarks/scale.py [--slides N …] [--patients N …] [--keep FOLDER]

Scores one small slide, publishes copies of its result under N ids (one in 50 not reportable, one in 100 failed, one in
1,000 the same content as another; every tenth patient has two slides; with result.json, run.json and tiles), and lets
`pathoprog score` run over them in a process of its own: it looks at all slides, hashes all results, and writes the
tables. Without N: 1,000 and 10,000.
Prints peak memory and seconds, and a straight line through them; exit code 1 where 100,000 slides by that line would
take 1 GiB or more, or the threshold 500 MiB.
"""

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))

from made_bundle import made_bundle  # the tests' helpers make slide and bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.cli import compose
from pathoprog.inference.batch import ScoringBatch
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.engine.scoring_plan import make_plan
from pathoprog.inference.score import read_slides
from pathoprog.inference.slides.jobs import DONE, FAILED
from pathoprog.scoring.results import read_slide
from pathoprog.scoring.slide_result import SlideResult, result_text, run_text
from pathoprog.system.file_names import folder_name
from pathoprog.system.files import sha256_file

SLIDES, MOST_SLIDES_MIB = 100_000, 1024
PATIENTS, MOST_PATIENTS_MIB = 10_000, 500
ID, KEY, RESULT_HASH, CUT, TILES = "<slide>", "<key>", "<hash>", "the file is cut short", "tiles.parquet"
MOST_LINKS = 50_000  # of one file; file systems allow some 65,000

PEAK = """
def peak_mib():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
"""
SCORE = f"""
import json, sys, time
{PEAK}
from pathoprog import cli
from pathoprog.inference import score
real, spent = score.write_tables, {{}}
def timed(*given):
    begun, spent["before_mib"] = time.perf_counter(), peak_mib()
    found = real(*given)
    spent["tables_s"] = time.perf_counter() - begun
    return found
score.write_tables = timed
begun = time.perf_counter()
code = cli.main(sys.argv[1:])
print(json.dumps({{"code": code, "seconds": time.perf_counter() - begun, "mib": peak_mib(), **spent}}))
"""
THRESHOLD = f"""
import json, sys, time
{PEAK}
import numpy as np
from pathoprog.ensemble.thresholds import fit_threshold
n = int(sys.argv[1])
rng = np.random.default_rng(1)
score = rng.uniform(size=n)
time_days = np.ceil(rng.exponential(np.where(score > 0.6, 1000, 4000)))
event = (rng.uniform(size=n) < 0.5).astype(np.int64)
cohort = rng.choice(["A", "B", "C"], n)
before, begun = peak_mib(), time.perf_counter()
found = fit_threshold(score, time_days, event, cohort)
spent = {{"seconds": time.perf_counter() - begun, "mib": peak_mib(), "before_mib": before}}
print(json.dumps(spent | {{"threshold": [found.value, found.lower, found.upper]}}))
"""


def measured(program: str, *arguments: str) -> dict[str, Any]:
    """What a program says in its last line, run in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def call(folder: Path, cohort: Path, out: Path) -> list[str]:
    """Of `pathoprog score`."""
    common = ["device=cpu", "settle_s=0", "stream.workers=1", "go_on=true"]
    return [f"cohort={cohort}", f"ensemble={folder / 'bundle'}", f"out={out}", *common]


def one_result(folder: Path) -> Path:
    """Score one small slide; returns the folder of its result."""
    write_pyramid(folder / "one.tif", texture(500, 500, margin=30))
    made_bundle(folder / "bundle", 64, aggregation="mean")
    table = cohort_table(folder / "one.csv", [("P", "one", folder / "one.tif")])
    assert cli.main(["score", *call(folder, table, folder / "one")]) == 0
    return folder / "one" / "slides" / "one"


def cohort_table(path: Path, rows: Sequence[tuple[str, str, Path]]) -> Path:
    """A cohort of patients, slides and their files."""
    lines = [f"{patient},{slide},{file},North,external,colon,72" for patient, slide, file in rows]
    path.write_text("\n".join(["patient_id,slide_id,slide_path,cohort,role,organ,age", *lines]) + "\n")
    return path


def variants(made: SlideResult, class_level: str) -> dict[str, str]:
    """The text of result.json of a slide that is scored, not reportable or failed, with `KEY` and `ID` in it."""
    own = replace(made, slide_id=ID, result_key=KEY, class_level=class_level)
    nothing = {"result_key": "", "risk_class": "", "borderline": False, "scores": {}, "slide": None}
    each = [
        own,
        replace(own, status="not_reportable", reason="too little tissue", risk_class="", borderline=False),
        replace(own, status="failed", reason=CUT, code="truncated", stage="read", **nothing),
    ]
    return {one.status: result_text(one) for one in each}


def made_results(folder: Path, one: Path, n: int) -> list[str]:
    """Publish n results, as n slides would have left them; returns the call that runs over them."""
    slides, out = folder / f"slides-{n}", folder / f"out-{n}"
    slides.mkdir()
    rows = []
    for number in range(n):
        slide_id = f"S{number:06d}"
        (slides / f"{slide_id}.tif").touch()
        second = number % 11 == 10  # every tenth patient's second slide
        rows.append((f"P{number - second:06d}", slide_id, slides / f"{slide_id}.tif"))
    given = call(folder, cohort_table(folder / f"cohort-{n}.csv", rows), out)
    config: ScoreConfig = compose("score", given)
    batch = ScoringBatch(config, read_slides(config), make_plan(config, "fp32"), "cpu")
    ledger = Ledger(batch.ledger)
    ledger.enrol(batch.new_jobs(), batch.plan.config, ())
    ledger.close()
    found = read_slide(one.parent, one.name)
    assert found is not None
    made, run = found
    texts = {level: variants(made, level) for level in {task.class_level for task in batch.tasks.values()}}
    files = {"result.json": RESULT_HASH, TILES: sha256_file(one / TILES)}
    run_json = run_text(replace(run, files=files))
    jobs, tiles = [], one / TILES
    for number, (slide_id, task) in enumerate(batch.tasks.items()):
        if number and number % MOST_LINKS == 0:
            tiles = Path(shutil.copyfile(tiles, folder / f"tiles-{n}-{number}"))
        status = "failed" if number % 100 == 50 else "not_reportable" if number % 50 == 20 else "scored"
        key = "" if status == "failed" else f"{number - (number % 1000 == 999):064x}"
        text = texts[task.class_level][status].replace(ID, slide_id).replace(KEY, key)
        place = batch.slides_folder / folder_name(slide_id)
        place.mkdir(parents=True)
        (place / "result.json").write_text(text, encoding="utf-8")
        own = run_json.replace(RESULT_HASH, hashlib.sha256(text.encode()).hexdigest())
        (place / "run.json").write_text(own, encoding="utf-8")
        os.link(tiles, place / TILES)
        failed = status == "failed"
        jobs.append((FAILED if failed else DONE, key, CUT if failed else "", slide_id))
    with closing(sqlite3.connect(batch.ledger)) as db, db:
        db.executemany("UPDATE jobs SET state = ?, result_key = ?, reason = ?, attempt = 1 WHERE slide_id = ?", jobs)
    return ["score", *given]


def line(found: dict[int, dict[str, Any]], name: str, at: int) -> float:
    """What a straight line through the figures gives at `at`, printed; the largest measured where that is there."""
    n, values = list(found), [one[name] for one in found.values()]
    if len(n) == 1:
        return float(values[0])
    slope, start = np.polyfit(n, values, 1)
    print(f"{name}: {start:.1f} + {1000 * slope:.2f} per 1,000; {start + slope * at:,.0f} at {at:,}")
    return float(start + slope * at) if at not in found else float(found[at][name])


def show(found: dict[int, dict[str, Any]], n: int) -> None:
    """Print one row."""
    cells = ", ".join(f"{name} {value:,.1f}" for name, value in found[n].items() if isinstance(value, float))
    print(f"{n:,}: {cells}", flush=True)


def main() -> int:
    """Measure, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--patients", nargs="*", type=int, default=[2500, 5000, PATIENTS])
    parser.add_argument("--keep", type=Path, help="make the results here, and leave them")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="pathoprog-scale-"))
    kept = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        print("slides that are done", flush=True)
        found: dict[int, dict[str, Any]] = {}
        one = one_result(folder) if given.slides else folder
        for n in given.slides:
            found[n] = measured(SCORE, *made_results(folder, one, n))
            show(found, n)
        if found:
            line(found, "seconds", SLIDES)
            kept &= line(found, "mib", SLIDES) < MOST_SLIDES_MIB
        print("\nthreshold over patients", flush=True)
        of_patients: dict[int, dict[str, Any]] = {}
        for n in given.patients:
            of_patients[n] = measured(THRESHOLD, str(n))
            show(of_patients, n)
            print(f"    {of_patients[n]['threshold']}")
        if of_patients:
            kept &= line(of_patients, "mib", PATIENTS) < MOST_PATIENTS_MIB
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
