"""The tile store: a cohort's tiles cut once, one file per slide and resolution, from which single tiles are read.

``<store>/<resolution>/<cut>/<slide_id>.npy`` holds uint8 [n, s, s, 3], read by memory map; under
`data.store_format=jpeg` it is a ``.jpegs`` (`jpeg_tiles`) in a folder of its quality. ``….json`` beside it holds
the slide's content hash, the tiles' level-0 corners and the key (file, outline and settings) by which a later run knows
whether the file still holds. `cut` names the settings that tiles follow from, so that tiles of other settings lie
beside these, never among them.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.quality.look import QualityLook, look_from
from pathoprog.settings import as_dict
from pathoprog.slides.config import reading
from pathoprog.slides.identity import stamp
from pathoprog.slides.resolutions import in_order
from pathoprog.stream.requests import PlacedTiles
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, SlideOpened, TileBatch, TileStream
from pathoprog.system.console import progress, say, warn
from pathoprog.system.file_array import FileArray
from pathoprog.system.file_names import file_name_in
from pathoprog.system.files import file_stamp, read_json, sha256_value, sync_folder, write_json
from pathoprog.system.h5_array import H5Array
from pathoprog.system.machine.cores import cores
from pathoprog.tiles.config import PREPROCESSING_VERSION, TileSpec
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.disk_space import allocate, cannot_write, check_room, gigabytes
from pathoprog.training.data.jpeg_tiles import JpegTiles, JpegWriter

STALE_S = 24 * 3600.0
"""Age of a half-written file that nobody writes any more."""


@dataclass
class StoredSlide:
    """Tiles of one slide at one resolution: `tiles` is uint8 [n, s, s, 3] in a file, or features [n, d].

    Or it stands for the first: tiles that are read from the slide when they are asked for. `places` is a hash of where
    the tiles lie (features have it in theirs). `sha256` is the slide's content hash, or that of our features' facts,
    which also hold the slide's id and the encoder; `scan` is then the slide's own.
    """

    slide_id: str
    sha256: str
    tiles: NDArray[Any] | FileArray | JpegTiles | H5Array | PlacedTiles
    places: str = ""
    scan: str = ""


@dataclass
class _Writing:
    """Tiles of one slide that are arriving."""

    opened: SlideOpened
    wanted: list[TileSpec]
    arrays: dict[str, Any] = field(default_factory=dict)


def specs(data: DataSettings) -> list[TileSpec]:
    """The tile specs of the ensemble's resolutions."""
    return [spec_of(data, resolution) for resolution in in_order(data.resolutions)]


def spec_of(data: DataSettings, resolution: str) -> TileSpec:
    """The tile spec of one resolution."""
    found = getattr(data, f"tiles_{resolution}")
    assert isinstance(found, TileSpec)
    return found


def cut_name(data: DataSettings, spec: TileSpec) -> str:
    """What tiles that were cut alike are called: their side, and a hash of every setting that they follow from."""
    settings = {
        "policy": data.tumour_policy,
        "spec": as_dict(spec),
        "slides": reading(data.slides),
        "preprocessing": PREPROCESSING_VERSION,
    }
    return f"{spec.size_px}px-{sha256_value(settings)[:12]}"


def build(cohort: pd.DataFrame, data: DataSettings, force: bool = False) -> int:
    """Cut what the store lacks.

    Args:
        cohort: rows of the cohort table to cut (see `pathoprog.cohort_tables.cohort.read_cohort`).
        data: the store, the tile specs, how slides are read.
        force: begin though the disk seems to have no room.

    Returns:
        Number of slides that could not be read; each is named in a warning, and absent from the store.

    Raises:
        InputError: the store's disk has no room for the tiles.
    """
    keys: dict[tuple[str, str], str] = {}
    jobs, there, gone = [], 0, 0
    for row in cohort.to_dict("records"):
        slide_id, missing = str(row["slide_id"]), []
        for spec in specs(data):
            key = keys[slide_id, spec.resolution] = source_key(row, data, [spec])
            if not _valid(data, spec.resolution, slide_id, key):
                missing.append(spec)
        if missing and not Path(row["slide_path"]).exists() and is_stored(data, slide_id):
            missing, gone = [], gone + 1
        there += not missing
        if missing:
            jobs.append(slide_job(row, data, missing))
    say(f"    tile store {data.store}: {there} slides there, {len(jobs)} to cut")
    if gone:
        warn(f"{gone} slides are not where the cohort table says; their stored tiles are taken as they are")
    _say_of_other_layout(data)
    if not jobs:
        return 0
    try:
        with TileStream(data.stream) as stream:
            check_room(jobs, data, stream, force)
            return _cut(jobs, data, keys, stream)
    except OSError as error:
        raise cannot_write(error, data.store) from error


