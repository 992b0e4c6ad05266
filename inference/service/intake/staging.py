"""Local copies of slides that lie on slow shares: each is copied once, and what was used longest ago goes first.

A copy is never the only one of anything: it is taken away whenever room is needed. What cannot be copied (too large, no
room, the disk full) is read where it lies, and that is said. Copying is done by the thread that asks; where the share
hangs, that thread hangs with it, so that whoever must not wait asks from a thread of its own.
"""

import contextlib
import errno
import fcntl
import hmac
import os
import secrets
import shutil
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.errors import ConfigError, SlideError
from pathoprog.inference.service.intake.staged_unit import StagedUnit, copy_unit, plan_unit, read_unit
from pathoprog.slides.identity import files_of
from pathoprog.system.files import write_text

KEY, LOCK = "staging.key", "lock"
KEY_BYTES, NAME_DIGITS = 32, 40
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRIES = 2  # of a slide whose files change while they are copied


@dataclass(frozen=True, slots=True)
class StagedSlide:
    """Where to read a slide.

    Attributes:
        path: to open: of its local copy, or where it lies.
        is_copy: it is the local copy.
        why: why it is none, as a sentence; "" where it is.
        names: of its files, where the copy's are others: see `identity.content_sha256`.
    """

    path: str
    is_copy: bool
    why: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


