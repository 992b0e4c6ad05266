"""What a cohort says of the covariates of a bundle's model: numbers read column by column, as the lock read them."""

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from pathoprog.cohort_tables.columns import NUMBER as NUMBERS
from pathoprog.cohort_tables.columns import read_column
from pathoprog.ensemble.clinical import KNOWN, NO_LEVEL, NUMBER, OUTSIDE, ClinicalModel, covariate_text, number_text
from pathoprog.text.wording import listing

Values = Mapping[str, Mapping[str, str]]
"""patient_id -> covariate -> text, without those that are missing."""
MOST_SHOWN = 5


def covariate_values(cohort: pd.DataFrame, model: ClinicalModel) -> dict[str, dict[str, str]]:
    """Each patient's covariates as text, a number with a decimal point.

    A column of numbers is read whole, since one cell does not tell a decimal comma; where it is no column of numbers,
    its cells stay as they are, and those that are none have no number.

    Args:
        cohort: as `read_cohort` gives it; one row of each patient is looked at.
        model: of the bundle.
    """
    patients = cohort.drop_duplicates("patient_id")
    found: dict[str, dict[str, str]] = {str(name): {} for name in patients["patient_id"]}
    for covariate in model.covariates:
        if covariate.name not in patients:
            continue
        texts = [covariate_text(value) for value in patients[covariate.name]]
        if covariate.kind == NUMBER:
            column = read_column(pd.Series(texts, dtype=object))
            if column.kind == NUMBERS and not column.problem:
                texts = ["" if value != value else number_text(float(value)) for value in column.values]
        for patient, text in zip(patients["patient_id"], texts, strict=True):
            if text:
                found[str(patient)][covariate.name] = text
    return found


def state_counts(model: ClinicalModel, values: Values) -> dict[str, Counter[str]]:
    """How many patients have a covariate in each of its states (`ClinicalCovariate.state_of`), by covariate."""
    return {
        covariate.name: Counter(covariate.state_of(own.get(covariate.name, "")) for own in values.values())
        for covariate in model.covariates
    }


def state_lines(model: ClinicalModel, values: Values) -> list[str]:
    """What is not as tuning had it, a line a covariate; empty where all is."""
    lines = []
    for covariate in model.covariates:
        counts = state_counts(model, values)[covariate.name]
        parts = []
        for state, n in sorted(counts.items()):
            if state == KNOWN:
                continue
            texts = {own.get(covariate.name, "") for own in values.values()}
            shown = sorted(text for text in texts if text and covariate.state_of(text) == state)
            named = ", ".join(map(repr, shown[:MOST_SHOWN])) + (" …" if len(shown) > MOST_SHOWN else "")
            low, high = covariate.levels[0], covariate.levels[-1]
            more = f" ({', '.join(covariate.levels)})" if state == NO_LEVEL else ""
            more = f" ({low} to {high}): another unit?" if state == OUTSIDE else more
            parts.append(f"{n} {state}{more}{f': {named}' if named else ''}")
        if parts:
            lines.append(f"{covariate.name}, of {len(values)} patients: {listing(parts)}")
    return lines
