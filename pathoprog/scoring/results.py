"""The files of one scored slide, and the rows of results.csv that follow from them.

Per slide one folder: ``result.json`` (canonical: equal work gives equal bytes; no time, host or path in it),
``run.json`` (when, where, with what; hashes of the others), ``tiles.parquet``, ``tiles.geojson``, ``tumour.geojson``
(the outline that tiles lie in, where there is one) and ``heatmap.png``;
under the bag rule also ``instances.safetensors`` where the patient has several slides. A folder appears whole or not
at all.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.errors import InputError
from pathoprog.scoring.slide_outcomes import ResolutionScore, SlideScore
from pathoprog.scoring.slide_result import (
    FeaturesRecord,
    ResolutionResult,
    SlideRecord,
    SlideResult,
    SlideRun,
    read_result_text,
    read_run_text,
    run_text,
)
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, in_order
from pathoprog.stream.events import SlideOpened
from pathoprog.system.fault_points import point
from pathoprog.system.file_names import folder_name
from pathoprog.system.files import sync_folder
from pathoprog.system.records import Saved


def result_columns(resolutions: Collection[str] = METHOD_RESOLUTIONS) -> tuple[str, ...]:
    """Columns of results.csv: scores and numbers of tiles are those of the bundle's resolutions."""
    names = in_order(resolutions)
    return (
        "slide_id",
        "patient_id",
        "status",
        "risk_class",
        "borderline",
        *(f"score_{name}" for name in names),
        *(f"n_tiles_{name}" for name in names),
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


RESULT_COLUMNS = result_columns()
"""Those of METHOD's ensemble."""
PATIENT_LEVEL = "patient"
SLIDE_LEVEL = "slide level, not validated"
STAGING_SUFFIX = ".staging"
INSTANCES = "instances.safetensors"
TILES, TILES_GEOJSON, OUTLINE = "tiles.parquet", "tiles.geojson", "tumour.geojson"
"""Files of a slide's folder that others read too; there are none where no tile was scored, or no outline was used."""


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
        outline_author: of a corrected outline, ``who`` drew it and ``when``, as far as its file says.
        class_level: `PATIENT_LEVEL`, or `SLIDE_LEVEL` where the patient has several slides.
        duplicate_of: another slide with the same content, whose result this is.
        caution: that the ensemble is not METHOD's, where it is not (`Shape.caution`); stands among the flags.
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
    outline_author: dict[str, str] = field(default_factory=dict)
    class_level: str = PATIENT_LEVEL
    duplicate_of: str = ""
    caution: str = ""


def result_record(outcome: SlideScore, context: Context) -> SlideResult:
    """What result.json holds: the outcome and everything it follows from."""
    overrides = (f"override: {key}={value}" for key, value in sorted(context.overrides.items()))
    return SlideResult(
        research_use_only=RESEARCH_USE_ONLY,
        result_key=context.key,
        slide_id=context.slide_id,
        class_level=context.class_level,
        duplicate_of=context.duplicate_of,
        status=outcome.status,
        risk_class=outcome.risk_class,
        borderline=outcome.borderline,
        reason=outcome.reason,
        code=outcome.code,
        stage=outcome.stage,
        development_slide=outcome.development,
        quality=(*outcome.quality, *overrides, *([context.caution] if context.caution else [])),
        checks=tuple(outcome.checks),
        eligibility=outcome.eligibility,
        ensemble_id=context.ensemble_id,
        settings=context.settings,
        overrides=context.overrides,
        outline_sha256=context.outline_sha256,
        outline_who=context.outline_author.get("who", ""),
        outline_when=context.outline_author.get("when", ""),
        batches_halved=outcome.halved,
        scores={
            resolution: _resolution_result(score, context.thresholds[resolution])
            for resolution, score in outcome.resolutions.items()
        },
        slide=None if outcome.opened is None or outcome.opened.features else _slide_record(outcome.opened),
        clinical=outcome.clinical,
        features=None if outcome.opened is None else _features_record(outcome.opened),
    )


def _resolution_result(score: ResolutionScore, threshold: float) -> ResolutionResult:
    return ResolutionResult(
        score=score.score,
        threshold=threshold,
        distance=score.score - threshold,
        members=dict(zip(score.members, score.member_scores, strict=True)),
        n_tiles=len(score.grid),
        n_tiles_candidates=score.grid.n_candidates,
        tile_spec=Saved(score.grid.spec),
        runtime=score.runtime,
    )


def _features_record(opened: SlideOpened) -> FeaturesRecord | None:
    given = opened.features
    return None if given is None else FeaturesRecord(sha256=opened.sha256, makers=given.makers, unit=given.unit)


def _slide_record(opened: SlideOpened) -> SlideRecord:
    facts = opened.facts
    return SlideRecord(
        sha256=opened.sha256,
        width=facts.width,
        height=facts.height,
        mpp_x=facts.mpp_x,
        mpp_y=facts.mpp_y,
        vendor=facts.vendor,
        backend=facts.backend,
        objective=facts.objective,
        warnings=tuple(facts.warnings),
        region_source=opened.region_source,
        tissue_area_um2=opened.tissue_area_um2,
        tumour_area_um2=opened.tumour_area_um2,
    )


def stage_slide(slides_folder: Path, name: str, files: dict[str, bytes], run: SlideRun) -> Path:
    """Write a slide's files, synced, to a folder that no reader takes for a result yet; see `publish_slide`.

    Args:
        slides_folder: holds one folder per slide.
        name: of the attempt; unique.
        files: of `pathoprog.slide_report.slide_folder`.
        run: what goes to run.json; the other files' hashes are added.

    Returns:
        The folder; nothing of it is left where writing fails.
    """
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    run_json = run_text(replace(run, files=digests)).encode("utf-8")
    staging = slides_folder / f".{name}{STAGING_SUFFIX}"
    staging.mkdir(parents=True)
    try:
        with contextlib.ExitStack() as opened:
            streams = []
            for file, data in {**files, "run.json": run_json}.items():
                point("write")
                streams.append(opened.enter_context((staging / file).open("wb")))
                streams[-1].write(data)
                streams[-1].flush()
            for stream in streams:  # after all are written: a disk that is busy takes them together
                os.fsync(stream.fileno())
        sync_folder(staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return staging


def discard_staged(slides_folder: Path, name: str) -> None:
    """Remove what an attempt staged, if it did."""
    shutil.rmtree(slides_folder / f".{name}{STAGING_SUFFIX}", ignore_errors=True)


def publish_slide(staging: Path, slide_id: str) -> None:
    """Put a staged folder in its place; an older one is moved out of the way first and then removed.

    Raises:
        OSError: what is there cannot be moved away; it is as it was, and the staged folder too.
    """
    target, old = staging.parent / folder_name(slide_id), staging.with_name(f"{staging.name}.old")
    point("before_rename")
    if os.path.lexists(target):
        target.rename(old)
    staging.rename(target)
    sync_folder(target.parent)
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)  # what cannot be removed is out of the way, and in nobody's
    else:
        old.unlink(missing_ok=True)


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
        shutil.rmtree(path, ignore_errors=True)  # one that cannot be removed is nobody's result, and stops nobody
    return len(leftovers)


def read_slide(slides_folder: Path, slide_id: str, verify: bool = True) -> tuple[SlideResult, SlideRun] | None:
    """Read a slide's result.json and run.json; None where there is no whole, unchanged result.

    Args:
        slides_folder: holds one folder per slide.
        slide_id: of the slide.
        verify: also hash the other files.
    """
    folder = slides_folder / folder_name(slide_id)
    try:
        run = read_run_text((folder / "run.json").read_text(encoding="utf-8"))
        if verify and (run.files is None or not _unchanged(folder, run.files)):
            return None
        return read_result_text((folder / "result.json").read_text(encoding="utf-8")), run
    except (OSError, ValueError):
        return None  # absent or damaged alike: it is computed again


def _unchanged(folder: Path, files: Mapping[str, str]) -> bool:
    return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in files.items())


