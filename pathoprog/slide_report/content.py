"""What the page of one slide says, whatever it is drawn on: the HTML file and the PDF show this, in this order."""

import io
from dataclasses import dataclass, replace

from PIL import Image

from pathoprog.quality.checks import Check
from pathoprog.scoring.eligibility import Eligibility
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_result import ResolutionResult, SlideResult, SlideRun
from pathoprog.slide_report.cohort_curves import CohortCurves
from pathoprog.slide_report.heatmap import caption_of
from pathoprog.slides.mpp import is_upsampled
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.text.wording import number_word
from pathoprog.tiles.config import PREPROCESSING_VERSION

MEANINGS = {
    "good": "Both scores lie below their thresholds.",
    "uncertain": "The two resolutions disagree: one score lies below its threshold, the other at or above it. This is "
    "an intermediate class, and no statement of confidence.",
    "poor": "Both scores lie at or above their thresholds.",
    "not_reportable": "The slide was read, and cannot be judged. There is no class.",
    "failed": "The slide could not be read or scored. There is no class. Once the cause is gone, the same command with "
    "requeue=true tries it again.",
}
MEANINGS_OF_ONE = {
    "good": "The score lies below its threshold.",
    "poor": "The score lies at or above its threshold.",
}
"""Where the ensemble has one resolution."""
COORDINATES_NOTE = "Coordinates: top-left corner, level-0 pixels."
COLOURS = {
    "good": "#0072B2",
    "uncertain": "#8A5C00",
    "poor": "#B34700",
    "not_reportable": "#555555",
    "failed": "#111111",
    "pass": "#1B6E3C",
    "warn": "#8A5C00",
    "fail": "#B3261E",
    "not checked": "#5A5A5A",
}
"""Of a class, a status or a verdict: dark enough for white letters on them, and for letters on white."""
AREA_NAMES = {
    "tissue": "tissue area (no outline was used)",
    "outline": "tumour area (outline)",
    "network": "tumour area (outline of the bundle's network)",
    "corrected": "tumour area (corrected outline)",
}
AREAS_MEASURED = {"tumour area", "tissue area analysed"}
"""What the quality checks call that area."""
FEW_TILES = 10
"""Fewer tiles than this at a resolution are a warning (project default)."""
NOT_CHECKED = ("focus", "pen marks", "folds", "stain", "scanner seen in training")
ROOM_ABOVE = 34.0
"""Above a ruler, in the page's units."""
DOT_SHARE = 11 / 600
"""Members nearer to each other than this share of the ruler are stacked."""
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Flag:
    """Something that a reader must not overlook; `title` may be empty."""

    title: str
    text: str


@dataclass(frozen=True)
class Dot:
    """A member's score on a ruler; `level` 0 lies on it, the next ones above."""

    name: str
    score: float
    level: int


@dataclass(frozen=True)
class Ruler:
    """Score, threshold and members of one resolution, all in [0, 1]."""

    resolution: str
    score: float
    threshold: float
    dots: tuple[Dot, ...]

    @property
    def distance(self) -> float:
        """From the threshold to the score."""
        return self.score - self.threshold

    @property
    def step(self) -> float:
        """From one level of dots to the next, in the page's units: as many as there are stay within the drawing."""
        return min(11.0, ROOM_ABOVE / max([1, *(dot.level for dot in self.dots)]))


@dataclass(frozen=True)
class CheckRow:
    """One quality check as text; `verdict` is ``pass``, ``warn``, ``fail`` or ``not checked``."""

    name: str
    value: str
    verdict: str
    says: str = ""


@dataclass(frozen=True)
class TilePicture:
    """A tile as JPEG, with its score; x0, y0: top-left corner, level-0 px."""

    jpeg: bytes
    score: float
    x0: int
    y0: int


@dataclass(frozen=True)
class SlidePage:
    """Everything that is shown.

    Attributes:
        slide_id: the page's title.
        said: class or status, with underscores.
        meaning: one sentence about it.
        flags: what must be seen first.
        rulers: one per resolution that has a score.
        ruler_note: what is drawn on them.
        curves: of the validation cohort, or None where none was given or there is no class.
        checks: quality.
        eligibility: whether the slide is of the kind that the ensemble was made for.
        map_jpeg: the tile map, empty where there is none.
        strongest: tiles of the highest scores, by resolution.
        caption: what a tile's score is and is not.
        foot: names and values: ids, hashes, versions, overrides.
    """

    slide_id: str
    said: str
    meaning: str
    flags: tuple[Flag, ...]
    rulers: tuple[Ruler, ...]
    ruler_note: str
    curves: CohortCurves | None
    checks: tuple[CheckRow, ...]
    eligibility: str
    map_jpeg: bytes
    strongest: dict[str, tuple[TilePicture, ...]]
    caption: str
    foot: tuple[tuple[str, str], ...]


