"""The names of annotation formats that are not read, by what their files look like: a user then knows what to export.

Sources: the exporters' own documents and public readers of them (NDP.view's ndpa, Indica's .annotations, Visiopharm's
.mld, DICOM supplement 222, COCO, VIA, labelme, Label Studio, HistomicsUI, Cytomine, OMERO, SlideRunner, napari).
"""

from typing import Any
from xml.etree import ElementTree

EXPORT = "export the outline as GeoJSON (QuPath: File > Export objects as GeoJSON)"
MAGIC = (
    (b"SQLite format 3\0", "a database (SlideRunner, TIAToolbox)"),
    (b"\xac\xed\x00\x05", "QuPath's own data (.qpdata)"),
    (b"Iout", "an ImageJ region (.roi)"),
    (b"PK\x03\x04", "an archive (zip: ImageJ's RoiSet, Excel, compressed GeoJSON)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"\x89PNG", "a picture (PNG), a mask perhaps"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"II*\0", "a picture (TIFF), a mask perhaps"),
    (b"MM\0*", "a picture (TIFF), a mask perhaps"),
    (b"II+\0", "a picture (TIFF), a mask perhaps"),
    (b"%PDF", "a PDF"),
    (b"\x89HDF", "HDF5 (Ilastik, CLAM's patches)"),
    (b"PAR1", "a Parquet table"),
)
SUFFIXES = {
    ".mld": "Visiopharm's annotations (.mld)",
    ".qpdata": "QuPath's own data (.qpdata)",
    ".ndpa": "NDP.view's annotations (.ndpa)",
    ".annotations": "HALO's annotations",
}
OWN_TYPES = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection")
POINTS_XY = "Sectra's JSON, or another viewer's with points as x and y"
XML_ROOTS = {
    "OME": "OME-XML (OMERO, Bio-Formats)",
    "ROI": "OME-XML (OMERO)",
    "svg": "an SVG drawing",
    "kml": "KML",
    "annotation": "Pascal VOC",
    "GraphicsDocument": "ZEN's graphics (Zeiss)",
    "session": "Sedeen's annotations",
    "DataObject": "Philips's XML",
    "root": "Icy's regions",
    "html": "a web page",
}


def of_bytes(data: bytes, suffix: str) -> str:
    """The format of a file that is neither JSON nor XML, by its first bytes or its name; "" where it is not known."""
    if data[128:132] == b"DICM":
        return "DICOM (annotations, structured report or segmentation; Sectra exports such)"
    for start, name in MAGIC:
        if data.startswith(start):
            return name
    if suffix.lower() in SUFFIXES:
        return SUFFIXES[suffix.lower()]
    if data[:7].upper() in (b"POLYGON", b"MULTIPO"):
        return "well-known text (WKT)"
    header = data[:200].replace(b'"', b"").lower()
    if b"shape-type" in header and b"axis-0" in header:
        return "napari's table of shapes"
    if (
        b"\n" in data[:4000]
        and any(mark in header.split(b"\n")[0] for mark in (b",", b";", b"\t"))
        and b"{" not in header
    ):
        return "a table"
    return ""


def of_xml(root: ElementTree.Element) -> str:
    """The format of an XML file that is neither ASAP's nor ImageScope's; "" where it is not known."""
    tag = root.tag.rpartition("}")[2]
    if tag == "annotations" and root.find(".//ndpviewstate") is not None:
        return "NDP.view's annotations (.ndpa, in nm from the slide's centre)"
    if root.find("ndpviewstate") is not None or tag == "ndpviewstate":
        return "NDP.view's annotations (.ndpa, in nm from the slide's centre)"
    if tag == "annotations":
        return "CVAT's XML" if root.find("image") is not None or root.find("meta") is not None else ""
    return XML_ROOTS.get(tag, "")


def is_halo(root: ElementTree.Element) -> bool:
    """Whether an XML file with ImageScope's root is HALO's: it names its types, and its points are `V`."""
    types = {region.get("Type", "") for region in root.iterfind("./Annotation/Regions/Region")}
    return root.find(".//Vertices/V") is not None or bool(types & {"Polygon", "Rectangle", "Ellipse", "Ruler", "Pin"})


def of_json(data: Any) -> str:
    """The format of JSON that is no GeoJSON; "" where it is not known."""
    if isinstance(data, list):
        first = next((item for item in data if isinstance(item, dict)), {})
        return _of_list(first) or (POINTS_XY if _has_xy_points(first, 6) else "")
    if not isinstance(data, dict) or data.get("type") in OWN_TYPES:
        return ""
    for keys, name in JSON_KEYS:
        if keys <= data.keys():
            return name
    if any("sectra" in str(value).lower() for value in data.values() if isinstance(value, str)):
        return "Sectra's JSON"
    if _has_xy_points(data, 6):
        return POINTS_XY
    inner = next((item for item in data.values() if isinstance(item, dict)), {})
    if {"regions", "filename"} <= inner.keys():
        return "VIA's JSON (VGG Image Annotator)"
    listed = next((item for item in data.values() if isinstance(item, list) and item and isinstance(item[0], dict)), [])
    return _of_list(listed[0]) if listed else ""


def _has_xy_points(value: Any, depth: int) -> bool:
    """Whether a list of points in a value are objects of x and y; the first of each list stands for all."""
    if isinstance(value, dict):
        keys = {str(key).lower() for key in value}
        return ({"x", "y"} <= keys and len(keys) <= 3) or (
            depth > 0 and any(_has_xy_points(item, depth - 1) for item in list(value.values())[:50])
        )
    return isinstance(value, list) and bool(value) and depth > 0 and _has_xy_points(value[0], depth - 1)


def _of_list(first: dict[str, Any]) -> str:
    for keys, name in LIST_KEYS:
        if keys <= first.keys():
            return name
    if "openmicroscopy" in str(first.get("@type", "")):
        return "OMERO's JSON"
    return ""


JSON_KEYS: tuple[tuple[set[str], str], ...] = (
    ({"images", "annotations", "categories"}, "COCO"),
    ({"_via_img_metadata"}, "VIA's JSON (VGG Image Annotator)"),
    ({"shapes", "imagePath"}, "labelme's JSON"),
    ({"annotation", "annotationId"}, "HistomicsUI's JSON (Digital Slide Archive)"),
    ({"annotation", "_id"}, "HistomicsUI's JSON (Digital Slide Archive)"),
    ({"elements", "name"}, "HistomicsUI's JSON (Digital Slide Archive)"),
    ({"objects", "size"}, "Supervisely's JSON"),
    ({"item", "annotations"}, "Darwin's JSON (V7)"),
    ({"collection", "size"}, "Cytomine's JSON"),
    ({"@type"}, "OMERO's JSON"),
    ({"rois"}, "OMERO's JSON"),
    ({"sectra"}, "Sectra's JSON"),
    ({"slideId", "annotations"}, "Sectra's JSON, or another viewer's"),
    ({"type", "arcs"}, "TopoJSON"),
    ({"type", "objects"}, "TopoJSON"),
)
LIST_KEYS: tuple[tuple[set[str], str], ...] = (
    ({"annotations", "data"}, "Label Studio's JSON"),
    ({"location", "project"}, "Cytomine's JSON"),
    ({"location", "term"}, "Cytomine's JSON"),
    ({"annotation", "_id"}, "HistomicsUI's JSON (Digital Slide Archive)"),
    ({"annotation", "name"}, "HistomicsUI's JSON (Digital Slide Archive)"),
    ({"External ID"}, "Labelbox's JSON"),
    ({"vector", "annotation_type"}, "SlideRunner's JSON (EXACT)"),
    ({"shape-type"}, "napari's shapes"),
    ({"shape_type", "data"}, "napari's shapes"),
    ({"geometry", "slideId"}, "Sectra's JSON, or another viewer's"),
)
