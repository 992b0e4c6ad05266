"""Scores of slides: each tile is shown once to the five networks of its resolution; a whole bag becomes a class.

Shapes: n tiles of one slide and resolution, m members of that resolution (five), k instance values per tile, s tile
size in pixels.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pathoprog.classes import RESOLUTIONS, risk_class
from pathoprog.device import dtype_name, exact_fp32
from pathoprog.ensemble import Bundle, Member, to_device
from pathoprog.networks import prepare
from pathoprog.slides.mpp import COARSER_ALLOWED
from pathoprog.stream import SlideDone, SlideFailed, SlideOpened, StreamEvent, TileBatch
from pathoprog.tiles import TileGrid

BORDERLINE_TOLERANCE = {"fp32": 1e-5, "bf16": 5e-3}
"""How far equal work may differ between devices and batch sizes: a score nearer than this to its threshold is
borderline (OPERATIONS, fault table)."""


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


class Scorer:
    """A bundle's networks on a device, ready to be shown tiles.

    Args:
        bundle: the locked ensemble, loaded to the CPU in float32; its networks are moved and fused in place.
        device: where to compute.
        dtype: of the encoders.
    """

    def __init__(self, bundle: Bundle, device: torch.device, dtype: torch.dtype = torch.float32):
        self.bundle, self.device, self.dtype = bundle, device, dtype
        self.tolerance = BORDERLINE_TOLERANCE[dtype_name(dtype)]
        for member in self.all_members():
            fuse_batch_norm(member.network.encoder)
            to_device(member.network, device, dtype)

    def all_members(self) -> list[Member]:
        """The ten members, 10x first."""
        return [member for resolution in RESOLUTIONS for member in self.bundle.members[resolution]]

    @torch.inference_mode()
    def instances(self, resolution: str, tiles: NDArray[np.uint8]) -> list[Tensor]:
        """Per member the instance values [n, k] (float32, on the device) of tiles uint8 [n, s, s, 3].

        Raises:
            torch.OutOfMemoryError: the batch does not fit the device's memory.
        """
        with exact_fp32():
            batch = prepare(torch.from_numpy(tiles).to(self.device), self.dtype)  # [n, 3, s, s]
            return [
                member.network.instances_of_features(member.network.encoder(batch).float())
                for member in self.bundle.members[resolution]
            ]

    def instances_in_parts(self, resolution: str, tiles: NDArray[np.uint8]) -> tuple[list[Tensor], int]:
        """`instances`, with the batch halved as often as the device's memory asks for, and how often that was.

        Raises:
            torch.OutOfMemoryError: not even one tile fits.
        """
        try:
            return self.instances(resolution, tiles), 0
        except torch.OutOfMemoryError:
            if len(tiles) == 1:
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        middle = len(tiles) // 2
        left, left_halved = self.instances_in_parts(resolution, tiles[:middle])
        right, right_halved = self.instances_in_parts(resolution, tiles[middle:])
        joined = [torch.cat(pair) for pair in zip(left, right, strict=True)]
        return joined, 1 + left_halved + right_halved

    @torch.inference_mode()
    def bag_scores(self, resolution: str, instances: list[Tensor]) -> list[float]:
        """Each member's score of one bag, from its instance values [n, k] of all the bag's tiles."""
        return [
            float(member.network.bag_scores(values.to(self.device), [len(values)], member.score_map))
            for member, values in zip(self.bundle.members[resolution], instances, strict=True)
        ]

    @torch.inference_mode()
    def resolution_score(self, grid: TileGrid, batches: list[list[Tensor]]) -> ResolutionScore:
        """Judge the bag of all tiles of one slide at one resolution.

        Args:
            grid: where the tiles are.
            batches: `instances` of its tiles, batch by batch in the grid's order.
        """
        resolution = grid.spec.resolution
        members = self.bundle.members[resolution]
        instances = [torch.cat(parts) for parts in zip(*batches, strict=True)]
        tile_scores = [m.network.tile_scores(v, m.score_map) for m, v in zip(members, instances, strict=True)]
        weights = [m.network.attention_weights(v) for m, v in zip(members, instances, strict=True)]
        given = [weight for weight in weights if weight is not None]
        return ResolutionScore(
            grid=grid,
            members=[member.name for member in members],
            member_scores=self.bag_scores(resolution, instances),
            tile_scores=torch.stack(tile_scores, dim=1).float().cpu().numpy(),
            attention=torch.stack(given).mean(0).cpu().numpy() if given else None,
            instances=[values.cpu() for values in instances],
        )

    def slide_score(self, opened: SlideOpened, bag: dict[str, list[list[Tensor]]]) -> SlideScore:
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
                result.resolutions[resolution] = self.resolution_score(grid, bag[resolution])
        for resolution, score in result.resolutions.items():
            for name, value in zip(score.members, score.member_scores, strict=True):
                if not math.isfinite(value):
                    return failed(
                        opened, f"member {name} ({resolution}) gave {value}, no score", "not_finite", "scoring"
                    )
        if missing:
            result.status, result.code = "not_reportable", "resolution_missing"
            result.reason = "; ".join(missing)
            return result
        result.risk_class, result.borderline = self.classify({r: s.score for r, s in result.resolutions.items()})
        return result

    def classify(self, scores: dict[str, float]) -> tuple[str, bool]:
        """Class of two scores (keyed by resolution), and whether one lies at its threshold within the tolerance."""
        thresholds = self.bundle.thresholds
        borderline = any(abs(scores[r] - thresholds[r]) < self.tolerance for r in RESOLUTIONS)
        return risk_class(scores["10x"], scores["40x"], thresholds), borderline


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
            bags.pop(event.slide_id, None)  # a second try after a crash starts over
            if wanted(event):
                bags[event.slide_id] = _Bag(event, {})
        elif isinstance(event, TileBatch):
            bag = bags.get(event.slide_id)
            if bag is not None:
                instances, halved = scorer.instances_in_parts(event.resolution, event.tiles)
                bag.instances.setdefault(event.resolution, []).append(instances)
                bag.halved += halved
                on_tiles(len(event.tiles))
        elif isinstance(event, SlideDone):
            bag = bags.pop(event.slide_id, None)
            if bag is not None:
                outcome = scorer.slide_score(bag.opened, bag.instances)
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


def fuse_batch_norm(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place, wherever a Sequential holds the pair.

    In evaluation mode both are one affine map, so the outputs are equal up to rounding, in half the time on a CPU.
    """
    for child in module.children():
        fuse_batch_norm(child)
    if not isinstance(module, nn.Sequential):
        return
    for index in range(len(module) - 1):
        convolution, norm = module[index], module[index + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module[index] = fuse_conv_bn_eval(convolution, norm)
            module[index + 1] = nn.Identity()
