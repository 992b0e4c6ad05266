"""Survival curves as the public Python API hands them out: a figure that a notebook shows by itself."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pathoprog import RESEARCH_USE_ONLY

if TYPE_CHECKING:
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
