"""Whole-slide images behind one protocol: `open_slide(path)` gives a `Slide`, whatever scanner wrote it.

Names are loaded when first used, so that the settings beside them stay light for `--help`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathoprog.slides.opening import open_slide
    from pathoprog.slides.slide import Level, Slide, SlideFacts

__all__ = ["Level", "Slide", "SlideFacts", "open_slide"]


def __getattr__(name: str) -> Any:
    if name == "open_slide":
        from pathoprog.slides import opening

        return opening.open_slide
    if name in __all__:
        from pathoprog.slides import slide

        return getattr(slide, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
