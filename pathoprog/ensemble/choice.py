"""The choice of members: which candidates of a resolution, by default five, make the ensemble. No torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pathoprog.ensemble.shape import MEMBERS_PER_RESOLUTION
from pathoprog.errors import InputError


class Ranked(Protocol):
    """A candidate: one checkpoint of one run."""

    @property
    def resolution(self) -> str:
        """A name of `pathoprog.slides.resolutions`."""

    @property
    def seed(self) -> int:
        """Of its run."""

    @property
    def tuning_c(self) -> float:
        """Harrell's c on tuning of its best checkpoint, in [0, 1]; higher orders survival better."""


C = TypeVar("C", bound=Ranked)


@dataclass(frozen=True)
class Choice(Generic[C]):
    """Candidates of one resolution: `ranked`, the best first; the first `n_members` of them are the `members`."""

    ranked: tuple[C, ...]
    n_members: int = MEMBERS_PER_RESOLUTION

    @property
    def members(self) -> tuple[C, ...]:
        """Those chosen, the best first."""
        return self.ranked[: self.n_members]


def choose_members(candidates: Iterable[C], resolution: str, n_members: int = MEMBERS_PER_RESOLUTION) -> Choice[C]:
    """Choose the members of one resolution: those with the highest c-index on tuning; of equal ones, lower seeds.

    METHOD, sections 1 and 2. Known: ten networks, five at 10x and five at 40x, and that the five best models of each
    resolution, by the tuning cohort, make the ensemble (Skrede et al., Lancet 2020;395:350-360). Project default, for
    the sources at hand do not say it: that "best" is Harrell's c, many candidates (seeds x checkpoints), at most one
    checkpoint of a run (two of one run are nearly the same network: a candidate is the best of its run), and the rule
    for ties; and any other number of members than five. That c ranks candidates on a cohort selected on outcome; it is
    not comparable with other cohorts.

    Args:
        candidates: one of each run, of one or more resolutions; others than `resolution` are left aside.
        resolution: whose members are chosen.
        n_members: how many.

    Raises:
        InputError: fewer candidates of this resolution than members.
    """
    found = [one for one in candidates if one.resolution == resolution]
    if len(found) < n_members:
        smaller = f", or lock a smaller ensemble with members={len(found)} (not METHOD's)" if found else ""
        raise InputError(
            f"{len(found)} candidates at {resolution}, the ensemble needs {n_members};"
            f" train more (candidates={n_members} or more){smaller}"
        )
    return Choice(tuple(sorted(found, key=lambda one: (-one.tuning_c, one.seed))), n_members)