def slide_content(
    result: SlideResult,
    run: SlideRun,
    outcome: SlideScore,
    heatmap: Image.Image | None = None,
    curves: CohortCurves | None = None,
) -> SlidePage:
    """Gather the page of a slide.

    Args:
        result: what result.json holds.
        run: what run.json holds.
        outcome: of scoring, for the strongest tiles.
        heatmap: the tile map.
        curves: of the cohort on which this ensemble was validated.
    """
    return replace(
        written_content(result, run, caption_of(score.weighing for score in outcome.resolutions.values()), curves),
        map_jpeg=b"" if heatmap is None else _jpeg(heatmap),
        strongest={
            name: tuple(
                TilePicture(
                    jpeg=_jpeg(Image.fromarray(pixels)),
                    score=float(score.tile_scores[index].mean()),
                    x0=int(score.grid.x0[index]),
                    y0=int(score.grid.y0[index]),
                )
                for index, pixels in score.strongest
            )
            for name, score in outcome.resolutions.items()
        },
    )


def written_content(result: SlideResult, run: SlideRun, caption: str, curves: CohortCurves | None = None) -> SlidePage:
    """The page of a slide without its pictures: what follows from the files that a result has.

    Args:
        result: what result.json holds.
        run: what run.json holds.
        caption: of the tile map and of the strongest tiles (`heatmap.caption_of`).
        curves: of the cohort on which this ensemble was validated.
    """
    said = result.risk_class or result.status
    return SlidePage(
        slide_id=result.slide_id,
        said=said,
        meaning=_meaning(said, len(result.resolutions)),
        flags=tuple(_flags(result)),
        rulers=tuple(_ruler(name, result.scores[name]) for name in RESOLUTIONS if name in result.scores),
        ruler_note=_ruler_note(result),
        curves=curves if curves is not None and curves.points.get(result.risk_class) else None,
        checks=tuple(_checks(result)),
        eligibility=_eligibility(result.eligibility),
        map_jpeg=b"",
        strongest={},
        caption=caption,
        foot=tuple(_foot(result, run)),
    )


def _flags(result: SlideResult) -> list[Flag]:
    flags = []
    if result.reason:
        stage = f" (stage: {result.stage})" if result.stage else ""
        flags.append(Flag("Reason:", f"{result.reason}{stage}"))
    if result.borderline:
        flags.append(
            Flag("Borderline:", "a score lies nearer to its threshold than equal work may differ. The class stands.")
        )
    if result.risk_class and result.class_level != "patient":
        level = result.class_level
        text = "The patient has several slides; the patient’s class is in patients.csv."
        flags.append(Flag(f"{level[:1].upper()}{level[1:]}.", text))
    if result.duplicate_of:
        flags.append(Flag(f"The same content as {result.duplicate_of}", "whose folder holds the tiles and the map."))
    if result.clinical is not None:
        flags.append(Flag("Clinical covariates:", clinical_text(result)))
    return flags + [Flag("", text) for text in result.quality]


def clinical_text(result: SlideResult) -> str:
    """That the ensemble's model over its number and covariates was used, with what, and what it says."""
    found = result.clinical
    assert found is not None
    if not found.covariates:
        return f"the ensemble holds a Cox model over its score and them; {'; '.join(found.notes)}."
    said = ", ".join(f"{name} {value or 'missing'}" for name, value in found.covariates.items())
    notes = "".join(f"; {note}" for note in found.notes)
    several = result.class_level != "patient" and result.status == "scored"
    if found.value is None:
        why = "the patient has several slides: patients.csv has the number" if several else "no number"
        return f"a Cox model over the score and them is part of the ensemble ({said}{notes}): {why}."
    return (
        f"with {said}, the Cox model over the score and them gives a log hazard ratio of {found.value:+.3f} against the"
        f" mean tuning patient{notes}. It changes no class, and is no risk of death."
    )


def _eligibility(found: Eligibility | None) -> str:
    if found is None:
        return "Eligibility (organ, primary resection, no neoadjuvant treatment, H&E) is not confirmed by this result."
    says = f" ({found.says})" if found.says else ""
    return f"Eligibility by the table (organ, specimen, stain, neoadjuvant treatment): {found.verdict}{says}."


