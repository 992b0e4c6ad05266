"""What the routes of the viewer stand on: the readers, where slides lie, and who was put on record for looking."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.requests import Request

from pathoprog.errors import PathoprogError, SlideError
from pathoprog.inference.service.access.principal import AccessError
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.service.viewing.reader_child import SlidePlace
from pathoprog.inference.service.viewing.slide_readers import CrowdedError, SlideReaders
from pathoprog.inference.service.viewing.viewing_config import ViewingSettings
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.inference.service.work.submissions import Submission

Found = TypeVar("Found")
PLACE_S = 5.0
"""How long a slide's place is believed before the conductor is asked again."""
RECORD_S = 3600.0
"""Who looks at a slide for longer gets a further line in the audit log."""
LISTEN_S = 0.1
"""How often is looked whether a client still waits."""
MOST_KEPT = 10_000
ABSENT = ("missing", "outside", "bounds")
PASSING = ("io", "memory", "crashed")
"""Codes of faults that may pass: told as 503, others as 409."""


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class SlideViewing:
    """See the module.

    Args:
        settings: of showing slides.
        staging: local copies of slides, where routes ask for them.
    """

    def __init__(self, settings: ViewingSettings, staging: StagingCache | None = None):
        self.readers, self.staging = SlideReaders(settings), staging
        self._places: OrderedDict[str, tuple[float, Submission, SlidePlace]] = OrderedDict()
        self._on_record: OrderedDict[tuple[str, str], float] = OrderedDict()

    def stop(self) -> None:
        """End the readers."""
        self.readers.stop()

    async def place(self, submission: Submission, ask: Callable[[], Awaitable[SlidePlace]]) -> SlidePlace:
        """Where a submission's slide lies; asked for again after a while, and when the submission has changed.

        Raises:
            ConflictError: see `located.place_of`, which `ask` has called.
        """
        at, seen, place = self._places.get(submission.id, (0.0, None, None))
        if place is None or seen != submission or time.monotonic() - at > PLACE_S:
            place = await ask()
            _keep(self._places, submission.id, (time.monotonic(), submission, place))
        return place

    def unrecorded(self, who: str, submission: str) -> bool:
        """Whether it is not on record yet that somebody looks at a slide; from now on it is taken to be."""
        now = time.monotonic()
        at = self._on_record.get((who, submission))
        if at is not None and now - at < RECORD_S:
            return False
        _keep(self._on_record, (who, submission), now)
        return True

    def off_record(self, who: str, submission: str) -> None:
        """It could not be written down."""
        self._on_record.pop((who, submission), None)


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)


async def answered(request: Request, readers: SlideReaders, asked: "Callable[[], Future[Found]]") -> Found:
    """What the readers answer, as long as the client waits for it.

    Args:
        request: of the client.
        readers: that are asked.
        asked: asks them.

    Raises:
        ClientGoneError: the client waits no longer.
        AccessError: 429 or 503; too much waits.
        AbsentError: there is no such slide or place on it.
        ConflictError: the slide cannot be shown.
        PathoprogError: a reader was lost, or the slide cannot be read now.
    """
    try:
        promise = asked()
    except CrowdedError as error:
        if error.own:
            raise AccessError(429, "Too many requests", f"{error}; try again in 1 s", 1) from None
        raise AccessError(503, "Busy", f"{error}; try again in 2 s", 2) from None
    try:
        await _waited(request, promise)
    finally:
        if not promise.done():
            readers.let_go(promise)
    try:
        return promise.result()
    except SlideError as error:
        raise _told(error) from None


async def _waited(request: Request, promise: "Future[Any]") -> None:
    """Until the promise is kept, or nobody waits for it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: "Future[Any]") -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(done.set)

    promise.add_done_callback(tell)
    await request.body()  # there is none; only after it can be heard that the client has gone
    while not promise.done():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), LISTEN_S)
        if not promise.done() and await request.is_disconnected():
            raise ClientGoneError


def _told(error: SlideError) -> PathoprogError:
    """A reader's word of a slide, as the interface tells it."""
    if error.code in ABSENT:
        return AbsentError(f"the slide cannot be shown: {error}")
    if error.code in PASSING:
        return PathoprogError(f"the slide cannot be shown now: {error}")
    return ConflictError(f"the slide cannot be shown: {error}")
