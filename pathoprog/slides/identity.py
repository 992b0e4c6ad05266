"""Which files are a slide, what they look like, the hash of their content, and whether any of it has changed.

Scoring, training, features, the tumour network and `inspect` all ask here; a format of several files is a row of
`FORMATS`.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoprog.errors import SlideError
from pathoprog.slides.dicom.header import is_dicom, may_be_dicom, read_head
from pathoprog.system.files import sha256_value

INDEX_BYTES = 1 << 20  # an index of file names is a few KiB
UNREADABLE, ABSENT = "unreadable", "absent"

Stamp = list[Any]
"""What a slide's files look like, plain JSON: size and mtime in ns of the one file, or name, size and mtime of each. A
file that may not be read, or that is named and not there, says so. Empty for a slide that cannot be looked at."""


@dataclass(frozen=True)
class Format:
    """A kind of slide: the endings of the file that stands for it, and the files and folders that belong to it."""

    name: str
    suffixes: tuple[str, ...]
    owns: Callable[[Path], list[Path]]


def _nothing(_: Path) -> list[Path]:
    return []


def _folder_of_its_name(file: Path) -> list[Path]:
    return [file.with_suffix("")]


def _named_in_index(file: Path) -> list[Path]:
    """The images, the map and the optimisation file that an index of Hamamatsu names; some may not be there."""
    with file.open("rb") as stream:
        lines = stream.read(INDEX_BYTES).decode("utf-8", "replace").splitlines()
    pairs = [line.partition("=") for line in lines]
    parts = ("ImageFile", "MapFile", "OptimisationFile", "MacroImage")
    names = {value.strip() for key, _, value in pairs if key.strip().startswith(parts)}
    return [file.parent / name for name in sorted(names) if name and "\0" not in name]


def _same_series(file: Path) -> list[Path]:
    """The other DICOM files beside an instance that are of its series, copies of it apart.

    All of them where its series is not known.
    """
    own = read_head(file)
    beside = [entry for entry in file.parent.iterdir() if entry != file and may_be_dicom(entry.name)]
    heads = {entry: read_head(entry) for entry in beside if entry.is_file() and is_dicom(entry)}
    if not own.series:
        return sorted(heads)
    return sorted(entry for entry, head in heads.items() if head.series == own.series and head.instance != own.instance)


FORMATS = (
    Format("DICOM", (".dcm",), _same_series),
    Format("MIRAX", (".mrxs",), _folder_of_its_name),
    Format("Hamamatsu VMS, VMU", (".vms", ".vmu"), _named_in_index),
    Format("one file", (".bif", ".czi", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff"), _nothing),
)
SUFFIXES = tuple(sorted(suffix for form in FORMATS for suffix in form.suffixes))
DOUBLE_SUFFIXES = (".ome.tif", ".ome.tiff")


def instances(folder: Path) -> list[Path]:
    """The files of a folder that are or may be of a DICOM slide; annotations and other objects are none.

    Raises:
        OSError: the folder cannot be looked into.
    """
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    dicom = [file for file in files if is_dicom(file)]
    return [file for file in dicom if not read_head(file).is_other_object] or dicom or files


def owned_by(file: Path) -> list[Path]:
    """The files and folders that belong to the slide that a file stands for; what is not there is among them.

    Raises:
        OSError: the file, or what lies beside it, cannot be looked into.
    """
    form = next((form for form in FORMATS if file.suffix.lower() in form.suffixes), None)
    if form is None:
        return _same_series(file) if is_dicom(file) else []
    return form.owns(file)


def absent_part(path: str | Path) -> str:
    """The name of something that belongs to a slide and is not there; "" where the slide is whole, or is not there.

    Raises:
        OSError: see `owned_by`.
    """
    file = Path(path)
    return next((part.name for part in owned_by(file) if not part.exists()), "") if file.is_file() else ""


def files_of(path: str | Path) -> list[Path]:
    """All files of a slide: the file that stands for it first, the others by name; what is not there is among them.

    A folder stands for the DICOM slide that lies in it.

    Raises:
        OSError: no such file or folder, or it cannot be looked into.
    """
    path = Path(path)
    if path.is_dir():
        return instances(path)
    if not path.is_file():
        path.stat()  # says why
        return []
    parts = owned_by(path)
    inside = [entry for part in parts if part.is_dir() for entry in part.rglob("*") if entry.is_file()]
    return [path, *sorted([part for part in parts if not part.is_dir()] + inside)]


def stamp(path: str | Path) -> Stamp:
    """What a slide's files look like without reading them: where it is the same, nothing is read again."""
    found = looks(path)
    return found[0][1:] if len(found) == 1 and not Path(path).is_dir() else found


