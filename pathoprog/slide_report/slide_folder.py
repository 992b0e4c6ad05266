"""What lies in a slide's folder: result.json, the tiles as table and GeoJSON, the tile map, kept instance values."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from PIL import Image

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.networks.feature_values import PIXELS
from pathoprog.regions.annotations import TUMOUR_CLASS, Annotation, annotations_json
from pathoprog.scoring.results import (
    INSTANCES,
    OUTLINE,
    TILES,
    TILES_GEOJSON,
    Context,
    instance_bytes,
    result_record,
)
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_result import SlideRun, result_text
from pathoprog.slide_report.arrow_columns import numbers, repeated
from pathoprog.slide_report.cohort_curves import CohortCurves
from pathoprog.slide_report.content import SlidePage, slide_content
from pathoprog.slide_report.heatmap import Layer, caption_of, draw_heatmap
from pathoprog.slide_report.page import slide_html
from pathoprog.slide_report.pdf import slide_pdf
from pathoprog.slide_report.png import png

QUPATH_COLOURS = {"10x": (49, 70, 149), "20x": (116, 60, 140), "40x": (165, 0, 38)}


def slide_files(
    outcome: SlideScore,
    context: Context,
    run: SlideRun,
    keep_instances: bool = False,
    pdf: bool = True,
    curves: CohortCurves | None = None,
) -> dict[str, bytes]:
    """The files of a slide's folder, except run.json: name -> content.

    Args:
        outcome: of scoring.
        context: see there.
        run: what run.json will say.
        keep_instances: also keep the tiles' instance values, for a bag over several slides.
        pdf: draw the page as PDF too.
        curves: of the cohort on which this ensemble was validated, for the page.
    """
    result = result_record(outcome, context)
    files = {"result.json": result_text(result).encode("utf-8")}
    heatmap = None
    places = places_of(outcome)
    if outcome.opened is not None and places:
        heatmap = tile_map(outcome, context.slide_id)
        files["heatmap.png"] = png(np.asarray(heatmap))
        if outcome.opened.outline is not None:
            name = f"{context.slide_id}: {outcome.opened.region_source}"
            files[OUTLINE] = _outline(outcome.opened.outline, name)
    files |= page_files(slide_content(result, run, outcome, heatmap, curves), pdf)
    if outcome.resolutions and places:
        files[TILES] = _parquet(outcome, places)
    if outcome.resolutions and places == PIXELS:
        files[TILES_GEOJSON] = _geojson(outcome)
    if keep_instances and outcome.status == "scored":
        files[INSTANCES] = instance_bytes(outcome)
    return files


def places_of(outcome: SlideScore) -> str:
    """What the tiles' places are: level-0 px, um (features of STAMP), or not known (`networks.feature_values`)."""
    given = None if outcome.opened is None else outcome.opened.features
    return PIXELS if given is None else given.unit


def page_files(page: SlidePage, pdf: bool) -> dict[str, bytes]:
    """The page as files: HTML, and PDF where wanted."""
    files = {"report.html": slide_html(page).encode("utf-8")}
    if pdf:
        files["report.pdf"] = slide_pdf(page)
    return files


def _outline(outline: shapely.MultiPolygon, name: str) -> bytes:
    """The outline that tiles were laid in (level-0 px), for QuPath."""
    areas = [] if outline.is_empty else [Annotation(outline, TUMOUR_CLASS)]
    return annotations_json(areas, name, note=RESEARCH_USE_ONLY).encode("utf-8")


def _parquet(outcome: SlideScore, places: str) -> bytes:
    """The tiles as a table.

    Columns ``resolution``; ``x0, y0, width0, height0`` in level-0 px (in um where the metadata's ``unit`` says so);
    ``coverage``; ``score`` (the members' mean) and ``member_1 …`` in the order of the metadata's ``members``.
    """
    tables = []
    for resolution, score in outcome.resolutions.items():
        grid, n = score.grid, len(score.grid)
        columns = {
            "resolution": repeated(resolution, n),
            "x0": numbers(grid.x0, np.int64),
            "y0": numbers(grid.y0, np.int64),
            "width0": numbers(np.full(n, grid.width0)),
            "height0": numbers(np.full(n, grid.height0)),
            "coverage": numbers(grid.coverage, np.float32),
            "score": numbers(score.tile_scores.mean(axis=1), np.float32),
        }
        if score.attention is not None:
            columns["attention"] = numbers(score.attention, np.float32)
        for index in range(score.tile_scores.shape[1]):
            columns[f"member_{index + 1}"] = numbers(score.tile_scores[:, index], np.float32)
        tables.append(pa.table(columns))
    members = {resolution: score.members for resolution, score in outcome.resolutions.items()}
    table = pa.concat_tables(tables, promote_options="default")
    unit = {} if places == PIXELS else {"unit": places}
    table = table.replace_schema_metadata({"members": json.dumps(members), "note": RESEARCH_USE_ONLY, **unit})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _geojson(outcome: SlideScore) -> bytes:
    """QuPath tile objects with their score as measurement; coordinates level-0 px, as QuPath's are."""
    features = []
    for resolution, score in outcome.resolutions.items():
        grid = score.grid
        name, colour = f"{resolution} tile", list(QUPATH_COLOURS[resolution])
        means = score.tile_scores.mean(axis=1)
        for index in range(len(grid)):
            x, y = int(grid.x0[index]), int(grid.y0[index])
            x_end, y_end = round(x + grid.width0, 2), round(y + grid.height0, 2)
            measurements = {f"{resolution} tile score": round(float(means[index]), 6)}
            if score.attention is not None:
                measurements[f"{resolution} attention weight"] = float(score.attention[index])
            corners = [[x, y], [x_end, y], [x_end, y_end], [x, y_end], [x, y]]
            properties = {
                "objectType": "tile",
                "classification": {"name": name, "color": colour},
                "measurements": measurements,
            }
            geometry = {"type": "Polygon", "coordinates": [corners]}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    collection = {"type": "FeatureCollection", "note": RESEARCH_USE_ONLY, "features": features}
    return json.dumps(collection, separators=(",", ":")).encode("utf-8")


def tile_map(outcome: SlideScore, slide_id: str) -> Image.Image:
    """The map of tile scores, one panel per resolution, over the thumbnail of a slide that could be opened."""
    opened = outcome.opened
    assert opened is not None
    layers = []
    for resolution, score in outcome.resolutions.items():
        grid = score.grid
        where = (grid.x0, grid.y0, grid.width0, grid.height0)
        layers.append(Layer(f"{resolution} tile score", *where, score.tile_scores.mean(axis=1)))
        if score.attention is not None:
            share = score.attention * len(score.attention)  # 1 = the weight that all tiles had if they weighed equally
            layers.append(Layer(f"{resolution} attention weight", *where, share / 4, "0", "4 x equal"))
    numbers = ", ".join(f"{resolution} {score.score:.3f}" for resolution, score in outcome.resolutions.items())
    said = outcome.risk_class or outcome.status.replace("_", " ")
    return draw_heatmap(
        opened.thumbnail,
        opened.thumbnail_downsample,
        opened.tissue if opened.outline is None else opened.outline,
        layers,
        f"{slide_id}: {said}{f' ({numbers})' if numbers else ''}",
        caption_of(score.weighing for score in outcome.resolutions.values()),
    )
