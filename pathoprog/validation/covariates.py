"""Which covariates of a cohort are numbers and which are categories: declared in the plan, or taken from the values."""

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.cohort import CODED_COLUMNS, NUMERIC_COLUMNS, SLIDE_COLUMNS
from pathoprog.cohort_tables.columns import (
    BROKEN,
    DATE,
    DURATION,
    FEW_LEVELS,
    NUMBER,
    Column,
    check_levels,
    one_spelling,
    read_column,
)
from pathoprog.errors import InputError
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.survival.arrays import level_names

TYPES = ("number", "category")
NO_COVARIATES = (
    *("patient_id", "slide_id", "slide_path", "slide_sha256", "block_id", "role"),
    *("followup_days", "event", "years", "status", "risk_class", "borderline", "class_order", "one_number"),
    *(*(f"score_{name}" for name in RESOLUTIONS), "n_slides", "n_slides_scored"),
    *("slides", "reason", "rule", "risk_group", "caution"),
    *("clinical_number", "clinical_covariates", "clinical_notes"),
)
"""Ids, outcomes and scores: the analyses hold them under these names, so no covariate can be called so."""


def typed_covariates(table: pd.DataFrame, types: dict[str, str] | None = None) -> pd.DataFrame:
    """The patients' own columns as numbers, or as categories whose spellings are one.

    A column is a number where the plan says so, or where all its values are numbers, unless it is one of
    `CODED_COLUMNS` (pT, grade, sites …) or holds five or fewer different whole numbers: those may be codes, and as
    levels they claim no order. A column that cannot be read so stays as it is; `check_covariates` refuses it where it
    is used.

    Args:
        table: one row a patient, text ``""`` where missing; columns of slides and ids are left alone.
        types: ``number`` or ``category`` by column, as the plan declares them.
    """
    result = table.copy()
    for name in table.columns:
        if name in (*SLIDE_COLUMNS, "patient_id") or pd.api.types.is_numeric_dtype(table[name].dtype):
            continue
        column = _read(table[name])
        if _is_number(name, column, types or {}):
            result[name] = column.values.astype(float)
        else:
            result[name] = one_spelling(table[name])[0]
    return result


def check_covariates(
    table: pd.DataFrame, covariates: tuple[str, ...], subgroups: tuple[str, ...], types: dict[str, str]
) -> None:
    """Refuse covariates and subgroups that are neither numbers nor categories, before any outcome is opened.

    Args:
        table: the cohort, one row a slide or a patient.
        covariates: of the plan; those that the cohort lacks are left to the report.
        subgroups: of the plan; too many levels there are a note of the report.
        types: as the plan declares them.

    Raises:
        InputError: a declared column that is absent or does not hold what was declared; dates; a text among numbers; a
            category with too many levels.
    """
    for name in (*covariates, *subgroups, *types):
        if name in NO_COVARIATES:
            raise InputError(
                f"{name}: an id, an outcome or a score, which is no covariate and makes no subgroups; take it out of "
                "the plan, or give the cohort's column another name"
            )
    absent = [name for name in types if name not in table]
    if absent:
        raise InputError(f"the plan's types name columns that the cohort lacks: {', '.join(absent)}")
    patients = table.drop_duplicates("patient_id")
    for name in dict.fromkeys([*covariates, *subgroups, *types]):
        if name not in patients or pd.api.types.is_numeric_dtype(patients[name].dtype):
            continue
        column, declared = _read(patients[name]), types.get(name, "")
        if column.kind in (DATE, DURATION):
            what = column.problem or "holds durations"
            raise InputError(f"{name}: {what}; a covariate is a number or a category: turn it into years in the cohort")
        if declared == "number" and (column.kind != NUMBER or column.problem):
            raise InputError(f"{name}: the plan says number, but {column.problem or 'it holds texts'}")
        if column.problem and (declared != "category" or column.kind == BROKEN):
            raise InputError(
                f"{name}: {column.problem.split(' (missing=')[0]}; or types: {{{name}: category}} in the plan"
            )
        if name in covariates and not _is_number(name, column, types):
            label = level_names(one_spelling(patients[name])[0])
            known = label[label != ""]
            check_levels(name, int(np.unique(known).size), int(known.size))


def _read(values: pd.Series) -> Column:
    return read_column(values.map(lambda value: "" if value is None or value != value else str(value)))


def _is_number(name: str, column: Column, types: dict[str, str]) -> bool:
    if column.kind != NUMBER or column.problem or types.get(name) == "category":
        return False
    if types.get(name) == "number" or name in NUMERIC_COLUMNS:
        return True
    known = column.values.dropna()
    return name not in CODED_COLUMNS and not (known.nunique() <= FEW_LEVELS and (known % 1 == 0).all())
