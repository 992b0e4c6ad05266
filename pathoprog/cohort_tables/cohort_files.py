"""The files that a cohort table names: where it says that they lie, and are they there?

The second is asked before any work, so that a wrong folder costs no night.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pathoprog.cohort_tables.cohort import read_cohort

SHOWN = 3


@dataclass(frozen=True)
class AbsentFile:
    """A cell of a cohort table that names no file or folder."""

    slide_id: str
    column: str
    path: str


def absent_files(cohort: pd.DataFrame, columns: tuple[str, ...] = ("slide_path", "outline_path")) -> list[AbsentFile]:
    """Slides and outlines of a cohort table that are not there; an empty cell names nothing.

    Args:
        cohort: see `pathoprog.cohort_tables.cohort.read_cohort`; its paths are absolute.
        columns: to look at.
    """
    return [
        AbsentFile(str(row["slide_id"]), name, str(row[name]))
        for row in cohort.to_dict("records")
        for name in columns
        if row.get(name) and not _exists(str(row[name]))
    ]


def absent_said(absent: list[AbsentFile], n_slides: int) -> str:
    """How many files of how many slides are not there, with the first few, in words."""
    slides = len({item.slide_id for item in absent})
    shown = "; ".join(f"{item.slide_id}: {item.column} {item.path}" for item in absent[:SHOWN])
    more = " …" if len(absent) > SHOWN else ""
    return f"{slides} of {n_slides} slides have files that are not there: {shown}{more}"


def paths_as_given(cohort: str, overlap: str = "") -> dict[str, str]:
    """Where a table says that its slides lie, by id, links not followed: other tools call a slide after that name.

    Args:
        cohort: the table; "" or one that is not there gives nothing.
        overlap: see `pathoprog.cohort_tables.cohort.read_cohort`.

    Raises:
        CohortError: the table breaks its rules.
    """
    path = Path(cohort)
    return _paths_in(cohort, overlap, path.stat().st_mtime_ns) if cohort and path.is_file() else {}


@functools.lru_cache(4)
def _paths_in(cohort: str, overlap: str, changed: int) -> dict[str, str]:
    table = read_cohort(cohort, overlap, look=False)
    return dict(zip(map(str, table["slide_id"]), map(str, table["slide_path"]), strict=True))


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a null byte: no file is called so
        return False
