"""The files of one scored slide, and the rows of results.csv that follow from them.

Per slide one folder: ``result.json`` (canonical: equal work gives equal bytes; no time, host or path in it),
``run.json`` (when, where, with what; hashes of the others), ``tiles.parquet``, ``tiles.geojson`` and ``heatmap.png``;
under the bag rule also ``instances.safetensors`` where the patient has several slides. A folder appears whole or not
at all.
"""

import hashlib
import io
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.classes import RESOLUTIONS
from pathoprog.errors import InputError
from pathoprog.faults import point
from pathoprog.files import canonical_json, finite_or_none, read_json, sync_folder
from pathoprog.heatmap import CAPTION_ATTENTION, CAPTION_EQUAL, Layer, draw_heatmap
from pathoprog.outcomes import SlideScore
from pathoprog.settings import as_dict

FORMAT = 1
RESULT_COLUMNS = (
    "slide_id",
    "patient_id",
    "status",
    "risk_class",
    "borderline",
    "score_10x",
    "score_40x",
    "n_tiles_10x",
    "n_tiles_40x",
    "quality",
    "reason",
    "slide_sha256",
    "ensemble_id",
    "software_version",
    "device",
    "seconds",
    "class_level",
    "duplicate_of",
)
PATIENT_LEVEL = "patient"
SLIDE_LEVEL = "slide level, not validated"
STAGING_SUFFIX = ".staging"
QUPATH_COLOURS = {"10x": (49, 70, 149), "40x": (165, 0, 38)}


@dataclass
class Context:
    """What a result says beside the scores: whose slide it is, and what the work was.

    Attributes:
        slide_id: of the slide.
        patient_id: of the patient, the slide's id where no table names one.
        cohort: from the table, or empty.
        role: from the table, or empty.
        key: the result's key: a hash of all that the result follows from.
        ensemble_id: of the bundle.
        thresholds: by resolution.
        settings: the scoring configuration that belongs to the key.
        overrides: settings that depart from the bundle's or the file's own values.
        outline_sha256: of the outline's file, or empty.
        class_level: `PATIENT_LEVEL`, or `SLIDE_LEVEL` where the patient has several slides.
        duplicate_of: another slide with the same content, whose result this is.
    """

    slide_id: str
    patient_id: str
    cohort: str
    role: str
    key: str
    ensemble_id: str
    thresholds: dict[str, float]
    settings: dict[str, Any]
    overrides: dict[str, Any] = field(default_factory=dict)
    outline_sha256: str = ""
    class_level: str = PATIENT_LEVEL
    duplicate_of: str = ""


def folder_name(slide_id: str) -> str:
    """A slide's folder: its id, with what file systems refuse written as ``%XX``."""
    name = quote(slide_id, safe=" ()[]+,@=!äöüÄÖÜß")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def result_record(outcome: SlideScore, context: Context) -> dict[str, Any]:
    """What result.json holds: the outcome and everything it follows from."""
    opened = outcome.opened
    record: dict[str, Any] = {
        "format": FORMAT,
        "research_use_only": RESEARCH_USE_ONLY,
        "result_key": context.key,
        "slide_id": context.slide_id,
        "class_level": context.class_level,
        "duplicate_of": context.duplicate_of,
        "status": outcome.status,
        "risk_class": outcome.risk_class,
        "borderline": outcome.borderline,
        "reason": outcome.reason,
        "code": outcome.code,
        "stage": outcome.stage,
        "quality": [
            *outcome.quality,
            *(f"override: {key}={value}" for key, value in sorted(context.overrides.items())),
        ],
        "ensemble_id": context.ensemble_id,
        "settings": context.settings,
        "overrides": context.overrides,
        "outline_sha256": context.outline_sha256,
        "batches_halved": outcome.halved,
        "scores": {
            resolution: {
                "score": score.score,
                "threshold": context.thresholds[resolution],
                "distance": score.score - context.thresholds[resolution],
                "members": dict(zip(score.members, score.member_scores, strict=True)),
                "n_tiles": len(score.grid),
                "n_tiles_candidates": score.grid.n_candidates,
                "tile_spec": as_dict(score.grid.spec),
            }
            for resolution, score in outcome.resolutions.items()
        },
        "slide": None,
    }
    if opened is not None:
        facts = opened.facts
        record["slide"] = {
            "sha256": opened.sha256,
            "width": facts.width,
            "height": facts.height,
            "mpp_x": facts.mpp_x,
            "mpp_y": facts.mpp_y,
            "vendor": facts.vendor,
            "backend": facts.backend,
            "objective": facts.objective,
            "warnings": list(facts.warnings),
            "region_source": opened.region_source,
            "tissue_area_um2": opened.tissue_area_um2,
            "tumour_area_um2": opened.tumour_area_um2,
        }
    plain = finite_or_none(record)
    assert isinstance(plain, dict)
    return plain


