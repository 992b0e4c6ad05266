"""Settings of reading a slide."""

from dataclasses import dataclass
from typing import Any

from pathoprog.settings import as_dict, setting

BACKENDS = ("auto", "openslide", "tiffslide", "jpeg")


@dataclass
class SlideSettings:
    """How slides are opened."""

    backend: str = setting("auto", "what reads the file; auto chooses by what each can read", choices=BACKENDS)
    mpp: float = setting(
        0.0, "um per level-0 pixel in place of what the file says (0: from the file); use only if known", low=0, high=40
    )
    allow_upsampling: bool = setting(
        False, "read a slide coarser than the resolution asks for (not validated; the result is marked)"
    )
    roots: list[str] = setting(
        [], "folders in which every slide and outline must lie, where its links lead (none given: anywhere)",
        kind="paths",
    )  # fmt: skip
    follow_links: bool = setting(
        False, "in folders that are searched, also take what links lead to that point out of the folder"
    )


def reading(settings: SlideSettings) -> dict[str, Any]:
    """What of the settings may change a pixel, as plain values: where slides may lie does not, and holds paths."""
    return {key: value for key, value in as_dict(settings).items() if key not in ("roots", "follow_links")}
