"""Finds the files of a sheet's slides in a folder: by names that are an id, or begin with one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pathoprog.cohort_tables.guessing.guess import ASKED, LIKELY, SURE, Guess
from pathoprog.slides.identity import SUFFIXES, slide_id_of
from pathoprog.text.wording import count


@dataclass(frozen=True)
class FoundSlides:
    """The files of a sheet's ids.

    Attributes:
        by_id: the files of each id that has any, in order of their names.
        without: ids without a file.
        others: files that belong to no id.
    """

    by_id: dict[str, list[Path]]
    without: list[str]
    others: list[Path]


def find_files(ids: Iterable[str], files: Iterable[Path]) -> FoundSlides:
    """Give each file to the id that its name is, or begins with; of several the longest.

    An id ends where a letter or digit would go on: ``TCGA-AA-3001`` has ``TCGA-AA-3001-01Z-00-DX1.….svs``, ``P1`` has
    ``P1_a.svs`` and not ``P12.svs``.

    Args:
        ids: of patients or slides.
        files: of the slides.
    """
    wanted = sorted({one for one in ids if one}, key=lambda one: (-len(one), one))
    by_id: dict[str, list[Path]] = {}
    others = []
    for file in sorted(files, key=lambda one: (one.name, str(one))):
        bare = slide_id_of(str(file))
        own = next((one for one in wanted if re.match(re.escape(one) + r"(?![^\W_])", bare)), "")
        if own:
            by_id.setdefault(own, []).append(file)
        else:
            others.append(file)
    return FoundSlides(by_id, [one for one in sorted(wanted) if one not in by_id], others)


def guess_files(column: str, found: FoundSlides, folder: Path) -> list[Guess] | None:
    """Slide id and path as a template, where each id has one file that is called exactly so; else None.

    Args:
        column: of the sheet, with the ids.
        found: of `find_files`.
        folder: that was searched.
    """
    files = [file for own in found.by_id.values() for file in own]
    endings = {
        file.name.removeprefix(one) if len(own) == 1 and file.parent == folder else ""
        for one, own in found.by_id.items()
        for file in own
    }
    if len(endings) != 1 or not (ending := endings.pop()) or ending.casefold() not in SUFFIXES:
        return None
    said = f"{count(len(files), 'file')} in {folder} {'is' if len(files) == 1 else 'are'} called so"
    if found.without:
        said += f"; {len(found.without)} of the sheet have none, first {found.without[0]!r}"
    certainty = SURE if not found.without else LIKELY
    path = {"template": f"{folder.resolve()}/{{{column}}}{ending}"}
    return [Guess("slide_id", column, certainty, said), Guess("slide_path", path, certainty, said)]


def join_files(frame: pd.DataFrame, column: str, found: FoundSlides) -> tuple[pd.DataFrame, list[Guess]]:
    """The sheet with a row a slide: its rows beside the files of their id, rows without a file once and empty.

    Args:
        frame: the sheet's rows.
        column: with the ids.
        found: of `find_files`.

    Returns:
        The joined sheet, and the guesses for the slide's id and path.
    """
    names = [_free(name, frame.columns) for name in ("slide_id", "slide_path")]
    rows = []
    for record in frame.to_dict("records"):
        for file in found.by_id.get(str(record[column]), [None]):
            filled = ("", "") if file is None else (slide_id_of(str(file)), str(file.resolve()))
            rows.append(record | dict(zip(names, filled, strict=True)))
    files = sum(map(len, found.by_id.values()))
    said = f"{count(files, 'file')} whose names begin with a value of {column!r}, of {count(len(found.by_id), 'value')}"
    if found.without:
        said += f"; {len(found.without)} have none, first {found.without[0]!r}: their rows will be rejected"
    certainty = LIKELY if files else ASKED
    guesses = [Guess("slide_id", names[0], certainty, said), Guess("slide_path", names[1], certainty, said)]
    return pd.DataFrame(rows), guesses


def _free(name: str, taken: Iterable[str]) -> str:
    used = set(taken)
    return name if name not in used else _free(f"{name}_found", used)
