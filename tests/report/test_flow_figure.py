"""The flow diagram: what its boxes say, and that they stay inside the picture."""

import itertools

import pandas as pd

from pathoprog.report.flow_figure import Box, boxes_of, flow_figure, total
from pathoprog.validation.flow import Flow


def flow(cohort: str, excluded: dict[str, int]) -> Flow:
    out = sum(excluded.values())
    return Flow(
        "external",
        cohort,
        {"scored": 9, "not_reportable": 2, "failed": 1, "all": 12},
        {"scored": 8, "not_reportable": 1, "failed": 1, "all": 10},
        excluded,
        1,
        {"good": 4, "uncertain": 2, "poor": 1 - out, "all": 7 - out},
        {"none": 4, "event": 2 - out, "competing": 1},
        pd.DataFrame(columns=["unit", "status", "reason", "n"]),
    )


def test_boxes_say_every_number():
    lines = [line for box in boxes_of(flow("A", {"neoadjuvant": 1})) for line in box.lines]
    assert lines == [
        "10 patients",
        "12 slides",
        "Not scored: 1 not reportable",
        "1 failed",
        "(3 slides)",
        "8 patients scored",
        "1 excluded: neoadjuvant",
        "1 without outcome",
        "6 patients analysed",
        "good 4, uncertain 2, poor 0",
        "1 event, 1 competing death",
    ]


def test_cohorts_of_a_role_add_up():
    both = total([flow("A", {"neoadjuvant": 1}), flow("B", {})])
    assert both.cohort == "A + B"
    assert both.patients["all"] == 20 and both.excluded == {"neoadjuvant": 1} and both.no_outcome == 2


def test_boxes_lie_inside_the_picture_and_do_not_overlap():
    columns = [boxes_of(flow("A", {f"reason {i}": 0 for i in range(6)})), boxes_of(flow("B", {}))]
    figure = flow_figure(columns, ["A\nfirst", "B\nsecond"])
    width, height = figure.get_size_inches()
    patches = [patch.get_window_extent() for patch in figure.axes[0].patches if hasattr(patch, "get_boxstyle")]
    boxes = [(box.x0 / figure.dpi, box.y0 / figure.dpi, box.x1 / figure.dpi, box.y1 / figure.dpi) for box in patches]
    boxes = [box for box in boxes if box[2] - box[0] > 1]  # arrows are patches too
    assert len(boxes) == 10
    assert all(x0 >= 0 and y0 >= 0.2 and x1 <= width and y1 <= height for x0, y0, x1, y1 in boxes)
    left = sorted((box for box in boxes if box[2] < width / 2), key=lambda box: box[1])
    assert all(below[3] <= above[1] + 1e-6 for below, above in itertools.pairwise(left))


def test_a_box_is_as_high_as_its_lines():
    assert Box(("a", "b")).height > Box(("a",)).height
