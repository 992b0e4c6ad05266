"""Outlines in and out."""

import json
import time

import numpy as np
import pytest
import shapely
from shared_data import shared_data

from pathoprog.errors import InputError
from pathoprog.regions.annotations import read_annotations, read_author, read_outline, write_outline


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
    with pytest.raises(InputError, match="not GeoJSON"):
        read_author(path)


SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]


def one_feature(geometry):
    properties = {"objectType": "annotation", "classification": {"name": "Tumor"}}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def collection(*parts):
    return {"type": "GeometryCollection", "geometries": list(parts)}


def nested(depth):
    shape = polygon(SQUARE)
    for _ in range(depth):
        shape = collection(shape)
    return shape


POINT = {"type": "Point", "coordinates": [5, 5]}


@pytest.mark.parametrize(
    ("geometry", "area"),
    [
        (collection(polygon(SQUARE), POINT), 10_000),
        (collection(polygon(SQUARE), collection(polygon([[50, 50], [150, 50], [150, 150], [50, 150]]))), 17_500),
        (nested(8), 10_000),
        (polygon(SQUARE[:4]), 10_000),  # not closed
        (polygon(SQUARE, [[50, 50], [150, 50], [150, 80], [50, 80]]), 10_000 - 1_500 + 1_500),  # a hole that leads out
        (polygon([[0, 0, 5], [100, 0, 5], [100, 100, 5], [0, 100, 5]]), 10_000),  # three dimensions
        (polygon(SQUARE, [[3, 3], [3, 3], [3, 3]], [[1, 1], [2, 2]], []), 10_000),  # holes without area
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [[[0, 0], [9, 9], [0, 0]]]]}, 10_000),
    ],
)
def test_odd_shapes_are_read_or_repaired(tmp_path, geometry, area):
    (tmp_path / "a.geojson").write_text(one_feature(geometry))
    assert read_outline(tmp_path / "a.geojson").area == pytest.approx(area)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            one_feature(polygon([[0, 0], [1e308, 0], [1e308, 1e308], [0, 0]])),
            r"a coordinate is 1e\+308, beyond",
        ),
        (one_feature(polygon([[0, 0], [-2e7, 0], [5, 5], [0, 0]])), r"a coordinate is 2e\+07, beyond any slide"),
        (one_feature(polygon(SQUARE)).replace("100", "1e400", 1), "a coordinate is not a finite number"),
        (one_feature(polygon(SQUARE)).replace("100", "NaN", 1), "a coordinate is not a finite number"),
        (one_feature(polygon(SQUARE)).replace("100", "1" + "0" * 400, 1), "not lists of numbers"),
        (one_feature(polygon(SQUARE)).replace("100", '"100"', 1), "not lists of numbers"),
        (
            one_feature(polygon(SQUARE)).replace("100", "{}", 1),
            "not lists of n",
        ),
        (one_feature(polygon(SQUARE)).replace("[100, 0]", "[[100, 0], [1]]"), "not lists of numbers"),
        (one_feature({"type": "Polygon", "coordinates": SQUARE}), "not lists of numbers"),
        (one_feature({"type": "Polygon", "coordinates": None}), "a Polygon without its parts"),
        (one_feature({"type": "Polygon"}), "a Polygon without its parts"),
        (one_feature({"type": "MultiPolygon", "coordinates": [5]}), "a MultiPolygon without its parts"),
        (one_feature({"type": "Circle", "coordinates": [5, 5], "radius": 3}), "JSON, and not GeoJSON"),
        (one_feature("POLYGON((0 0, 1 1, 1 0, 0 0))"), "JSON, and not GeoJSON"),
        (one_feature(nested(9)), "collections inside collections, more than 8 deep"),
        ("[" * 100_000, "nested far deeper than GeoJSON is: export the outline as GeoJSON"),
        ('{"a":' * 100_000, "nested far deeper"),
        ('{"type": "FeatureCollection", "features": ' + "[" * 90_000 + "]" * 90_000 + "}", "nested far deeper"),
        ("[" + "[]," * 4_000_001 + "[]]", "more than 4,000,000 points"),
        ("", "an empty file: export the outline"),
        ("   \n", "an empty file"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geom', r"cut off, or not GeoJSON.*line 1"),
        ("null", "JSON, and not GeoJSON"),
        ("5", "JSON, and not GeoJSON"),
        ("[[1, 2], [3, 4]]", "JSON, and not GeoJSON"),
        ("{}", "JSON, and not GeoJSON"),
        ('{"type": "FeatureCollection", "features": {"a": 1}}', "JSON, and not GeoJSON"),
        ("<Annotations><Annotation><Regions></Annotations>", "damaged XML .line 1."),
        ('<?xml version="1.0" encoding="klingon"?><Annotations/>', "damaged XML"),
    ],
)
def test_what_no_slide_can_hold_is_refused_at_once_in_one_sentence(tmp_path, text, said):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    begun = time.monotonic()
    with pytest.raises(InputError, match=said) as caught:
        read_outline(path)
    assert time.monotonic() - begun < 5
    plain = str(caught.value).removeprefix(f"{path}: ")
    assert "\n" not in plain and "Error" not in plain and "/" not in plain.replace("(QuPath: File > ", "")


