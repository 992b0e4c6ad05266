"""One listing of a watched folder against the one before: what stands still, what has changed, what has gone.

Time is only ever a difference of the clock that is given, which no one sets: neither the computer's time of day nor
that of the files counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pathoprog.inference.service.intake.grouping import Grouper, SlideFiles
from pathoprog.inference.service.intake.listing import FolderListing
from pathoprog.inference.service.intake.watch_records import (
    SHARE_LOST,
    SHARE_RETURNED,
    SeenSlide,
    WatchEvent,
    WatchFault,
    WatchRound,
)
from pathoprog.text.plain_text import printable

MOST_TOLD = 2000  # slides in one round, so that whoever is told is not held up
MOST_INODES = 0.5  # of the slides taken: where more have new inodes alone, the file system counts them anew


@dataclass(frozen=True)
class WatchMemory:
    """What is known of a watched folder before a look: enough to go on where another process stopped.

    Attributes:
        taken: path -> signature of slides that were taken.
        said: path -> reason of faults that were said.
        lost: the folder was lost at the last look.
    """

    taken: Mapping[str, str]
    said: Mapping[str, str]
    lost: bool = False


class Settling:
    """The looks at one folder, one after the other.

    Args:
        root: the folder, absolute, without a slash at its end.
        settle_s: see `WatchSettings`.
        memory: of earlier looks; what lies outside the folder is left out.
    """

    def __init__(self, root: str, settle_s: float, memory: WatchMemory):
        self.root, self.settle_s = root, settle_s
        self.taken = {path: known for path, known in memory.taken.items() if path.startswith(f"{root}/")}
        self.said, self.is_lost = dict(memory.said), memory.lost
        self._grouper = Grouper(root)
        self._since: dict[str, tuple[str, float]] = {}  # path -> signature, and when it was first seen
        self._missing: dict[str, float] = {}  # path -> when it was first not seen
        self._identity: tuple[int, int] | None = None  # of the folder itself, at the last look

    def lost(self, reason: str) -> WatchRound:
        """The folder does not answer, or is not there: nothing is forgotten, and nothing is gone."""
        events = () if self.is_lost else (WatchEvent(SHARE_LOST, reason),)
        self.is_lost = True
        return WatchRound(events=events, lost=True)

    def round(
        self, tree: FolderListing, began: float, ended: float | None = None, beat: Callable[[], None] = lambda: None
    ) -> WatchRound:
        """One more look.

        Args:
            tree: what lies there.
            began: seconds, by a clock that only goes forward, when the listing began.
            ended: when it ended; the same where it is not given.
            beat: called often.
        """
        ended = began if ended is None else ended
        groups, faults = self._grouper.groups(tree, self.taken.__contains__, beat)
        if self.taken and not groups and (self.is_lost or self._identity != tree.root):
            return self.lost(
                f"it holds no slide, and held {len(self.taken)} that were taken: its share may not be mounted"
            )
        returned, self._identity = self.is_lost, tree.root
        if returned:  # what was half copied may go on now
            self._since.clear()
            self._missing.clear()
            self.is_lost = False
        self._adopt_inodes(groups, returned)
        still = self._still(groups, began, ended)
        ready, changed, waiting, more = list[SeenSlide](), list[SeenSlide](), 0, False
        for path, group in groups.items():
            before = self.taken.get(path)
            if before == group.signature:
                continue
            if group.lacks and path in still:
                faults[path] = group.lacks
            busy = any(file not in still for file in group.beside)
            if group.lacks or not (group.marked or (path in still and not busy)):
                waiting += 1
                continue
            if len(ready) + len(changed) == MOST_TOLD:
                more = True
                continue
            (ready if before is None else changed).append(
                SeenSlide(path, group.signature, group.size, group.files, group.series, group.scattered, group.marked)
            )
            self.taken[path] = group.signature
            self._since.pop(path, None)
        return WatchRound(
            ready=tuple(ready),
            changed=tuple(changed),
            gone=self._gone(groups, tree, began, ended),
            events=(WatchEvent(SHARE_RETURNED, "it is there again"),) if returned else (),
            faults=self._new_faults({**tree.faults, **faults}),
            n_files=tree.n_files,
            n_waiting=waiting,
            more=more,
        )

    def _still(self, groups: dict[str, SlideFiles], began: float, ended: float) -> set[str]:
        """Paths whose files look as they did `settle_s` ago, among those that are not taken as they are."""
        since: dict[str, tuple[str, float]] = {}
        for path, group in groups.items():
            if self.taken.get(path) != group.signature:
                signature, first = self._since.get(path, ("", ended))
                since[path] = (group.signature, first if signature == group.signature and first <= ended else ended)
        self._since = since
        return {path for path, (_, first) in since.items() if self._is_over(first, began, ended)}

    def _is_over(self, first: float, began: float, ended: float) -> bool:
        """Whether `settle_s` lies between the end of an earlier look and the beginning of this one."""
        return began - first >= self.settle_s or (self.settle_s == 0 and first <= ended)

    def _adopt_inodes(self, groups: dict[str, SlideFiles], returned: bool) -> None:
        """Take over new inodes of slides that look the same otherwise, where they say nothing.

        That is: on another device, after the share was lost, and where most have new ones at once: some file systems
        count anew with each mount.
        """
        told = []
        for path, group in groups.items():
            before = self.taken.get(path)
            if before is None or before == group.signature:
                continue
            looks, _, inodes = before.partition(":")
            new_looks, _, new_inodes = group.signature.partition(":")
            if looks == new_looks:
                other_device = inodes.partition("-")[0] != new_inodes.partition("-")[0]
                if other_device or returned:
                    self.taken[path] = group.signature
                else:
                    told.append(path)
        if len(told) > 1 and len(told) > MOST_INODES * len(self.taken):
            self.taken.update({path: groups[path].signature for path in told})

    def _gone(self, groups: dict[str, SlideFiles], tree: FolderListing, began: float, ended: float) -> tuple[str, ...]:
        """Slides that have been missing for `settle_s`: one that is deleted and copied again is not gone."""
        missing: dict[str, float] = {}
        for path in self.taken.keys() - groups.keys():
            if not any(path == place or path.startswith(f"{place}/") for place in tree.closed):
                missing[path] = min(self._missing.get(path, ended), ended)
        gone = sorted(path for path, first in missing.items() if self._is_over(first, began, ended))
        for path in gone:
            del self.taken[path], missing[path]
        self._missing = missing
        return tuple(gone)

    def _new_faults(self, faults: dict[str, str]) -> tuple[WatchFault, ...]:
        """Those that were not said at the last look."""
        found = {printable(path): reason for path, reason in faults.items()}
        new = [WatchFault(path, reason) for path, reason in sorted(found.items()) if self.said.get(path) != reason]
        self.said = found
        return tuple(new)
