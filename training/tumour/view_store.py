"""Views of slides for the tumour network's training: a cohort's coarse pictures with their labels, read from files.

``<out>/views/<view>/<slide_id>.npy`` holds uint8 [h, w, 4]: red, green, blue and a label (0 glass, 1 tissue, 2 tumour)
of the canvas that `pathoprog.regions.overview` lays; ``….json`` the slide's facts and the key by which a later run
knows whether the file still holds. `view` names the settings that views follow from.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from pathoprog.errors import InputError, PathoprogError
from pathoprog.regions.annotations import polygons
from pathoprog.regions.outline_mask import outline_mask
from pathoprog.regions.overview import GLASS, Windows
from pathoprog.regions.slide_outline import given_outline
from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.config import reading
from pathoprog.slides.identity import stamp
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, SlideOpened, TileStream
from pathoprog.system.console import progress, say, warn
from pathoprog.system.file_array import FileArray
from pathoprog.system.file_names import file_name
from pathoprog.system.files import file_stamp, read_json, sha256_value, sync_folder, write_json
from pathoprog.tiles.config import PREPROCESSING_VERSION
from pathoprog.training.data.disk_space import allocate, cannot_write
from pathoprog.training.tumour.config import SegmentConfig

TISSUE, TUMOUR = 1, 2


@dataclass
class View:
    """One slide to learn from: `pixels` is uint8 [h, w, 4] in a file, see the module."""

    slide_id: str
    patient_id: str
    sha256: str
    facts: SlideFacts
    pixels: FileArray
    outline: shapely.MultiPolygon


class _Cutter:
    """Stands where a network would, and keeps the windows that it is shown."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.open: dict[str, tuple[NDArray[np.uint8], Windows]] = {}

    def path(self, slide_id: str) -> Path:
        return self.folder / f".{file_name(slide_id)}.npy.tmp"

    def begin(self, slide_id: str, facts: SlideFacts, windows: Windows) -> None:
        shape = (windows.height, windows.width, 4)
        canvas = np.lib.format.open_memmap(self.path(slide_id), "w+", np.uint8, shape)
        try:
            allocate(self.path(slide_id))
        except OSError as error:
            self.path(slide_id).unlink(missing_ok=True)
            raise cannot_write(error, self.folder) from error
        canvas[..., :3] = GLASS
        self.open[slide_id] = canvas, windows

    def add(self, slide_id: str, start: int, pixels: NDArray[np.uint8]) -> None:
        canvas, windows = self.open[slide_id]
        for offset, window in enumerate(pixels):
            x, y = int(windows.x[start + offset]), int(windows.y[start + offset])
            canvas[y : y + windows.size_px, x : x + windows.size_px, :3] = window

    def end(self, slide_id: str) -> shapely.MultiPolygon:
        return shapely.MultiPolygon()

    def forget(self, slide_id: str) -> None:
        self.open.pop(slide_id, None)
        self.path(slide_id).unlink(missing_ok=True)


def folder_of(settings: SegmentConfig) -> Path:
    """Where views of these settings are kept; those of others lie beside them."""
    view = settings.outline
    made_by = [view.mpp, view.window_px, view.overlap_px, reading(settings.slides), PREPROCESSING_VERSION]
    return Path(settings.out) / "views" / f"{view.mpp:g}um-{sha256_value(made_by)[:12]}"


def check_outlines(cohort: pd.DataFrame) -> None:
    """Refuse slides without an outline to learn from.

    Raises:
        InputError: how many, and the first.
    """
    without = [str(row["slide_id"]) for row in cohort.to_dict("records") if not row["outline_path"]]
    if without:
        raise InputError(f"{len(without)} slides have no outline_path in the cohort table, first {without[0]}")


def build(cohort: pd.DataFrame, settings: SegmentConfig, store: Path) -> int:
    """Make the views that the store lacks.

    Args:
        cohort: rows of the cohort table, each with an outline.
        settings: the view, how slides are read.
        store: folder.

    Returns:
        Number of slides that could not be read; each is named in a warning, and absent from the store.

    Raises:
        InputError: a slide has no outline.
    """
    rows = {str(row["slide_id"]): row for row in cohort.to_dict("records")}
    check_outlines(cohort)
    keys = {name: _key(row, settings) for name, row in rows.items()}
    jobs = [_job(name, row, settings) for name, row in rows.items() if not _valid(store, name, keys[name])]
    say(f"    views at {settings.outline.mpp:g} um/px in {store}: {len(rows) - len(jobs)} there, {len(jobs)} to make")
    store.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        _paths(store, job.slide_id)[1].unlink(missing_ok=True)  # what no longer holds is not read, whatever comes
    cutter, failed = _Cutter(store), 0
    opened: dict[str, SlideOpened] = {}
    with progress("views", len(jobs), "slides") as counter, TileStream(settings.stream) as stream:
        for event in stream.read(jobs, cutter):
            if isinstance(event, SlideOpened):
                opened[event.slide_id] = event
                continue
            counter.advance()
            try:
                if isinstance(event, SlideFailed):
                    raise event.error
                assert isinstance(event, SlideDone)
                name = event.slide_id
                _finish(store, cutter, opened.pop(name), rows[name], keys[name], settings)
            except PathoprogError as error:
                warn(f"{event.slide_id}: {error}")
                cutter.forget(event.slide_id)
                failed += 1
    return failed


