"""Kaplan-Meier and cumulative incidence figures with confidence bands and an aligned table of numbers at risk."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pathoprog.report.curve_steps import Curve, draw_steps, place_legend, sparse_from
from pathoprog.report.risk_table import cells, table_title
from pathoprog.report.style import colours_of, journal_style, new_figure, stamp, style_of
from pathoprog.survival.arrays import FloatArray, checked, groups_of
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import kaplan_meier

MOST_MARKS = 300
ROW_INCH = 0.185
PLOT_INCH = 3.3


def kaplan_meier_figure(
    time: Any,
    event: Any,
    group: Any = None,
    *,
    levels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    colours: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
    divide_by: float = 1.0,
    x_label: str = "Time",
    y_label: str = "Survival (%)",
    title: str = "",
    notes: Sequence[str] = (),
    stamps: Sequence[str] = (),
    brackets: str = "events",
    conf: str = "loglog",
    bands: bool = True,
    censor_marks: bool | None = None,
    y_from: float = 0.0,
    width: float = 6.6,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
) -> Any:
    """Draw Kaplan-Meier curves in the conventions of medical journals.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        group: label of each patient (n,); None: one curve.
        levels: order of the groups; default: numbers by size, text by alphabet.
        labels: what the legend and the table call them, in that order.
        colours: one for each; default: the classes' own, or a palette that colour-blind readers tell apart.
        times: ticks of the axis and columns of the table, in units of `time`; the axis ends at the last. Default: five
            or so round ones.
        divide_by: units of `time` in one unit of the axis, for example 365.25 for years.
        x_label: label with its unit.
        y_label: label; survival is drawn in percent.
        title: above the plot.
        notes: lines inside the plot, such as the hazard ratio and the log-rank p.
        stamps: framed warnings, such as "selected on outcome" or "exploratory".
        brackets: what stands in brackets behind the number at risk: ``events`` or ``censored`` until the next column,
            or nothing.
        conf: scale of the confidence limits, as in `kaplan_meier`.
        bands: draw 95% bands.
        censor_marks: draw a tick for each censored patient; default: where there are at most `MOST_MARKS`, more
            would only thicken the line.
        y_from: where the axis of survival starts, in percent; above 0 the axis is marked as cut.
        width: of the figure, inches.
        entry: when each row came under observation (n,), as in `kaplan_meier`, as `weight` and `patient`.
        weight: case weights (n,).
        patient: of each row (n,).

    Returns:
        A matplotlib figure; `style.save_figure` writes it.
    """
    followup, codes = checked(time, event)
    names, place = groups_of(np.full(followup.size, "all") if group is None else group, followup.size, _list(levels))
    columns = np.asarray(times if times is not None else round_times(float(followup.max())), dtype=float)
    curves, table = [], []
    for index in range(len(names)):
        mine = place == index
        how = [None if values is None else np.asarray(values)[mine] for values in (entry, weight, patient)]
        km = kaplan_meier(followup[mine], codes[mine], conf, 0.95, *how)
        lost = np.repeat(km.time, km.n_censor) if weight is None else km.time[km.n_censor > 0]
        sparse = sparse_from(followup[mine], how[0], how[2])
        curves.append(Curve(km.time, 100 * km.survival, 100 * km.lower, 100 * km.upper, lost, sparse))
        table.append(cells(followup[mine], codes[mine], columns, brackets, *how))
    if censor_marks is None:
        censor_marks = sum(curve.censored.size for curve in curves) <= MOST_MARKS
    return curve_figure(
        curves,
        table,
        names if labels is None else list(labels),
        colours or colours_of(names),
        columns,
        start=100.0,
        limits=(y_from, 100.0),
        divide_by=divide_by,
        x_label=x_label,
        y_label=y_label,
        title=title,
        notes=notes,
        stamps=stamps,
        table_title=table_title(brackets),
        bands=bands,
        censor_marks=censor_marks,
        width=width,
    )


def incidence_figure(
    time: Any,
    event: Any,
    group: Any = None,
    *,
    levels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    colours: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
    divide_by: float = 1.0,
    x_label: str = "Time",
    y_label: str = "Cumulative incidence (%)",
    title: str = "",
    notes: Sequence[str] = (),
    stamps: Sequence[str] = (),
    bands: bool = True,
    width: float = 6.6,
) -> Any:
    """Draw the cumulative incidence of the event (code 1) where deaths (code 2) compete.

    Arguments as in `kaplan_meier_figure`; the curves are Aalen and Johansen's.
    """
    followup, codes = checked(time, event)
    names, place = groups_of(np.full(followup.size, "all") if group is None else group, followup.size, _list(levels))
    columns = np.asarray(times if times is not None else round_times(float(followup.max())), dtype=float)
    curves, table, top = [], [], 0.0
    for index in range(len(names)):
        mine = place == index
        found = cumulative_incidence(followup[mine], codes[mine])
        sparse = sparse_from(followup[mine])
        curves.append(Curve(found.time, 100 * found.value, 100 * found.lower, 100 * found.upper, np.zeros(0), sparse))
        table.append(cells(followup[mine], codes[mine], columns, "events"))
        inside, dense = found.time <= columns[-1], found.time < sparse  # a faded band may reach out of the plot
        top = max([top, *(100 * found.value[inside]), *(100 * found.upper[inside & dense])])
    high = next((limit for limit in (10.0, 20.0, 40.0, 60.0, 80.0) if top <= limit), 100.0)
    return curve_figure(
        curves,
        table,
        names if labels is None else list(labels),
        colours or colours_of(names),
        columns,
        start=0.0,
        limits=(0.0, high),
        divide_by=divide_by,
        x_label=x_label,
        y_label=y_label,
        title=title,
        notes=notes,
        stamps=stamps,
        table_title=table_title("events"),
        bands=bands,
        censor_marks=False,
        width=width,
    )


def _list(levels: Sequence[str] | None) -> list[str] | None:
    return None if levels is None else list(levels)


def round_times(longest: float, about: int = 6) -> FloatArray:
    """Round times from 0 to the end of follow-up: steps of 1, 2 or 5 times a power of ten."""
    if longest <= 0:
        return np.array([0.0, 1.0])
    rough = longest / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return np.asarray(np.arange(0, longest + step * 1e-9, step))


def curve_figure(
    curves: Sequence[Curve],
    table: Sequence[Sequence[str]],
    labels: Sequence[str],
    colours: Sequence[str],
    columns: FloatArray,
    *,
    start: float,
    limits: tuple[float, float],
    divide_by: float = 1.0,
    x_label: str = "Time",
    y_label: str = "",
    title: str = "",
    notes: Sequence[str] = (),
    stamps: Sequence[str] = (),
    table_title: str = "Number at risk",
    bands: bool = True,
    censor_marks: bool = True,
    width: float = 6.6,
) -> Any:
    """Draw step curves over a table whose columns stand under the axis' ticks.

    Args:
        curves: one a group; values in the unit of the y axis.
        table: one row of texts a group, one text a column.
        labels: names of the groups.
        colours: one a group.
        columns: ticks and columns, in the unit of the curves' times.
        start: value of all curves at time 0.
        limits: of the y axis.
        divide_by: units of the curves' times in one unit of the axis.
        x_label: label with its unit.
        y_label: label with its unit.
        title: above the plot.
        notes: lines inside the plot.
        stamps: framed warnings.
        table_title: above the table.
        bands: draw the confidence bands.
        censor_marks: draw a tick for each censored patient.
        width: of the figure, inches.
    """
    with journal_style():
        label_inch = max(_text_inch(text) for text in labels) if len(labels) > 1 or labels[0] != "all" else 0.3
        gap = max(_text_inch(row[0]) for row in table) / 2 + 0.12  # half of the first cell, which stands under 0
        left = max(0.72, label_inch + gap + 0.08)
        top = 0.28 + (0.22 if title else 0.0) + (0.24 if stamps else 0.0)
        foot = 0.32
        below = 0.58 + ROW_INCH * (len(labels) + 1.2)
        height = top + PLOT_INCH + below + foot
        figure = new_figure(width, height)
        axes = figure.add_axes((left / width, (below + foot) / height, 1 - (left + 0.35) / width, PLOT_INCH / height))
        end = float(columns[-1]) / divide_by
        for index, curve in enumerate(curves):
            draw_steps(
                axes, curve, colours[index], style_of(index), labels[index], start, end, divide_by, bands, censor_marks
            )
        axes.set_xlim(0, end)
        axes.set_ylim(*limits)
        axes.set_xticks(columns / divide_by)
        axes.set_xticklabels([f"{value:g}" for value in np.round(columns / divide_by, 6)])
        axes.set_xlabel(x_label, labelpad=3)
        axes.set_ylabel(y_label)
        axes.spines["left"].set_position(("outward", 4))
        axes.spines["bottom"].set_position(("outward", 2))
        if limits[0] > 0 and start == 100.0:
            axes.text(0.0, -0.012, "//", transform=axes.transAxes, ha="center", va="top", fontsize=8, rotation=20)
        falling = start > limits[0]
        if title:
            axes.set_title(title, loc="left", pad=8, fontweight="bold")
        lines = "\n".join(notes)
        if lines:
            axes.text(
                0.02 if falling else 0.98,
                0.03 if falling else 0.97,
                lines,
                transform=axes.transAxes,
                va="bottom" if falling else "top",
                ha="left" if falling else "right",
                fontsize=8.5,
                linespacing=1.35,
                zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
            )
        if len(labels) > 1:
            place_legend(axes, curves, falling, end, divide_by, limits)
        _table(figure, axes, table, labels, colours, columns / divide_by, table_title, left - gap, width, height, foot)
        stamp(figure, stamps)
    return figure


def _table(
    figure: Any,
    axes: Any,
    table: Sequence[Sequence[str]],
    labels: Sequence[str],
    colours: Sequence[str],
    ticks: FloatArray,
    title: str,
    right: float,
    width: float,
    height: float,
    foot: float,
) -> None:
    """Write the table: each column's text is centred under its tick, each row starts with a coloured group name."""
    plot = axes.get_position()
    span = ticks[-1] - 0.0
    y_top = foot + ROW_INCH * (len(labels) + 0.9)
    figure.text(0.1 / width, y_top / height, title, fontsize=8.5, fontweight="bold", va="center")
    single = len(labels) == 1 and labels[0] == "all"
    for row, (label, texts) in enumerate(zip(labels, table, strict=True)):
        y = (y_top - ROW_INCH * (row + 1.05)) / height
        if not single:
            figure.text(right / width, y, label, fontsize=8.5, color=colours[row], ha="right", va="center")
        for tick, cell in zip(ticks, texts, strict=True):
            x = plot.x0 + plot.width * (tick / span if span else 0.0)
            figure.text(x, y, cell, fontsize=8.5, ha="center", va="center")


def _text_inch(text: str, size: float = 8.5) -> float:
    """Width of a text in inches, in the font that will be used."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text or " ", size=size, prop=FontProperties()).get_extents().width) / 72
