"""Slides read by OpenSlide."""

from pathlib import Path

import numpy as np
import openslide

from pathoprog.errors import SlideError
from pathoprog.slides.not_a_slide import in_words
from pathoprog.slides.slide import Pixels, Slide


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide: SVS, NDPI, MIRAX, SCN, BIF, Philips, DICOM, CZI and plain tiled TIFF."""

    backend = "openslide"

    def __init__(self, path: Path, override_mpp: float = 0.0, warnings: tuple[str, ...] = ()):
        """Open the file.

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

        bounds = [number(f"openslide.bounds-{key}") for key in ("x", "y", "width", "height")]
        x, y, width, height = (int(value or 0) for value in bounds)
        super().__init__(
            str(path),
            properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
            list(self._handle.level_dimensions),
            (number(openslide.PROPERTY_NAME_MPP_X), number(openslide.PROPERTY_NAME_MPP_Y)),
            number(openslide.PROPERTY_NAME_OBJECTIVE_POWER),
            bounds=None if None in bounds else (x, y, width, height),
            override_mpp=override_mpp,
            warnings=warnings,
        )
        colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
        self._background = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], np.float32)

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        scale = self._scales[level]
        # OpenSlide takes whole level-0 coordinates and divides by its own downsample: where that is not whole, the
        # region is off by up to half a level-0 pixel.
        location = (round(x * scale), round(y * scale))
        try:
            rgba = np.asarray(self._handle.read_region(location, level, (width, height)))
        except openslide.OpenSlideError as error:  # it also ends the handle: later reads raise too, never blank
            raise SlideError(f"{self.path}: {error} (level {level}, x {x}, y {y})", "unreadable") from error
        alpha = rgba[..., 3]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        share = alpha[..., None].astype(np.float32) / 255
        return np.rint(rgba[..., :3] * share + self._background * (1 - share)).astype(np.uint8)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()
