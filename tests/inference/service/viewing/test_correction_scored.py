"""A correction from the reviewer's request to both results side by side, on a running service."""

import io
import json
import shutil
import stat

import numpy as np
import pytest
from made_bundle import made_bundle
from made_service import MadeService
from made_slides import texture, write_pyramid
from PIL import Image

from pathoprog.inference.service.records.audit_check import verify

pytestmark = pytest.mark.slow
WIDTH, HEIGHT = 700, 500


def geojson(left, top, right, bottom):
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A bundle whose tiles lie in given outlines, released; slide A with one."""
    folder = tmp_path_factory.mktemp("corrected")
    made = MadeService(folder / "service", made_bundle(folder / "bundle", 64, tumour_policy="outline"))
    outlines = folder / "outlines"
    outlines.mkdir()
    (outlines / "A.geojson").write_text(json.dumps(geojson(50, 50, 380, 450)))
    made.settings["bundles"][0]["outlines"] = str(outlines)
    write_pyramid(made.slides / "A.tif", texture(WIDTH, HEIGHT, seed=3, margin=20))
    made.start()
    made.ask("POST", "/v1/bundles/colon/release", role="admin")
    made.first = made.submit(made.listed()["A.tif"]).json["id"]
    assert made.ended(made.first)["state"] == "done"
    yield made
    made.stop()


def result(made, submission):
    return made.ask("GET", f"/v1/submissions/{submission}/result", role="reviewer").json["result"]


def test_a_corrected_outline_is_scored_beside_the_first_result(running):
    path = f"/v1/submissions/{running.first}/outline"
    before = (running.out / "colon" / "slides" / "A" / "result.json").read_bytes()
    edit = {"operation": "add", "ring": [[380, 50], [650, 50], [650, 450], [380, 450]]}
    answer = running.ask("POST", path, {"edits": [edit], "reason": "the right half was left out"}, role="reviewer")
    assert answer.status == 201, answer.body
    (told,) = answer.json["corrections"]
    assert (told["slide_id"], told["corrects"], told["submitted_by"]) == (
        "A (outline 1)",
        running.first,
        "the-reviewer",
    )
    assert running.ended(told["id"])["state"] == "done"
    first, corrected = result(running, running.first), result(running, told["id"])
    assert (running.out / "colon" / "slides" / "A" / "result.json").read_bytes() == before, "the first result stays"
    assert corrected["slide"]["tumour_area_um2"] == pytest.approx(first["slide"]["tumour_area_um2"] * 600 / 330)
    assert corrected["scores"]["40x"]["n_tiles"] > first["scores"]["40x"]["n_tiles"]
    assert corrected["slide"]["sha256"] == first["slide"]["sha256"] and corrected["result_key"] != first["result_key"]
    assert corrected["class_level"] == first["class_level"] == "patient", "it is no further slide of the patient"
    (file,) = (running.state / "outlines").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    patient = running.ask("GET", "/v1/patients/A?bundle=colon", role="reviewer").json
    assert [one["submission"] for one in patient["slides"]] == [told["id"]], "the corrected one counts"
    again = running.ask("POST", path, {"edits": [edit]}, role="reviewer")
    assert again.status == 200 and len(again.json["corrections"]) == 1
    log = (running.state / "audit.jsonl").read_text()
    assert (
        '"correction"' in log and "the right half was left out" in log and verify(running.state / "audit.jsonl").whole
    )


def test_the_maps_of_the_correction_are_its_own(running):
    (told,) = running.ask("GET", f"/v1/submissions/{running.first}/outline", role="viewer").json["corrections"]
    sizes = []
    for submission in (running.first, told["id"]):
        path = f"/v1/submissions/{submission}/view"
        assert running.ask("GET", path, role="viewer").json["width"] == WIDTH
        overlays = running.ask("GET", f"{path}/overlays", role="viewer").json
        assert overlays["outline"]
        png = running.ask("GET", f"{path}/maps/40x/score.png", role="viewer").body
        sizes.append(int((np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3] > 0).sum()))
    assert sizes[1] > sizes[0]


def test_an_outline_can_be_accepted_or_given_and_nonsense_is_refused(running):
    path = f"/v1/submissions/{running.first}/outline"
    accepted = running.ask("POST", path, {"accept": True}, role="reviewer")
    assert accepted.status == 200 and accepted.json["accepted"][0]["by"] == "the-reviewer"
    for body, status, said in (
        ({"geojson": geojson(5000, 5000, 6000, 6000)}, 409, "outside the slide"),
        ({"geojson": {"type": "Point", "coordinates": [1, 2]}}, 409, "area"),
        (
            {"edits": [{"operation": "subtract", "ring": [[0, 0], [700, 0], [700, 500], [0, 500]]}]},
            409,
            "nothing is left",
        ),
        ({"accept": True, "geojson": geojson(0, 0, 9, 9)}, 422, "one of them alone"),
        ({}, 422, "one of them alone"),
        ({"edits": [{"operation": "join", "ring": [[0, 0], [1, 0], [1, 1]]}]}, 422, "add"),
    ):
        answer = running.ask("POST", path, body, role="reviewer")
        assert answer.status == status and said in answer.body.decode(), (body, answer.body)
    for role in ("viewer", "evaluator", "operator"):
        assert running.ask("POST", path, {"accept": True}, role=role).status == 403
    deep = b'{"geojson": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    assert running.ask("POST", path, deep, role="reviewer").status in (400, 409, 422)
    many = geojson(0, 0, 9, 9) | {"note": "x" * (200 << 10)}
    assert running.ask("POST", path, {"geojson": many, "accept": True}, role="reviewer").status == 422, (
        "outlines are large"
    )
    assert running.ask("POST", path, b"{}", role="reviewer", Content_Length=str(5 << 20)).status == 413
    smaller = f"/v1/submissions/{running.first}/withdraw"
    assert running.ask("POST", smaller, b"{}", role="admin", Content_Length=str(1 << 20)).status == 413


def test_in_shadow_a_reviewer_neither_sees_nor_corrects_an_outline(running):
    running.ask("POST", "/v1/bundles/colon/withhold", role="admin")
    try:
        path = f"/v1/submissions/{running.first}/outline"
        assert running.ask("GET", path, role="reviewer").status == 403
        assert running.ask("POST", path, {"accept": True}, role="reviewer").status == 403
        assert running.ask("GET", path, role="admin").status == 200
    finally:
        running.ask("POST", "/v1/bundles/colon/release", role="admin")


def test_a_correction_outlives_a_restart(running):
    """What a correction was made with is kept with the submission: its file is written again."""
    shutil.rmtree(running.state / "outlines")
    path = f"/v1/submissions/{running.first}/outline"
    given = running.ask("POST", path, {"geojson": geojson(60, 60, 600, 440)}, role="admin")
    assert given.status == 201, given.body
    new = given.json["corrections"][-1]["id"]
    assert running.ended(new)["state"] == "done"
    running.stop()
    running.start()
    told = running.ask("GET", path, role="admin").json
    assert [one["slide_id"] for one in told["corrections"]] == ["A (outline 1)", "A (outline 2)"]
    assert running.ask("GET", f"/v1/submissions/{new}", role="admin").json["corrects"] == running.first
