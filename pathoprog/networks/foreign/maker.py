"""Who made features that this program did not: tool, model, tiles, as far as their files say. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pathoprog.system.records import Record, plain
from pathoprog.tiles.config import TileSpec

TRIDENT, CLAM, STAMP, CONVERTED = "TRIDENT", "CLAM", "STAMP", "a converted .pt"
TILE, SLIDE = "tile", "slide"
FOLDERS = ("slide_features_", "features_")
"""How the names of TRIDENT's folders of features begin; the model's name follows."""


@dataclass(frozen=True, kw_only=True)
class FeatureMaker(Record):
    """What features of one resolution were made by; those of one bundle are all alike in it.

    Attributes:
        tool: whose form the files have.
        model: the encoder's name, of the file or the folder; empty where neither says it.
        level: ``tile``, or ``slide`` for one vector of a whole slide.
        d: number of features.
        size_px: side of a tile in its own pixels; None where the files do not say it.
        mpp: um per pixel of a tile, from the tool's magnification (10x = 1 um/px) or its tile's side.
        overlap_px: of neighbouring tiles, in a tile's own pixels.
    """

    tool: str
    model: str
    level: str
    d: int
    size_px: float | None = None
    mpp: float | None = None
    overlap_px: float | None = None

    def says(self) -> str:
        """In words: tool, model, d, tiles."""
        known = [f"of {self.size_px:g} px"] if self.size_px else []
        known += [f"at {self.mpp:.4g} um/px"] if self.mpp else []
        tiles = f"tiles {' '.join(known) or 'of a size that is not said'}"
        what = "one vector a slide" if self.level == SLIDE else tiles
        return f"{self.tool}, {self.model or 'a model that is not named'}, d={self.d}, {what}"

    def spec(self, spec: TileSpec) -> TileSpec:
        """A resolution's tile spec with what is known of these tiles; all of them count."""
        known = {} if self.level == SLIDE else {"size_px": self.size_px, "mpp": self.mpp}
        given = {name: value for name, value in known.items() if value}
        if "size_px" in given:
            given["size_px"] = round(given["size_px"])
        return replace(spec, **given, max_per_slide=0)  # type: ignore[arg-type]  # by name

    def differences(self, other: "FeatureMaker") -> list[str]:
        """In what two differ, each with both values."""
        one, two = plain(self), plain(other)
        names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
        return [f"{name} ({one.get(name, 'not said')} and {two.get(name, 'not said')})" for name in names]


def model_of_folder(folder: Path) -> str:
    """The model that the name of one of TRIDENT's folders says; empty for others."""
    begin = next((begin for begin in FOLDERS if folder.name.startswith(begin)), "")
    return folder.name.removeprefix(begin) if begin else ""


def maker_lines(makers: Mapping[str, FeatureMaker] | None) -> list[str]:
    """What a bundle's features of other tools are, a line for each resolution; none for other bundles."""
    return [
        f"features at {resolution} of another tool: {maker.says()}; scoring takes features=FOLDER of the same"
        for resolution, maker in sorted((makers or {}).items())
    ]
