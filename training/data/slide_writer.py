"""Tiles of one slide on their way into the tile store: half-written files beside the place that they will have."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathoprog.training.data.disk_space import allocate
from pathoprog.training.data.jpeg_tiles import JpegWriter

STALE_S = 24 * 3600.0
"""Age of a half-written file that nobody writes any more."""


class SlideWriter:
    """Files of one slide that are being written.

    Args:
        files: where they will be, by resolution.
        shapes: [n, s, s, 3] of the tiles, by resolution.
        quality: of JPEGs; 0 for the pixels themselves.
        pool: compresses JPEGs side by side.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        shapes: Mapping[str, tuple[int, int, int, int]],
        quality: int,
        pool: ThreadPoolExecutor,
    ):
        self.files, self.shapes, self.quality = files, shapes, quality
        self._arrays: dict[str, Any] = {}
        try:
            for resolution in files:
                self._begin(resolution, pool)
        except BaseException:
            self.give_up()
            raise

    def _begin(self, resolution: str, pool: ThreadPoolExecutor) -> None:
        file, shape = self.files[resolution], self.shapes[resolution]
        temporary = _temporary(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        for path in file.parent.glob(f".{file.name}.*.tmp"):
            if time.time() - path.stat().st_mtime > STALE_S:
                path.unlink(missing_ok=True)
        if self.quality:
            self._arrays[resolution] = JpegWriter(temporary, shape, self.quality, pool)
        elif shape[0]:
            self._arrays[resolution] = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            # room first: writing to a map that the disk has no room for would end this process without a word
            allocate(temporary)
        else:
            with temporary.open("wb") as stream:
                np.save(stream, np.zeros(shape, np.uint8))

    def put(self, resolution: str, start: int, tiles: NDArray[np.uint8]) -> None:
        """Write tiles uint8 [m, s, s, 3], the first of which is the slide's number `start` at the resolution."""
        self._arrays[resolution][start : start + len(tiles)] = tiles

    def finish(self, resolution: str) -> None:
        """Put the resolution's file in its place."""
        stored = self._arrays.pop(resolution, None)
        if stored is not None:
            stored.flush()
            del stored
        _temporary(self.files[resolution]).replace(self.files[resolution])

    def give_up(self) -> None:
        """Remove what has come of a slide that failed."""
        for resolution, file in self.files.items():
            stored = self._arrays.pop(resolution, None)
            if isinstance(stored, JpegWriter):
                stored.close()
            _temporary(file).unlink(missing_ok=True)


def _temporary(array: Path) -> Path:
    """Each process has a name of its own: two may cut the same slide at once."""
    return array.with_name(f".{array.name}.{os.getpid()}.tmp")
