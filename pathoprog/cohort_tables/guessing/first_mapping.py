"""A first mapping of a clinical sheet, put together from all guesses; its text has each guess's reason above it."""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pathoprog.cohort_tables.columns import DECIMAL_COMMAS
from pathoprog.cohort_tables.guessing.columns import (
    guess_cohort,
    guess_covariates,
    guess_of_slide,
    guess_patient,
    guess_role,
    guess_rows,
    guess_slides,
)
from pathoprog.cohort_tables.guessing.followup import ENDPOINTS
from pathoprog.cohort_tables.guessing.guess import ASKED, LIKELY, SURE, Guess, SheetView
from pathoprog.cohort_tables.guessing.outcome import guess_outcome
from pathoprog.cohort_tables.sheets import Sheet
from pathoprog.errors import ConfigError
from pathoprog.slides.identity import SUFFIXES

MARK = "ASK"
"""Begins the comment above a line that whoever edits the file must look at."""
WIDTH = 112


@dataclass(frozen=True)
class FirstMapping:
    """What was guessed of a sheet.

    Attributes:
        guesses: in the order of the mapping file.
        endpoint: one of `ENDPOINTS`.
        called: the endpoint in words.
        others: further endpoints that the sheet has.
        unused: columns of the sheet that nothing reads.
        covariates: the cohort's columns that a model may take.
    """

    guesses: tuple[Guess, ...]
    endpoint: str
    called: str
    others: tuple[str, ...]
    unused: tuple[str, ...]
    covariates: tuple[str, ...]

    def of(self, key: str) -> Guess | None:
        """The guess of one key."""
        return next((guess for guess in self.guesses if guess.key == key), None)

    @property
    def further(self) -> list[str]:
        """Further endpoints, by the names that mapping and plan give them."""
        return [guess.key for guess in self.guesses if guess.section == "endpoints"]

    @property
    def asked(self) -> list[Guess]:
        """What must be looked at."""
        return [guess for guess in self.guesses if guess.certainty == ASKED]

    @property
    def still_open(self) -> list[Guess]:
        """What has no answer at all; the mapping is refused until it has."""
        return [guess for guess in self.guesses if guess.is_open]


def guess_mapping(
    sheet: Sheet,
    stem: str,
    role: str = "external",
    endpoint: str = "",
    decimal: str = "",
    encoding: str = "",
    name: str = "",
) -> FirstMapping:
    """Guess a whole mapping.

    Args:
        sheet: as `read_sheet_file` gives it.
        stem: the cohort's name, where no column has one.
        role: of all slides, where no column says it.
        endpoint: one of `ENDPOINTS`, if one is wanted; default: cancer-specific before overall survival before others.
        decimal: the decimal sign, if it was said.
        encoding: the sheet's, if it was said.
        name: the workbook's sheet, if it was said.

    Raises:
        ConfigError: the sheet has no such endpoint.
    """
    view = SheetView.of(sheet, decimal)
    patient = guess_patient(view)
    outcome = guess_outcome(view, endpoint)
    if rows := guess_rows(view, patient, outcome.days):
        if rows.key == "rows":
            (column, values), *_ = rows.value.items()
            kept = view.frame[column].isin(values)
        else:
            kept = ~view.frame[rows.value].duplicated()
        lines = [line for line, taken in zip(view.lines, kept, strict=True) if taken]
        view = SheetView(view.frame[kept].reset_index(drop=True), lines, decimal)
        outcome = guess_outcome(view, endpoint)
    if endpoint and any(guess.is_open for guess in outcome.guesses):
        raise ConfigError(f"endpoint={endpoint}: the sheet has none that is called so; leave endpoint out")
    slides = guess_slides(view, patient, SUFFIXES)
    cohort, of_role = guess_cohort(view, stem), guess_role(view, role)
    read = [str(guess.value) for guess in (patient, *slides)] + outcome.columns
    read += [_column(guess) for guess in (cohort, of_role)]
    of_slide = guess_of_slide(view, read)
    covariates = guess_covariates(view, [*read, *map(_column, of_slide)])
    given = {"sheet": name, "encoding": encoding, "decimal": decimal}
    told = [Guess(key, value, SURE, "as given", "") for key, value in given.items() if value]
    commas = [one for one in view.names if view.column(one).note == DECIMAL_COMMAS]
    if commas and not decimal:
        told.append(Guess("decimal", ",", LIKELY, f"decimal commas in {', '.join(map(repr, commas))}", ""))
    zero = [guess for guess in outcome.guesses if guess.key == "time_zero"]
    rest = [guess for guess in outcome.guesses if guess.key != "time_zero"]
    guesses = [
        *zero,
        *told,
        *([rows] if rows else []),
        patient,
        *slides,
        cohort,
        of_role,
        *of_slide,
        *covariates,
        *rest,
    ]
    used = {name for guess in guesses for name in _names_in(guess.value)}
    models = [guess.key for guess in covariates if guess.key not in ("organ", "specimen", "neoadjuvant")]
    return FirstMapping(
        guesses=tuple(guesses),
        endpoint=outcome.endpoint,
        called=outcome.called,
        others=tuple(outcome.others),
        unused=tuple(one for one in view.names if one not in used and not view.is_row_number(one)),
        covariates=tuple(models),
    )


