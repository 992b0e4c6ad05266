"""What a GPU gives, in under eight minutes: one table, and JSON in a folder.

    python -m benchmarks.on_gpu --out DIR [--dry] [--only PART …]

Each part is a process of its own with its own time limit: one that fails is a row with the reason, and the rest goes
on. --dry runs all of it on a CPU at a tenth of the size: it shows that the parts run, and its figures mean nothing.
DIR gets on_gpu.json, on_gpu.md and on_gpu.log.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "roofline": ("parts", "roofline", 40),
    "scoring": ("scoring", "scoring", 150),
    "plain": ("scoring", "plain", 60),
    "training": ("parts", "training", 90),
    "classes": ("parts", "classes", 120),
    "tests": ("parts", "gpu_tests", 120),
}
"""Module, function, and seconds that it may take."""
WHOLE_S = 470.0
DRY_WHOLE_S = 1500.0
"""A loaded machine without a GPU is given more; an idle one needs some two minutes."""


def run_part(name: str, sizes: str, result: Path) -> None:
    """One part in this process; writes its rows, or why there are none, as JSON."""
    import importlib
    import traceback

    from benchmarks.on_gpu.parts import machine
    from benchmarks.on_gpu.sizes import SIZES, setting

    module, function, _ = PARTS[name]
    with tempfile.TemporaryDirectory(prefix="pathoprog-on-gpu-") as folder:
        here = setting(SIZES[sizes], Path(folder))
        said: dict[str, Any] = {"machine": machine(here), "rows": []}
        try:
            call = getattr(importlib.import_module(f"benchmarks.on_gpu.{module}"), function)
            said["rows"] = [row.as_dict() for row in call(here)]
        except Exception as error:
            traceback.print_exc()
            lines = str(error).strip().splitlines()
            said["failed"] = f"{type(error).__name__}: {lines[-1][:200] if lines else ''}"
        result.write_text(json.dumps(said), encoding="utf-8")


def child(name: str, sizes: str, limit_s: float, folder: Path, log: Path) -> dict[str, Any]:
    """A part in a process of its own, ended with all it started when its time is up."""
    result = folder / f"{name}.json"
    call = [sys.executable, "-m", "benchmarks.on_gpu", "--part", name, "--sizes", sizes, "--out", str(result)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n== {name}\n")
        file.flush()
        began = time.monotonic()
        process = subprocess.Popen(
            call, cwd=ROOT, stdout=file, stderr=file, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(limit_s)
            why = f"ended with exit code {process.returncode}; see {log.name}"
        except subprocess.TimeoutExpired:
            why = f"not done in {limit_s:.0f} s"
        finally:
            end_all(process)
    said: dict[str, Any] = {"rows": [], "failed": why}
    if result.is_file():
        said = json.loads(result.read_text(encoding="utf-8"))
    return said | {"seconds": round(time.monotonic() - began, 1)}


def end_all(process: "subprocess.Popen[bytes]") -> None:
    """End a process and whatever it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ratios(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that compare parts: the roofline, and the plain loop."""
    values = {row["what"]: row["value"] for said in found.values() for row in said["rows"]}
    rate, rows = values.get("scoring: rate"), []
    if not rate:
        return []

    def row(what: str, value: float, unit: str, note: str) -> None:
        rows.append({"what": what, "value": value, "unit": unit, "note": note})

    if plain := values.get("plain loop: rate"):
        row("scoring against the plain loop", rate / plain, "times", "asked: 10")
    copy, matrix = values.get("device copy"), values.get("matrices, bf16")
    if copy and matrix and values.get("traffic of a tile"):
        by_copy = copy * 1e9 / (values["traffic of a tile"] * 2**20)
        by_matrix = matrix * 1e12 / (values["work of a tile"] * 1e9)
        bound, what = min((by_copy, "copying"), (by_matrix, "matrices"))
        row(
            "roofline of five members",
            bound,
            "tiles/s",
            f"held back by {what}; by the other {max(by_copy, by_matrix):.0f}",
        )
        row("scoring against the roofline", 100 * rate / bound, "%", "")
    return rows


def table(found: dict[str, dict[str, Any]], facts: dict[str, str], dry: bool) -> str:
    """Everything as one Markdown table."""
    lines = [", ".join(f"{name} {value}" for name, value in facts.items())]
    if dry:
        lines.append("Dry run at a tenth of the size: the figures mean nothing.")
    lines += ["", "| part | what | value | | note |", "|---|---|---|---|---|"]
    for part, said in found.items():
        for row in said["rows"]:
            lines.append(f"| {part} | {row['what']} | {row['value']:.4g} | {row['unit']} | {row['note']} |")
        if said.get("failed"):
            lines.append(f"| {part} | **failed** | | | {said['failed'].replace('|', '/')} |")
        if "seconds" in said:
            lines.append(f"| {part} | took | {said['seconds']:.0f} | s | |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the parts; exit code 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder for table, JSON and log")
    parser.add_argument("--dry", action="store_true", help="a tenth of the size, on a CPU too")
    parser.add_argument("--sizes", choices=["full", "tenth", "smallest"], default="full", help="--dry is tenth")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="these parts alone")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(given.part, given.sizes, given.out)
        return 0
    sizes = "tenth" if given.dry else given.sizes
    small = sizes != "full"
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log = out / "on_gpu.log"
    log.write_text("", encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    ends = time.monotonic() + (DRY_WHOLE_S if small else WHOLE_S)
    with tempfile.TemporaryDirectory(prefix="pathoprog-on-gpu-") as folder:
        for name in given.only:
            left = ends - time.monotonic()
            limit = min(left, PARTS[name][2] * (4 if small else 1))
            if limit < 5:
                found[name] = {"rows": [], "failed": "no time was left"}
                continue
            print(f"{name} (at most {limit:.0f} s) …", flush=True)
            found[name] = child(name, sizes, limit, Path(folder), log)
            facts = next((said["machine"] for said in found.values() if "machine" in said), {})
            whole = {**found, "ratios": {"rows": ratios(found)}}
            text = table(whole, facts, small)
            (out / "on_gpu.json").write_text(json.dumps({"machine": facts, "parts": whole}, indent=1), encoding="utf-8")
            (out / "on_gpu.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    return 1 if any(said.get("failed") for said in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
