"""Guesses a sheet's follow-up: a column with a number, two that make one, or two dates; and of which endpoint it is."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.columns import DATE
from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.endpoints import ENDPOINT_LABELS
from pathoprog.cohort_tables.guessing.guess import ASKED, LIKELY, SURE, SheetView, words
from pathoprog.cohort_tables.mapping import UNIT_DAYS

ENDPOINTS = {
    "css": "cancer-specific survival",
    "os": "overall survival",
    "": "time to the event",
    "dfs": "disease-free survival",
    "pfs": "progression-free survival",
    "rfs": "recurrence-free survival",
    "efs": "event-free survival",
    "mfs": "metastasis-free survival",
}
"""Endpoints by what they are asked for as, in the order in which they are taken where several are there."""
FAMILIES = {
    "css": re.compile(r"\b(dss|css)\b|\b(cancer|disease|tumou?r) specific"),
    "os": re.compile(r"\bos\b|overall survival|\b(death|dead|died|deceased|vital)\b"),
    "pfs": re.compile(r"\b(pfs|pfi)\b|progress(ion|ed)? free"),
    "mfs": re.compile(r"\b(mfs|dmfs)\b|metastas[ie]s free"),
    "dfs": re.compile(r"\b(dfs|dfi)\b|disease free"),
    "rfs": re.compile(r"\brfs\b|(recurrence|relapse) free"),
    "efs": re.compile(r"\befs\b|event free"),
}
_IN_OUTCOMES = {
    "css": "cancer_specific", "os": "overall", "dfs": "disease_free", "pfs": "progression_free",
    "rfs": "recurrence_free", "efs": "event_free", "mfs": "metastasis_free",
}  # fmt: skip
_INTERVAL = re.compile(r"\b(dfi|pfi|interval)\b")  # deaths of other causes end it, and are no event
_UNIT = {
    "days": re.compile(r"\b(days?|d|tage|dager)\b"),
    "weeks": re.compile(r"\b(weeks?|wks?)\b"),
    "months": re.compile(r"\b(months?|mos?|mths?|monate|måneder)\b"),
    "years": re.compile(r"\b(years?|yrs?|jahre|år)\b"),
}
_TIME = re.compile(r"\b(time|follow ?up|fu|futime|survival|surv|duration|contact|interval)\b")
_NO_TIME = re.compile(
    r"\b(age|birth|born|new|dx|diagnosed|year of|treatment|therapy|recur\w*|relapse|collection|procurement|status)\b"
)
DEATH = re.compile(r"\b(death|dead|died|deceased|død\w*|dod\w*|tod\w*)\b")
_LAST = re.compile(r"\b(last|contact|follow ?up|alive|seen)\b")
LONGEST_YEARS = 50.0  # of a follow-up; beyond it the column is something else
_START = re.compile(r"\b(surg|operat|operasj|opdat|resect|diagnos|inclus|randomi|enrol)\w*|\bop\b")
_END = re.compile(r"\b(last|follow ?up|fu|death|dead|died|død|dod|tod|end|censor|exit|sist|kontakt|contact|letzt)\w*")


@dataclass(frozen=True)
class TimeColumns:
    """Columns with a follow-up: a number in a unit (the first that is not empty), or the dates of start and end."""

    family: str
    value: dict[str, Any]
    certainty: str
    reason: str
    days: "pd.Series[float]"


def family_of(name: str) -> str:
    """Which of `ENDPOINTS` a column's name means; empty where it names none."""
    text = words(name)
    return next((family for family, pattern in FAMILIES.items() if pattern.search(text)), "")


def endpoint_name(family: str, columns: list[str]) -> str:
    """What a mapping and a plan call an endpoint; empty where it is not known which it is.

    Args:
        family: one of `ENDPOINTS`.
        columns: of the sheet that it is read from: TCGA-CDR's DFI and PFI are intervals.
    """
    name = _IN_OUTCOMES.get(family, "")
    interval = f"{name}_interval"
    return interval if interval in ENDPOINT_LABELS and any(_INTERVAL.search(words(one)) for one in columns) else name


