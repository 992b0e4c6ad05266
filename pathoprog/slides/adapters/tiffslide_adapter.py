"""Slides read by TiffSlide (tifffile): OME-TIFF and what OpenSlide leaves out."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiffslide

from pathoprog.errors import SlideError
from pathoprog.slides.not_a_slide import COPY
from pathoprog.slides.pixels.jpeg_stream import TileDamageError
from pathoprog.slides.pixels.tile_data import check_tile
from pathoprog.slides.slide import Pixels, Slide
from pathoprog.slides.tiff.facts import TiffFacts, paste, tiles_under


class TiffSlideSlide(Slide):
    """A slide read by TiffSlide."""

    backend = "tiffslide"

    def __init__(self, path: Path, override_mpp: float = 0.0, facts: TiffFacts | None = None):
        """Open the file.

        Raises:
            SlideError: code ``format`` if it is no TIFF, ``unreadable`` if it is damaged.
        """
        try:
            self._handle = tiffslide.TiffSlide(path)
            properties = self._handle.properties
            sizes = list(self._handle.level_dimensions)
            self._axes = str(properties["tiffslide.series-axes"])
            _check_before_decoding(self._handle.ts_tifffile, _series_shown(properties))
        except tiffslide.TiffFileError as error:
            raise SlideError(f"{path}: not a slide that TiffSlide reads", "format") from error
        except MemoryError:
            raise  # it is no fault of the file
        except Exception as error:  # a damaged file provokes nearly any error in the parser
            raise SlideError(f"{path}: {_said(error)}", "unreadable") from error
        super().__init__(
            str(path),
            properties.get("tiffslide.vendor") or "generic-tiff",
            sizes,
            (_number(properties.get("tiffslide.mpp-x")), _number(properties.get("tiffslide.mpp-y"))),
            _number(properties.get("tiffslide.objective-power")),
            override_mpp=override_mpp,
            warnings=facts.warnings if facts else (),
        )
        pages = {(page.width, page.height): page for page in (facts.pages if facts else ()) if not page.counts.all()}
        self._sparse = [pages.get(size) for size in sizes]

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        scale = self._handle.level_downsamples[level]
        # TiffSlide takes level-0 coordinates, divides by its own downsample and rounds down.
        location = (math.ceil(x * scale), math.ceil(y * scale))
        try:
            array = np.asarray(self._handle.read_region(location, level, (width, height), as_array=True))
        except MemoryError:
            raise
        except TileDamageError as error:
            raise SlideError(f"{self.path}: damaged data at level {level}, {error}; {COPY}", "unreadable") from error
        except Exception as error:  # a damaged tile provokes nearly any error in the decoders
            raise SlideError(
                f"{self.path}: {_said(error)} (level {level}, x {x}, y {y}); {COPY}", "unreadable"
            ) from error
        if self._axes == "CYX":
            array = np.moveaxis(array, 0, -1)
        if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
            raise SlideError(f"{self.path}: {array.dtype} {self._axes} pixels are not 8-bit RGB", "pixel_type")
        if array.shape[2] == 4:
            share = array[..., 3:].astype(np.float32) / 255
            array = np.rint(array[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
        result: Pixels = np.ascontiguousarray(array)
        page = self._sparse[level]
        for index in tiles_under(page, x, y, width, height) if page else ():
            if page and page.counts[index] == 0:  # tifffile gives black for what a vendor left out
                paste(page, index, np.full((page.tile_height, page.tile_width, 3), 255, np.uint8), result, x, y)
        return result

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def _series_shown(properties: Any) -> list[int]:
    """Numbers of the TIFF's series that TiffSlide shows as one slide."""
    composed = properties.get("tiffslide.series-composition")
    return [*composed["located_series"]] if composed else [properties.get("tiffslide.series-index", 0)]


def _check_before_decoding(tiff: Any, shown: list[int]) -> None:
    """Let each page of these series check its compressed tiles or strips before tifffile decodes them.

    `TiffPage.decode` is what tifffile calls with the very bytes it read, for tiles and strips of any layout.
    """
    for series in shown:
        for level in tiff.series[series].levels:
            for page in {id(page.keyframe): page.keyframe for page in level.pages if page is not None}.values():
                page.decode = _checked(page, page.decode)


def _checked(page: Any, decode: Callable[..., Any]) -> Callable[..., Any]:
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    most = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    across, down = -(-page.imagewidth // most[0]), -(-page.imagelength // most[1])

    def check_and_decode(data: bytes | None, index: int, **more: Any) -> Any:
        if data is not None:
            row, column = divmod(index % (across * down), across)
            x, y = column * most[0], row * most[1]
            least = min(most[0], page.imagewidth - x), min(most[1], page.imagelength - y)
            whole = most if page.is_tiled else least
            try:
                head = more.get("jpegheader") or b""
                check_tile(int(page.compression), head + data, more.get("jpegtables"), samples, least, whole)
            except TileDamageError as error:
                raise TileDamageError(f"x {x}, y {y}: {error}") from None
        return decode(data, index, **more)

    return check_and_decode


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
