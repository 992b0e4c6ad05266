"""Arrays that stay in their files, each open only while rows of it are read: a cohort's need no descriptor each.

A memory map keeps its file open for as long as it lives (Python before 3.13), and on most systems a process may have
1,024 files open: a cohort has more slides than that.
"""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pathoprog.errors import InputError


class ArrayInFile(ABC):
    """What every array in a file is to NumPy; `shape` is its own, and ``array[index]`` reads."""

    shape: tuple[int, ...]

    @abstractmethod
    def __getitem__(self, index: Any) -> NDArray[Any]:
        """A copy of the rows that an index names."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)


class FileArray(ArrayInFile):
    """A read-only array in a file; ``array[index]`` reads those rows, ``np.asarray(array)`` all of it.

    Args:
        path: the file.
        dtype: of the values.
        shape: of the array, in C order.
        offset: of its first byte.

    Raises:
        InputError: the file is not there, or too short for the shape.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...], offset: int):
        self.path, self.dtype, self.shape, self.offset = path, np.dtype(dtype), tuple(shape), offset
        self.nbytes = self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))
        try:
            self._stamp = stamp_of(path.stat())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if self._stamp[0] < offset + self.nbytes:
            raise InputError(
                f"{path}: is cut short, {self._stamp[0]} of {offset + self.nbytes} bytes; have it made again"
            )

    @classmethod
    def npy(cls, path: Path) -> "FileArray":
        """The array of a ``.npy`` file.

        Raises:
            InputError: no such file.
        """
        try:
            with path.open("rb") as stream:
                version = np.lib.format.read_magic(stream)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, fortran, dtype = read(stream)
                if fortran or dtype.hasobject:
                    raise ValueError("not plain values in C order")
                return cls(path, dtype, shape, stream.tell())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}: not an array's file ({error}); delete it to have it made again") from error

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """A copy of the rows that a NumPy index names.

        Raises:
            InputError: the file is gone, or is no longer the one that it was.
        """
        if not self.nbytes:
            empty: NDArray[Any] = np.zeros(self.shape, self.dtype)[index]
            return empty
        try:
            with self.path.open("rb") as stream:
                if stamp_of(os.fstat(stream.fileno())) != self._stamp:
                    raise InputError(f"{self.path}: has changed since it was first read; give the command again")
                memory = np.memmap(stream, self.dtype, "r", self.offset, self.shape)
                rows: NDArray[Any] = memory[index]
                return np.array(rows) if np.may_share_memory(rows, memory) else np.asarray(rows)
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error


def stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    """What tells that a file is no longer the one that it was: its size, time in ns and number."""
    return status.st_size, status.st_mtime_ns, status.st_ino
