"""One slide looked at in a reader process of its own, for callers that want no tiles' pixels."""

from pathlib import Path

from pathoprog.slides.config import SlideSettings
from pathoprog.stream.events import SlideOpened
from pathoprog.stream.slide_stream import SlideFailed, SlideJob, StreamSettings, TileStream
from pathoprog.tiles.config import TileSpec


def look_at(
    path: str | Path, settings: SlideSettings, specs: list[TileSpec], outline: str | Path | None = None
) -> SlideOpened:
    """What a reader process sees of a slide, and where its tiles would lie.

    Args:
        path: the slide.
        settings: how it is opened.
        specs: tiles to lay.
        outline: file of the tumour's outline; None: tiles lie in the tissue.

    Raises:
        SlideError: as the reader says it.
    """
    job = SlideJob(
        slide_id=str(path),
        path=str(path),
        specs=specs,
        slides=settings,
        tumour_policy="tissue" if outline is None else "outline",
        outline_path="" if outline is None else str(outline),
        hash_content=False,
        tiles=False,
    )
    found: SlideOpened | None = None
    with TileStream(StreamSettings(workers=1)) as stream:
        for event in stream.read([job]):
            if isinstance(event, SlideFailed):
                raise event.error
            if isinstance(event, SlideOpened):
                found = event
    assert found is not None, "a reader ends each job with one of both"
    return found
