"""What ``result.json`` and ``run.json`` of a scored slide hold, typed. No torch.

`result_text` of `slide_result_of` gives the same bytes: keys that this version does not know are kept, and written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pathoprog.ensemble.clinical import ClinicalNumber
from pathoprog.quality.checks import Check
from pathoprog.scoring.eligibility import Eligibility
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, in_order
from pathoprog.system.files import canonical_json, finite_or_none
from pathoprog.system.records import Record, RecordError, Saved, plain, record_of
from pathoprog.tiles.config import TileSpec

FORMAT = 2  # 2: development_slide, runtime
STATUSES = ("scored", "not_reportable", "failed")


@dataclass(frozen=True, kw_only=True)
class ResolutionResult(Record):
    """What the members of one resolution say of a slide.

    Attributes:
        score: mean of the members' scores, in [0, 1], higher = worse.
        threshold: the bundle's.
        distance: from the threshold to the score.
        members: score of the whole bag by each member's name.
        n_tiles: that the scores rest on.
        n_tiles_candidates: that might have been taken, before the limit of tiles a slide.
        tile_spec: what a tile is.
        runtime: engine and version that computed the tiles' values.
    """

    score: float
    threshold: float
    distance: float
    members: Mapping[str, float]
    n_tiles: int
    n_tiles_candidates: int
    tile_spec: Saved[TileSpec]
    runtime: str


@dataclass(frozen=True, kw_only=True)
class SlideRecord(Record):
    """What the reader found in the slide's file.

    Attributes:
        sha256: of the content.
        width: level-0 px.
        height: level-0 px.
        mpp_x: um per level-0 px, in force.
        mpp_y: as `mpp_x`.
        vendor: of the format.
        backend: what read it.
        objective: magnification that the file names; None where it names none.
        warnings: of the reader.
        region_source: what tiles were laid in: tissue, outline, network or corrected.
        tissue_area_um2: area of the tissue.
        tumour_area_um2: area of the region that tiles were laid in.
    """

    sha256: str
    width: int
    height: int
    mpp_x: float
    mpp_y: float
    vendor: str
    backend: str
    objective: float | None
    warnings: tuple[str, ...]
    region_source: str
    tissue_area_um2: float
    tumour_area_um2: float


@dataclass(frozen=True, kw_only=True)
class FeaturesRecord(Record):
    """The features of another tool that came in place of a slide.

    Attributes:
        sha256: that stands for their content.
        makers: who made them, in words, by resolution.
        unit: of the tiles' places: ``px`` (level-0), ``um``, or empty where they are not known.
    """

    sha256: str
    makers: Mapping[str, str]
    unit: str


@dataclass(frozen=True, kw_only=True)
class SlideResult(Record):
    """A slide's result and everything that it follows from: no time, host or path.

    Attributes:
        research_use_only: the caution.
        result_key: a hash of all that the result follows from; empty for failures.
        slide_id: of the slide.
        class_level: whether the class is the patient's, or the slide's alone.
        duplicate_of: another slide with the same content, whose result this is; else empty.
        status: one of `STATUSES`.
        risk_class: good, uncertain or poor where scored, else empty.
        borderline: a score lies nearer to its threshold than equal work may differ.
        reason: why it is not scored, else empty.
        code: the reason's short machine-readable name.
        stage: where it failed.
        development_slide: where the bundle was developed on it, in which role; else empty.
        quality: flags that a reader of the result must see, overrides among them.
        checks: of the slide's quality.
        eligibility: whether the bundle was made for such a slide; None where nobody asked.
        ensemble_id: of the bundle.
        settings: the scoring configuration that belongs to the key, as plain values.
        overrides: settings that depart from the bundle's or the file's own values.
        outline_sha256: of the outline's file, or empty.
        outline_who: drew a corrected outline, as far as its file says.
        outline_when: as `outline_who`.
        batches_halved: batches that did not fit the device's memory and were split.
        scores: by resolution; of all the ensemble's where scored.
        slide: what was found in the file; None where it could not be opened, or no slide was read.
        clinical: what the bundle's model over its number and clinical covariates says of the patient, where it has one.
        features: that came in place of the slide, where a bundle takes those of another tool.
    """

    research_use_only: str
    result_key: str
    slide_id: str
    class_level: str
    duplicate_of: str
    status: str
    risk_class: str
    borderline: bool
    reason: str
    code: str
    stage: str
    development_slide: str
    quality: tuple[str, ...]
    checks: tuple[Check, ...]
    eligibility: Eligibility | None
    ensemble_id: str
    settings: Mapping[str, Any]
    overrides: Mapping[str, Any]
    outline_sha256: str
    outline_who: str
    outline_when: str
    batches_halved: int
    scores: Mapping[str, ResolutionResult]
    slide: SlideRecord | None
    features: FeaturesRecord | None = None
    clinical: ClinicalNumber | None = None

    @property
    def content(self) -> str:
        """SHA-256 of what was scored: the slide's content, or that of the features in its place; empty if unknown."""
        return self.slide.sha256 if self.slide else self.features.sha256 if self.features else ""

    @property
    def resolutions(self) -> tuple[str, ...]:
        """The ensemble's, by the tile specs that it was scored with."""
        specs = self.settings.get("tile_specs")
        found = specs if isinstance(specs, list | tuple) else ()
        said = [spec.get("resolution") for spec in found if isinstance(spec, Mapping)]
        return in_order([name for name in said if isinstance(name, str)]) or METHOD_RESOLUTIONS


