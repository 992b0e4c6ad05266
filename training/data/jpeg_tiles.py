"""Tiles of one slide as JPEGs in one file, each found and read by itself: ``<slide_id>.jpegs`` of the tile store.

A head (what the file is, number and side of its tiles, quality, length), an index (for each tile its offset, length and
CRC-32), then the JPEGs, colours not subsampled. Numbers are little-endian.
"""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import InputError
from pathoprog.system.file_array import ArrayInFile, stamp_of

MAGIC = b"pathoprog tiles as JPEG, 1\n"
HEAD = struct.Struct("<27sxIIIIQ")  # magic, number of tiles, side, quality, 0, bytes in the file
ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")])
AGAIN = "delete it, and the slide is cut again"


def encode(tile: NDArray[np.uint8], quality: int) -> bytes:
    """The JPEG of a tile uint8 [s, s, 3]; quality 1 to 100."""
    import simplejpeg

    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(tile), quality, "RGB", "444")
    return data


class JpegWriter:
    """A file of tiles that is being written, as an array that is filled by ranges; whole once `flush` came back.

    Args:
        path: of the file.
        shape: [n, s, s, 3] of the tiles.
        quality: of the JPEGs.
        pool: compresses tiles side by side.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int], quality: int, pool: ThreadPoolExecutor):
        self.shape, self.quality, self.pool = shape, quality, pool
        self.index = np.zeros(shape[0], ENTRY)
        self.end = HEAD.size + self.index.nbytes
        self.stream = path.open("wb")

    def __setitem__(self, rows: slice, tiles: NDArray[np.uint8]) -> None:
        self.stream.seek(self.end)
        numbers = range(*rows.indices(self.shape[0]))
        for number, data in zip(numbers, self.pool.map(partial(encode, quality=self.quality), tiles), strict=True):
            self.index[number] = (self.end, len(data), zlib.crc32(data))
            self.stream.write(data)
            self.end += len(data)

    def flush(self) -> None:
        """Write what is where, see the file safe on the disk, and close it."""
        n, side = self.shape[:2]
        assert self.index["length"].all(), "a tile was not written"
        with self.stream:
            self.stream.seek(0)
            self.stream.write(HEAD.pack(MAGIC, n, side, self.quality, 0, self.end) + self.index.tobytes())
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def close(self) -> None:
        """Give up: what was written stays as it is, and is no file of tiles."""
        self.stream.close()


class JpegTiles(ArrayInFile):
    """Tiles uint8 [n, s, s, 3] in a file of JPEGs; ``tiles[index]`` reads and decodes those of the first axis's index.

    Raises:
        InputError: not such a file, or cut short.
    """

    def __init__(self, path: Path):
        self.path, self.dtype = path, np.dtype(np.uint8)
        try:
            with path.open("rb") as stream:
                self._stamp = stamp_of(os.fstat(stream.fileno()))
                magic, n, side, self.quality, _, size = HEAD.unpack(stream.read(HEAD.size))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        except struct.error as error:
            raise InputError(f"{path}: not a file of JPEG tiles (cut short); {AGAIN}") from error
        if magic != MAGIC:
            raise InputError(f"{path}: not a file of JPEG tiles; {AGAIN}")
        if self._stamp[0] != size:
            raise InputError(f"{path}: holds {self._stamp[0]} of {size} bytes; {AGAIN}")
        self.shape: tuple[int, ...] = (n, side, side, 3)

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self._stamp[0]

    @property
    def nbytes(self) -> int:
        """Size of the tiles, uncompressed."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """A copy of the tiles that a NumPy index of the first axis names.

        Raises:
            InputError: the file is gone or no longer the one that it was, or a tile in it is damaged.
        """
        chosen = np.arange(len(self))[index]
        numbers = np.atleast_1d(chosen)
        result = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        try:
            with self.path.open("rb") as stream:
                if stamp_of(os.fstat(stream.fileno())) != self._stamp:
                    raise InputError(f"{self.path}: has changed since it was first read; give the command again")
                for row, number in enumerate(numbers.tolist()):
                    self._decode(stream.fileno(), number, result[row])
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error
        return result if np.ndim(chosen) else result[0]

    def _decode(self, handle: int, number: int, into: NDArray[np.uint8]) -> None:
        import simplejpeg

        entry = np.frombuffer(os.pread(handle, ENTRY.itemsize, HEAD.size + number * ENTRY.itemsize), ENTRY)[0]
        length = min(int(entry["length"]), self._stamp[0])
        data = os.pread(handle, length, min(int(entry["offset"]), self._stamp[0]))
        try:
            if zlib.crc32(data) != entry["crc"] or len(data) != entry["length"]:
                raise ValueError("other bytes than were written")
            decoded = simplejpeg.decode_jpeg(data, "RGB")
            if decoded.shape != into.shape:
                raise ValueError(f"{list(decoded.shape)}")
        except ValueError as error:
            raise InputError(f"{self.path}: tile {number} is damaged ({error}); {AGAIN}") from error
        into[...] = decoded
