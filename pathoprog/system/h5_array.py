"""Rows of a dataset in an HDF5 file: they stay in the file, which is open only while they are read.

As `pathoprog.system.file_array` does for plain files. Other tools keep features of millions of tiles in such files.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.system.file_array import ArrayInFile, stamp_of

CHECKED_BYTES = 1 << 24  # of values that are held at once where all are gone through
DENSE = 4  # rows of a span, one of so many asked for, from which on the span is read as one


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file that is read.

    Raises:
        InputError: it is not there, no HDF5 file, or damaged: the library tells of that in many ways.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not an h5 file, or a damaged one ({said or type(error).__name__})") from error


def rows_written(stored: Any) -> bool:
    """Whether all of a dataset lies in its file.

    HDF5 gives zeros for what was never written, as of a writer that was stopped.
    """
    if not stored.size or stored.is_virtual or stored.external:
        return True
    if stored.chunks is None:
        return bool(stored.id.get_storage_size())
    wanted = math.prod(-(-side // chunk) for side, chunk in zip(stored.shape, stored.chunks, strict=True))
    return bool(stored.id.get_num_chunks() >= wanted)


class H5Array(ArrayInFile):
    """A read-only array [n, d] in an HDF5 file; ``array[index]`` reads those rows, ``np.asarray(array)`` all of it.

    Args:
        path: the file.
        name: of its dataset, [n, d], [1, n, d] or [d], which is taken as [1, d]; an empty [0] as [0, 0].
        order: numbers of the rows in the file, in the order that they shall have; None: as they lie.

    Raises:
        InputError: the file is not there or damaged, or the dataset has another shape, is not of floating point or
            was not written to its end.
    """

    def __init__(self, path: Path, name: str, order: NDArray[np.int64] | None = None):
        self.path, self.name, self._order = path, name, order
        try:
            self._stamp = stamp_of(path.stat())
        except OSError as error:
            raise InputError(f"{path}: not an h5 file ({error.strerror or error})") from error
        with opened(path) as file:
            stored = file[name]
            shape, dtype, whole = tuple(int(side) for side in stored.shape), stored.dtype, rows_written(stored)
        if not whole:
            raise InputError(f"{path}: {name} {shape} were not written to their end; have the file made again")
        if not shape:
            raise InputError(f"{path}: {name} is one number; it must be [n, d], or [d] of a whole slide")
        self._leading, self._vector = len(shape) == 3 and shape[0] == 1, len(shape) == 1
        self.shape = shape[1:] if self._leading else (min(1, shape[0]), shape[0]) if self._vector else shape
        if not np.issubdtype(dtype, np.floating):
            raise InputError(f"{path}: {name} are {dtype}, not floating point")
        self.dtype = dtype if dtype in (np.float16, np.float32) else np.dtype(np.float32)
        self.nbytes = self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """A copy of rows: of a number, a slice, an array of numbers or of bool, or all (``...``).

        Raises:
            InputError: the file is gone, or is no longer the one that it was.
            IndexError: no such rows.
        """
        rows: NDArray[np.int64] = (np.arange(len(self)) if self._order is None else self._order)[index]
        wanted, place = np.unique(rows, return_inverse=True)
        if not wanted.size:
            return np.zeros((*rows.shape, *self.shape[1:]), self.dtype)
        found = self._stored(wanted)
        result: NDArray[Any] = found[place.reshape(rows.shape)]
        return result

    def parts(self) -> Iterator[NDArray[Any]]:
        """All rows in their order, so many at once as `CHECKED_BYTES` holds."""
        step = max(1, CHECKED_BYTES // max(1, self.nbytes // max(1, len(self))))
        for first in range(0, len(self), step):
            yield self[first : first + step]

    def _stored(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Distinct rows in ascending order: HDF5 reads no others at once."""
        first, last = int(rows[0]), int(rows[-1]) + 1
        dense = last - first <= DENSE * len(rows)
        try:
            changed = stamp_of(self.path.stat()) != self._stamp
        except OSError as error:
            raise InputError(f"{self.path}: {error}") from error
        if changed:
            raise InputError(f"{self.path}: has changed since it was first read; give the command again")
        with opened(self.path) as file:
            stored = file[self.name]
            part: Any = slice(first, last) if dense else rows
            values: NDArray[Any] = (
                stored[...][None] if self._vector else stored[0, part] if self._leading else stored[part]
            )
        return (values[rows - first] if dense else values).astype(self.dtype, copy=False)
