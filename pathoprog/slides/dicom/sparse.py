"""Which tiles a DICOM level leaves out: TILED_SPARSE levels list the places of the frames that they hold.

OpenSlide shows white where a level has no frame, and says nothing: see `hollow.check_levels` for which may be missing.
The elements are those of PS3.3, C.7.6.16 and C.8.12.6.1 (plane position on a slide; the first pixel is 1, 1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.dicom.elements import ElementError, Elements, Tag, inner_elements
from pathoprog.slides.dicom.header import WHOLE_SLIDE
from pathoprog.slides.dicom.series import Instance
from pathoprog.slides.tiff.directory import REMEDY

LAID_SIDE_BY_SIDE = "TILED_FULL"


@dataclass(frozen=True)
class SparseLevel:
    """A level of which frames are left out.

    Attributes:
        width: of the level, px.
        height: px.
        tile_width: of a frame, px.
        tile_height: px.
        counts: int64 [rows * columns], frames at each place, row by row; 0 where the level has none.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    counts: NDArray[np.int64]

    @property
    def columns(self) -> int:
        """Places in a row."""
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        """Rows of places."""
        return -(-self.height // self.tile_height)


def sparse_levels(instances: Sequence[Instance]) -> tuple[SparseLevel, ...]:
    """The levels of a slide that leave frames out; those of several files as one.

    Args:
        instances: of the slide, all whole.

    Raises:
        SlideError: code ``unreadable`` where the list of places cannot be followed; ``io`` where the system fails.
    """
    levels: dict[tuple[str, int, int, int, int], NDArray[np.int64]] = {}
    for instance in instances:
        shape = (instance.width, instance.height, instance.tile_width, instance.tile_height)
        if not (instance.is_level and instance.sop_class == WHOLE_SLIDE and all(shape)):
            continue
        if instance.organisation == LAID_SIDE_BY_SIDE:
            continue
        columns, rows = -(-instance.width // instance.tile_width), -(-instance.height // instance.tile_height)
        counts = levels.setdefault((instance.concatenation or instance.uid, *shape), np.zeros(rows * columns, np.int64))
        for x, y in _places(instance):
            column, row = (x - 1) // instance.tile_width, (y - 1) // instance.tile_height
            if 0 <= column < columns and 0 <= row < rows:
                counts[row * columns + column] += 1
    # A level without any list is laid out side by side, as OpenSlide takes it.
    return tuple(SparseLevel(*key[1:], counts) for key, counts in levels.items() if counts.any() and not counts.all())


def _places(instance: Instance) -> Iterator[tuple[int, int]]:
    """(column, row) of the first pixel of each frame in its level, counted from 1, as the file lists them.

    Raises:
        SlideError: see `sparse_levels`.
    """
    column: int | None = None
    row: int | None = None
    try:
        with instance.path.open("rb") as stream:
            elements = Elements(stream)
            for _ in elements:  # the walk notes where the list lies
                pass
            if elements.per_frame is None:
                return
            for tag, length in inner_elements(elements, *elements.per_frame):
                if tag == Tag.AT_COLUMN:
                    column = int.from_bytes(elements.value(length)[:4], "little", signed=True)
                elif tag == Tag.AT_ROW:
                    row = int.from_bytes(elements.value(length)[:4], "little", signed=True)
                if column is not None and row is not None:
                    yield column, row
                    column = row = None
    except ElementError as error:
        raise SlideError(
            f"{instance.path}: is damaged in the list of its frames' places: {error}; {REMEDY}", "unreadable"
        ) from error
    except OSError as error:
        raise SlideError(f"{instance.path}: {error.strerror or error}", "io") from error
