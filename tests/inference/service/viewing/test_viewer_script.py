"""The viewer's own arithmetic, where node is at hand: the scale bar's length, and the rings of an outline."""

import json
import shutil
import subprocess

import pytest
from house import ROOT

STATIC = ROOT / "inference" / "service" / "page" / "static"
PARTS = ("viewer.js", "api.js", "dom.js")
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node here"),
    pytest.mark.skipif(not all((STATIC / name).is_file() for name in PARTS), reason="the page is not there"),
]
PROGRAM = """
import { barLength, lengthText, ringsOf } from "./viewer.js";
const square = [[0, 0], [1, 0], [1, 1], [0, 0]];
const polygon = { type: "Polygon", coordinates: [square, square] };
const say = (key, { n }) => `${n} ${key}`;
console.log(JSON.stringify({
  bars: [0.25, 0.5, 1, 4, 64, 0.0007].map((mpp) => barLength(mpp)),
  texts: [50, 2000].map((um) => lengthText(um, say)),
  rings: [
    ringsOf({ type: "FeatureCollection", features: [{ geometry: polygon }, { geometry: null }] }).length,
    ringsOf({ type: "Feature", geometry: { type: "MultiPolygon", coordinates: [[square], [square, square]] } }).length,
    ringsOf({ type: "GeometryCollection", geometries: [polygon, { type: "Point", coordinates: [0, 0] }] }).length,
    ringsOf({ type: "FeatureCollection", features: [] }).length,
  ],
}));
"""


def test_bars_are_round_and_rings_are_all_there(tmp_path):
    for name in PARTS:
        shutil.copy(STATIC / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "program.js").write_text(PROGRAM)
    done = subprocess.run(["node", "program.js"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for mpp, bar in zip((0.25, 0.5, 1, 4, 64, 0.0007), found["bars"], strict=True):
        assert 160 * mpp / 2.5 - 1e-9 <= bar <= 160 * mpp, "no longer than 160 px, and not much shorter"
        assert f"{bar:.0e}"[0] in "125", "a round length"
    assert found["texts"] == ["50 viewer.um", "2 viewer.mm"] and found["rings"] == [2, 3, 2, 0]
