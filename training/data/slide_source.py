"""Tiles straight from the slides: their places are worked out once and kept, their pixels read when a step draws them.

``<store>/grids/<resolution>/<cut>/<slide_id>.json`` holds what the tile store keeps beside its pixels, and which
tiles lie in tissue; without `data.store` it lies in the run's folder. The pixels are those that the tile store would
hold.
"""

from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import ConfigError, InputError
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.quality.hollow import in_tissue
from pathoprog.slides.identity import Stamp, stamp
from pathoprog.stream.events import Places
from pathoprog.stream.reader import SLOTS
from pathoprog.stream.requests import PlacedTiles, TileRequests
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideOpened, TileStream
from pathoprog.system.console import progress, say, warn
from pathoprog.system.files import read_json, write_json
from pathoprog.training.config import CandidateSettings, TrainEnsembleConfig
from pathoprog.training.data.by_resolution import data_of_each_source
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.tile_store import (
    StoredSlide,
    facts_of,
    grid_path,
    places_hash,
    slide_job,
    source_key,
    spec_of,
    specs,
)

REMEDY = "mend or replace the file, or take the slide out of the cohort, and give the same command again"


def settle(settings: CandidateSettings) -> None:
    """Where tiles come from slides, say where their grids are kept, and refuse what cannot go together.

    Raises:
        ConfigError: names the keys.
    """
    data = settings.data
    from_slides = [one for one in data_of_each_source(settings) if one.source == "slides"]
    if not from_slides:
        return
    for spec in specs(from_slides[0]):
        needed_mib = -(-SLOTS * spec.size_px**2 * 3 // 2**20)
        if data.stream.buffer_mib < needed_mib:
            raise ConfigError(
                f"data.stream.buffer_mib={data.stream.buffer_mib}: with data.source=slides and"
                f" data.tiles_{spec.resolution}.size_px={spec.size_px} it must be at least {needed_mib}"
            )
    if isinstance(settings, TrainEnsembleConfig) and settings.engine == "ray" and not data.stream.workers:
        raise ConfigError(
            "data.stream.workers=0: with data.source=slides and engine=ray say how many reader processes each candidate"
            " may have, for instance the CPUs of a node over its GPUs"
        )
    data.store = data.store or settings.out


def lay(cohort: pd.DataFrame, data: DataSettings) -> None:
    """Lay the grids that are not kept yet.

    Args:
        cohort: rows of the cohort table.
        data: where grids are kept, the tile specs, how slides are read.

    Raises:
        InputError: slides that cannot be read; each is named in a warning.
    """
    rows = {str(row["slide_id"]): row for row in cohort.to_dict("records")}
    keys = {name: source_key(row, data, specs(data)) for name, row in rows.items()}
    stamps = {name: stamp(row["slide_path"]) for name, row in rows.items()}
    jobs = [slide_job(row, data, specs(data)) for name, row in rows.items() if not _kept(data, name, keys[name])]
    say(f"    tiles from the slides, grids in {data.store}: {len(rows) - len(jobs)} there, {len(jobs)} to lay")
    failed = []
    for job in jobs:
        job.tiles = False
        for spec in specs(data):  # what no longer holds is not read, whatever comes
            grid_path(data, spec.resolution, job.slide_id).unlink(missing_ok=True)
    with progress("grids", len(jobs), "slides") as counter, TileStream(data.stream) as stream:
        for event in stream.read(jobs):
            if isinstance(event, SlideOpened):
                _keep(data, event, keys[event.slide_id], stamps[event.slide_id])
            elif isinstance(event, SlideFailed):
                warn(f"{event.slide_id}: {event.error}")
                failed.append(event.slide_id)
                counter.advance()
            elif isinstance(event, SlideDone):
                counter.advance()
    if failed:
        raise InputError(
            f"{len(failed)} of {len(rows)} slides cannot be read, first {failed[0]} (named above); {REMEDY}"
        )


def _kept(data: DataSettings, slide_id: str, key: str) -> bool:
    try:
        found = [read_json(grid_path(data, spec.resolution, slide_id)) for spec in specs(data)]
        return all(one["key"] == key and one["quality_version"] == QUALITY_VERSION for one in found)
    except (OSError, ValueError, KeyError):
        return False


def _keep(data: DataSettings, opened: SlideOpened, key: str, stamp: Stamp) -> None:
    for spec in specs(data):
        grid = opened.grids.get(spec.resolution)
        outside: Any = np.flatnonzero(~in_tissue(opened.tissue, grid)) if grid is not None else []
        facts = facts_of(opened, spec.resolution, key) | {"outside_tissue": outside, "stamp": stamp}
        write_json(grid_path(data, spec.resolution, opened.slide_id), facts)


def read(
    cohort: pd.DataFrame, data: DataSettings, resolution: str, requests: TileRequests | None
) -> dict[str, StoredSlide]:
    """Slides whose tiles are read when they are asked for.

    Args:
        cohort: rows of the cohort table.
        data: where grids are kept, how slides are opened.
        resolution: of the tiles.
        requests: who reads; None where no tile will be asked for.

    Returns:
        By slide id, those with at least one tile.

    Raises:
        InputError: a slide without a grid.
    """
    spec = spec_of(data, resolution)
    slides = {}
    for row in cohort.to_dict("records"):
        slide_id = str(row["slide_id"])
        path = grid_path(data, resolution, slide_id)
        if not path.is_file():
            raise InputError(f"{slide_id}: no grid of its tiles in {path}; give the command again, which lays it")
        facts = read_json(path)
        x0, y0 = (np.array(facts[name], np.int64) for name in ("x0", "y0"))
        inside = np.ones(len(x0), bool)
        inside[np.array(facts["outside_tissue"], np.int64)] = False
        if len(x0):
            tiles = PlacedTiles(
                slide_id, str(row["slide_path"]), data.slides, Places(spec, x0, y0, inside, facts["stamp"]), requests
            )
            slides[slide_id] = StoredSlide(slide_id, str(facts["sha256"]), tiles, places_hash(np.array([x0, y0])))
    return slides
