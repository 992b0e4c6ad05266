"""Conditions on a sheet's cells, as mappings write them, and what follows where they hold.

``{column: [values]}``, ``{column: {below: 18}}``, ``{column: {above: 90}}`` or ``{column: {missing: true}}``; several
columns must all hold. Values are compared as text, ``1.0`` as ``1``.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.columns import parse_number
from pathoprog.cohort_tables.sheets import plain

Condition = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """A condition with what follows from it: an event's name, an exclusion's code, or a contradiction's text."""

    when: Condition
    then: str


def not_a_number(text: str, decimal: str = "") -> str:
    """Why a cell is no number, in words that say what to do."""
    other = "." if decimal == "," else ","
    if re.fullmatch(rf"[+-]?[0-9]+\{other}[0-9]+", text):
        sign, key = ("comma", '","') if other == "," else ("point", '"."')
        return f"has a decimal {sign}; decimal: {key} in the mapping reads it"
    return "is no number"


def holds(table: pd.DataFrame, when: Condition, decimal: str = "") -> pd.Series:
    """Rows in which all parts of a condition hold; a cell that is no number is neither below nor above anything."""
    result = pd.Series(True, index=table.index)
    for column, test in when.items():
        values = table[column]
        if isinstance(test, list):
            result &= values.isin([plain(value) for value in test])
        elif "missing" in test:
            result &= (values == "") == bool(test["missing"])
        else:
            found = [parse_number(value, decimal) if value else None for value in values]
            numbers = pd.Series([math.nan if number is None else number for number in found], index=values.index)
            result &= numbers < float(test["below"]) if "below" in test else numbers > float(test["above"])
    return result


def unread_numbers(table: pd.DataFrame, when: Condition, decimal: str = "") -> list[tuple[Any, str]]:
    """Rows whose cell should be compared as a number and is none: such a condition must not pass in silence."""
    faults = []
    for column, test in when.items():
        if isinstance(test, dict) and "missing" not in test:
            for row, value in table[column].items():
                if value and parse_number(value, decimal) is None:
                    faults.append((row, f"{column}={value!r} {not_a_number(value, decimal)}"))
    return faults
