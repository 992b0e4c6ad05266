"""`pathoprog features`: tile features of any encoder, computed once per slide and stored.

Shapes: n tiles of one slide, s tile size in pixels, d features.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.networks.config import NO_ENCODER
from pathoprog.networks.encoder_records import SHOWN
from pathoprog.networks.encoders import try_encoder
from pathoprog.networks.engines.choice import FALLBACK, choose_runtime
from pathoprog.networks.feature_encoder import FeatureEncoder
from pathoprog.networks.features import read_facts, write_features
from pathoprog.networks.foreign.tensors import damage
from pathoprog.networks.published.encoder_recipes import RECIPES, as_shown, unlike_training
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.regions.slide_outline import GIVEN, where_given
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import in_order
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, SlideOpened, TileBatch, TileStream
from pathoprog.system.console import progress, say, warn
from pathoprog.system.csv_files import frame_text
from pathoprog.system.files import finite_or_none, not_replaced, sha256_file, sha256_value, write_or_beside
from pathoprog.system.machine.allocator import keep_freed_memory
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import dtype_name, resolve_device, resolve_dtype
from pathoprog.system.machine.pinned import register_for
from pathoprog.text.wording import count
from pathoprog.tiles.config import PREPROCESSING_VERSION, TileSpec
from pathoprog.training.config import FeaturesConfig
from pathoprog.training.data.data_config import check_data
from pathoprog.training.data.feature_store import feature_path
from pathoprog.training.data.named_slides import named_slides
from pathoprog.training.data.tile_store import slide_job, source_key, spec_of

TABLE = "features.csv"
STORED = {"fp16": np.float16, "fp32": np.float32}


@dataclass
class Extractor:
    """An encoder on its device, and what the files say of it."""

    settings: FeaturesConfig
    encoder: FeatureEncoder
    facts: dict[str, Any]

    def features(self, tiles: NDArray[np.uint8]) -> Tensor:
        """Features [n, d] of tiles uint8 [n, s, s, 3], as scoring computes them: equal tiles give equal bits.

        They stay on the encoder's device, where CUDA may compute them later: it has the next tiles copied beside that
        (`pathoprog.networks.engines.uploads`). The tiles' memory may be used again at once.

        Raises:
            PathoprogError: the batch does not fit the device's memory.
        """
        try:
            return self.encoder.features(tiles)
        except torch.OutOfMemoryError as error:
            raise PathoprogError(
                f"out of memory with {len(tiles)} tiles at once; lower data.stream.batch_tiles"
            ) from error


@dataclass
class FeaturesPlan:
    """What is to be done: rows of what is stored already, jobs for the stream, and the keys that the files will get.

    `keys` by slide and resolution: those of a slide that are missing, whose job it is.
    """

    rows: list[dict[str, Any]]
    jobs: list[SlideJob]
    keys: dict[tuple[str, str], str]


def run(settings: FeaturesConfig) -> int:
    """Compute what is missing; every slide has its rows in features.csv; exit code 1 if some could not be read."""
    keep_freed_memory()
    data = settings.data
    check_slides(settings)
    slides = named_slides(settings.paths, settings.outlines, data.slides) if settings.paths else slides_of(settings)
    extractor = make_extractor(settings)
    plan = make_plan(extractor, slides)
    say(f"  features {data.features}: {len(slides) - len(plan.jobs)} slides there, {len(plan.jobs)} to read")
    order = {str(slide_id): number for number, slide_id in enumerate(slides["slide_id"])}
    rows = sorted([*plan.rows, *extract(extractor, plan)], key=lambda row: (order[row["slide_id"]], row["resolution"]))
    table = pd.DataFrame(rows)
    path = Path(data.features) / TABLE
    written, why = write_or_beside(path, frame_text(table))
    failed = table.loc[table["status"] == "failed", "slide_id"].nunique()
    if failed:
        say(f"  {count(failed, 'slide')} failed (named above and in {written.name}); the rest is stored")
    if why:
        warn(not_replaced(path, written, why))
    return 1 if failed or why else 0


def check_slides(settings: FeaturesConfig) -> None:
    """Refuse a call that names slides twice over, or no place for the features, before any work.

    Raises:
        ConfigError: names the key.
    """
    data = settings.data
    if settings.paths and data.cohort:
        raise ConfigError("give either slides=… (files or folders) or data.cohort=…")
    if settings.outlines and not settings.paths:
        raise ConfigError("outlines is for slides=…; a cohort names its outlines in outline_path")
    if not settings.paths:
        check_data(data, "features")
    if not data.features:
        raise ConfigError("data.features is missing: give data.features=… (folder of stored features)")


def slides_of(settings: FeaturesConfig) -> pd.DataFrame:
    """The slides of a cohort in the roles that are read.

    Raises:
        CohortError: the table breaks its rules.
        InputError: no slide has one of the roles.
    """
    data = settings.data
    cohort = read_cohort(data.cohort, data.overlap)
    cohort = cohort[cohort["role"].isin(settings.roles)]
    if cohort.empty:
        raise InputError(f"{data.cohort}: no row has a role among {', '.join(settings.roles)}")
    return cohort


def make_plan(extractor: Extractor, slides: pd.DataFrame) -> FeaturesPlan:
    """Look which slides have their features, and what of the others is missing.

    Raises:
        InputError: features of another encoder or of other tiles in the folder.
    """
    data = extractor.settings.data
    plan = FeaturesPlan([], [], {})
    for row in slides.to_dict("records"):
        slide_id, missing = str(row["slide_id"]), []
        for spec in wanted_specs(extractor.settings):
            key = sha256_value([source_key(row, data, [spec]), extractor.facts])
            stored = _stored(extractor, spec, slide_id, key)
            if stored is not None:
                plan.rows.append(stored)
            else:
                missing.append(spec)
                plan.keys[slide_id, spec.resolution] = key
        if missing:
            plan.jobs.append(slide_job(row, data, missing))
    return plan


def extract(extractor: Extractor, plan: FeaturesPlan) -> Iterator[dict[str, Any]]:
    """Read the plan's slides and store their features; yields the row of each slide and resolution."""
    on_device = register_for(extractor.encoder.device, warn)
    opened: dict[str, SlideOpened] = {}
    parts: dict[tuple[str, str], list[Tensor]] = {}  # fetched at a slide's end, so that no batch is waited for
    wanted = {job.slide_id: [spec.resolution for spec in job.specs] for job in plan.jobs}
    with (
        progress("features", len(plan.jobs), "slides") as counter,
        TileStream(extractor.settings.data.stream, on_device) as stream,
    ):
        for event in stream.read(plan.jobs):
            name = event.slide_id
            if isinstance(event, SlideOpened):
                opened[name] = event
            elif isinstance(event, TileBatch):
                parts.setdefault((name, event.resolution), []).append(extractor.features(event.tiles))
            elif isinstance(event, SlideFailed):
                warn(f"{name}: {event.error}")
                status = "not_reportable" if event.error.not_reportable else "failed"
                for resolution in wanted[name]:
                    parts.pop((name, resolution), None)
                    yield _row(name, resolution, status, reason=str(event.error))
                counter.advance()
            elif isinstance(event, SlideDone):
                slide = opened.pop(name)
                for resolution in wanted[name]:
                    values = parts.pop((name, resolution), [])
                    yield _write(extractor, slide, resolution, values, plan.keys[name, resolution])
                counter.advance()


