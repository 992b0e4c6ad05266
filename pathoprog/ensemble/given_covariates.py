"""One patient's covariates as a caller gives them, checked as a cohort's table is, and what the bundle's model says."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.cohort import NUMERIC_COLUMNS, NUMERIC_RANGE
from pathoprog.ensemble.clinical import ClinicalModel, ClinicalNumber, clinical_number, covariate_text, number_of
from pathoprog.ensemble.clinical_values import covariate_values
from pathoprog.errors import CohortError, ConfigError, InputError

ONE_PATIENT = "patient"


def number_for(
    model: ClinicalModel | None,
    number: Any,
    given: Mapping[str, Any],
    same_ensemble: bool = True,
    reason: str = "",
) -> ClinicalNumber:
    """What the model says of one patient.

    Args:
        model: of the bundle.
        number: the ensemble's one number, in [-1, 1]; None or NaN where it gives none.
        given: the patient's covariates; others are not looked at.
        same_ensemble: whether the model's own ensemble gave the number.
        reason: why there is no number.

    Raises:
        ConfigError: there is no model, or a value is of another type than text or number.
        InputError: the number is another ensemble's or outside [-1, 1].
        CohortError: a covariate that a cohort may not hold.
    """
    if model is None:
        raise ConfigError("the ensemble has no model over clinical covariates; lock one with covariates=…")
    if not same_ensemble:
        raise InputError("the slide was scored by another ensemble than the one whose model is asked")
    if not isinstance(given, Mapping):
        raise ConfigError(f"covariates: must be a mapping of {', '.join(model.names)} to values, not {_type(given)}")
    one = _one_number(number)
    row = {name: _cell(name, given.get(name)) for name in model.names}
    values = covariate_values(pd.DataFrame([{"patient_id": ONE_PATIENT, **row}], dtype=object), model)[ONE_PATIENT]
    for name in set(NUMERIC_COLUMNS) & values.keys():
        known, (low, high) = number_of(values[name]), NUMERIC_RANGE
        if known is None or not low <= known <= high:
            raise CohortError(f"{name}={values[name]!r}: must be a number from {low:g} to {high:g}, or empty")
    found = clinical_number(model, one, values)
    if one is not None:
        return found
    why = f"the image gives no number{f': {reason}' if reason else ''}"
    return ClinicalNumber(value=None, covariates=found.covariates, notes=(why, *found.notes))


def _one_number(number: Any) -> float | None:
    if number is None or covariate_text(number) == "":
        return None
    if isinstance(number, bool | str) or not hasattr(number, "__float__") or hasattr(number, "__len__"):
        raise ConfigError(f"scored: must be a scored slide or its one number, not {_type(number)}")
    value = float(number)
    if not (math.isfinite(value) and -1 <= value <= 1):
        raise InputError(f"scored={value:g}: the one number lies in [-1, 1]")
    return value


def _cell(name: str, value: Any) -> str:
    if isinstance(value, bool) or (hasattr(value, "__iter__") and not isinstance(value, str)):
        raise ConfigError(f"covariates: {name} must be a text or a number, not {_type(value)}")
    return covariate_text(value)


def _type(value: Any) -> str:
    return f"{value!r:.40} ({type(value).__name__})"
