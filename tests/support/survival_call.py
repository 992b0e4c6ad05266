"""`pathoprog survival` called, and its statistics.json."""

import json
from pathlib import Path
from typing import Any

from pathoprog.cli import main

QUICK = ["bootstrap=20", "sample_size=false", "figures=false"]


def analysed(out: Path, *arguments: str) -> dict[str, Any]:
    assert main(["survival", *arguments, f"out={out}"]) == 0
    found = json.loads((out / "statistics.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found