def test_a_tangle_is_refused_at_once_and_a_few_crossings_are_repaired(tmp_path):
    path = tmp_path / "a.geojson"
    rng = np.random.default_rng(0)
    path.write_text(one_feature(polygon(rng.uniform(0, 1000, (6000, 2)).round(1).tolist())))
    begun = time.monotonic()
    with pytest.raises(InputError, match="crosses itself more than 1,000 times"):
        read_outline(path)
    assert time.monotonic() - begun < 10
    path.write_text(one_feature(polygon(rng.uniform(0, 1000, (60, 2)).round(1).tolist())))
    assert read_outline(path).is_valid and read_outline(path).area > 1000
    triangles = [polygon(corners) for corners in rng.uniform(0, 1000, (3000, 3, 2)).round(1).tolist()]
    path.write_text(json.dumps([{"type": "Feature", "geometry": shape, "properties": {}} for shape in triangles]))
    begun = time.monotonic()
    with pytest.raises(InputError, match="its areas cross each other more than 200,000 times"):
        read_outline(path)
    assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_a_large_outline_is_read_and_one_of_millions_of_points_is_not(tmp_path):
    path = tmp_path / "a.geojson"
    angle = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    radius = 40_000 + 500 * np.sin(angle * 4_000)
    ring = np.stack([radius * np.cos(angle) + 50_000, radius * np.sin(angle) + 50_000], axis=1).round(2)
    path.write_text(one_feature(polygon(ring.tolist())))
    begun = time.monotonic()
    assert read_outline(path).area == pytest.approx(np.pi * 40_000**2, rel=0.01)
    assert time.monotonic() - begun < 20
    one = "[1,2]," * 2_000_001
    path.write_text('{"type": "Polygon", "coordinates": [[' + one + "[3,4]]]}")
    with pytest.raises(InputError, match="more than 2,000,000 points in its areas"):
        read_outline(path)


