"""Opening a slide with the library that can read it."""

from pathlib import Path

from pathoprog.errors import InputError, SlideError
from pathoprog.slides.config import BACKENDS
from pathoprog.slides.dicom_header import is_dicom
from pathoprog.slides.identity import instances
from pathoprog.slides.not_a_slide import what_it_is
from pathoprog.slides.slide import Slide
from pathoprog.slides.tiff_facts import TiffFacts, TiledPage, tiff_facts


def open_slide(path: str | Path, backend: str = "auto", mpp: float = 0.0) -> Slide:
    """Open a slide.

    Args:
        path: the file; for DICOM the folder of instances, or one of them; for MIRAX the ``.mrxs`` file.
        backend: ``openslide``, ``tiffslide``, ``jpeg`` (the fast path), or ``auto``: OpenSlide where it knows the
            format, else TiffSlide, and past either the fast path where the file is a plain JPEG pyramid.
        mpp: um per level-0 pixel in place of the file's; 0 for the file's.

    Returns:
        The open slide. Its um/px is checked when it is asked for, not here, so that `inspect` can tell the rest.

    Raises:
        SlideError: code ``missing``, ``format`` (no library knows it), ``pixel_type`` (not 8-bit colour) or
            ``unreadable``; ``io`` where the system fails, which may pass.
        InputError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise InputError(f"slides.backend={backend}: must be one of {', '.join(BACKENDS)}")
    path = Path(path)
    if not path.exists():
        raise SlideError(f"{path}: no such file", "missing")
    file = _dicom_instance(path) if path.is_dir() else path
    if not file.is_file():
        raise SlideError(f"{path}: a pipe or device, and no file", "format")
    facts = _facts(file)
    if facts is not None and facts.kind:
        raise SlideError(f"{path}: {facts.kind}: only 8-bit colour of a brightfield scan can be scored", "pixel_type")
    pages = facts.pages if facts is not None else ()
    if backend == "openslide":
        slide = _openslide(file, mpp, facts)
    elif backend == "tiffslide":
        slide = _tiffslide(file, mpp, facts)
    else:
        slide = _fast(_by_capability(file, mpp, facts), pages, required=backend == "jpeg")
    slide.pages = pages
    return slide


def _fast(slide: Slide, pages: tuple[TiledPage, ...], required: bool) -> Slide:
    """The fast path over an open slide where it can be, else the slide itself."""
    if any(page.plain_jpeg for page in pages):
        from pathoprog.slides.jpeg_adapter import JpegSlide

        try:
            return JpegSlide(slide, pages)
        except SlideError:
            if required:
                slide.close()
                raise
    elif required:
        slide.close()
        raise SlideError(f"{slide.path}: no plain JPEG pyramid; use slides.backend=auto", "format")
    return slide


def _by_capability(file: Path, mpp: float, facts: TiffFacts | None) -> Slide:
    """The slide by OpenSlide where it can, else by TiffSlide."""
    try:
        return _openslide(file, mpp, facts)
    except SlideError as error:
        if facts is None and error.code == "format":
            raise SlideError(f"{file}: {what_it_is(file)}", "format") from error
        if facts is None or not facts.tiffslide_reads:
            raise
        first = error
    try:
        slide = _tiffslide(file, mpp, facts)
    except SlideError as error:
        raise (error if first.code == "format" else first) from error
    if first.code != "format":  # OpenSlide knows the format and cannot: TiffSlide may open it and fail on each read
        try:
            slide.read_region(0, 0, len(slide.levels) - 1, (1, 1))
        except SlideError as error:
            slide.close()
            raise first from error
    return slide


def _facts(file: Path) -> TiffFacts | None:
    try:
        return tiff_facts(file)
    except OSError as error:
        raise SlideError(f"{file}: {error.strerror or error}", "io") from error


def _openslide(path: Path, mpp: float, facts: TiffFacts | None) -> Slide:
    from pathoprog.slides.openslide_adapter import OpenSlideSlide

    return OpenSlideSlide(path, mpp, facts.warnings if facts else ())


def _tiffslide(path: Path, mpp: float, facts: TiffFacts | None) -> Slide:
    from pathoprog.slides.tiffslide_adapter import TiffSlideSlide

    if facts is not None and not facts.tiffslide_reads:
        raise SlideError(f"{path}: TiffSlide does not convert its colours; use slides.backend=openslide", "format")
    return TiffSlideSlide(path, mpp, facts)


def _dicom_instance(folder: Path) -> Path:
    """One instance of a folder of DICOM files; OpenSlide finds the others of its series."""
    for file in instances(folder):
        if is_dicom(file):
            return file
    raise SlideError(f"{folder}: a folder, and no DICOM file in it", "format")
