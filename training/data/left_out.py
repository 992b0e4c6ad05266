"""Slides that training goes without, and why: ``left_out.csv`` in a run's folder. No torch."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import write_text
from pathoprog.text.wording import count

LEFT_OUT = "left_out.csv"
FAILED, ABSENT = "failed", "absent"
SHOWN = 3


@dataclass(frozen=True)
class LeftOut:
    """Why training goes without a slide.

    Attributes:
        reason: in words.
        failed: something is there that cannot be used, or the slide could not be read; False: nothing is there.
    """

    reason: str
    failed: bool = True


def joined(found: Mapping[str, LeftOut], further: Mapping[str, LeftOut]) -> dict[str, LeftOut]:
    """What two parts of the data lack, by slide id; a slide that both lack has both reasons."""
    result = dict(found)
    for slide_id, one in further.items():
        before = result.get(slide_id)
        result[slide_id] = (
            one if before is None else LeftOut(f"{before.reason}; {one.reason}", before.failed or one.failed)
        )
    return result


def said(left_out: Mapping[str, LeftOut], n_slides: int) -> str:
    """How many slides are left out, and the first of them with their reasons."""
    first = "; ".join(f"{slide_id}: {one.reason}" for slide_id, one in list(left_out.items())[:SHOWN])
    more = "; …" if len(left_out) > SHOWN else ""
    return f"{len(left_out)} of {count(n_slides, 'slide')} cannot be used ({first}{more})"


def write_left_out(folder: Path, rows: pd.DataFrame, left_out: Mapping[str, LeftOut]) -> None:
    """Write the list, or take away that of an earlier call where nothing is left out any more.

    Args:
        folder: of the run.
        rows: of the cohort table that training reads.
        left_out: by slide id.
    """
    path = folder / LEFT_OUT
    if not left_out:
        path.unlink(missing_ok=True)
        return
    named = [row for row in rows.to_dict("records") if str(row["slide_id"]) in left_out]
    lines = []
    for row in named:
        one = left_out[str(row["slide_id"])]
        of_slide = {name: row[name] for name in ("slide_id", "patient_id", "role")}
        lines.append({**of_slide, "state": FAILED if one.failed else ABSENT, "reason": one.reason})
    write_text(path, csv_text(lines))


def some_failed(folder: Path) -> bool:
    """Whether a run's folder lists slides that failed, which makes its exit code 1; absent ones do not."""
    path = folder / LEFT_OUT
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", newline="") as stream:
        return any(row["state"] == FAILED for row in csv.DictReader(stream))