class StagingCache:
    """The copies, of one process at a time.

    Args:
        folder: its own, on a local disk.
        max_bytes: of all copies together.
        keep_free: bytes of the disk that no copy takes.

    Raises:
        ConfigError: the folder holds something else, another process uses it, or it cannot be written.
    """

    def __init__(self, folder: str | Path, max_bytes: int, keep_free: int = 0):
        self.folder, self.max_bytes, self.keep_free = Path(folder), max_bytes, keep_free
        self._lock = threading.Condition()
        self._units: OrderedDict[str, StagedUnit] = OrderedDict()  # what was used longest ago first
        self._pins: Counter[str] = Counter()  # users of a copy, those that wait for it too: it is not taken for room
        self._readers: Counter[str] = Counter()  # of them, those that were given it
        self._copying: set[str] = set()
        try:
            self._open()
        except OSError as error:
            raise ConfigError(
                f"{self.folder}: the folder of local copies cannot be used ({error.strerror or error})"
            ) from error

    @property
    def used_bytes(self) -> int:
        """Bytes of all copies, those that are being made at their full size."""
        with self._lock:
            return sum(unit.size for unit in self._units.values())

    def close(self) -> None:
        """Let another process use the folder; the copies stay."""
        os.close(self._lock_file)

    @contextlib.contextmanager
    def use(
        self,
        path: str,
        files: Sequence[str] = (),
        on_progress: Callable[[], None] = lambda: None,
        known_as: str = "",
        neutral: bool = False,
    ) -> Iterator[StagedSlide]:
        """A slide's local copy, made if it is not there; it stays as long as the context lasts.

        Args:
            path: of the slide.
            files: all its files, as the watch gives them (needed for a series that lies in several folders); found by
                `identity.files_of` where none is given.
            on_progress: called often.
            known_as: what its copy is known by; its path where nothing is given.
            neutral: see `plan_unit`.

        Raises:
            SlideError: code ``missing`` or ``io``: it cannot be read; what was copied is kept for the next time.
                ``changed``: its files change while they are copied.
        """
        name = self._name(known_as or path)
        reads = False
        self._begin(name)
        try:
            try:
                staged = self._staged(name, Path(path), files, on_progress, neutral)
                reads = staged.is_copy
            finally:
                self._finish_copy(name, reads)
            yield staged
        finally:
            self._end(name, reads)

    def whole(self, known_as: str) -> str:
        """The path of a slide's copy that is whole, or ""; it may go when room is needed."""
        with self._lock:
            unit = self._units.get(self._name(known_as))
            return str(unit.path) if unit is not None and unit.is_whole else ""

    def remove(self, known_as: str) -> None:
        """Take a slide's copy away, if there is one that nobody reads; it is forgotten."""
        name = self._name(known_as)
        with self._lock:
            if (
                name not in self._pins
                and name not in self._copying
                and (unit := self._units.pop(name, None)) is not None
            ):
                unit.remove()

    def _name(self, known_as: str) -> str:
        return hmac.digest(self._key, known_as.encode(errors="surrogateescape"), "sha256").hex()[:NAME_DIGITS]

    def _open(self) -> None:
        """Take the folder, and look at what lies there: what is no copy of ours is a leftover, or a reason to stop."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        key_file = self.folder / KEY
        if not key_file.exists():
            if any(not entry.name.startswith(f".{KEY}.") for entry in self.folder.iterdir()):
                raise ConfigError(f"{self.folder}: holds something else; give an empty folder for the local copies")
            write_text(key_file, secrets.token_hex(KEY_BYTES) + "\n", private=True)
        try:
            self._key = bytes.fromhex(key_file.read_text(encoding="ascii"))
        except ValueError as error:
            raise ConfigError(f"{key_file}: not the key of a folder of local copies; give an empty folder") from error
        self._lock_file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock_file)
            raise ConfigError(f"{self.folder}: another service uses this folder of local copies") from error
        found: list[tuple[int, str, StagedUnit]] = []
        for entry in self.folder.iterdir():
            if entry.name in (KEY, LOCK):
                continue
            unit = read_unit(entry) if entry.is_dir() else None
            if unit is not None:
                for rest in entry.glob(".*.tmp"):  # of a record that was being written
                    rest.unlink(missing_ok=True)
                found.append((entry.stat().st_mtime_ns, entry.name, unit))
            elif entry.is_dir() and _is_ours(entry.name):
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name.endswith(".tmp"):
                entry.unlink(missing_ok=True)
        self._units.update((name, unit) for _, name, unit in sorted(found, key=lambda one: one[:2]))
        with self._lock:
            self._make_room(0)

    def _begin(self, name: str) -> None:
        """Pin a copy; a second user waits until the first has made it."""
        with self._lock:
            self._pins[name] += 1
            while name in self._copying:
                self._lock.wait()
            self._copying.add(name)

    def _finish_copy(self, name: str, reads: bool) -> None:
        with self._lock:
            self._readers[name] += reads
            self._copying.discard(name)
            self._lock.notify_all()

    def _end(self, name: str, reads: bool) -> None:
        with self._lock:
            self._readers[name] -= reads
            self._pins[name] -= 1
            if not self._pins[name]:
                del self._pins[name], self._readers[name]
            if name in self._units:
                self._units.move_to_end(name)
                with contextlib.suppress(OSError):
                    os.utime(self._units[name].folder)  # the order at the next start

    def _staged(
        self, name: str, path: Path, files: Sequence[str], on_progress: Callable[[], None], neutral: bool
    ) -> StagedSlide:
        """The copy, or why the slide is read in place."""
        for _ in range(TRIES):
            try:
                sources = [Path(file) for file in files] or files_of(path)
                wanted = plan_unit(self.folder / name, path, sources, neutral)
            except FileNotFoundError as error:
                raise SlideError(f"{path}: it, or a file that belongs to it, is not there", "missing") from error
            except OSError as error:
                raise SlideError(f"{path}: it cannot be looked at ({error.strerror or error})", "io") from error
            except ValueError as error:
                return _in_place(path, str(error))
            unit, why = self._copy_to_use(name, wanted, on_progress)
            if unit is None:
                return _in_place(path, why)
            try:
                if not unit.is_whole:
                    copy_unit(unit, sources, on_progress)
            except SlideError as error:
                if error.code != "changed":  # what was copied is kept for the next time
                    raise SlideError(f"{path}: {error}", error.code) from error
                self._forget(name)
            except OSError as error:
                self._forget(name)
                full = error.errno in FULL
                why = "the disk of the local copies is full" if full else f"no local copy ({error.strerror or error})"
                return _in_place(path, why)
            else:
                return StagedSlide(str(unit.path), True, names=wanted.given)
        raise SlideError(f"{path}: its files change while they are copied", "changed")

    def _copy_to_use(
        self, name: str, wanted: StagedUnit, on_progress: Callable[[], None]
    ) -> tuple[StagedUnit | None, str]:
        """The copy that is there, whole and sound or broken off, else room for a new one; or why there is none."""
        with self._lock:
            unit = self._units.get(name)
        if unit is not None:
            if unit.is_of(wanted) and (not unit.is_whole or unit.is_sound(on_progress)):
                return unit, ""
            if not self._forget(name):
                return None, "an earlier copy of it is still in use"
        why = self._reserve(name, wanted)
        return (None, why) if why else (wanted, "")

    def _reserve(self, name: str, wanted: StagedUnit) -> str:
        """Make room for a copy, and count it from now on; or why there is none."""
        if wanted.size > self.max_bytes:
            return f"larger than the {self.max_bytes} bytes for local copies"
        with self._lock:
            if not self._make_room(wanted.size):
                return "all local copies are in use and leave no room for it"
            if shutil.disk_usage(self.folder).free < wanted.size + self.keep_free:
                return "the disk of the local copies is full"
            self._units[name] = wanted
        return ""

    def _make_room(self, n_bytes: int) -> bool:
        """Take copies away that no one uses until so many bytes fit."""
        used = sum(unit.size for unit in self._units.values())
        for name in list(self._units):
            if used + n_bytes <= self.max_bytes:
                break
            if name not in self._pins:
                unit = self._units.pop(name)
                used -= unit.size
                unit.remove()
        return used + n_bytes <= self.max_bytes

    def _forget(self, name: str) -> bool:
        """Take a copy away that is of no use; not while someone else reads it."""
        with self._lock:
            if self._readers[name]:
                return False
            unit = self._units.pop(name, None)
            if unit is not None:
                unit.remove()
            return True


def _is_ours(name: str) -> bool:
    return len(name) == NAME_DIGITS and all(sign in "0123456789abcdef" for sign in name)


def _in_place(path: Path, why: str) -> StagedSlide:
    return StagedSlide(str(path), False, f"{why}; it is read where it lies")
