"""Outlines drawn on slides: QuPath GeoJSON, ASAP XML and Aperio ImageScope XML in; QuPath GeoJSON out."""

import json
import re
import stat
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping

from pathoprog.errors import InputError
from pathoprog.regions import annotation_formats
from pathoprog.regions.annotation_formats import EXPORT
from pathoprog.regions.outline_checks import (
    MAX_CROSSINGS,
    MAX_POINTS,
    MAX_UNION_CROSSINGS,
    check_crossings,
    checked_points,
    ring_points,
)
from pathoprog.system.files import write_text
from pathoprog.text.plain_text import printable

TUMOUR_CLASS = "Tumor"  # QuPath's own name
MAX_BYTES = 256 * 2**20
FORMATS = "GeoJSON, ASAP or ImageScope annotations"
MAX_DEPTH = 8  # of collections of shapes inside each other
NO_AREAS = ("Point", "MultiPoint", "LineString", "MultiLineString")
GEOMETRIES = (*NO_AREAS, "Polygon", "MultiPolygon", "GeometryCollection")
NO_OUTLINES = ("cell", "detection", "tile", "tmaCore")  # QuPath object types that nobody drew as a region

Points = NDArray[np.float64]  # [n, 2], level-0 px


@dataclass(frozen=True)
class Annotation:
    """One drawn area: a polygon with holes, level-0 px, and the class it was given ("" for none)."""

    geometry: shapely.MultiPolygon
    label: str