def slide_row(result: SlideResult, run: SlideRun, context: Context) -> dict[str, Any]:
    """A slide's row of results.csv; floats in full, so that the class follows from what is written."""
    row: dict[str, Any] = {
        "slide_id": context.slide_id,
        "patient_id": context.patient_id,
        "borderline": "true" if result.borderline else "false" if result.status == "scored" else "",
        "quality": ";".join(result.quality),
        "slide_sha256": result.content,
        "software_version": run.software_version,
        "device": run.device,
        "seconds": f"{run.seconds:.3f}",
        "duplicate_of": context.duplicate_of,
    }
    for name in ("status", "risk_class", "reason", "ensemble_id", "class_level"):
        row[name] = getattr(result, name)
    for resolution in result.resolutions:
        found = result.scores.get(resolution)
        row[f"score_{resolution}"] = repr(found.score) if found else ""
        row[f"n_tiles_{resolution}"] = found.n_tiles if found else ""
    return {name: row[name] for name in result_columns(result.resolutions)}


def has_instances(slides_folder: Path, slide_id: str) -> bool:
    """Whether a slide's instance values were kept."""
    return (slides_folder / folder_name(slide_id) / INSTANCES).is_file()


def instance_bytes(outcome: SlideScore) -> bytes:
    """What `load_instances` reads: the instance values of a slide's tiles, each tensor called resolution/member."""
    from safetensors.torch import save

    tensors = {
        f"{resolution}/{name}": values.contiguous()
        for resolution, score in outcome.resolutions.items()
        for name, values in zip(score.members, score.instances, strict=True)
    }
    data: bytes = save(tensors)
    return data


def load_instances(slides_folder: Path, slide_id: str) -> dict[str, dict[str, Any]]:
    """Instance values of a slide's tiles: resolution -> member -> float32 tensor [n, k].

    Raises:
        InputError: the file is absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = slides_folder / folder_name(slide_id) / INSTANCES
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
