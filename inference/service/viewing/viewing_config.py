"""Settings of showing slides (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class ViewingSettings:
    """How slides are shown: by reader processes below scoring's priority, within limits."""

    readers: int = setting(2, "processes that read slides for the page, one thread each", low=1, high=16)
    nice: int = setting(10, "how far below scoring's priority they run (nice)", low=0, high=19)
    memory_mib: int = setting(1024, "memory limit of each, MiB (0: none)", low=0, high=65536)
    timeout_s: float = setting(
        20.0, "seconds after which a reader that has not answered is replaced", low=0.1, high=600
    )
    waiting: int = setting(
        64, "tiles that may wait for a reader; more are told to come again, half of it for one name", low=2, high=10_000
    )
    slides_open: int = setting(4, "slides that each reader keeps open", low=1, high=64)
    cache_mib: int = setting(64, "memory for tiles that were shown lately, MiB", low=0, high=16384)
    tile_px: int = setting(256, "side of a tile of the picture, px", low=64, high=1024)
    jpeg_quality: int = setting(85, "JPEG quality of tiles", low=30, high=100)
    source_mpx: int = setting(
        16,
        "most megapixels of a slide that one tile may be made of; a file without coarse levels is shown only from near",
        low=1,
        high=256,
    )
