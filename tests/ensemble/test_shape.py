"""An ensemble's shape: what is METHOD's, what another says of itself, and which classes it can give."""

import pytest

from pathoprog.ensemble.classes import RISK_CLASSES, classes_of, one_number, risk_class
from pathoprog.ensemble.shape import METHOD_SHAPE, Shape


def test_five_and_five_at_10x_and_40x_are_methods_and_say_nothing():
    assert METHOD_SHAPE.members == {"10x": 5, "40x": 5} and METHOD_SHAPE.is_methods and not METHOD_SHAPE.caution
    assert Shape({"40x": 5, "10x": 5}).is_methods, "whatever the order"
    assert (METHOD_SHAPE.n_members, METHOD_SHAPE.most_members, METHOD_SHAPE.classes) == (10, 5, RISK_CLASSES)


@pytest.mark.parametrize(
    ("members", "words", "classes"),
    [
        ({"20x": 3}, "3 networks at 20x", ("good", "poor")),
        ({"10x": 1}, "1 network at 10x", ("good", "poor")),
        ({"40x": 2, "10x": 4}, "4 networks at 10x and 2 at 40x", RISK_CLASSES),
        ({"10x": 5, "20x": 5}, "5 networks at 10x and 5 at 20x", RISK_CLASSES),
    ],
)
def test_another_shape_says_what_it_is(members, words, classes):
    shape = Shape(members)
    assert not shape.problems() and not shape.is_methods and shape.classes == classes
    assert shape.caution == f"not METHOD's ensemble: {words}, where METHOD has 5 networks at 10x and 5 at 40x"
    assert shape.resolutions == tuple(sorted(members)), "from coarse to fine"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "none: an ensemble has one resolution or 2"),
        ({"10x": 1, "20x": 1, "40x": 1}, "10x, 20x, 40x: an ensemble has one resolution or 2"),
        ({"10x": 5, "40x": 0}, "no member at 40x"),
        ({"5x": 5}, "resolution 5x: must be one of 10x, 20x, 40x"),
    ],
)
def test_what_no_ensemble_can_be(members, said):
    assert Shape(members).problems() == [said]


def test_two_resolutions_agree_or_are_uncertain():
    cuts = {"10x": 0.4, "40x": 0.6}
    said = {(low, high): risk_class({"10x": low, "40x": high}, cuts) for low in (0.3, 0.4) for high in (0.5, 0.6)}
    assert said == {(0.3, 0.5): "good", (0.4, 0.6): "poor", (0.4, 0.5): "uncertain", (0.3, 0.6): "uncertain"}
    assert one_number({"10x": 0.5, "40x": 0.5}, cuts) == pytest.approx(0.0)


def test_one_resolution_is_good_or_poor_and_its_number_is_the_distance():
    assert [risk_class({"20x": score}, {"20x": 0.5}) for score in (0.0, 0.499, 0.5, 1.0)] == [
        *("good", "good"),
        *("poor", "poor"),
    ]
    assert classes_of(["20x"]) == ("good", "poor") and one_number({"20x": 0.75}, {"20x": 0.5}) == 0.25
