"""Scores of slides: tiles arrive, each is shown once to the five networks of its resolution; a whole bag is a class.

Shapes: n tiles of one slide and resolution, m members of that resolution (five), k instance values per tile.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog.classes import RESOLUTIONS
from pathoprog.scorer import Scorer
from pathoprog.slides.mpp import COARSER_ALLOWED
from pathoprog.stream import SlideDone, SlideFailed, SlideOpened, StreamEvent, TileBatch
from pathoprog.tiles import TileGrid


@dataclass
class ResolutionScore:
    """What the members of one resolution say of one slide.

    Attributes:
        grid: the tiles, n of them, in the order of all arrays here.
        members: names of the m members.
        member_scores: score of the whole bag by each member, [m], in [0, 1], higher = worse.
        tile_scores: float32 [n, m], each member's score for a bag of that tile alone.
        attention: float32 [n], mean attention weight over the members that have one, or None where tiles weigh equally.
        instances: per member the tiles' values, float32 [n, k]: what the score of any bag of these tiles follows from.
    """

    grid: TileGrid
    members: list[str]
    member_scores: list[float]
    tile_scores: NDArray[np.float32]
    attention: NDArray[np.float32] | None
    instances: list[Tensor]

    @property
    def score(self) -> float:
        """Mean over the members: the resolution's score."""
        return statistics.fmean(self.member_scores)


@dataclass
class SlideScore:
    """The outcome of one slide: scored, not reportable with its reason, or failed with its reason.

    Attributes:
        slide_id: as in the job.
        status: ``scored``, ``not_reportable`` or ``failed``.
        risk_class: ``good``, ``uncertain`` or ``poor`` where scored, else empty.
        borderline: a score lies nearer to its threshold than equal work may differ; never changes the class.
        reason: why it is not scored, else empty.
        code: the reason's short machine-readable name.
        quality: flags that a reader of the result must see.
        resolutions: the resolutions that have tiles; none where failed.
        opened: what the reader found in the file, None where it failed before.
        stage: where it failed.
        seconds: from opening to the last tile, reading and networks together.
        halved: batches that did not fit the device's memory and were split.
    """

    slide_id: str
    status: str
    risk_class: str = ""
    borderline: bool = False
    reason: str = ""
    code: str = ""
    quality: list[str] = field(default_factory=list)
    resolutions: dict[str, ResolutionScore] = field(default_factory=dict)
    opened: SlideOpened | None = None
    stage: str = ""
    seconds: float = 0.0
    halved: int = 0


@dataclass
class _Bag:
    """A slide whose tiles are arriving."""

    opened: SlideOpened
    instances: dict[str, list[list[Tensor]]]  # resolution -> batch -> member -> [n, k]
    halved: int = 0


def resolution_score(scorer: Scorer, grid: TileGrid, batches: list[list[Tensor]]) -> ResolutionScore:
    """Judge the bag of all tiles of one slide at one resolution.

    Args:
        scorer: the networks.
        grid: where the tiles are.
        batches: `Scorer.instances` of its tiles, batch by batch in the grid's order.
    """
    resolution = grid.spec.resolution
    instances = [torch.cat(parts) for parts in zip(*batches, strict=True)]
    return ResolutionScore(
        grid=grid,
        members=[member.name for member in scorer.bundle.members[resolution]],
        member_scores=scorer.bag_scores(resolution, instances),
        tile_scores=scorer.tile_scores(resolution, instances),
        attention=scorer.attention(resolution, instances),
        instances=[values.cpu() for values in instances],
    )


