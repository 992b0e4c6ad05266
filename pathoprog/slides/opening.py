"""Opening a slide with the library that can read it."""

from pathlib import Path

from pathoprog.errors import InputError, SlideError
from pathoprog.slides.config import BACKENDS
from pathoprog.slides.dicom.colours import check_colours
from pathoprog.slides.dicom.header import is_dicom, read_head
from pathoprog.slides.dicom.series import Instance, check_series, lost_level
from pathoprog.slides.dicom.sparse import sparse_levels
from pathoprog.slides.hamamatsu_images import SUFFIXES, check_hamamatsu
from pathoprog.slides.identity import instances
from pathoprog.slides.mirax_index import check_mirax
from pathoprog.slides.mpp import COARSER_ALLOWED
from pathoprog.slides.not_a_slide import what_it_is
from pathoprog.slides.resolutions import RESOLUTION_MPP
from pathoprog.slides.slide import Slide
from pathoprog.slides.tiff.directory import REMEDY
from pathoprog.slides.tiff.facts import TiffFacts, TiledPage, tiff_facts
from pathoprog.slides.tiff.pyramid import PAGE_VENDORS, why_not_shown

OTHERS = "use slides.backend=auto"
NAMED = 5  # slides, in a message


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
        SlideError: code ``missing``, ``format`` (no library knows it), ``pixel_type`` (not 8-bit colour), ``levels``
            (a library shows another image, or fewer levels, than the file holds), ``colour`` (false colours) or
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
    series: tuple[Instance, ...] = ()
    if facts is None and is_dicom(file):
        series = check_series(file, whole_folder=path.is_dir())
        check_colours(file, series)
    elif facts is None and file.suffix.lower() == ".mrxs":
        check_mirax(file)
    elif facts is None and file.suffix.lower() in SUFFIXES:
        check_hamamatsu(file)
    if facts is not None and facts.kind:
        raise SlideError(f"{path}: {facts.kind}: only 8-bit colour of a brightfield scan can be scored", "pixel_type")
    pages = facts.pages if facts is not None else ()
    if backend == "openslide":
        slide = _openslide(file, mpp, facts, remedy=f"{OTHERS}, or {REMEDY}")
    elif backend == "tiffslide":
        slide = _tiffslide(file, mpp, facts, remedy=f"{OTHERS}, or {REMEDY}")
    else:
        slide = _fast(_by_capability(file, mpp, facts), pages, required=backend == "jpeg")
    slide.pages = pages
    if series:
        _check_series_levels(slide, series)
        try:
            slide.pages = sparse_levels(series)
        except SlideError:
            slide.close()
            raise
    return slide


def _check_series_levels(slide: Slide, series: tuple[Instance, ...]) -> None:
    """Refuse a DICOM slide of which a level is missing; where what is left is too coarse, its um/px says enough.

    Raises:
        SlideError: code ``levels``.
    """
    mpp = slide.file_mpp[0]
    why = lost_level(series)
    if why and mpp is not None and mpp <= max(RESOLUTION_MPP.values()) * COARSER_ALLOWED:
        slide.close()
        raise SlideError(f"{slide.path}: {why}", "levels")


def _fast(slide: Slide, pages: tuple[TiledPage, ...], required: bool) -> Slide:
    """The fast path over an open slide where it can be, else the slide itself."""
    if any(page.plain_jpeg for page in pages):
        from pathoprog.slides.adapters.jpeg_adapter import JpegSlide

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
    """The slide by OpenSlide where it knows the format and shows all of the pyramid, else by TiffSlide.

    An error is no way out: where OpenSlide knows the format and cannot read the file, TiffSlide might go on with what
    is left of it.
    """
    try:
        return _openslide(file, mpp, facts)
    except SlideError as error:
        if facts is None and error.code == "format":
            raise SlideError(f"{file}: {what_it_is(file)}", "format") from error
        foreign = error.code in ("format", "levels") or (facts is not None and not facts.openslide_decodes)
        if facts is None or not facts.tiffslide_reads or not foreign:
            raise
        first = error
    try:
        return _tiffslide(file, mpp, facts)
    except SlideError as error:
        raise (error if first.code == "format" else first) from error


def _facts(file: Path) -> TiffFacts | None:
    try:
        return tiff_facts(file)
    except OSError as error:
        raise SlideError(f"{file}: {error.strerror or error}", "io") from error


def _openslide(path: Path, mpp: float, facts: TiffFacts | None, remedy: str = REMEDY) -> Slide:
    from pathoprog.slides.adapters.openslide_adapter import OpenSlideSlide

    return _whole(OpenSlideSlide(path, mpp, facts), facts, "OpenSlide", remedy)


def _tiffslide(path: Path, mpp: float, facts: TiffFacts | None, remedy: str = REMEDY) -> Slide:
    from pathoprog.slides.adapters.openslide_adapter import own_frame
    from pathoprog.slides.adapters.tiffslide_adapter import TiffSlideSlide

    if facts is not None and not facts.tiffslide_reads:
        raise SlideError(f"{path}: TiffSlide does not convert its colours; use slides.backend=openslide", "format")
    vendor = "hamamatsu" if facts is not None and facts.pyramid.lenses else own_frame(path)
    if vendor:
        raise SlideError(
            f"{path}: TiffSlide does not lay out {vendor}'s images as OpenSlide does; use slides.backend=openslide",
            "format",
        )
    return _whole(TiffSlideSlide(path, mpp, facts), facts, "TiffSlide", remedy)


def _whole(slide: Slide, facts: TiffFacts | None, library: str, remedy: str) -> Slide:
    """The slide, once it shows the pyramid that the TIFF's directory holds: all of it, and nothing else.

    Raises:
        SlideError: code ``levels``.
    """
    if facts is None or not (slide.vendor in PAGE_VENDORS or facts.pyramid.lenses):
        return slide  # formats with a layout of their own: OpenSlide follows their own lists, or refuses
    why = why_not_shown(facts.pyramid, [(level.width, level.height) for level in slide.levels], library, remedy)
    if why:
        slide.close()
        raise SlideError(f"{slide.path}: {why}", "levels")
    slide.file_warnings += tuple(
        f"{image.name} is no level of the slide and is not read" for image in facts.pyramid.others
    )
    return slide


def _dicom_instance(folder: Path) -> Path:
    """One instance of a folder of DICOM files; OpenSlide finds the others of its series.

    Raises:
        SlideError: code ``format`` where the folder holds no slide, or several.
    """
    files = instances(folder)
    dicom = [file for file in files if is_dicom(file)]
    if not dicom:
        first = next((file for file in files if not file.name.startswith(".")), None)
        why = f"; {first.name} is {what_it_is(first)}" if first and first.suffix.lower() == ".dcm" else ""
        raise SlideError(f"{folder}: a folder, and no DICOM file in it{why}", "format")
    firsts: dict[str, str] = {}
    for file in dicom:
        head = read_head(file)
        if head.series and not head.is_other_object:
            firsts.setdefault(head.series, file.name)
    if len(firsts) > 1:
        raise SlideError(
            f"{folder}: a folder of {len(firsts)} slides (DICOM series); give a file of the one that is meant, as "
            f"{', '.join(list(firsts.values())[:NAMED])}, or a folder for each",
            "format",
        )
    return dicom[0]