def _meaning(said: str, n_resolutions: int) -> str:
    return (MEANINGS | MEANINGS_OF_ONE if n_resolutions == 1 else MEANINGS)[said]


def _ruler_note(result: SlideResult) -> str:
    """What is drawn on the rulers; of an ensemble with a single member its score is the resolution's."""
    n = max((len(found.members) for found in result.scores.values()), default=0)
    members = f"{number_word(n)} members (circles)" if n > 1 else "one member (circle)"
    return (
        f"Diamond: the score, mean of the {members} of that resolution; 0 to 1, higher = worse. Dashed: the "
        "locked threshold. Scores are no probabilities."
    )


def _ruler(resolution: str, found: ResolutionResult) -> Ruler:
    dots: list[Dot] = []
    for name, score in sorted(found.members.items(), key=lambda item: item[1]):
        level = 1 + max((dot.level for dot in dots if abs(dot.score - score) < DOT_SHARE), default=-1)
        dots.append(Dot(name, score, level))
    return Ruler(resolution, found.score, found.threshold, tuple(dots))


def _checks(result: SlideResult) -> list[CheckRow]:
    """What is known of the slide's quality."""
    slide = result.slide
    if slide is None:
        return _given_features(result)
    rows = []
    area = slide.tumour_area_um2 / 1e6
    name = AREA_NAMES[slide.region_source]
    rows.append(CheckRow(name, f"{area:.2f} mm²", "pass" if area > 0 else "fail"))
    for resolution in result.resolutions:
        found = result.scores.get(resolution)
        n = found.n_tiles if found else 0
        chosen = f" of {found.n_tiles_candidates}" if found and found.n_tiles_candidates > n else ""
        rows.append(
            CheckRow(f"tiles at {resolution}", f"{n}{chosen}", "fail" if not n else "warn" if n < FEW_TILES else "pass")
        )
    given = "slides.mpp" in result.overrides
    fine = not is_upsampled(slide.mpp_x, min(spec["mpp"] for spec in result.settings["tile_specs"]))
    um_px = f"{slide.mpp_x:.4g} x {slide.mpp_y:.4g}{' (given, not the file’s)' if given else ''}"
    rows.append(CheckRow("um/px", um_px, "warn" if given else "pass" if fine else "fail"))
    rows += [CheckRow("warning of the reader", text, "warn") for text in slide.warnings]
    measured = {check.name: _measured(check) for check in result.checks}
    if not measured:
        return rows + [CheckRow(name, "", "not checked") for name in NOT_CHECKED]
    own = {row.name: row for row in rows[1:]}  # the area is among the measured
    for name in own.keys() & measured.keys():
        measured[name] = replace(measured[name], value=own[name].value)  # of how many tiles, too
    for name in AREAS_MEASURED & measured.keys():
        measured[name] = replace(measured[name], name=rows[0].name)  # whose outline it was
    return [row for row in rows[1:] if row.name not in measured] + list(measured.values())


def _given_features(result: SlideResult) -> list[CheckRow]:
    """What is known where features of another tool came in place of the slide."""
    if result.features is None:
        return []
    rows = [CheckRow(f"features at {name}", "", "not checked", maker) for name, maker in result.features.makers.items()]
    rows += [CheckRow(f"tiles at {name}", str(found.n_tiles), "not checked") for name, found in result.scores.items()]
    return rows + [CheckRow(name, "", "not checked", "no slide was read") for name in NOT_CHECKED]


def _measured(check: Check) -> CheckRow:
    value = check.value
    number = "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    text = f"{number} {check.unit}".strip() if number else ""
    return CheckRow(check.name.replace("_", " "), text, check.verdict, check.says)


def _jpeg(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=JPEG_QUALITY)
    return sink.getvalue()


def _foot(result: SlideResult, run: SlideRun) -> list[tuple[str, str]]:
    rows = [
        ("result", result.result_key or "none"),
        ("ensemble", result.ensemble_id),
        ("features" if result.features else "slide content", result.content or "not known"),
    ]
    if result.outline_sha256:
        rows.append(("outline", result.outline_sha256))
    for resolution, encoder in result.settings.get("encoders", {}).items():
        rows.append((f"encoder at {resolution}", encoder["weights_sha256"]))
    overrides = ", ".join(f"{key}={value}" for key, value in result.overrides.items())
    versions = f"pathoprog {run.software_version}, preprocessing {PREPROCESSING_VERSION}"
    return [
        *rows,
        ("overrides", overrides or "none"),
        ("software", f"{versions}, {result.settings['dtype']}"),
        ("device, time", f"{run.device or 'none'}, {run.finished_at}"),
    ]
