"""benchmarks/on_gpu: its parts run at their smallest on a CPU, and one that fails or takes too long is a row."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def on_gpu():
    spec = importlib.util.spec_from_file_location("on_gpu_main", ROOT / "benchmarks" / "on_gpu" / "__main__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(out: Path, *options: str) -> tuple[int, dict]:
    call = [sys.executable, "-m", "benchmarks.on_gpu", "--out", str(out), "--sizes", "smallest", *options]
    result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    log = (out / "on_gpu.log").read_text()
    assert "| part | what |" in result.stdout, result.stdout + result.stderr + log
    return result.returncode, json.loads((out / "on_gpu.json").read_text())["parts"]


def test_the_quickest_part_runs_in_a_process_of_its_own(tmp_path):
    code, parts = run(tmp_path / "out", "--only", "roofline")
    assert code == 0 and {"device copy", "matrices, bf16"} <= {row["what"] for row in parts["roofline"]["rows"]}
    assert all(row["value"] > 0 for row in parts["roofline"]["rows"])
    assert "| roofline | device copy |" in (tmp_path / "out" / "on_gpu.md").read_text()


@pytest.mark.slow
def test_every_part_runs(on_gpu, tmp_path):
    code, parts = run(tmp_path / "out", "--only", *(name for name in on_gpu.PARTS if name != "tests"))
    assert code == 0 and all(said["rows"] for said in parts.values())
    assert {"scoring against the plain loop", "scoring against the roofline"} <= {
        row["what"] for row in parts["ratios"]["rows"]
    }


def test_a_part_that_is_not_done_in_time_is_a_row_that_says_so(on_gpu, tmp_path):
    said = on_gpu.child("scoring", "smallest", 0.2, tmp_path, tmp_path / "log")
    assert said["rows"] == [] and said["failed"] == "not done in 0 s"
    assert "| scoring | **failed** | | | not done in 0 s |" in on_gpu.table({"scoring": said}, {}, dry=False)


def test_ratios_are_those_of_the_parts_figures(on_gpu):
    found = {
        "scoring": {
            "rows": [
                {"what": "scoring: rate", "value": 800.0},
                {"what": "work of a tile", "value": 100.0},  # GFLOP: 7,000 tiles/s at 700 TFLOP/s
                {"what": "traffic of a tile", "value": 4e12 / 1000 / 2**20},  # MiB: 1,000 tiles/s at 4 TB/s
            ]
        },
        "plain": {"rows": [{"what": "plain loop: rate", "value": 40.0}]},
        "roofline": {
            "rows": [{"what": "device copy", "value": 4000.0}, {"what": "matrices, bf16", "value": 700.0}],
        },
    }
    values = {row["what"]: row["value"] for row in on_gpu.ratios(found)}
    assert values["scoring against the plain loop"] == pytest.approx(20)
    assert values["roofline of five members"] == pytest.approx(1000)
    assert values["scoring against the roofline"] == pytest.approx(80)
    assert on_gpu.ratios({"roofline": found["roofline"]}) == []