def _column(guess: Guess) -> str:
    value = guess.value
    return str(value.get("column", "")) if isinstance(value, dict) else str(value)


def _names_in(value: Any) -> set[str]:
    """Every text in a guess's value: the columns among them."""
    if isinstance(value, dict):
        template = str(value.get("template", ""))
        inside = {part.partition("}")[0] for part in template.split("{")[1:]}
        return inside | {name for key, item in value.items() for name in (str(key), *_names_in(item))}
    return {name for item in value for name in _names_in(item)} if isinstance(value, list) else {str(value)}


def with_slides(first: FirstMapping, slides: list[Guess]) -> FirstMapping:
    """The same mapping with other guesses of the slides."""
    by_key = {guess.key: guess for guess in slides}
    return replace(first, guesses=tuple(by_key.get(guess.key, guess) for guess in first.guesses))


def mapping_text(first: FirstMapping, table: Path, calls: list[str]) -> str:
    """The mapping file: each entry with its certainty and reason above it, what is asked marked with `MARK`.

    Args:
        first: the guesses.
        table: the sheet, named at the top.
        calls: commands that take the file, for its head.
    """
    asked = len(first.asked)
    head = [
        f"How {table.name} becomes a cohort; `pathoprog init` guessed it from the sheet's columns, so read it through.",
        f"Above each line stands how sure it is, and why. {_lines(asked)} {MARK}, and hold what they do for now.",
    ]
    lines = [f"# {line}" for line in head] + [f"#   {call}" for call in calls]
    section = ""
    for guess in first.guesses:
        indent = "  " if guess.section else ""
        if guess.section != section:
            lines += [""] + ([f"{guess.section}:"] if guess.section else [])
            section = guess.section
        lines += comment(guess, indent)
        if section == "endpoints":
            lines += [f"{indent}{guess.key}:"]
            lines += [line for key, value in guess.value.items() for line in entry(key, value, 2 * indent)]
        else:
            lines += entry(guess.key, guess.value, indent)
    lines += ["", *_unused(first)]
    return "\n".join(lines).rstrip() + "\n"


def _lines(asked: int) -> str:
    return "No line is marked" if not asked else f"{asked} lines are marked" if asked > 1 else "One line is marked"


def comment(guess: Guess, indent: str = "") -> list[str]:
    """The comment above an entry."""
    mark = f"{MARK}: " if guess.certainty == ASKED else f"{guess.certainty}: "
    return textwrap.wrap(
        mark + guess.reason,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def entry(key: str, value: Any, indent: str = "") -> list[str]:
    """One key with its value: lists of rules line by line, all else on one line."""
    if isinstance(value, list):
        return [f"{indent}{key}:", *(f"{indent}  - {flow(item)}" for item in value)]
    return [f"{indent}{key}: {flow(value)}"]


class _Unaliased(yaml.SafeDumper):
    """Writes a list that occurs twice twice, and no anchor for it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def flow(value: Any) -> str:
    """A value in YAML's short form, on one line."""
    how = {"default_flow_style": True, "width": 10**9, "allow_unicode": True, "sort_keys": False}
    text: str = yaml.dump([value], Dumper=_Unaliased, **how)  # type: ignore[call-overload]
    return text.strip()[1:-1]


def _unused(first: FirstMapping) -> list[str]:
    lines = []
    if first.others:
        said = ", ".join(f"{ENDPOINTS[name]} (endpoint={name})" for name in first.others)
        lines += textwrap.wrap(f"The sheet also has: {said}.", WIDTH, initial_indent="# ", subsequent_indent="#   ")
    if first.unused:
        said = f"Columns that nothing here reads: {', '.join(first.unused)}."
        lines += textwrap.wrap(said, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
    return lines
