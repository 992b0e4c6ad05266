"""A bundle of three members at 20x beside METHOD's: pages, exports, cards and comparisons say what each has."""

import csv
import io
import json

import pytest
from made_bundle import made_bundle
from made_page import MadePage

from pathoprog.inference.service.outbound.exports import export_columns

CAUTION = "not METHOD's ensemble: 3 networks at 20x, where METHOD has 5 networks at 10x and 5 at 40x"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A is scored by both: poor at 20x, uncertain by METHOD's beside it."""
    folder = tmp_path_factory.mktemp("shapes")
    bundles = made_bundle(folder / "twenty", 64, members={"20x": 3}), made_bundle(folder / "methods", 64)
    page = MadePage(folder / "page", bundles)
    page.A = page.submit("A")
    page.score(risk_class="poor", scores=(0.7,), bundles=["colon"])
    page.score(bundles=["next"])
    page.start()
    yield page
    page.stop()


def test_the_page_has_one_ruler_with_as_many_dots_as_members(made):
    found = made.ask("GET", f"/v1/submissions/{made.A}/page").json
    assert found["said"] == "poor" and found["meaning"] == "The score lies at or above its threshold."
    (ruler,) = found["rulers"]
    assert (ruler["resolution"], len(ruler["dots"])) == ("20x", 3) and ruler["score"] == pytest.approx(0.7)
    assert "three members (circles)" in found["ruler_note"]
    assert CAUTION in [flag["text"] for flag in found["flags"]]
    assert "tiles at 20x" in {check["name"] for check in found["checks"]}
    beside = made.ask("GET", f"/v1/submissions/{made.A}/page?bundle=next").json
    assert sum(len(one["dots"]) for one in beside["rulers"]) == 10 and "five members" in beside["ruler_note"]
    assert beside["said"] == "uncertain" and not any("METHOD" in flag["text"] for flag in beside["flags"])


def test_its_tiles_and_script_are_of_its_resolution(made):
    tiles = made.ask("GET", f"/v1/submissions/{made.A}/strongest?n=2").json["tiles"]
    assert [one["resolution"] for one in tiles] == ["20x", "20x"]
    assert '"20x tile score"' in made.ask("GET", f"/v1/submissions/{made.A}/qupath").body.decode()
    assert '"10x tile score"' in made.ask("GET", f"/v1/submissions/{made.A}/qupath?bundle=next").body.decode()
    assert made.ask("GET", f"/v1/submissions/{made.A}/qupath?resolution=5x").status == 422


def test_the_bundle_says_what_it_is_and_compares_what_both_have(made):
    card = made.ask("GET", "/v1/bundles/colon/card").json
    assert card["caution"] == CAUTION and card["thresholds"].keys() == {"20x"}
    assert made.ask("GET", "/v1/bundles/next/card").json["caution"] == ""
    found = made.ask("GET", "/v1/bundles/colon/comparison?other=next").json
    assert found["table"] == {"poor": {"uncertain": 1}} and found["agree"] == 0
    assert found["slides"][0]["scores"].keys() == {"20x"} and found["slides"][0]["other_scores"].keys() == {
        "10x",
        "40x",
    }


def test_the_night_counts_the_classes_that_the_served_bundles_can_give(made, monkeypatch):
    found = made.ask("GET", "/v1/night").json
    assert found["possible_classes"] == ["good", "uncertain", "poor"] and found["classes"] == {"poor": 1}
    monkeypatch.delitem(made.service.plans, "next")
    assert made.ask("GET", "/v1/night").json["possible_classes"] == ["good", "poor"]


def test_an_export_has_the_columns_of_the_served_bundles(made, monkeypatch):
    rows = list(csv.DictReader(io.StringIO(made.ask("GET", "/v1/results").body.decode())))
    assert tuple(rows[0]) == export_columns(["10x", "20x", "40x"])
    assert float(rows[0]["score_20x"]) == pytest.approx(0.7) and rows[0]["score_10x"] == ""
    assert CAUTION in rows[0]["quality"]
    monkeypatch.delitem(made.service.plans, "next")
    lines = made.ask("GET", "/v1/results?format=jsonl").body.decode().splitlines()
    first = json.loads(lines[0])
    assert first["score_20x"] == pytest.approx(0.7) and first["n_tiles_20x"] == 12 and "score_10x" not in first
