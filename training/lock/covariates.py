"""The Cox model over the ensemble's number and clinical covariates: fitted on tuning, as scored, for the bundle."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.cohort import SLIDE_COLUMNS, read_cohort
from pathoprog.ensemble.classes import one_number
from pathoprog.ensemble.clinical import (
    CATEGORY,
    NUMBER,
    SCORE,
    ClinicalCovariate,
    ClinicalModel,
    ClinicalTerm,
    clinical_lines,
    number_text,
)
from pathoprog.ensemble.manifest import Manifest
from pathoprog.errors import InputError
from pathoprog.survival import cox
from pathoprog.survival.arrays import level_names
from pathoprog.survival.regression.design import build_design, complete_rows
from pathoprog.system.console import say
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.lock.tuning_scores import TuningScores
from pathoprog.validation.covariates import NO_COVARIATES, check_covariates, typed_covariates

EVENTS_PER_TERM = 5
"""Fewer are refused, as for the stage groups (project default)."""
OUTCOME = ["followup_days", "event", "cohort"]


def add_covariates(
    settings: EnsembleConfig,
    trained: TrainConfig,
    manifest: Manifest,
    tuning: TuningScores,
    outcomes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Manifest:
    """The manifest with the model, where covariates were asked for.

    Args:
        settings: of the choice: covariates, and what is done where one is missing.
        trained: settings of the training; its cohort has the covariates.
        manifest: of the bundle to be, with its thresholds.
        tuning: as scored.
        outcomes: follow-up, event and cohort of its patients with scores, in their order.

    Raises:
        InputError: see `fit_clinical`.
    """
    if not settings.covariates:
        return manifest
    cohort = read_cohort(trained.data.cohort, trained.data.overlap)
    names = {(patient.patient_id, patient.role) for patient in tuning.scored}
    rows = cohort[[pair in names for pair in zip(cohort["patient_id"], cohort["role"], strict=True)]]
    patients = rows.drop_duplicates("patient_id").set_index("patient_id", drop=False)
    patients = patients.loc[[patient.patient_id for patient in tuning.scored]]
    numbers = [one_number(patient.scores, manifest.cuts) for patient in tuning.scored]
    own: dict[str, Any] = {SCORE: numbers, **dict(zip(OUTCOME, outcomes, strict=True))}
    table = patients.drop(columns=[name for name in own if name in patients]).assign(**own)
    model = fit_clinical(table, settings.covariates, settings.covariates_missing)
    say(f"    {model.says()}")
    for line in clinical_lines(model):
        say(f"        {line}")
    return replace(manifest, covariates=model)


def check_early(settings: EnsembleConfig, trained: TrainConfig) -> None:
    """Refuse covariates that cannot be fitted, before tuning is scored, which takes long.

    Raises:
        InputError: see `checked_names`.
    """
    if not settings.covariates:
        return
    cohort = read_cohort(trained.data.cohort, trained.data.overlap, look=False)
    tuning = cohort[cohort["role"] == "tuning"]
    checked_names(cohort if tuning.empty else tuning, settings.covariates)


def checked_names(patients: pd.DataFrame, covariates: Sequence[str]) -> list[str]:
    """The covariates, each once.

    Args:
        patients: rows of the cohort.
        covariates: as asked for.

    Raises:
        InputError: one is absent, an id, outcome or score, a slide's, holds dates, or texts among numbers.
    """
    names = list(dict.fromkeys(covariates))
    for name in names:
        if name in (*NO_COVARIATES, *OUTCOME):
            raise InputError(f"covariates: {name} is an id, an outcome or a score; give columns of the cohort")
        if name in SLIDE_COLUMNS:
            raise InputError(
                f"covariates: {name} belongs to a slide, and a patient may have several; give the patient's"
            )
        if name not in patients:
            no_covariates = (*NO_COVARIATES, *OUTCOME, *SLIDE_COLUMNS)
            there = ", ".join(str(one) for one in patients if one not in no_covariates)
            raise InputError(f"covariates: the cohort has no column {name}; there are {there or 'none'}")
    try:
        check_covariates(patients[names].assign(patient_id=_ids(patients)), tuple(names), (), {})
    except InputError as error:
        said = re.sub(r" in line \d+", "", str(error).split("; or types: ")[0])  # of tuning's patients, not of the file
        raise InputError(f"covariates: {said}") from error
    return names


def fit_clinical(patients: pd.DataFrame, covariates: Sequence[str], missing: str) -> ClinicalModel:
    """Fit the model.

    Cox, J R Stat Soc B 1972;34:187, ties by Efron, stratified by cohort, on complete cases.

    Args:
        patients: one row each: ``one_number, followup_days, event, cohort`` and the covariates, ``""`` where missing.
        covariates: columns of the cohort; numbers and categories are told apart as a validation tells them.
        missing: one of `ensemble.clinical.MISSING_RULES`.

    Raises:
        InputError: a covariate is absent, an id, outcome or score, a slide's, the same for all, holds dates or texts
            among numbers; too few events; a term that follows from others, or without a finite maximum.
    """
    names = checked_names(patients, covariates)
    data = pd.concat([typed_covariates(patients[names]), patients[[SCORE, *OUTCOME]]], axis=1)
    known = complete_rows(data, names)
    data, n_missing = data[known], int((~known).sum())
    n_events = int((data["event"] == 1).sum())
    try:
        n_terms = len(build_design(data, [SCORE, *names]).columns) if len(data) else 1 + len(names)
        if n_events < EVENTS_PER_TERM * n_terms:
            raise InputError(
                f"{n_events} events in the {len(data)} tuning patients with all covariates ({n_missing} lack one) are"
                f" too few for {n_terms} terms ({EVENTS_PER_TERM} a term); take fewer covariates, or levels together"
            )
        fit = cox(data, "followup_days", "event", [SCORE, *names], strata="cohort")
    except InputError as error:
        raise InputError(f"covariates: {error}") from error
    rows = fit.terms.to_dict("records")
    for row in rows:
        if not (math.isfinite(row["coef"]) and math.isfinite(row["se"])) or row["note"]:
            what = f"{row['term']}={row['level']}" if row["level"] else row["term"]
            raise InputError(f"covariates: {what} cannot be estimated ({row['note'] or 'no finite maximum'})")
    terms = tuple(
        ClinicalTerm(
            covariate=str(row["term"]),
            level=str(row["level"]),
            reference=str(row["reference"]),
            coef=float(row["coef"]),
            se=float(row["se"]),
            mean=float(mean),
        )
        for row, mean in zip(rows, fit.design.matrix.mean(axis=0), strict=True)
    )
    return ClinicalModel(
        covariates=tuple(_covariate(name, data[name], terms) for name in names),
        terms=terms,
        missing=missing,
        n=fit.n,
        events=fit.events,
        n_missing=n_missing,
        strata=tuple(sorted(set(map(str, data["cohort"])))),
    )


def _covariate(name: str, values: "pd.Series[Any]", terms: tuple[ClinicalTerm, ...]) -> ClinicalCovariate:
    own = [term for term in terms if term.covariate == name]
    if not own[0].level:
        numbers = values.astype(float)
        ends = (number_text(numbers.min()), number_text(numbers.max()))
        return ClinicalCovariate(name=name, kind=NUMBER, typical=number_text(numbers.median()), levels=ends)
    labels = pd.Series(level_names(values))
    levels = (own[0].reference, *(term.level for term in own))
    return ClinicalCovariate(name=name, kind=CATEGORY, typical=str(labels.mode().iloc[0]), levels=levels)


def _ids(patients: pd.DataFrame) -> list[str]:
    return list(patients["patient_id"]) if "patient_id" in patients else [str(row) for row in range(len(patients))]
