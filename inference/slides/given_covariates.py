"""Clinical covariates of a cohort for an ensemble whose bundle holds a Cox model over them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.clinical import ClinicalModel
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
    cohort = read_cohort(config.cohort, config.overlap, look=False).drop_duplicates("patient_id")
    if absent := [name for name in model.names if name not in cohort]:
        warn(f"{config.cohort}: no column {', '.join(absent)}, which the ensemble's Cox model has: taken as missing")
    say(f"clinical covariates: {model.says()}")
    known = [name for name in model.names if name in cohort]
    rows = cohort.set_index("patient_id")[known].to_dict("index")
    return [replace(slide, covariates=_texts(rows[slide.given_patient_id or slide.patient_id])) for slide in slides]


def _texts(values: Mapping[Any, Any]) -> dict[str, str]:
    """Plain texts, as they go into a result's key; what is missing is left out."""
    said = {str(name): f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return {name: text for name, text in said.items() if text not in ("", "nan")}
