"""The folders that slides, outlines and lists may lie in: links are followed to see where a path really leads."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pathoprog.errors import SlideError
from pathoprog.slides.identity import files_of


def leads_outside(path: str | Path, folders: Iterable[str | Path]) -> bool:
    """Whether a path, all its links followed, lies in none of the folders."""
    real = os.path.realpath(path)
    inside = (os.path.realpath(folder) for folder in folders)
    return not any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in inside)


def check_slide_roots(path: str | Path, roots: Sequence[str]) -> None:
    """As `check_roots`, for a slide and all files that belong to it.

    Raises:
        SlideError: code ``outside``.
    """
    if not roots:
        return
    check_roots(path, roots)
    try:
        parts = files_of(path)
    except OSError:
        return  # it is not there, or closed: whoever opens it says so
    if any(leads_outside(part, roots) for part in parts):
        raise SlideError(f"{path}: files that belong to it lie outside the folders of slides.roots", "outside")


def check_roots(path: str | Path, roots: Sequence[str]) -> None:
    """Refuse a path that leads out of the allowed folders.

    Args:
        path: of a slide, a slide's folder, an outline or a list.
        roots: allowed folders; none given allow all.

    Raises:
        SlideError: code ``outside``.
    """
    if roots and leads_outside(path, roots):
        raise SlideError(f"{path}: lies outside the folders of slides.roots", "outside")
