"""Scores of slides: tiles arrive, each is shown once to the networks of its resolution; a whole bag is a class.

Shapes: n tiles of one slide and resolution, m members of that resolution, k instance values per tile.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pathoprog.quality.checks import FAIL, WARN, QualityRules
from pathoprog.regions.slide_outline import GIVEN, where_given
from pathoprog.scoring.arrived_tiles import ArrivedTiles, TilesOnDevice, TilesOnHost
from pathoprog.scoring.eligibility import NOT_CONFIRMED, NOT_ELIGIBLE, Eligibility
from pathoprog.scoring.feature_stream import NOT_CHECKED
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_outcomes import ResolutionScore, SlideScore
from pathoprog.slides.mpp import is_upsampled, said_once
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideOpened, StreamEvent, TileBatch
from pathoprog.system.fault_points import point
from pathoprog.tiles.grid import TileGrid

UNDER_WAY = 2
"""Batches that the networks have at once on a CPU: the next one is there when a thread has done its part of one."""


@dataclass
class _Bag:
    """A slide whose tiles are arriving."""

    opened: SlideOpened
    wanted: "Future[bool] | None" = None
    tiles: dict[str, ArrivedTiles] = field(default_factory=dict)  # by resolution
    halved: int = 0
    over: bool = False  # nothing more is made of it

    def is_wanted(self, now: bool = False) -> bool:
        """Whether it is to be scored; with `now` also while that is not known yet, else this waits for the answer."""
        if self.wanted is None or (now and not self.wanted.done()):
            return True
        return self.wanted.result()


@dataclass
class _Batch:
    """Tiles that the networks are looking at."""

    bag: _Bag
    resolution: str
    start: int
    tiles: Any
    finished: Callable[[], tuple[list[Tensor], int]]


def resolution_score(scorer: Scorer, grid: TileGrid, tiles: ArrivedTiles) -> ResolutionScore:
    """Judge the bag of all tiles of one slide at one resolution.

    Args:
        scorer: the networks.
        grid: where the tiles are.
        tiles: all of them, in the grid's order.
    """
    resolution = grid.spec.resolution
    tile_scores, strongest = tiles.fetch()
    instances = [torch.cat(parts) for parts in zip(*tiles.instances, strict=True)]
    risks = scorer.bag_risks(resolution, instances)
    return ResolutionScore(
        grid=grid,
        members=[member.name for member in scorer.bundle.members[resolution]],
        member_scores=scorer.scores_of(resolution, risks),
        tile_scores=tile_scores,
        attention=scorer.attention(resolution, instances),
        strongest=[(number, pixels) for number, pixels in strongest if pixels.ndim == 3],  # features are no picture
        instances=[values.cpu() for values in instances],
        member_risks=risks,
        runtime=scorer.runtime(resolution),
        weighing=scorer.weighing(resolution),
    )


def slide_score(scorer: Scorer, opened: SlideOpened, bag: dict[str, ArrivedTiles]) -> SlideScore:
    """Judge a slide whose tiles have all arrived: scores, class and flags, or why there are none."""
    result = SlideScore(opened.slide_id, "scored", opened=opened, quality=quality_flags(opened) + scorer.notes)
    result.development = scorer.development.role_of(opened.sha256)
    if result.development:
        result.quality.append(f"development slide: {result.development}")
    if opened.outline is not None and opened.outline.is_empty:
        result.status, result.code = "not_reportable", "no_tumour"
        result.reason = "the network found no tumour; a corrected outline can say where it is"
        return result
    missing = []
    for resolution in scorer.bundle.resolutions:
        grid = opened.grids.get(resolution)
        if grid is None:
            missing.append(opened.refused[resolution])
        elif len(grid) == 0:
            area = "tissue" if opened.region_source == "tissue" else "tumour"
            missing.append(f"no {resolution} score: no tile with at least {grid.spec.min_coverage:.0%} {area}")
        elif len(bag.get(resolution, ())) != len(grid):
            return failed(opened, f"{resolution}: not all of {len(grid)} tiles arrived", "incomplete", "reading")
        else:
            result.resolutions[resolution] = resolution_score(scorer, grid, bag[resolution])
    for resolution, score in result.resolutions.items():
        for name, value in zip(score.members, score.member_scores, strict=True):
            if not math.isfinite(value):
                return failed(opened, f"member {name} ({resolution}) gave {value}, no score", "not_finite", "scoring")
    if missing:
        result.status, result.code = "not_reportable", "resolution_missing"
        result.reason = said_once(missing)
        if opened.region_source in GIVEN and opened.outline is not None and not all(map(len, opened.grids.values())):
            result.reason += where_given(opened.outline, opened.facts, opened.tissue)
        return result
    result.risk_class, result.borderline = scorer.classify({r: s.score for r, s in result.resolutions.items()})
    return result


def score_stream(
    events: Iterable[StreamEvent],
    scorer: Scorer,
    wanted: Callable[[SlideOpened], "Future[bool] | None"] = lambda opened: None,
    on_tiles: Callable[[int], None] = lambda n: None,
    rules: QualityRules | None = None,
) -> Iterator[SlideScore]:
    """Score slides as their tiles arrive; different slides may interleave.

    Args:
        events: of `pathoprog.stream.slide_stream.TileStream.read`.
        scorer: the networks.
        wanted: called once a slide is open, when its content's hash is known; None: score it. What comes to False
            yields nothing for the slide. Until the answer is there its tiles are scored, and no outcome is yielded.
        on_tiles: told how many tiles went through the networks.
        rules: by which the slides' quality is judged; None judges none.

    Yields:
        One outcome per wanted slide, as soon as it is complete; slides that cannot be read are outcomes too.
    """
    bags: dict[str, _Bag] = {}
    under_way: deque[_Batch] = deque()
    for event in events:
        if isinstance(event, SlideOpened):
            bags[event.slide_id] = _Bag(event, wanted(event))
            continue
        bag = bags.get(event.slide_id)
        if isinstance(event, TileBatch):
            if bag is None or bag.over or not bag.is_wanted(now=True):
                continue
            try:
                under_way.append(_show(scorer, bag, event))
                on_tiles(len(event.tiles))
                while len(under_way) > (0 if scorer.device.type == "cuda" else UNDER_WAY):
                    _take(scorer, under_way.popleft())
            except torch.OutOfMemoryError:
                bag.over = True
                if bag.is_wanted():
                    yield failed(bag.opened, "not even one tile fits the device's memory", "device_memory", "scoring")
            continue
        bags.pop(event.slide_id, None)
        if bag is not None and (bag.over or not bag.is_wanted()):
            continue
        if isinstance(event, SlideDone):
            if bag is None:
                continue
            while any(batch.bag is bag for batch in under_way):
                _take(scorer, under_way.popleft())
            point("after_reading")
            outcome = slide_score(scorer, bag.opened, bag.tiles)
            outcome.seconds, outcome.halved = event.seconds, bag.halved
            if rules is not None:
                judge_quality(outcome, rules)
            yield outcome
        elif isinstance(event, SlideFailed):
            status = "not_reportable" if event.error.not_reportable else "failed"
            yield SlideScore(
                event.slide_id,
                status,
                reason=str(event.error),
                code=event.error.code,
                stage=event.stage,
                opened=bag.opened if bag is not None else None,
                source=event.source,
            )


def _show(scorer: Scorer, bag: _Bag, batch: TileBatch) -> _Batch:
    """Let the networks begin with a batch, whose memory is used again afterwards.

    Raises:
        torch.OutOfMemoryError: not even one tile fits.
    """
    shown = scorer.on_device(batch.tiles)
    if not isinstance(shown, Tensor):
        shown = shown.copy()
    return _Batch(bag, batch.resolution, batch.start, shown, scorer.begin(batch.resolution, shown))


def _take(scorer: Scorer, batch: _Batch) -> None:
    """Put what the networks say of a batch into its slide's bag. On CUDA it may be in flight still."""
    instances, halved = batch.finished()
    bag = batch.bag
    bag.halved += halved
    if isinstance(batch.tiles, Tensor):
        on_device = bag.tiles.setdefault(batch.resolution, TilesOnDevice())
        on_device.add(batch.start, batch.tiles, instances, scorer.tile_scores_there(batch.resolution, instances))
    else:
        on_host = bag.tiles.setdefault(batch.resolution, TilesOnHost())
        on_host.add(batch.start, batch.tiles, instances, scorer.tile_scores(batch.resolution, instances))


