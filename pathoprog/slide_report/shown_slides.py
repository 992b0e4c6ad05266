"""A slide, its tiles, an ensemble and a score as the public Python API hands them out: values, words and pictures.

Importing it loads nothing heavy. Whatever shows a result says that it is for research use only.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathoprog import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pathoprog.ensemble.clinical import ClinicalModel
    from pathoprog.scoring.in_process import InProcessResult, InProcessScorer
    from pathoprog.scoring.slide_outcomes import SlideScore
    from pathoprog.slides.config import SlideSettings
    from pathoprog.slides.slide import SlideFacts
    from pathoprog.stream.events import SlideOpened
    from pathoprog.tiles.config import TileSpec
    from pathoprog.tiles.grid import TileGrid


@dataclass(frozen=True)
class ViewedSlide:
    """A slide that was opened and looked at; `open_slide` makes it.

    Attributes:
        path: the file, or the folder of a DICOM slide.
        facts: width and height (level-0 px), levels, um/px, format, warnings.
        thumbnail: the whole slide, uint8 [h, w, 3].
        thumbnail_downsample: level-0 px per thumbnail px.
        tissue_area_um2: area of the tissue found on it.
    """

    path: str
    facts: "SlideFacts"
    thumbnail: "NDArray[np.uint8]" = field(repr=False)
    thumbnail_downsample: float
    tissue_area_um2: float
    _settings: "SlideSettings" = field(repr=False)
    _opened: "SlideOpened" = field(repr=False)

    def draw(self) -> "Image":
        """The thumbnail with the edge of the tissue, and the research-use line."""
        return _draw(self._opened, [], Path(self.path).name, "The line is the edge of the tissue found.")

    def __repr__(self) -> str:
        facts = self.facts
        return (
            f"<slide {Path(self.path).name}: {facts.width} x {facts.height} px at {facts.mpp:.4g} um/px, "
            f"{len(facts.levels)} levels, {facts.vendor} by {facts.backend}; {self.tissue_area_um2 / 1e6:.3g} mm2 of "
            f"tissue. {RESEARCH_USE_ONLY}>"
        )


@dataclass(frozen=True)
class LaidTiles:
    """Where the tiles of one resolution lie on a slide; `lay_tiles` makes it.

    Attributes:
        resolution: ``10x``, ``20x`` or ``40x``.
        x0: left edges, int64 [n], level-0 px.
        y0: top edges, int64 [n], level-0 px.
        width0: width of a tile, level-0 px.
        height0: its height.
        coverage: share of each tile inside the region, float32 [n].
        region: what they lie in: ``tissue`` or ``outline``.
    """

    resolution: str
    x0: "NDArray[np.int64]" = field(repr=False)
    y0: "NDArray[np.int64]" = field(repr=False)
    width0: float
    height0: float
    coverage: "NDArray[np.float32]" = field(repr=False)
    region: str
    _opened: "SlideOpened" = field(repr=False)
    _grid: "TileGrid" = field(repr=False)

    def __len__(self) -> int:
        return len(self.x0)

    def draw(self) -> "Image":
        """The tiles over the thumbnail, coloured by how much of each the region covers."""
        from pathoprog.slide_report.heatmap import Layer

        grid = self._grid
        layer = Layer(f"{self.resolution} coverage", grid.x0, grid.y0, grid.width0, grid.height0, grid.coverage)
        return _draw(self._opened, [layer], f"{len(self)} tiles at {self.resolution}", f"Laid in the {self.region}.")

    def __repr__(self) -> str:
        return f"<{len(self)} tiles at {self.resolution} in the {self.region}. {RESEARCH_USE_ONLY}>"


@dataclass(frozen=True)
class LoadedEnsemble:
    """A locked ensemble whose bundle was verified; `load_ensemble` makes it.

    Attributes:
        folder: the bundle.
        ensemble_id: SHA-256 of its manifest.
        name: given at the lock.
        thresholds: by resolution.
        specs: what a tile is, by resolution.
        tumour_policy: where tiles may lie: ``network``, ``outline`` or ``tissue``.
        device: where its networks are.
        clinical_model: its Cox model over the one number and clinical covariates (`clinical_number`); None without one.
    """

    folder: Path
    ensemble_id: str
    name: str
    thresholds: dict[str, float]
    specs: "dict[str, TileSpec]" = field(repr=False)
    tumour_policy: str
    device: str
    clinical_model: "ClinicalModel | None" = field(repr=False)
    _scorer: "InProcessScorer" = field(repr=False)

    def __repr__(self) -> str:
        cuts = ", ".join(f"{resolution} {value:.4f}" for resolution, value in self.thresholds.items())
        return (
            f"<ensemble {self.name!r} ({self.ensemble_id[:12]}…) on {self.device}: thresholds {cuts}; tiles lie by the "
            f"policy {self.tumour_policy}{self._clinical}. {RESEARCH_USE_ONLY}>"
        )

    @property
    def _clinical(self) -> str:
        names = () if self.clinical_model is None else self.clinical_model.names
        return f"; clinical covariates: {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class ScoredSlide:
    """What an ensemble says of one slide, or why it says nothing; `score_slide` makes it.

    A slide that is damaged, not reportable or not eligible is no exception: it has a status, a reason and no class.

    Attributes:
        slide_id: what it is called.
        status: ``scored``, ``not_reportable`` or ``failed``.
        risk_class: ``good``, ``uncertain`` or ``poor``; empty unless scored. Uncertain: two resolutions
            disagree; an ensemble of one is never uncertain.
        borderline: a score lies nearer to its threshold than equal work on other hardware may differ.
        reason: why there is no class; empty if scored.
        scores: by resolution, the mean of its members; where there is one.
        members: by resolution and member's name, the member's score.
        thresholds: by resolution; a score at its threshold counts as above it.
        flags: what a reader must see beside the class: quality warnings, eligibility not confirmed, overrides.
        ensemble_id: of the ensemble.
        outcome: everything else that scoring found, for those who need tiles, checks or measurements.
    """

    slide_id: str
    status: str
    risk_class: str
    borderline: bool
    reason: str
    scores: dict[str, float]
    members: dict[str, dict[str, float]] = field(repr=False)
    thresholds: dict[str, float]
    flags: tuple[str, ...]
    ensemble_id: str
    outcome: "SlideScore" = field(repr=False)

    @property
    def one_number(self) -> float | None:
        """The mean over the resolutions of score less threshold, in [-1, 1], higher = worse; None unless scored."""
        return self.outcome.one_number(self.thresholds)

    def draw_map(self) -> "Image":
        """The map of tile scores, the picture that `pathoprog score` writes as heatmap.png.

        Raises:
            InputError: the slide could not be opened, so there is nothing to draw.
        """
        from pathoprog.errors import InputError
        from pathoprog.slide_report.slide_folder import tile_map

        if self.outcome.opened is None:
            raise InputError(f"{self.slide_id}: no map, since the slide could not be opened: {self.reason}")
        return tile_map(self.outcome, self.slide_id)

    def __repr__(self) -> str:
        numbers = ", ".join(
            f"{resolution} {score:.4f} (threshold {self.thresholds[resolution]:.4f})"
            for resolution, score in self.scores.items()
        )
        parts = [self.risk_class or self.status.replace("_", " "), numbers, self.reason, *self.flags]
        said = "; ".join([*filter(None, parts), *(["borderline"] if self.borderline else [])])
        return f"<{self.slide_id}: {said}. {RESEARCH_USE_ONLY}>"


def scored_slide(found: "InProcessResult", ensemble: LoadedEnsemble) -> ScoredSlide:
    """What was found of a slide, as it is handed out."""
    outcome = found.outcome
    return ScoredSlide(
        slide_id=outcome.slide_id,
        status=outcome.status,
        risk_class=outcome.risk_class,
        borderline=outcome.borderline,
        reason=outcome.reason,
        scores={resolution: score.score for resolution, score in outcome.resolutions.items()},
        members={
            resolution: dict(zip(score.members, score.member_scores, strict=True))
            for resolution, score in outcome.resolutions.items()
        },
        thresholds=ensemble.thresholds,
        flags=found.flags,
        ensemble_id=ensemble.ensemble_id,
        outcome=outcome,
    )


def _draw(opened: "SlideOpened", layers: list[Any], title: str, caption: str) -> "Image":
    from pathoprog.slide_report.heatmap import draw_heatmap

    area = opened.tissue if opened.outline is None else opened.outline
    return draw_heatmap(opened.thumbnail, opened.thumbnail_downsample, area, layers, title, caption)
