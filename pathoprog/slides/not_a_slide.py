"""What a file is that no library here reads as a slide, in words, and what a library's own words mean."""

import re
from pathlib import Path

from pathoprog.slides.dicom.elements import PREAMBLE_BYTES
from pathoprog.slides.dicom.series import TOGETHER
from pathoprog.slides.identity import SUFFIXES

HEAD_BYTES = 4096
AGAIN = "copy it again from where it comes from"
COPY = "copy or export the slide again"
EXPORT = "give the scanner's own file, or export the slide as DICOM or pyramidal TIFF"

ANEW = "have it exported anew"
NO_PREAMBLE = (b"\x02\0\0\0UL", b"\x02\0\1\0OB", b"\x08\0\0\0UL", b"\x08\0\5\0CS", b"\x08\0\x08\0CS")  # first elements
BITMAP = b"BM"  # followed by its size, and by four zeros
STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer in place of the file", "fetch the file itself (git lfs pull)"),
    (b"\x89PNG", "a picture (PNG), with no levels and no um/px", EXPORT),
    (b"\xff\xd8\xff", "a picture (JPEG), with no levels and no um/px", EXPORT),
    (b"\0\0\0\x0cjP  ", "a picture (JPEG 2000), with no levels and no um/px", EXPORT),
    (b"GIF8", "a picture (GIF)", EXPORT),
    (BITMAP, "a picture (BMP), with no levels and no um/px", EXPORT),
    (b"RIFF", "a picture or film (RIFF)", EXPORT),
    (b"%PDF", "a PDF", EXPORT),
    (b"PK\x03\x04", "an archive (zip)", "unpack it first"),
    (b"PK\x05\x06", "an archive (zip), empty", AGAIN),
    (b"\x1f\x8b", "a compressed file (gzip)", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)", "unpack it first"),
    (b"Rar!", "an archive (rar)", "unpack it first"),
    (b"BZh", "a compressed file (bzip2)", "unpack it first"),
    (b"\xfd7zXZ", "a compressed file (xz)", "unpack it first"),
    (b"(\xb5/\xfd", "a compressed file (zstd)", "unpack it first"),
    (b"\xd0\xcf\x11\xe0", "an Office or ZVI file", EXPORT),
    (b"\x89HDF", "HDF5", EXPORT),
    (b"SQLite format 3", "a database (SQLite)", EXPORT),
    (b"KFB", "KFBIO's format, which no library here reads", EXPORT),
)
FOREIGN = {
    ".isyntax": "Philips's iSyntax",
    ".i2syntax": "Philips's iSyntax",
    ".vsi": "Olympus's VSI",
    ".ets": "a part of Olympus's VSI",
    ".kfb": "KFBIO's format",
    ".sdpc": "SQRay's SDPC",
    ".tmap": "Unic's TMAP",
    ".mds": "Motic's format",
    ".mdsx": "Motic's format",
    ".lif": "Leica's LIF",
    ".zvi": "Zeiss's ZVI",
    ".oir": "Olympus's OIR",
    ".jp2": "a picture (JPEG 2000)",
}


