"""Which files of a listing are one slide: by `identity.FORMATS`, and DICOM files by their series, wherever they lie."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoprog.inference.service.intake.listing import FolderListing, Look, ending
from pathoprog.slides.dicom.header import DicomHead, is_dicom, may_be_dicom, read_head
from pathoprog.slides.finding import READY
from pathoprog.slides.identity import FORMATS, SUFFIXES, owned_by
from pathoprog.system.csv_files import quoted
from pathoprog.system.files import MOST_NAME_BYTES

ONE_FILE = frozenset(next(form.suffixes for form in FORMATS if form.name == "one file"))
DICOM = ".dcm"
WITH_PARTS = frozenset(SUFFIXES) - ONE_FILE - {DICOM}
MOST_WATCHED_NAME_BYTES = MOST_NAME_BYTES - len(READY)
EMPTY = "an empty file (0 bytes); it is taken when it holds something"
NO_SERIES = "a DICOM file that ends before it says which series it is of"
NO_DICOM = f"called {DICOM}, and no DICOM file"


@dataclass(frozen=True, slots=True)
class SlideFiles:
    """The files of one slide, as one listing shows them.

    Attributes:
        path: what to open.
        signature: see `SeenSlide`.
        size: bytes of all.
        files: all, the one that stands for the slide first.
        series: of DICOM.
        scattered: see `SeenSlide`.
        marked: ``<file>.ready`` lies beside it, no older than its files.
        lacks: what must come before it is whole, as a sentence; "" for nothing.
        beside: files of which it is not known (yet) whether they belong to it.
    """

    path: str
    signature: str
    size: int
    files: tuple[str, ...]
    series: str = ""
    scattered: bool = False
    marked: bool = False
    lacks: str = ""
    beside: tuple[str, ...] = ()


def signature_of(parts: Sequence[tuple[str, Look]], device: int) -> str:
    """What a slide's files look like, as one word: ``<names, sizes, times>:<device>-<inodes>``.

    Args:
        parts: name within the slide, and look, of each file.
        device: that the watched folder lies on; inodes are compared only within it.
    """
    if len(parts) == 1:
        size, mtime, inode = parts[0][1]
        return f"{size}-{mtime:x}:{device:x}-{inode:x}"
    parts = sorted(parts)
    seen = "\n".join(f"{name}\0{size}\0{mtime}" for name, (size, mtime, _) in parts)
    inodes = " ".join(f"{inode:x}" for _, (_, _, inode) in parts)
    return f"{_short_hash(seen)}:{device:x}-{_short_hash(inodes)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def why_hostile(name: str) -> str:
    """Why no slide may be called so, as a sentence; "" where it may."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "its name is no UTF-8 text; rename it"
    if length > MOST_WATCHED_NAME_BYTES:
        return (
            f"its name has {length} bytes, at most {MOST_WATCHED_NAME_BYTES} can be: {READY} must fit behind; rename it"
        )
    if quoted(name) != name:
        return "its name holds or begins with what a terminal or a spreadsheet would act on; rename it"
    return ""


class Grouper:
    """Groups one listing after the other; what was read of a file is kept until its size, time or inode changes.

    Args:
        root: the watched folder.
    """

    def __init__(self, root: str):
        self.root = root
        self._heads: dict[str, tuple[Look, DicomHead | None]] = {}
        self._owned: dict[str, tuple[Look, list[str]]] = {}

    def groups(
        self, tree: FolderListing, known: Callable[[str], bool], beat: Callable[[], None]
    ) -> tuple[dict[str, SlideFiles], dict[str, str]]:
        """The slides of a listing by path, and path -> why of files that can be none.

        Args:
            tree: the listing.
            known: whether a slide was taken under a path; a series keeps the path under which it was.
            beat: called often.
        """
        grouping = _Grouping(self, tree, known, beat)
        self._heads = {path: kept for path, kept in self._heads.items() if path in grouping.looked_into}
        self._owned = {path: kept for path, kept in self._owned.items() if path in grouping.looked_into}
        return grouping.groups, grouping.faults

    def head(self, path: str, look: Look) -> DicomHead | None:
        """The head of a DICOM file; None for a file that is none, or not yet."""
        kept = self._heads.get(path)
        if kept is None or kept[0] != look:
            file = Path(path)
            try:
                kept = look, read_head(file) if is_dicom(file) else None
            except OSError:  # it has gone, or says so when it is opened
                kept = look, None
            self._heads[path] = kept
        return kept[1]

    def owned(self, path: str, look: Look) -> list[str]:
        """The files and folders that belong to a slide of several files; see `identity.owned_by`."""
        kept = self._owned.get(path)
        if kept is None or kept[0] != look:
            try:
                parts = [str(part) for part in owned_by(Path(path))]
            except OSError:
                parts = []
            kept = self._owned[path] = look, parts
        return kept[1]


