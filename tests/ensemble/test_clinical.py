"""The model over clinical covariates, worked by hand; missing values as stated; and what a manifest may hold of it."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pathoprog.ensemble.clinical import (
    TYPICAL,
    WITHHOLD,
    ClinicalCovariate,
    ClinicalModel,
    ClinicalNumber,
    ClinicalTerm,
    clinical_lines,
    clinical_number,
)
from pathoprog.ensemble.manifest import PARTS, Manifest, manifest_of, plain_manifest
from pathoprog.ensemble.manifest_checks import covariate_problems
from pathoprog.slide_report.content import clinical_text
from pathoprog.system.records import RecordError, plain, record_of


def term(covariate, coef, mean, level="", reference=""):
    return ClinicalTerm(covariate=covariate, level=level, reference=reference, coef=coef, se=0.1, mean=mean)


MODEL = ClinicalModel(
    covariates=(
        ClinicalCovariate(name="age", kind="number", typical="68", levels=("40", "90")),
        ClinicalCovariate(name="pT", kind="category", typical="pT3", levels=("pT2", "pT3", "pT4")),
    ),
    terms=(
        term("one_number", 4.0, 0.1),
        term("age", 0.02, 65.0),
        term("pT", 0.5, 0.6, "pT3", "pT2"),
        term("pT", 1.2, 0.2, "pT4", "pT2"),
    ),
    missing=WITHHOLD,
    n=120,
    events=40,
    n_missing=3,
    strata=("north", "south"),
)
"""log hazard ratio = 4 (number - 0.1) + 0.02 (age - 65) + 0.5 ([pT3] - 0.6) + 1.2 ([pT4] - 0.2)."""


@pytest.mark.parametrize(
    ("number", "values", "wanted"),
    [
        (0.1, {"age": "65", "pT": "pT2"}, -0.3 - 0.24),
        (0.3, {"age": "70", "pT": "pT3"}, 0.8 + 0.1 + 0.2 - 0.24),
        (-0.2, {"age": 80.0, "pT": " PT4 "}, -1.2 + 0.3 - 0.3 + 0.96),
    ],
)
def test_the_number_is_that_of_the_terms(number, values, wanted):
    found = clinical_number(MODEL, number, values)
    assert found.value == pytest.approx(wanted, abs=1e-12) and found.notes == ()


def test_missing_and_unknown_values_are_handled_as_stated():
    values = {"age": "", "pT": "pTx"}
    found = clinical_number(MODEL, 0.3, values)
    assert found.value is None and found.covariates == values
    assert found.notes == ("age is missing", "pT=pTx is none of pT2, pT3, pT4")
    filled = clinical_number(replace(MODEL, missing=TYPICAL), 0.3, values)
    assert filled.value == clinical_number(MODEL, 0.3, {"age": "68", "pT": "pT3"}).value
    assert filled.notes == ("age is missing; 68 was taken", "pT=pTx is none of pT2, pT3, pT4; pT3 was taken")
    assert clinical_number(MODEL, 0.3, {"age": "old", "pT": "pT2"}).notes == ("age=old is no number",)
    beyond = clinical_number(MODEL, 0.3, {"age": "95", "pT": "pT2"})
    assert beyond.value is not None and beyond.notes == ("age=95 lies outside tuning's 40 to 90",)
    assert clinical_number(MODEL, None, {"age": "70", "pT": "pT3"}).value is None
    found = clinical_number(MODEL, 0.3, None)
    [note] = found.notes
    shown = clinical_text(SimpleNamespace(clinical=found))
    assert shown == f"the ensemble holds a Cox model over its score and them; {note}."
    assert "pathoprog.api.clinical_number" in shown and found.value is None
    assert note.startswith(
        "no cohort says anything of the patient, so that its number is not given here: `pathoprog score`"
    )
    assert clinical_number(MODEL, 0.3, {"age": math.nan, "pT": "pT2"}).covariates["age"] == ""


def test_it_says_what_it_is():
    assert MODEL.says() == (
        "Cox model over the ensemble's one number, age and pT, fitted on 120 tuning patients (40 events; 3 others"
        " lack a covariate), stratified by cohort; a patient who lacks one of them has no such number; it changes no"
        " class"
    )
    assert clinical_lines(MODEL)[2] == "pT: pT3 against pT2: hazard ratio 1.65 (95% CI 1.36 to 2.01)"
    number = clinical_number(MODEL, 0.3, {"age": "70", "pT": "pT3"})
    assert record_of(ClinicalNumber, plain(number)) == number


def manifest(**parts):
    return Manifest(
        members=(), thresholds={}, tile_specs={}, aggregation="bag", tumour_policy="tissue", files={}, **parts
    )


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({}, None),
        ({"missing": "guess"}, "covariates.missing: 'guess'"),
        ({"terms": MODEL.terms[:-1]}, "the terms are not those of the score and the covariates"),
        ({"covariates": (replace(MODEL.covariates[0], kind="shade"), MODEL.covariates[1])}, "age: kind shade"),
        ({"covariates": (MODEL.covariates[0], replace(MODEL.covariates[1], typical="pT9"))}, "pT: kind category"),
    ],
)
def test_a_manifest_with_a_model_that_does_not_fit_is_refused(harm, said):
    problems = covariate_problems(manifest(covariates=replace(MODEL, **harm)))
    assert len(problems) == (said is not None) and (said is None or said in problems[0])


def test_a_bundle_with_a_model_is_of_the_format_that_names_its_parts():
    found = manifest(covariates=MODEL)
    assert found.format == 4 and found.holds == ("covariates",) and {"covariates", "other_features"} <= set(PARTS)
    value = plain_manifest(found)
    value["holds"] = []
    with pytest.raises(RecordError, match="holds"):
        manifest_of(value)
