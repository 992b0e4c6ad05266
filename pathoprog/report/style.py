"""How figures look: fonts, line widths, colours that colour-blind readers tell apart, and how they are saved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.system.files import atomic_write

# Okabe and Ito, Color Universal Design, 2008
PALETTE = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#8C6D1F")
LINE_STYLES: tuple[Any, ...] = ("-", (0, (6, 1.6)), (0, (2.2, 1.2)), (0, (6, 1.4, 1.4, 1.4)))
CLASS_COLOURS = {
    "good": "#0072B2",
    "uncertain": "#E69F00",
    "poor": "#D55E00",
    "low": "#0072B2",
    "intermediate": "#E69F00",
    "high": "#D55E00",
}

FEWEST_AT_RISK = 10
"""Where fewer are at risk, a curve, a group or a ratio is drawn faded: it tells of single patients (Pocock, Clayton and
Altman, Lancet 2002;359:1686, advise against drawing curves into sparse follow-up)."""
FADED = 0.3

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.5,
    "savefig.dpi": 300,
    "svg.hashsalt": "pathoprog",
    "path.simplify": False,
}


def dense_span(groups: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """From which predicted risk to which a calibration curve is drawn in full: there its groups have ten at risk.

    Args:
        groups: of a calibration, as in `statistics.json`, by rising risk.

    Returns:
        Two risks; nan where no group has ten at risk at the horizon.
    """
    dense = [group for group in groups if group["at_risk"] >= FEWEST_AT_RISK]
    return (dense[0]["low"], dense[-1]["high"]) if dense else (float("nan"), float("nan"))


@contextmanager
def journal_style() -> Iterator[None]:
    """Draw with the project's style, whatever the user's matplotlib is set to."""
    import logging

    import matplotlib

    fonts = logging.getLogger("matplotlib.font_manager")
    before = fonts.level
    fonts.setLevel(logging.ERROR)  # a missing Arial is no news: the next font of the list is taken
    try:
        settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **RC, "backend": "agg"}
        with matplotlib.rc_context(settings):
            yield
    finally:
        fonts.setLevel(before)


def new_figure(width: float, height: float) -> Any:
    """A figure of the given size in inches, apart from pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def colours_of(levels: Sequence[str]) -> list[str]:
    """One colour a group: risk classes have theirs, others follow the palette, the first level first."""
    if all(level in CLASS_COLOURS for level in levels):
        return [CLASS_COLOURS[level] for level in levels]
    return [PALETTE[index % len(PALETTE)] for index in range(len(levels))]


def style_of(index: int) -> Any:
    """Line style of the group at `index`, so that a black and white print can be read too."""
    return LINE_STYLES[index % len(LINE_STYLES)]


def stamp(figure: Any, stamps: Sequence[str] = (), y_inch: float = 0.1) -> None:
    """Write 'For research use only' at the foot, and framed stamps at the top right."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, y_inch / height, RESEARCH_USE_ONLY, fontsize=6.5, color="#555555", va="bottom")
    if stamps:
        figure.text(
            1 - 0.12 / width,
            1 - 0.1 / height,
            "  |  ".join(text.upper() for text in stamps),
            fontsize=7.5,
            fontweight="bold",
            color="#A31515",
            ha="right",
            va="top",
            bbox={"boxstyle": "square,pad=0.3", "facecolor": "white", "edgecolor": "#A31515", "linewidth": 0.9},
        )


def save_figure(figure: Any, path: str | Path) -> list[Path]:
    """Write a figure as PNG (300 dpi) and SVG beside each other; equal figures give equal bytes.

    Args:
        figure: from `new_figure`.
        path: without suffix.

    Returns:
        The two files.
    """
    written = []
    with journal_style():
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": "pathoprog"})):
            target = Path(path).with_name(Path(path).name + suffix)
            with atomic_write(target) as stream:
                figure.savefig(stream, format=suffix[1:], dpi=300, metadata=metadata)
            written.append(target)
    return written
