"""Whether the files of a MIRAX slide hold what its index names.

The layout of Slidedat.ini and of the index is that of Benjamin Gilbert and Adam Goode, "Introduction to MIRAX"
(as OpenSlide reads it). All numbers are little-endian int32.
"""

import configparser
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pathoprog.errors import SlideError
from pathoprog.slides.tiff.directory import REMEDY

SETTINGS = "Slidedat.ini"
MAX_SETTINGS_BYTES = 1 << 20
MAX_INDEX_BYTES = 1 << 31
VERSION = "01.02"


def check_mirax(path: Path) -> None:
    """Refuse a slide whose data files are missing, end too early, or whose index goes round in a circle.

    Without its folder it is left to the library that opens it, and so are settings that are not understood.

    Raises:
        SlideError: code ``unreadable``; ``io`` where the system fails.
    """
    folder = path.with_suffix("")
    try:
        if not (folder / SETTINGS).is_file():
            return
        with (folder / SETTINGS).open("rb") as stream:
            text = stream.read(MAX_SETTINGS_BYTES).decode("utf-8-sig", "replace")
        settings = configparser.ConfigParser(
            interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",)
        )
        try:
            settings.read_string(text)
            uuid, levels = settings["GENERAL"]["SLIDE_ID"], int(settings["HIERARCHICAL"]["HIER_0_COUNT"])
            index = folder / settings["HIERARCHICAL"]["INDEXFILE"]
            data = settings["DATAFILE"]
            files = [folder / data[f"FILE_{i}"] for i in range(int(data["FILE_COUNT"]))]
        except (configparser.Error, KeyError, ValueError):
            return
        for file in (index, *files):
            if not file.is_file():
                raise SlideError(f"{path}: {file.name} of its folder is missing; {REMEDY}", "unreadable")
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise SlideError(f"{path}: damaged: an index of {index.stat().st_size} bytes; {REMEDY}", "unreadable")
        numbers = np.frombuffer(index.read_bytes(), np.uint8)
        sizes = np.array([file.stat().st_size for file in files], np.int64)
    except OSError as error:
        raise SlideError(f"{path}: {error.strerror or error}", "io") from error
    try:
        records = _records(numbers, len(VERSION) + len(uuid), levels)
    except ValueError as error:
        raise SlideError(f"{path}: damaged: {index.name}: {error}; {REMEDY}", "unreadable") from error
    _check(path, records, files, sizes)


def _number(data: NDArray[np.uint8], at: int) -> int:
    if not 0 <= at <= len(data) - 4:
        raise ValueError(f"it names byte {at} and has {len(data)}")
    return int(np.frombuffer(data[at : at + 4].tobytes(), "<i4")[0])


def _records(data: NDArray[np.uint8], root: int, levels: int) -> NDArray[np.int64]:
    """All records of the levels' pages: int64 [n, 4] of image, offset, length and number of the data file.

    Raises:
        ValueError: the index ends too early, or its pages go round in a circle.
    """
    first = _number(data, root)
    pages: list[NDArray[np.int64]] = []
    seen: set[int] = set()
    for level in range(levels):
        page = _number(data, _number(data, first + 4 * level) + 4)
        while page:
            if page in seen:
                raise ValueError(f"its pages go round in a circle at byte {page}")
            seen.add(page)
            n = _number(data, page)
            if not 0 <= n <= (len(data) - page - 8) // 16:
                raise ValueError(f"the page at byte {page} would hold {n} records, and the file ends at {len(data)}")
            pages.append(
                np.frombuffer(data[page + 8 : page + 8 + 16 * n].tobytes(), "<i4").reshape(-1, 4).astype(np.int64)
            )
            page = _number(data, page + 4)
    return np.concatenate(pages) if pages else np.empty((0, 4), np.int64)


def _check(path: Path, records: NDArray[np.int64], files: list[Path], sizes: NDArray[np.int64]) -> None:
    """Refuse records that name no file, no bytes, or bytes beyond their file's end."""
    _, offset, length, number = records.T
    known = (number >= 0) & (number < len(files))
    if not known.all():
        raise SlideError(
            f"{path}: damaged: its index names data file {number[~known][0]} of {len(files)}; {REMEDY}", "unreadable"
        )
    if (offset < 0).any() or (length <= 0).any():
        n = int(np.count_nonzero((offset < 0) | (length <= 0)))
        raise SlideError(f"{path}: damaged: {n} of {len(records)} images have no bytes; {REMEDY}", "unreadable")
    beyond = np.flatnonzero(offset + length > sizes[number])
    if len(beyond):
        i = int(beyond[0])
        raise SlideError(
            f"{path}: truncated: {len(beyond)} of {len(records)} images lie beyond the end of their file, the first at "
            f"bytes {offset[i]} to {offset[i] + length[i]} of {files[number[i]].name}, which ends at byte "
            f"{sizes[number[i]]}; {REMEDY}",
            "unreadable",
        )
