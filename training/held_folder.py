"""A run's folder is one process's at a time: a second that would write there is refused, and told who is at work.

The lock is the kernel's (`flock` on `LOCK` in the folder; on NFS the server's), so that one that was killed holds
nothing. Who is at work stands in the file, only to be named. Several may share a folder whose parts they work on, as
the tasks of a job array do; each then holds its part alone. Who holds a folder holds what lies in it.
"""

import contextlib
import errno
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pathoprog.errors import InputError
from pathoprog.system.console import warn
from pathoprog.text.wording import count
from pathoprog.training.data.disk_space import cannot_write, make_out
from pathoprog.training.run_process import HOST, PID, is_here, is_over, process_tags

LOCK = ".in_use"
LEVELS = 3
"""Folders above one's own that may be held for it: a fold's candidate, trial and sweep."""
PATIENCE_S = 3.0
"""For one that is just ending, and for killed ones whose memory the kernel is still taking back."""
POLL_S = 0.1
MOST_NAMED = 3
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems that know no locks."""
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)

S = TypeVar("S")
R = TypeVar("R")

_mine = list[Path]()
"""Folders that this process holds, alone or shared."""


@contextlib.contextmanager
def held(folder: str | Path, what: str, shared: bool = False) -> Iterator[None]:
    """Hold a run's folder, made if it is not there. A call that is refused leaves nothing behind that was not there.

    Args:
        folder: to be written to.
        what: is done there, for whoever is refused.
        shared: others may share it too, but nobody hold it alone.

    Raises:
        InputError: another process is at work there, or in a folder above; names it. Or it cannot be written to.
    """
    folder = Path(folder).resolve()
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    fresh = not (folder / LOCK).exists()
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        stack.enter_context(_taken(folder / LOCK, folder, what, shared))
        if fresh and not shared:
            stack.push(lambda error, *_: _remove_lock(folder, error is not None))
        for above in list(folder.parents)[:LEVELS]:
            if above not in _mine and (above / LOCK).is_file():
                stack.enter_context(_taken(above / LOCK, folder, what, shared=True))
        _mine.append(folder)
        stack.callback(_mine.remove, folder)
        yield


@contextlib.contextmanager
def held_to_read(folder: str | Path, what: str) -> Iterator[None]:
    """Share a folder that is read for long, so that nobody changes it meanwhile; one that takes no lock is read anyhow.

    Raises:
        InputError: another process is at work there; names it.
    """
    folder = Path(folder)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield
        return
    with held(folder, what, shared=True):
        yield


@contextlib.contextmanager
def place_held(path: str | Path, what: str) -> Iterator[None]:
    """Hold the place of a folder that appears at once, whole, by a file beside it that goes with the block.

    Raises:
        InputError: another process makes the same folder; names it.
    """
    path = Path(path).absolute()
    lock = path.with_name(f".{path.name}{LOCK}")
    with _taken(lock, path, what, shared=False):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def holds_its_folder(what: str) -> Callable[[Callable[[S], R]], Callable[[S], R]]:
    """Let a command, called with its settings, hold their `out` while it works.

    Args:
        what: is done there, for whoever is refused.
    """

    def holding(run: Callable[[S], R]) -> Callable[[S], R]:
        @functools.wraps(run)
        def alone(settings: S) -> R:
            out: str = settings.out  # type: ignore[attr-defined]
            with held(out, what):
                return run(settings)

        return alone

    return holding


@contextlib.contextmanager
def _taken(lock: Path, folder: Path, what: str, shared: bool) -> Iterator[None]:
    """Hold one lock file; `folder` is what it is wanted for."""
    handle = _take(lock, folder, shared)
    try:
        _write(handle, what, shared)
        yield
    finally:
        if not shared or _locked(handle, shared=False):  # the last of several
            _write(handle, "", shared=False)
        os.close(handle)


def _take(lock: Path, folder: Path, shared: bool) -> int:
    """The open lock file, once it is this process's.

    Raises:
        InputError: it is another's, or cannot be made.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        if lock not in [above / LOCK for above in folder.parents]:
            make_out(lock.parent)
        try:
            handle = _opened(lock)
        except FileNotFoundError:  # the folder was just removed by one that found nothing to do
            continue
        except OSError as error:
            raise cannot_write(error, lock.parent) from error
        try:
            found = _locked(handle, shared)
            free = _free_by_records(lock, shared) if found is None else found
            if free and _is_still(handle, lock):
                return handle
            if not free and time.monotonic() > end:
                raise InputError(_refusal(lock, folder))
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        time.sleep(POLL_S)


def _opened(lock: Path) -> int:
    """The lock file, to be written if it may be: of another user's file the lock alone is taken."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in NOT_OURS or not lock.is_file():
            raise
        return os.open(lock, os.O_RDONLY)


def _locked(handle: int, shared: bool) -> bool | None:
    """Whether the kernel gave the lock; None where it has none to give."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def _free_by_records(lock: Path, shared: bool) -> bool:
    """Without locks: whether no process of this machine that lives says that it is at work; others are warned of."""
    others = [one for one in _records(lock) if not (shared and one.get("shared"))]
    if others and not any(is_here(one) for one in others):
        warn(
            f"{lock.parent}: its file system knows no locks, and {_named(others)} may still be at work there: make sure"
            " that it is not"
        )
    return not any(is_here(one) for one in others)


def _is_still(handle: int, lock: Path) -> bool:
    """Whether the open file is the one that now has the name; the one before may have been removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _write(handle: int, what: str, shared: bool) -> None:
    """Say in the lock file who holds it, beside others who share it; nobody if `what` is empty."""
    line = ""
    if what:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        line = json.dumps({**process_tags(), "what": what, "since": since, "shared": shared}) + "\n"
    with contextlib.suppress(OSError):  # another user's file, a full disk: the lock holds without
        if not shared:
            os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_END)
        os.write(handle, line.encode("utf-8"))


def _records(lock: Path) -> list[dict[str, Any]]:
    """Who said that they hold it, but for those that are known to live no longer."""
    found = []
    with contextlib.suppress(OSError):
        for line in lock.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                one = json.loads(line)
                if isinstance(one, dict) and not is_over(one):
                    found.append(one)
    return found


def _named(records: list[dict[str, Any]]) -> str:
    if not records:
        return "another process"
    names = [
        f"process {one.get(PID, '?')} on {str(one.get(HOST, '?')).partition(' ')[0]} ({one.get('what', '?')}, since"
        f" {one.get('since', '?')})"
        for one in records[:MOST_NAMED]
    ]
    more = len(records) - len(names)
    return ", ".join(names) + (f" and {count(more, 'other')}" if more else "")


def _refusal(lock: Path, folder: Path) -> str:
    """Who is at work where, and what to do."""
    records = _records(lock)
    where = "there" if lock.name != LOCK or lock.parent == folder else f"in {lock.parent}"
    verb, ended = ("are", "they have ended") if len(records) > 1 else ("is", "it has ended")
    return (
        f"{folder}: {_named(records)} {verb} at work {where}, and two would write over each other's files; wait until"
        f" {ended}, or give another folder"
    )


def _remove_lock(folder: Path, failed: bool) -> None:
    """Remove the lock file, while it is held, where nothing came of it."""
    with contextlib.suppress(OSError):
        if failed or [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()


def _remove_empty(made: list[Path]) -> None:
    """Remove folders that were made for nothing, the innermost first."""
    with contextlib.suppress(OSError):
        for folder in made:
            folder.rmdir()
