"""The 95% intervals cover the truth in 93 to 97% of 1,000 simulated tables."""

import importlib.util

import pytest
from house import ROOT


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", ROOT / "benchmarks" / "coverage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.coverage(tables=1000, patients=400)
    assert set(found) == {"hr", "c", "ppv", "npv", "sensitivity", "specificity"}
    for name, row in found.items():
        assert 0.93 <= row["coverage"] <= 0.97, f"{name}: {row}"