def _job(slide_id: str, row: dict[Any, Any], settings: SegmentConfig) -> SlideJob:
    return SlideJob(
        slide_id=slide_id,
        path=str(row["slide_path"]),
        specs=[],
        slides=settings.slides,
        tumour_policy="network",
        overview=settings.outline,
    )


def _key(row: dict[Any, Any], settings: SegmentConfig) -> str:
    view = settings.outline
    return sha256_value(
        {
            "slide": stamp(row["slide_path"]),
            "outline": file_stamp(row["outline_path"]),
            "view": [view.mpp, view.window_px, view.overlap_px],
            "slides": reading(settings.slides),
            "preprocessing": PREPROCESSING_VERSION,
        }
    )


def _paths(store: Path, slide_id: str) -> tuple[Path, Path]:
    name = file_name(slide_id)
    return store / f"{name}.npy", store / f"{name}.json"


def _valid(store: Path, slide_id: str, key: str) -> bool:
    array, info = _paths(store, slide_id)
    try:
        return array.is_file() and bool(read_json(info)["key"] == key)
    except (OSError, ValueError, KeyError):
        return False


def _finish(
    store: Path, cutter: _Cutter, opened: SlideOpened, row: dict[Any, Any], key: str, settings: SegmentConfig
) -> None:
    """Add the labels, and put the view in its place."""
    facts, mpp = opened.facts, settings.outline.mpp
    canvas, _ = cutter.open.pop(opened.slide_id)
    outline, _ = given_outline(str(row["outline_path"]), facts, roots=settings.slides.roots)
    inside = drawn(outline, (canvas.shape[0], canvas.shape[1]), mpp, facts)
    canvas[..., 3] = np.where(inside, TUMOUR, TISSUE * _in_tissue(opened.tissue, canvas.shape[:2], mpp, facts))
    canvas.flush()  # type: ignore[attr-defined]  # a memory map, as open_memmap's stub does not say
    del canvas
    array, info = _paths(store, opened.slide_id)
    cutter.path(opened.slide_id).replace(array)
    kept = {**asdict(facts), "path": ""}
    write_json(info, {"key": key, "sha256": opened.sha256, "outline": outline.wkt, "facts": kept})
    sync_folder(store)


def drawn(outline: shapely.MultiPolygon, shape: tuple[int, int], mpp: float, facts: SlideFacts) -> NDArray[np.bool_]:
    """The inside of an outline (level-0 px) as a mask [h, w] of a view of `mpp` um per pixel."""
    scale = np.array([facts.mpp_x / mpp, facts.mpp_y / mpp])
    return outline_mask(shapely.transform(outline, lambda xy: xy * scale), shape, with_line=False)


def _in_tissue(tissue: RegionMask, shape: tuple[int, ...], mpp: float, facts: SlideFacts) -> NDArray[np.bool_]:
    """The tissue mask at the middles of a view's pixels."""
    rows = ((np.arange(shape[0]) + 0.5) * mpp / facts.mpp_y / tissue.downsample_y).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * mpp / facts.mpp_x / tissue.downsample).astype(int)
    h, w = tissue.array.shape
    inside = (rows < h)[:, None] & (columns < w)
    result: NDArray[np.bool_] = tissue.array[np.ix_(np.minimum(rows, h - 1), np.minimum(columns, w - 1))] & inside
    return result


def read(cohort: pd.DataFrame, store: Path) -> list[View]:
    """The stored views of some slides, in the table's order; those that could not be made are left out."""
    views = []
    for row in cohort.to_dict("records"):
        array, info = _paths(store, str(row["slide_id"]))
        if array.is_file() and info.is_file():
            values = read_json(info)
            levels = tuple(Level(**level) for level in values["facts"].pop("levels"))
            facts = SlideFacts(**{**values["facts"], "levels": levels, "warnings": tuple(values["facts"]["warnings"])})
            outline = polygons(shapely.from_wkt(values["outline"]))
            pixels = FileArray.npy(array)
            views.append(View(str(row["slide_id"]), str(row["patient_id"]), values["sha256"], facts, pixels, outline))
    return views
