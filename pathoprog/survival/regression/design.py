"""Design matrices: numeric covariates as they are, categorical ones as one column for each level but the reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.cohort_tables.columns import check_levels
from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, groups_of, level_names


@dataclass(frozen=True)
class DesignColumn:
    """One column of a design: its covariate, its level ("" if numeric), and the reference level ("" if numeric)."""

    term: str
    level: str
    reference: str

    @property
    def name(self) -> str:
        """Covariate, and level where there is one: ``age``, ``rx=Lev``."""
        return f"{self.term}={self.level}" if self.level else self.term


@dataclass(frozen=True)
class Design:
    """A design matrix.

    Attributes:
        columns: what each of the p columns is.
        matrix: values (n, p).
        terms: the covariates, in order.
    """

    columns: tuple[DesignColumn, ...]
    matrix: FloatArray
    terms: tuple[str, ...]

    def pattern(self, values: Mapping[str, object]) -> FloatArray:
        """The row (p,) of a patient with the given covariate values.

        Raises:
            InputError: a covariate is missing, or a level is unknown.
        """
        row = np.zeros(len(self.columns))
        for term in self.terms:
            if term not in values:
                raise InputError(f"the covariate pattern lacks {term!r}")
            mine = [index for index, column in enumerate(self.columns) if column.term == term]
            if not self.columns[mine[0]].level:
                try:
                    row[mine[0]] = float(str(values[term]))
                except ValueError as error:
                    raise InputError(f"{term}={values[term]!r}: the pattern needs a number here") from error
                continue
            label = str(level_names([values[term]])[0])
            known = {self.columns[index].level: index for index in mine}
            if label in known:
                row[known[label]] = 1.0
            elif label != self.columns[mine[0]].reference:
                levels = [self.columns[mine[0]].reference, *known]
                raise InputError(f"{term}={label!r} is no level of the model: {levels}")
        return row


def is_categorical(values: "pd.Series[Any]", forced: bool = False) -> bool:
    """True for text, categories and booleans, and where it is asked for."""
    if forced:
        return True
    return not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)


def refuse_dates(term: str, values: "pd.Series[Any]") -> None:
    """Dates and durations are no covariates.

    Raises:
        InputError: names the column.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        raise InputError(f"{term}: holds dates or durations; a covariate is a number or a category: turn it into years")


def complete_rows(frame: pd.DataFrame, columns: list[str]) -> npt.NDArray[np.bool_]:
    """Mask (n,) of rows without a missing value (nan, None, empty text) in the given columns.

    Raises:
        InputError: a column is absent; the message lists those that there are.
    """
    for name in columns:
        if name not in frame.columns:
            raise InputError(f"no column {name!r}; there are {', '.join(map(repr, frame.columns))}")
    keep = np.ones(len(frame), dtype=bool)
    for name in columns:
        keep &= level_names(frame[name]) != ""
    return np.asarray(keep, dtype=np.bool_)


def build_design(
    frame: pd.DataFrame,
    covariates: list[str],
    reference: dict[str, str] | None = None,
    categorical: list[str] | None = None,
) -> Design:
    """Build a design without intercept from complete rows.

    Args:
        frame: one row a patient, no missing values in `covariates`.
        covariates: column names, in the order of the terms.
        reference: the reference level of categorical covariates; default: the first level (numbers by size, text by
            alphabet, or the order of a pandas category). A covariate named here is categorical, whatever its type.
        categorical: numeric covariates to take as categories.

    Raises:
        InputError: a column is absent, a reference is no level, or a covariate has one value only or, as a category,
            too many.
    """
    reference, forced = reference or {}, set(categorical or ())
    columns: list[DesignColumn] = []
    values: list[FloatArray] = []
    if len(set(covariates)) < len(covariates):
        raise InputError(f"a covariate is given twice: {covariates}")
    for term in covariates:
        if term not in frame.columns:
            raise InputError(f"no column {term!r}; there are {', '.join(map(repr, frame.columns))}")
        series = frame[term]
        refuse_dates(term, series)
        if not is_categorical(series, term in forced or term in reference):
            numbers = series.to_numpy(dtype=float)
            if not np.isfinite(numbers).all():
                raise InputError(f"covariate {term!r} has missing or infinite values")
            columns.append(DesignColumn(term, "", ""))
            values.append(numbers)
            continue
        order = list(level_names(series.cat.categories)) if isinstance(series.dtype, pd.CategoricalDtype) else None
        levels, place = groups_of(series, len(frame), order)
        base = reference.get(term, levels[0])
        if base not in levels:
            raise InputError(f"reference {base!r} is no level of {term!r}: {levels}")
        if len(levels) < 2:
            raise InputError(f"covariate {term!r} has one level only ({levels[0]!r}) among the complete rows")
        check_levels(term, len(levels), len(frame))
        for index, level in enumerate(levels):
            if level != base:
                columns.append(DesignColumn(term, level, base))
                values.append((place == index).astype(float))
    matrix = np.column_stack(values) if values else np.zeros((len(frame), 0))
    return Design(tuple(columns), matrix, tuple(covariates))
