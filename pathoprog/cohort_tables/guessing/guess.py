"""One guess about a clinical sheet, and the sheet as those who guess look at it."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.columns import NAMES, NUMBER, Column, read_column
from pathoprog.cohort_tables.mapping import OPEN
from pathoprog.cohort_tables.sheets import Sheet, plain

SURE, LIKELY, ASKED = "sure", "likely", "asked"
"""How sure a guess is; what is asked has an answer for the time being, or `OPEN` where there is none."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECTIONS = ("cases", "demographic", "diagnoses", "exposures", "follow_ups", "project", "patient")
"""What GDC's tables write before a column's name: ``demographic.vital_status``."""


@dataclass(frozen=True)
class Guess:
    """What one key of the mapping should be.

    Attributes:
        key: of the mapping; a cohort's column, or ``followup``, ``event``, ``rows`` …
        value: what goes into the mapping, as YAML's plain values.
        certainty: one of `SURE`, `LIKELY`, `ASKED`.
        reason: what was seen; where it is asked, what to answer.
        section: ``columns`` for a cohort's column, else empty.
    """

    key: str
    value: Any
    certainty: str
    reason: str
    section: str = "columns"

    @property
    def is_open(self) -> bool:
        """Whether there is no answer at all yet."""
        return self.value in (OPEN, {"column": OPEN}) or (
            isinstance(self.value, list) and any(OPEN in item.get("when", {}) for item in self.value)
        )


def words(name: str) -> str:
    """A column's name as lower-case words: ``OSDays`` and ``OS_days`` alike are ``os days``."""
    head, point, tail = name.partition(".")
    bare = tail if point and head.casefold() in _SECTIONS else name
    return " ".join(re.sub(r"[\W_]+", " ", _CAMEL.sub(" ", bare)).casefold().split())


@dataclass
class SheetView:
    """A sheet, its cells as text and what each column is.

    Attributes:
        frame: cells as `pathoprog.cohort_tables.mapping` compares them: no ``.0`` of whole numbers, ``""`` if missing.
        lines: of each row in the file.
        decimal: the decimal sign of its numbers, if it was said.
    """

    frame: pd.DataFrame
    lines: list[int]
    decimal: str = ""
    _read: dict[str, Column] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, sheet: Sheet, decimal: str = "") -> "SheetView":
        """The view of a sheet as `read_sheet_file` gives it."""
        return cls(sheet.frame.map(plain), sheet.lines, decimal)

    @cached_property
    def names(self) -> list[str]:
        """The columns that hold anything."""
        return [str(name) for name in self.frame.columns if (self.frame[name] != "").any()]

    def column(self, name: str) -> Column:
        """What a column is."""
        if name not in self._read:
            self._read[name] = read_column(self.frame[name], self.decimal, self.lines)
        return self._read[name]

    def values(self, name: str) -> list[str]:
        """The different values of a column, the most frequent first."""
        known = self.frame[name][self.frame[name] != ""]
        return [str(value) for value in known.value_counts(sort=True).index]

    def numbers(self, name: str) -> "pd.Series[float] | None":
        """A column's numbers, NaN where missing; None where it holds something else, or an infinite one."""
        column = self.column(name)
        if column.kind != NUMBER or column.problem:
            return None
        numbers = column.values.astype(float)
        return None if np.isinf(numbers).any() else numbers

    def missing(self, name: str) -> int:
        """Empty cells of a column."""
        return int((self.frame[name] == "").sum())

    def is_row_number(self, name: str) -> bool:
        """Whether a column only counts the rows, as saved row names do."""
        numbers = self.numbers(name)
        return numbers is not None and len(numbers) > 2 and bool((numbers.diff().dropna() == 1).all())

    def is_text(self, name: str) -> bool:
        """Whether a column holds names."""
        return self.column(name).kind == NAMES
