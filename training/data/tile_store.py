"""The tile store: a cohort's tiles cut once, one file per slide and resolution, from which single tiles are read.

``<store>/<resolution>/<cut>/<slide_id>.npy`` holds uint8 [n, s, s, 3], read by memory map; under
`data.store_format=jpeg` it is a ``.jpegs`` (`jpeg_tiles`) in a folder of its quality. ``….json`` beside it holds
the slide's content hash, the tiles' level-0 corners and the key (file, outline and settings) by which a later run knows
whether the file still holds. `cut` names the settings that tiles follow from, so that tiles of other settings lie
beside these, never among them.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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
from pathoprog.training.data.disk_space import cannot_write, check_room, gigabytes
from pathoprog.training.data.jpeg_tiles import AGAIN, JpegTiles
from pathoprog.training.data.slide_writer import SlideWriter


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


def build(cohort: pd.DataFrame, data: DataSettings, force: bool = False, reasons: dict[str, str] | None = None) -> int:
    """Cut what the store lacks.

    Args:
        cohort: rows of the cohort table to cut (see `pathoprog.cohort_tables.cohort.read_cohort`).
        data: the store, the tile specs, how slides are read.
        force: begin though the disk seems to have no room.
        reasons: takes up, by slide id, why a slide could not be read.

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
            failed = _cut(jobs, data, keys, stream)
    except OSError as error:
        raise cannot_write(error, data.store) from error
    if reasons is not None:
        reasons |= failed
    return len(failed)


def _cut(
    jobs: list[SlideJob], data: DataSettings, keys: dict[tuple[str, str], str], stream: TileStream
) -> dict[str, str]:
    """Read the slides and store their tiles; returns by slide id why it could not be read."""
    for job in jobs:
        for spec in job.specs:  # what no longer holds is not read, whatever comes
            _paths(data, spec.resolution, job.slide_id)[1].unlink(missing_ok=True)
    failed = dict[str, str]()
    wanted = {job.slide_id: job.specs for job in jobs}
    begun: dict[str, tuple[SlideWriter, SlideOpened]] = {}
    try:
        with progress("tiles", len(jobs), "slides") as counter, ThreadPoolExecutor(cores()) as pool:
            for event in stream.read(jobs):
                if isinstance(event, SlideOpened):
                    begun[event.slide_id] = (_writer(data, event, wanted[event.slide_id], pool), event)
                elif isinstance(event, TileBatch):
                    begun[event.slide_id][0].put(event.resolution, event.start, event.tiles)
                elif isinstance(event, SlideFailed):
                    warn(f"{event.slide_id}: {event.error}")
                    failed[event.slide_id] = str(event.error)
                    if event.slide_id in begun:
                        begun.pop(event.slide_id)[0].give_up()
                    counter.advance()
                elif isinstance(event, SlideDone):
                    _finish(data, *begun[event.slide_id], keys)
                    del begun[event.slide_id]
                    counter.advance()
    finally:
        for writer, _ in begun.values():
            writer.give_up()
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
    return all(_is_there(data, spec.resolution, slide_id) for spec in specs(data))


def _is_there(data: DataSettings, resolution: str, slide_id: str) -> bool:
    """Whether tiles of a slide at one resolution are stored, and whole as far as the files' heads say."""
    try:
        return _opened(data, resolution, slide_id) is not None
    except InputError:
        return False


def _paths(data: DataSettings, resolution: str, slide_id: str) -> tuple[Path, Path]:
    folder = cut_folder(data, resolution)
    ending = ".jpegs" if data.jpeg_quality else ".npy"
    name = file_name_in(folder, slide_id, [ending, ".json"])
    return folder / f"{name}{ending}", folder / f"{name}.json"


def _valid(data: DataSettings, resolution: str, slide_id: str, key: str) -> bool:
    info = _paths(data, resolution, slide_id)[1]
    try:
        if _opened(data, resolution, slide_id) is None:
            return False
        found = read_json(info)
        return bool(found["key"] == key and found["quality_version"] == QUALITY_VERSION)
    except InputError as error:
        warn(str(error).replace(AGAIN, "the slide is cut again"))
        return False
    except (OSError, ValueError, KeyError):
        return False


