"""Slides in folders: which files, and which folders, are one slide each; what else lies there is counted and named."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.slides.config import SlideSettings
from pathoprog.slides.dicom.header import DicomHead, is_dicom, may_be_dicom, read_head
from pathoprog.slides.identity import SUFFIXES, owned_by
from pathoprog.slides.roots import leads_outside

OTHER, HIDDEN = "other files", "hidden files and folders"
OBJECTS = "DICOM objects that are no slide"
ODD = "pipes, sockets and devices"
DANGLING = "links that lead nowhere"
CLOSED = "files and folders that cannot be looked into"
AGAIN = "folders searched already"
LINKS = "links that lead out of the folder given (slides.follow_links=true takes them)"
BARRED = "places outside slides.roots"
"""What a folder may hold beside slides."""
READY = ".ready"
"""A file of this ending says that the slide beside it is whole (`identity.is_recent`)."""
NAMED_IN_TEXT = 20


@dataclass
class NotTaken:
    """What lies in the folders searched and is no slide: kind -> paths, relative to the folder given."""

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Note one more."""
        printable = name.encode(errors="surrogateescape").decode(errors="replace")
        self.by_kind.setdefault(kind, []).append(printable)

    def add_all(self, others: "NotTaken") -> None:
        """Note what another folder holds."""
        for kind, names in others.by_kind.items():
            self.by_kind.setdefault(kind, []).extend(names)

    def lines(self, named: bool = True) -> list[str]:
        """As lines for a terminal: each kind counted, many of one kind by their endings, and (`named`) named."""
        if not named:
            return [f"{kind}: {len(names)}" for kind, names in self.by_kind.items()]
        found = []
        for kind, names in self.by_kind.items():
            said = ", ".join(sorted(names)[:NAMED_IN_TEXT])
            if len(names) > NAMED_IN_TEXT:
                endings = Counter(Path(name).suffix.lower() or "without ending" for name in names)
                counts = ", ".join(f"{n} {ending}" for ending, n in endings.most_common())
                said = f"{counts}; the first: {said}"
            found.append(f"{kind}: {len(names)} ({said})")
        return found


def slides_in(
    folder: str | Path,
    not_taken: NotTaken | None = None,
    on_progress: Callable[[], None] = lambda: None,
    leave_out: str = "",
    settings: SlideSettings | None = None,
) -> Iterator[Path]:
    """Slides of a folder and the folders below, in order of their names; hidden ones are left out.

    A folder whose only slide is one series of DICOM files is that slide; else each series is one, by its first file.
    What belongs to another slide (MIRAX's folder, the images of a VMS index) is none. Each folder is searched once,
    whatever links lead to it.

    Args:
        folder: to search.
        not_taken: told of all that is no slide.
        on_progress: called for each folder.
        leave_out: a folder below that is not searched, where results of ours lie.
        settings: where slides may lie; links that lead out of the folder are not followed unless it says so.

    Raises:
        OSError: the folder itself cannot be looked into.
    """
    root = Path(folder)
    walk = _FolderWalk(root, NotTaken() if not_taken is None else not_taken, on_progress, settings or SlideSettings())
    if leave_out and os.path.realpath(leave_out) != os.path.realpath(root):
        walk.ours = os.path.realpath(leave_out)
    stack = [iter(walk.contents(root))]  # folders may be nested deeper than Python's calls
    while stack:
        for entry, is_slide in stack[-1]:
            if is_slide:
                yield entry
                continue
            try:
                stack.append(iter(walk.contents(entry)))
            except OSError:
                walk.leave(CLOSED, entry)
                continue
            break
        else:
            stack.pop()


def barred_link(place: Path, folder: Path, settings: SlideSettings) -> str:
    """The kind of `NotTaken` that something found in a folder is, by where it really lies; "" where it may be taken."""
    if settings.roots:
        return BARRED if leads_outside(place, settings.roots) else ""
    return LINKS if not settings.follow_links and leads_outside(place, [folder]) else ""


