"""`pathoprog init`: from a clinical sheet a mapping, a plan and an experiment; guesses are shown, the rest is asked."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from pathoprog.cohort_tables.clinical import Mapped, apply_mapping
from pathoprog.cohort_tables.guessing.first_mapping import (
    MARK,
    FirstMapping,
    flow,
    guess_mapping,
    mapping_text,
    with_slides,
)
from pathoprog.cohort_tables.guessing.guess import ASKED, Guess
from pathoprog.cohort_tables.guessing.slide_files import find_files, guess_files, join_files
from pathoprog.cohort_tables.mapping import read_clinical, read_mapping
from pathoprog.cohort_tables.sheets import Sheet, read_sheet_file
from pathoprog.commands.first_files import FirstPlan, experiment_text, plan_text
from pathoprog.commands.init_config import InitConfig
from pathoprog.errors import InputError
from pathoprog.slides.finding import slides_in
from pathoprog.system.console import say, warn
from pathoprog.system.csv_files import write_frame
from pathoprog.system.files import write_text
from pathoprog.text.wording import count

MAPPING, PLAN, EXPERIMENT, JOINED = "mapping.yaml", "plan.yaml", "experiment.yaml", "sheet.csv"
SHOWN = 60  # characters of a guess's value in the table that is printed


@dataclass(frozen=True)
class FirstFiles:
    """What `init` wrote.

    Attributes:
        folder: of the files.
        table: the sheet that the mapping reads: the given one, or one with the slides that were found beside its rows.
        first: every guess.
        mapped: what the mapping makes of the sheet; None where something is still open.
        asked: lines that are marked, over all three files.
    """

    folder: Path
    table: Path
    first: FirstMapping
    mapped: Mapped | None
    asked: int


def run(settings: InitConfig) -> int:
    """Write the files, show every guess, say what to do next."""
    made = write_first_files(settings)
    show(made.first)
    if made.mapped is None:
        named = ", ".join(guess.key for guess in made.first.still_open)
        say(f"\nNothing could be guessed for {named}: answer that in {made.folder / MAPPING} first.")
    else:
        counts = made.mapped.counts
        say(
            f"\nThe mapping takes {count(counts['patients_accepted'], 'patient')} of {counts['patients']} into the"
            f" cohort; {sum(counts['excluded'].values())} are excluded, {counts['patients_rejected']} rejected."
        )
    marked = f"{made.asked} lines are marked {MARK}" if made.asked != 1 else f"one line is marked {MARK}"
    say(f"Read {made.folder}/{MAPPING}, {PLAN} and {EXPERIMENT} through: {marked}. Then:")
    for call in next_calls(settings, made.table):
        say(f"  {call}")
    return 0


def write_first_files(settings: InitConfig) -> FirstFiles:
    """Guess, try the mapping on the sheet, and write the three files.

    Raises:
        InputError: a file is there already and `overwrite` is not set; the sheet cannot be read.
        ConfigError: the sheet has no such endpoint.
    """
    folder, table = Path(settings.folder), Path(settings.table)
    refuse_to_overwrite(settings)
    sheet = read_sheet_file(table, settings.sheet, settings.encoding, say="{}={}")
    for note in sheet.notes:
        warn(note)
    how = (settings.role, settings.endpoint, settings.decimal)
    first = guess_mapping(sheet, table.stem, *how, settings.encoding, settings.sheet)
    joined: pd.DataFrame | None = None
    if settings.slides:
        first, joined = find_slides(first, sheet, Path(settings.slides))
    folder.mkdir(parents=True, exist_ok=True)
    if joined is not None:
        table = folder / JOINED
        write_frame(table, joined)
        first = without(first, "sheet", "encoding")
    text = mapping_text(first, table, next_calls(settings, table)[:1])
    write_text(folder / MAPPING, text)
    mapped = None if first.still_open else try_mapping(folder / MAPPING, table)
    plan = first_plan(first, mapped, Path(settings.table).stem)
    texts = {
        MAPPING: text,
        PLAN: plan_text(plan),
        EXPERIMENT: experiment_text(plan, folder, first.of("outline_path") is not None),
    }
    for name in (PLAN, EXPERIMENT):
        write_text(folder / name, texts[name])
    asked = sum(line.strip().startswith(f"# {MARK}: ") for written in texts.values() for line in written.splitlines())
    return FirstFiles(folder, table, first, mapped, asked)


def refuse_to_overwrite(settings: InitConfig) -> None:
    """Never write over a user's work unasked.

    Raises:
        InputError: names the files that are there.
    """
    names = [MAPPING, PLAN, EXPERIMENT, *([JOINED] if settings.slides else [])]
    there = [name for name in names if (Path(settings.folder) / name).exists()]
    if there and not settings.overwrite:
        raise InputError(
            f"{settings.folder}: {', '.join(there)} {'is' if len(there) == 1 else 'are'} there already; give another"
            " folder, or overwrite=true"
        )


def find_slides(first: FirstMapping, sheet: Sheet, folder: Path) -> tuple[FirstMapping, pd.DataFrame | None]:
    """The mapping with the slides of a folder; and where names do not say it all, the sheet with a row a slide.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (slides=…)")
    guess = first.of("slide_id")
    assert guess is not None
    column = guess.value["column"] if isinstance(guess.value, dict) else guess.value
    if guess.is_open:
        return first, None
    if isinstance(guess.value, dict):  # the sheet's names have an ending, and its paths follow from them
        paths = Guess("slide_path", {"template": f"{folder.resolve()}/{{{column}}}"}, "likely", f"in {folder}")
        return with_slides(first, [guess, paths]), None
    frame = sheet.frame.map(str)
    found = find_files((str(value) for value in frame[column]), slides_in(folder))
    if found.others:
        warn(f"{count(len(found.others), 'slide')} of {folder} belong to no row, first {found.others[0].name}")
    if not found.by_id:
        warn(f"{folder}: no slide's name begins with a value of {column!r}, such as {frame[column].iloc[0]!r}")
        return first, None
    if exact := guess_files(column, found, folder):
        return with_slides(first, exact), None
    kept = without(first, "one_row_of")
    if first.of("one_row_of") is not None:  # a row a slide from here on
        frame = frame[~frame[column].duplicated()]
    joined, guesses = join_files(frame, column, found)
    return with_slides(kept, guesses), joined


