"""Writing files so that they are whole or absent, and hashing them."""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

from pathoprog.errors import InputError


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


MOST_NAME_BYTES = 255
"""Of a file's name, on all common file systems."""
NAME_ROOM_BYTES = 32
MOST_BESIDE = 9
NOT_REPLACED = (
    errno.EACCES, errno.EPERM, errno.EBUSY, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ETXTBSY, errno.EROFS,
)  # fmt: skip
"""Errors that say that a file may not be replaced (open in another program, protected), not that the disk fails."""
UMASK = _umask()  # read once: reading it sets it for a moment, for all threads


class FileInWriting:
    """A file that is written under a temporary name beside its place, and put there whole, or not at all.

    A context manager; it removes what was not put in its place.

    Args:
        path: its place.
        private: readable by its owner alone.

    Attributes:
        stream: what to write to.
    """

    def __init__(self, path: str | Path, private: bool = False):
        self.path, self._private = Path(path), private
        self.path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self.path.name[:40]}."  # a long name must stay within the file system's 255 bytes
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=self.path.parent)
        self._temporary: Path | None = Path(name)
        self.stream: BinaryIO = os.fdopen(handle, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):  # what the disk did not take is not wanted
                self.stream.close()
            self._temporary.unlink(missing_ok=True)

    def put(self, path: Path) -> None:
        """Sync it and rename it to `path`, in the same folder; the folder is synced too.

        So that after a power cut the file there is either the old one or the new one.
        """
        assert self._temporary is not None
        if not self.stream.closed:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()
            if not self._private:
                self._temporary.chmod(0o666 & ~UMASK)  # mkstemp makes 0600; a result is as readable as any other file
        self._temporary.replace(path)
        self._temporary = None
        sync_folder(path.parent)

    def put_or_beside(self) -> tuple[Path, str]:
        """`put` it in its place, or beside it as `write_or_beside` does."""
        return _where_it_may(self.path, self.put)


@contextlib.contextmanager
def atomic_write(path: str | Path, private: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it is synced and renamed to `path`, else removed.

    The folder is synced too, so that after a power cut the file is either the old one or the new one.

    Args:
        path: of the file.
        private: readable by its owner alone.
    """
    with FileInWriting(path, private) as file:
        yield file.stream
        file.put(file.path)


def bounded_name(name: str, most_bytes: int = MOST_NAME_BYTES - NAME_ROOM_BYTES) -> str:
    """`name` where a file may be called so; else its beginning and a hash of the whole.

    Args:
        name: of a file.
        most_bytes: in UTF-8; without a value there is room for an ending and for a temporary name.
    """
    data = name.encode("utf-8")
    if len(data) <= most_bytes:
        return name
    end = f"~{hashlib.sha256(data).hexdigest()[:16]}"
    return re.sub("%.?$", "", data[: most_bytes - len(end)].decode("utf-8", "ignore")) + end


def sync_folder(folder: str | Path) -> None:
    """Make renames inside `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str, private: bool = False) -> None:
    """Write `text` as UTF-8, whole or not at all; `private` as in `atomic_write`."""
    with atomic_write(path, private) as stream:
        stream.write(text.encode("utf-8"))


def places_beside(path: Path) -> list[Path]:
    """Other names for a file that may not be replaced: ``results.new.csv``, ``results.new2.csv`` …."""
    return [path.with_name(f"{path.stem}.new{n if n > 1 else ''}{path.suffix}") for n in range(1, MOST_BESIDE + 1)]


def write_or_beside(path: str | Path, text: str, private: bool = False) -> tuple[Path, str]:
    """Write `text` as UTF-8, beside `path` where that may not be replaced: what took hours is not lost to a lock.

    `private` as in `atomic_write`.

    Returns:
        Where it was written, and why not to `path` ("" if it was).

    Raises:
        InputError: neither there nor beside it.
        OSError: the disk is full or fails.
    """
    return _where_it_may(Path(path), lambda place: write_text(place, text, private))


def _where_it_may(path: Path, write: Callable[[Path], None]) -> tuple[Path, str]:
    why = ""
    for place in (path, *places_beside(path)):
        try:
            write(place)
            return place, why
        except OSError as error:
            if error.errno not in NOT_REPLACED:
                raise
            why = why or error.strerror or str(error)
    raise takes_nothing(path, why)


def takes_nothing(path: Path, why: str) -> InputError:
    """What to say where a file can be written neither by its name nor beside it."""
    return InputError(
        f"{path}: cannot be written ({why}), nor beside it; make the folder writable, and give the same command again"
    )


def not_replaced(path: Path, written: Path, why: str) -> str:
    """What to say of a file for which `write_or_beside` took another place."""
    return (
        f"{path} is NOT of this run: it could not be replaced ({why}); this run's is {written}; close {path.name} "
        "where it is open, or take it away, and give the same command again"
    )


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and shortest round-trip floats: equal values give equal bytes. NaN is refused."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """Write canonical JSON, whole or not at all; NaN and infinity become null."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Canonical JSON, NaN and infinity as null."""
    return canonical_json(finite_or_none(value))


def finite_or_none(value: Any) -> Any:
    """Copy of a nested value with NaN and infinity as None, and numpy scalars and arrays as Python ones."""
    if isinstance(value, dict):
        return {str(key): finite_or_none(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_stamp(path: str | Path) -> list[int]:
    """Size and time of a file, by which it is known to be unchanged without reading it; empty where it is absent."""
    with contextlib.suppress(OSError):
        status = Path(path).stat()
        return [status.st_size, status.st_mtime_ns]
    return []


def sha256_value(value: Any) -> str:
    """SHA-256 of a nested value's canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()