def slide_files(outcome: SlideScore, context: Context, keep_instances: bool = False) -> dict[str, bytes]:
    """The files of a slide's folder, except run.json: name -> content.

    Args:
        outcome: of scoring.
        context: see there.
        keep_instances: also keep the tiles' instance values, for a bag over several slides.
    """
    files = {"result.json": canonical_json(result_record(outcome, context)).encode("utf-8")}
    if outcome.opened is None:
        return files
    files["heatmap.png"] = _heatmap(outcome, context)
    if outcome.resolutions:
        files["tiles.parquet"] = _parquet(outcome)
        files["tiles.geojson"] = _geojson(outcome)
    if keep_instances and outcome.status == "scored":
        files["instances.safetensors"] = _instances(outcome)
    return files


def stage_slide(slides_folder: Path, name: str, files: dict[str, bytes], run: dict[str, Any]) -> Path:
    """Write a slide's files, synced, to a folder that no reader takes for a result yet; see `publish_slide`.

    Args:
        slides_folder: holds one folder per slide.
        name: of the attempt; unique.
        files: of `slide_files`.
        run: what goes to run.json: times, host, device, attempt; the other files' hashes are added.

    Returns:
        The folder; nothing of it is left where writing fails.
    """
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    run_json = canonical_json({"software_version": __version__, **run, "files": digests}).encode("utf-8")
    staging = slides_folder / f".{name}{STAGING_SUFFIX}"
    staging.mkdir(parents=True)
    try:
        for file, data in {**files, "run.json": run_json}.items():
            point("write")
            with (staging / file).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        sync_folder(staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return staging


def publish_slide(staging: Path, slide_id: str) -> None:
    """Put a staged folder in its place; an older one is moved out of the way first and then removed."""
    target, old = staging.parent / folder_name(slide_id), staging.with_name(f"{staging.name}.old")
    point("before_rename")
    if target.exists():
        target.rename(old)
    staging.rename(target)
    sync_folder(target.parent)
    if old.exists():
        shutil.rmtree(old)


def remove_leftovers(slides_folder: Path, live: set[str]) -> int:
    """Remove what killed attempts left unfinished; returns how many folders that were.

    Args:
        slides_folder: holds one folder per slide.
        live: names of attempts that still go on.
    """
    leftovers = []
    for path in slides_folder.glob(f".*{STAGING_SUFFIX}*"):
        if path.name[1:].partition(STAGING_SUFFIX)[0] not in live:
            leftovers.append(path)
    for path in leftovers:
        shutil.rmtree(path)
    return len(leftovers)


def read_slide(slides_folder: Path, slide_id: str, verify: bool = True) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Read a slide's result.json and run.json; None where there is no whole, unchanged result.

    Args:
        slides_folder: holds one folder per slide.
        slide_id: of the slide.
        verify: also hash the other files.
    """
    folder = slides_folder / folder_name(slide_id)
    try:
        run = read_json(folder / "run.json")
        for name, digest in run["files"].items() if verify else ():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                return None
        result = read_json(folder / "result.json")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent or damaged alike: it is computed again
    return (result, run) if isinstance(result, dict) and result.get("format") == FORMAT else None


def slide_row(result: dict[str, Any], run: dict[str, Any], context: Context) -> dict[str, Any]:
    """A slide's row of results.csv; floats in full, so that the class follows from what is written."""
    scores = result["scores"]
    slide = result["slide"] or {}
    row: dict[str, Any] = {
        "slide_id": context.slide_id,
        "patient_id": context.patient_id,
        "borderline": "true" if result["borderline"] else "false" if result["status"] == "scored" else "",
        "quality": ";".join(result["quality"]),
        "slide_sha256": slide.get("sha256", ""),
        "software_version": run["software_version"],
        "device": run["device"],
        "seconds": f"{run['seconds']:.3f}",
        "duplicate_of": context.duplicate_of,
    }
    for name in ("status", "risk_class", "reason", "ensemble_id", "class_level"):
        row[name] = result[name]
    for resolution in RESOLUTIONS:
        found = scores.get(resolution)
        row[f"score_{resolution}"] = repr(found["score"]) if found else ""
        row[f"n_tiles_{resolution}"] = found["n_tiles"] if found else ""
    return {name: row[name] for name in RESULT_COLUMNS}


def has_instances(slides_folder: Path, slide_id: str) -> bool:
    """Whether a slide's instance values were kept."""
    return (slides_folder / folder_name(slide_id) / "instances.safetensors").is_file()


def load_instances(slides_folder: Path, slide_id: str) -> dict[str, dict[str, Any]]:
    """Instance values of a slide's tiles: resolution -> member -> float32 tensor [n, k].

    Raises:
        InputError: the file is absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = slides_folder / folder_name(slide_id) / "instances.safetensors"
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: instance values cannot be read ({error}); remove the folder and score again"
        ) from error
    result: dict[str, dict[str, Any]] = {}
    for name, values in tensors.items():
        resolution, _, member = name.partition("/")
        result.setdefault(resolution, {})[member] = values
    return result


def _instances(outcome: SlideScore) -> bytes:
    from safetensors.torch import save

    tensors = {
        f"{resolution}/{name}": values.contiguous()
        for resolution, score in outcome.resolutions.items()
        for name, values in zip(score.members, score.instances, strict=True)
    }
    data: bytes = save(tensors)
    return data


def _parquet(outcome: SlideScore) -> bytes:
    """The tiles as a table.

    Columns ``resolution``; ``x0, y0, width0, height0`` in level-0 px; ``coverage``; ``score`` (the members' mean) and
    ``member_1 …`` in the order of the metadata's ``members``.
    """
    tables = []
    for resolution, score in outcome.resolutions.items():
        grid, n = score.grid, len(score.grid)
        columns = {
            "resolution": pa.array([resolution] * n),
            "x0": pa.array(grid.x0, pa.int64()),
            "y0": pa.array(grid.y0, pa.int64()),
            "width0": pa.array(np.full(n, grid.width0)),
            "height0": pa.array(np.full(n, grid.height0)),
            "coverage": pa.array(grid.coverage, pa.float32()),
            "score": pa.array(score.tile_scores.mean(axis=1), pa.float32()),
        }
        if score.attention is not None:
            columns["attention"] = pa.array(score.attention, pa.float32())
        for index in range(score.tile_scores.shape[1]):
            columns[f"member_{index + 1}"] = pa.array(score.tile_scores[:, index], pa.float32())
        tables.append(pa.table(columns))
    members = {resolution: score.members for resolution, score in outcome.resolutions.items()}
    table = pa.concat_tables(tables, promote_options="default")
    table = table.replace_schema_metadata({"members": json.dumps(members), "note": RESEARCH_USE_ONLY})
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


def _heatmap(outcome: SlideScore, context: Context) -> bytes:
    opened = outcome.opened
    assert opened is not None
    layers, caption = [], CAPTION_EQUAL
    for resolution, score in outcome.resolutions.items():
        grid = score.grid
        where = (grid.x0, grid.y0, grid.width0, grid.height0)
        layers.append(Layer(f"{resolution} tile score", *where, score.tile_scores.mean(axis=1)))
        if score.attention is not None:
            caption = CAPTION_ATTENTION
            share = score.attention * len(score.attention)  # 1 = the weight that all tiles had if they weighed equally
            layers.append(Layer(f"{resolution} attention weight", *where, share / 4, "0", "4 x equal"))
    numbers = ", ".join(f"{resolution} {score.score:.3f}" for resolution, score in outcome.resolutions.items())
    said = outcome.risk_class or outcome.status.replace("_", " ")
    image = draw_heatmap(
        opened.thumbnail,
        opened.thumbnail_downsample,
        opened.tissue if opened.outline is None else opened.outline,
        layers,
        f"{context.slide_id}: {said}{f' ({numbers})' if numbers else ''}",
        caption,
    )
    sink = io.BytesIO()
    image.save(sink, "PNG", compress_level=1)
    return sink.getvalue()