def guess_times(view: SheetView) -> list[TimeColumns]:
    """Every follow-up of the sheet, the best of each family first."""
    singles, death, last = [], "", ""
    for name in view.names:
        text = words(name)
        numbers = view.numbers(name)
        if numbers is None or numbers.nunique() < 3 or float(numbers.min()) < 0 or _NO_TIME.search(text):
            continue
        unit = next((unit for unit, pattern in _UNIT.items() if pattern.search(text)), "")
        if float(numbers.max()) * UNIT_DAYS[unit or "days"] > LONGEST_YEARS * YEAR_DAYS:
            continue  # an age in months, or a date as a number: 20140718, or the days of Excel
        if not unit and (numbers.dropna() % 1 == 0).all() and numbers.dropna().between(1900, 2100).all():
            continue  # calendar years
        if DEATH.search(text) and unit:
            death = death or name
        elif _LAST.search(text) and unit == "days" and not re.search(r"\bos\b|survival", text):
            last = last or name
        elif _TIME.search(text) or (unit and (family_of(name) or _UNIT[unit].fullmatch(text))):
            singles.append(_single(view, name, unit, numbers))
    singles.sort(key=lambda one: (SURE, LIKELY, ASKED).index(one.certainty))
    if death and last:
        first, second = view.numbers(death), view.numbers(last)
        assert first is not None and second is not None
        said = f"{death!r} where it is known, else {last!r}: together {int(first.fillna(second).notna().sum())} rows"
        singles.append(TimeColumns("os", {"column": [death, last], "unit": "days"}, LIKELY, said, first.fillna(second)))
    if not singles:
        singles += _dates(view)
    return singles


def _single(view: SheetView, name: str, unit: str, numbers: "pd.Series[float]") -> TimeColumns:
    longest = float(numbers.max())
    said = f"called {name!r}"
    certainty = LIKELY if unit and _UNIT[unit].fullmatch(words(name)) else SURE
    if unit:
        said += f", in {unit}; the longest is {longest:g} ({longest * UNIT_DAYS[unit] / YEAR_DAYS:.1f} years)"
    elif longest > 600:
        unit, certainty = "days", LIKELY
        said += (
            f", without a unit; the longest is {longest:g}: days, since in months it would be {longest / 12:.0f} years"
        )
    else:
        unit, certainty = ("months" if longest > 40 else "years"), ASKED
        said += f", without a unit; the longest is {longest:g}: {unit}? Or days?"
    return TimeColumns(family_of(name), {"column": name, "unit": unit}, certainty, said, numbers * UNIT_DAYS[unit])


def _dates(view: SheetView) -> list[TimeColumns]:
    """Follow-up as the days between two dates."""
    dated = [name for name in view.names if view.column(name).kind == DATE]
    starts = [name for name in dated if _START.search(words(name)) and not _END.search(words(name))]
    ends = [name for name in dated if name not in starts and _END.search(words(name))]
    ends.sort(key=lambda name: not DEATH.search(words(name)))  # the date of death first, where there is one
    if not starts or not ends:
        return []
    form, sure = _date_format(view, [starts[0], *ends])
    start = pd.to_datetime(view.frame[starts[0]], format=form, errors="coerce")
    end = pd.to_datetime(view.frame[ends[0]], format=form, errors="coerce")
    for name in ends[1:]:
        end = end.fillna(pd.to_datetime(view.frame[name], format=form, errors="coerce"))
    value = {"start": starts[0], "end": ends[0] if len(ends) == 1 else ends, "date_format": form}
    said = f"from {starts[0]!r} to {' or, where it is empty, '.join(map(repr, ends))}, dates as {form}"
    if not sure:
        said += ": is the day first, or the month? Are all of them dates?"
    return [TimeColumns("", value, LIKELY if sure else ASKED, said, (end - start).dt.days.astype(float))]


def _date_format(view: SheetView, names: list[str]) -> tuple[str, bool]:
    """The format that most dates have, and whether it fits all of them and no other does."""
    cells = pd.concat([view.frame[name][view.frame[name] != ""] for name in names]).str.slice(0, 10)
    parts = (("%Y", "%m", "%d"), ("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%d", "%m", "%y"), ("%m", "%d", "%y"))
    forms = [sign.join(part) for sign in "-./" for part in parts]
    fits = {form: int(pd.to_datetime(cells, format=form, errors="coerce").notna().sum()) for form in forms}
    best = max(fits, key=lambda form: fits[form])
    return best, fits[best] == len(cells) and sum(fit == fits[best] for fit in fits.values()) == 1
