"""The Kaplan-Meier figure: what is drawn where, and what is written."""

from pathlib import Path
from typing import Any

import made_survival as small
import numpy as np
import pytest

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.errors import InputError
from pathoprog.report.curve_steps import FADED, sparse_from
from pathoprog.report.curves import incidence_figure, kaplan_meier_figure, round_times
from pathoprog.report.style import colours_of, journal_style, save_figure
from pathoprog.survival import kaplan_meier, number_at_risk
from pathoprog.text.numbers import bare_p, format_p, format_percent, format_ratio
from pathoprog.text.wording import share

TIMES = [0, 5, 10, 15, 20]


def texts(figure: Any) -> dict[str, Any]:
    return {text.get_text(): text for text in figure.texts}


def test_the_table_stands_under_the_ticks() -> None:
    figure = kaplan_meier_figure(small.TIME, small.EVENT, small.GROUP, times=TIMES)
    with journal_style():
        figure.canvas.draw()
    axes = figure.axes[0]
    mine = np.array(small.GROUP) == "a"
    counted = number_at_risk(np.array(small.TIME)[mine], np.array(small.EVENT)[mine], TIMES)
    written = texts(figure)
    rows = sorted({round(text.get_position()[1], 6) for text in figure.texts if "(" in text.get_text()}, reverse=True)
    first = [t for t in figure.texts if abs(t.get_position()[1] - written["a"].get_position()[1]) < 1e-6]
    cells = sorted((t for t in first if t.get_text() != "a"), key=lambda t: t.get_position()[0])
    pairs = zip(counted.n_risk[:-1], counted.n_event[:-1], strict=True)
    assert [t.get_text() for t in cells] == [*(f"{n} ({d})" for n, d in pairs), str(counted.n_risk[-1])]
    for cell, time in zip(cells, TIMES, strict=True):
        x = figure.transFigure.inverted().transform(axes.transData.transform((time, 0)))[0]
        assert cell.get_position()[0] == pytest.approx(x, abs=1e-3)
    assert len(rows) >= 3


def test_nothing_in_the_table_overlaps() -> None:
    names = np.array(["a rather long name of a class" if group == "a" else group for group in small.GROUP * 300])
    figure = kaplan_meier_figure(small.TIME * 300, small.EVENT * 300, names, times=TIMES)
    with journal_style():
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    for k, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width + 1
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])


def test_curves_are_those_of_the_library_and_stamps_are_seen() -> None:
    figure = kaplan_meier_figure(small.TIME, small.EVENT, stamps=["selected on outcome"], notes=["HR 2.0"])
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata()[1:], 100 * kaplan_meier(small.TIME, small.EVENT).survival)
    assert line.get_drawstyle() == "steps-post"
    written = texts(figure)
    assert RESEARCH_USE_ONLY in written and "SELECTED ON OUTCOME" in written
    assert any(text.get_text() == "HR 2.0" for text in figure.axes[0].texts)


def test_incidence_rises_and_scales_to_its_band() -> None:
    figure = incidence_figure(small.TIME, small.EVENT, small.GROUP)
    assert all((np.diff(line.get_ydata()) >= 0).all() for line in figure.axes[0].lines)
    assert figure.axes[0].get_ylim()[0] == 0
    few = incidence_figure(np.arange(1.0, 41.0), np.r_[np.zeros(37), 1, 1, 1], times=[0, 20, 40])
    assert few.axes[0].get_ylim()[1] == 100.0  # the curve itself is inside
    end = incidence_figure(np.arange(1.0, 41.0), np.r_[1, 1, np.zeros(34), 1, 0, 0, 0], times=[0, 20, 40])
    assert end.axes[0].get_ylim()[1] == 40.0  # the band of four patients is not what the axis is made for


def test_curves_fade_where_fewer_than_ten_are_at_risk() -> None:
    time, event = np.arange(1.0, 31.0), np.tile([1, 0], 15)  # ten at risk at 21, nine after it
    assert sparse_from(time) == 21.0
    assert sparse_from(time[:9]) == 0.0 and sparse_from([5.0] * 12) == np.inf
    assert sparse_from(time, entry=np.where(time < 25, 0, 24.0)) == 15.0  # late entries are at risk late
    figure = kaplan_meier_figure(time, event)
    faded, solid = figure.axes[0].lines[:2]
    assert faded.get_alpha() == FADED and solid.get_alpha() is None
    assert (faded.get_xdata().max(), solid.get_xdata().max()) == (30.0, 21.0)
    np.testing.assert_allclose(solid.get_ydata(), faded.get_ydata()[: solid.get_ydata().size])
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [line.get_alpha() for line in marks] == [1.0, FADED]
    assert max(marks[0].get_xdata()) <= 21 < min(marks[1].get_xdata())


def test_equal_figures_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_figure(kaplan_meier_figure(small.TIME, small.EVENT, small.GROUP), tmp_path / name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()


def test_ticks_colours_and_wrong_words() -> None:
    assert round_times(8.3).tolist() == [0, 2, 4, 6, 8] and round_times(0).tolist() == [0, 1]
    assert colours_of(["good", "poor"]) == ["#0072B2", "#D55E00"]
    with pytest.raises(InputError, match="brackets"):
        kaplan_meier_figure([1, 2], [1, 0], brackets="deaths")


def test_numbers_as_journals_print_them() -> None:
    assert [format_p(p) for p in (0.00001, 0.00023, 0.0123, 0.18, float("nan"))] == [
        "p<0.0001",
        "p=0.0002",
        "p=0.012",
        "p=0.18",
        "p not estimable",
    ]
    assert (bare_p(0.18), bare_p(0.00001)) == ("0.18", "<0.0001")
    # rounding never moves a figure to the other side of what it is compared with
    assert [format_p(p) for p in (0.04996, 0.0496, 0.0504, 0.05, 0.9996)] == [
        "p=0.04996",
        "p=0.0496",
        "p=0.0504",
        "p=0.050",
        "p>0.99",
    ]
    assert format_ratio(1.5, 0.9996, 2.25) == "1.50 (95% CI 0.9996–2.25)"
    assert format_ratio(0.0042, 0.0004, 0.044) == "0.0042 (95% CI <0.001–0.044)"
    assert [format_percent(share) for share in (0.9999, 1.0, 0.0001, 0.0)] == [">99.9%", "100.0%", "<0.1%", "0.0%"]
    assert [share(1, 1000), share(999, 1000), share(0, 10)] == ["1 (<1%)", "999 (>99%)", "0 (0%)"]
    assert format_ratio(3.84, 2.72, 5.43) == "3.84 (95% CI 2.72–5.43)"
    assert format_ratio(0, float("nan"), float("nan")) == "not estimable"
    assert format_percent(0.524, 0.431, 0.615) == "52.4% (43.1–61.5)"
