"""Table 1: who the patients are, by cohort or by class, with what is missing."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pathoprog.text.numbers import format_interval
from pathoprog.text.wording import share

MAX_LEVELS = 12


def table_one(groups: Sequence[tuple[str, pd.DataFrame]], columns: Sequence[str]) -> pd.DataFrame:
    """Describe groups of patients.

    Args:
        groups: heading and patients; one column each.
        columns: covariates. Numbers: median and quartiles; others: counts and shares of those known, whose number
            stands in the covariate's own row. A column with more than twelve different texts is not listed level by
            level.

    Returns:
        Text, one row per covariate or level; ``missing`` rows only where something is missing.
    """
    rows: list[list[str]] = [["Patients", *(f"{len(table):,}" for _, table in groups)]]
    for name in columns:
        parts = [table[name] for _, table in groups]
        whole = pd.concat(parts)
        if pd.api.types.is_numeric_dtype(whole):
            digits = _decimals([part.dropna() for part in parts])
            rows.append([f"{name}, median (IQR)", *(_median(part.dropna(), digits) for part in parts)])
            missing = [int(part.isna().sum()) for part in parts]
        else:
            missing = [int(_blank(part).sum()) for part in parts]
            levels = sorted(set(whole[~_blank(whole)]))
            if len(levels) > MAX_LEVELS:
                rows.append([f"{name}, different values", *(f"{part[~_blank(part)].nunique()}" for part in parts)])
            else:
                known = [part[~_blank(part)] for part in parts]
                rows.append([name, *(f"of {len(part):,}" for part in known)])
                rows += [
                    [f"  {level}", *(share(int((part == level).sum()), len(part)) for part in known)]
                    for level in levels
                ]
        if any(missing):
            rows.append(["  missing", *(share(n, len(part)) for n, part in zip(missing, parts, strict=True))])
    return pd.DataFrame(rows, columns=["", *(heading for heading, _ in groups)])


def missing_values(groups: Sequence[tuple[str, pd.DataFrame]], columns: Sequence[str]) -> pd.DataFrame:
    """Number and share of missing values of each covariate, by group; only covariates that miss any."""
    rows: list[list[str]] = []
    for name in columns:
        counts = [int(_blank(table[name]).sum()) for _, table in groups]
        if any(counts):
            rows.append([name, *(share(n, len(table)) for n, (_, table) in zip(counts, groups, strict=True))])
    return pd.DataFrame(rows, columns=["Missing", *(heading for heading, _ in groups)])


def _blank(values: pd.Series) -> Any:
    return values.isna() | (values.astype(str) == "")


def _decimals(parts: Sequence[pd.Series]) -> int:
    """Decimals with which all quartiles of a covariate are told, in all groups alike: none where all are whole."""
    quartiles = pd.concat([part.quantile([0.25, 0.5, 0.75]) for part in parts if len(part)] or [pd.Series(dtype=float)])
    if (quartiles == quartiles.round()).all():
        return 0
    largest = float(quartiles.abs().max())
    return next(digits for digits, least in enumerate((100.0, 1.0, 0.1, 0.0)) if largest >= least)


def _median(values: pd.Series, digits: int) -> str:
    if values.empty:
        return "–"
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return format_interval(middle, low, high, digits)
