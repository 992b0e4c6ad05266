"""What one look at a watched folder says: slides that are ready, changed or gone, events, and faults."""

from dataclasses import dataclass

SHARE_LOST, SHARE_RETURNED = "share_lost", "share_returned"


@dataclass(frozen=True, slots=True)
class SeenSlide:
    """A slide that stands still, or that is said to be complete.

    Attributes:
        path: what to open: the file, the first file of a DICOM series, or the folder of one.
        signature: of all its files' names, sizes and times, and apart from those of their inodes; to be kept, and
            given to `FolderWatch` again after a restart.
        size: bytes of all its files together.
        files: all of them; the one that stands for the slide first.
        series: SeriesInstanceUID of a DICOM slide; else "".
        scattered: its DICOM files lie in several folders, so that only a staged copy of `files` can be opened.
        marked: a file ``<file>.ready`` said that it is complete.
    """

    path: str
    signature: str
    size: int
    files: tuple[str, ...]
    series: str = ""
    scattered: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class WatchFault:
    """Something in the folder that cannot be taken, said once as long as it stays so.

    Attributes:
        path: where; not to be shown where names may not be.
        reason: one sentence without the path.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """The folder as a whole: `SHARE_LOST` or `SHARE_RETURNED`, and one sentence without the path."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class WatchRound:
    """One look at the folder, against the one before.

    Attributes:
        ready: slides that were not known, and can be taken.
        changed: slides that were taken, and have new content under the same name: each is a new work.
        gone: paths of slides that were taken and are no longer there.
        events: the folder was lost, or is there again.
        faults: what cannot be taken, and was not said before.
        lost: the folder does not answer or is not there: nothing is known of its slides.
        n_files: files that were looked at.
        n_waiting: slides that are there and do not stand still yet.
        more: further slides are ready: the next round, which may begin at once, tells of them.
        seconds: that the look took.
    """

    ready: tuple[SeenSlide, ...] = ()
    changed: tuple[SeenSlide, ...] = ()
    gone: tuple[str, ...] = ()
    events: tuple[WatchEvent, ...] = ()
    faults: tuple[WatchFault, ...] = ()
    lost: bool = False
    n_files: int = 0
    n_waiting: int = 0
    more: bool = False
    seconds: float = 0.0
