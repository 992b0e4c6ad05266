"""`pathoprog inspect`: what each slide is, whether it can be used, and why not.

Slides are read as scoring reads them, through the stream: a file that crashes its library is one line here.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.commands.inspect_config import InspectConfig
from pathoprog.errors import InputError
from pathoprog.quality.checks import FAIL, WARN, QualityRules
from pathoprog.quality.stain import is_dark, stain_look
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.finding import NotTaken, slides_in
from pathoprog.slides.resolutions import RESOLUTION_MPP
from pathoprog.slides.slide import SlideFacts
from pathoprog.stream.slide_stream import SlideFailed, SlideJob, SlideOpened, StreamSettings, TileBatch, TileStream
from pathoprog.system.console import say, warn
from pathoprog.system.files import finite_or_none
from pathoprog.tiles.config import TileSpec, standard_spec

USABLE, OVERRIDE, NOT_USABLE = "usable", "usable with override", "not usable"
PROBE_TILES = 6  # tiles per resolution that are decoded to see that the pixels are there
MPP_CODES = ("mpp_missing", "mpp_absurd", "mpp_unequal")
ASSUMED_MPP = 0.25  # only to look at the pixels of a slide whose um/px is not known


@dataclass
class Inspection:
    """What is found of one slide.

    Attributes:
        path: as given or found.
        verdict: ``usable``, ``usable with override`` or ``not usable``.
        reasons: why it is not simply usable.
        override: settings that would make it so, as they are written on the command line.
        facts: of the open slide; None where it could not be opened. um/px is NaN where the file has none.
        tissue_mm2: area of the tissue, NaN where it was not measured.
        tiles: number of tiles by resolution, or why there are none.
        green_share: see `stain.StainLook`.
        quality: checks that scoring would warn of or refuse, by the project's limits; a bundle may have others.
    """

    path: str
    verdict: str = USABLE
    reasons: list[str] = field(default_factory=list)
    override: list[str] = field(default_factory=list)
    facts: SlideFacts | None = None
    tissue_mm2: float = float("nan")
    tiles: dict[str, int | str] = field(default_factory=dict)
    green_share: float = float("nan")
    quality: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """It cannot be used."""
        self.verdict = NOT_USABLE
        self.reasons.append(reason)

    def require(self, reason: str, override: str) -> None:
        """It can be used if the user says so."""
        if self.verdict == USABLE:
            self.verdict = OVERRIDE
        self.reasons.append(reason)
        self.override.append(override)


def run(settings: InspectConfig) -> int:
    """Inspect the slides that the settings name; 0 whatever the verdicts, which are the answer."""
    paths = find(settings.paths, settings.slides)
    found = inspect(paths, settings.slides, settings.tile_px, settings.stream)
    if settings.json:
        say(json.dumps([as_record(item) for item in found], indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    for item in found:
        say(line(item))
    return 0


def find(given: list[str], settings: SlideSettings | None = None) -> list[str]:
    """The slides that files and folders given by a user stand for.

    Args:
        given: files and folders.
        settings: where slides may lie, and whether links out of a folder are followed.

    Raises:
        InputError: names each path that is not there or cannot be looked at, and each folder without slides.
    """
    result: dict[str, None] = {}
    faults: list[str] = []
    not_taken = NotTaken()
    for text in given:
        path = Path(text)
        try:
            path.stat()
            slides = list(slides_in(path, not_taken, settings=settings)) if path.is_dir() else [path]
        except FileNotFoundError:
            faults.append(f"{text}: no such file or folder")
        except (OSError, ValueError) as error:
            faults.append(f"{text}: cannot be looked at ({getattr(error, 'strerror', None) or error})")
        else:
            result.update(dict.fromkeys(map(str, slides)))
            faults += [f"{text}: no slides in this folder"] if not slides else []
    if faults:
        raise InputError("\n  ".join(faults if len(faults) == 1 else [f"{len(faults)} faults in the input:", *faults]))
    for left in not_taken.lines():
        warn(f"not taken in the folders given: {left}")
    return list(result)


def inspect(paths: list[str], slides: SlideSettings, tile_px: int, stream: StreamSettings) -> Iterator[Inspection]:
    """Look at slides, in the order given.

    Args:
        paths: files, or DICOM folders.
        slides: how they are opened.
        tile_px: side of the tiles that they are judged for.
        stream: the reader processes.
    """
    with TileStream(stream) as readers:
        found = _look(readers, paths, slides, tile_px)
        unknown = [path for path, (item, code) in found.items() if code in MPP_CODES and item.facts is not None]
        assumed = dataclasses.replace(slides, mpp=ASSUMED_MPP)
        seen = _look(readers, unknown, assumed, tile_px) if unknown else {}
    for path, (item, _) in found.items():
        if path in seen:
            _add_pixels(item, *seen[path], tile_px)
        yield item


def _look(
    readers: TileStream, paths: list[str], slides: SlideSettings, tile_px: int
) -> dict[str, tuple[Inspection, str]]:
    """Inspections by path, each with the code of the error that ended it ("" for none)."""
    specs = [standard_spec(name, tile_px, max_per_slide=PROBE_TILES) for name in RESOLUTION_MPP]
    found = {path: (Inspection(path), "") for path in paths}
    pixels: dict[str, list[NDArray[np.uint8]]] = {path: [] for path in paths}
    thumbnails: dict[str, NDArray[np.uint8]] = {}
    for event in readers.read(SlideJob(path, path, specs, slides, hash_content=False) for path in paths):
        item = found[event.slide_id][0]
        if isinstance(event, SlideOpened):
            _judge_grids(item, event, specs)
            thumbnails[event.slide_id] = event.thumbnail
        elif isinstance(event, TileBatch):
            pixels[event.slide_id].append(event.tiles.reshape(-1, 3)[::4].copy())
        elif isinstance(event, SlideFailed):
            _judge_failure(item, event)
            found[event.slide_id] = (item, event.error.code)
        elif item.tissue_mm2 > 0 and not is_dark(thumbnails[event.slide_id]):
            tiles, thumbnail = pixels.pop(event.slide_id), thumbnails.pop(event.slide_id)
            _judge_stain(item, np.concatenate(tiles) if tiles else thumbnail)
    return found


def _judge_grids(item: Inspection, opened: SlideOpened, specs: list[TileSpec]) -> None:
    item.facts = opened.facts
    item.tissue_mm2 = opened.tissue_area_um2 / 1e6
    item.tiles = {name: grid.n_candidates for name, grid in opened.grids.items()} | opened.refused
    item.quality = [
        f"{check.verdict}: {check.finding}"
        for check in QualityRules().judge(dataclasses.replace(opened, grids={}))
        if check.verdict in (WARN, FAIL)
    ]
    base = specs[0]
    side_um = base.size_px * base.mpp
    smallest_um = min(opened.facts.width * opened.facts.mpp_x, opened.facts.height * opened.facts.mpp_y)
    if base.resolution in opened.refused:
        item.refuse(f"{opened.facts.mpp:.4g} um/px is too coarse even for {base.resolution} ({base.mpp:g} um/px)")
    elif is_dark(opened.thumbnail):
        item.refuse("dark background: fluorescence or inverted, no brightfield")
    elif opened.tissue_area_um2 == 0:
        item.refuse(
            f"no stained tissue found on {smallest_um:.0f} um" if smallest_um < side_um else "no stained tissue"
        )
    elif smallest_um < side_um:
        reason = f"{smallest_um:.0f} um small: no {base.resolution} tile of {side_um:.0f} um fits, only smaller ones"
        item.require(reason, "tile_px=…")
    elif item.tiles[base.resolution] == 0:
        item.refuse(f"{item.tissue_mm2:.2g} mm2 of tissue fill no {base.resolution} tile")
    if item.verdict != NOT_USABLE:
        for reason in opened.refused.values():
            item.require(reason.partition(" (slides.")[0], "slides.allow_upsampling=true")


def _judge_failure(item: Inspection, event: SlideFailed) -> None:
    item.facts = event.facts or item.facts
    reason = _without_path(str(event.error), event.slide_id)
    if event.error.code in MPP_CODES:
        item.require(reason.partition("; give slides.mpp")[0], "slides.mpp=…")
    else:
        item.refuse(reason)


def _judge_stain(item: Inspection, pixels: NDArray[np.uint8]) -> None:
    look = stain_look(pixels)
    item.green_share = look.green_share
    if look.kind == "other":
        item.refuse(f"does not look like H&E: green is absorbed most in {look.green_share:.0%} of the stained pixels")
    elif look.kind == "blank":
        item.refuse("hardly any stained pixels in the tiles looked at")


def _add_pixels(item: Inspection, seen: Inspection, code: str, tile_px: int) -> None:
    """Add what the pixels of a slide of unknown um/px tell: whether they can be read, and their stain."""
    item.green_share = seen.green_share
    assert item.facts is not None
    if min(item.facts.width, item.facts.height) < tile_px:
        item.require(f"no tile of {tile_px} px fits, only smaller ones", "tile_px=…")
    if code or (seen.verdict == NOT_USABLE and np.isfinite(seen.green_share)):
        for reason in seen.reasons:
            item.refuse(reason)


def _without_path(message: str, path: str) -> str:
    return message.removeprefix(f"{path}: ").replace(path, Path(path).name)


def as_record(item: Inspection) -> dict[str, Any]:
    """An inspection as plain values; what is not known is None."""
    facts = item.facts
    record = {
        "path": item.path,
        "verdict": item.verdict,
        "reasons": item.reasons,
        "override": item.override,
        "format": facts.vendor if facts else None,
        "backend": facts.backend if facts else None,
        "width": facts.width if facts else None,
        "height": facts.height if facts else None,
        "levels": [dataclasses.asdict(level) for level in facts.levels] if facts else None,
        "mpp_x": facts.mpp_x if facts else None,
        "mpp_y": facts.mpp_y if facts else None,
        "objective": facts.objective if facts else None,
        "tissue_mm2": round(item.tissue_mm2, 4),
        "tiles": item.tiles,
        "green_share": round(item.green_share, 3),
        "quality": item.quality,
        "warnings": list(facts.warnings) if facts else [],
    }
    plain = finite_or_none(record)
    assert isinstance(plain, dict)
    return plain


def line(item: Inspection) -> str:
    """An inspection as one line of text."""
    parts = [f"{item.verdict:<20}", item.path]
    if item.facts:
        facts = item.facts
        levels = f"{len(facts.levels)} level{'s' if len(facts.levels) > 1 else ''}"
        mpp = f"{facts.mpp:.4g} um/px" if np.isfinite(facts.mpp) else "um/px unknown"
        objective = f" {facts.objective:g}x" if facts.objective else ""
        parts.append(
            f"{facts.vendor} by {facts.backend}, {facts.width} x {facts.height} px, {levels}, {mpp}{objective}"
        )
        counts = [f"{n} tiles at {name}" for name, n in item.tiles.items() if isinstance(n, int)]
        parts += [", ".join(counts)] if counts else []
    parts += item.reasons
    parts += [f"override: {' '.join(item.override)}"] if item.verdict == OVERRIDE else []
    parts += [f"quality {text}" for text in item.quality]
    parts += [f"warning: {text}" for text in (item.facts.warnings if item.facts else ())]
    return " | ".join(parts)
