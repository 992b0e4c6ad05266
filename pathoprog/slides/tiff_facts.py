"""What a TIFF's tags say of its pixels, before any library shows them: some show wrong pixels without a word."""

import logging
from dataclasses import dataclass
from pathlib import Path

import tifffile

from pathoprog.errors import SlideError

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its remarks on odd tags are not the user's

COLOUR = ("RGB", "YCBCR", "PALETTE")


@dataclass(frozen=True)
class TiffFacts:
    """Tags of a TIFF's first page.

    Attributes:
        kind: "" for 8-bit colour, else what it is instead, in words.
        tiffslide_reads: False where TiffSlide would return the stored numbers for colours (palette, plain YCbCr).
        warnings: for the user.
    """

    kind: str
    tiffslide_reads: bool
    warnings: tuple[str, ...]


def tiff_facts(path: Path) -> TiffFacts | None:
    """Look at a TIFF's tags; None for a file that is no TIFF.

    Raises:
        SlideError: code ``unreadable`` where the file calls itself a TIFF and its directory cannot be read.
    """
    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            tags = page.tags
            orientation = tags["Orientation"].value if "Orientation" in tags else 1
            photometric = _name(page.photometric)
            compression = _name(page.compression)
            bits, samples = page.bitspersample, page.samplesperpixel
            series_axes = tiff.series[0].axes if path.suffix.lower() in (".tif", ".tiff") else "YXS"
            series_shape = tiff.series[0].shape if path.suffix.lower() in (".tif", ".tiff") else ()
    except Exception as error:  # a damaged directory provokes nearly any error in the parser
        raise SlideError(f"{path}: damaged TIFF: {' '.join(str(error).split())}", "unreadable") from error
    kind = ""
    if bits != 8:
        kind = f"{bits}-bit pixels"
    elif samples == 1 and photometric != "PALETTE":
        channels = series_shape[series_axes.index("C")] if "C" in series_axes else 1
        kind = "one channel, no colour" if channels == 1 else f"{channels} separate channels, no brightfield colour"
    elif photometric not in COLOUR or samples not in (1, 3, 4):
        kind = f"{samples} channels ({photometric.lower()}), no brightfield colour"
    warnings = () if orientation in (0, 1) else (f"orientation tag {orientation}: pixels are read as stored",)
    plain_ycbcr = photometric == "YCBCR" and not compression.startswith(("JPEG", "APERIO", "OJPEG"))
    return TiffFacts(
        kind,
        tiffslide_reads=photometric != "PALETTE" and not plain_ycbcr,
        warnings=warnings,
    )


def _name(value: object) -> str:
    return str(getattr(value, "name", value))
