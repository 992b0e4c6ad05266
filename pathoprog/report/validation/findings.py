"""What a report is made from, and how its sections print and draw alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.ensemble.manifest import Manifest
from pathoprog.ensemble.stage_groups import StageGroups
from pathoprog.report.document import Figure
from pathoprog.report.style import save_figure
from pathoprog.text.numbers import format_interval, format_percent
from pathoprog.validation.flow import Flow
from pathoprog.validation.openings.history import History
from pathoprog.validation.plan import AnalysisPlan
from pathoprog.validation.populations import STAMPS, Population


@dataclass(frozen=True)
class Findings:
    """Everything the report is made from; `stated` by the authors, `written_utc` is the report's own date."""

    plan: AnalysisPlan
    lock: dict[str, Any]
    history: History
    ensemble: str
    manifest: Manifest
    thresholds: dict[str, float]
    cohort: pd.DataFrame
    populations: list[Population]
    primary: Population
    flows: list[Flow]
    left_out: list[tuple[str, str]]
    statistics: dict[str, Any]
    result: dict[str, Any]
    stage: StageGroups | None
    sheet_flow: dict[str, Any] | None
    stated: dict[str, str]
    written_utc: str

    def of(self, population: Population) -> dict[str, Any]:
        """One population's statistics."""
        value = self.statistics["populations"][population.key]
        assert isinstance(value, dict)
        return value

    @property
    def deaths_compete(self) -> bool:
        """True where patients of the primary cohort died of something else: Aalen-Johansen is then primary."""
        return bool((self.primary.patients["event"] == 2).any())

    def status(self, analysis: str, population: Population) -> str:
        """The label of an analysis of a population."""
        return STAMPS[population.role] or self.history.labels[analysis]

    def dated(self, field: str, item: str | float) -> str:
        """An item of the plan's list of covariates, subgroups or horizons, with the opening after which it came."""
        label = self.history.item_label(field, item)
        text = f"{item:g}" if isinstance(item, float) else item
        return f"{text} ({label})" if label else text

    @staticmethod
    def stamps(status: str) -> list[str]:
        """What is framed on a figure: every label but that of what was planned before the first opening."""
        return [] if status in ("planned", "primary") else [status]


class Figures:
    """Saves each figure as PNG and SVG and hands it on for the report."""

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, drawn: Any, name: str, title: str, note: str = "", status: str = "", width: str = "100%") -> Figure:
        """Save one figure."""
        svg = next(path for path in save_figure(drawn, self.folder / name) if path.suffix == ".svg")
        return Figure(name, title, svg.read_bytes(), note, status, width=width)


def truth_text(findings: Findings) -> str:
    """How far the ensemble gets towards a simulation's true hazard."""
    best, reached = findings.statistics["true_hazard"]
    return (
        f"In this simulation the true hazard itself reaches c = {c_text(best)}; the ensemble's {c_text(reached)} is "
        f"{format_percent(reached['share_of_way'], digits=0)} of the way from 0.5 to it."
    )


def chance_text(chance: dict[str, Any]) -> str:
    """Where the observed c lies among the permuted ones."""
    below = "all" if chance["share_below"] == 1 else format_percent(chance["share_below"])
    return f"the observed c of {chance['observed']:.3f} lay above {below} of the permuted ones"


def c_text(row: dict[str, Any]) -> str:
    """A concordance with its interval."""
    return format_interval(row["c"], row["lower"], row["upper"], digits=3)


def headed(table: pd.DataFrame) -> pd.DataFrame:
    """Column names as headings."""
    return table.rename(columns={name: str(name).replace("_", " ").capitalize() for name in table.columns})


def file_name(key: str) -> str:
    """A population's key as part of a file name."""
    return "".join(letter if letter.isalnum() else "_" for letter in key)