def wanted_specs(settings: FeaturesConfig) -> list[TileSpec]:
    """The tile specs of the resolutions to read."""
    return [spec_of(settings.data, resolution) for resolution in in_order(settings.resolutions)]


def make_extractor(settings: FeaturesConfig) -> Extractor:
    """Build the encoder and load its weights, before any slide is opened.

    Raises:
        ConfigError: no such encoder, weights that do not fit, or tiles of a size it does not take.
    """
    if settings.encoder == NO_ENCODER:
        raise ConfigError("encoder=none: features need an encoder")
    settings = as_shown(settings)
    for name in ("mean", "std"):
        if len(getattr(settings, name)) != 3:
            raise ConfigError(f"{name}={getattr(settings, name)}: must be three numbers, for red, green and blue")
    for spec in wanted_specs(settings):
        for unlike in unlike_training(settings, spec.size_px, spec.mpp, f"data.tiles_{spec.resolution}"):
            warn(unlike)
        try_encoder(settings, settings.input_px or spec.size_px, training=False, key="")
    if settings.encoder in RECIPES:
        recipe = RECIPES[settings.encoder]
        say(f"  encoder {settings.encoder}: weights of {recipe.source}, licence {recipe.licence}")
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    runtime = choose_runtime(settings.runtime, device.type, dtype_name(dtype))
    threads = cores() if runtime.name != FALLBACK else 1  # torch has threads of its own
    encoder = FeatureEncoder(settings, device, dtype, runtime, threads, lambda text: say(f"    {text}"))
    for spec in wanted_specs(settings):
        encoder.networks.ready(spec.size_px, spec.size_px)  # what computes is in what is said of the features
    values = as_dict(settings)
    facts = {
        "encoder": {**{name: values[name] for name in SHOWN}, "weights_sha256": sha256_file(settings.weights)},
        "d": encoder.d,
        "precision": settings.precision,
        "dtype": dtype_name(dtype),
        "runtime": encoder.networks.runtime.as_dict(),
    }
    return Extractor(settings, encoder, facts)


