"""The comparison with other packages: its arithmetic, what it says of one that cannot take part, and our own part."""

import argparse
import importlib
import re
import sys

import numpy as np
import pytest
from house import ROOT

pytest.importorskip("torch")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("side_by_side")


@pytest.fixture
def rates(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("steady_rate")


def runs_of(rates, *pairs):
    """Rounds of (seconds, CPU seconds) of the smaller and the larger run."""
    return [(rates.Spent(*small), rates.Spent(*large)) for small, large in pairs]


def test_the_steady_rate_leaves_start_up_out(rates):
    # 10 s and 8 CPU seconds to start, 50 tiles/s, 30 CPU ms a tile; the second round is slower, the third odd
    runs = runs_of(rates, ((30, 38), (110, 158)), ((31, 39), (111, 159)), ((29, 12), (500, 1000)))
    found = rates.steady(runs, (1000, 5000))
    assert found.rate == pytest.approx(4000 / (111 - 30))
    assert found.cpu_ms == pytest.approx(1e3 * (159 - 38) / 4000)
    assert found.start_s == pytest.approx(30 - 1000 / found.rate)


@pytest.mark.parametrize("large", [(30, 50), (40, 20)])
def test_a_larger_run_that_took_no_longer_says_nothing(rates, large):
    with pytest.raises(rates.CouldNotError, match="16 tiles took no longer than 4: too few to tell"):
        rates.steady(runs_of(rates, ((30, 20), large)), (4, 16))


def test_the_table_gives_ratios_to_ours_and_the_reasons_of_who_is_missing(rates):
    def one(name, *pairs, **known):
        return rates.Contender(name, runs_of(rates, *pairs), **known)

    contenders = [
        one("Slow 1.0", ((20, 30), (120, 230)), settings="batch 32", off="same: 1e-05"),
        one("Absent 2.0", refused="absent==2.0 could not be installed: no network"),
        one("Too quick", ((20, 30), (19, 40))),
        one("ours", ((12, 11), (22, 31)), settings="as it comes", off="same: 2e-06"),
    ]
    text = rates.table(contenders, (100, 1100), "ours")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert {len(line) for line in lines} == {8}
    assert lines[2] == ["Slow 1.0", "batch 32", "10.0", "200.0", "10.0", "10.0", "10.0", "same: 1e-05"]
    assert lines[3][:2] == ["Absent 2.0", "absent==2.0 could not be installed: no network"]
    assert lines[4][:2] == ["Too quick", "1100 tiles took no longer than 100: too few to tell"]
    assert lines[5] == ["ours", "as it comes", "100.0", "20.0", "11.0", "1.0", "1.0", "same: 2e-06"]


def test_a_process_and_its_children_are_counted_and_a_failure_gives_its_last_line(rates, tmp_path):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    spent = rates.spent_by([sys.executable, "-c", parent], tmp_path / "log", {})
    assert spent.cpu_s >= 0.3 and spent.clock_s > 0
    with pytest.raises(rates.CouldNotError, match="failed with 3: no such tiles"):
        fails = "import sys; print('reading'); print('no such tiles', file=sys.stderr); print(); sys.exit(3)"
        rates.spent_by([sys.executable, "-c", fails], tmp_path / "log", {})


def test_a_peer_that_cannot_be_installed_is_named_and_the_others_go_on(benchmark, rates, monkeypatch, tmp_path):
    def refuses(folder, distribution):
        return [[sys.executable, "-c", f"import sys; sys.exit('no {distribution} for this Python')"]]

    monkeypatch.setattr(benchmark, "install_commands", refuses)
    spent = rates.Spent(1.0, 1.0)
    monkeypatch.setattr(benchmark.Bench, "by_us", lambda bench, dtype, n: (spent, np.ones((n, 2), np.float32)))
    bench = benchmark.Bench(tmp_path, (2, 4), tmp_path / "weights", {})
    peers = [benchmark.PEERS["tiatoolbox"]]
    given = argparse.Namespace(rounds=2, workers=[0])
    found = benchmark.measured(bench, peers, given, np.float32([[1, 1], [2, 2]]), np.array([0, 1]))
    assert found[0].refused == (
        "tiatoolbox==2.1.3 could not be installed: failed with 1: no tiatoolbox==2.1.3 for this Python"
    )
    assert found[1].name == "pathoprog features, fp32" and len(found[1].runs) == 1 and not found[1].refused


FAKE = """
import json, sys
import numpy as np
job = json.load(open(sys.argv[1]))
n = 4 if "made_4" in job["slide"] else 16
side = np.arange(n) % int(n**0.5), np.arange(n) // int(n**0.5)
x0, y0 = (one * job["tile_px"] for one in side)
features = np.arange(2.0 * n).reshape(n, 2) + (job["workers"] == 1)
np.savez(job["out"], features=features, x0=x0, y0=y0, versions=json.dumps({"fake": "1.0"}))
"""


def test_a_peer_runs_with_the_quickest_of_its_settings_and_its_features_are_compared(
    benchmark, rates, monkeypatch, tmp_path
):
    (tmp_path / "fake.py").write_text(FAKE)
    fake = benchmark.Peer("Fake", "fake==1.0", str(tmp_path / "fake.py"))
    monkeypatch.setattr(benchmark, "environment_of", lambda peer, cache: sys.executable)
    asked = []
    by_peer = benchmark.Bench.by_peer

    def quicker_with_none(bench, peer, workers, n):
        asked.append((workers, n))
        spent, features, versions = by_peer(bench, peer, workers, n)
        assert spent.clock_s > 0 and spent.cpu_s > 0
        # made-up seconds: on a busy machine the larger of two short runs may well be the quicker
        return rates.Spent(2 + n / 10 + 100 * workers, 1 + n / 5), features, versions

    monkeypatch.setattr(benchmark.Bench, "by_peer", quicker_with_none)
    ours = rates.Spent(1.0, 1.0)
    monkeypatch.setattr(benchmark.Bench, "by_us", lambda bench, dtype, n: (ours, np.ones((n, 2), np.float32)))
    slides = {n: tmp_path / f"made_{n}.tif" for n in (4, 16)}
    bench = benchmark.Bench(tmp_path, (4, 16), tmp_path / "weights", slides)
    wanted = np.arange(32, dtype=np.float32).reshape(16, 2)[[0, 9]]
    given = argparse.Namespace(rounds=2, workers=[1, 0])
    one = benchmark.measured(bench, [fake], given, wanted, np.array([0, 9]))[0]
    assert not one.refused and one.settings == "batch 32, workers 0" and one.versions == "fake 1.0"
    assert asked == [(1, 4), (0, 4), (0, 4), (0, 16)] and len(one.runs) == 1
    assert one.off.startswith("same: 0e+00")
    found = rates.steady(one.runs, (4, 16))
    assert (found.rate, found.cpu_ms) == (pytest.approx(10), pytest.approx(200))


def test_features_are_compared_tile_by_tile(benchmark, rates):
    n = 6
    x0, y0 = benchmark.corners(n).T
    features = np.arange(12, dtype=np.float32).reshape(n, 2)
    shuffled = np.array([3, 0, 5, 1, 4, 2])
    ordered = benchmark.in_order(features[shuffled], x0[shuffled], y0[shuffled], n)
    assert (ordered == features).all()
    sample = np.array([0, 3, 5])
    assert benchmark.compared(ordered, features[sample], sample).startswith("same: 0e+00")
    assert benchmark.compared(ordered[::-1], features[sample], sample).startswith("not the same")
    with pytest.raises(rates.CouldNotError, match="gave 5 tiles, not the 6"):
        benchmark.in_order(features[:5], x0[:5], y0[:5], n)
    with pytest.raises(rates.CouldNotError, match="not the 6 of the slide"):
        benchmark.in_order(features, x0 + 1, y0, n)


@pytest.mark.slow
def test_our_own_part_gives_torchs_features(benchmark, tmp_path, capsys):
    assert benchmark.main(["--tiles", "4", "100", "--rounds", "2", "--peers", "--cache", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("| pathoprog features, fp32 |"))
    assert re.search(r"\| same: \de-\d\d, \de-\d\d SD \|$", row) or "took no longer" in row
    assert "pathoprog features, fp32: " in text
    with pytest.raises(SystemExit):
        benchmark.main(["--tiles", "9", "4"])
