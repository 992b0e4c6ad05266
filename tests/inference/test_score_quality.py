"""Quality and eligibility in `pathoprog score`: refusals, flags, overrides; labels and macro images stay unread."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from made_bundle import made_bundle
from made_slides import aperio_description, halved
from made_spoilt import GOOD, looked_at, made_good
from shared_data import shared_data

from pathoprog import cli
from pathoprog.quality.checks import DEFAULT_LIMITS
from pathoprog.quality.reference import Reference, features
from pathoprog.simulate.spoil import spoil_slide
from pathoprog.slides import open_slide

SIZE = 64
STREAM = ["stream.workers=1", "device=cpu", "settle_s=0", "tiles.max_per_slide=8"]
MADE_FOR = {"organ": ["colorectum"], "specimen": ["resection"], "stain": ["H&E"], "neoadjuvant": ["no"]}
TRAITS = {"organ": "colorectum", "specimen": "resection", "stain": "H&E", "neoadjuvant": "no"}


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A good slide, three spoilt ones, and a table that says of each what it is of."""
    folder = made_good(tmp_path_factory.mktemp("quality"))
    for kind in ("blurred", "ihc", "blank"):
        spoil_slide(folder, GOOD, kind, 3, folder)
    names = {"good": GOOD, "breast": GOOD, "unsaid": GOOD} | {k: f"{GOOD}-{k}" for k in ("blurred", "ihc", "blank")}
    rows = []
    for number, (slide_id, name) in enumerate(names.items()):
        path = folder / f"{slide_id}.tif"
        path.write_bytes((folder / "slides" / f"{name}.tif").read_bytes())
        traits = {**TRAITS, "organ": {"breast": "breast", "unsaid": ""}.get(slide_id, "colorectum")}
        rows.append(
            {
                "patient_id": f"P{number}",
                "slide_id": slide_id,
                "slide_path": path.name,
                "outline_path": f"outlines/{GOOD}.geojson",
                "cohort": "North",
                "role": "external",
                **traits,
            }
        )
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def bundle(slides, tmp_path_factory):
    """Project default limits, and a reference about the good slide."""
    reference = Reference(features(looked_at(slides, GOOD)), np.eye(5) * 0.01, 50, 4)
    limits = {key: list(pair) for key, pair in DEFAULT_LIMITS.items()} | {"distance": [5.0, 10.0]}
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    return made_bundle(
        folder, SIZE, tumour_policy="outline", limits=limits, reference=reference.as_dict(), made_for=MADE_FOR
    )


