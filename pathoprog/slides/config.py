"""Settings of reading a slide."""

from dataclasses import dataclass
from typing import Any

from pathoprog.settings import as_dict, setting

BACKENDS = ("auto", "openslide", "tiffslide", "jpeg")


@dataclass
class SlideSettings:
    """How slides are opened."""

    backend: str = setting("auto", "library that reads the slide; auto chooses one that can", choices=BACKENDS)
    mpp: float = setting(
        0.0,
        "um per level-0 pixel, instead of what the file says (0: from the file); give it only if you know it",
        low=0,
        high=40,
    )
    allow_upsampling: bool = setting(
        False, "read a slide even if it is too coarse for a resolution (not validated; the result says so)"
    )
    roots: list[str] = setting(
        [], "folders in which every slide and outline must lie, after following links (if none is given: anywhere)",
        kind="paths",
    )  # fmt: skip
    follow_links: bool = setting(False, "when searching a folder, also follow links that lead out of it")


def reading(settings: SlideSettings) -> dict[str, Any]:
    """What of the settings may change a pixel, as plain values: where slides may lie does not, and holds paths."""
    return {key: value for key, value in as_dict(settings).items() if key not in ("roots", "follow_links")}
