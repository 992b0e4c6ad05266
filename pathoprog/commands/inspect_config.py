"""Settings of `pathoprog inspect`."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.stream.config import StreamSettings


@dataclass
class InspectConfig:
    """What to look at, and how to print it."""

    paths: list[str] = setting([], "slides: files, or folders to search", kind="paths", required=True)
    json: bool = setting(False, "print JSON instead of text")
    tile_px: int = setting(448, "side of the tiles that the slide should give, px", low=16, high=4096)
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")