def _writer(data: DataSettings, opened: SlideOpened, wanted: list[TileSpec], pool: ThreadPoolExecutor) -> SlideWriter:
    """Of the tiles of a slide that was opened."""
    files, shapes = dict[str, Path](), dict[str, tuple[int, int, int, int]]()
    for spec in wanted:
        grid = opened.grids.get(spec.resolution)
        files[spec.resolution] = _paths(data, spec.resolution, opened.slide_id)[0]
        shapes[spec.resolution] = (len(grid.x0) if grid is not None else 0, spec.size_px, spec.size_px, 3)
    return SlideWriter(files, shapes, data.jpeg_quality, pool)


def _finish(data: DataSettings, writer: SlideWriter, opened: SlideOpened, keys: dict[tuple[str, str], str]) -> None:
    for resolution, array in writer.files.items():
        writer.finish(resolution)
        info = _paths(data, resolution, opened.slide_id)[1]
        write_json(info, facts_of(opened, resolution, keys[opened.slide_id, resolution]))
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
    found = _kept(slide_id, data, in_order(data.resolutions)[0])
    if found.get("quality_version") != QUALITY_VERSION:
        return None
    return look_from(found["look"]), float(found["tumour_area_um2"])


def slide_facts(slide_id: str, data: DataSettings, resolution: str) -> dict[str, Any] | None:
    """What is kept of a slide beside its tiles (see `facts_of`); None where its tiles were not cut."""
    found = read_json(_paths(data, resolution, slide_id)[1]) if _is_there(data, resolution, slide_id) else None
    assert found is None or isinstance(found, dict)
    return found


def content_of(slide_id: str, data: DataSettings, resolution: str) -> str:
    """Hash of a slide's content when its tiles were cut or laid; empty for a slide that is not in the store."""
    return str(_kept(slide_id, data, resolution).get("sha256", ""))


def _kept(slide_id: str, data: DataSettings, resolution: str) -> dict[str, Any]:
    """What is kept of a slide that was cut or laid; nothing where it was not, or the file is damaged."""
    from_slides = data.source == "slides"
    info = grid_path(data, resolution, slide_id) if from_slides else _paths(data, resolution, slide_id)[1]
    try:
        found = read_json(info)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read(slide_ids: Iterable[str], data: DataSettings, resolution: str) -> dict[str, StoredSlide]:
    """Stored slides; their tiles stay in their files until they are asked for.

    Returns:
        By slide id, those that are in the store, whole, and hold at least one tile. `build` cuts damaged ones again,
        or names those whose slides are not there for it.

    Raises:
        InputError: all are damaged, or of other settings.
    """
    stored = {}
    damaged: InputError | None = None
    for slide_id in slide_ids:
        try:
            found = _opened(data, resolution, slide_id)
        except InputError as error:
            damaged = damaged or error
            continue
        if found is not None and len(found.tiles):
            stored[slide_id] = found
    if damaged is not None and not stored:
        raise damaged
    return stored


def _opened(data: DataSettings, resolution: str, slide_id: str) -> StoredSlide | None:
    """One stored slide, of whose tiles only the file's head is read; None where it is not in the store.

    Raises:
        InputError: a damaged file, or tiles that are not of these settings.
    """
    size = spec_of(data, resolution).size_px
    array, info = _paths(data, resolution, slide_id)
    if not array.is_file() or not info.is_file():
        return None
    try:
        facts = read_json(info)
        corners, content = np.array([facts["x0"], facts["y0"]], np.int64), str(facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{info}: damaged ({error!r}); {AGAIN}") from error
    tiles = JpegTiles(array) if data.jpeg_quality else FileArray.npy(array)
    if tiles.shape != (corners.shape[1], size, size, 3):
        raise InputError(f"{array}: holds {list(tiles.shape)}, not {corners.shape[1]} tiles of {size} px; {AGAIN}")
    return StoredSlide(slide_id, content, tiles, places_hash(corners))


def places_hash(corners: NDArray[np.int64]) -> str:
    """Hash of where tiles lie: level-0 corners int64 [2, n], x0 and y0."""
    return hashlib.sha256(np.ascontiguousarray(corners, "<i8").tobytes()).hexdigest()
