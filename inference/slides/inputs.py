"""Which slides to score: files, folders, globs, a list or a cohort table become one list of jobs with unique ids."""

import codecs
import glob
import itertools
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.errors import InputError
from pathoprog.inference.slides.given_outlines import BARRED_OUTLINE, outline_in
from pathoprog.scoring.eligibility import TRAITS
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.finding import NotTaken, barred_link, slides_in
from pathoprog.slides.identity import SUFFIXES
from pathoprog.slides.identity import slide_id_of as slide_id_of
from pathoprog.slides.roots import leads_outside
from pathoprog.text.plain_text import plain_reason, spelling
from pathoprog.text.wording import count, listing

LIST_SUFFIX = ".txt"
MOST_LIST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SlideInput:
    """One slide to score, and whose it is.

    Without a table `patient_id` is the slide's id, each slide a patient of its own, and `cohort` and `role` are empty.
    `traits` is what the table says of its eligibility, by trait. Where ids are pseudonyms, `given_id` and
    `given_patient_id` are those that they stand for; else empty. `names` is of a copy: see `identity.content_sha256`.
    `features` are files of another tool's features in place of the slide, by resolution; `path` is then one of them.
    `covariates` is what the cohort says of those that the bundle's model holds; None where nothing could say it.
    """

    slide_id: str
    path: str
    patient_id: str
    cohort: str = ""
    role: str = ""
    outline_path: str = ""
    traits: dict[str, str] = field(default_factory=dict)
    given_id: str = ""
    given_patient_id: str = ""
    names: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    covariates: dict[str, str] | None = None

    def plain(self, reason: str) -> str:
        """Why it has no class, in words that may leave with its result."""
        given = (self.given_id, self.given_patient_id)
        return plain_reason(reason, self.slide_id, self.path, self.outline_path, given)


