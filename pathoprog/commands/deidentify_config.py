"""Settings of `pathoprog deidentify`."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.identifying.kinds import KINDS


@dataclass
class DeidentifyConfig:
    """Which slides to look at, and what to say of them."""

    paths: list[str] = setting([], "slides: files, or folders to search", kind="paths", required=True)
    json: bool = setting(False, "print JSON instead of text")
    show: bool = setting(False, "also print the values found, and not only what kind they are and how long")
    kinds: list[str] = setting(list(KINDS), "kinds of findings to look for", choices=KINDS)
    slides: SlideSettings = setting(SlideSettings(), "where slides may lie")
