"""Reading what scoring wrote, and checking it against the bundle: results.csv (slides) and patients.csv."""

import math
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from pathoprog.cohort_tables.roles import ROLES
from pathoprog.ensemble.classes import RISK_CLASSES, one_number, risk_class
from pathoprog.errors import InputError, LockError
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, in_order
from pathoprog.system.csv_files import read_columns

CLINICAL = "clinical_number"
STATUSES = ("scored", "not_reportable", "failed")


def score_columns(resolutions: Collection[str]) -> list[str]:
    """Columns of an ensemble's scores, from the coarsest resolution to the finest."""
    return [f"score_{name}" for name in in_order(resolutions)]


def read_results(
    path: str | Path, ensemble_ids: list[str], resolutions: Collection[str] = METHOD_RESOLUTIONS
) -> pd.DataFrame:
    """Read results.csv: one row per slide.

    Args:
        path: the table that `pathoprog score` wrote.
        ensemble_ids: of the locked bundle that must have made every score (`stage_groups.scoring_ids`).
        resolutions: of that bundle.

    Returns:
        The table, text columns as str, scores as float.

    Raises:
        InputError: a column is missing, a slide is there twice, or a status unknown.
        LockError: scores of another ensemble.
    """
    scores = score_columns(resolutions)
    needed = ("slide_id", "patient_id", "status", "risk_class", *scores, "reason", "ensemble_id")
    table = _read(Path(path), needed, scores)
    _unique(Path(path), table, ["slide_id"])
    others = table.loc[~table["ensemble_id"].isin(ensemble_ids) & (table["status"] == "scored"), "ensemble_id"]
    if len(others):
        raise LockError(
            f"{path}: {len(others)} slides were scored by another ensemble ({others.iloc[0][:12]}…) than the bundle "
            f"given ({ensemble_ids[0][:12]}…); score again with that bundle, or give the bundle that scored"
        )
    return table


def read_patients(path: str | Path, thresholds: dict[str, float]) -> pd.DataFrame:
    """Read patients.csv: one row per patient and role; every class must follow from its scores and the thresholds.

    Args:
        path: the table that `pathoprog score` wrote.
        thresholds: of the locked bundle, by resolution.

    Returns:
        The table with `one_number` computed anew (METHOD section 1; NaN where there is no class).

    Raises:
        InputError: a column is missing, a patient is twice in a role, a role or status unknown, a score outside [0, 1].
        LockError: a class contradicts the scores and the locked thresholds.
    """
    path, scores = Path(path), score_columns(thresholds)
    needed = ("patient_id", "role", "cohort", "status", "risk_class", *scores, "n_slides", "n_slides_scored", "reason")
    table = _read(path, needed, scores)
    _unique(path, table, ["patient_id", "role"])
    unknown = sorted(set(table["role"]) - set(ROLES))
    if unknown:
        raise InputError(f"{path}: role {', '.join(map(repr, unknown))}: must be one of {', '.join(ROLES)}")
    for name in ("n_slides", "n_slides_scored"):
        wrong = ~table[name].str.fullmatch("[0-9]{1,9}")
        if wrong.any():
            raise InputError(f"{path}: {name} is no whole number in line {_lines(wrong)}")
        table[name] = table[name].astype(int)
    scored = table["status"] == "scored"
    outside = scored & ~(table[scores].ge(0).all(axis=1) & table[scores].le(1).all(axis=1))
    if outside.any():
        what = "a score" if len(scores) == 1 else "two scores"
        raise InputError(f"{path}: scored, but without {what} in [0, 1]: line {_lines(outside)}")
    rows = [dict(zip(in_order(thresholds), values, strict=True)) for values in table[scores].to_numpy()]
    expected = [risk_class(row, thresholds) if is_scored else "" for row, is_scored in zip(rows, scored, strict=True)]
    wrong = table["risk_class"] != pd.Series(expected, index=table.index)
    if wrong.any():
        raise LockError(
            f"{path}: the class does not follow from the scores and the bundle's thresholds in line {_lines(wrong)}"
        )
    table["one_number"] = [
        one_number(row, thresholds) if is_scored else float("nan") for row, is_scored in zip(rows, scored, strict=True)
    ]
    return table


def with_clinical_numbers(path: str | Path, patients: pd.DataFrame) -> pd.DataFrame:
    """The patients with their clinical number as a float, NaN where they have none.

    Args:
        path: patients.csv.
        patients: as `read_patients` gives them.

    Raises:
        InputError: the scores have no such column, or it holds texts.
    """
    if CLINICAL not in patients:
        raise InputError(
            f"{path}: the column {CLINICAL} is missing, though the bundle has a Cox model over clinical covariates;"
            " score with that bundle and cohort=…, and give what it writes"
        )
    found = pd.to_numeric(patients[CLINICAL].replace("", None), errors="coerce").astype(float)
    wrong = (patients[CLINICAL] != "") & ~found.abs().lt(math.inf)
    if wrong.any():
        raise InputError(f"{path}: the {CLINICAL} is no number in line {_lines(wrong)}")
    return patients.assign(**{CLINICAL: found})


def read_members(path: str | Path) -> pd.DataFrame | None:
    """Read members.csv, the score of each single member for each patient; None where there is none.

    Returns:
        ``patient_id, role, resolution, member, score``.
    """
    path = Path(path)
    if not path.is_file():
        return None
    needed = ["patient_id", "role", "resolution", "member", "score"]
    table = read_columns(path, needed, "pathoprog score")
    table["score"] = pd.to_numeric(table["score"], errors="coerce")
    wrong = ~table["score"].between(0, 1)
    if wrong.any():
        raise InputError(f"{path}: the score is no number in [0, 1] in line {_lines(wrong)}")
    _unique(path, table, ["patient_id", "role", "resolution", "member"])
    return table[needed]


def _read(path: Path, needed: tuple[str, ...], scores: list[str]) -> pd.DataFrame:
    table = read_columns(path, needed, "pathoprog score")
    for column, allowed in (("status", STATUSES), ("risk_class", ("", *RISK_CLASSES))):
        unknown = sorted(set(table[column]) - set(allowed))
        if unknown:
            shown = f"{', '.join(map(repr, unknown[:5]))}{' …' if len(unknown) > 5 else ''}"
            raise InputError(f"{path}: {column} {shown}: must be one of {', '.join(allowed)}")
    for name in scores:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def _unique(path: Path, table: pd.DataFrame, keys: list[str]) -> None:
    twice = table.duplicated(keys, keep=False)
    if twice.any():
        raise InputError(f"{path}: the same {' and '.join(keys)} in line {_lines(twice)}")


def _lines(mask: pd.Series) -> str:
    numbers = [str(row + 2) for row, hit in enumerate(mask) if hit]
    return ", ".join(numbers[:20]) + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
