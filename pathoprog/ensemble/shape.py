"""An ensemble's shape: how many members at which resolution, and what follows from it. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from pathoprog.ensemble.classes import classes_of
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, MOST_RESOLUTIONS, RESOLUTIONS, in_order
from pathoprog.text.wording import count, listing

MEMBERS_PER_RESOLUTION = 5
"""Of METHOD's ensemble, and the default."""
NOT_METHODS = "not METHOD's ensemble"


@dataclass(frozen=True)
class Shape:
    """How many members at which resolution.

    METHOD, section 1. Known: ten networks, five at 10x and five at 40x (Skrede et al., Lancet 2020;395:350-360). Any
    other shape is this project's, and every result of it says so (`caution`).

    Attributes:
        members: number of members by resolution.
    """

    members: Mapping[str, int]

    @property
    def resolutions(self) -> tuple[str, ...]:
        """From coarse to fine."""
        return in_order(self.members)

    @property
    def is_methods(self) -> bool:
        """Whether it is METHOD's: five members at 10x and five at 40x."""
        return dict(self.members) == dict(METHOD_SHAPE.members)

    @property
    def n_members(self) -> int:
        """At all resolutions together."""
        return sum(self.members.values())

    @property
    def most_members(self) -> int:
        """At one resolution: as many networks may be shown a tile at the same time."""
        return max(self.members.values(), default=0)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it can give, from better to worse."""
        return classes_of(self.resolutions)

    @property
    def caution(self) -> str:
        """What manifest, model card, pages and results say of another shape than METHOD's; empty for METHOD's."""
        return "" if self.is_methods else f"{NOT_METHODS}: {self.words}, where METHOD has {METHOD_SHAPE.words}"

    @property
    def words(self) -> str:
        """``5 networks at 10x and 5 at 40x``."""
        first, *others = self.resolutions or ("",)
        said = [f"{count(self.members.get(first, 0), 'network')} at {first}"]
        return listing(said + [f"{self.members[name]} at {name}" for name in others])

    def problems(self) -> list[str]:
        """Why no ensemble may have this shape, a line each."""
        if unknown := sorted(set(self.members) - set(RESOLUTIONS)):
            return [f"resolution {unknown[0]}: must be one of {', '.join(RESOLUTIONS)}"]
        if not 1 <= len(self.members) <= MOST_RESOLUTIONS:
            names = ", ".join(self.resolutions) or "none"
            return [f"{names}: an ensemble has one resolution or {MOST_RESOLUTIONS}"]
        return [f"no member at {name}" for name in self.resolutions if self.members[name] < 1]


METHOD_SHAPE = Shape(dict.fromkeys(METHOD_RESOLUTIONS, MEMBERS_PER_RESOLUTION))