def _cut(jobs: list[SlideJob], data: DataSettings, keys: dict[tuple[str, str], str], stream: TileStream) -> int:
    """Read the slides and store their tiles; returns how many could not be read."""
    for job in jobs:
        for spec in job.specs:  # what no longer holds is not read, whatever comes
            _paths(data, spec.resolution, job.slide_id)[1].unlink(missing_ok=True)
    failed = 0
    wanted = {job.slide_id: job.specs for job in jobs}
    open_slides: dict[str, _Writing] = {}
    try:
        with progress("tiles", len(jobs), "slides") as counter, ThreadPoolExecutor(cores()) as pool:
            for event in stream.read(jobs):
                if isinstance(event, SlideOpened):
                    open_slides[event.slide_id] = writing = _Writing(event, wanted[event.slide_id])
                    _start(data, writing, pool)
                elif isinstance(event, TileBatch):
                    array = open_slides[event.slide_id].arrays[event.resolution]
                    array[event.start : event.start + len(event.tiles)] = event.tiles
                elif isinstance(event, SlideFailed):
                    warn(f"{event.slide_id}: {event.error}")
                    failed += 1
                    _forget(data, open_slides.pop(event.slide_id, None))
                    counter.advance()
                elif isinstance(event, SlideDone):
                    _finish(data, open_slides.pop(event.slide_id), keys)
                    counter.advance()
    finally:
        for writing in open_slides.values():
            _forget(data, writing)
    if data.jpeg_quality:
        _say_what_is_saved(jobs, data)
    return failed


def _say_what_is_saved(jobs: list[SlideJob], data: DataSettings) -> None:
    paths = [_paths(data, spec.resolution, job.slide_id) for job in jobs for spec in job.specs]
    files = [JpegTiles(array) for array, info in paths if info.is_file()]
    packed, plain = (sum(getattr(one, name) for one in files) for name in ("file_bytes", "nbytes"))
    if plain:
        say(
            f"    as JPEG of quality {data.jpeg_quality} the tiles take {gigabytes(packed)} in place of"
            f" {gigabytes(plain)} ({1 - packed / plain:.0%} saved)"
        )


def slide_job(row: dict[Any, Any], data: DataSettings, wanted: list[TileSpec]) -> SlideJob:
    """What the stream is told to read of one row of the cohort table.

    Raises:
        InputError: the policy asks for an outline, and the row has none.
    """
    outline = str(row.get("outline_path") or "")
    if data.tumour_policy == "outline" and not outline:
        raise InputError(
            f"{row['slide_id']}: no outline (outline_path in the cohort table), but data.tumour_policy=outline;"
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
            "slide": stamp(row["slide_path"]),
            "outline": file_stamp(outline) if outline else [],
            "policy": data.tumour_policy,
            "specs": [as_dict(spec) for spec in wanted],
            "slides": reading(data.slides),
            "preprocessing": PREPROCESSING_VERSION,
        }
    )


def grid_path(data: DataSettings, resolution: str, slide_id: str) -> Path:
    """Where a slide's grid is kept if its tiles stay in the slide (`slide_source`)."""
    cut = cut_name(data, spec_of(data, resolution))
    folder = Path(data.store) / "grids" / resolution / cut
    return folder / f"{file_name_in(folder, slide_id, ['.json'])}.json"


def cut_folder(data: DataSettings, resolution: str) -> Path:
    """Where the store keeps the tiles of one resolution that these settings give."""
    packed = f"-jpeg{data.jpeg_quality}" if data.jpeg_quality else ""
    return Path(data.store) / resolution / f"{cut_name(data, spec_of(data, resolution))}{packed}"


def is_stored(data: DataSettings, slide_id: str) -> bool:
    """Whether the store holds tiles of a slide under these settings, of whichever state of its file."""
    pairs = [_paths(data, spec.resolution, slide_id) for spec in specs(data)]
    return all(array.is_file() and info.is_file() for array, info in pairs)


def _paths(data: DataSettings, resolution: str, slide_id: str) -> tuple[Path, Path]:
    folder = cut_folder(data, resolution)
    ending = ".jpegs" if data.jpeg_quality else ".npy"
    name = file_name_in(folder, slide_id, [ending, ".json"])
    return folder / f"{name}{ending}", folder / f"{name}.json"


def _valid(data: DataSettings, resolution: str, slide_id: str, key: str) -> bool:
    array, info = _paths(data, resolution, slide_id)
    try:
        found = read_json(info)
        return array.is_file() and found["key"] == key and found["quality_version"] == QUALITY_VERSION
    except (OSError, ValueError, KeyError):
        return False


def _temporary(array: Path) -> Path:
    """Each process has a name of its own: two may cut the same slide at once."""
    return array.with_name(f".{array.name}.{os.getpid()}.tmp")


