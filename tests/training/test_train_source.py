"""The benchmark of slides against the tile store: it runs, and prints the ratios that the docs give."""

import importlib
import re

import pytest
from house import ROOT

pytest.importorskip("torch")


@pytest.mark.slow
def test_it_prints_what_is_asked_of_it(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = importlib.import_module("train_source")
    small = ["patients=2", "side=1536", "most=12", "tiles=12", "steps=12", "rounds=1", "workers=1", "size_px=64"]
    assert benchmark.main(["device=cpu", *small]) == 0
    text = capsys.readouterr().out
    for name in ("10x", "40x"):
        assert re.search(rf"^{name}: 12 kB a tile read from the store, \d+ kB from the slide$", text, re.MULTILINE)
    ratios = re.findall(r"store [\d.]+ tiles/s.*slides [\d.]+ tiles/s.*slides / store ([\d.]+)$", text, re.MULTILINE)
    assert len(re.findall(r"^  CPU ms a tile: .* one core reads [1-9]\d* tiles/s$", text, re.MULTILINE)) == 2
    assert len(ratios) == 4 and all(float(ratio) > 0 for ratio in ratios)
    with pytest.raises(SystemExit, match="no such key"):
        benchmark.main(["patient=3"])
