"""The 95% intervals cover the truth in 93 to 97% of 1,000 simulated tables."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from house import ROOT


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    found = benchmark("coverage").coverage(tables=1000, patients=400)
    assert set(found) == {"hr", "c", "ppv", "npv", "sensitivity", "specificity"}
    for name, row in found.items():
        assert 0.93 <= row["coverage"] <= 0.97, f"{name}: {row}"


@pytest.mark.slow
def test_further_intervals_cover_the_truth() -> None:
    found = benchmark("coverage_more").coverage(tables=300, patients=400)
    for name, row in found.items():
        assert row["coverage"] >= 0.90, f"{name}: {row}"


@pytest.mark.slow
def test_intervals_of_calibration_cover_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    made = benchmark("coverage_calibration")
    kinds = (made.of_calibration, made.of_net_calibration)
    for name, row in benchmark("coverage_more").coverage(tables=300, patients=400, kinds=kinds).items():
        assert row["coverage"] >= 0.90, f"{name}: {row}"


@pytest.mark.slow
def test_intervals_of_sites_cover_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    sites = benchmark("coverage_sites")
    found = benchmark("coverage_more").coverage(tables=300, patients=400, kinds=(sites.of_sites,))
    for name, row in found.items():  # Higgins' interval does not, which is why ours is printed
        lowest = 0.90 if "further" in name or name.endswith("Knapp-Hartung, mean") else 0.60
        assert row["coverage"] >= lowest, f"{name}: {row}"


def test_every_kind_of_table_has_its_intervals() -> None:
    module = benchmark("coverage_more")
    module.BIG = 3000
    found = module.coverage(tables=1, patients=160)
    kinds = {name.split(":")[0] for name in found}
    assert kinds == {"entry", "patient", "weight", "added", "treatment", "time"} and len(found) == 22
    some = module.coverage(tables=1, patients=160, only=("time", "standardised"))
    assert len(some) == 5 and some.items() <= found.items(), "on the tables that they have among all"


def test_sites_are_judged_by_their_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    sites = benchmark("coverage_sites")
    found = benchmark("coverage_more").coverage(tables=1, patients=160, kinds=(sites.of_sites,))
    assert (
        len(found) == 9 * len(sites.SITES) * len(sites.AT_A_SITE) and "sites: 3 of 50 patients, further site" in found
    )


def test_a_second_call_goes_on_after_the_tables_that_are_there(tmp_path: Path) -> None:
    module = benchmark("coverage_more")
    module.BIG, module.RESAMPLES, module.KINDS = 3000, 2, (module.of_time, module.of_weights)
    out = tmp_path / "answers.jsonl"
    module.coverage(tables=2, patients=100, out=out)
    first = out.read_text()
    module.coverage(tables=3, patients=100, out=out)
    assert out.read_text().startswith(first) and len(out.read_text().splitlines()) == 3
    assert module.coverage(tables=3, patients=100) == module.coverage(tables=3, patients=100, out=out)
    with_resamples = module.coverage(tables=1, patients=120, kinds=module.RESAMPLED)
    assert [name.split(":")[0] for name in with_resamples] == ["added"]