@dataclass(frozen=True)
class Fault:
    """Something that the call names and that cannot be a slide.

    Attributes:
        slide_id: for its row, if the run goes on without it.
        line: what, where, what to do, for whoever gave the call.
        reason: the same for the row: no path in it.
    """

    slide_id: str
    line: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What a call names: slides, what is wrong with the rest, and what lies in its folders beside slides."""

    slides: list[SlideInput]
    faults: list[Fault] = field(default_factory=list)
    not_taken: NotTaken = field(default_factory=NotTaken)

    def refuse(self) -> None:
        """Name every fault.

        Raises:
            InputError: there is one.
        """
        lines = list(dict.fromkeys(fault.line for fault in self.faults))
        if not lines:
            return
        rest = f"; go_on=true would score the other {count(len(self.slides), 'slide')}" if self.slides else ""
        if len(lines) == 1:
            raise InputError(f"{lines[0]}{rest}")
        raise InputError("\n  ".join([f"{len(lines)} faults in the input, nothing was done{rest}:", *lines]))


def slides_from_paths(
    paths: list[str],
    outlines: str = "",
    out: str = "",
    on_progress: Callable[[], None] = lambda: None,
    settings: SlideSettings | None = None,
) -> Found:
    """Slides named on the command line.

    Args:
        paths: files, folders (searched whole), globs, and ``.txt`` lists of those, whose lines are relative to the
            list's folder; a folder of DICOM files is one slide.
        outlines: folder with one tumour outline per slide, called after its id.
        out: folder of results; not searched, though it lie in one of the folders.
        on_progress: called while folders are searched.
        settings: in which folders all of this may lie, and whether links that lead out of a folder are followed.

    Returns:
        The slides; faults for what is not there, holds no slide, cannot be read, lies where it may not, or would share
        an id.
    """
    settings = settings or SlideSettings()
    finder = _Finder(out, on_progress, settings)
    for path in paths:
        finder.take(path, Path())
    found, faults = Found([], finder.faults, finder.not_taken), finder.faults
    by_id: dict[str, list[str]] = {}
    for path in finder.found:
        by_id.setdefault(spelling(slide_id_of(path)), []).append(path)
    remedy = "give cohort=… with ids of their own, or score them into different folders"
    for path in finder.found:
        slide_id = slide_id_of(path)
        same = by_id[spelling(slide_id)]
        if len(same) == 1:
            outline, barred = outline_in(outlines, slide_id, settings)
            if barred:
                faults.append(Fault(slide_id, f"{barred}: {BARRED_OUTLINE}", BARRED_OUTLINE))
            else:
                found.slides.append(SlideInput(slide_id, path, slide_id, outline_path=outline))
            continue
        every = "both" if len(same) == 2 else "all"
        line = f"{listing(same)} would {every} be slide '{slide_id_of(same[0])}': {remedy}"
        faults.append(Fault(slide_id, line, f"{len(same)} files of this run have this id: {remedy}"))
    return found


def slides_from_cohort(
    path: str, overlap: str = "", roles: list[str] | None = None, on_progress: Callable[[], None] = lambda: None
) -> list[SlideInput]:
    """Slides of a cohort table, in the table's order.

    Args:
        path: cohort.csv.
        overlap: declared overlap, see `pathoprog.cohort_tables.cohort.read_cohort`.
        roles: only these; all where empty.
        on_progress: called while slides are looked at.

    Raises:
        CohortError: the table breaks its rules.
        InputError: no slide has one of the roles.
    """
    from pathoprog.cohort_tables.cohort import read_cohort

    table = read_cohort(path, overlap, on_progress=on_progress)
    if roles:
        table = table[table["role"].isin(roles)]
        if table.empty:
            raise InputError(f"{path}: no slide in the roles {', '.join(roles)}")
    known = [name for name in TRAITS if name in table]
    traits: dict[tuple[str, ...], dict[str, str]] = {}  # slides that are alike share theirs: there may be very many
    return [
        SlideInput(
            slide_id=str(row["slide_id"]),
            path=str(row["slide_path"]),
            patient_id=str(row["patient_id"]),
            cohort=str(row["cohort"]),
            role=str(row["role"]),
            outline_path=str(row["outline_path"]),
            traits=traits.setdefault(tuple(str(row[name]) for name in known), {name: str(row[name]) for name in known}),
        )
        for row in table.to_dict("records")
    ]


def within_roots(slides: list[SlideInput], table: str, roots: list[str]) -> Found:
    """The slides of a table whose files and outlines lie in the allowed folders; a fault for each other one."""
    found = Found([])
    for slide in slides:
        named = {"the slide": slide.path, "its outline": slide.outline_path}
        outside = {what: path for what, path in named.items() if path and roots and leads_outside(path, roots)}
        for what, path in outside.items():
            reason = f"{what} lies outside the folders of slides.roots"
            found.faults.append(Fault(slide.slide_id, f"{table}: {slide.slide_id}: {path}: {reason}", reason))
        if not outside:
            found.slides.append(slide)
    return found


class _Finder:
    """Goes through the arguments of a call, and notes slides and faults.

    Attributes:
        found: absolute paths of slides, each once.
        faults: what is wrong.
        not_taken: what lies in the folders beside slides.
    """

    def __init__(self, out: str, on_progress: Callable[[], None], settings: SlideSettings):
        self.out, self.on_progress, self.settings = out, on_progress, settings
        self.found: dict[str, None] = {}
        self.faults: list[Fault] = []
        self.not_taken = NotTaken()
        self._lists: set[str] = set()

    def take(self, text: str, base: Path, said_by: str = "", inside: tuple[str, ...] = ()) -> None:
        """Take what one argument, or one line of a list, names.

        Args:
            text: file, folder, glob or list.
            base: what it is relative to.
            said_by: list and line that say so.
            inside: the lists that we are in, from the first to this one.
        """
        path = base / text
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:
            self._absent(text, path, error, said_by, inside)
            return
        if self.settings.roots and leads_outside(path, self.settings.roots):
            self._fault(path, "lies outside the folders of slides.roots", said_by)
        elif stat.S_ISDIR(mode):
            self._folder(path, said_by)
        elif stat.S_ISREG(mode) and path.suffix.lower() == LIST_SUFFIX:
            self._list(path, said_by, inside)
        else:
            self._slide(path)

    def _slide(self, path: Path) -> None:
        place = str(path.resolve())
        try:
            place.encode("utf-8")
        except UnicodeEncodeError:
            self._fault(path, "its name is no UTF-8 text, so nothing can be written under it; rename it", "")
        else:
            self.found.setdefault(place)

    def _folder(self, folder: Path, said_by: str, empty_is_fault: bool = True) -> None:
        here = NotTaken()
        try:
            slides = list(slides_in(folder, here, self.on_progress, self.out, self.settings))
        except OSError as error:
            self._fault(folder, f"this folder cannot be looked into ({error.strerror or error})", said_by)
            return
        if not slides and empty_is_fault:
            beside = "; ".join(here.lines())
            self._fault(
                folder, f"no slide in this folder ({', '.join(SUFFIXES)})", said_by, f", but {beside}" if beside else ""
            )
        self.not_taken.add_all(here)
        for slide in slides:
            self._slide(slide)

    def _list(self, path: Path, said_by: str, inside: tuple[str, ...]) -> None:
        place = str(path.resolve())
        if place in inside:
            way = " -> ".join(Path(one).name for one in (*inside[inside.index(place) :], place))
            self._fault(path, "this list names itself; take that line out", said_by, f" ({way})")
            return
        if place in self._lists:
            return  # what it names is taken already
        self._lists.add(place)
        try:
            lines = read_list(path)
        except InputError as error:
            self._fault(path, str(error), said_by)
            return
        if not lines:
            self._fault(path, "an empty list", said_by)
        for number, line in lines:
            self.take(line, path.parent, f"{path} line {number}: ", (*inside, place))

    def _absent(self, text: str, path: Path, error: Exception, said_by: str, inside: tuple[str, ...]) -> None:
        """Something that is not there by this name: a glob, or a fault."""
        if glob.has_magic(text) and not isinstance(error, ValueError):
            matches = sorted(_matches(path))
            for match in matches:
                barred = barred_link(match, _fixed_part(path), self.settings)
                if barred:
                    self.not_taken.add(barred, str(match.relative_to(_fixed_part(path))))
                elif match.is_dir():
                    self._folder(match, said_by, empty_is_fault=False)
                else:
                    self.take(str(match), Path(), said_by, inside)
            if not matches:
                self._fault(path, "nothing matches", said_by)
        elif isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
            self._fault(path, "a link that leads nowhere" if _is_link(path) else "no such file", said_by)
        else:
            assert isinstance(error, OSError)
            self._fault(path, f"cannot be looked at ({error.strerror or error})", said_by)

    def _fault(self, path: Path, what: str, said_by: str, more: str = "") -> None:
        place = _printable(str(path))
        self.faults.append(Fault(_printable(slide_id_of(place)) or place, f"{said_by}{place}: {what}{more}", what))


def read_list(path: Path) -> list[tuple[int, str]]:
    """Lines of a list of slides with their numbers, without comments and empty ones.

    Raises:
        InputError: what is wrong with it, without its name: it cannot be read, or is no UTF-8 text.
    """
    try:
        if path.stat().st_size > MOST_LIST_BYTES:
            raise InputError(f"larger than {MOST_LIST_BYTES >> 20} MiB: not a list of slides")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"this list cannot be read ({error.strerror or error})") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise InputError("this list is UTF-16, or no text; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"line {number} of this list is not UTF-8 (Windows-1252 or Latin-1, by the look of it); save it as UTF-8"
        ) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


def _printable(text: str) -> str:
    """Text that any terminal and file takes: what is no UTF-8 in a name, and null bytes, are shown as such."""
    return text.encode(errors="surrogateescape").decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _fixed_part(pattern: Path) -> Path:
    """The folder that a pattern's matches lie in."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _matches(pattern: Path) -> Iterator[Path]:
    """Paths that match a pattern, relative or absolute; ``**`` goes through folders; hidden files never match."""
    fixed = _fixed_part(pattern)
    found = fixed.glob(str(pattern.relative_to(fixed)))
    return (path for path in found if not path.name.startswith("."))
