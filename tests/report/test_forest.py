"""Forest plots: a column that no row fills has no heading."""

import pytest

from pathoprog.report.forest import ForestRow, forest_figure


@pytest.mark.parametrize("p", ["", "0.01"])
def test_p_values_have_a_heading_where_there_are_some(p):
    rows = [ForestRow("good", "10 (2)", 1.0, 0.5, 2.0, ""), ForestRow("poor", "10 (8)", 2.0, 1.1, 4.0, p)]
    written = [text.get_text() for text in forest_figure(rows).texts]
    assert ("p" in written) == bool(p)
    assert "n (events)" in written and "Hazard ratio (95% CI)" in written