HALO = (
    '<Annotations><Annotation LineColor="65535" Name="Tumor" Visible="True"><Regions><Region Type="Polygon" '
    'HasEndcaps="0" NegativeROA="0"><Vertices><V X="1" Y="2"/><V X="9" Y="2"/><V X="9" Y="9"/></Vertices></Region>'
    "</Regions></Annotation></Annotations>"
)
NDPA = (
    '<?xml version="1.0"?><annotations><ndpviewstate id="1"><title>Tumor</title><annotation type="freehand">'
    "<pointlist><point><x>1</x><y>2</y></point></pointlist></annotation></ndpviewstate></annotations>"
)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.annotations", HALO, "HALO"),
        ("a.xml", HALO, "HALO"),
        ("a.ndpa", NDPA, "NDP.view"),
        ("a.xml", NDPA.encode("utf-16"), "NDP.view"),
        ("a.mld", b"MLD\1\0\0\0", "Visiopharm"),
        ("a.json", {"images": [], "annotations": [], "categories": []}, "COCO"),
        ("a.json", {"annotations": [{"type": "polygon", "points": [{"x": 1.5, "y": 2}]}]}, "Sectra"),
        ("a.json", {"slideId": "1", "result": {"content": {"polygons": [{"points": [{"X": 1, "Y": 2}]}]}}}, "Sectra"),
        ("a.json", [{"geometry": {"coordinates": [{"x": 1, "y": 2}]}}], "Sectra"),
        ("a.json", [{"location": "POLYGON((0 0,1 1,1 0,0 0))", "project": 5, "term": []}], "Cytomine"),
        ("a.json", {"collection": [{"location": "POLYGON((0 0,1 1))"}], "size": 1}, "Cytomine"),
        ("a.json", {"@type": "http://www.openmicroscopy.org/Schemas/OME/2016-06#ROI", "shapes": []}, "OMERO"),
        ("a.json", [{"@type": "http://www.openmicroscopy.org/Schemas/OME/2016-06#Polygon"}], "OMERO"),
        ("a.xml", '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><ROI/></OME>', "OMERO"),
        ("a.json", {"name": "Tumor", "elements": [{"type": "polyline", "points": [[1, 2, 0]]}]}, "HistomicsUI"),
        ("a.json", [{"_id": "5", "annotation": {"name": "T", "elements": []}}], "HistomicsUI"),
        ("a.json", {"shapes": [], "imagePath": "a.png", "version": "5"}, "labelme"),
        ("a.json", {"a.png12": {"filename": "a.png", "regions": []}}, "VIA"),
        ("a.json", [{"id": 1, "data": {"image": "a"}, "annotations": []}], "Label Studio"),
        ("a.csv", '"index","shape-type","vertex-index","axis-0","axis-1"\n0,polygon,0,1.0,2.0\n', "napari"),
        ("a.geojson", "x,y\n1,2\n", "a table"),
        ("a.sqlite", b"SQLite format 3\0" + bytes(90), "SlideRunner"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(90), "DICOM"),
        ("a.zip", b"PK\3\4" + bytes(90), "archive"),
        ("a.png", b"\x89PNG\r\n" + bytes(90), "PNG"),
        ("a.qpdata", b"\xac\xed\0\5" + bytes(90), "qpdata"),
        ("a.roi", b"Iout" + bytes(90), "ImageJ"),
        ("a.wkt", "POLYGON((0 0, 1 1, 1 0, 0 0))", "WKT"),
        ("a.xml", "<annotations><meta/><image/></annotations>", "CVAT"),
        ("a.xml", "<a/>", "XML of another program"),
        ("a.json", bytes(range(256)), "neither UTF-8 text nor a format that is known"),
    ],
)
def test_other_programs_files_are_called_by_their_names(tmp_path, name, data, said):
    text = data if isinstance(data, bytes | str) else json.dumps(data)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said) as caught:
        read_annotations(tmp_path / name)
    assert "export" in str(caught.value) and "\n" not in str(caught.value)


def test_a_real_dicom_file_is_called_by_its_name():
    path = shared_data("annotations/highdicom/seg_image_sm_dots_tiled_full.dcm")
    with pytest.raises(InputError, match="DICOM"):
        read_annotations(path)


def test_folders_and_pipes_are_no_outlines(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.geojson")
    for name, said in (("pipe.geojson", "a pipe or device"), ("", "a folder")):
        with pytest.raises(InputError, match=said):
            read_outline(tmp_path / name)


def test_ignored_areas_are_no_tumour(tmp_path):
    both = write(tmp_path / "a.geojson", [feature(0, "Tumor"), feature(50, "Ignore*")])
    assert read_outline(both).area == 100
    with pytest.raises(InputError, match=r"no area; classes in the file: Ignore\*"):
        read_outline(write(tmp_path / "b.geojson", [feature(0, "Ignore*")]))


def test_a_label_that_a_terminal_would_run_is_shown_as_text(tmp_path):
    path = write(tmp_path / "a.geojson", [feature(0, "A\x1b[2J"), feature(20, "B")])
    with pytest.raises(InputError, match=r"A\\x1b\[2J, B"):
        read_outline(path)
