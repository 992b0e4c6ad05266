"""The flow diagram: boxes from the cohort table down to the analysis, one column per role."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pathoprog.report.style import journal_style, new_figure, stamp
from pathoprog.text.wording import count
from pathoprog.validation.flow import Flow

LINE_INCH = 0.155
BOX_PAD_INCH = 0.16
GAP_INCH = 0.16
COLUMN_INCH = 2.35
FONT = 7.5


@dataclass(frozen=True)
class Box:
    """One box; those that leave the way stand indented, with a thin frame."""

    lines: tuple[str, ...]
    leaves: bool = False

    @property
    def height(self) -> float:
        """Inches."""
        return len(self.lines) * LINE_INCH + BOX_PAD_INCH


def total(flows: Sequence[Flow]) -> Flow:
    """The sum of a role's cohorts."""
    assert len({flow.role for flow in flows}) == 1
    first = flows[0]

    def add(name: str) -> dict[str, int]:
        keys = sorted({key for flow in flows for key in getattr(flow, name)})
        return {key: sum(getattr(flow, name).get(key, 0) for flow in flows) for key in keys}

    return Flow(
        first.role,
        " + ".join(flow.cohort for flow in flows),
        add("slides"),
        add("patients"),
        add("excluded"),
        sum(flow.no_outcome for flow in flows),
        add("analysed"),
        add("events"),
        pd.concat([flow.reasons for flow in flows]),
    )


def boxes_of(flow: Flow) -> list[Box]:
    """What one column says, from top to bottom."""
    slides, patients = flow.slides, flow.patients
    out = [(f"{patients[status]} {text}") for status, text in _LEFT.items() if patients[status]]
    lost_slides = slides["not_reportable"] + slides["failed"]
    boxes = [
        Box((count(patients["all"], "patient"), count(slides["all"], "slide"))),
        Box(("Not scored: " + (out[0] if out else "none"), *out[1:], f"({count(lost_slides, 'slide')})"), leaves=True),
        Box((f"{count(patients['scored'], 'patient')} scored",)),
    ]
    dropped = [f"{n} excluded: {code}" for code, n in flow.excluded.items()]
    dropped += [f"{flow.no_outcome} without outcome"] if flow.no_outcome else []
    boxes.append(Box(tuple(dropped) or ("Excluded: none",), leaves=True))
    used, events = flow.analysed, flow.events
    boxes.append(
        Box(
            (
                f"{count(used['all'], 'patient')} analysed",
                ", ".join(f"{name} {n}" for name, n in used.items() if name != "all"),
                f"{count(events['event'], 'event')}, {count(events['competing'], 'competing death')}",
            )
        )
    )
    return boxes


_LEFT = {"not_reportable": "not reportable", "failed": "failed"}


def flow_figure(columns: Sequence[Sequence[Box]], titles: Sequence[str]) -> Any:
    """Draw columns of boxes, the main way down the left of each, those that leave it indented.

    Args:
        columns: boxes from top to bottom, equally many in each column.
        titles: what stands above each column; a second line is set smaller.
    """
    rows = [max(column[row].height for column in columns) for row in range(len(columns[0]))]
    height = sum(rows) + GAP_INCH * (len(rows) - 1) + 1.0
    width = max(COLUMN_INCH * len(columns) + 0.2, 5.0)
    with journal_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.axis("off")
        for number, (column, title) in enumerate(zip(columns, titles, strict=True)):
            left = 0.12 + number * COLUMN_INCH
            top = height - 0.2
            for line, text in enumerate(title.split("\n")):
                axes.text(
                    left, top - line * 0.17, text, fontsize=9, fontweight="bold" if not line else "normal", va="top"
                )
            top -= 0.42
            for box, row in zip(column, rows, strict=True):
                _draw(axes, box, left, top, row)
                top -= row + GAP_INCH
            _arrows(axes, column, rows, left, height - 0.62)
        stamp(figure)
    return figure


def _draw(axes: Any, box: Box, left: float, top: float, row: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    indent = 0.55 if box.leaves else 0.0
    width = COLUMN_INCH - 0.2 - indent
    bottom = top - row + (row - box.height) / 2
    axes.add_patch(
        FancyBboxPatch(
            (left + indent, bottom),
            width,
            box.height,
            boxstyle="square,pad=0",
            facecolor="#f6f6f4" if box.leaves else "white",
            edgecolor="#9a9a9a" if box.leaves else "black",
            linewidth=0.7 if box.leaves else 1.0,
        )
    )
    for number, line in enumerate(box.lines):
        axes.text(
            left + indent + 0.08,
            bottom + box.height - BOX_PAD_INCH / 2 - number * LINE_INCH,
            line,
            fontsize=FONT,
            va="top",
            color="#444444" if box.leaves else "black",
            fontweight="bold" if not box.leaves and not number else "normal",
        )


def _arrows(axes: Any, column: Sequence[Box], rows: Sequence[float], left: float, top: float) -> None:
    """A line down the left from main box to main box, and a branch to each box that leaves the way."""
    x = left + 0.27
    line = {"arrowstyle": "-|>", "linewidth": 0.8, "color": "black", "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0}
    start = 0.0
    for box, row in zip(column, rows, strict=True):
        bottom = top - row
        if box.leaves:
            middle = (top + bottom) / 2
            axes.annotate("", (left + 0.55, middle), (x, middle), arrowprops=line)
        else:
            edge = (row - box.height) / 2
            if start:
                axes.annotate("", (x, top - edge), (x, start), arrowprops=line)
            start = bottom + edge
        top = bottom - GAP_INCH