def what_it_is(file: Path) -> str:
    """What a file is that is no slide, and what to do.

    Args:
        file: that no library took for a slide.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if not size:
        return f"an empty file (0 bytes): {AGAIN}"
    if head[128:132] == b"DICM":
        return (
            "DICOM, and not the microscope image of a whole slide that OpenSlide reads (tiled, 8-bit colour, with the "
            "attributes of its kind): see whether it belongs to the slide, and have the slide exported anew"
        )
    if head.startswith(NO_PREAMBLE):
        return f"DICOM without the {PREAMBLE_BYTES} bytes that its files begin with (preamble and DICM): {ANEW}"
    if file.suffix.lower() == ".mrxs":
        return f"the index of a MIRAX slide whose folder {file.stem} holds no Slidedat.ini: copy both anew"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page in place of the file (a login, perhaps): download it again"
    for start, name, remedy in STARTS:
        if head.startswith(start) and not (start == BITMAP and any(head[6:10])):
            locked = name == "an archive (zip)" and len(head) > 6 and head[6] & 1
            return "an encrypted archive (zip): decrypt and unpack it first" if locked else f"{name}: {remedy}"
    if file.suffix.lower() in FOREIGN:
        return f"{FOREIGN[file.suffix.lower()]}, which no library here reads: {EXPORT}"
    if not any(head):
        return f"nothing but zero bytes, by its first {len(head)}: the copy was not finished; {AGAIN}"
    if _is_text(head):
        return "a text, and no slide: see whether the right file was given"
    return (
        f"not a slide that a library here reads, by what it begins with (it may be damaged, or of a format beside "
        f"{', '.join(SUFFIXES)}): {AGAIN}, or {EXPORT}"
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(head) - 4 or error.start < len(head) - 4:  # not just cut amid a letter
            return False
        text = head[: error.start].decode("utf-8")
    return sum(character.isprintable() or character in "\r\n\t" for character in text) > 0.95 * len(text)


AS_EXPLICIT = (
    "which OpenSlide does not read: have it exported in explicit little endian, as JPEG, JPEG 2000 or uncompressed"
)
WORDS = (
    (
        r"Attribute (?:BitsAllocated|BitsStored|HighBit) value (\d+) != \d+",
        r"DICOM of \1 bits a sample: only 8-bit colour can be scored",
    ),
    (r"Attribute (\w+) value (\S+) != (\S+)", r"DICOM whose \1 is \2, where only \3 can be read"),
    (r"Couldn't get image flavor", f"DICOM without ImageType, which tells the slide from its label: {ANEW}"),
    (r"Couldn't (?:get|read) (?:attribute )?'?(\w+)'?", rf"DICOM without \1, or a file cut off there: {ANEW}"),
    (
        r"Unsupported transfer syntax 1\.2\.840\.10008\.1\.2$",
        f"Unsupported transfer syntax 1.2.840.10008.1.2 (implicit little endian), {AS_EXPLICIT}",
    ),
    (r"Unsupported transfer syntax (\S+)", rf"Unsupported transfer syntax \1, {AS_EXPLICIT}"),
    (
        r"Missing SOP instance (\d+)/(\d+) in concatenation",
        rf"part \1 of \2 of a level that lies in several DICOM files is missing: {TOGETHER}",
    ),
    (
        r"Expected (\d+) SOP instances in concatenation \S+ found (\d+)",
        rf"a level lies in \1 DICOM files, of which \2 are here: {TOGETHER}",
    ),
    (
        r"Found only one SOP instance in concat",
        f"a level lies in several DICOM files, of which one is here: {TOGETHER}",
    ),
    (
        r"([^/\\]+): Slide contains unexpected image",
        r"\1 holds an image that the series holds twice (a level of the same size, or a second label), and nothing "
        r"says which is the slide's: keep one of the two",
    ),
    (r"libdicom \w+ error", f"DICOM with data elements that OpenSlide cannot follow, or a file cut off: {ANEW}"),
    (r"No magic string \"ZISRAWDIRECTORY\"", f"CZI that was cut off, or damaged in its directory: {AGAIN}"),
    (
        r"(?i)cannot allocate memory|out of memory|malloc failed|insufficient memory",
        "out of memory: reading it takes more than there is, or than stream.memory_mib allows",
    ),
)
"""What OpenSlide's messages mean, as regular expressions; the first that is found."""


def in_words(text: str) -> str:
    """What a library said of a file it cannot open, in words for a user; unknown ones stay, with what to try."""
    text = " ".join(text.split())
    for pattern, words in WORDS:
        found = re.search(pattern, text)
        if found:
            return found.expand(words)
    return f"{text or 'damaged, and the library does not say how'}; {COPY}"
