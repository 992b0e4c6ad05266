"""Who is analysed: the scored patients with their outcomes, by role and cohort."""

from dataclasses import dataclass

import pandas as pd

from pathoprog.cohort_tables.cohort import patient_table
from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES, ROLES
from pathoprog.ensemble.classes import RISK_CLASSES, classes_of
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS
from pathoprog.text.wording import number_word
from pathoprog.validation.covariates import typed_covariates

STAMPS = {
    "training": "selected on outcome",
    "tuning": "selected on outcome",
    "test": "same patients, other blocks",
    "external": "",
}
HEADINGS = {
    "training": "Training: selected on outcome",
    "tuning": "Tuning: selected on outcome",
    "test": "Test: same patients, other blocks: tests preparation, not generalisation",
    "external": "External validation",
}


@dataclass(frozen=True)
class Population:
    """The analysed patients of one cohort in one role, or of all cohorts of a role.

    Attributes:
        role: their role.
        cohort: the cohort's name, or the role's where all its cohorts are taken together.
        patients: one row each: scores, ``risk_class``, ``one_number``, ``followup_days``, ``years``, ``event``,
            covariates, sites.
        pooled: True where several cohorts are taken together: models and tests are then stratified by cohort.
        resolutions: of the ensemble.
    """

    role: str
    cohort: str
    patients: pd.DataFrame
    pooled: bool
    resolutions: tuple[str, ...] = METHOD_RESOLUTIONS

    @property
    def name(self) -> str:
        """For headings and tables."""
        if self.pooled:
            return f"{self.role}: all cohorts"
        return self.role if self.cohort == self.role else f"{self.role}: {self.cohort}"

    @property
    def phrase(self) -> str:
        """For sentences."""
        if self.pooled:
            return f"all {self.role} cohorts together"
        return f"the {self.role} cohort" + ("" if self.cohort == self.role else f" {self.cohort}")

    @property
    def key(self) -> str:
        """For file names and JSON."""
        return self.role if self.pooled else f"{self.role}_{self.cohort}"

    @property
    def strata(self) -> str | None:
        """The column to stratify by, or None."""
        return "cohort" if self.pooled else None

    @property
    def selected_on_outcome(self) -> bool:
        """True where curves and ratios describe no population (METHOD section 2)."""
        return self.role in DEVELOPMENT_ROLES

    @property
    def events(self) -> int:
        """Number of events."""
        return int((self.patients["event"] == 1).sum())

    @property
    def classes(self) -> list[str]:
        """The classes that occur, in order."""
        found = set(self.patients["risk_class"])
        return [name for name in RISK_CLASSES if name in found]

    @property
    def more_than_two_classes(self) -> bool:
        """Whether a model of all classes here is another than one of two compared alone."""
        return len(self.classes) > 2

    @property
    def possible_classes(self) -> tuple[str, ...]:
        """The classes that the ensemble can give, in order."""
        return classes_of(self.resolutions)

    @property
    def classes_called(self) -> str:
        """What scores by class are called: ``three classes``, or ``two classes``."""
        return f"{number_word(len(self.possible_classes))} classes"


def analysed_patients(
    cohort: pd.DataFrame,
    patients: pd.DataFrame,
    outcomes: pd.DataFrame,
    excluded: set[str],
    types: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Scored patients who are not excluded and have an outcome, with everything known of them.

    Args:
        cohort: slides, as `read_cohort` gives them.
        patients: as `read_patients` gives them.
        outcomes: as `read_outcomes` gives them.
        excluded: patients excluded before the outcomes were opened.
        types: of covariates, as the plan declares them; the others' types follow from their values.
    """
    scored = patients[(patients["status"] == "scored") & ~patients["patient_id"].isin(excluded)]
    own = typed_covariates(patient_table(cohort).drop(columns=["cohort", "n_slides"]), types)
    merged = scored.merge(own, on=["patient_id", "role"], how="left", suffixes=("", "_cohort"))
    merged = merged.merge(outcomes, on="patient_id", how="inner")
    merged["years"] = merged["followup_days"] / YEAR_DAYS
    merged["class_order"] = merged["risk_class"].map({name: order for order, name in enumerate(RISK_CLASSES)})
    return merged.astype({"class_order": float})


def populations_of(analysed: pd.DataFrame, resolutions: tuple[str, ...] = METHOD_RESOLUTIONS) -> list[Population]:
    """Every role's cohorts, in the order of roles; a role with several cohorts also as a whole, first.

    Args:
        analysed: of `analysed_patients`.
        resolutions: of the ensemble.
    """
    result = []
    for role in ROLES:
        own = analysed[analysed["role"] == role].reset_index(drop=True)
        names = sorted(set(own["cohort"]))
        if len(names) > 1:
            result.append(Population(role, role, own, pooled=True, resolutions=resolutions))
        result += [
            Population(role, name, own[own["cohort"] == name].reset_index(drop=True), False, resolutions)
            for name in names
        ]
    return result