def _start(data: DataSettings, writing: _Writing, pool: ThreadPoolExecutor) -> None:
    event = writing.opened
    for spec in writing.wanted:
        array, _ = _paths(data, spec.resolution, event.slide_id)
        array.parent.mkdir(parents=True, exist_ok=True)
        for path in array.parent.glob(f".{array.name}.*.tmp"):
            if time.time() - path.stat().st_mtime > STALE_S:
                path.unlink(missing_ok=True)
        grid = event.grids.get(spec.resolution)
        shape = (len(grid.x0) if grid is not None else 0, spec.size_px, spec.size_px, 3)
        if data.jpeg_quality:
            writing.arrays[spec.resolution] = JpegWriter(_temporary(array), shape, data.jpeg_quality, pool)
        elif shape[0]:
            writing.arrays[spec.resolution] = np.lib.format.open_memmap(_temporary(array), "w+", np.uint8, shape)
            # room first: writing to a map that the disk has no room for would end this process without a word
            allocate(_temporary(array))
        else:
            with _temporary(array).open("wb") as stream:
                np.save(stream, np.zeros(shape, np.uint8))


def _forget(data: DataSettings, writing: _Writing | None) -> None:
    """Remove what has come of a slide that failed."""
    if writing is None:
        return
    for spec in writing.wanted:
        stored = writing.arrays.pop(spec.resolution, None)
        if isinstance(stored, JpegWriter):
            stored.close()
        _temporary(_paths(data, spec.resolution, writing.opened.slide_id)[0]).unlink(missing_ok=True)


def _finish(data: DataSettings, writing: _Writing, keys: dict[tuple[str, str], str]) -> None:
    for spec in writing.wanted:
        slide_id = writing.opened.slide_id
        array, info = _paths(data, spec.resolution, slide_id)
        stored = writing.arrays.pop(spec.resolution, None)
        if stored is not None:
            stored.flush()
            del stored
        _temporary(array).replace(array)
        write_json(info, facts_of(writing.opened, spec.resolution, keys[slide_id, spec.resolution]))
        sync_folder(array.parent)


def _say_of_other_layout(data: DataSettings) -> None:
    """Earlier versions kept tiles in the resolution's folder itself; those say too little to be used."""
    for spec in specs(data):
        old = Path(data.store) / spec.resolution
        if next(old.glob("*.npy"), None) is not None:
            warn(f"{old}: the .npy and .json files in it are an earlier version's and are not read; delete them")


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
        "tissue_area_um2": opened.tissue_area_um2,
    }


def read_look(slide_id: str, data: DataSettings) -> tuple[QualityLook, float] | None:
    """What was measured of a slide's quality when its tiles were cut or laid, and its analysed area in square um.

    None for a slide that is not in the store, or was cut by another version of the checks.
    """
    resolution = in_order(data.resolutions)[0]
    from_slides = data.source == "slides"
    info = grid_path(data, resolution, slide_id) if from_slides else _paths(data, resolution, slide_id)[1]
    found = read_json(info) if info.is_file() else {}
    if found.get("quality_version") != QUALITY_VERSION:
        return None
    return look_from(found["look"]), float(found["tumour_area_um2"])


def slide_facts(slide_id: str, data: DataSettings, resolution: str) -> dict[str, Any] | None:
    """What is kept of a slide beside its tiles (see `facts_of`); None where its tiles were not cut."""
    array, info = _paths(data, resolution, slide_id)
    found = read_json(info) if array.is_file() and info.is_file() else None
    assert found is None or isinstance(found, dict)
    return found


def content_of(slide_id: str, data: DataSettings, resolution: str) -> str:
    """Hash of a slide's content when its tiles were cut or laid; empty for a slide that is not in the store."""
    from_slides = data.source == "slides"
    info = grid_path(data, resolution, slide_id) if from_slides else _paths(data, resolution, slide_id)[1]
    return str(read_json(info)["sha256"]) if info.is_file() else ""


def read(slide_ids: Iterable[str], data: DataSettings, resolution: str) -> dict[str, StoredSlide]:
    """Stored slides; their tiles stay in their files until they are asked for.

    Returns:
        By slide id, those that are in the store and hold at least one tile.

    Raises:
        InputError: a damaged file, or tiles that are not of these settings.
    """
    size = spec_of(data, resolution).size_px
    stored = {}
    for slide_id in slide_ids:
        array, info = _paths(data, resolution, slide_id)
        if not array.is_file() or not info.is_file():
            continue
        try:
            facts = read_json(info)
            corners, content = np.array([facts["x0"], facts["y0"]], np.int64), str(facts["sha256"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{info}: damaged ({error!r}); delete it, and the slide is cut again") from error
        tiles = JpegTiles(array) if data.jpeg_quality else FileArray.npy(array)
        if tiles.shape != (corners.shape[1], size, size, 3):
            raise InputError(
                f"{array}: holds {list(tiles.shape)}, not {corners.shape[1]} tiles of {size} px; delete it, and the"
                " slide is cut again"
            )
        if len(tiles):
            stored[slide_id] = StoredSlide(slide_id, content, tiles, places_hash(corners))
    return stored


def places_hash(corners: NDArray[np.int64]) -> str:
    """Hash of where tiles lie: level-0 corners int64 [2, n], x0 and y0."""
    return hashlib.sha256(np.ascontiguousarray(corners, "<i8").tobytes()).hexdigest()