@dataclass(frozen=True, slots=True)
class _Instance:
    """One DICOM file of a slide."""

    folder: str
    name: str
    look: Look
    uid: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


class _Grouping:
    """The grouping of one listing."""

    def __init__(self, grouper: Grouper, tree: FolderListing, known: Callable[[str], bool], beat: Callable[[], None]):
        self.grouper, self.tree, self.known, self.beat = grouper, tree, known, beat
        self.device = tree.root[0]
        self.groups: dict[str, SlideFiles] = {}
        self.faults: dict[str, str] = {}
        self.looked_into: set[str] = set()
        self.series: dict[str, list[_Instance]] = defaultdict(list)
        self.unknown: dict[str, list[str]] = defaultdict(list)  # folder -> files that may turn out to be of a series
        self.others: Counter[str] = Counter()  # folder -> slides in it that are not DICOM
        self.owned: set[str] = set()  # files and folders that belong to a slide that names them
        for folder, files in tree.files.items():
            self._with_parts(folder, files)
        for folder, files in tree.files.items():
            if not self._is_owned(folder):
                self._single_files(folder, files)
        self.n_series = Counter(
            folder for found in self.series.values() for folder in {one.folder for one in found}
        )  # folder -> series that have files in it
        for uid, found in self.series.items():
            self._series(uid, found)

    def _with_parts(self, folder: str, files: dict[str, Look]) -> None:
        """Take slides that are a file and what belongs to it (MIRAX, Hamamatsu)."""
        for name, look in files.items():
            if ending(name) not in WITH_PARTS:
                continue
            path = f"{folder}/{name}"
            self.looked_into.add(path)
            owned = self.grouper.owned(path, look)
            self.owned.update(owned)
            self.others[folder] += 1
            if self._well_named(path, name):
                self._of_several(path, look, owned)

    def _is_owned(self, folder: str) -> bool:
        """Whether a folder is, or lies in, one that belongs to a slide."""
        while self.owned and len(folder) > len(self.grouper.root):
            if folder in self.owned:
                return True
            folder = folder.rpartition("/")[0]
        return False

    def _of_several(self, path: str, look: Look, owned: list[str]) -> None:
        parts = {path: look}
        lacks = ""
        for part in owned:
            folder, _, name = part.rpartition("/")
            inside = self._inside(part)
            if inside:
                parts |= inside
            elif name in self.tree.files.get(folder, {}):
                parts[part] = self.tree.files[folder][name]
            else:
                lacks = "files or a folder that belong to it are not there (yet)"
        self._add(path, parts, lacks)

    def _inside(self, folder: str) -> dict[str, Look]:
        """All files in a folder and below."""
        found: dict[str, Look] = {}
        todo = [folder] if folder in self.tree.files else []
        while todo:
            here = todo.pop()
            found |= {f"{here}/{name}": look for name, look in self.tree.files.get(here, {}).items()}
            todo += [f"{here}/{name}" for name in self.tree.folders.get(here, [])]
        return found

    def _single_files(self, folder: str, files: dict[str, Look]) -> None:
        """Take slides of one file, and look into what may be DICOM."""
        groups, device, owned = self.groups, self.device, self.owned
        for name, look in files.items():
            if ending(name) in ONE_FILE:
                path = f"{folder}/{name}"
                if path in owned or not self._well_named(path, name):
                    continue
                self.others[folder] += 1
                marked = f"{name}{READY}" in files and files[f"{name}{READY}"][1] >= look[1]
                lacks = "" if look[0] else EMPTY
                size, mtime, inode = look
                signature = f"{size}-{mtime:x}:{device:x}-{inode:x}"  # as `signature_of`, for very many
                groups[path] = SlideFiles(path, signature, size, (path,), marked=marked, lacks=lacks)
            elif may_be_dicom(name) and f"{folder}/{name}" not in owned:
                self._may_be_dicom(folder, name, look)

    def _may_be_dicom(self, folder: str, name: str, look: Look) -> None:
        path = f"{folder}/{name}"
        self.looked_into.add(path)
        self.beat()
        head = self.grouper.head(path, look)
        if head is not None and head.is_other_object:
            return
        if head is not None and head.series:
            if self._well_named(path, name):
                self.series[head.series].append(_Instance(folder, name, look, head.instance))
        elif head is not None or ending(name) == DICOM:
            self.unknown[folder].append(path)
            why = NO_SERIES if head is not None else NO_DICOM
            self.groups[path] = SlideFiles(path, signature_of([("", look)], self.device), look[0], (path,), lacks=why)

    def _series(self, uid: str, instances: list[_Instance]) -> None:
        """Take the slides of one series: one, unless files of it are there twice."""
        instances = sorted(instances, key=lambda one: (one.folder, one.name))
        folders = {one.folder for one in instances}
        twice = len({one.uid for one in instances}) < len(instances)
        if len(folders) > 1 and not twice:
            self._series_slide(uid, instances, scattered=True)
            return
        for folder in sorted(folders):
            firsts: dict[str, _Instance] = {}
            copies = []
            for one in instances:
                if one.folder == folder and firsts.setdefault(one.uid, one) is not one:
                    copies.append(one)
            self._series_slide(uid, list(firsts.values()), whole_folder=not copies)
            for copy in copies:  # it stands for itself, with the others of its series, as `finding` has it
                others = [one for one in firsts.values() if one.uid != copy.uid]
                self._series_slide(uid, [copy, *others], copy=True)

    def _series_slide(
        self,
        uid: str,
        instances: list[_Instance],
        scattered: bool = False,
        whole_folder: bool = False,
        copy: bool = False,
    ) -> None:
        first = instances[0]
        path = first.path
        if not copy:
            path = next((one.path for one in instances if self.known(one.path)), first.path)
            if path == first.path and whole_folder and not self.known(path) and self._is_slide(first.folder):
                path = first.folder
        if path == first.folder and not self._well_named(path, path.rpartition("/")[2]):
            return
        parts = {one.path: one.look for one in instances}
        beside = tuple(file for folder in {one.folder for one in instances} for file in self.unknown.get(folder, ()))
        self._add(path, parts, "", uid, scattered, beside)

    def _is_slide(self, folder: str) -> bool:
        """Whether a folder holds one series and nothing else that is a slide: it is that slide, as in `finding`.

        The watched folder itself is none: more may come.
        """
        if folder == self.grouper.root or self.tree.folders.get(folder) or self.others[folder]:
            return False
        return self.n_series[folder] == 1

    def _add(
        self,
        path: str,
        parts: dict[str, Look],
        lacks: str,
        uid: str = "",
        scattered: bool = False,
        beside: tuple[str, ...] = (),
    ) -> None:
        base = path if path in self.tree.files else path.rpartition("/")[0]
        named = [(file.removeprefix(f"{base}/"), look) for file, look in parts.items()]
        size = sum(look[0] for look in parts.values())
        files = (path, *sorted(parts.keys() - {path})) if path in parts else tuple(sorted(parts))
        if not lacks and not size:
            lacks = EMPTY
        marked = self._marked(path, parts)
        signature = signature_of(named, self.device)
        self.groups[path] = SlideFiles(path, signature, size, files, uid, scattered, marked, lacks, beside)

    def _marked(self, path: str, parts: dict[str, Look]) -> bool:
        """Whether a file says that a slide is complete, and has said so since the last change."""
        newest = max(look[1] for look in parts.values())
        for part in {path, *parts}:
            folder, _, name = part.rpartition("/")
            mark = self.tree.files.get(folder, {}).get(f"{name}{READY}")
            if mark is not None and mark[1] >= newest:
                return True
        return False

    def _well_named(self, path: str, name: str) -> bool:
        why = why_hostile(name)
        if why:
            self.faults[path] = why
        return not why
