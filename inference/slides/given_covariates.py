"""Clinical covariates of a cohort for an ensemble whose bundle holds a Cox model over them."""

from dataclasses import replace

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.clinical import ClinicalModel
from pathoprog.ensemble.clinical_values import covariate_values, state_lines
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.system.console import say, warn


def with_covariates(slides: list[SlideInput], config: ScoreConfig, model: ClinicalModel | None) -> list[SlideInput]:
    """The slides with what the cohort says of each patient's covariates; as they are without a model, or a cohort.

    Args:
        slides: of the call.
        config: of the command; its cohort has the covariates.
        model: of the bundle.
    """
    if model is None:
        return slides
    if not config.cohort:
        warn(
            f"the ensemble has a Cox model over its number and {', '.join(model.names)}, and no cohort=… was given:"
            " no patient has its number"
        )
        return slides
    cohort = read_cohort(config.cohort, config.overlap, look=False)
    if absent := [name for name in model.names if name not in cohort]:
        warn(f"{config.cohort}: no column {', '.join(absent)}, which the ensemble's Cox model has: taken as missing")
    say(f"clinical covariates: {model.says()}")
    values = covariate_values(cohort, model)
    asked = [slide.given_patient_id or slide.patient_id for slide in slides]
    for line in state_lines(model, {patient: values[patient] for patient in asked}):
        warn(f"clinical covariates: {line}")
    return [replace(slide, covariates=values[patient]) for slide, patient in zip(slides, asked, strict=True)]
