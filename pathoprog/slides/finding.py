"""Slides in folders: which files, and which folders, are one slide each."""

from collections.abc import Iterator
from pathlib import Path

from pathoprog.slides.opening import is_dicom

SUFFIXES = (
    ".bif", ".czi", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu",
)  # fmt: skip
WITH_FOLDER = (".mrxs",)  # their data lie in a folder of the same name


def slides_in(folder: str | Path) -> Iterator[Path]:
    """Slides of a folder and the folders below, in order of their names; hidden ones are left out.

    A folder with nothing but DICOM files is one slide. A MIRAX slide's own folder is not looked into.
    """
    folder = Path(folder)
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.is_file()]
    if files and len(files) == len(entries) and all(map(is_dicom, files)):
        yield folder
        return
    owned = {entry.with_suffix("") for entry in files if entry.suffix.lower() in WITH_FOLDER}
    for entry in entries:
        if entry.is_dir() and entry not in owned:
            yield from slides_in(entry)
        elif entry.is_file() and entry.suffix.lower() in SUFFIXES:
            yield entry
