"""Endpoints by name, and outcomes as labels for training: who clearly did well, who clearly did badly."""

import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS, LabelSettings
from pathoprog.errors import ConfigError

ENDPOINT_LABELS = {
    "overall": "overall survival",
    "cancer_specific": "cancer-specific survival",
    "disease_free": "disease-free survival",
    "disease_free_interval": "disease-free interval",
    "recurrence_free": "recurrence-free survival",
    "event_free": "event-free survival",
    "metastasis_free": "metastasis-free survival",
    "progression_free": "progression-free survival",
    "progression_free_interval": "progression-free interval",
}
"""What further endpoints are called in words, by the name that mapping, plan and outcome table give them."""


def endpoint_label(name: str) -> str:
    """A further endpoint in words; one that is not known by its name."""
    return ENDPOINT_LABELS.get(name, name.replace("_", " "))


def distinct_outcome(outcomes: pd.DataFrame, settings: LabelSettings | None = None) -> pd.Series:
    """Label the patients whose outcome is distinct: those that training learns from.

    METHOD, section 2, "Cohorts". Known: good is followed over 6 years of cancer-specific survival, poor is a cancer
    death between 100 days and 2.5 years (the training set of DoMore-v1-CRC: Skrede et al., Lancet 2020;395:350-360).
    Project default, for the sources at hand do not say it: a year is 365.25 days, and both ends of the span of *poor*
    belong to it.

    *Good* is followed for more than `good_after_years` without the event (whatever came later, a death of another
    cause too). *Poor* is the event from day `poor_from_days` to `poor_until_years`, both included. All others, an
    early event (often a death of the operation) and follow-up cut short among them, meet neither.

    Args:
        outcomes: columns ``patient_id``, ``followup_days``, ``event`` (0 none, 1 the event, 2 competing death).
        settings: the limits; METHOD's by default.

    Returns:
        Series named ``outcome``, indexed by ``patient_id``: ``"good"``, ``"poor"`` or ``""``.

    Raises:
        ConfigError: the limits leave no time for *poor*, or let it overlap with *good*.
    """
    settings = settings or LabelSettings()
    poor_until = settings.poor_until_years * YEAR_DAYS
    good_after = settings.good_after_years * YEAR_DAYS
    if not settings.poor_from_days <= poor_until <= good_after:
        raise ConfigError(
            f"labels: poor_from_days={settings.poor_from_days:g} to poor_until_years={settings.poor_until_years:g} "
            f"must be a span that ends before good_after_years={settings.good_after_years:g}"
        )
    days, event = outcomes["followup_days"], outcomes["event"]
    label = pd.Series("", index=outcomes["patient_id"].to_numpy(), name="outcome", dtype=object)
    label.index.name = "patient_id"
    label[(days > good_after).to_numpy()] = "good"
    label[((event == 1) & days.between(settings.poor_from_days, poor_until)).to_numpy()] = "poor"
    return label
