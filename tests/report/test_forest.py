"""Forest plots: a column that no row fills has no heading."""

from dataclasses import replace

import pytest

from pathoprog.report.forest import ForestRow, forest_figure
from pathoprog.report.over_time import over_time_forest
from pathoprog.report.style import FADED


@pytest.mark.parametrize("p", ["", "0.01"])
def test_p_values_have_a_heading_where_there_are_some(p):
    rows = [ForestRow("good", "10 (2)", 1.0, 0.5, 2.0, ""), ForestRow("poor", "10 (8)", 2.0, 1.1, 4.0, p)]
    written = [text.get_text() for text in forest_figure(rows).texts]
    assert ("p" in written) == bool(p)
    assert "n (events)" in written and "Hazard ratio (95% CI)" in written


def test_a_ratio_of_few_patients_is_faded() -> None:
    one = ForestRow("  poor, from 3 years on", "9 (2) vs 80 (3)", 2.0, 1.1, 4.0, "", faint=True)
    figure = forest_figure([one, replace(one, faint=False)])
    squares = [line for line in figure.axes[0].lines if line.get_marker() == "s"]
    assert [square.get_alpha() for square in squares] == [FADED, 1.0]


def test_a_landmark_counts_both_classes_and_fades_where_one_is_nearly_gone() -> None:
    term = {"level": "poor", "hr": 2.0, "lower": 1.0, "upper": 4.0, "n": 12, "events": 5}
    found = {"piecewise": None, "landmarks": [{"time": 3.0, "n": 20, "events": 6, "terms": [term]}]}
    row = over_time_forest(found, "years")[1]
    assert row.counts == "12 (5) vs 8 (1)" and row.faint
    found["landmarks"][0]["n"] = 22
    assert not over_time_forest(found, "years")[1].faint