def without(first: FirstMapping, *keys: str) -> FirstMapping:
    """The same guesses but for some."""
    return replace(first, guesses=tuple(guess for guess in first.guesses if guess.key not in keys))


def try_mapping(path: Path, table: Path) -> Mapped:
    """What the written mapping makes of the sheet.

    Raises:
        InputError: it cannot be read with it.
    """
    mapping = read_mapping(path)
    sheet = read_clinical(table, mapping)
    return apply_mapping(mapping, sheet.frame, sheet.lines)


def first_plan(first: FirstMapping, mapped: Mapped | None, stem: str) -> FirstPlan:
    """What plan and experiment take from the guesses."""
    zero, cohort, event = first.of("time_zero"), first.of("cohort"), first.of("event")
    rules = event.value if event is not None else []
    name = cohort.value.get("value", stem) if cohort is not None and isinstance(cohort.value, dict) else stem
    return FirstPlan(
        rows=None if mapped is None or mapped.rows.empty else mapped.rows,
        endpoint=first.called,
        endpoints=first.further,
        time_zero="start of follow-up" if zero is None else str(zero.value),
        name=name,
        candidates=first.covariates,
        competing=any(rule["is"] == "competing" for rule in rules),
        asked=not first.endpoint,
    )


def show(first: FirstMapping) -> None:
    """Print every guess: our key, how sure it is, the sheet's part, and why."""
    width = max(len(guess.key) for guess in first.guesses)
    for guess in first.guesses:
        value = flow(guess.value) if not isinstance(guess.value, str) else guess.value
        value = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
        say(f"  {guess.key:<{width}}  {guess.certainty:<6}  {value}")
        say(f"  {'':<{width}}  {'':<6}  {guess.reason}")
    asked = sum(guess.certainty == ASKED for guess in first.guesses)
    sure = sum(guess.certainty == "sure" for guess in first.guesses)
    say(f"  {len(first.guesses)} guesses: {sure} sure, {len(first.guesses) - sure - asked} likely, {asked} asked")


def next_calls(settings: InitConfig, table: Path) -> list[str]:
    """The commands that take the files, in order."""
    folder = Path(settings.folder)
    calls = [
        ["cohort", str(table), f"mapping={folder / MAPPING}", f"out={folder / 'cohort'}"],
        ["train_ensemble", f"experiment={folder / EXPERIMENT}", f"out={folder / 'candidates'}"],
        ["ensemble", f"candidates={folder / 'candidates'}", f"out={folder / 'bundle'}"],
        [
            "score",
            f"cohort={folder / 'cohort' / 'cohort.csv'}",
            f"ensemble={folder / 'bundle'}",
            f"out={folder / 'scores'}",
        ],
        [
            *("validate", f"plan={folder / PLAN}", f"cohort={folder / 'cohort' / 'cohort.csv'}"),
            *(f"outcomes={folder / 'cohort' / 'outcomes.csv'}", f"scores={folder / 'scores' / 'patients.csv'}"),
            *(f"results={folder / 'scores' / 'results.csv'}", f"ensemble={folder / 'bundle'}"),
            f"out={folder / 'validation'}",
        ],
    ]
    return [f"pathoprog {shlex.join(call)}" for call in calls]
