"""Doubts about the columns of a user's table, before any analysis: what is said in a note, and what is refused."""

import re
from collections import Counter

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.columns import (
    DATE,
    DURATION,
    NAMES,
    NUMBER,
    check_levels,
    one_spelling,
    same_label,
    sentinel_note,
)
from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.cohorts.survival_figures import PER_YEAR
from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, groups_of, level_names
from pathoprog.survival.curves.product_limit import followup_time
from pathoprog.survival.table import CODE, TIME, RawTable, SurvivalTable, order_levels
from pathoprog.text.plain_text import folded

_PATIENT = re.compile(
    "(patient|pasient|pat|paziente|paciente|subject|subj|person|participant|case|study|record|hospital)"
    "(id|identifier|no|nr|num|number|nummer|code|key)|id|patient|pasient|patientname|paziente|paciente|subject|participant|"
    "case|pid|mrn|nhsnumber|fnr|fo?dselsnummer|cpr|personnummer"
)
"""Names of a column of patients; of a name only a to z and digits are looked at."""
CODE_LEVELS = (3, 5)  # so many different whole numbers may be codes
FEW_YEARS, MANY_YEARS = 0.25, 50.0  # a median follow-up outside: the unit may be another


def observed_rows(raw: RawTable, data: SurvivalTable, entry: str, weight: str) -> SurvivalTable:
    """The rows that were under observation: those without entry or weight, or that enter at their end, are counted.

    Args:
        raw: as read.
        data: its usable rows.
        entry: column of delayed entry, or empty.
        weight: column of case weights, or empty.

    Raises:
        InputError: no numbers, a negative entry or weight, or no row is left.
    """
    keep = np.ones(len(data.frame), dtype=bool)
    left_out = dict(data.left_out)
    for key, name in (("entry", entry), ("weight", weight)):
        if not name:
            continue
        column = raw.columns[name]
        if column.kind != NUMBER or column.problem:
            raise InputError(f"{key}={name!r}: {column.problem or 'holds no numbers'}; it must hold numbers")
        values = data.frame[name].to_numpy(dtype=float)
        wrong = np.isinf(values) | (values < 0)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{key}={name!r}: {int(wrong.sum())} values are negative or infinite, first {values[row]:g} in row "
                f"{data.lines[row]} of the file"
                + (
                    "; an entry counts from time zero, 0 where a patient was observed from then"
                    if key == "entry"
                    else ""
                )
            )
        reasons = {f"{key} missing": np.isnan(values)}
        if key == "entry":
            late = (values >= data.frame[TIME].to_numpy(dtype=float)) & (values > 0)
            reasons["entry at or after the end of follow-up"] = late
        else:
            reasons["weight 0"] = values == 0
        for reason, rows in reasons.items():
            if (rows & keep).any():
                left_out[reason] = int((rows & keep).sum())
            keep = keep & ~rows
    if keep.all():
        return data
    if not keep.any():
        raise InputError("no row is left that has an entry before its end and a weight")
    lines = [line for line, there in zip(data.lines, keep, strict=True) if there]
    return SurvivalTable(data.frame.loc[keep].reset_index(drop=True), data.rows, left_out, data.notes, lines)


def several_rows(data: SurvivalTable, named: str) -> bool:
    """True where the column of patients that was named holds one twice: rows are then summed by patient.

    Raises:
        InputError: then a row has no patient.
    """
    if not named:
        return False
    label = level_names(data.frame[named])
    present = label[label != ""]
    if np.unique(present).size == present.size:
        return False
    if present.size < label.size:
        raise InputError(
            f"patient={named!r}: {label.size - present.size} rows have no patient; where patients have several rows, "
            "each row must name its own"
        )
    return True


