"""Guesses which columns of a clinical sheet are the cohort's: ids, roles, sites and covariates."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.clinical import DEVELOPMENT
from pathoprog.cohort_tables.cohort import NUMERIC_RANGE
from pathoprog.cohort_tables.guessing import field_names
from pathoprog.cohort_tables.guessing.field_names import FieldNames
from pathoprog.cohort_tables.guessing.guess import ASKED, LIKELY, SURE, Guess, SheetView, words
from pathoprog.cohort_tables.mapping import OPEN
from pathoprog.cohort_tables.roles import EVALUATION_ROLES, ROLES
from pathoprog.text.plain_text import folded
from pathoprog.text.wording import count

SEXES = {
    **dict.fromkeys(("m", "male", "man", "mann", "männlich", "homme", "hombre"), "male"),
    **dict.fromkeys(("f", "female", "woman", "kvinne", "kvinna", "k", "w", "weiblich", "femme", "mujer"), "female"),
}  # fmt: skip
ROLE_WORDS = {
    **{role: (role, True) for role in (*ROLES, DEVELOPMENT)},
    **dict.fromkeys(("train", "trn"), ("training", True)),
    **dict.fromkeys(("dev", "development set", "discovery", "derivation"), (DEVELOPMENT, True)),
    **dict.fromkeys(("tune", "tuning set"), ("tuning", True)),
    **dict.fromkeys(("external validation", "independent"), ("external", True)),
    **dict.fromkeys(("val", "valid", "validation"), ("tuning", False)),  # where nothing else is tested on: external
    "internal validation": ("tuning", False),
}
"""Words for roles, and whether they mean nothing else."""
YES_NO = {
    **dict.fromkeys(("yes", "y", "true", "1", "ja", "oui"), "yes"),
    **dict.fromkeys(("no", "n", "false", "0", "nei", "nein", "non", "none"), "no"),
}
_STAGE = re.compile(r"(?:stage|stadium)?\s*(iv|i{1,3}|[1-4])\s*[a-d]?[0-9]?")
_ROMAN = {"1": "I", "2": "II", "3": "III", "4": "IV"}
_T, _N, _M = (
    re.compile(rf"[cyp]*{letter}?\s*(x|{most}).*")
    for letter, most in (("t", "is|a|[0-4]"), ("n", "[0-3]"), ("m", "[01]"))
)
_TCGA_PATIENT = re.compile(r"TCGA-[0-9A-Z]{2}-[0-9A-Z]{4}")
READABLE = 0.8  # share of the values that must be what the name says


def named(view: SheetView, names: FieldNames, taken: Iterable[str] = ()) -> list[tuple[str, bool]]:
    """Columns called so, the best name first, and whether the name means nothing else."""
    found = []
    for place, name in enumerate(view.names):
        rank = names.rank(words(name))
        if rank is not None and name not in set(taken):
            found.append((rank[0], place, name, rank[1]))
    return [(name, sure) for _, _, name, sure in sorted(found)]


def guess_patient(view: SheetView) -> Guess:
    """The column with the patient's id: by its name; else TCGA's barcodes; else a text that differs in each row."""
    rows = len(view.frame)
    for name, sure in named(view, field_names.PATIENT):
        different = len(view.values(name))
        if view.is_row_number(name) and not sure:
            continue
        if view.missing(name) > rows * (1 - READABLE) or different < max(2, rows / 20):
            continue
        gaps = f", {count(view.missing(name), 'cell')} empty" if view.missing(name) else ""
        said = f"called {name!r}; {different} different values in {rows} rows{gaps}"
        return Guess("patient_id", name, SURE if sure else LIKELY, said)
    for name in view.names:
        values = view.values(name)
        if values and all(_TCGA_PATIENT.fullmatch(value) for value in values):
            return Guess("patient_id", name, LIKELY, "all its values are TCGA's patient barcodes")
    each = [name for name in view.names if view.is_text(name) and len(view.values(name)) == rows]
    if len(each) == 1:
        said = f"no column is called after the patient; {each[0]!r} differs in each row: is each row a patient?"
        return Guess("patient_id", each[0], ASKED, said)
    return Guess("patient_id", OPEN, ASKED, "no column is called after the patient: which one holds the patient's id?")


def guess_slides(view: SheetView, patient: Guess, suffixes: tuple[str, ...]) -> list[Guess]:
    """The slide's id and its file.

    Args:
        view: the sheet.
        patient: what is guessed of the patient's id.
        suffixes: endings of slide files, lower case.
    """
    rows = len(view.frame)
    slide = ""
    for name, sure in named(view, field_names.SLIDE):
        values = view.values(name)
        if len(values) < rows * READABLE:
            continue
        slide, certainty = name, SURE if sure else LIKELY
        endings = sorted({ending for value in values if (ending := _ending(value, suffixes))})
        bare = {"column": slide, "without": endings if len(endings) > 1 else endings[0]} if endings else slide
        said = f"called {slide!r}; {len(values)} different values in {rows} rows"
        more = f", without the ending {' or '.join(endings)}" if endings else ""
        guesses = [Guess("slide_id", bare, certainty, said + more)]
        break
    else:
        same = patient.value if not patient.is_open else OPEN
        said = "the sheet names no slides: taken as one a patient, called after the patient; which column names them?"
        guesses = [Guess("slide_id", same, ASKED, said)]
        slide, endings = same, []
    for name, sure in named(view, field_names.SLIDE_PATH):
        said = f"called {name!r}; first {view.values(name)[0]!r}"
        return [*guesses, Guess("slide_path", name, SURE if sure else LIKELY, said)]
    if slide == OPEN:
        return [*guesses, Guess("slide_path", OPEN, ASKED, "where are the slides' files?")]
    if endings:
        said = "the slides' names have a file's ending; relative to the sheet's folder, or slides=FOLDER of `cohort`"
        return [*guesses, Guess("slide_path", slide, LIKELY, said)]
    said = "the sheet says no paths: where are the files, and which ending have they?"
    return [*guesses, Guess("slide_path", {"template": f"slides/{{{slide}}}.svs"}, ASKED, said)]


def _ending(value: str, suffixes: tuple[str, ...]) -> str:
    longest = sorted(suffixes, key=len, reverse=True)
    found = next((suffix for suffix in longest if value.casefold().endswith(suffix)), "")
    return value[len(value) - len(found) :] if found else ""


def guess_cohort(view: SheetView, stem: str) -> Guess:
    """The cohort's name: a column of a few texts, else after the file."""
    for name, sure in named(view, field_names.COHORT):
        values = view.values(name)
        if len(values) <= max(1, len(view.frame) // 10) and view.is_text(name) and not view.missing(name):
            said = f"called {name!r}; {count(len(values), 'value')}, such as {values[0]!r}"
            return Guess("cohort", name, SURE if sure else LIKELY, said)
    return Guess(
        "cohort", {"value": stem}, ASKED, "no column names it: called after the file; its name in tables and figures"
    )


def guess_role(view: SheetView, default: str) -> Guess:
    """What the slides are for: a column whose values are roles, else one for all."""
    for name, _ in named(view, field_names.ROLE):
        values = view.values(name)
        known = {value: ROLE_WORDS.get(folded(value)) for value in values}
        if not values or None in known.values():
            continue
        roles = {value: role for value, found in known.items() if found for role in [found]}
        tested = any(role in EVALUATION_ROLES for role, _ in roles.values())
        codes = {
            value: "external" if role == "tuning" and not (sure or tested) else role
            for value, (role, sure) in roles.items()
        }
        unclear = [value for value, (_, sure) in roles.items() if not sure]
        said = f"called {name!r}; its values are {', '.join(map(repr, values))}"
        if unclear:
            said += f": is {unclear[0]!r} what members are chosen on (tuning), or what is validated on (external)?"
        value: Any = name if all(key == to for key, to in codes.items()) else {"column": name, "codes": codes}
        return Guess("role", value, ASKED if unclear else SURE, said)
    return Guess(
        "role",
        {"value": default},
        ASKED,
        "no column says it: external, to validate a locked ensemble on; development, to train on (its tuning part then"
        " is those without a distinct outcome)",
    )


def guess_of_slide(view: SheetView, taken: Iterable[str]) -> list[Guess]:
    """Sites, scanners, blocks, outlines."""
    guesses = []
    for key, names in field_names.OF_SLIDE.items():
        for name, sure in named(view, names, taken):
            said = f"called {name!r}; {count(len(view.values(name)), 'value')}"
            guesses.append(Guess(key, name, SURE if sure else LIKELY, said))
            break
    return guesses


def guess_covariates(view: SheetView, taken: Iterable[str]) -> list[Guess]:
    """Age, sex, stage and what else models of survival take; a column is taken once."""
    used = set(taken)
    guesses: list[Guess] = []
    for key, names, read in COVARIATES:
        candidates = named(view, names, used)
        for name, sure in candidates:
            if guess := read(view, key, name, sure):
                others = [other for other, _ in candidates if other != name]
                more = f"; also there: {', '.join(map(repr, others))}" if others else ""
                guesses.append(Guess(key, guess.value, guess.certainty, guess.reason + more))
                used.add(name)
                break
    return guesses


def _age(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
    numbers = view.numbers(name)
    if numbers is None:
        return None
    low, middle, high = (float(numbers.quantile(share)) for share in (0, 0.5, 1))
    said = f"called {name!r}; numbers from {low:g} to {high:g}"
    unit = "days" if middle > 3000 else "months" if middle > 180 else "years"
    certainty = SURE if sure else LIKELY
    if unit != "years":
        return Guess(key, {"column": name, "unit": unit, "to_unit": "years"}, certainty, f"{said}: {unit}")
    if high > NUMERIC_RANGE[1]:
        said += f"; those over {NUMERIC_RANGE[1]:g} will be rejected: missing: [{high:g}], if it is a code"
        return Guess(key, name, ASKED, said)
    return Guess(key, name, certainty, said)


def _sex(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
    values = view.values(name)
    if all(folded(value) in SEXES for value in values):
        codes = {value: SEXES[folded(value)] for value in values}
        value: Any = name if all(key == to for key, to in codes.items()) else {"column": name, "codes": codes}
        return Guess(key, value, SURE, f"called {name!r}; its values are {', '.join(map(repr, values))}")
    if len(values) > 3:
        return None
    said = f"called {name!r}, coded {', '.join(map(repr, sorted(values)))}: which is male? codes: {{…}} would say it"
    return Guess(key, name, ASKED, said)


def _stage(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
    known = {value: match for value in view.values(name) if (match := _STAGE.fullmatch(folded(value)))}
    others = [value for value in view.values(name) if value not in known]
    rows = view.frame[name]
    if not known or int(rows.isin(list(known)).sum()) < READABLE * int((rows != "").sum()):
        return None
    codes = {value: _ROMAN.get(match[1], match[1].upper()) for value, match in known.items()}
    codes |= dict.fromkeys(others, "")
    said = f"called {name!r}; its values are stages, taken together as I to IV"
    if others:
        said += f"; no stage, so empty: {', '.join(map(repr, others))} ({int(rows.isin(others).sum())} rows)"
    value: Any = name if all(key == to for key, to in codes.items()) else {"column": name, "codes": codes}
    return Guess(key, value, SURE if sure else LIKELY, said)


def _tnm(pattern: re.Pattern[str]) -> Callable[[SheetView, str, str, bool], Guess | None]:
    def read(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
        values = view.values(name)
        readable = [value for value in values if pattern.fullmatch(folded(value))]
        if len(readable) < READABLE * len(values):
            return None
        said = f"called {name!r}; such as {', '.join(map(repr, values[:3]))}"
        return Guess(key, name, SURE if sure else LIKELY, said)

    return read


def _count(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
    numbers = view.numbers(name)
    if numbers is None or not (numbers.dropna() % 1 == 0).all() or float(numbers.max()) > NUMERIC_RANGE[1]:
        return None
    said = f"called {name!r}; whole numbers from {numbers.min():g} to {numbers.max():g}"
    return Guess(key, name, SURE if sure else LIKELY, said)


def _category(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
    values = view.values(name)
    if len(values) > max(5, len(view.frame) // 10):
        return None
    return Guess(key, name, SURE if sure else LIKELY, f"called {name!r}; such as {', '.join(map(repr, values[:3]))}")


def _yes_no(view: SheetView, key: str, name: str, sure: bool) -> Guess | None:
    codes = {value: YES_NO.get(folded(value)) for value in view.values(name)}
    if None in codes.values():
        return None
    value: Any = name if all(key == to for key, to in codes.items()) else {"column": name, "codes": codes}
    return Guess(key, value, SURE if sure else LIKELY, f"called {name!r}; its values are {', '.join(map(repr, codes))}")


COVARIATES: tuple[tuple[str, FieldNames, Callable[[SheetView, str, str, bool], Guess | None]], ...] = (
    ("age", field_names.AGE, _age),
    ("sex", field_names.SEX, _sex),
    ("pT", field_names.T_STAGE, _tnm(_T)),
    ("pN", field_names.N_STAGE, _tnm(_N)),
    ("pM", field_names.M_STAGE, _tnm(_M)),
    ("nodes_sampled", field_names.NODES_SAMPLED, _count),
    ("nodes_positive", field_names.NODES_POSITIVE, _count),
    ("stage", field_names.STAGE, _stage),
    ("grade", field_names.GRADE, _category),
    ("neoadjuvant", field_names.NEOADJUVANT, _yes_no),
    ("organ", field_names.ORGAN, _category),
    ("specimen", field_names.SPECIMEN, _category),
)
"""What is looked for, by which names, and how its values are read."""


def guess_rows(view: SheetView, patient: Guess, times: "pd.Series[float] | None") -> Guess | None:
    """Which of several rows of one patient count: the kind of row that is one endpoint, or the first of equal ones.

    Args:
        view: the sheet.
        patient: what is guessed of the patient's id.
        times: the follow-up of each row, as far as it is known.
    """
    if patient.is_open:
        return None
    ids = view.frame[patient.value]
    each = ids[ids != ""].value_counts()
    if each.empty or each.max() == 1:
        return None
    if times is not None and times.groupby(ids).nunique().max() <= 1:
        if any(len(view.values(name)) >= READABLE * len(ids) for name, _ in named(view, field_names.SLIDE)):
            return None  # a row a slide
        said = f"up to {int(each.max())} rows a patient, with the same follow-up in all of them: the first counts"
        return Guess("one_row_of", patient.value, LIKELY, said, "")
    for name in view.names:
        values = view.values(name)
        if not 2 <= len(values) <= 6 or name == patient.value or view.missing(name):
            continue
        pairs = view.frame.groupby([patient.value, name]).size()
        if pairs.max() == 1 and len(pairs) == len(each) * len(values) and times is not None:
            kept = str(times.groupby(view.frame[name]).mean().idxmax())
            why = ", those with the longer follow-up (deaths come after recurrences)"
            said = (
                f"{int(each.max())} rows a patient, told apart by {name!r} ({', '.join(map(repr, values))}): taken are"
            )
            said += f" the rows with {kept!r}{why}; which kind of row is the endpoint?"
            return Guess("rows", {name: [kept]}, ASKED, said, "")
    return None