def slide_score(scorer: Scorer, opened: SlideOpened, bag: dict[str, list[list[Tensor]]]) -> SlideScore:
    """Judge a slide whose tiles have all arrived: scores, class and flags, or why there are none."""
    result = SlideScore(opened.slide_id, "scored", opened=opened, quality=quality_flags(opened))
    missing = []
    for resolution in RESOLUTIONS:
        grid = opened.grids.get(resolution)
        if grid is None:
            missing.append(opened.refused[resolution])
        elif len(grid) == 0:
            area = "tumour" if opened.region_source == "outline" else "tissue"
            missing.append(f"no {resolution} score: no tile with at least {grid.spec.min_coverage:.0%} {area}")
        elif sum(len(parts[0]) for parts in bag.get(resolution, [])) != len(grid):
            return failed(opened, f"{resolution}: not all of {len(grid)} tiles arrived", "incomplete", "reading")
        else:
            result.resolutions[resolution] = resolution_score(scorer, grid, bag[resolution])
    for resolution, score in result.resolutions.items():
        for name, value in zip(score.members, score.member_scores, strict=True):
            if not math.isfinite(value):
                return failed(opened, f"member {name} ({resolution}) gave {value}, no score", "not_finite", "scoring")
    if missing:
        result.status, result.code = "not_reportable", "resolution_missing"
        result.reason = "; ".join(missing)
        return result
    result.risk_class, result.borderline = scorer.classify({r: s.score for r, s in result.resolutions.items()})
    return result


def score_stream(
    events: Iterable[StreamEvent],
    scorer: Scorer,
    wanted: Callable[[SlideOpened], bool] = lambda opened: True,
    on_tiles: Callable[[int], None] = lambda n: None,
) -> Iterator[SlideScore]:
    """Score slides as their tiles arrive; different slides may interleave.

    Args:
        events: of `pathoprog.stream.TileStream.read`.
        scorer: the networks.
        wanted: called once a slide is open, when its content's hash is known; False leaves its tiles unscored and
            yields nothing for it.
        on_tiles: told how many tiles went through the networks.

    Yields:
        One outcome per wanted slide, as soon as it is complete; slides that cannot be read are outcomes too.
    """
    bags: dict[str, _Bag] = {}
    for event in events:
        if isinstance(event, SlideOpened):
            if wanted(event):
                bags[event.slide_id] = _Bag(event, {})
        elif isinstance(event, TileBatch):
            bag = bags.get(event.slide_id)
            if bag is None:
                continue
            try:
                instances, halved = scorer.instances_in_parts(event.resolution, event.tiles)
            except torch.OutOfMemoryError:
                del bags[event.slide_id]
                yield failed(bag.opened, "not even one tile fits the device's memory", "device_memory", "scoring")
                continue
            bag.instances.setdefault(event.resolution, []).append(instances)
            bag.halved += halved
            on_tiles(len(event.tiles))
        elif isinstance(event, SlideDone):
            bag = bags.pop(event.slide_id, None)
            if bag is not None:
                outcome = slide_score(scorer, bag.opened, bag.instances)
                outcome.seconds, outcome.halved = event.seconds, bag.halved
                yield outcome
        elif isinstance(event, SlideFailed):
            bag = bags.pop(event.slide_id, None)
            status = "not_reportable" if event.error.not_reportable else "failed"
            yield SlideScore(
                event.slide_id,
                status,
                reason=str(event.error),
                code=event.error.code,
                stage=event.stage,
                opened=bag.opened if bag is not None else None,
            )


def upsampled(opened: SlideOpened) -> bool:
    """Whether a resolution is read from a slide coarser than METHOD allows: the explicit override was needed."""
    return any(opened.facts.mpp > grid.spec.mpp * COARSER_ALLOWED for grid in opened.grids.values())


def quality_flags(opened: SlideOpened) -> list[str]:
    """What a reader of the result must see though the slide could be read."""
    flags = ["upsampled: not validated"] if upsampled(opened) else []
    return flags + [f"warning: {text}" for text in opened.facts.warnings]


def failed(opened: SlideOpened, reason: str, code: str, stage: str) -> SlideScore:
    """A slide that was opened, and yet has no trustworthy score."""
    return SlideScore(
        opened.slide_id, "failed", reason=f"{opened.slide_id}: {reason}", code=code, stage=stage, opened=opened
    )
