"""Clinical covariates in the bundle: a Cox model over the ensemble's one number and covariates. No torch.

It is fitted on tuning at the lock and gives each patient a second number beside the class, which it never changes: the
log hazard ratio against the mean of the tuning patients in the fit. Tuning is selected on outcome (METHOD section 2),
so that the number orders patients, and no risk of death follows from it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.system.records import Record
from pathoprog.text.numbers import Z_95
from pathoprog.text.plain_text import folded
from pathoprog.text.wording import listing

SCORE = "one_number"
"""The term of the ensemble's own number (METHOD section 1, "One number")."""
WITHHOLD, TYPICAL = "withhold", "typical"
MISSING_RULES = (WITHHOLD, TYPICAL)
"""What is done where a patient lacks a covariate: no number; or the typical value of tuning, which is said."""
RULES = {
    WITHHOLD: "a patient who lacks one of them has no such number",
    TYPICAL: "where one is missing, the median or the commonest value of tuning stands for it, and that is said",
}
NO_RISK = (
    "Tuning is selected on outcome: this number orders patients, no risk of death follows from it, and what the"
    " ensemble adds to these covariates cannot be judged with it."
)
NUMBER, CATEGORY = "number", "category"
KNOWN, MISSING, NO_LEVEL, NO_NUMBER, OUTSIDE = "known", "missing", "no level of tuning", "no number", "outside tuning"
USABLE = (KNOWN, OUTSIDE)
"""What a value may be; those of `USABLE` are taken as they are, the others by the rule for missing values."""
HOW_TO_GET = "`pathoprog score` with cohort=… gives it, or pathoprog.api.clinical_number in Python"
NOT_GIVEN = f"no cohort says anything of the patient, so that its number is not given here: {HOW_TO_GET}"
_DIGITS = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ClinicalTerm(Record):
    """One term of the model.

    Attributes:
        covariate: `SCORE`, or a column of the cohort.
        level: of a category, against `reference`; empty for numbers.
        reference: as `level`.
        coef: log hazard ratio for one unit, or for the level.
        se: its standard error.
        mean: of the term over the patients in the fit: what a patient is compared with.
    """

    covariate: str
    level: str
    reference: str
    coef: float
    se: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class ClinicalCovariate(Record):
    """A covariate as tuning had it.

    Attributes:
        name: column of the cohort.
        kind: ``number`` or ``category``.
        typical: median, or the commonest level.
        levels: of a category, the reference first; of a number its smallest and largest value.
    """

    name: str
    kind: str
    typical: str
    levels: tuple[str, ...]

    def level_of(self, text: str) -> str:
        """The level that a text is, whatever its case, spaces and zeros after a point; empty for none."""
        if text in self.levels:
            return text
        return next((level for level in self.levels if _plain(level) == _plain(text)), "")

    def state_of(self, text: str) -> str:
        """What a value is to the model: `KNOWN`, `MISSING`, `NO_LEVEL`, `NO_NUMBER` or `OUTSIDE`."""
        if not text:
            return MISSING
        if self.kind == CATEGORY:
            return KNOWN if self.level_of(text) else NO_LEVEL
        value = number_of(text)
        if value is None:
            return NO_NUMBER
        low, high = map(float, self.levels)
        return KNOWN if low <= value <= high else OUTSIDE


