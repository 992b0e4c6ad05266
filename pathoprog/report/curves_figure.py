"""Survival curves as the public Python API hands them out: a figure that a notebook shows by itself."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.shown_cohort import Cohort

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as MatplotlibFigure


@dataclass(frozen=True)
class CurvesFigure:
    """A figure that a notebook shows by itself; `draw_curves` makes it.

    Attributes:
        figure: the matplotlib figure, research-use line and stamps on it.
        n: patients by risk class, of whom it is drawn.
    """

    figure: "MatplotlibFigure" = field(repr=False)
    n: dict[str, int]

    def save(self, path: str | Path) -> list[Path]:
        """Write it as PNG (300 dpi) and SVG.

        Args:
            path: without suffix.

        Returns:
            The two files.
        """
        from pathoprog.report.style import save_figure

        return save_figure(self.figure, path)

    def _repr_png_(self) -> bytes:
        from pathoprog.report.style import journal_style

        stream = io.BytesIO()
        with journal_style():
            self.figure.savefig(stream, format="png", dpi=110)
        return stream.getvalue()

    def __repr__(self) -> str:
        said = ", ".join(f"{n} {name}" for name, n in self.n.items())
        return f"<survival curves of {said}. {RESEARCH_USE_ONLY}>"


_EXPLORATORY = "exploratory"
"""Stands on every figure of curves: no plan was locked before they were drawn (`pathoprog validate` does that)."""


def curves_of(
    cohort: Cohort,
    results: "pd.DataFrame",
    role: str,
    name: str,
    years: Sequence[float] | None,
    title: str,
) -> CurvesFigure:
    """The curves that `pathoprog.api.draw_curves` hands out; it says what is given and what is refused."""
    from pathoprog.cohort_tables.config import YEAR_DAYS
    from pathoprog.cohort_tables.roles import ROLES
    from pathoprog.ensemble.classes import RISK_CLASSES
    from pathoprog.errors import InputError
    from pathoprog.report.curves import kaplan_meier_figure, round_times
    from pathoprog.settings import refuse_others
    from pathoprog.validation.populations import HEADINGS, STAMPS, analysed_patients

    refuse_others(cohort, Cohort, "cohort", "read_cohort")
    if role not in ROLES:
        raise InputError(f"role={role!r}: must be one of {', '.join(ROLES)}")
    if cohort.outcomes is None:
        raise InputError(f"{cohort.folder}: no outcomes were read, so there are no curves; put outcomes.csv there")
    table = analysed_patients(cohort.slides, results, cohort.outcomes, excluded=set())
    own = table[table["role"] == role]
    if name:
        own = own[own["cohort"] == name]
    if own.empty:
        there = ", ".join(sorted(set(table["role"] + ": " + table["cohort"]))) or "nobody"
        raise InputError(
            f"{cohort.folder}: no scored patient with an outcome in {role}{f': {name}' if name else ''}; there are "
            f"{there}"
        )
    classes = [level for level in RISK_CLASSES if level in set(own["risk_class"])]
    ticks = round_times(float(own["years"].max())) if years is None else years
    figure: Any = kaplan_meier_figure(
        own["followup_days"],
        own["event"],
        own["risk_class"],
        levels=classes,
        times=[year * YEAR_DAYS for year in ticks],
        divide_by=YEAR_DAYS,
        x_label="Years",
        y_label="Net survival (%)",
        title=title or HEADINGS[role],
        stamps=[text for text in (STAMPS[role], _EXPLORATORY) if text],
    )
    return CurvesFigure(figure, {level: int((own["risk_class"] == level).sum()) for level in classes})
