"""What is frozen before the outcomes are opened: scores, exclusions and the plan as files, with those they replaced."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.errors import LockError
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.system.files import sha256_value, write_text
from pathoprog.text.wording import count

SLIDE_PARTS = (
    *("slide_id", "patient_id", "status", "risk_class"),
    *(f"score_{name}" for name in RESOLUTIONS),
    "slide_sha256",
)
"""Columns of results.csv that are frozen: a hash that is taken out would hide a slide of the development."""
PLAN = "plan.yaml"
FILES = {"scores": ("patients.csv", "slides.csv", "members.csv"), "exclusions": ("exclusions.csv",)}
"""By part of the lock; a validation without the members' scores has no file of them."""
REPLACED = "replaced"
"""Folders ``replaced_1``, … in ``frozen``: what the first amendment replaced, and so on."""


def frozen_texts(
    patients: pd.DataFrame, members: pd.DataFrame | None, slides: pd.DataFrame, exclusions: pd.DataFrame
) -> dict[str, dict[str, str]]:
    """The scores and the exclusions as they are now, as CSV texts by file name.

    Args:
        patients: scores and classes.
        members: scores of the single members, where known.
        slides: what scoring said of each slide, with the hash of its content where known.
        exclusions: slides and patients that are left out.

    Returns:
        Part (``scores``, ``exclusions``) -> file name -> text.
    """
    own = [name for name in SLIDE_PARTS if name in slides]
    scores = {"patients.csv": patients, "slides.csv": slides[own]} | (
        {} if members is None else {"members.csv": members}
    )
    parts = {"scores": scores, "exclusions": {"exclusions.csv": exclusions}}
    return {
        part: {name: table.to_csv(index=False, lineterminator="\n") for name, table in tables.items()}
        for part, tables in parts.items()
    }


def freeze(folder: Path, texts: dict[str, str], amendments: int) -> None:
    """Write the texts by file name; what an amendment replaces is kept in ``replaced_<its number>``, not overwritten.

    Args:
        folder: of the frozen files.
        texts: by file name.
        amendments: of the lock, the one included that allowed a change.
    """
    for name, text in texts.items():
        path = folder / name
        if path.is_file() and amendments and path.read_bytes() != text.encode("utf-8"):
            kept = folder / f"{REPLACED}_{amendments}" / name
            if not kept.exists():
                write_text(kept, path.read_bytes().decode("utf-8"))
        write_text(path, text)


def check_frozen(folder: Path, locked: dict[str, Any] | None) -> None:
    """The frozen files are those that the lock holds: whoever edits one by hand, or takes one away, is told.

    Args:
        folder: of the frozen files.
        locked: the lock that lies beside it; None, or one of an older version, which kept no plan, checks nothing.

    Raises:
        LockError: names the file.
    """
    if locked is None or "format" not in locked or not folder.is_dir():
        return
    remedy = "restore it; or validate in another folder, and the report says that this one was opened before"
    plan = _text_of(folder / PLAN)
    if plan != locked["plan"]:
        what = "is missing" if plan is None else "was edited: it is not the plan that the lock holds"
        raise LockError(f"{folder / PLAN}: {what}; {remedy}")
    for part, names in FILES.items():
        texts = {name: text for name in names if (text := _text_of(folder / name)) is not None}
        if sha256_value(texts) != locked["hashes"][part]:
            raise LockError(
                f"{folder}: {', '.join(names)} are not the {part} that the lock holds: one was edited or is missing; "
                f"{remedy}"
            )


def _text_of(path: Path) -> str | None:
    """A frozen file's text, line ends as they are; None where there is none."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def frozen_differences(folder: Path, texts: dict[str, dict[str, str]]) -> dict[str, str]:
    """In how many rows the parts differ from what is frozen: part -> ``1 of 90 rows``; parts that do not are left out.

    Args:
        folder: of the frozen files; those that are not there are left out too.
        texts: part -> file name -> text as it is now.
    """
    differences = {}
    for part, files in texts.items():
        parts = []
        for name, text in files.items():
            path = folder / name
            if not path.is_file():
                continue
            before, after = _rows(path.read_text(encoding="utf-8")), _rows(text)
            gone, come = len(before - after), len(after - before)
            if gone or come:
                parts.append(f"{name}: {max(gone, come)} of {count(max(len(before), len(after)), 'row')}")
        if parts:
            differences[part] = "; ".join(parts)
    return differences


def _rows(text: str) -> set[tuple[str, ...]]:
    return {tuple(row) for row in csv.reader(io.StringIO(text))} - {tuple(next(csv.reader(io.StringIO(text)), ()))}
