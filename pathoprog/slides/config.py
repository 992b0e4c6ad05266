"""Settings of reading a slide."""

from dataclasses import dataclass

from pathoprog.settings import setting

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
