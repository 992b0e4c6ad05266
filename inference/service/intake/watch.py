"""Watched folders: a round is one look at a folder, in a process of its own, so that a share that hangs hangs no one.

The process lists the folder, reads the heads of DICOM files (`slides.dicom.header`: bounded, no library) and compares.
It opens no slide.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pathoprog.errors import ConfigError
from pathoprog.inference.service.intake.intake_config import WatchSettings
from pathoprog.inference.service.intake.listing import list_tree
from pathoprog.inference.service.intake.settling import Settling, WatchMemory
from pathoprog.inference.service.intake.watch_records import SHARE_LOST, WatchEvent, WatchRound
from pathoprog.inference.slides.asked_child import AskedChild, Beat, NoAnswerError, answer_questions
from pathoprog.slides.config import SlideSettings
from pathoprog.system.fault_points import point

WAIT_S = 3600.0  # one wait within `round`; what ends it is `silence_s`


class FolderWatch:
    """Looks at one folder, round after round; a context manager.

    `round` waits for its answer, as long as the share gives signs of life. A caller that may not wait calls `start`,
    and `poll` until that gives the round. A share that gives no sign for `silence_s` is lost (an event) and looked at
    anew in the next round; at most one process hangs on it at a time.

    What is ready, changed or gone is told once. Whoever is told must keep it: path and signature are what `known`
    takes at the next start.

    Args:
        settings: of the folder.
        known: path -> signature of the slides that were taken.
        clock: seconds, only ever forward.
        slides: whether links may lead out of the folder, and where to.

    Raises:
        ConfigError: the folder is not given by its whole path.
    """

    def __init__(
        self,
        settings: WatchSettings,
        known: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        slides: SlideSettings | None = None,
    ):
        if not Path(settings.folder).is_absolute():
            raise ConfigError(f"folder={settings.folder}: a watched folder is given by its whole path, from / on")
        self.root = os.path.normpath(settings.folder)
        self.settings, self.clock, self.slides = settings, clock, slides or SlideSettings()
        self.taken = {path: signature for path, signature in known.items() if path.startswith(f"{self.root}/")}
        self._said: dict[str, str] = {}
        self._lost = False
        self._child = AskedChild(__name__, settings.silence_s)
        self._began = 0.0

    def __enter__(self) -> "FolderWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process that looks, if there is one."""
        return self._child.pid

    def close(self) -> None:
        """End the process; what it was looking at is looked at again after the next start."""
        self._child.end()

    def start(self) -> WatchRound | None:
        """Begin a round, unless one is under way; gives it at once where the folder cannot be looked at."""
        if self._child.asked:
            return None
        self._began = time.monotonic()
        if self._child.runs:
            with contextlib.suppress(NoAnswerError):  # it died since the last round: the next one goes on
                self._child.ask("round", self.clock())
                return None
        memory = WatchMemory(self.taken, self._said, self._lost)
        try:
            self._child.ask("begin", self.root, self.settings, self.slides, memory, self.clock())
        except NoAnswerError as error:
            return self._silent(error)
        return None

    def poll(self, wait_s: float = 0.0) -> WatchRound | None:
        """The round that was begun, if it is done; waits for it at most so long."""
        if not self._child.asked:
            return None
        try:
            done, found = self._child.answer(wait_s)
        except NoAnswerError as error:
            return self._silent(error)
        if not done:
            return None
        said, seen = found
        assert isinstance(seen, WatchRound)
        self._said, self._lost = said, seen.lost
        self.taken.update({slide.path: slide.signature for slide in (*seen.ready, *seen.changed)})
        for path in seen.gone:
            self.taken.pop(path, None)
        return replace(seen, seconds=time.monotonic() - self._began)

    def round(self) -> WatchRound:
        """Look at the folder."""
        found = self.start()
        while found is None:
            found = self.poll(WAIT_S)
        return found

    def _silent(self, error: NoAnswerError) -> WatchRound:
        """The folder does not answer."""
        events = () if self._lost else (WatchEvent(SHARE_LOST, str(error)),)
        self._lost = True
        return WatchRound(events=events, lost=True, seconds=time.monotonic() - self._began)


class _Looking:
    """The child's side: one folder's rounds."""

    def __init__(self) -> None:
        self.settling: Settling | None = None
        self.slides, self.inodes = SlideSettings(), True

    def answer(self, question: str, arguments: list[Any], beat: Beat) -> tuple[dict[str, str], WatchRound]:
        """Answer ``begin`` (root, settings, slides, memory, now) or ``round`` (now): what was said, and the round."""
        if question == "begin":
            root, given, self.slides, memory, _ = arguments
            settings: WatchSettings = given
            self.inodes = settings.inodes
            self.settling = Settling(root, settings.settle_s, memory)
        assert self.settling is not None
        point("watch")
        began, start = arguments[-1], time.monotonic()
        try:
            tree = list_tree(self.settling.root, self.slides, beat, self.inodes)
        except OSError as error:
            found = self.settling.lost(f"it cannot be looked at ({error.strerror or error})")
        else:
            found = self.settling.round(tree, began, began + time.monotonic() - start, beat)
        return self.settling.said, found


def main(socket_fd: int) -> None:
    """Answer one parent until it closes the socket."""
    answer_questions(socket_fd, _Looking().answer)