def read_annotations(path: str | Path, origin: tuple[int, int] = (0, 0)) -> list[Annotation]:
    """Read the areas of an annotation file; points and lines are left out.

    Args:
        path: QuPath GeoJSON (``.geojson``, ``.json``), ASAP or ImageScope ``.xml``.
        origin: `SlideFacts.origin_x`, `origin_y`. ASAP and ImageScope count from the corner of a format's canvas,
            QuPath and this project from the scanned area's.

    Returns:
        Valid polygons in level-0 px. ImageScope's negative regions are cut out of their layer.

    Raises:
        InputError: no such file, not one of the formats (another program's is called by its name), too large, or of
            coordinates that no slide has.
    """
    path = Path(path)
    data = file_bytes(path)
    try:
        if _is_xml(data):
            found = [
                Annotation(shapely.transform(item.geometry, lambda xy: xy - np.array(origin)), item.label)
                for item in _read_xml(data)
            ]
        else:
            found = list(_read_geojson(_json(data, path.suffix)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (shapely.GEOSException, FloatingPointError) as error:
        raise InputError(f"{path}: its lines cannot be joined to areas: draw them anew") from error
    return [item for item in found if not item.geometry.is_empty]


def file_bytes(path: str | Path) -> bytes:
    """The bytes of an annotation file.

    Raises:
        InputError: no such file, none that may be read, or too large.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode) or not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise InputError(
                f"{path}: a {'folder' if path.is_dir() else 'pipe or device'}, no annotation file: {EXPORT}"
            )
        if status.st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB, no annotation file: {EXPORT}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def read_outline(
    path: str | Path, classes: Sequence[str] = (), origin: tuple[int, int] = (0, 0)
) -> shapely.MultiPolygon:
    """Read the outline of the tumour: the union of the areas of some classes.

    Args:
        path: as `read_annotations`.
        classes: classes that count. Empty: those named tumor or tumour if there are any, else all, provided the file
            has one class only.
        origin: as `read_annotations`.

    Returns:
        Polygons in level-0 px.

    Raises:
        InputError: as `read_annotations`; also if the file has no area of the classes, or several classes and none
            was chosen.
    """
    areas = read_annotations(path, origin)
    labels = sorted({area.label for area in areas})
    shown = ", ".join((printable(label)[:40] or "(none)") for label in labels[:10])
    shown += f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    if classes:
        chosen = [area for area in areas if area.label in classes]
    else:
        chosen = [area for area in areas if re.match(r"tumou?r\b", area.label, re.IGNORECASE)]
        if not chosen and len(labels) > 1:
            raise InputError(f"{path}: several classes ({shown}) and none is called Tumor: say which count")
        chosen = chosen or [area for area in areas if not re.match(r"ignore\b", area.label, re.IGNORECASE)]
    if not chosen:
        wanted = f" of class {', '.join(classes)}" if classes else ""
        raise InputError(f"{path}: no area{wanted}; classes in the file: {shown or 'no areas at all'}")
    try:
        if len(chosen) > 1:
            lines = [shapely.get_coordinates(ring) for area in chosen for ring in _rings(area.geometry)]
            check_crossings(lines, MAX_UNION_CROSSINGS, "its areas cross each other")
        return polygons(shapely.union_all([area.geometry for area in chosen]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except shapely.GEOSException as error:
        raise InputError(f"{path}: its areas cannot be joined: draw them anew") from error


def write_outline(
    path: str | Path, geometry: shapely.Polygon | shapely.MultiPolygon, name: str = "", label: str = TUMOUR_CLASS
) -> None:
    """Write one area as GeoJSON that QuPath opens (drag it onto the slide).

    Args:
        path: the file to write.
        geometry: polygons in level-0 px.
        name: shown in QuPath's list.
        label: its class.
    """
    write_annotations(path, [Annotation(polygons(geometry), label)], name)


def write_annotations(path: str | Path, annotations: Sequence[Annotation], name: str = "") -> None:
    """Write areas as QuPath GeoJSON; equal input gives equal bytes."""
    write_text(path, annotations_json(annotations, name))


def annotations_json(annotations: Sequence[Annotation], name: str = "", **more: str) -> str:
    """Areas as the text of a QuPath GeoJSON file; `more` is said of the whole file."""
    features = []
    for item in annotations:
        parts = list(item.geometry.geoms)
        geometry = mapping(parts[0] if len(parts) == 1 else item.geometry)
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}|{item.label}|{item.geometry.wkt}")
        properties: dict[str, Any] = {"objectType": "annotation"}
        if name:
            properties["name"] = name
        if item.label:
            properties["classification"] = {"name": item.label}
        features.append({"type": "Feature", "id": str(identity), "geometry": geometry, "properties": properties})
    collection = {"type": "FeatureCollection", **more, "features": features}
    return json.dumps(collection, ensure_ascii=False) + "\n"


def read_author(path: str | Path) -> dict[str, str]:
    """Who drew an outline and when, as far as its GeoJSON says.

    Looked for in the file's own members, its features' properties and QuPath's `metadata` of them.

    Returns:
        ``who`` and ``when``; empty where not said, several joined by "; ".

    Raises:
        InputError: no such file, or no JSON in it.
    """
    try:
        data = _json(file_bytes(path), Path(path).suffix)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    places = [data] if isinstance(data, dict) else []
    features = data.get("features", [data]) if isinstance(data, dict) else data
    for feature in features if isinstance(features, list) else []:
        properties = feature.get("properties") if isinstance(feature, dict) else None
        if isinstance(properties, dict):
            places += [properties, *(properties[key] for key in ("metadata",) if isinstance(properties.get(key), dict))]

    def said(key: str) -> str:
        found = dict.fromkeys(str(place[key]).strip() for place in places if place.get(key))
        return "; ".join(name for name in found if name)

    return {"who": said("who"), "when": said("when")}


def _is_xml(data: bytes) -> bool:
    return data.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"<")


def _json(data: bytes, suffix: str) -> Any:
    """A JSON file's value.

    Raises:
        InputError: no JSON, nested without end, or of more points than are taken.
    """
    name = annotation_formats.of_bytes(data, suffix)
    if name:
        raise InputError(f"{name}, which is not read: {EXPORT}")
    if not data.strip():
        raise InputError(f"an empty file: {EXPORT}")
    if data.count(b"[") > 2 * MAX_POINTS:
        raise InputError(f"more than {2 * MAX_POINTS:,} points: export the tumour's outline alone, or simplify it")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise InputError(f"nested far deeper than GeoJSON is: {EXPORT}") from None
    except UnicodeDecodeError:
        raise InputError(f"neither UTF-8 text nor a format that is known: {EXPORT}") from None
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"cut off, or not {FORMATS}{where}: {EXPORT}") from None


def _read_geojson(data: Any) -> Iterator[Annotation]:
    foreign = annotation_formats.of_json(data)
    if foreign:
        raise InputError(f"{foreign}, which is not read: {EXPORT}")
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        features = data.get("features")
    elif isinstance(data, dict):
        features = [data if data.get("type") == "Feature" else {"type": "Feature", "geometry": data}]
    else:
        features = data
    if not isinstance(features, list) or not all(
        isinstance(feature, dict) and "geometry" in feature for feature in features
    ):
        raise InputError(f"JSON, and not GeoJSON: {EXPORT}")
    n_points = 0
    for feature in features:
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        kind = properties.get("objectType") or properties.get("object_type")
        if kind in NO_OUTLINES or feature["geometry"] is None:
            continue
        areas = list(_areas(feature["geometry"]))
        n_points += sum(len(ring) for area in areas for ring in area)
        if n_points > MAX_POINTS:
            raise InputError(f"more than {MAX_POINTS:,} points in its areas: simplify the outline")
        yield Annotation(_joined(areas), _label(properties.get("classification")))


def _label(given: Any) -> str:
    if isinstance(given, dict):
        names = given.get("names")
        given = ": ".join(map(str, names)) if isinstance(names, list) and names else given.get("name")
    return str(given) if given is not None else ""


def _areas(geometry: Any, depth: int = 0) -> Iterator[list[Points]]:
    """The polygons of a GeoJSON geometry, each as its rings, the outer one first; points and lines are left out."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in GEOMETRIES:
        raise InputError(f"JSON, and not GeoJSON: {EXPORT}")
    if kind in NO_AREAS:
        return
    inner = geometry.get("geometries" if kind == "GeometryCollection" else "coordinates")
    if not isinstance(inner, list) or (kind == "MultiPolygon" and not all(isinstance(part, list) for part in inner)):
        raise InputError(f"a {kind} without its parts: export the outline anew")
    if kind == "GeometryCollection":
        if depth == MAX_DEPTH:
            raise InputError(f"collections inside collections, more than {MAX_DEPTH} deep: export the outline anew")
        for part in inner:
            yield from _areas(part, depth + 1)
    else:
        for polygon in inner if kind == "MultiPolygon" else [inner]:
            yield [ring_points(ring) for ring in polygon]


def _joined(areas: list[list[Points]]) -> shapely.MultiPolygon:
    """Polygons given by their rings, repaired and joined."""
    parts = []
    for rings in areas:
        rings = [ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring for ring in rings]
        if rings and len(rings[0]) >= 3:  # fewer points have no area
            parts.append(_repaired(shapely.Polygon(rings[0], [ring for ring in rings[1:] if len(ring) >= 3])))
    return polygons(shapely.geometrycollections(parts)) if len(parts) != 1 else polygons(parts[0])


def _repaired(polygon: shapely.Polygon) -> shapely.Polygon | shapely.MultiPolygon:
    if not shapely.is_valid(polygon):
        check_crossings([shapely.get_coordinates(ring) for ring in _rings(polygon)], MAX_CROSSINGS, "crosses itself")
    return polygon if shapely.is_valid(polygon) else polygons(polygon)


def _rings(geometry: shapely.Polygon | shapely.MultiPolygon) -> list[Any]:
    return [ring for part in shapely.get_parts(geometry) for ring in (part.exterior, *part.interiors)]


def _read_xml(data: bytes) -> Iterator[Annotation]:
    try:
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]
        marks = data.decode("utf-16").encode() if wide else data
    except UnicodeDecodeError:
        raise InputError(f"cut off, or not {FORMATS}: {EXPORT}") from None
    if b"<!ENTITY" in marks or b"<!DOCTYPE" in marks:
        raise InputError(f"XML with a document type, which is not read: {EXPORT}")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - entities are refused above
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        where = f" (line {error.position[0]})" if isinstance(error, ElementTree.ParseError) else ""
        raise InputError(f"damaged XML{where}: export it anew") from None
    if root.tag == "ASAP_Annotations":
        for item in root.iterfind("./Annotations/Annotation"):
            if item.get("Type") in ("Polygon", "Spline", "Rectangle"):
                ring = _ring(item.iterfind("./Coordinates/Coordinate"))
                group = item.get("PartOfGroup") or "None"
                yield Annotation(_joined([[ring]]), "" if group == "None" else group)
    elif root.tag == "Annotations" and not annotation_formats.is_halo(root):
        for layer in root.iterfind("./Annotation"):
            yield from _imagescope_layer(layer)
    else:
        name = "HALO's annotations" if root.tag == "Annotations" else annotation_formats.of_xml(root)
        raise InputError(f"{name or 'XML of another program'}, which is not read: {EXPORT}")


def _imagescope_layer(layer: ElementTree.Element) -> Iterator[Annotation]:
    """Areas of an ImageScope layer, its negative regions cut out.

    Region types: 0 freehand, 1 rectangle (four corners), 2 ellipse (two corners of its box); others are no areas.
    """
    attribute = layer.find("./Attributes/Attribute")
    label = layer.get("Name") or (attribute.get("Name") if attribute is not None else "") or ""
    areas: list[shapely.MultiPolygon] = []
    holes: list[shapely.MultiPolygon] = []
    for region in layer.iterfind("./Regions/Region"):
        if region.get("Type") not in ("0", "1", "2"):
            continue
        ring = _ring(region.iterfind("./Vertices/Vertex"), ellipse=region.get("Type") == "2")
        (holes if region.get("NegativeROA") == "1" else areas).append(_joined([[ring]]))
    cut = shapely.union_all(holes) if holes else shapely.Polygon()
    for area in areas:
        yield Annotation(polygons(shapely.difference(area, cut)), label)


def _ring(points: Iterator[ElementTree.Element], ellipse: bool = False) -> Points:
    try:
        xy = np.array([(float(point.attrib["X"]), float(point.attrib["Y"])) for point in points]).reshape(-1, 2)
    except (KeyError, ValueError):
        raise InputError("a point without two numbers, X and Y: export it anew") from None
    if len(xy) > MAX_POINTS:
        raise InputError(f"more than {MAX_POINTS:,} points in an area: simplify the outline")
    checked_points(xy)
    if ellipse and len(xy) == 2:
        angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        xy = xy.mean(axis=0) + np.abs(xy[1] - xy[0]) / 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return xy


def polygons(geometry: Any) -> shapely.MultiPolygon:
    """The valid polygon parts of any geometry, in two dimensions; none for an empty one."""
    valid = shapely.make_valid(shapely.force_2d(geometry))
    parts = [part for part in shapely.get_parts(valid) if part.geom_type in ("Polygon", "MultiPolygon")]
    merged = shapely.union_all(parts)
    if isinstance(merged, shapely.Polygon):
        return shapely.MultiPolygon([merged]) if not merged.is_empty else shapely.MultiPolygon()
    return merged if isinstance(merged, shapely.MultiPolygon) else shapely.MultiPolygon()
