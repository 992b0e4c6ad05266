"""One slide's local copy: its folder, its record, and how it is copied so that a kill at any point costs little.

A unit is a folder named by a keyed hash of where the slide lies: no name of a file or folder of the share is written
where the slide's content does not depend on it. Its record says what the sources looked like and how far their copies
are synced. A copy goes on from there while its source looks the same, and begins anew else; the bytes kept are hashed
again, so that a file's hash is always of all that was read.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pathoprog.errors import SlideError
from pathoprog.slides.identity import FORMATS, slide_id_of
from pathoprog.system.fault_points import point
from pathoprog.system.files import canonical_json, sync_folder, write_text

RECORD, FILES = "unit.json", "files"
BLOCK = 1 << 22
SYNC_EVERY = 64 << 20  # bytes between two entries in the record: what a kill costs at most
RENAMED = "slide"
INDEXED = (".mrxs", ".vms", ".vmu")
"""Endings of slides whose parts are found by their names."""
MIRAX = next(form.suffixes[0] for form in FORMATS if form.name == "MIRAX")


@dataclass
class PartCopy:
    """One file of a unit.

    Attributes:
        name: in the unit's folder of files, with ``/``.
        look: size, mtime in ns and inode of its source.
        synced: bytes of the copy that are on the disk.
        sha256: of all that was read; "" until the copy is whole.
    """

    name: str
    look: tuple[int, int, int]
    synced: int = 0
    sha256: str = ""


@dataclass
class StagedUnit:
    """One slide's copy.

    Attributes:
        folder: its own.
        main: what is to be opened: a name in its folder of files, or "" for that folder itself.
        parts: all its files.
        given: names in the copy -> names in the slide's folder, where they are others; not in the record.
    """

    folder: Path
    main: str = ""
    parts: list[PartCopy] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, when it is whole."""
        return sum(part.look[0] for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether all of it was copied."""
        return bool(self.parts) and all(part.sha256 for part in self.parts)

    @property
    def path(self) -> Path:
        """What is to be opened."""
        return self.folder / FILES / self.main if self.main else self.folder / FILES

    def place(self, part: PartCopy) -> Path:
        """Where a file's copy lies."""
        return self.folder / FILES / part.name

    def save(self) -> None:
        """Write the record."""
        record = {"main": self.main, "parts": [vars(part) for part in self.parts]}
        write_text(self.folder / RECORD, canonical_json(record), private=True)

    def remove(self) -> None:
        """Take the copy away; the record goes first, so that what a kill leaves is known for a leftover."""
        with contextlib.suppress(OSError):
            (self.folder / RECORD).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_of(self, other: "StagedUnit") -> bool:
        """Whether it is the copy of the same files, which look as they did."""
        parts, others = ([(part.name, part.look) for part in unit.parts] for unit in (self, other))
        return self.main == other.main and parts == others

    def is_sound(self, on_progress: Callable[[], None]) -> bool:
        """Whether each file's copy still has the size and the hash of what was read."""
        for part in self.parts:
            place = self.place(part)
            try:
                if place.stat().st_size != part.look[0] or _hash(place, on_progress) != part.sha256:
                    return False
            except OSError:
                return False
        return self.is_whole


def read_unit(folder: Path) -> StagedUnit | None:
    """The unit that a folder holds; None for a leftover of something else."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        parts = [_part(item) for item in record["parts"]]
        return StagedUnit(folder, str(record["main"]), parts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _part(item: dict[str, Any]) -> PartCopy:
    size, mtime, inode = map(int, item["look"])
    name = str(item["name"])
    _check_inside(name)
    return PartCopy(name, (size, mtime, inode), int(item["synced"]), str(item["sha256"]))


def plan_unit(folder: Path, path: Path, sources: list[Path], neutral: bool = False) -> StagedUnit:
    """What a slide's copy is to be.

    Args:
        folder: of the unit.
        path: of the slide.
        sources: its files, that which stands for it first.
        neutral: DICOM files of one folder are numbered in the order of their names, which may be those of people.
            Whoever hashes the content must be told `given`.

    Raises:
        OSError: one of them cannot be looked at.
        ValueError: one of them would have to lie outside the unit.
    """
    names = _names(path, sources)
    for name in names:
        _check_inside(name)
    looks = [_look(source.stat()) for source in sources]
    given: dict[str, str] = {}
    if neutral and sources != [path] and path.suffix.lower() not in INDEXED and not any("/" in name for name in names):
        order = sorted(names)
        given = {f"{number:05d}.dcm": name for number, name in enumerate(order)}
        names = [f"{order.index(name):05d}.dcm" for name in names]
    main = "" if path not in sources else names[sources.index(path)]
    return StagedUnit(folder, main, [PartCopy(*pair) for pair in zip(names, looks, strict=True)], given)


def _names(path: Path, sources: list[Path]) -> list[str]:
    """Names in the copy: without those of the share where neither format nor content's hash hangs on them."""
    suffix = path.suffix.lower()
    if sources == [path]:
        return [RENAMED + path.name[len(slide_id_of(path.name)) :]]
    if suffix == MIRAX:
        return [RENAMED + file.relative_to(path.parent).as_posix().removeprefix(path.stem) for file in sources]
    base = path if path not in sources else path.parent
    if all(file.is_relative_to(base) for file in sources):
        return [file.relative_to(base).as_posix() for file in sources]
    return [f"{number:05d}.dcm" for number in range(len(sources))]  # a series from several folders, in one


def _check_inside(name: str) -> None:
    if name.startswith("/") or ".." in Path(name).parts:
        raise ValueError("a file that belongs to it lies elsewhere")


@contextlib.contextmanager
def _source() -> Iterator[None]:
    """What fails in here is the slide's place, and not the local disk."""
    try:
        yield
    except FileNotFoundError as error:
        raise SlideError("it, or a file that belongs to it, is not there", "missing") from error
    except OSError as error:
        raise SlideError(f"it cannot be read ({error.strerror or error})", "io") from error


def _look(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def copy_unit(unit: StagedUnit, sources: list[Path], on_progress: Callable[[], None]) -> None:
    """Copy what is still missing of a unit.

    Args:
        unit: as planned, or as read where an earlier copy was broken off.
        sources: of its files.
        on_progress: called often.

    Raises:
        SlideError: code ``changed``: a source looks otherwise than at the beginning; ``io`` or ``missing``: it cannot
            be read.
        OSError: the copy cannot be written, or is not what was written.
    """
    unit.folder.mkdir(mode=0o700, exist_ok=True)
    unit.save()
    for part, source in zip(unit.parts, sources, strict=True):
        if not part.sha256:
            _copy(unit, part, source, on_progress)
    for part, source in zip(unit.parts, sources, strict=True):
        with _source():
            look = _look(source.stat())
        if look != part.look:
            raise SlideError("a file of the slide changed while it was copied", "changed")


def _copy(unit: StagedUnit, part: PartCopy, source: Path, on_progress: Callable[[], None]) -> None:
    place = unit.place(part)
    place.parent.mkdir(parents=True, exist_ok=True)
    total = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        with _source():
            stream = stack.enter_context(source.open("rb"))
        copy = stack.enter_context(place.open("r+b" if place.exists() else "x+b"))
        _check_look(stream, part)
        kept = 0
        while kept < part.synced and (block := copy.read(min(BLOCK, part.synced - kept))):
            total.update(block)
            kept += len(block)
            on_progress()
        copy.truncate(kept)
        copy.seek(kept)
        stream.seek(kept)
        part.synced, since = kept, 0
        while block := _block(stream):
            copy.write(block)
            total.update(block)
            kept, since = kept + len(block), since + len(block)
            point("stage")
            on_progress()
            if since >= SYNC_EVERY:
                copy.flush()
                os.fsync(copy.fileno())
                part.synced, since = kept, 0
                unit.save()
        copy.flush()
        os.fsync(copy.fileno())
        os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so that the check reads the disk
        _check_look(stream, part)
        if kept != part.look[0]:
            raise SlideError("a file of the slide changed while it was copied", "changed")
    if _hash(place, on_progress) != total.hexdigest():
        raise OSError(f"{place}: the copy differs from what was read")
    part.synced, part.sha256 = kept, total.hexdigest()
    sync_folder(place.parent)
    unit.save()


def _block(stream: BinaryIO) -> bytes:
    with _source():
        return stream.read(BLOCK)


def _check_look(stream: BinaryIO, part: PartCopy) -> None:
    """Refuse a source that does not look as it did when its copy was begun."""
    with _source():
        look = _look(os.fstat(stream.fileno()))
    if look != part.look:
        raise SlideError("a file of the slide changed while it was copied", "changed")


def _hash(path: Path, on_progress: Callable[[], None]) -> str:
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            total.update(block)
            on_progress()
    return total.hexdigest()