def source_sha256(path: str) -> str:
    """Hash of a slide's place and `stamp`; empty for a slide that cannot be looked at."""
    found = looks(path)
    return sha256_value([path, found]) if found else ""


def is_recent(path: str, seconds: float) -> bool:
    """Whether a slide may still be being copied: a file changed within so many seconds, or by the clock not yet.

    A file `<path>.ready` beside it says that it is complete.
    """
    if Path(f"{path}.ready").exists():
        return False
    newest_ns = max((look[2] for look in looks(path)), default=0)
    return bool(newest_ns / 1e9 > time.time() - seconds)


def looks(path: str | Path) -> list[list[Any]]:
    """Name, size, mtime in ns (and what is odd) of each file; none where the slide cannot be looked at."""
    try:
        files = files_of(path)
        folder = _folder(Path(path))
        return [_look(file, folder) for file in files]
    except (OSError, ValueError):  # no such path, or one that no file can have
        return []


def _look(file: Path, folder: Path) -> list[Any]:
    name = Path(os.path.relpath(file, folder)).as_posix()
    try:
        found = file.stat()
    except FileNotFoundError:
        return [name, 0, 0, ABSENT]
    return [name, found.st_size, found.st_mtime_ns, *([] if os.access(file, os.R_OK) else [UNREADABLE])]


def _folder(path: Path) -> Path:
    """What the names of a slide's files are relative to."""
    return path if path.is_dir() else path.parent


def content_sha256(
    path: str | Path, on_progress: Callable[[], None] = lambda: None, names: Mapping[str, str] | None = None
) -> str:
    """SHA-256 of a slide's content, hexadecimal.

    Of one file its bytes; of several the names and hashes of all.

    Args:
        path: of the slide.
        on_progress: called often.
        names: of a copy's files that are called otherwise than the slide's own: name in the copy -> name that counts.

    Raises:
        SlideError: code ``missing`` where a file that it names is not there, else ``io``.
    """
    path = Path(path)
    try:
        files = files_of(path)
        if files == [path]:
            return _file_sha256(path, on_progress)
        total = hashlib.sha256()
        for file in files:
            name = _name_in_slide(file, path)
            name = (names or {}).get(name, name)
            total.update(f"{name}\0{_file_sha256(file, on_progress)}\n".encode(errors="surrogateescape"))
        return total.hexdigest()
    except FileNotFoundError as error:
        gone = Path(error.filename).name if error.filename else ""
        what = f"{gone}, which belongs to it, is not there" if gone and gone != path.name else "no such file"
        raise SlideError(f"{path}: {what}", "missing") from error
    except OSError as error:
        raise SlideError(f"{path}: {error.strerror or error}", "io") from error


def _name_in_slide(file: Path, path: Path) -> str:
    """A file's name in its slide's hash: of MIRAX without the slide's own name, so that a renamed copy is the same."""
    name = Path(os.path.relpath(file, _folder(path))).as_posix()
    return name.removeprefix(path.stem) if path.suffix.lower() == ".mrxs" else name


def _file_sha256(path: Path, on_progress: Callable[[], None]) -> str:
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            total.update(block)
            on_progress()
    return total.hexdigest()


def slide_id_of(path: str) -> str:
    """A slide's id where no table gives one: the file name up to its extension."""
    name = Path(path).name
    for suffix in DOUBLE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name