def patient_notes(raw: RawTable, data: SurvivalTable, named: str) -> list[str]:
    """Rows are patients: several of one are refused, unless `named` takes them together; ids that repeat are said.

    Raises:
        InputError: with the number of patients and rows, and the first.
    """
    frame = data.frame
    plain = {name: re.sub(r"[^a-z0-9]", "", folded(name)) for name in raw.frame.columns}
    column = named or next((name for name, text in plain.items() if text == "patientid"), "")
    if column:
        label = level_names(frame[column])
        present, counts = np.unique(label[label != ""], return_counts=True)
        if named and (counts > 1).any():
            return [
                f"{column}: {len(frame)} rows of {present.size} patients; standard errors are by patient (robust), and "
                "what takes no such rows is refused by name"
            ]
        if (counts > 1).any():
            first = str(present[counts > 1][0])
            rows = [str(line) for line, text in zip(data.lines, label, strict=True) if text == first]
            raise InputError(
                f"{column}: {int((counts > 1).sum())} of {present.size} patients have several rows "
                f"({int(counts[counts > 1].sum())} of {len(frame)} rows; first {first!r} in rows {', '.join(rows[:5])}"
                f"); keep one row a patient, or patient={column} takes them together with robust standard errors"
            )
        spelled = Counter(folded(str(text)) for text in present)
        alike = [repr(str(text)) for text in present if spelled[folded(str(text))] > 1]
        if alike:
            raise InputError(
                f"{column}: {', '.join(alike[:4])} differ by upper and lower case or spaces only: one patient, or two? "
                "Mend the ids"
            )
        without = int((label == "").sum())
        return [f"{column}: {without} rows have no patient id"] if without else []
    for name, text in plain.items():
        if _PATIENT.fullmatch(text):
            label = level_names(frame[name])
            different = int(np.unique(label[label != ""]).size)
            if 0 < different < int((label != "").sum()):
                return [
                    f"the column {name!r} holds {different} different values in {len(frame)} rows, and every row is "
                    f"counted as a patient; patient={name} takes several rows of one patient together"
                ]
    return []


def check_numbers(raw: RawTable, data: SurvivalTable, names: list[str], risks: list[str]) -> None:
    """Scores and risks are numbers, risks from 0 to 1.

    Raises:
        InputError: names the column, the first wrong value and its line.
    """
    for name in names:
        key, column = "risks" if name in risks else "score", raw.columns[name]
        if column.kind != NUMBER or column.problem:
            texts = [text for text in level_names(raw.frame[name]) if text]
            what = column.problem or f"holds no numbers, first {str(texts[0])!r}"
            raise InputError(f"{key}={name!r}: {what}; it must hold numbers, empty where unknown")
        values = data.frame[name].to_numpy(dtype=float)
        wrong = np.isinf(values) | ((values < 0) | (values > 1) if name in risks else False)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            rule = "a risk is a share from 0 to 1, not percent" if name in risks else "it must hold finite numbers"
            raise InputError(
                f"{key}={name!r}: {int(wrong.sum())} values cannot be used, first {values[row]:g} in row "
                f"{data.lines[row]} of the file; {rule}"
            )


def covariate_notes(
    raw: RawTable, data: SurvivalTable, lists: dict[str, list[str]], group: str, settings: SurvivalConfig
) -> list[str]:
    """Columns of models, strata and subgroups: numbers or categories, spellings made one; doubts said or refused.

    Raises:
        InputError: dates, texts between numbers, a category with too many levels.
    """
    frame, notes = data.frame, []
    events = int((frame[CODE] == EVENT).sum())
    models = [*lists["covariates"], *lists["subgroups"], *lists["added"]]
    strata = [*lists["strata"], *([settings.cohort] if settings.cohort else [])]
    for name in dict.fromkeys([*models, *strata]):
        if name == group:
            continue
        column, forced = raw.columns[name], name in lists["categorical"] or name in strata
        if column.kind in (DATE, DURATION):
            what = column.problem or "holds durations"
            raise InputError(
                f"{name}: {what}; a covariate is a number or a category: turn it into years, or leave it out"
            )
        if column.problem and not (forced and column.kind == NAMES):
            remedy = "" if column.kind != NAMES else f"; categorical={name} makes every value a level"
            raise InputError(f"{name}: {column.problem}{remedy}")
        if column.note:
            notes.append(f"{name}: {column.note}")
        named = any(pair.startswith(f"{name}:") for pair in settings.references)
        if column.kind == NUMBER and not forced and not named:
            values = frame[name].to_numpy(dtype=float)
            notes.append(sentinel_note(name, values))
            notes.append(codes_note(name, values))
            continue
        if column.kind == NAMES:
            frame[name], joined = one_spelling(frame[name])
            notes.append(f"{name}: {joined}" if joined else "")
        if name in models:
            label = level_names(frame[name])
            check_levels(name, int(np.unique(label[label != ""]).size), int((label != "").sum()), events)
    return [note for note in notes if note]