@dataclass(frozen=True, kw_only=True)
class ClinicalModel(Record):
    """The model as a bundle holds it.

    Attributes:
        covariates: in their order, without the score.
        terms: the score's first.
        missing: one of `MISSING_RULES`.
        n: patients in the fit, each with all covariates.
        events: theirs.
        n_missing: tuning patients with scores who lack a covariate and are not in the fit.
        strata: cohorts, each with a baseline of its own.
    """

    covariates: tuple[ClinicalCovariate, ...]
    terms: tuple[ClinicalTerm, ...]
    missing: str
    n: int
    events: int
    n_missing: int
    strata: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the covariates."""
        return tuple(covariate.name for covariate in self.covariates)

    def says(self) -> str:
        """What it is, in one sentence."""
        left = f"; {self.n_missing} others lack a covariate" if self.n_missing else ""
        over = listing(["the ensemble's one number", *self.names])
        return (
            f"Cox model over {over}, fitted on {self.n} tuning"
            f" patients ({self.events} events{left}), stratified by cohort; {RULES[self.missing]}; it changes no class"
        )

    def is_not_given(self) -> str:
        """What is said where slides come without covariates: that there is a number, and how to get it."""
        return (
            f"The bundle holds a {self.says()}. No covariates come with slides here, so that its number is not given:"
            f" {HOW_TO_GET}."
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class ClinicalNumber(Record):
    """What the model says of a patient.

    Attributes:
        value: log hazard ratio against the mean of the tuning patients in the fit, higher = worse; None without one.
        covariates: what the cohort says; empty where it says nothing.
        notes: why there is none; what was filled in; values beyond those of tuning.
    """

    value: float | None
    covariates: Mapping[str, str]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        said = "none" if self.value is None else f"{self.value:+.3f} (log hazard ratio against the mean tuning patient)"
        given = ", ".join(f"{name} {value or 'missing'}" for name, value in self.covariates.items())
        notes = "".join(f"; {note}" for note in self.notes)
        return f"<clinical number {said}: {given or 'no covariates'}{notes}. {RESEARCH_USE_ONLY}>"


def clinical_number(model: ClinicalModel, number: float | None, values: Mapping[str, Any] | None) -> ClinicalNumber:
    """What the model says of one patient.

    Args:
        model: of the bundle.
        number: the ensemble's one number; None where it gives none.
        values: the patient's covariates by name, of the cohort; None where there is no cohort.
    """
    if values is None:
        return ClinicalNumber(value=None, covariates={}, notes=(NOT_GIVEN,))
    said = {covariate.name: covariate_text(values.get(covariate.name)) for covariate in model.covariates}
    taken: dict[str, str] = {}
    notes, lacking = [], []
    for covariate in model.covariates:
        name, text = covariate.name, said[covariate.name]
        state = covariate.state_of(text)
        if state == OUTSIDE:
            low, high = covariate.levels
            notes.append(f"{name}={text} lies outside tuning's {low} to {high}")
        if state in USABLE:
            taken[name] = covariate.level_of(text) if covariate.kind == CATEGORY else text
            continue
        problem = {
            MISSING: f"{name} is missing",
            NO_LEVEL: f"{name}={text} is none of {', '.join(covariate.levels)}",
            NO_NUMBER: f"{name}={text} is no number",
        }[state]
        taken[name] = covariate.typical
        lacking.append(f"{problem}; {covariate.typical} was taken" if model.missing == TYPICAL else problem)
    notes = [*lacking, *notes]
    if number is None or (lacking and model.missing == WITHHOLD):
        return ClinicalNumber(value=None, covariates=said, notes=tuple(notes))
    total = 0.0
    for term in model.terms:
        x = number if term.covariate == SCORE else float(taken[term.covariate]) if not term.level else 0.0
        x = float(taken[term.covariate] == term.level) if term.level else x
        total += term.coef * (x - term.mean)
    return ClinicalNumber(value=total, covariates=said, notes=tuple(notes))


def covariate_text(value: Any) -> str:
    """A covariate's value as text; empty where it is missing (None, NaN, ``pandas.NA``). No digit is lost."""
    if value is None or str(value) in ("<NA>", "NaT", "nan"):
        return ""
    if isinstance(value, float):
        return number_text(value)
    return str(value).strip()


def number_text(value: float) -> str:
    """A number with all its digits; whole ones without a point, as tables have them."""
    plain = float(value)
    return str(int(plain)) if plain.is_integer() and abs(plain) < 1e15 else repr(plain)


def number_of(text: str) -> float | None:
    """The finite number that a text is, with a decimal point; None for none."""
    value = float(text) if _DIGITS.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def _plain(text: str) -> str:
    text = folded(text)
    value = number_of(text)
    return text if value is None else number_text(value)


def clinical_lines(model: ClinicalModel) -> list[str]:
    """The model's terms, a line each: hazard ratio with its 95% interval."""
    lines = []
    for term in model.terms:
        what = f"{term.covariate}: {term.level} against {term.reference}" if term.level else term.covariate
        low, high = (math.exp(term.coef + sign * Z_95 * term.se) for sign in (-1, 1))
        lines.append(f"{what}: hazard ratio {math.exp(term.coef):.3g} (95% CI {low:.3g} to {high:.3g})")
    return lines
