"""Outlines in and out."""

import json

import numpy as np
import pytest
import shapely
from shared_data import shared_data

from pathoprog.annotations import read_annotations, read_author, read_outline, write_outline
from pathoprog.errors import InputError


def test_hole_and_parts_survive_the_round_trip(tmp_path):
    ring = shapely.Polygon(shapely.box(0, 0, 100, 100).exterior, [shapely.box(20, 20, 40, 40).exterior])
    area = shapely.MultiPolygon([ring, shapely.box(200, 0, 250, 50)])
    write_outline(tmp_path / "a.geojson", area, name="S1")
    again = read_outline(tmp_path / "a.geojson")
    assert again.equals(area)
    feature = json.loads((tmp_path / "a.geojson").read_text())["features"][0]
    assert feature["properties"] == {"objectType": "annotation", "name": "S1", "classification": {"name": "Tumor"}}
    first = (tmp_path / "a.geojson").read_bytes()
    write_outline(tmp_path / "a.geojson", area, name="S1")
    assert (tmp_path / "a.geojson").read_bytes() == first


def test_imagescope_and_qupath_outlines_of_one_slide_agree_in_area():
    xml = read_annotations(shared_data("annotations/WSI_handling/TCGA-EJ-5519-01Z-00-DX1.xml"))
    geojson = read_annotations(shared_data("annotations/WSI_handling/TCGA-EJ-5519-01Z-00-DX1.json"))
    assert sorted(a.geometry.area for a in xml) == pytest.approx(sorted(a.geometry.area for a in geojson), rel=1e-6)
    assert max(a.geometry.area for a in xml) == pytest.approx(3050322256.4, rel=1e-6)  # as ImageScope states it
    overlap = xml[0].geometry.intersection(geojson[0].geometry).area
    assert overlap == pytest.approx(xml[0].geometry.area, rel=1e-5)


def test_asap_polygon_and_canvas_origin():
    path = shared_data("annotations/wsidicom/asap/asap-polygon.xml")
    (area,) = read_annotations(path)
    (shifted,) = read_annotations(path, origin=(1000, 500))
    assert area.geometry.area == pytest.approx(28617, rel=1e-3)
    assert shifted.geometry.bounds == pytest.approx(tuple(np.subtract(area.geometry.bounds, (1000, 500, 1000, 500))))


@pytest.mark.parametrize("name", ["point", "multipoint", "line", "polyline"])
def test_points_and_lines_are_no_areas(name):
    path = shared_data(f"annotations/wsidicom/qupath_geojson/qupath-{name}.json")
    assert read_annotations(path) == []
    with pytest.raises(InputError, match="no area"):
        read_outline(path)


def feature(x, label):
    properties = {"classification": {"name": label}} if label else {}
    return {
        "type": "Feature",
        "geometry": shapely.geometry.mapping(shapely.box(x, 0, x + 10, 10)),
        "properties": properties,
    }


def write(path, features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_classes_choose_the_outline(tmp_path):
    path = write(tmp_path / "a.geojson", [feature(0, "Tumor"), feature(20, "Stroma"), feature(5, "tumour")])
    assert read_outline(path).area == 150  # both spellings, overlap once
    assert read_outline(path, classes=["Stroma"]).bounds == (20, 0, 30, 10)
    with pytest.raises(InputError, match=r"no area of class Necrosis; classes in the file: Stroma, Tumor, tumour"):
        read_outline(path, classes=["Necrosis"])
    path = write(tmp_path / "b.geojson", [feature(0, "A"), feature(20, "B")])
    with pytest.raises(InputError, match=r"several classes \(A, B\)"):
        read_outline(path)
    assert read_outline(write(tmp_path / "c.geojson", [feature(0, ""), feature(20, "")])).area == 200


def test_cells_are_left_out_and_bow_ties_repaired(tmp_path):
    cell = feature(0, "Tumor")
    cell["properties"]["objectType"] = "cell"
    bow_tie = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]},
    }
    (area,) = read_annotations(write(tmp_path / "a.geojson", [cell, bow_tie]))
    assert area.geometry.is_valid
    assert area.geometry.area == pytest.approx(50)


def test_imagescope_negative_region_is_cut_out(tmp_path):
    def region(kind, negative, points):
        vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
        return f'<Region Type="{kind}" NegativeROA="{negative}"><Vertices>{vertices}</Vertices></Region>'

    square = [(0, 0), (100, 0), (100, 100), (0, 100)]
    hole = [(20, 20), (40, 20), (40, 40), (20, 40)]
    text = region(1, 0, square) + region(0, 1, hole) + region(2, 0, [(200, 0), (300, 100)])
    path = tmp_path / "a.xml"
    path.write_text(f'<Annotations><Annotation Name="Tumor"><Regions>{text}</Regions></Annotation></Annotations>')
    areas = [area.geometry.area for area in read_annotations(path)]
    assert areas == pytest.approx([9600, 7854], rel=1e-3)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"type": "FeatureCollection"}', "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><Annotations/>']
)
def test_other_files_are_refused_by_name(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json"):
        read_annotations(tmp_path / "a.json")


def test_who_corrected_an_outline_and_when(tmp_path):
    path = tmp_path / "o.geojson"
    write_outline(path, shapely.box(0, 0, 9, 9))
    assert read_author(path) == {"who": "", "when": ""}
    data = json.loads(path.read_text())
    data["who"] = "A"
    data["features"][0]["properties"] |= {"when": "2026-11-22", "metadata": {"who": "B"}}
    path.write_text(json.dumps(data))
    assert read_author(path) == {"who": "A; B", "when": "2026-11-22"}
    path.write_text("<xml/>")
    with pytest.raises(InputError, match="not a GeoJSON"):
        read_author(path)