def _stored(extractor: Extractor, spec: TileSpec, slide_id: str, key: str) -> dict[str, Any] | None:
    """The row of a slide whose features are there and still hold, else None.

    A damaged file is taken as none, and that is said.

    Raises:
        InputError: the folder holds features of another encoder or of other tiles, or of another tool.
    """
    resolution = spec.resolution
    path = feature_path(extractor.settings.data, resolution, slide_id)
    if not path.is_file():
        return None
    if unreadable := damage(path):
        warn(f"{unreadable}; it is made again")
        return None
    facts = read_facts(path)
    if facts["encoder"] != extractor.facts["encoder"] or facts["spec"] != as_dict(spec):
        raise InputError(
            f"{path}: features of another encoder or of other tiles; give another data.features=…, or delete them"
        )
    if facts["key"] == key:
        return _row_of(facts)
    path.unlink()  # of a slide or an outline that has changed: if it cannot be read now, nothing stale stays
    return None


def _write(extractor: Extractor, opened: SlideOpened, resolution: str, parts: list[Tensor], key: str) -> dict[str, Any]:
    """Fetch one slide's features at one resolution from the device and store them; returns its row."""
    settings = extractor.settings
    grid = opened.grids.get(resolution)
    n = 0 if grid is None else len(grid)
    none = np.zeros((0, extractor.facts["d"]), STORED[settings.precision])
    values = np.concatenate([part.cpu().numpy() for part in parts]) if parts else none
    assert len(values) == n
    spec = next(spec for spec in wanted_specs(settings) if spec.resolution == resolution)
    reason = opened.refused.get(resolution, "")
    if not reason and n == 0:
        area = "tumour" if opened.region_source == "outline" else "tissue"
        reason = f"no tile with at least {spec.min_coverage:.0%} {area}"
        if opened.region_source in GIVEN and opened.outline is not None:
            reason += where_given(opened.outline, opened.facts, opened.tissue)
    facts = {
        **extractor.facts,
        "key": key,
        "slide_id": opened.slide_id,
        "slide_sha256": opened.sha256,
        "mpp": opened.facts.mpp,
        "spec": as_dict(spec),
        "width0": None if grid is None else grid.width0,
        "height0": None if grid is None else grid.height0,
        "region": opened.region_source,
        "preprocessing": PREPROCESSING_VERSION,
        "n_tiles": n,
        "reason": reason,
        "quality": {
            "version": QUALITY_VERSION,
            "look": finite_or_none(asdict(opened.look)),
            "tumour_area_um2": opened.tumour_area_um2,
            "tissue_area_um2": opened.tissue_area_um2,
        },
        "software_version": __version__,
        "research_use_only": RESEARCH_USE_ONLY,
    }
    path = feature_path(settings.data, resolution, opened.slide_id)
    x0, y0 = (np.zeros(0, np.int64),) * 2 if grid is None else (grid.x0, grid.y0)
    try:
        write_features(path, values, x0, y0, facts)
    except InputError as error:
        hint = "; give precision=fp32" if settings.precision == "fp16" else ""
        warn(f"{opened.slide_id}: {resolution}: {error}{hint}")
        return _row(opened.slide_id, resolution, "failed", reason=f"{error}{hint}", slide_sha256=opened.sha256)
    return _row_of(facts)


def _row_of(facts: dict[str, Any]) -> dict[str, Any]:
    """The row of a stored file."""
    status = "stored" if facts["n_tiles"] else "not_reportable"
    resolution = facts["spec"]["resolution"]
    return _row(facts["slide_id"], resolution, status, facts["n_tiles"], facts["reason"], facts["slide_sha256"])


def _row(
    slide_id: str, resolution: str, status: str, n_tiles: int = 0, reason: str = "", slide_sha256: str = ""
) -> dict[str, Any]:
    return {
        "slide_id": slide_id,
        "resolution": resolution,
        "status": status,
        "n_tiles": n_tiles,
        "reason": reason,
        "slide_sha256": slide_sha256,
    }
