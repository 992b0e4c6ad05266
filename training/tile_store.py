"""The tile store: a cohort's tiles cut once, one plain NumPy file per slide and resolution, read by memory map.

``<store>/<resolution>/<slide_id>.npy`` holds uint8 [n, s, s, 3]; ``….json`` beside it the slide's content hash, the
tiles' level-0 corners and the key (file, outline and settings) by which a later run knows whether the file still holds.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pathoprog.console import progress, say, warn
from pathoprog.errors import InputError
from pathoprog.files import file_stamp, read_json, sha256_value, sync_folder, write_json
from pathoprog.quality_config import QUALITY_VERSION
from pathoprog.quality_look import QualityLook, look_from
from pathoprog.settings import as_dict
from pathoprog.stream import SlideDone, SlideFailed, SlideJob, SlideOpened, TileBatch, TileStream
from pathoprog.stream_requests import PlacedTiles
from pathoprog.tiles_config import PREPROCESSING_VERSION, TileSpec
from pathoprog.training.config import DataSettings


@dataclass
class StoredSlide:
    """Tiles of one slide at one resolution: `tiles` is a read-only map uint8 [n, s, s, 3], or features [n, d].

    Or it stands for the first: tiles that are read from the slide when they are asked for.
    """

    slide_id: str
    sha256: str
    tiles: NDArray[Any] | PlacedTiles


@dataclass
class _Writing:
    """Tiles of one slide that are arriving."""

    opened: SlideOpened
    arrays: dict[str, Any] = field(default_factory=dict)


def specs(data: DataSettings) -> list[TileSpec]:
    """The tile specs of both resolutions."""
    return [data.tiles_10x, data.tiles_40x]


def build(cohort: pd.DataFrame, data: DataSettings) -> int:
    """Cut what the store lacks.

    Args:
        cohort: rows of the cohort table to cut (see `pathoprog.cohort.read_cohort`).
        data: the store, the tile specs, how slides are read.

    Returns:
        Number of slides that could not be read; each is named in a warning, and absent from the store.
    """
    todo = []
    for row in cohort.to_dict("records"):
        key = source_key(row, data, specs(data))
        if not all(_valid(data, spec.resolution, str(row["slide_id"]), key) for spec in specs(data)):
            todo.append((row, key))
    say(f"    tile store {data.store}: {len(cohort) - len(todo)} slides there, {len(todo)} to cut")
    if not todo:
        return 0
    keys = {str(row["slide_id"]): key for row, key in todo}
    jobs = [slide_job(row, data, specs(data)) for row, _ in todo]
    failed = 0
    open_slides: dict[str, _Writing] = {}
    with progress("tiles", len(jobs), "slides") as counter, TileStream(data.stream) as stream:
        for event in stream.read(jobs):
            if isinstance(event, SlideOpened):
                open_slides[event.slide_id] = _start(data, event)
            elif isinstance(event, TileBatch):
                array = open_slides[event.slide_id].arrays[event.resolution]
                array[event.start : event.start + len(event.tiles)] = event.tiles
            elif isinstance(event, SlideFailed):
                warn(f"{event.slide_id}: {event.error}")
                failed += 1
                open_slides.pop(event.slide_id, None)
                counter.advance()
            elif isinstance(event, SlideDone):
                _finish(data, open_slides.pop(event.slide_id), keys[event.slide_id])
                counter.advance()
    return failed


def slide_job(row: dict[Any, Any], data: DataSettings, wanted: list[TileSpec]) -> SlideJob:
    """What the stream is told to read of one row of the cohort table.

    Raises:
        InputError: the policy asks for an outline, and the row has none.
    """
    outline = str(row.get("outline_path") or "")
    if data.tumour_policy == "outline" and not outline:
        raise InputError(
            f"{row['slide_id']}: no outline_path in the cohort table, but data.tumour_policy=outline;"
            " give outlines, or data.tumour_policy=tissue"
        )
    return SlideJob(
        slide_id=str(row["slide_id"]),
        path=str(row["slide_path"]),
        specs=wanted,
        slides=data.slides,
        tumour_policy=data.tumour_policy,
        outline_path=outline if data.tumour_policy == "outline" else "",
    )


def source_key(row: dict[Any, Any], data: DataSettings, wanted: list[TileSpec]) -> str:
    """What a slide's tiles depend on, without reading it: sizes and times of its files, and all settings."""
    outline = row.get("outline_path") if data.tumour_policy == "outline" else ""
    return sha256_value(
        {
            "slide": file_stamp(row["slide_path"]),
            "outline": file_stamp(outline) if outline else [],
            "policy": data.tumour_policy,
            "specs": [as_dict(spec) for spec in wanted],
            "slides": as_dict(data.slides),
            "preprocessing": PREPROCESSING_VERSION,
        }
    )


