"""Cores by affinity and by the container's share of CPU time."""

import math
import re
from pathlib import Path

import pytest
from house import DOORS, ROOT, sources

from pathoprog.system.machine import cores as module
from pathoprog.system.machine.cores import cores, quota

V1 = {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}


def grouped(folder: Path, lines: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A made tree of control groups, and this process's list of them."""
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(lines)
    return folder / "cgroup", folder / "own"


@pytest.mark.parametrize(
    ("lines", "files", "share"),
    [
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/outside/of/the/container\n", {"cpu.max": "400000 100000\n"}, 4.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("3:cpu,cpuacct:/a\n", V1, 3.0),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpuset:/\n", {"cpu.max": "100000 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense\n"}, math.inf),
    ],
)
def test_the_narrowest_share_counts(lines: str, files: dict[str, str], share: float, tmp_path: Path):
    assert quota(*grouped(tmp_path, lines, files)) == share


def test_without_control_groups_there_is_no_limit(tmp_path: Path):
    assert quota(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.parametrize(("allowed", "share", "found"), [(6, 1.5, 2), (2, 4.0, 2), (3, math.inf, 3), (4, 0.2, 1)])
def test_affinity_and_share_both_hold(allowed: int, share: float, found: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(allowed), raising=False)
    monkeypatch.setattr(module, "quota", lambda *_: share)
    assert cores() == found


def test_nobody_else_counts_cores():
    pattern = re.compile(r"\b(?:cpu_count|process_cpu_count|sched_getaffinity)\b")
    files = sources("pathoprog", *DOORS, "benchmarks")
    counting = [str(path) for path in files if pattern.search((ROOT / path).read_text(encoding="utf-8"))]
    assert counting == ["pathoprog/system/machine/cores.py"], "use cores() of that module"
