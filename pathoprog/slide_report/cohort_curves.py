"""The validation cohort's survival curve of each class, for the pages of slides; read from a validation's record."""

from dataclasses import dataclass
from pathlib import Path

from pathoprog.errors import InputError
from pathoprog.system.files import read_json

CURVE_NOTE = (
    "Kaplan-Meier estimates at whole years, joined by lines, with 95% intervals; other deaths are censored (net). "
    "The curve says what became of a group of patients, and nothing of one person; scores are not calibrated to "
    "probabilities."
)


@dataclass(frozen=True)
class CurvePoint:
    """Survival of a group `year` years after time zero, its 95% interval, and how many were still at risk."""

    year: float
    survival: float
    lower: float
    upper: float
    n_risk: int


@dataclass(frozen=True)
class CohortCurves:
    """The primary population of a validation.

    Attributes:
        cohort: its name.
        role: ``external``, ``test`` …
        stamp: what limits its use (for example that it was selected on outcome), or empty.
        n: patients.
        counts: patients of each class.
        points: by class, by year; a year at which nobody of the class was followed any more has no estimate, and none.
    """

    cohort: str
    role: str
    stamp: str
    n: int
    counts: dict[str, int]
    points: dict[str, tuple[CurvePoint, ...]]

    @property
    def last_year(self) -> float:
        """Where the longest curve ends."""
        return max((point.year for points in self.points.values() for point in points), default=0.0)

    def title(self, risk_class: str) -> str:
        """What the curve of a class is the curve of."""
        stamp = f"; {self.stamp}" if self.stamp else ""
        return (
            f"Class {risk_class} in validation cohort {self.cohort} ({self.role}{stamp}): "
            f"{self.counts[risk_class]} of {self.n} patients"
        )


def read_cohort_curves(folder: str | Path, ensemble_ids: list[str]) -> CohortCurves:
    """Read the curves of the classes from the folder that `pathoprog validate` wrote.

    Args:
        folder: holds statistics.json.
        ensemble_ids: under which the scores may have been made; a validation of another ensemble says nothing here.

    Raises:
        InputError: no validation there, without a primary population, or of another ensemble.
    """
    path = Path(folder) / "statistics.json"
    try:
        record = read_json(path)
        found = record["ensemble_id"]
        population = record["populations"][record["primary"]["population"]]
        rows = population["survival"]
        points = {
            name: tuple(
                CurvePoint(row["year"], row["survival"], row["lower"], row["upper"], row["n_risk"])
                for row in rows
                if row["risk_class"] == name and None not in (row["survival"], row["lower"], row["upper"])
            )
            for name in population["classes"]
        }
        curves = CohortCurves(
            cohort=population["cohort"],
            role=population["role"],
            stamp=population["stamp"],
            n=population["n"],
            counts=population["classes"],
            points=points,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no record of a validation with a primary population ({error!r})") from error
    if found not in ensemble_ids:
        raise InputError(f"{path}: the validation of ensemble {found[:12]}…, and this is {ensemble_ids[0][:12]}…")
    return curves