class _FolderWalk:
    """One search, and which folders it has been in."""

    def __init__(self, root: Path, not_taken: NotTaken, on_progress: Callable[[], None], settings: SlideSettings):
        self.root, self.not_taken, self.on_progress, self.settings = root, not_taken, on_progress, settings
        self.seen: set[str] = set()
        self.ours = ""

    def leave(self, kind: str, entry: Path) -> None:
        """Note what is not taken."""
        self.not_taken.add(kind, str(entry.relative_to(self.root)))

    def contents(self, folder: Path) -> list[tuple[Path, bool]]:
        """What is to be taken of a folder, by name: slides (True) and folders to search (False).

        Raises:
            OSError: it cannot be looked into.
        """
        self.on_progress()
        real = os.path.realpath(folder)
        if real == self.ours:
            return []
        if real in self.seen:
            self.leave(AGAIN, folder)
            return []
        self.seen.add(real)
        entries = sorted(folder.iterdir())
        files: list[Path] = []
        folders: list[Path] = []
        for entry in entries:
            if entry.name.startswith("."):
                self.leave(HIDDEN, entry)
            elif (mode := self._mode(entry)) is not None and self._allowed(entry, entry):
                (folders if stat.S_ISDIR(mode) else files).append(entry)
        dicom = [file for file in files if may_be_dicom(file.name) and is_dicom(file)]
        of_slides = self._without_objects(dicom)
        named = [file for file in files if file.suffix.lower() in SUFFIXES and file not in dicom]
        slides = [file for file in named if all(self._allowed(part, file) for part in _parts(file))]
        files = [file for file in files if file in slides or file not in named]
        firsts = _first_of_each(of_slides)
        unknown = bool(of_slides) and not any(head.series for _, head in of_slides)
        if (len(firsts) == 1 or unknown) and not slides and not folders:
            taken = [(folder, True)]
        else:
            taken = [(slide, True) for slide in [*slides, *firsts]]
        owned = {part for slide in slides for part in _parts(slide)}
        names = {entry.name for entry in entries}
        for file in files:
            marks = file.suffix == READY and file.name.removesuffix(READY) in names
            if not marks and file not in dicom and file not in slides and file not in owned:
                self.leave(OTHER, file)
        taken = [(entry, is_slide) for entry, is_slide in taken if entry not in owned]
        return sorted(taken + [(entry, False) for entry in folders if entry not in owned])

    def _mode(self, entry: Path) -> int | None:
        """What a file or folder is; None for all else, which is noted."""
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            gone = entry.is_symlink() and not isinstance(error, PermissionError)
            self.leave(DANGLING if gone else CLOSED, entry)
            return None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            self.leave(ODD, entry)
            return None
        return mode

    def _allowed(self, place: Path, entry: Path) -> bool:
        """Whether something may be taken by where it really lies; `entry` is noted if not."""
        barred = barred_link(place, self.root, self.settings)
        if barred:
            self.leave(barred, entry)
        return not barred

    def _without_objects(self, dicom: list[Path]) -> list[tuple[Path, DicomHead]]:
        """DICOM files that are or may be of a slide."""
        found = []
        for file in dicom:
            try:
                head = read_head(file)
            except OSError:
                head = DicomHead()
            if head.is_other_object:
                self.leave(OBJECTS, file)
            else:
                found.append((file, head))
        return found


def _first_of_each(of_slides: list[tuple[Path, DicomHead]]) -> list[Path]:
    """The first file of each series; one of unknown series, or a copy of another, stands for itself."""
    firsts: list[Path] = []
    series, instances = set[str](), set[str]()
    for file, head in of_slides:
        if not head.series or head.series not in series or head.instance in instances:
            firsts.append(file)
        series.add(head.series)
        instances.add(head.instance)
    return firsts


def _parts(slide: Path) -> list[Path]:
    try:
        return owned_by(slide)
    except OSError:
        return []