def judge_quality(outcome: SlideScore, rules: QualityRules) -> None:
    """Add the quality checks: a warning is a flag; a failure takes the class away, if the policy is to enforce it."""
    if outcome.opened is None or outcome.status == "failed":
        return
    if outcome.opened.features is not None:
        outcome.quality.append(NOT_CHECKED)
        return
    outcome.checks = rules.judge(outcome.opened)
    outcome.quality += [f"quality: {check.finding}" for check in outcome.checks if check.verdict == WARN]
    if rules.reference is None:
        outcome.quality.append(f"quality: distance to the training slides not checked: {rules.why_no_reference}")
    failures = [check.finding for check in outcome.checks if check.verdict == FAIL]
    if rules.policy == "report":
        outcome.quality += [f"quality failed, reported only: {finding}" for finding in failures]
    elif failures:
        outcome.withhold(f"quality: {', '.join(failures)}", "quality")


def judge_eligibility(outcome: SlideScore, eligibility: Eligibility, policy: str) -> None:
    """Take the class from a slide that the bundle was not made for; say where that is not known.

    Args:
        outcome: of the slide.
        eligibility: what the table says of it, held against the bundle.
        policy: ``enforce``; ``report``: it is a flag only; ``require``: what is not known withholds the class too, as
            METHOD asks of a service that releases results.
    """
    outcome.eligibility = eligibility
    if eligibility.verdict == NOT_CONFIRMED and policy == "require":
        outcome.withhold(f"eligibility not confirmed: {eligibility.says}", "eligibility_not_confirmed")
    elif eligibility.verdict == NOT_CONFIRMED:
        outcome.quality.append(f"eligibility not confirmed: {eligibility.says}")
    elif eligibility.verdict == NOT_ELIGIBLE and policy == "report":
        outcome.quality.append(f"not eligible, reported only: {eligibility.says}")
    elif eligibility.verdict == NOT_ELIGIBLE:
        outcome.withhold(f"not eligible: {eligibility.says}", "not_eligible")


def upsampled(opened: SlideOpened) -> bool:
    """Whether a resolution is read from a slide coarser than METHOD allows: the explicit override was needed."""
    return any(is_upsampled(opened.facts.mpp, grid.spec.mpp) for grid in opened.grids.values())


def quality_flags(opened: SlideOpened) -> list[str]:
    """What a reader of the result must see though the slide could be read."""
    flags = ["upsampled: not validated"] if upsampled(opened) else []
    return flags + [f"warning: {text}" for text in opened.facts.warnings]


def failed(opened: SlideOpened, reason: str, code: str, stage: str) -> SlideScore:
    """A slide that was opened, and yet has no trustworthy score."""
    return SlideScore(opened.slide_id, "failed", reason=reason, code=code, stage=stage, opened=opened)