@pytest.fixture(scope="module")
def scored(bundle, slides, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    assert cli.main(["score", f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *STREAM]) == 0
    return out


def rows(out):
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        return {row["slide_id"]: row for row in csv.DictReader(stream)}


def result(out, slide_id):
    return json.loads((out / "slides" / slide_id / "result.json").read_text())


def test_a_spoilt_slide_is_not_reportable_with_its_reason_and_its_map(scored):
    table = rows(scored)
    assert table["good"]["status"] == "scored" and table["good"]["risk_class"]
    for name, reason in (("blurred", "sharpness"), ("ihc", "stain"), ("blank", "tissue area")):
        assert table[name]["status"] == "not_reportable" and table[name]["risk_class"] == "", name
        assert reason in table[name]["reason"] and "limit" in table[name]["reason"]
        assert (scored / "slides" / name / "heatmap.png").is_file()
    assert (scored / "slides" / "blurred" / "tiles.parquet").is_file() and table["blurred"]["score_10x"]


def test_each_check_stands_in_the_result_with_its_limits(scored):
    checks = {check["name"]: check for check in result(scored, "blurred")["checks"]}
    sharp = checks["sharpness"]
    assert sharp["verdict"] == "fail" and sharp["value"] < sharp["fail"] == -1.2 < sharp["warn"] == -0.9
    assert checks["pen marks"]["verdict"] == "pass" and checks["distance to the training slides"]["value"] > 10
    good = {check["name"]: check for check in result(scored, "good")["checks"]}
    assert {check["verdict"] for check in good.values()} <= {"pass", "warn"}
    assert good["tiles at 10x"]["verdict"] == "warn", "8 tiles, as asked for"


def test_eligibility_withholds_flags_or_confirms(scored):
    table = rows(scored)
    assert "eligibility" not in table["good"]["quality"]
    assert table["unsaid"]["status"] == "scored" and table["unsaid"]["risk_class"]
    assert "eligibility not confirmed: organ not known" in table["unsaid"]["quality"]
    assert table["breast"]["status"] == "not_reportable" and table["breast"]["risk_class"] == ""
    assert "organ is breast" in table["breast"]["reason"]
    found = {name: result(scored, name) for name in ("good", "unsaid", "breast")}
    assert {name: value["eligibility"]["verdict"] for name, value in found.items()} == {
        "good": "confirmed", "unsaid": "not confirmed", "breast": "not eligible"
    }  # fmt: skip
    assert len({value["result_key"] for value in found.values()}) == 3, "the same content, and other results"
    assert found["breast"]["scores"]["10x"]["score"] == found["good"]["scores"]["10x"]["score"]


def test_an_override_keeps_the_class_and_is_recorded(bundle, slides, scored, tmp_path):
    call = ["score", f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *STREAM]
    assert cli.main([*call, "quality.policy=report", "quality.eligibility=report", "quality.limits.pen_fail=20"]) == 0
    table = rows(tmp_path / "out")
    assert table["blurred"]["status"] == "scored" and table["blurred"]["risk_class"]
    assert "quality failed, reported only: sharpness" in table["blurred"]["quality"]
    assert table["breast"]["status"] == "scored" and "not eligible, reported only: organ" in table["breast"]["quality"]
    assert table["blank"]["status"] == "scored", "its outline holds tiles"
    found = result(tmp_path / "out", "good")
    assert found["overrides"]["quality.policy"] == "report" and found["overrides"]["quality.limits.pen_fail"] == 20
    assert "override: quality.policy=report" in found["quality"]
    assert found["result_key"] != result(scored, "good")["result_key"]


@pytest.mark.slow
def test_a_service_may_require_that_eligibility_is_known(bundle, slides, scored, tmp_path):
    """Stricter than the bundle's rule: no override to warn of, and yet another result than under that rule."""
    call = ["score", f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *STREAM]
    cli.main([*call, "quality.eligibility=require"])
    table = rows(tmp_path / "out")
    assert (table["unsaid"]["status"], table["unsaid"]["risk_class"]) == ("not_reportable", "")
    assert "eligibility not confirmed: organ not known" in table["unsaid"]["reason"]
    found, usual = result(tmp_path / "out", "good"), result(scored, "good")
    assert found["risk_class"] == usual["risk_class"] and found["overrides"] == usual["overrides"]
    assert found["quality"] == usual["quality"] and found["result_key"] != usual["result_key"]


def test_real_slides_that_are_no_h_and_e_are_refused(bundle, tmp_path):
    ki67 = shared_data("wsi/ome_OS-2-ndpi_Ki67.ome.tif")
    call = ["score", f"ensemble={bundle}", *STREAM, f"slides={ki67}", "tumour_policy=tissue", f"out={tmp_path / 'out'}"]
    cli.main([*call, "slides.allow_upsampling=true"])
    row = rows(tmp_path / "out")["ome_OS-2-ndpi_Ki67"]
    assert row["status"] == "not_reportable" and "stain: red and blue over green" in row["reason"]


def write_svs(path, picture, label):
    """An Aperio file with a label and a macro image whose data are `label`, whatever they are."""
    h, w = picture.shape[:2]
    with tifffile.TiffWriter(path) as tiff:
        options = {"compression": "jpeg", "photometric": "rgb", "metadata": None}
        tiff.write(picture, tile=(256, 256), description=aperio_description(w, h, 0.25), **options)
        tiff.write(halved(halved(picture)), tile=(256, 256), description="Aperio", **options)
        for name, size, subfile in (("label", (160, 160), 1), ("macro", (160, 400), 9)):
            tiff.write(
                iter([label]),
                shape=(*size, 3),
                dtype=np.uint8,
                rowsperstrip=size[0],
                subfiletype=subfile,
                description=f"Aperio Image Library v11\n{name} {size[1]}x{size[0]}",
                **options,
            )


def test_labels_and_macro_images_are_never_read(bundle, tmp_path, slides):
    """They are damaged beyond reading here, and nothing notices."""
    openslide = pytest.importorskip("openslide")
    with open_slide(str(slides / "good.tif")) as slide:
        picture = slide.read_region(0, 0, 0, (slide.width, slide.height))
    write_svs(tmp_path / "labelled.svs", picture, b"\xff\xd8 not an image: MARY SMITH 1.2.1950")
    with openslide.OpenSlide(tmp_path / "labelled.svs") as slide:
        assert set(slide.associated_images) == {"label", "macro"}
        with pytest.raises(openslide.OpenSlideError):
            slide.associated_images["label"].load()
    for backend in ("openslide", "jpeg"):  # TiffSlide shows one of its two levels, and is refused
        with open_slide(str(tmp_path / "labelled.svs"), backend) as slide:
            assert slide.thumbnail(300).std() > 10
    call = ["score", f"slides={tmp_path / 'labelled.svs'}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *STREAM]
    assert cli.main([*call, "tumour_policy=tissue"]) == 0
    assert rows(tmp_path / "out")["labelled"]["status"] == "scored"
    texts = [path.read_bytes() for path in (tmp_path / "out" / "slides" / "labelled").iterdir()]
    assert len(texts) > 3 and not any(b"MARY" in text for text in texts)
