"""Outlines given with slides: a bad one fails its slide alone, in one sentence, and nothing of its path leaves."""

import csv
import json
import shutil

import numpy as np
import pytest
import shapely
from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.regions.annotations import write_outline

SIZE = 64
STREAM = ["stream.workers=1", "stream.batch_tiles=16", "device=cpu", "settle_s=0"]
WIDTH, HEIGHT, MARGIN = 1100, 900, 100
PRIVATE = "Nordmann_Ola_1900"


def ring(*corners):
    return json.dumps({"type": "Polygon", "coordinates": [[*corners, corners[0]]]})


def box(left, top, right, bottom):
    return ring([left, top], [right, top], [right, bottom], [left, bottom])


OUTLINES = {
    "good": (box(150, 150, 900, 700), ""),
    "edge": (box(-1, -1, WIDTH - 1, HEIGHT - 1), ""),  # as QuPath gives a whole image
    "rim": (box(50, 150, WIDTH + 60, 700), ""),  # 6% beyond
    "huge": (ring([0, 0], [1e308, 0], [1e308, 1e308]), "a coordinate is 1e+308"),
    "outside": (box(9000, 9000, 9900, 9900), "all of it lies outside the slide (its x 9000 to 9900"),
    "negative": (box(-500, -500, 500, 500), "75% of it lies outside the slide"),
    "other_level": (box(600, 600, 4000, 3000), "of it lies outside the slide"),
    "glass": (box(2, 2, 90, 890), "only 0% of it is tissue"),
    "not_finite": (box(150, 150, 900, 700).replace("900", "NaN", 1), "not a finite number"),
    "deep": ("[" * 50_000, "nested far deeper"),
    "sectra": ('{"annotations": [{"points": [{"x": 1, "y": 2}]}]}', "Sectra"),
    "tangle": (
        json.dumps({"type": "Polygon", "coordinates": [np.random.default_rng(0).uniform(0, 900, (6000, 2)).tolist()]}),
        "crosses itself more than 1,000 times",
    ),
    "empty": ('{"type": "FeatureCollection", "features": []}', "no area"),
    "classes": (
        json.dumps(
            [
                {
                    "type": "Feature",
                    "geometry": json.loads(box(0, 0, 9, 9)),
                    "properties": {"classification": {"name": n}},
                }
                for n in ("A", "B")
            ]
        ),
        "several classes (A, B) and none is called Tumor",
    ),
    "text": ("Ola Nordmann", "cut off, or not GeoJSON"),
    "missing": (None, "no such file"),
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outlines")
    bundle = made_bundle(folder / "bundle", SIZE, tumour_policy="outline")
    private = folder / PRIVATE
    private.mkdir()
    rows = ["patient_id,slide_id,slide_path,cohort,role,outline_path"]
    for seed, (name, (text, _)) in enumerate(OUTLINES.items()):
        write_pyramid(private / f"{name}_{PRIVATE}.tif", texture(WIDTH, HEIGHT, seed=seed, margin=MARGIN))
        outline = private / f"drawn_{PRIVATE}_{name}.geojson"
        if text is not None:
            outline.write_text(text)
        rows.append(f"P{seed},{name},{PRIVATE}/{name}_{PRIVATE}.tif,North,external,{PRIVATE}/{outline.name}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    out = folder / "out"
    code = cli.main(["score", f"cohort={folder / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *STREAM])
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        return code, out, {row["slide_id"]: row for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_each_bad_outline_fails_its_slide_alone_in_one_sentence(scored):
    code, _, rows = scored
    assert code == 1
    for name, (_, said) in OUTLINES.items():
        status = "failed" if said else "scored"
        assert rows[name]["status"] == status, f"{name}: {rows[name]['reason']}"
        assert said in rows[name]["reason"] and (not said or rows[name]["reason"].startswith("its outline: ")), rows[
            name
        ]
        assert "Error" not in rows[name]["reason"] and "times (stage" not in rows[name]["reason"]


@pytest.mark.slow
def test_a_rim_beyond_the_edge_is_cut_off_and_said(scored):
    _, out, rows = scored
    drawn = json.loads((out / "slides" / "edge" / "tumour.geojson").read_text())["features"][0]["geometry"]
    left, top, right, bottom = shapely.geometry.shape(drawn).bounds
    assert (left, top, right, bottom) == (0, 0, WIDTH - 1, HEIGHT - 1)
    warnings = {
        name: json.loads((out / "slides" / name / "result.json").read_text())["slide"]["warnings"]
        for name in ("good", "edge", "rim")
    }
    assert warnings["good"] == warnings["edge"] == []
    assert warnings["rim"] == ["5% of the outline lay beyond the slide's edge and was cut off"]
    assert rows["rim"]["risk_class"]


@pytest.mark.slow
def test_nothing_of_a_path_is_in_any_file_but_the_ledger(scored):
    _, out, _ = scored
    for path in out.rglob("*"):
        if path.is_file() and path.name != "ledger.sqlite":
            data = path.read_bytes()
            assert PRIVATE.encode() not in data and b"Nordmann" not in data, path.name
            assert b"Traceback" not in data and b".py" not in data, path.name
    assert (out / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_an_outline_of_another_place_is_refused_wherever_outlines_are_read(tmp_path):
    """Also where the network's outline is replaced by a corrected one."""
    from pathoprog.regions.slide_outline import given_outline, inside_slide
    from pathoprog.slides import open_slide

    write_pyramid(tmp_path / "S.tif", texture(WIDTH, HEIGHT, margin=MARGIN))
    with open_slide(tmp_path / "S.tif") as slide:
        facts = slide.facts
    write_outline(tmp_path / "S.geojson", shapely.box(0, 0, 100, 100))
    kept, outside = given_outline(str(tmp_path / "S.geojson"), facts)
    assert kept.area == 10_000 and outside == 0
    whole, outside = inside_slide(shapely.MultiPolygon([shapely.box(-10, 0, 990, 100)]), facts)
    assert whole.area == 99_000 and outside == pytest.approx(0.01)
    shutil.rmtree(tmp_path)


def test_what_cannot_be_drawn_ends_its_slide_and_not_the_worker(monkeypatch):
    from types import SimpleNamespace

    from pathoprog.inference.engine import worker as module
    from pathoprog.inference.slides.inputs import SlideInput
    from pathoprog.scoring.eligibility import Eligibility
    from pathoprog.scoring.slide_outcomes import SlideScore

    def overflow(*_):
        raise OverflowError(f"cannot convert float infinity to integer in /srv/{PRIVATE}/x.py")

    monkeypatch.setattr(module, "slide_files", overflow)
    worker, said = module.Worker.__new__(module.Worker), []
    worker.outliner, worker.runtimes = None, {}
    task = SimpleNamespace(
        slide=SlideInput("S1", f"/srv/{PRIVATE}/S1.tif", "S1"), eligibility=Eligibility(), keep_instances=False
    )
    plan = SimpleNamespace(context=lambda *_: None, curves=None, covariates=None)
    worker.in_hand = {"S1": SimpleNamespace(task=task, job_id=5, attempt=1, name="5-1")}
    worker.start = SimpleNamespace(
        plan=plan,
        config=SimpleNamespace(outputs=SimpleNamespace(pdf=True), quality=SimpleNamespace(eligibility="enforce")),
    )
    worker.device, worker.torch_version = "cpu", "2"
    monkeypatch.setattr(worker, "send", lambda *message: said.append(message), raising=False)
    worker._finish(SlideScore("S1", "scored"), None)
    ((kind, job_id, code, reason, *_),) = said
    assert (kind, job_id, code) == ("failed", 5, "page")
    assert reason.startswith("its page and maps could not be drawn (OverflowError)") and PRIVATE not in reason


def test_out_of_memory_names_memory_and_not_the_folder(tmp_path):
    import errno
    import os

    from pathoprog.inference.engine.engine import _writing
    from pathoprog.inference.engine.ledger import WriteError

    said = r"^out of memory, and not the disk.*same command goes on later$"
    with pytest.raises(WriteError, match=said) as caught, _writing(tmp_path):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(WriteError, match="No space left on device; the same command"), _writing(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
