"""A scan that the ensemble was developed on is never shown as an external result without a word."""

import csv
import json

from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.cohort_tables.same_scan import development_set
from pathoprog.slides.identity import content_sha256


def test_a_development_slide_is_marked_wherever_its_result_stands(tmp_path, capsys):
    rows = ["patient_id,slide_id,slide_path,cohort,role"]
    paths = {}
    for seed, name in enumerate("ABC"):
        paths[name] = write_pyramid(tmp_path / f"{name}.tif", texture(420, 420, seed=seed, margin=30))
        rows.append(f"P{name},{name},{name}.tif,North,external")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    sets = [development_set([content_sha256(paths[name])], role) for name, role in (("A", "training"), ("B", ""))]
    bundle = made_bundle(tmp_path / "bundle", 64, development=sets)
    out = tmp_path / "out"
    options = ["stream.workers=1", "device=cpu", "threads=1", "settle_s=0", "outputs.pdf=false"]
    assert cli.main(["score", f"cohort={tmp_path / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *options]) == 0
    known = {"A": "training", "B": "development", "C": ""}
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        quality = {row["slide_id"]: row["quality"] for row in csv.DictReader(stream)}
    for name, role in known.items():
        assert json.loads((out / "slides" / name / "result.json").read_text())["development_slide"] == role
        assert (f"development slide: {role}" in quality[name]) == bool(role)
        assert ("development slide" in (out / "slides" / name / "report.html").read_text()) == bool(role)
    found = json.loads((out / "summary.json").read_text())["development_slides"]
    assert found == {"A": "training", "B": "development"}
    assert (
        "2 slides of the ensemble's own development, whose results are no external ones: A, B"
        in capsys.readouterr().out
    )
