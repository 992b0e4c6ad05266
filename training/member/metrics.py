"""A run's metrics, ``metrics.jsonl``: a line for each time something was measured; written here, and read here.

A line is one JSON record of numbers by name, with the `step` that it belongs to. A process that is killed may leave a
line without its end: it is not read, and the run that goes on takes it away.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathoprog.system.files import write_text

METRICS = "metrics.jsonl"


def add_metrics(folder: Path, line: Mapping[str, Any]) -> None:
    """Add a line: numbers by name, `step` among them."""
    with (folder / METRICS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(dict(line)) + "\n")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of a run's metrics so far; none where there is no file."""
    return [json.loads(line) for line in _lines(folder) if line.endswith("}\n")]


def cut_metrics(folder: Path, step: int) -> None:
    """Forget what was measured after `step`, from which the run goes on."""
    lines = [line.removesuffix("\n") for line in _lines(folder)]
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    write_text(folder / METRICS, "".join(f"{line}\n" for line in kept))


def _lines(folder: Path) -> list[str]:
    path = folder / METRICS
    return path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