@dataclass(frozen=True, kw_only=True)
class SlideRun(Record):
    """When, where and with what a slide was scored.

    Attributes:
        software_version: of this program.
        device: its name; empty where no network was needed.
        attempt: number of the try that gave the result.
        host: name of the machine.
        finished_at: date and time, UTC, ISO 8601.
        seconds: from opening the slide to its last tile.
        torch: version; None where no network was needed.
        runtime: engine and version by resolution; None as `torch`.
        files: name -> SHA-256 of the other files in the slide's folder; None before they are written.
    """

    software_version: str
    device: str
    attempt: int
    host: str
    finished_at: str
    seconds: float
    torch: str | None = None
    runtime: Mapping[str, str] | None = None
    files: Mapping[str, str] | None = None


def slide_result_of(value: Any) -> SlideResult:
    """A result from what ``result.json`` holds.

    Raises:
        RecordError: an unknown format or status, a key that is missing, or a value of another type; says where.
    """
    found = value.get("format") if isinstance(value, Mapping) else type(value).__name__
    if not isinstance(value, Mapping) or type(found) is not int or found != FORMAT:
        raise RecordError(f"format {found!r}, this version reads {FORMAT}")
    result = record_of(SlideResult, {name: item for name, item in value.items() if name != "format"})
    if result.status not in STATUSES:
        raise RecordError(f"status: {result.status!r}, must be one of {', '.join(STATUSES)}")
    if result.status == "scored" and (missing := [name for name in result.resolutions if name not in result.scores]):
        raise RecordError(f"scores: lacks {', '.join(missing)}")
    return result


def read_result_text(text: str) -> SlideResult:
    """A result from the text of ``result.json``.

    Raises:
        RecordError: it is no JSON; see `slide_result_of`.
    """
    return slide_result_of(_json(text))


def read_run_text(text: str) -> SlideRun:
    """A run from the text of ``run.json``.

    Raises:
        RecordError: it is no JSON, a key is missing, or a value is of another type; says where.
    """
    return record_of(SlideRun, _json(text))


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"no JSON: {error}") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def result_text(result: SlideResult) -> str:
    """The text of ``result.json``: equal results give equal bytes."""
    return canonical_json(finite_or_none({**plain(result), "format": FORMAT}))


def run_text(run: SlideRun) -> str:
    """The text of ``run.json``."""
    return canonical_json(plain(run))
