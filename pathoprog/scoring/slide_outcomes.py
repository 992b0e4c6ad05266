"""What scoring says of a slide: plain values that need no networks.

Shapes: n tiles of one slide and resolution, m members of that resolution, k instance values per tile.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pathoprog.ensemble.classes import one_number
from pathoprog.ensemble.clinical import ClinicalNumber
from pathoprog.networks.config import EQUAL
from pathoprog.quality.checks import Check
from pathoprog.scoring.eligibility import Eligibility
from pathoprog.stream.events import SlideOpened
from pathoprog.tiles.grid import TileGrid

if TYPE_CHECKING:  # reports and the ledger's side read outcomes, and need no torch
    from torch import Tensor


@dataclass
class ResolutionScore:
    """What the members of one resolution say of one slide.

    Attributes:
        grid: the tiles, n of them, in the order of all arrays here.
        members: names of the m members.
        member_scores: score of the whole bag by each member, [m], in [0, 1], higher = worse.
        tile_scores: float32 [n, m], each member's score for a bag of that tile alone.
        attention: float32 [n], mean attention weight over the members that have one, or None where tiles have none.
        strongest: the tiles of the highest scores, highest first: index and pixels, uint8 [s, s, 3].
        instances: per member the tiles' values, float32 [n, k]: what the score of any bag of these tiles follows from.
        member_risks: what the scores follow from by each member's map, [m], unbounded, higher = worse.
        runtime: engine and version that computed the tiles' values.
        weighing: what a tile's part in the score is; see `networks.config.EQUAL`.
    """

    grid: TileGrid
    members: list[str]
    member_scores: list[float]
    tile_scores: NDArray[np.float32]
    attention: NDArray[np.float32] | None
    strongest: list[tuple[int, NDArray[np.uint8]]]
    instances: "list[Tensor]"
    member_risks: list[float] = field(default_factory=list)
    runtime: str = ""
    weighing: str = EQUAL

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
        checks: of the slide's quality, each with value, limits and verdict; none where it could not be opened.
        eligibility: whether the bundle was made for such a slide; None where nobody asked.
        resolutions: the resolutions that have tiles; none where failed.
        opened: what the reader found in the file, None where it failed before.
        stage: where it failed.
        seconds: from opening to the last tile, reading and networks together.
        source: of a failed slide, what its files look like now (see `SlideFailed`).
        halved: batches that did not fit the device's memory and were split.
        clinical: what the bundle's model over clinical covariates says; None where it has none.
        development: where the slide is one that the bundle was developed on, in which role; else empty.
    """

    slide_id: str
    status: str
    risk_class: str = ""
    borderline: bool = False
    reason: str = ""
    code: str = ""
    quality: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    eligibility: Eligibility | None = None
    resolutions: dict[str, ResolutionScore] = field(default_factory=dict)
    opened: SlideOpened | None = None
    stage: str = ""
    seconds: float = 0.0
    source: str | None = None
    halved: int = 0
    development: str = ""
    clinical: ClinicalNumber | None = None

    def one_number(self, thresholds: Mapping[str, float]) -> float | None:
        """METHOD's one number, where the slide is scored."""
        if self.status != "scored":
            return None
        return one_number({name: found.score for name, found in self.resolutions.items()}, thresholds)

    def withhold(self, reason: str, code: str) -> None:
        """Take the class away from a slide that was scored: it is not reportable, for one more reason."""
        self.reason = f"{self.reason}; {reason}" if self.reason else reason
        if self.status == "scored":
            self.status, self.code, self.risk_class, self.borderline = "not_reportable", code, "", False
