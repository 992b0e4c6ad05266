"""The bundle's Cox model over clinical covariates: its numbers checked before the opening, and judged after it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.ensemble.clinical import ClinicalModel, clinical_number
from pathoprog.ensemble.clinical_values import Values, covariate_values, state_counts
from pathoprog.errors import LockError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.prediction.two_scores import JudgedScore, TwoScores
from pathoprog.survival.question import NotEstimated, Score
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.summary import plain
from pathoprog.text.numbers import Z_95
from pathoprog.validation.populations import Population
from pathoprog.validation.question import question_of
from pathoprog.validation.score_tables import CLINICAL, with_clinical_numbers

IMAGE = "one_number"
MOST_LINES = 10
SAME = 1e-9
"""A number written with all its digits is the same when it is computed again; this leaves room for another order."""


@dataclass(frozen=True)
class LockedClinical:
    """The bundle's model, and what the cohort says of its covariates.

    Attributes:
        model: as locked.
        values: of each patient of the cohort.
    """

    model: ClinicalModel
    values: Values


def locked_clinical(model: ClinicalModel | None, cohort: pd.DataFrame) -> LockedClinical | None:
    """The model with the cohort's covariates; None where the bundle has none."""
    return None if model is None else LockedClinical(model, covariate_values(cohort, model))


def check_numbers(path: str | Path, patients: pd.DataFrame, clinical: LockedClinical | None) -> pd.DataFrame:
    """The patients with their clinical number as a float, NaN where they have none; before the outcomes are opened.

    Args:
        path: patients.csv.
        patients: as `read_patients` gives them.
        clinical: of the bundle.

    Raises:
        InputError: the scores have no such column, or it holds texts.
        LockError: a number does not follow from the score, the cohort's covariates and the locked model, so that one of
            them was changed after scoring.
    """
    if clinical is None:
        return patients
    table = with_clinical_numbers(path, patients)
    wrong = []
    for row, (patient, number, given) in enumerate(
        zip(table["patient_id"], table[IMAGE], table[CLINICAL], strict=True)
    ):
        values = clinical.values.get(patient, {})
        wanted = clinical_number(clinical.model, None if number != number else float(number), values).value
        same = given != given if wanted is None else math.isclose(given, wanted, rel_tol=SAME, abs_tol=SAME)
        if not same:
            wrong.append(row + 2)
    if wrong:
        more = f" and {len(wrong) - MOST_LINES} more" if len(wrong) > MOST_LINES else ""
        raise LockError(
            f"{path}: the {CLINICAL} does not follow from the score, the cohort's {', '.join(clinical.model.names)} and"
            f" the bundle's Cox model in line {', '.join(map(str, wrong[:MOST_LINES]))}{more}; score again with this"
            " cohort=…, or give the cohort that was scored"
        )
    return table


def clinical_statistics(clinical: LockedClinical | None, populations: list[Population]) -> dict[str, Any]:
    """The model, how many patients have its number and why not, and both numbers judged in external cohorts.

    No risk follows from the model, so that there is no calibration but the slope of its number.

    Args:
        clinical: of the bundle; empty without one.
        populations: of `populations_of`.
    """
    if clinical is None:
        return {}
    model = clinical.model
    return {
        "model": {
            "says": model.says(),
            "covariates": [
                {"name": one.name, "kind": one.kind, "typical": one.typical, "levels": list(one.levels)}
                for one in model.covariates
            ],
            "terms": [_term(term) for term in model.terms],
            "missing": model.missing,
            "n": model.n,
            "events": model.events,
            "n_missing": model.n_missing,
            "strata": list(model.strata),
        },
        "known": [_known(clinical, one) for one in populations if not one.pooled],
        "external": [_judged(one) for one in populations if one.role == "external"],
    }


def _term(term: Any) -> dict[str, Any]:
    low, high = (term.coef + sign * Z_95 * term.se for sign in (-1, 1))
    head = {"term": term.covariate, "level": term.level, "reference": term.reference, "mean": term.mean}
    ratio = {"hr": math.exp(term.coef), "lower": math.exp(low), "upper": math.exp(high)}
    return {**head, "coef": term.coef, "se": term.se, **ratio}


def _known(clinical: LockedClinical, population: Population) -> dict[str, Any]:
    data = population.patients
    own = {patient: clinical.values.get(patient, {}) for patient in data["patient_id"]}
    counts = state_counts(clinical.model, own)
    return {
        "population": population.key,
        "role": population.role,
        "cohort": population.cohort,
        "n": len(data),
        "with_number": int(np.isfinite(data[CLINICAL].to_numpy(dtype=float)).sum()),
        "covariates": [{"covariate": name, **dict(found)} for name, found in counts.items()],
    }


def _judged(population: Population) -> dict[str, Any]:
    data = population.patients
    scores = tuple(Score(name, "clinical_model", data[name].to_numpy(dtype=float)) for name in (IMAGE, CLINICAL))
    found: TwoScores | NotEstimated = ANALYSES["clinical_model"].tried(question_of(population, scores=scores))
    head = {"population": population.key, "cohort": population.cohort, "pooled": population.pooled}
    if isinstance(found, NotEstimated):
        return {**head, "note": found.note}
    return {
        **head,
        "note": "",
        "n": found.n,
        "n_without": found.n_without,
        "events": found.events,
        "scores": [_score(name, one) for name, one in found.scores.items()],
        "harrell": plain(found.harrell),
        "uno": plain(found.uno),
    }


def _score(name: str, one: JudgedScore) -> dict[str, Any]:
    return {
        "score": name,
        "harrell": plain(one.concordance.harrell),
        "uno": plain(one.concordance.uno),
        "sd": one.sd,
        "per_unit": _ratio(one.per_unit),
        "per_sd": _ratio(one.per_sd),
    }


def _ratio(fit: CoxFit | NotEstimated) -> dict[str, Any]:
    if isinstance(fit, NotEstimated):
        return {"note": fit.note}
    row = fit.terms.iloc[0]
    numbers = {key: float(row[key]) for key in ("coef", "se", "hr", "lower", "upper", "p")}
    return {**numbers, "note": str(row["note"])}
