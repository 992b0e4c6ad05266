"""One listing of a watched folder: every file's size, time and inode, by `os.scandir` and nothing slower.

Left alone are hidden names, names that copying programs give to what is not complete, and the folders that systems
keep for themselves. Links are followed within the folder; those that lead out of it as `slides.roots` says.
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.slides.config import SlideSettings
from pathoprog.slides.dicom.header import may_be_dicom
from pathoprog.slides.finding import BARRED, barred_link
from pathoprog.slides.identity import SUFFIXES
from pathoprog.slides.roots import leads_outside
from pathoprog.text.plain_text import CONTROL

Look = tuple[int, int, int]
"""Size in bytes, mtime in ns, inode."""

UNFINISHED = ("~", ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".upload", ".swp")
LONGEST_ENDING = max(map(len, UNFINISHED))
SYSTEM_FOLDERS = ("lost+found", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle", "#snapshot")
LOST = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN,
    errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ECONNRESET, errno.ECONNABORTED,
)  # fmt: skip
"""Errors by which a share that is gone shows itself; also a bad block of a disk, so that one alone says nothing."""
MOST_LOST = 10
BEAT_EVERY = 500  # entries
NO_TEXT = "its name is no UTF-8 text or holds control characters; rename it"


@dataclass
class FolderListing:
    """What lies in a folder and below.

    Attributes:
        root: device and inode of the folder itself.
        files: folder -> name -> look, of files that are not left alone.
        folders: folder -> names of the folders in it.
        faults: path -> why it cannot be taken, of what is or may be a slide.
        closed: files and folders of which nothing is known: what lies there is not gone.
    """

    root: tuple[int, int]
    files: dict[str, dict[str, Look]] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    @property
    def n_files(self) -> int:
        """How many files were looked at."""
        return sum(map(len, self.files.values()))


def list_tree(root: str, slides: SlideSettings, beat: Callable[[], None], inodes: bool = True) -> FolderListing:
    """List a folder and all below.

    Args:
        root: the folder, absolute.
        slides: whether links may lead out of it, and where to.
        beat: called often.
        inodes: False to take all of them for 0.

    Raises:
        OSError: the folder itself cannot be listed, or its share is lost on the way.
    """
    return _TreeWalk(root, slides, beat, inodes).tree


def left_alone(name: str) -> bool:
    """Whether a name is one of those that are not looked at: hidden, or of what is not complete."""
    return name.startswith((".", "~")) or name[-LONGEST_ENDING:].lower().endswith(UNFINISHED)


def may_be_slide(name: str) -> bool:
    """Whether a file of this name may be a slide, or a file of one."""
    return ending(name) in SUFFIXES or may_be_dicom(name)


def ending(name: str) -> str:
    """What `Path.suffix` says of a name, in lower case, without the cost of a `Path`."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


class _TreeWalk:
    """One listing on its way."""

    def __init__(self, root: str, slides: SlideSettings, beat: Callable[[], None], inodes: bool):
        self.root, self.slides, self.beat, self.inodes = root, slides, beat, inodes
        status = Path(root).stat()
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root)
        self.tree = FolderListing((status.st_dev, status.st_ino))
        self.n_lost, self.n_entries = 0, 0
        self.seen: set[tuple[int, int]] = set()
        self.todo, self.linked = [root], list[str]()
        while self.todo or self.linked:  # what lies in the folder itself first, by its own name
            folder = self.todo.pop() if self.todo else self.linked.pop()
            try:
                self._folder(folder)
            except OSError as error:
                if folder == root:
                    raise
                self._closed(folder, error)

    def _folder(self, folder: str) -> None:
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in self.seen:
            return
        self.seen.add((status.st_dev, status.st_ino))
        self.beat()
        files: dict[str, Look] = {}
        folders: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self.n_entries += 1
                if self.n_entries % BEAT_EVERY == 0:
                    self.beat()
                name = entry.name
                if left_alone(name):
                    continue
                try:
                    if entry.is_symlink():
                        self._link(folder, name, files)
                    elif entry.is_dir(follow_symlinks=False):
                        if name not in SYSTEM_FOLDERS:
                            self._below(folder, name, folders)
                    else:
                        self._file(folder, name, entry.stat(follow_symlinks=False), files)
                except OSError as error:
                    self._closed(f"{folder}/{name}", error)
        self.tree.files[folder], self.tree.folders[folder] = files, folders

    def _file(self, folder: str, name: str, status: os.stat_result, files: dict[str, Look]) -> None:
        if stat.S_ISREG(status.st_mode):
            files[name] = (status.st_size, status.st_mtime_ns, status.st_ino if self.inodes else 0)
        elif may_be_slide(name):
            self.tree.faults[f"{folder}/{name}"] = "a pipe, socket or device, and no file"

    def _below(self, folder: str, name: str, folders: list[str]) -> None:
        if CONTROL.search(name):
            self.tree.faults[f"{folder}/{name}"] = f"nothing in this folder is taken: {NO_TEXT}"
            return
        folders.append(name)
        self.todo.append(f"{folder}/{name}")

    def _link(self, folder: str, name: str, files: dict[str, Look]) -> None:
        path = f"{folder}/{name}"
        try:
            status = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            if may_be_slide(name):
                self.tree.faults[path] = "a link that leads nowhere"
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and not may_be_slide(name):
            return
        barred = barred_link(Path(path), Path(self.root), self.slides)
        if barred:
            where = "to a place outside slides.roots" if barred == BARRED else "that leads out of the watched folder"
            self.tree.faults[path] = f"a link {where}"
        elif not is_folder:
            self._file(folder, name, status, files)
        elif leads_outside(path, [self.root]) and not CONTROL.search(name):
            self.linked.append(path)  # one that leads to a folder inside shows nothing that is not seen anyway

    def _closed(self, path: str, error: OSError) -> None:
        """Note what cannot be looked at; what has just gone is simply not there.

        Raises:
            OSError: so many errors of this kind that it is the share.
        """
        if isinstance(error, FileNotFoundError):
            return
        if error.errno in LOST:
            self.n_lost += 1
            if self.n_lost > MOST_LOST:
                raise error
            with os.scandir(self.root):  # it raises where the share is gone
                pass
        self.tree.closed.add(path)
        self.tree.faults[path] = f"cannot be looked at ({error.strerror or error})"