def codes_note(name: str, values: FloatArray) -> str:
    """A note where a few whole numbers are taken as a number and may be codes; else empty."""
    known = np.unique(values[np.isfinite(values)])
    if CODE_LEVELS[0] <= known.size <= CODE_LEVELS[1] and (known % 1 == 0).all():
        return (
            f"{name}: the numbers {', '.join(f'{value:g}' for value in known)} are taken as a number (one ratio for "
            f"each step of 1); categorical={name} makes levels of them"
        )
    return ""


def order_group(
    raw: RawTable, data: SurvivalTable, group: str, settings: SurvivalConfig
) -> tuple[list[str], bool, list[str]]:
    """Make the group a category in the order of its levels.

    Returns:
        Its levels, whether their order says which is worse, and notes.

    Raises:
        InputError: no value, dates, too many levels, or a level that does not occur.
    """
    frame, column, notes = data.frame, raw.columns[group], []
    if column.kind in (DATE, DURATION) or (column.problem and column.kind != NAMES):
        raise InputError(f"group={group!r}: {column.problem or 'holds durations'}")
    label, joined = one_spelling(pd.Series(level_names(frame[group])).replace("", None))
    known = label.notna().to_numpy()
    if not known.any():
        raise InputError(f"group={group!r}: no value in any usable row")
    natural, place = groups_of(label[known], int(known.sum()))
    check_levels(f"group={group!r}", len(natural), int(known.sum()), int((frame[CODE][known] == EVENT).sum()))
    reference = same_label(settings.reference, natural)
    levels, ordered = order_levels(natural, reference, [same_label(level, natural) for level in settings.levels])
    frame[group] = pd.Categorical(label.where(known), levels)  # its order is that of every table
    if joined:
        notes.append(f"group {group}: {joined}")
    unused = [level for level in settings.levels if same_label(level, natural) not in natural]
    if unused:
        notes.append(f"group {group}: no usable row has {', '.join(map(repr, unused))}, which levels=… lists")
    missing = int((~known).sum())
    if missing:
        notes.append(f"group {group}: {missing} of {len(frame)} rows have no value, and are in no group")
    alone = [level for k, level in enumerate(natural) if int((place == k).sum()) == 1]
    if alone:
        notes.append(f"group {group}: one patient only in {', '.join(map(repr, alone))}")
    if len(levels) == 1:
        notes.append(f"group {group}: one level only ({levels[0]!r}): there is nothing to compare")
    elif not ordered:
        first = "the first by alphabet" if not reference else "as given"
        notes.append(
            f"group {group}: nothing says which of {', '.join(map(repr, levels))} is worse, so no trend, c-index or "
            f"predictive values; give levels=… from better to worse (ratios compare with {levels[0]!r}, {first})"
        )
    elif not settings.levels and column.kind == NUMBER:
        notes.append(
            f"group {group}: numbers in order of size, a larger one taken as worse (levels=… for another order)"
        )
    return levels, ordered, notes


def followup_notes(settings: SurvivalConfig, time: FloatArray, event: IntArray, horizons: list[float]) -> list[str]:
    """Notes on horizons after the last follow-up, and on a follow-up that suits another unit."""
    notes = []
    late = [f"{horizon:g}" for horizon in horizons if horizon > time.max()]
    if late:
        notes.append(
            f"horizon {', '.join(late)} lies after the last follow-up ({time.max():g}): values there are not estimable"
        )
    first = float(time[event == EVENT].min()) if (event == EVENT).any() else 0.0
    early = [f"{horizon:g}" for horizon in horizons if horizon < first]
    if early:
        notes.append(
            f"horizon {', '.join(early)} lies before the first event ({first:g}): nothing has happened by then; a "
            f"horizon is in the unit of the follow-up{f' ({settings.unit})' if settings.unit else ''}"
        )
    if settings.unit:
        median = followup_time(time, event)[0]
        median = float(np.median(time)) if np.isnan(median) else median
        years = median / PER_YEAR[settings.unit]
        if years < FEW_YEARS or years > MANY_YEARS:
            notes.append(
                f"the median follow-up is {years:.2g} years with unit={settings.unit}: is that the right unit?"
            )
    return notes