def file_name(slide_id: str) -> str:
    """A slide's id as the name of a file."""
    return quote(slide_id, safe=" ._-+()")


def grid_path(data: DataSettings, resolution: str, slide_id: str) -> Path:
    """Where a slide's grid is kept if its tiles stay in the slide (`slide_source`)."""
    return Path(data.store) / "grids" / resolution / f"{file_name(slide_id)}.json"


def _paths(data: DataSettings, resolution: str, slide_id: str) -> tuple[Path, Path]:
    base = Path(data.store) / resolution / file_name(slide_id)
    return base.with_name(base.name + ".npy"), base.with_name(base.name + ".json")


def _valid(data: DataSettings, resolution: str, slide_id: str, key: str) -> bool:
    array, info = _paths(data, resolution, slide_id)
    try:
        found = read_json(info)
        return array.is_file() and found["key"] == key and found["quality_version"] == QUALITY_VERSION
    except (OSError, ValueError, KeyError):
        return False


def _temporary(array: Path) -> Path:
    return array.with_name(f".{array.name}.tmp")


def _start(data: DataSettings, event: SlideOpened) -> _Writing:
    writing = _Writing(event)
    for spec in specs(data):
        array, info = _paths(data, spec.resolution, event.slide_id)
        info.unlink(missing_ok=True)
        array.parent.mkdir(parents=True, exist_ok=True)
        grid = event.grids.get(spec.resolution)
        shape = (len(grid.x0) if grid is not None else 0, spec.size_px, spec.size_px, 3)
        if shape[0]:
            writing.arrays[spec.resolution] = np.lib.format.open_memmap(_temporary(array), "w+", np.uint8, shape)
        else:
            with _temporary(array).open("wb") as stream:
                np.save(stream, np.zeros(shape, np.uint8))
    return writing


def _finish(data: DataSettings, writing: _Writing, key: str) -> None:
    for spec in specs(data):
        array, info = _paths(data, spec.resolution, writing.opened.slide_id)
        stored = writing.arrays.pop(spec.resolution, None)
        if stored is not None:
            stored.flush()
            del stored
        _temporary(array).replace(array)
        write_json(info, facts_of(writing.opened, spec.resolution, key))
        sync_folder(array.parent)


def facts_of(opened: SlideOpened, resolution: str, key: str) -> dict[str, Any]:
    """What is kept of a slide beside its tiles at a resolution."""
    grid = opened.grids.get(resolution)
    return {
        "key": key,
        "slide_id": opened.slide_id,
        "sha256": opened.sha256,
        "x0": grid.x0 if grid is not None else [],
        "y0": grid.y0 if grid is not None else [],
        "refused": opened.refused.get(resolution, ""),
        "quality_version": QUALITY_VERSION,
        "look": asdict(opened.look),
        "tumour_area_um2": opened.tumour_area_um2,
    }


def read_look(slide_id: str, data: DataSettings) -> tuple[QualityLook, float] | None:
    """What was measured of a slide's quality when its tiles were cut or laid, and its analysed area in square um.

    None for a slide that is not in the store, or was cut by another version of the checks.
    """
    resolution = data.tiles_10x.resolution
    from_slides = data.source == "slides"
    info = grid_path(data, resolution, slide_id) if from_slides else _paths(data, resolution, slide_id)[1]
    found = read_json(info) if info.is_file() else {}
    if found.get("quality_version") != QUALITY_VERSION:
        return None
    return look_from(found["look"]), float(found["tumour_area_um2"])


def content_of(slide_id: str, data: DataSettings, resolution: str) -> str:
    """Hash of a slide's content when its tiles were cut or laid; empty for a slide that is not in the store."""
    from_slides = data.source == "slides"
    info = grid_path(data, resolution, slide_id) if from_slides else _paths(data, resolution, slide_id)[1]
    return str(read_json(info)["sha256"]) if info.is_file() else ""


def read(slide_ids: Iterable[str], data: DataSettings, resolution: str) -> dict[str, StoredSlide]:
    """Open stored slides by memory map.

    Returns:
        By slide id, those that are in the store and hold at least one tile.
    """
    stored = {}
    for slide_id in slide_ids:
        array, info = _paths(data, resolution, slide_id)
        if not array.is_file() or not info.is_file():
            continue
        tiles = np.load(array, mmap_mode="r")
        if len(tiles):
            stored[slide_id] = StoredSlide(slide_id, str(read_json(info)["sha256"]), tiles)
    return stored
