"""A cohort as the public Python API hands it out. Importing it loads nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pathoprog import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cohort:
    """A checked cohort; `read_cohort` and `simulate_cohort` make it.

    Attributes:
        folder: where its tables lie.
        slides: one row per slide, as in cohort.csv; paths are absolute.
        outcomes: one row per patient: ``patient_id, followup_days, event``; None where the folder has no outcomes.csv.
    """

    folder: Path
    slides: "pd.DataFrame" = field(repr=False)
    outcomes: "pd.DataFrame | None" = field(repr=False)

    def __repr__(self) -> str:
        patients = self.slides.groupby("role")["patient_id"].nunique()
        roles = ", ".join(f"{role} {n}" for role, n in patients.items())
        outcomes = "no outcomes" if self.outcomes is None else f"outcomes of {len(self.outcomes)}"
        return f"<cohort of {len(self.slides)} slides; patients: {roles}; {outcomes}. {RESEARCH_USE_ONLY}>"
