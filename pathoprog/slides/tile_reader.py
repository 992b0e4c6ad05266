"""Reading the tiles of one grid, batch by batch, with threads."""

import itertools
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathoprog.slides.slide import Slide

Pixels = NDArray[np.uint8]


class TileReader:
    """Reads the tiles of one grid, batch by batch; see `Slide.tile_reader`."""

    def __init__(
        self,
        slide: "Slide",
        x0: NDArray[np.int64],
        y0: NDArray[np.int64],
        mpp: float,
        size_px: int,
        pool: Executor | None,
        threads: int,
    ):
        self.slide, self.x0, self.y0, self.mpp, self.size_px = slide, x0, y0, mpp, size_px
        self.pool, self.threads = pool, threads

    def read(self, start: int, out: Pixels) -> None:
        """Fill `out`, uint8 [n, size_px, size_px, 3], with tiles `start` … `start` + n.

        Raises:
            SlideError: as `Slide.read_at_mpp`.
        """
        size = (self.size_px, self.size_px)

        def read(part: slice) -> None:
            for i in range(part.start, part.stop):
                x0, y0 = float(self.x0[start + i]), float(self.y0[start + i])
                out[i] = self.slide.read_at_mpp(x0, y0, self.mpp, size)

        in_chunks(read, len(out), self.pool, self.threads)


def in_chunks(work: Callable[[slice], None], n: int, pool: Executor | None, threads: int) -> None:
    """Do `work` on 0 … n in one run per thread: handing over single items costs more than they do."""
    if pool is None or threads < 2 or n < 2:
        work(slice(0, n))
        return
    edges = [n * i // threads for i in range(threads + 1)]
    parts = [slice(low, high) for low, high in itertools.pairwise(edges) if high > low]
    for future in [pool.submit(work, part) for part in parts]:
        future.result()
