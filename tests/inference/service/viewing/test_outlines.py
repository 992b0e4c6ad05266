"""Corrected outlines: drawn changes give the area that was meant, and what cannot be used is refused in words."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely

from pathoprog.errors import InputError, SlideError
from pathoprog.inference.service.viewing.outlines import (
    DrawnArea,
    changed_outline,
    corrected_outline_of,
    given_area,
)
from pathoprog.regions.annotations import TUMOUR_CLASS, Annotation, annotations_json, read_author, read_outline
from pathoprog.scoring.slide_result import SlideRecord

NOW = datetime(2026, 12, 2, 12, tzinfo=UTC)
SLIDE = SlideRecord(
    sha256="", width=1000, height=800, mpp_x=0.25, mpp_y=0.25, vendor="aperio", backend="openslide", objective=None,
    warnings=(), region_source="network", tissue_area_um2=1.0, tumour_area_um2=1.0,
)  # fmt: skip


def box(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


@pytest.fixture
def first(tmp_path):
    """A result's outline of 200 x 200 px, as it lies in a slide's folder."""
    path = tmp_path / "tumour.geojson"
    square = shapely.MultiPolygon([shapely.box(100, 100, 300, 300)])
    path.write_text(annotations_json([Annotation(square, TUMOUR_CLASS)], "S: network"))
    return path


def test_areas_are_added_and_cut_out_in_their_order(first):
    outline = changed_outline(first, [DrawnArea("add", box(300, 100, 400, 300))])
    assert outline.area == 300 * 200 and len(outline.geoms) == 1
    outline = changed_outline(
        first, [DrawnArea("subtract", box(150, 150, 250, 250)), DrawnArea("add", box(600, 600, 700, 700))]
    )
    assert outline.area == 200 * 200 - 100 * 100 + 100 * 100 and len(outline.geoms) == 2
    assert any(len(polygon.interiors) == 1 for polygon in outline.geoms), "a hole"
    there_and_gone = [DrawnArea("add", box(300, 0, 400, 100)), DrawnArea("subtract", box(300, 0, 400, 100))]
    assert changed_outline(first, there_and_gone).area == 200 * 200
    assert changed_outline(first, there_and_gone[::-1]).area == 200 * 200 + 100 * 100


def test_an_outline_that_a_network_left_empty_can_be_drawn(tmp_path):
    path = tmp_path / "tumour.geojson"
    path.write_text(annotations_json([], "S: network"))
    assert changed_outline(path, [DrawnArea("add", box(0, 0, 10, 10))]).area == 100
    assert changed_outline(path, [DrawnArea("subtract", box(0, 0, 10, 10))]).is_empty


@pytest.mark.parametrize(
    ("ring", "said"),
    [
        ([(0, 0), (10, 10), (0, 0)], "fewer than three corners"),
        ([(0, 0), (10, 10), (20, 20)], "encloses nothing"),
        (np.random.default_rng(0).uniform(0, 900, (3000, 2)).tolist(), "crosses itself more than"),
        ([(0, 0), (10, float("nan")), (20, 20)], "not a finite number"),
    ],
)
def test_what_is_no_area_is_refused(first, ring, said):
    with pytest.raises(InputError, match=f"drawn area 2: .*{said}"):
        changed_outline(first, [DrawnArea("add", box(0, 0, 10, 10)), DrawnArea("add", ring)])


def test_a_figure_of_eight_is_two_areas(first):
    eight = [(400, 400), (500, 500), (500, 400), (400, 500)]
    assert changed_outline(first, [DrawnArea("add", eight)]).area == 200 * 200 + 5000


def test_a_given_outline_is_read_as_any_other(tmp_path):
    polygon = {"type": "Polygon", "coordinates": [[*box(0, 0, 50, 40), (0, 0)]]}
    assert given_area(polygon, tmp_path).area == 2000
    with pytest.raises(InputError, match="COCO") as caught:
        given_area({"images": [], "annotations": [], "categories": []}, tmp_path)
    assert str(tmp_path) not in str(caught.value) and not list(tmp_path.iterdir())


def test_what_is_kept_says_who_and_when_and_lies_on_its_slide(tmp_path):
    outline = shapely.MultiPolygon([shapely.box(900, 0, 1001, 100)])
    found = corrected_outline_of(outline, SLIDE, "S", "dr-lind", NOW)
    path = tmp_path / "kept.geojson"
    path.write_text(found.geojson)
    assert read_outline(path).equals(shapely.box(900, 0, 1000, 100)) and found.area_px == 100 * 100
    assert read_author(path) == {"who": "dr-lind", "when": "2026-12-02T12:00:00+00:00"}
    assert "esearch use only" in json.loads(found.geojson)["note"]
    later = corrected_outline_of(outline, SLIDE, "S", "dr-berg", datetime(2026, 12, 3, tzinfo=UTC))
    assert later.sha256 == found.sha256 and later.geojson != found.geojson, "the same area is the same correction"


def test_an_outline_of_another_slide_or_of_nothing_is_refused():
    with pytest.raises(SlideError, match="lies outside the slide"):
        corrected_outline_of(shapely.MultiPolygon([shapely.box(2000, 0, 2100, 100)]), SLIDE, "S", "me", NOW)
    with pytest.raises(InputError, match="nothing is left"):
        corrected_outline_of(shapely.MultiPolygon(), SLIDE, "S", "me", NOW)
