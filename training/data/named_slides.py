"""Slides that a call names by file or folder, as rows of a cohort table would: for features without a cohort."""

from pathlib import Path

import pandas as pd

from pathoprog.errors import InputError
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.finding import NotTaken, slides_in
from pathoprog.slides.identity import slide_id_of
from pathoprog.system.console import say
from pathoprog.system.file_names import folder_name
from pathoprog.text.plain_text import spelling
from pathoprog.text.wording import listing

OUTLINE_SUFFIX = ".geojson"


def named_slides(paths: list[str], outlines: str, settings: SlideSettings) -> pd.DataFrame:
    """Slides of files and folders (searched whole), each called after its file, in the order of their ids.

    What lies in the folders beside slides is said.

    Args:
        paths: files and folders.
        outlines: folder with a tumour outline for each slide, called ``<slide_id>.geojson``; empty for none.
        settings: where slides may lie.

    Returns:
        ``slide_id, slide_path, outline_path``, paths absolute.

    Raises:
        InputError: all of what is not there, holds no slide, or shares an id.
    """
    found: dict[str, None] = {}
    faults, beside = [], NotTaken()
    for path in map(Path, paths):
        try:
            slides = list(slides_in(path, beside, settings=settings)) if path.is_dir() else [path]
        except OSError as error:
            faults.append(f"{path}: cannot be looked into ({error.strerror or error})")
            continue
        if not slides or not (path.is_dir() or path.exists()):
            faults.append(f"{path}: {'no slide in this folder' if path.is_dir() else 'no such file'}")
        else:
            found.update(dict.fromkeys(str(slide.resolve()) for slide in slides))
    by_id: dict[str, list[str]] = {}
    for place in found:
        by_id.setdefault(spelling(slide_id_of(place)), []).append(place)
    faults += [
        f"{listing(same)} would share the id {slide_id_of(same[0])}: give a cohort with ids of their own"
        for same in by_id.values()
        if len(same) > 1
    ]
    if faults:
        raise InputError("\n  ".join(["nothing was done:", *faults]) if len(faults) > 1 else faults[0])
    for line in beside.lines():
        say(f"    not taken: {line}")
    rows = [
        {"slide_id": slide_id_of(place), "slide_path": place, "outline_path": _outline(outlines, slide_id_of(place))}
        for place in sorted(found, key=slide_id_of)
    ]
    return pd.DataFrame(rows)


def _outline(folder: str, slide_id: str) -> str:
    path = Path(folder) / f"{folder_name(slide_id)}{OUTLINE_SUFFIX}"
    return str(path.resolve()) if folder and path.is_file() else ""
