"""Outlines drawn on slides: QuPath GeoJSON, ASAP XML and Aperio ImageScope XML in; QuPath GeoJSON out."""

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import shapely
from shapely.geometry import mapping, shape

from pathoprog.errors import InputError
from pathoprog.files import write_text

TUMOUR_CLASS = "Tumor"  # QuPath's own name
MAX_BYTES = 256 * 2**20
NO_OUTLINES = ("cell", "detection", "tile", "tmaCore")  # QuPath object types that nobody drew as a region


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
        InputError: no such file, not one of the formats, or too large.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB, no annotation file")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    try:
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            found = [
                Annotation(shapely.transform(item.geometry, lambda xy: xy - np.array(origin)), item.label)
                for item in _read_xml(data, path)
            ]
        else:
            found = list(_read_geojson(json.loads(data.decode("utf-8-sig"))))
    except (ValueError, TypeError, KeyError, AttributeError, ElementTree.ParseError, shapely.GEOSException) as error:
        raise InputError(f"{path}: not a GeoJSON, ASAP or ImageScope annotation file ({error})") from error
    return [item for item in found if not item.geometry.is_empty]


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
    shown = ", ".join(label or "(none)" for label in labels)
    if classes:
        chosen = [area for area in areas if area.label in classes]
    else:
        chosen = [area for area in areas if re.match(r"tumou?r\b", area.label, re.IGNORECASE)]
        if not chosen and len(labels) > 1:
            raise InputError(f"{path}: several classes ({shown}) and none is called Tumor: say which count")
        chosen = chosen or areas
    if not chosen:
        wanted = f" of class {', '.join(classes)}" if classes else ""
        raise InputError(f"{path}: no area{wanted}; classes in the file: {shown or 'no areas at all'}")
    return polygons(shapely.union_all([area.geometry for area in chosen]))


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
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a GeoJSON file ({error})") from error
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


def _read_geojson(data: Any) -> Iterator[Annotation]:
    if isinstance(data, dict) and data["type"] == "FeatureCollection":
        data = data["features"]
    elif isinstance(data, dict):
        data = [data if data["type"] == "Feature" else {"type": "Feature", "geometry": data}]
    for feature in data:
        properties = feature.get("properties") or {}
        kind = properties.get("objectType") or properties.get("object_type")
        if kind in NO_OUTLINES or feature["geometry"] is None:
            continue
        label = properties.get("classification") or {}
        names = label.get("names") if isinstance(label, dict) else None
        text = ": ".join(names) if names else label.get("name", "") if isinstance(label, dict) else str(label)
        yield Annotation(polygons(shape(feature["geometry"])), text)


def _read_xml(data: bytes, path: Path) -> Iterator[Annotation]:
    if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise InputError(f"{path}: XML with a document type is not read")
    root = ElementTree.fromstring(data)  # noqa: S314 - entities are refused above
    if root.tag == "ASAP_Annotations":
        for item in root.iterfind("./Annotations/Annotation"):
            if item.get("Type") in ("Polygon", "Spline", "Rectangle"):
                ring = _ring(item.iterfind("./Coordinates/Coordinate"))
                group = item.get("PartOfGroup") or "None"
                yield Annotation(polygons(ring), "" if group == "None" else group)
    elif root.tag == "Annotations":
        for layer in root.iterfind("./Annotation"):
            yield from _imagescope_layer(layer)
    else:
        raise ValueError(f"root element {root.tag}")


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
        (holes if region.get("NegativeROA") == "1" else areas).append(polygons(ring))
    cut = shapely.union_all(holes) if holes else shapely.Polygon()
    for area in areas:
        yield Annotation(polygons(shapely.difference(area, cut)), label)


def _ring(points: Iterator[ElementTree.Element], ellipse: bool = False) -> shapely.Polygon:
    xy = np.array([(float(point.attrib["X"]), float(point.attrib["Y"])) for point in points])
    if ellipse and len(xy) == 2:
        angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        xy = xy.mean(axis=0) + np.abs(xy[1] - xy[0]) / 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return shapely.Polygon(xy) if len(xy) >= 3 else shapely.Polygon()


def polygons(geometry: Any) -> shapely.MultiPolygon:
    """The valid polygon parts of any geometry, in two dimensions; none for an empty one."""
    valid = shapely.make_valid(shapely.force_2d(geometry))
    parts = [part for part in shapely.get_parts(valid) if part.geom_type in ("Polygon", "MultiPolygon")]
    merged = shapely.union_all(parts)
    if isinstance(merged, shapely.Polygon):
        return shapely.MultiPolygon([merged]) if not merged.is_empty else shapely.MultiPolygon()
    return merged if isinstance(merged, shapely.MultiPolygon) else shapely.MultiPolygon()
