"""Slides read by OpenSlide."""

from pathlib import Path

import numpy as np
import openslide

from pathoprog.errors import SlideError
from pathoprog.slides.not_a_slide import COPY, in_words
from pathoprog.slides.pixels.tile_data import TileChecker
from pathoprog.slides.slide import Pixels, Slide
from pathoprog.slides.tiff.facts import TiffFacts
from pathoprog.slides.tiff.pyramid import PAGE_VENDORS


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide: SVS, NDPI, MIRAX, SCN, BIF, Philips, DICOM, CZI and plain tiled TIFF."""

    backend = "openslide"

    def __init__(self, path: Path, override_mpp: float = 0.0, facts: TiffFacts | None = None):
        """Open the file.

        Args:
            path: the file.
            override_mpp: um per level-0 pixel in place of the file's; 0 for the file's.
            facts: what the tags say, where it is a TIFF.

        Raises:
            SlideError: code ``format`` if OpenSlide does not know it, ``unreadable`` if it is damaged.
        """
        try:
            self._handle = openslide.OpenSlide(path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(f"{path}: not a slide that OpenSlide reads", "format") from error
        except openslide.OpenSlideError as error:
            raise SlideError(f"{path}: {in_words(str(error))}", "unreadable") from error
        properties = self._handle.properties
        self._scales = self._handle.level_downsamples

        def number(key: str) -> float | None:
            try:
                return float(properties[key])
            except (KeyError, ValueError):
                return None

        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
        warnings = facts.warnings if facts else ()
        bounds = [number(f"openslide.bounds-{key}") for key in ("x", "y", "width", "height")]
        x, y, width, height = (int(value or 0) for value in bounds)
        if vendor in PAGE_VENDORS and None not in bounds:
            # From 4.0.1 on OpenSlide gives bounds where tiles at the edges were left out. A frame that hangs on the
            # library and its version would shift outlines: it is the image's own.
            bounds = [None]
            warnings += (
                f"tiles at the edges were left out; coordinates count from the image's corner, not from {x}, {y}",
            )
        super().__init__(
            str(path),
            vendor,
            list(self._handle.level_dimensions),
            (number(openslide.PROPERTY_NAME_MPP_X), number(openslide.PROPERTY_NAME_MPP_Y)),
            number(openslide.PROPERTY_NAME_OBJECTIVE_POWER),
            bounds=None if None in bounds else (x, y, width, height),
            override_mpp=override_mpp,
            warnings=warnings,
        )
        pages = facts.pages if facts and self.vendor in PAGE_VENDORS else ()
        self._checker = TileChecker(str(path), list(self._handle.level_dimensions), pages)
        colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
        self._background = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], np.float32)

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        scale = self._scales[level]
        # OpenSlide takes whole level-0 coordinates and divides by its own downsample: where that is not whole, the
        # region is off by up to half a level-0 pixel.
        location = (round(x * scale), round(y * scale))
        interpolated = location != (x * scale, y * scale)
        self._checker.check(level, x, y, width, height, margin=1 if interpolated else 0)
        try:
            rgba = np.asarray(self._handle.read_region(location, level, (width, height)))
        except openslide.OpenSlideError as error:  # it also ends the handle: later reads raise too, never blank
            raise SlideError(f"{self.path}: {error} (level {level}, x {x}, y {y}); {COPY}", "unreadable") from error
        alpha = rgba[..., 3]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        share = alpha[..., None].astype(np.float32) / 255
        return np.rint(rgba[..., :3] * share + self._background * (1 - share)).astype(np.uint8)

    def close(self) -> None:
        """Close the file."""
        self._checker.close()
        self._handle.close()


def own_frame(path: Path) -> str:
    """The vendor of a format that OpenSlide lays out by lists of the vendor's; "" where images are levels as stored."""
    try:
        vendor = openslide.OpenSlide.detect_format(path) or ""
    except openslide.OpenSlideError:  # it knows the format and cannot read the file
        return ""
    return "" if vendor in PAGE_VENDORS else vendor
